"""The README.md of a model of https://tfhub.dev: what the catalogue knows of it, and where it lives now. No I/O."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from hubfs.hubs.hub import WayTold
from hubfs.hubs.names import Known
from hubfs.hubs.place import Place, Shown, Text
from hubfs.hubs.tfhub.names.catalogue import Catalog, CatalogEntry
from hubfs.hubs.tfhub.names.handles import Handles
from hubfs.hubs.tfhub.names.places import README
from hubfs.hubs.tfhub.names.provider import CatalogProvider
from hubfs.hubs.tfhub.ways import Way
from hubfs.model_id import ModelId

_AT_KAGGLE = "https://www.kaggle.com/models/"


class WithReadme(Handles):
    """The names of https://tfhub.dev: each model that `catalog` knows has a README.md.

    `ways`: by which a mount asks for models, in their order; `way_of` says which of them answered for a model.
    """

    def __init__(
        self,
        hub_url: str,
        catalog: CatalogProvider,
        ways: Callable[[], Sequence[WayTold]],
        way_of: Callable[[ModelId], Way | None],
    ) -> None:
        super().__init__(hub_url, catalog)
        self._ways, self._way_of = ways, way_of

    def place(self, path: str) -> Place:
        """What `path` is, by the grammar of handles and the catalogue."""
        name, _, last = path.strip("/").rpartition("/")
        if last == README and (versions := self.written_versions(name)):
            ways = {version: self._way_of(ModelId(name, version)) for version in versions}
            found = {version: way.value for version, way in ways.items() if way is not None}
            return Text(readme(name, self._catalog.current(), self._ways(), found))
        return super().place(path)

    def shown(self, folder: tuple[str, ...], known: Known) -> Shown:
        """Publishers, names, versions, `latest` and documentation."""
        shown = super().shown(folder, known)
        return replace(shown, texts=[README]) if self.written_versions("/".join(folder)) else shown


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
