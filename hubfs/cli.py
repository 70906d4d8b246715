"""The command `hubfs`. Arguments are read here and nowhere else."""

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NoReturn, TypeVar, cast

import click

from hubfs import __version__
from hubfs.commands import resolve as locate
from hubfs.commands.cache.command import cache
from hubfs.commands.doctor.command import doctor
from hubfs.commands.fetch.command import fetch, prefetch
from hubfs.commands.search import search
from hubfs.commands.status import status
from hubfs.commands.status_text import UNVERIFIED
from hubfs.daemon import keeper, log_file
from hubfs.daemon.spawn import spawn, with_options
from hubfs.daemon.supervisor import Supervisor
from hubfs.errors import HubfsError, MountFailed, printable
from hubfs.fuse.mounting import can_be_taken_over
from hubfs.hubs.about import UserSettings
from hubfs.hubs.registry import DEFAULT, DEFAULT_HUB, KINDS
from hubfs.mounts import point as mount_point
from hubfs.mounts import table as mount_table
from hubfs.mounts import taking as unmounting
from hubfs.settings.config import Config, load, out_of_sight
from hubfs.settings.values import parse_size

F = TypeVar("F", bound=Callable[..., Any])

_STDOUT, _STDERR = 1, 2
_CANNOT_BE_WRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What writing to a full disk, or to a terminal that is gone, ends with. A pipe that is closed is click's."""


_OF_HUBS = {name: command for kind in KINDS for name, command in kind.commands.items()}
"""Commands for one kind of hub each, as `module:attribute`, by name."""

_TRANSLATIONS = [translation for kind in KINDS for translation in kind.translations]

_HELP = f"""The hub as a file system.

\b
{DEFAULT.examples}

Every model of the hub is a directory of ordinary read-only files. They are fetched when they are read, once, and
kept in a cache that survives restarts.
"""
"""A backspace is click's mark of lines that stay lines."""


def _hubs() -> list[tuple[str, Path | None]]:
    return [(config.hub, config.catalog) for config in load({}).each_hub().values()]


class _Group(click.Group):
    """Says what went wrong in one line, and exits with 1; with 2 for arguments that cannot be understood.

    A command for one kind of hub is imported when it is called, or shown.
    """

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        of_hub = _OF_HUBS.get(cmd_name)
        return super().get_command(ctx, cmd_name) if of_hub is None else cast("click.Command", resolve_name(of_hub))

    def invoke(self, ctx: click.Context) -> Any:
        _open_standard_files()
        try:
            return super().invoke(ctx)
        except HubfsError as error:
            click.echo(f"hubfs: {' '.join(str(error).split())}", err=True)
            ctx.exit(1)

    def main(self, *args: Any, **extra: Any) -> Any:
        try:
            return super().main(*args, **extra)
        except OSError as error:  # of what nobody thought of: a directory above a path that may not be searched, say
            if error.filename is None and error.errno not in _CANNOT_BE_WRITTEN:
                raise
            with contextlib.suppress(OSError):
                what = "the output cannot be written" if error.filename is None else error.filename
                click.echo(f"hubfs: {printable(f'{what}: {error.strerror}')}", err=True)
            _forget_output()
            sys.exit(1)


