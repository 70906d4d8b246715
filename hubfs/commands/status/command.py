"""The commands `hubfs status` and `hubfs top`."""

import io
import json
import shutil
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from hubfs.commands.completion import mounted
from hubfs.errors import InvalidConfig
from hubfs.mounts import point as mount_point
from hubfs.mounts import table as mount_table
from hubfs.settings.values import parse_time

_LOOK_S = 0.5
"""Rates are of two looks at a mount, so far apart."""

Described = Mapping[str, Any]


@click.command()
@click.argument("mountpoint", type=click.Path(path_type=Path), shell_complete=mounted, required=False)
@click.option("--all", "everything", is_flag=True, help="All models that were found, not only those in use or trouble.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(mountpoint: Path | None, *, everything: bool, as_json: bool) -> None:
    """Show what is mounted at MOUNTPOINT (or everywhere): hubs, the cache, the models, and what went wrong."""
    ask = partial(_described, everything=everything, rates=not as_json)
    described = mount_table.of_each(ask) if mountpoint is None else [ask(mount_point.absolute(mountpoint))]
    told = [now for _, _, now in described]
    if as_json:
        click.echo(json.dumps(told if mountpoint is None else told[0], indent=2))
    elif not told:
        click.echo("No hub is mounted.")
    else:
        _show(described, everything=everything)
    if mountpoint is not None and "dead" in told[0]:
        sys.exit(1)


@click.command()
@click.argument("mountpoint", type=click.Path(path_type=Path), shell_complete=mounted, required=False)
@click.option("--interval", metavar="TIME", default="1s", help="How often it looks.  [default: 1s]")
def top(mountpoint: Path | None, *, interval: str) -> None:
    """Watch MOUNTPOINT (or all mounts, one at a time): throughput, operations, hit rates, transfers, models, troubles.

    q or Ctrl-C quits, Tab shows the next mount. It takes a terminal; for programs there is `hubfs status --json`.
    """
    try:
        interval_s = parse_time(interval)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--interval") from None
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InvalidConfig("top takes a terminal; `hubfs status` shows the same once, and --json for programs")
    from hubfs.commands.status.top import run  # noqa: PLC0415 - rich takes 0.05 s to import

    _bear_any_encoding()
    run(None if mountpoint is None else mount_point.absolute(mountpoint), interval_s)


def _described(mountpoint: Path, *, everything: bool, rates: bool) -> tuple[Path, Described | None, Described]:
    """What the mount there says, and said before."""
    state, before = mount_table.state_of(mountpoint)
    if rates and before is not None:
        time.sleep(_LOOK_S)
        state, told = mount_table.state_of(mountpoint)
    else:
        before, told = None, before
    if told is None:
        return mountpoint, None, without_status(mountpoint, state)
    models = mount_table.state_of(mountpoint, mount_table.MODELS)[1] if everything else None
    return mountpoint, before, {**told, **(models or {})}


def without_status(mountpoint: Path, state: mount_table.State) -> Described:
    """What is known of a mount that tells nothing."""
    return {"mountpoint": str(mountpoint), "state": state.value, "dead": state is mount_table.State.DEAD}


def _show(described: list[tuple[Path, Described | None, Described]], *, everything: bool) -> None:
    from hubfs.commands.status.report import as_text  # noqa: PLC0415 - rich takes 0.05 s to import

    _bear_any_encoding()
    is_terminal = sys.stdout.isatty()
    draw = partial(as_text, width=shutil.get_terminal_size().columns if is_terminal else None, color=is_terminal)
    for number, (mountpoint, before, now) in enumerate(described):
        try:
            text = draw(now, before, every=everything)
        except ValueError:
            text = draw(without_status(mountpoint, mount_table.State.STRANGE))
        click.echo(f"\n{text}" if number and "\n" in text else text)


def _bear_any_encoding() -> None:
    """A terminal that is not of UTF-8 shows `?` for what it has no sign for, such as a bar."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
