"""`hubfs status`."""

import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from hubfs.commands.status_text import as_text
from hubfs.mounts import point as mount_point
from hubfs.mounts import table as mount_table


@click.command()
@click.argument("mountpoint", type=click.Path(path_type=Path), required=False)
@click.option("--all", "everything", is_flag=True, help="All models that were found, not only those in use or trouble.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(mountpoint: Path | None, *, everything: bool, as_json: bool) -> None:
    """Show what is mounted at MOUNTPOINT (or everywhere): the hub, the cache, the models, and what went wrong."""
    if mountpoint is not None:
        described = [_described(mount_point.absolute(mountpoint), everything=everything)]
    else:
        described = mount_table.of_each(partial(_described, everything=everything))
    told = [one for _, one in described]
    if as_json:
        click.echo(json.dumps(told if mountpoint is None else told[0], indent=2))
    elif not told:
        click.echo("No hub is mounted.")
    else:
        for where, one in described:
            click.echo(_text_of(where, one))
    if mountpoint is not None and "dead" in told[0]:
        sys.exit(1)


def _described(mountpoint: Path, *, everything: bool) -> tuple[Path, Mapping[str, Any]]:
    state, told = mount_table.state_of(mountpoint)
    if told is None:
        return mountpoint, _without_status(mountpoint, state)
    models = mount_table.state_of(mountpoint, mount_table.MODELS)[1] if everything else None
    return mountpoint, {**told, **(models or {})}


def _without_status(mountpoint: Path, state: mount_table.State) -> Mapping[str, Any]:
    return {"mountpoint": str(mountpoint), "state": state.value, "dead": state is mount_table.State.DEAD}


def _text_of(mountpoint: Path, described: Mapping[str, Any]) -> str:
    try:
        return as_text(described)
    except ValueError:
        return as_text(_without_status(mountpoint, mount_table.State.STRANGE))
