"""`hubfs mount`: starts the daemon, or is it."""

import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

from hubfs.commands import fstab
from hubfs.commands.options import settings_options
from hubfs.daemon import keeper, log_file
from hubfs.daemon.spawn import spawn, with_options, working_directory
from hubfs.daemon.supervisor import Supervisor
from hubfs.errors import HubfsError, MountFailed, printable
from hubfs.fuse.mounting import can_be_taken_over
from hubfs.mounts import point as mount_point
from hubfs.mounts import table as mount_table
from hubfs.settings.config import NOT_VERIFIED, Config, load
from hubfs.settings.secrets import out_of_sight

_UPDATE_FSTAB = "--update-fstab"


@click.command()
@click.argument("mountpoint", type=click.Path(path_type=Path))
@settings_options
@click.option("--foreground", is_flag=True, help="Stay in the foreground; Ctrl-C unmounts.")
@click.option(
    _UPDATE_FSTAB,
    is_flag=True,
    help="Have /etc/fstab mount it so from now on: one line for MOUNTPOINT, with the options of this command line.",
)
@click.option("--ready-fd", type=int, hidden=True, help="Where the daemon says that its mount answers.")
def mount(mountpoint: Path, *, foreground: bool, update_fstab: bool, ready_fd: int | None, **flags: Any) -> None:
    """Mount a hub at MOUNTPOINT, an empty directory; or /dev/fd/N: what somebody else has mounted by that descriptor.

    Returns once the mount answers. A mount whose daemon died is replaced. Every option but --foreground and -o can be
    given as HUBFS_<OPTION> in the environment, too, and all but --foreground and --config in the config file (-o as
    mount_options); a private hub's token as HUBFS_TOKEN.
    """
    try:
        mountpoint = mount_point.absolute(mountpoint)
        config = load(flags)
        if config.supervise and mount_table.given(mountpoint) is not None:
            raise MountFailed("--supervise: who mounted what is given as a descriptor starts its daemon, too")
        if not foreground:
            with fstab.kept(mountpoint, flags) if update_fstab else contextlib.nullcontext():
                _start(config, mountpoint, flags)
        elif update_fstab:
            raise MountFailed(
                "--update-fstab and --foreground exclude each other: fstab starts mounts in the background"
            )
        else:
            _serve_here(config, mountpoint, ready_fd, flags)
    except HubfsError as error:
        with contextlib.suppress(BrokenPipeError):
            _say(ready_fd, " ".join(str(error).split()))
        raise


def _start(config: Config, mountpoint: Path, flags: Mapping[str, Any]) -> None:
    """Returns once a daemon in the background serves the mount."""
    mount_point.prepare(mountpoint)
    if not config.verify_certificates:
        click.echo(f"hubfs: {NOT_VERIFIED}", err=True)
    for text in config.warnings:
        click.echo(f"hubfs: WARNING: {printable(text)}", err=True)
    arguments = [argument for argument in sys.argv[1:] if argument != _UPDATE_FSTAB]
    log = log_file.of_daemon(config, mountpoint)
    if config.log_file is None and log is not None:
        arguments = with_options(arguments, "--log-file", str(log))
    supervise = config.supervise
    if supervise is None:
        supervise = can_be_taken_over(config.fuse_library) and mount_table.given(mountpoint) is None
    arguments = with_options(arguments, "--supervise" if supervise else "--no-supervise")
    arguments, unlisted = out_of_sight(arguments, flags)
    descriptor = mount_table.given(mountpoint)
    without_log = spawn(arguments, log, unlisted, given=[] if descriptor is None else [descriptor])
    if without_log:
        click.echo(f"hubfs: WARNING: {printable(without_log)}", err=True)


def _serve_here(config: Config, mountpoint: Path, ready_fd: int | None, flags: Mapping[str, Any]) -> None:
    # They take 0.3 s to import, and only the daemon needs them.
    from hubfs.daemon import life as daemon  # noqa: PLC0415
    from hubfs.daemon.reload import Reload  # noqa: PLC0415

    def on_ready() -> None:
        try:
            _say(ready_fd, "ready")
        except BrokenPipeError:  # Ctrl-C, say: who asked for the mount has gone, and wants none
            os.kill(os.getpid(), signal.SIGTERM)

    def serve(birth: keeper.Birth) -> NoReturn:
        if ready_fd is not None and not birth.restarts:  # the supervisor says so, and has closed it since
            os.close(ready_fd)
        daemon.run(config, mountpoint, lambda: None, birth)

    birth = keeper.Birth(keeper.service_manager(os.environ), keeper.inherited(os.environ))
    try:
        if config.supervise:
            Supervisor(
                *(serve, mountpoint, birth.keeper),
                log=config.log_file,
                logs_json=config.logs_json,
                hang_s=config.hang_timeout_s,
            ).run(on_ready)
            return
        again = Reload(working_directory(), lambda: load(flags)) if birth.is_service else None
        daemon.run(config, mountpoint, on_ready, birth, again)
    except HubfsError as error:
        birth.keeper.complain(str(error))
        raise


def _say(ready_fd: int | None, word: str) -> None:
    if ready_fd is not None:
        os.write(ready_fd, word.encode())
        os.close(ready_fd)
