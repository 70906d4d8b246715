"""`hubfs resolve`: where a handle is, below a mount."""

from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any, TypeVar

import click

from hubfs.commands.completion import handles
from hubfs.hubs.registry import KINDS
from hubfs.library.below_mounts import below_a_mount
from hubfs.settings.config import load

F = TypeVar("F", bound=Callable[..., Any])

_TRANSLATIONS = [translation for kind in KINDS for translation in kind.translations]


def _translations(command: F) -> F:
    """The options that print what another hub calls a model."""
    for one in reversed(_TRANSLATIONS):
        command = click.option(f"--{one.option}", is_flag=True, help=one.help)(command)
    return command


@click.command()
@click.argument("handle", shell_complete=handles)
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
        click.echo(below_a_mount(handle))
        return
    from hubfs.endpoints import gcs_folder  # noqa: PLC0415 - requests takes 0.1 s to import

    click.echo(gcs_folder(load({"hub": hub}), handle))