def _forget_output() -> None:
    """What could not be written is still in a buffer, and the interpreter would try again, and complain, at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDOUT)
    os.dup2(nowhere, _STDERR)


def _open_standard_files() -> None:
    """Where one of them was closed, the next file or pipe would get its number, and be lost in a child's own.

    Python has none of those either, and who writes to it, or has crashes told there, would fail.
    """
    while (opened := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(opened, True)
    os.close(opened)
    for number, (name, mode) in enumerate({"stdin": "r", "stdout": "w", "stderr": "w"}.items()):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - for good


@click.group(
    cls=_Group,
    help=_HELP,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "obj": UserSettings(hubs=_hubs, size_bytes=parse_size),
    },
    epilog="Exit codes: 0 done, 1 failed (one line on stderr says why), 2 the arguments make no sense.",
)
@click.version_option(__version__, package_name="hubfs", message="%(version)s")
def main() -> None:
    """The command `hubfs`."""


@main.command()
@click.argument("mountpoint", type=click.Path(path_type=Path))
@click.option(
    "--hub",
    metavar="URL|NAME=URL",
    multiple=True,
    help=f"The hub: {', or '.join(kind.told for kind in KINDS if kind.told)}. Several hubs are NAME=URL each, and "
    f"every one is in the directory NAME.  [default: {DEFAULT_HUB}]",
)
@click.option(
    "--format",
    metavar="auto|compressed|uncompressed",
    help="How to ask for models. auto asks for the uncompressed form (read by range from a bucket), and falls back to "
    "the archive (extracted while it streams).  [default: auto]",
)
@click.option(
    "--cache-dir",
    metavar="DIR|URL",
    help="Where blocks are kept.  [default: the user's cache directory]  A URL (gs://…) adds a second level that a "
    "fleet shares behind it.",
)
@click.option("--catalog", metavar="FILE", help="Which handles exist, for listings: see `hubfs catalog import`.")
@click.option("--no-disk-cache", is_flag=True, default=None, help="Keep blocks in memory only; no file is written.")
@click.option("--cache-size", metavar="SIZE", help="How large the disk cache may grow.  [default: 10GiB]")
@click.option(
    "--memory-size",
    metavar="SIZE",
    help="How much memory blocks and transfers may take.  [default: a quarter of the memory, 32MiB to 256MiB]",
)
@click.option(
    "--inflate-workers",
    metavar="N",
    help="How many threads inflate an archive, in a process of their own; 0: one, in the daemon.  "
    "[default: one a processor]",
)
@click.option(
    "--prefetch",
    metavar="auto|none",
    help=f"auto fetches what a loader will want next while it reads the graph: at most 64 MiB because {DEFAULT.graph} "
    "was opened, the rest once a loader is at work. none waits until it is asked for.  [default: auto]",
)
@click.option(
    "--verify",
    metavar="once|always",
    help="once verifies a file of the cache as a whole, when it is whole; always verifies each block each time that it "
    "is read from the disk.  [default: once]",
)
@click.option(
    "--require-sandbox",
    is_flag=True,
    default=None,
    help="Refuse to mount where the process that inflates archives cannot be confined (Landlock, seccomp).",
)
@click.option("--offline", is_flag=True, default=None, help="Serve what is cached, and ask nobody for anything.")
@click.option("--allow-other", is_flag=True, default=None, help="Let other users read the mount, too.")
@click.option("--foreground", is_flag=True, help="Stay in the foreground; Ctrl-C unmounts.")
@click.option(
    "--supervise/--no-supervise",
    default=None,
    help="Have a process beside the daemon follow it with another one when it dies: with the kernel session, on Linux "
    "6.9, readers notice nothing.  [default: so there, in the background]",
)
@click.option("--config", metavar="FILE", help="A TOML file of settings, named as the options are.")
@click.option("--log-file", metavar="FILE", help="Where the log goes.  [default: stderr with --foreground]")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.  [default: info]")
@click.option(
    "--fuse-library",
    metavar="auto|session|libfuse3|libfuse2",
    help="How to serve the kernel: session is hubfs itself, without any libfuse.  [default: auto]",
)
@click.option(
    "-o", "mount_options", metavar="OPT[,OPT…]", multiple=True, help="Options of the mount, as mount(8) has them."
)
@click.option("--ready-fd", type=int, hidden=True, help="Where the daemon says that its mount answers.")
def mount(mountpoint: Path, *, foreground: bool, ready_fd: int | None, **flags: Any) -> None:
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
        if foreground:
            _serve_here(config, mountpoint, ready_fd)
            return
        mount_point.prepare(mountpoint)
        if not config.verify_certificates:
            click.echo(f"hubfs: {UNVERIFIED}", err=True)
        for text in config.warnings:
            click.echo(f"hubfs: WARNING: {printable(text)}", err=True)
        arguments = [*sys.argv[1:]]
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
    except HubfsError as error:
        with contextlib.suppress(BrokenPipeError):
            _say(ready_fd, " ".join(str(error).split()))
        raise


def _serve_here(config: Config, mountpoint: Path, ready_fd: int | None) -> None:
    from hubfs.daemon import life as daemon  # noqa: PLC0415 - it takes 0.3 s to import, and only the daemon needs it

    def on_ready() -> None:
        try:
            _say(ready_fd, "ready")
        except BrokenPipeError:  # Ctrl-C, say: who asked for the mount has gone, and wants none
            os.kill(os.getpid(), signal.SIGTERM)

    def serve(birth: keeper.Birth) -> NoReturn:
        if ready_fd is not None and not birth.restarts:  # the supervisor says so, and has closed it since
            os.close(ready_fd)
        daemon.run(config, mountpoint, lambda: None, birth)

    manager, held = keeper.service_manager(os.environ), keeper.inherited(os.environ)
    if config.supervise:
        Supervisor(serve, mountpoint, config.log_file, manager, config.hang_timeout_s).run(on_ready)
    else:
        daemon.run(config, mountpoint, on_ready, keeper.Birth(manager, held))


def _say(ready_fd: int | None, word: str) -> None:
    if ready_fd is not None:
        os.write(ready_fd, word.encode())
        os.close(ready_fd)


@main.command()
@click.argument("mountpoint", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Though it is in use, or does not answer: who reads from it gets an error.")
def unmount(mountpoint: Path, *, force: bool) -> None:
    """Unmount MOUNTPOINT; its daemon ends, and so does what supervises it. What was cached stays."""
    (unmounting.force if force else unmounting.unmount)(mount_point.absolute(mountpoint))


def _translations(command: F) -> F:
    """The options that print what another hub calls a model."""
    for one in reversed(_TRANSLATIONS):
        command = click.option(f"--{one.option}", is_flag=True, help=one.help)(command)
    return command


@main.command()
@click.argument("handle")
@click.option("--gcs", is_flag=True, help="Print the gs:// folder instead, for TPU workers, which cannot see a mount.")
@_translations
@click.option("--hub", metavar="URL", help="With --gcs: the hub to ask.  [default: as for mount]")
def resolve(handle: str, *, gcs: bool, hub: str | None, **translations: bool) -> None:
    """Print the path of HANDLE (google/spice/2, or its URL) below a mount. Without a version: of the latest.

    \b
    python serve.py --model_dir "$(hubfs resolve google/spice/2)"
    """  # noqa: D301 - the backspace is click's mark
    asked = [one for one in _TRANSLATIONS if translations[one.option]]
    if gcs + len(asked) > 1:
        *others, last = ("--gcs", *(f"--{one.option}" for one in _TRANSLATIONS))
        raise click.UsageError(f"{', '.join(others)} and {last} exclude each other")
    if asked:
        click.echo(resolve_name(asked[0].function)(handle))
        return
    if not gcs:
        click.echo(locate.below_a_mount(handle))
        return
    from hubfs.endpoints import gcs_folder  # noqa: PLC0415 - requests takes 0.1 s to import

    click.echo(gcs_folder(load({"hub": hub}), handle))


@main.command()
@click.argument("archive", type=click.Path(path_type=Path))
@click.option("--output", metavar="FILE", type=click.Path(path_type=Path), help="[default: ARCHIVE.hubfs-index]")
def index(archive: Path, *, output: Path | None) -> None:
    """Write the index of ARCHIVE (.tar.gz or .tar), to be published beside it.

    A host that serves the index under the URL of the archive with .hubfs-index behind its path lets mounts read any
    file of a model at once, and no more of the archive than that.
    """
    from hubfs.commands.index import write_index  # noqa: PLC0415 - what inflates takes 0.05 s to import

    click.echo(write_index(archive, output, workers=os.cpu_count() or 1))


_OWN = (status, doctor, search, cache, fetch, prefetch)

for command in (*_OWN, *map(click.Command, _OF_HUBS)):  # `get_command` has the latter themselves
    main.add_command(command)
