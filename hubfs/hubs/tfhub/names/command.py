"""`hubfs catalog`: makes catalogues and shows them."""

from collections.abc import Collection
from pathlib import Path

import click

from hubfs.blobs.http.url import redacted
from hubfs.errors import InvalidConfig, quoted
from hubfs.hubs.about import UserSettings
from hubfs.hubs.registry import is_default
from hubfs.hubs.tfhub.bundled import bundled_catalogue
from hubfs.hubs.tfhub.names.catalogue import Catalog, CatalogKind
from hubfs.hubs.tfhub.names.file import read_catalog, to_json_lines, to_tsv


@click.group()
def catalog() -> None:
    """Which handles exist: catalogue files, for `hubfs mount --catalog`. See docs/CATALOGUE.md."""


@catalog.command("import")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--output", metavar="FILE", type=click.Path(path_type=Path), help="[default: catalog.jsonl]")
def import_(directory: Path, *, output: Path | None) -> None:
    """Make a catalogue file of DIRECTORY, a checkout of a hub's documentation repository."""
    from hubfs.hubs.tfhub.names.documentation import import_documentation  # noqa: PLC0415 - no other command reads it

    click.echo(import_documentation(directory, output or Path("catalog.jsonl")))


@catalog.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice([kind.value for kind in CatalogKind], case_sensitive=False),
    help="Only entries of this kind; may be given several times.",
)
@click.option(
    "--task", "tasks", metavar="TASK", multiple=True, help="Only models for this task, such as text-embedding."
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    help="json has all that is known, an object a line.  [default: text]",
)
@click.pass_obj
def ls(
    settings: UserSettings, file: Path | None, *, kinds: Collection[str], tasks: Collection[str], format_: str
) -> None:
    """Show what is in the catalogue FILE, one handle a line. Asks no hub.

    Without FILE: what `hubfs mount` would use, which is the file of --catalog, or for https://tfhub.dev the public
    catalogue that comes with hubfs.
    """
    catalogue = _configured(settings) if file is None else Catalog(read_catalog(file))
    known = {entry.task for entry in catalogue.entries if entry.task is not None}
    for task in tasks:
        if task not in known:  # it is mistyped
            near = [other for other in sorted(known) if not {*task.split("-")}.isdisjoint(other.split("-"))]
            hint = f"near it: {', '.join(near)}" if near else "`hubfs catalog ls --format json` shows the tasks"
            raise InvalidConfig(f"No model of the catalogue is for the task '{quoted(task)}'; {hint}")
    entries = [
        entry
        for entry in catalogue.entries
        if (not kinds or entry.kind.value in kinds) and (not tasks or entry.task in tasks)
    ]
    click.echo((to_json_lines if format_ == "json" else to_tsv)(entries), nl=False)


def _configured(settings: UserSettings) -> Catalog:
    hubs = settings.hubs()
    files = [file for url, file in hubs if file is not None or is_default(url)]
    if files:
        found = [bundled_catalogue() if file is None else Catalog(read_catalog(file)) for file in files]
        return found[0] if len(found) == 1 else Catalog([entry for one in found for entry in one.entries])
    asked = ", ".join(redacted(url) for url, _ in hubs)
    raise InvalidConfig(f"No catalogue of {asked} is configured: name a FILE, which `hubfs catalog import` makes")
