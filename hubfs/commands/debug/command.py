"""`hubfs debug`."""

import io
import os
import tarfile
import time
from pathlib import Path

import click

from hubfs.commands.debug.gathering import as_text, members, text_of
from hubfs.commands.debug.secrets import Secrets
from hubfs.errors import HubfsError, printable
from hubfs.mounts import point as mount_point
from hubfs.mounts import table as mount_table
from hubfs.settings.config import settle


@click.command()
@click.argument("mountpoint", type=click.Path(path_type=Path), required=False)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="[default: hubfs-debug-TIME.tar.gz, in this directory]",
)
@click.option("--config", metavar="FILE", help="The config file of the mount.")
def debug(mountpoint: Path | None, *, out: Path | None, config: str | None) -> None:
    """Write a support bundle about the mount at MOUNTPOINT (or all mounts): a file to send to who helps.

    It has versions, settings, mounts, status, metrics, the end of the log, what the daemon is at, and `hubfs doctor`'s
    report; no secret, but names of models, hosts and paths. Takes up to two minutes.
    """
    settled = settle({"config": config})
    if mountpoint is not None:
        mountpoint = mount_point.absolute(mountpoint)
        mount_table.must_be_mounted(mountpoint)
    name = f"hubfs-debug-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    path = out or Path(f"{name}.tar.gz")
    if path.exists() or path.is_symlink():
        raise HubfsError(f"{path} is there already: name another file with --out")
    secrets = Secrets(settled.config, os.environ, Path.home())
    gathered = {}
    for member, make in members(mountpoint, settled):
        click.echo(f"gathering {member}", err=True)
        gathered[member] = as_text(secrets.without_in(text_of(make)))
    _write(path, name, gathered)
    click.echo(printable(str(path)))
    click.echo("It names models, hosts and paths: look through it before you send it.", err=True)


def _write(path: Path, name: str, gathered: dict[str, str]) -> None:
    """For its owner alone; nothing is left of one that could not be written."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as bundle:
            for member, text in gathered.items():
                data = text.encode(errors="backslashreplace")
                info = tarfile.TarInfo(f"{name}/{member}")
                info.size, info.mtime = len(data), int(time.time())
                bundle.addfile(info, io.BytesIO(data))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
