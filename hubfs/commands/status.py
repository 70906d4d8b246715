"""`hubfs status`."""

import contextlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from hubfs.commands.status_text import as_text
from hubfs.errors import MountFailed
from hubfs.mounts import point as mount_point
from hubfs.mounts import table as mount_table


@click.command()
@click.argument("mountpoint", type=click.Path(path_type=Path), required=False)
@click.option("--all", "everything", is_flag=True, help="All models that were found, not only those in use or trouble.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(mountpoint: Path | None, *, everything: bool, as_json: bool) -> None:
    """Show what is mounted at MOUNTPOINT (or everywhere): the hub, the cache, the models, and what went wrong."""
    if mountpoint is not None:
        mountpoint = mount_point.absolute(mountpoint)
        places, described = [mountpoint], [_described(mountpoint, everything=everything)]
    else:
        places, described = [], []
        for where in mount_table.mountpoints():
            with contextlib.suppress(MountFailed):  # taken off since the table was read
                described.append(_described(where, everything=everything))
                places.append(where)
    if as_json:
        click.echo(json.dumps(described if mountpoint is None else described[0], indent=2))
    elif not described:
        click.echo("No hub is mounted.")
    else:
        for where, one in zip(places, described, strict=True):
            click.echo(_text_of(where, one))
    if mountpoint is not None and "dead" in described[0]:
        sys.exit(1)


def _described(mountpoint: Path, *, everything: bool) -> Mapping[str, Any]:
    state, status = mount_table.state_of(mountpoint)
    if status is None:
        return _without_status(mountpoint, state)
    models = mount_table.state_of(mountpoint, mount_table.MODELS)[1] if everything else None
    return {**status, **(models or {})}


def _without_status(mountpoint: Path, state: mount_table.State) -> Mapping[str, Any]:
    return {"mountpoint": str(mountpoint), "state": state.value, "dead": state is mount_table.State.DEAD}


def _text_of(mountpoint: Path, described: Mapping[str, Any]) -> str:
    try:
        return as_text(described)
    except ValueError:
        return as_text(_without_status(mountpoint, mount_table.State.STRANGE))
