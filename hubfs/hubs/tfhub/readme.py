"""The README.md of a model of https://tfhub.dev: what the catalogue knows of it, and where it lives now. No I/O."""

from collections.abc import Iterable, Mapping, Sequence

from hubfs.hubs.hub import WayTold
from hubfs.hubs.tfhub.names.catalogue import Catalog, CatalogEntry

_AT_KAGGLE = "https://www.kaggle.com/models/"


def readme(name: str, catalog: Catalog, ways: Sequence[WayTold], found: Mapping[str, str]) -> bytes:
    """Markdown, in UTF-8, about the model `name`: its documentation, as far as `catalog` has any, comes first.

    `ways`: by which a mount asks for models, in their order. `found`: the way that answered, by version.
    """
    documented = catalog.documentation(name)
    versions = [entry for version in catalog.versions(name) if (entry := catalog.entry(f"{name}/{version}"))]
    first = f"# {name}" if documented is None else documented.decode().rstrip()
    return "\n".join((first, "", *_lines(versions, ways, found), "")).encode()


def _lines(versions: Iterable[CatalogEntry], ways: Sequence[WayTold], found: Mapping[str, str]) -> Iterable[str]:
    yield "| version | format | task | where it lives now |"
    yield "|---|---|---|---|"
    for entry in versions:
        version = entry.handle.rpartition("/")[2]
        yield f"| {version} | {entry.format or ''} | {entry.task or ''} | {_place(entry)} |"
    yield ""
    yield "https://tfhub.dev redirects to Kaggle since November 2023."
    yield f"This mount asks for models by {', '.join(f'{way.name} ({way.url})' for way in ways)}, in this order."
    for version, way in found.items():
        yield f"Version {version} is read by {way}."


def _place(entry: CatalogEntry) -> str:
    if entry.kaggle is None:
        return "its name at Kaggle is not known"
    how = "" if entry.kaggle.seen else " (deduced from another version)"
    return f"<{_AT_KAGGLE}{entry.kaggle.name}>{how}"
