"""The command `hubfs`: its group, and where each command is. A command is imported when it is called."""

import contextlib
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NoReturn, cast

import click
from click.shell_completion import CompletionItem

from hubfs import __version__
from hubfs.errors import HubfsError, printable
from hubfs.hubs.about import Command, UserSettings
from hubfs.hubs.registry import DEFAULT, KINDS

_STDOUT, _STDERR = 1, 2
_COMPLETES = "_HUBFS_COMPLETE"
"""What a shell sets that wants to know what may follow; click's name."""

_CANNOT_BE_WRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What writing to a full disk, or to a terminal that is gone, ends with. A pipe that is closed is click's."""

COMMANDS = {
    "cache": Command("hubfs.commands.cache.command:cache", "Look at what is cached, and take it away."),
    "completion": Command("hubfs.commands.completion:completion", "Print what has a shell complete commands."),
    "config": Command("hubfs.commands.config:config", "Look at the settings that are in force."),
    "debug": Command("hubfs.commands.debug.command:debug", "Write a support bundle, without secrets."),
    "doctor": Command("hubfs.commands.doctor.command:doctor", "Look at all that a mount needs."),
    "fetch": Command("hubfs.commands.fetch.command:fetch", "Copy models into plain directories, without a mount."),
    "index": Command("hubfs.commands.index:index", "Write the index of an archive, to be published beside it."),
    "mirror": Command(
        "hubfs.commands.mirror.command:mirror", "Make a directory or a bucket a hub, with models of others."
    ),
    "mount": Command("hubfs.commands.mount:mount", "Mount a hub, or several."),
    "prefetch": Command("hubfs.commands.fetch.command:prefetch", "Fill the cache with models, mounted or not."),
    "resolve": Command("hubfs.commands.resolve:resolve", "Print the path of a handle below a mount."),
    "search": Command("hubfs.commands.search:search", "Find models by words."),
    "status": Command("hubfs.commands.status.command:status", "Show what is mounted, and what went wrong."),
    "top": Command("hubfs.commands.status.command:top", "Watch mounts: throughput, operations, transfers, troubles."),
    "unmount": Command("hubfs.commands.unmount:unmount", "Unmount a hub."),
    **{name: command for kind in KINDS for name, command in kind.commands.items()},
}
"""Every command with its line in the help of `hubfs`, so that neither help nor completion imports a command."""

_HELP = f"""The hub as a file system.

\b
{DEFAULT.examples}

Every model of the hub is a directory of ordinary read-only files. They are fetched when they are read, once, and
kept in a cache that survives restarts.
"""
"""A backspace is click's mark of lines that stay lines."""


def _hubs() -> Sequence[tuple[str, Path | None]]:
    from hubfs.settings.config import load  # noqa: PLC0415 - of the commands that ask for it

    return [(config.hub, config.catalog) for config in load({}).each_hub().values()]


def _size_bytes(text: str) -> int:
    from hubfs.settings.values import parse_size  # noqa: PLC0415 - of the commands that ask for it

    return parse_size(text)


class _Group(click.Group):
    """Imports a command when it is called.

    Says what went wrong in one line, and exits with 1; with 2 for arguments that cannot be understood.
    """

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        found = COMMANDS.get(cmd_name)
        return None if found is None else cast("click.Command", resolve_name(found.function))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].help) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=COMMANDS[name].help) for name in names), *options]

    def invoke(self, ctx: click.Context) -> Any:
        _open_standard_files()
        try:
            return super().invoke(ctx)
        except HubfsError as error:
            click.echo(f"hubfs: {' '.join(str(error).split())}", err=True)
            ctx.exit(1)

    def main(self, *args: Any, **extra: Any) -> Any:
        if _COMPLETES in os.environ:
            import hubfs.commands.completion  # noqa: F401, PLC0415 - it registers how bash is answered
        if not args and _is_of_mount_fuse(sys.argv[1:]):
            sys.argv[-1] = sys.argv[-1].removesuffix(",dev,suid")  # mount(8) adds these for root, also after `-o suid`
            mount_helper()
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


def _is_of_mount_fuse(arguments: Sequence[str]) -> bool:
    """Whether `mount -t fuse.hubfs SPEC DIRECTORY` runs this: mount.fuse3 knows no commands."""
    return len(arguments) == 4 and arguments[2] == "-o" and arguments[0] not in COMMANDS  # noqa: PLR2004 - and options


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
    commands=[click.Command(name) for name in COMMANDS],  # `get_command` has the commands themselves
    help=_HELP,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "obj": UserSettings(hubs=_hubs, size_bytes=_size_bytes),
    },
    epilog="Exit codes: 0 done, 1 failed (one line on stderr says why), 2 the arguments make no sense.",
)
@click.version_option(__version__, package_name="hubfs", message="%(version)s")
def main() -> None:
    """The command `hubfs`."""


def mount_helper() -> NoReturn:
    """The command `mount.hubfs`: reads what mount(8), or mount.fuse3, says, and goes on as `hubfs mount`."""
    from hubfs.commands.mount_helper import MOUNT_FAILED, WRONG_USE, mount_helper  # noqa: PLC0415 - not for `hubfs`

    try:
        arguments = mount_helper.main(standalone_mode=False)
    except click.ClickException as error:
        click.echo(f"mount.hubfs: {error.format_message()}", err=True)
        sys.exit(WRONG_USE)
    if not isinstance(arguments, list):  # -f, --help
        sys.exit(0)
    # The daemon is started by this command line.
    sys.argv = [str(Path(sys.argv[0]).resolve().with_name("hubfs")), *arguments]
    try:
        main.main(prog_name="hubfs")
    except SystemExit as ended:
        if ended.code not in (0, None):
            sys.exit(WRONG_USE if ended.code == click.UsageError.exit_code else MOUNT_FAILED)
    sys.exit(0)
