"""`hubfs unmount`."""

from pathlib import Path

import click

from hubfs.commands.completion import mounted
from hubfs.mounts import point as mount_point
from hubfs.mounts import taking as unmounting


@click.command()
@click.argument("mountpoint", type=click.Path(path_type=Path), shell_complete=mounted)
@click.option("--force", is_flag=True, help="Though it is in use, or does not answer: who reads from it gets an error.")
def unmount(mountpoint: Path, *, force: bool) -> None:
    """Unmount MOUNTPOINT; its daemon ends, and so does what supervises it. What was cached stays."""
    (unmounting.force if force else unmounting.unmount)(mount_point.absolute(mountpoint))
