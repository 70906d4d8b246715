"""`mount.hubfs`: mount(8) runs it for `mount -t hubfs` and for lines of /etc/fstab; systemd runs mount(8)."""

from collections.abc import Iterator, Mapping, Sequence

import click

from hubfs.blobs.http.url import without_secrets
from hubfs.commands.options import settings_options
from hubfs.errors import printable
from hubfs.fuse.session.device import KNOWN_OPTIONS
from hubfs.settings.secrets import SECRET

CONFIGURED = "hubfs"
"""The hub of a line that names none: what the environment and the config file say."""

WRONG_USE, MOUNT_FAILED = 1, 32
"""Exit statuses of mount(8)."""

_FOR_OTHERS = frozenset(
    (
        *("_netdev", "auto", "comment", "defaults", "group", "nofail", "noauto", "nouser", "owner", "user", "users"),
        *("async", "atime", "diratime", "exec", "loud", "norelatime", "nostrictatime", "relatime", "rw", "silent"),
        *("strictatime",),
    )
)
"""Options for mount(8) and systemd, or what holds in any case; `rw` is what mount(8) says where a line says nothing."""

_FOR_OTHERS_PREFIXES = ("x-", "X-")


@click.command()
@settings_options
def _settings() -> None:
    """What knows the names of the settings."""


def _flags() -> Mapping[str, tuple[str, bool]]:
    """The options of `hubfs mount` by their names in fstab, and whether each takes a value. Secrets are none: everybody
    may read that file.
    """
    found = {}
    for option in _settings.params:
        if option.name in SECRET:
            continue
        for flag in (*option.opts, *option.secondary_opts):
            if flag.startswith("--") and isinstance(option, click.Option):
                found[flag.removeprefix("--").replace("-", "_")] = (flag, not option.is_flag)
    return found


def split(text: str) -> Iterator[tuple[str, str | None]]:
    """The options in a text, and their values: separated by commas, of which those in double quotes are none."""
    parts = text.split('"')
    parts[::2] = [part.replace(",", "\0") for part in parts[::2]]
    for option in "".join(parts).split("\0"):
        name, equals, value = option.partition("=")
        if name:
            yield name, value if equals else None


def arguments_of(spec: str, directory: str, options: Sequence[str], *, sloppy: bool = False) -> list[str]:
    """What `hubfs` is told for a line of fstab. Raises `click.UsageError` for an option that nobody knows, unless
    `sloppy`.
    """
    known, arguments, of_the_mount = _flags(), ["mount"], []
    for name, value in (pair for text in options for pair in split(text)):
        flag, takes_value = known.get(name.replace("-", "_"), ("", False))
        if flag and takes_value == (value is not None):
            arguments.append(flag if value is None else f"{flag}={value}")
        elif flag:
            raise click.UsageError(f"the option {name} {'takes a' if takes_value else 'has no'} value")
        elif name in KNOWN_OPTIONS:
            of_the_mount.append(name if value is None else f"{name}={value}")
        elif name not in _FOR_OTHERS and not name.startswith(_FOR_OTHERS_PREFIXES) and not sloppy:
            every = ", ".join(sorted({*known, *KNOWN_OPTIONS}))
            raise click.UsageError(f"unknown option {name!r}; there are {every}, and those of mount(8)")
    if spec != CONFIGURED:
        arguments.append(f"--hub={spec}")
    named = any(option.startswith("fsname=") for option in of_the_mount)
    if not named and "," not in spec and without_secrets(spec) == spec:  # so that `mount -a` knows it again
        of_the_mount.append(f"fsname={spec}")
    arguments += [f"-o{option}" for option in of_the_mount]
    return [*arguments, "--", directory]


@click.command(name="mount.hubfs", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("spec")
@click.argument("directory")
@click.option(
    "-o",
    "options",
    metavar="OPT[,OPT…]",
    multiple=True,
    help="Settings as `hubfs mount` has them, with _ for - (cache_dir=DIR,allow_other), and options of mount(8).",
)
@click.option("-s", "sloppy", is_flag=True, help="Leave out options that nobody knows.")
@click.option("-f", "fake", is_flag=True, help="Look at the options, and mount nothing.")
@click.option("-v", "verbose", is_flag=True, help="Say what is run.")
@click.option("-n", "_no_mtab", is_flag=True, help="Does nothing: no list of mounts is written in any case.")
@click.option("-t", "_kind", metavar="TYPE", help="Does nothing: it is hubfs, or fuse.hubfs.")
def mount_helper(
    spec: str, directory: str, *, options: Sequence[str], sloppy: bool, fake: bool, verbose: bool, **_nothing: object
) -> list[str] | None:
    """Mount the hub SPEC (its URL, or several NAME=URL with spaces between) at DIRECTORY, for mount(8).

    \b
    mount -t hubfs hf: /mnt/hf -o allow_other,profile=serving
    hf: /mnt/hf hubfs allow_other,_netdev,nofail 0 0

    The second line is one of /etc/fstab. The SPEC `hubfs` is the hub of the config file. Exit codes are those of
    mount(8): 1 for options that cannot be understood, 32 for a mount that failed.
    """  # noqa: D301 - the backspace is click's mark
    arguments = arguments_of(spec, directory, options, sloppy=sloppy)
    if verbose:
        click.echo(printable(f"hubfs {' '.join(arguments)}"))
    return None if fake else arguments
