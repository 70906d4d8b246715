"""The commands `hubfs fetch` and `hubfs prefetch`."""

import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

from hubfs.commands.completion import handles as cached_handles
from hubfs.errors import InvalidConfig
from hubfs.settings.config import load

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--hub", metavar="URL|NAME=URL", multiple=True, help="The hub of plain handles.  [default: as for mount]"
    ),
    click.option("--format", metavar="auto|compressed|uncompressed", help="As for mount."),
    click.option("--cache-dir", metavar="DIR|URL", help="As for mount: what a mount has cached is not fetched again."),
    click.option("--cache-size", metavar="SIZE", help="As for mount."),
    click.option("--no-disk-cache", is_flag=True, default=None, help="As for mount."),
    click.option("--offline", is_flag=True, default=None, help="Take what is cached, and ask nobody."),
    click.option("--config", metavar="FILE", help="As for mount."),
    click.option("--quiet", is_flag=True, help="Say nothing but what went wrong."),
    click.option("--json", "as_json", is_flag=True, help="For programs: a line of JSON for each event."),
)


def options(command: F) -> F:
    """The options of commands that read whole models: settings of the mount's, and how to tell of what is done."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def told(*, quiet: bool, as_json: bool) -> Any:
    """A `Teller` for this terminal. Raises `click.UsageError`."""
    if quiet and as_json:
        raise click.UsageError("--quiet and --json exclude each other")
    from hubfs.commands.fetch.telling import Teller  # noqa: PLC0415 - only what is told needs it

    logging.getLogger("hubfs").addHandler(logging.NullHandler())  # what matters is raised
    return Teller(quiet=quiet, as_json=as_json, terminal=sys.stderr.isatty())


@click.command()
@click.argument("handles", metavar="HANDLE…", nargs=-1, required=True, shell_complete=cached_handles)
@click.option(
    "--to",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path),
    help="One handle: DIR becomes the model. Several: each is in DIR, at the path that it has on a mount.",
)
@options
def fetch(handles: tuple[str, ...], to: Path, *, quiet: bool, as_json: bool, **flags: Any) -> None:
    """Copy models into plain directories, without a mount: verified, and each as a whole or not at all.

    The settings are those of `hubfs mount`, and so is the cache. A fetch that was interrupted goes on where it was.

    \b
    hubfs fetch google/spice/2 --to spice
    hubfs fetch hf:BAAI/bge-m3 kaggle:keras/bert/keras/bert_tiny_en/3 --to models
    """  # noqa: D301 - the backspace is click's mark
    tell = told(quiet=quiet, as_json=as_json)
    from hubfs.commands.fetch.fetching import fetch_all  # noqa: PLC0415 - the engine takes 0.3 s to import

    fetch_all(load(flags), handles, to, tell)


@click.command()
@click.argument("handles", metavar="HANDLE…", nargs=-1, shell_complete=cached_handles)
@click.option("-f", "--file", metavar="LIST", type=click.File(), help="A file of handles, one a line; - for stdin.")
@click.option("--check", is_flag=True, help="Only say how much is cached; exit with 1 unless all of it is.")
@options
def prefetch(
    handles: tuple[str, ...], file: TextIO | None, *, check: bool, quiet: bool, as_json: bool, **flags: Any
) -> None:
    """Fill the cache with models, mounted or not.

    The settings are those of `hubfs mount`, and so is the cache. Paths below a mount name models, too. A program that
    reads a model meanwhile is served first, and nothing is fetched twice.

    \b
    hubfs prefetch google/spice/2 hf:BAAI/bge-m3
    hubfs prefetch --check -f models.txt
    """  # noqa: D301 - the backspace is click's mark
    asked = [*handles, *listed(file)]
    if not asked:
        raise click.UsageError("name a handle, or a list of handles by -f")
    tell = told(quiet=quiet, as_json=as_json)
    from hubfs.commands.fetch.filling import check_all, fill_all  # noqa: PLC0415 - the engine takes 0.3 s to import

    if not check:
        fill_all(load(flags), asked, tell)
    elif not check_all(load(flags), asked, tell):
        sys.exit(1)


def listed(file: TextIO | None) -> Sequence[str]:
    """The handles of a list: lines, but for empty ones and those that begin with `#`. Raises `InvalidConfig`."""
    if file is None:
        return ()
    try:
        lines = [line.strip() for line in file]
    except (OSError, ValueError) as error:
        raise InvalidConfig(f"the list of handles cannot be read: {error}") from error
    return [line for line in lines if line and not line.startswith("#")]
