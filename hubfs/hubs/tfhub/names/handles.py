"""Handles as the names of a hub: PUBLISHER/NAME/VERSION with kinds, as the catalogue has them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from hubfs.errors import InvalidHandle
from hubfs.hubs.names import Known, Names, Patience, View
from hubfs.hubs.place import Place, Shown, Text
from hubfs.hubs.registry import DEFAULT_HUB
from hubfs.hubs.tfhub.names.catalogue import Catalog
from hubfs.hubs.tfhub.names.handle import is_name, is_typed, parse_handle, version_age
from hubfs.hubs.tfhub.names.places import README, names_in, place_of
from hubfs.hubs.tfhub.names.provider import CatalogProvider
from hubfs.hubs.tfhub.names.tfhub_modules import TfhubModules
from hubfs.model_id import ModelId
from hubfs.waiting import Cancellation


def names_of(hub_url: str, cancellation: Cancellation, catalog: Path | None) -> Names:
    """The names of the hub at `hub_url`, which has no catalogue of its own."""
    return Handles(hub_url, CatalogProvider(cancellation, file=catalog))


_PLACES = 10_000
"""Of so many paths it is remembered what they are: a walk through 2,000 models asks for fewer, for each a few times."""


class Handles(Names):
    """The names of the hub at `hub_url`, of which `catalog` knows some; `readme` writes a page of each such name."""

    root_files = ("saved_model.pb", "saved_model.pbtxt", "tfhub_module.pb", "model.json", "model.tflite")

    def __init__(
        self, hub_url: str, catalog: CatalogProvider, readme: Callable[[Catalog, str], bytes] | None = None
    ) -> None:
        self._hub_url, self._catalog, self._readme = hub_url, catalog, readme
        self._place_of = lru_cache(_PLACES)(place_of)

    def parse(self, text: str) -> ModelId:
        """Reads `google/spice/2`. Raises `InvalidHandle`."""
        return parse_handle(text)

    def find(self, text: str) -> tuple[str, str | None] | None:
        """The name and version in a handle, a name without version (None), or the URL of either on this hub.

        None for the URL of something else. Raises `InvalidHandle` for what is neither.
        """
        if "://" in text:
            text, prefix = (url.partition("://")[2].strip("/") for url in (text.partition("?")[0], self._hub_url))
            if not text.startswith(f"{prefix}/"):
                return None
            text = text.removeprefix(prefix)
        text = text.strip("/")
        try:
            model = parse_handle(text)
        except InvalidHandle:
            if not is_name(text.split("/")):
                raise
            return text, None
        return model.name, model.version

    def place(self, path: str) -> Place:
        """What `path` is, by the grammar of handles and the catalogue."""
        catalog = self._catalog.current()
        name, _, last = path.strip("/").rpartition("/")
        if last != README:
            return self._place_of(path, catalog)
        if self._readme is not None and catalog.versions(name):
            return Text(self._readme(catalog, name))
        return place_of(path, catalog)  # which is not remembered: the texts may be long

    def shown(self, folder: tuple[str, ...], known: Known) -> Shown:
        """Publishers, names, versions, `latest` and documentation."""
        catalog = self._catalog.current()
        shown = names_in(folder, catalog, known)
        has_page = self._readme is not None and catalog.versions("/".join(folder))
        return replace(shown, texts=[README]) if has_page else shown

    def age(self, version: str) -> tuple[int, str, str]:
        """Sorts versions as numbers."""
        return version_age(version)

    def are_versions_below(self, name: str) -> bool:
        """Names of some kinds have numbers in them."""
        return not is_typed(name.split("/"))

    def written_versions(self, name: str) -> Sequence[str]:
        """Those of the catalogue."""
        return self._catalog.current().versions(name)

    def written(self) -> Sequence[str]:
        """Those of the catalogue."""
        return self._catalog.current().handles()

    def renew(self, patiently: Patience) -> None:
        """Asks for the hub's own catalogue, where it has one."""
        self._catalog.renew(patiently)

    def views(self, known: Known, root: str) -> Mapping[str, View]:
        """The cache directory of tensorflow_hub."""
        return {"tfhub_modules": TfhubModules([DEFAULT_HUB, self._hub_url], known.handles, root)}
