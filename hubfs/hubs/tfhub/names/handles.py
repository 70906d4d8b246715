"""Handles as the names of a hub: PUBLISHER/NAME/VERSION with kinds, as the catalogue has them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from hubfs.hubs.names import Known, Names, Patience, View
from hubfs.hubs.place import Place, Shown
from hubfs.hubs.registry import DEFAULT_HUB
from hubfs.hubs.tfhub.names.handle import handle_on, is_typed, is_versioned, parse_handle, version_age
from hubfs.hubs.tfhub.names.places import names_in, place_of
from hubfs.hubs.tfhub.names.provider import CatalogProvider
from hubfs.hubs.tfhub.names.tfhub_modules import TfhubModules
from hubfs.model_id import ModelId
from hubfs.waiting import Cancellation


def names_of(hub_url: str, cancellation: Cancellation, catalog: Path | None) -> Names:
    """The names of the hub at `hub_url`, which has no catalogue of its own."""
    return Handles(hub_url, CatalogProvider(cancellation, file=catalog))


class Handles(Names):
    """The names of the hub at `hub_url`, of which `catalog` knows some."""

    root_files = ("saved_model.pb", "saved_model.pbtxt", "tfhub_module.pb", "model.json", "model.tflite")

    def __init__(self, hub_url: str, catalog: CatalogProvider) -> None:
        self._hub_url, self._catalog = hub_url, catalog

    def parse(self, text: str) -> ModelId:
        """Reads `google/spice/2`. Raises `InvalidHandle`."""
        return parse_handle(text)

    def find(self, text: str) -> tuple[str, str | None] | None:
        """The name and version in a handle, a name without version (None), or the URL of either on this hub."""
        found = handle_on(self._hub_url, text)
        if found is None:
            return None
        name, _, version = found.rpartition("/")
        return (name, version) if is_versioned(found) else (found, None)

    def place(self, path: str) -> Place:
        """What `path` is, by the grammar of handles and the catalogue."""
        return place_of(path, self._catalog.current())

    def shown(self, folder: tuple[str, ...], known: Known) -> Shown:
        """Publishers, names, versions, `latest` and documentation."""
        return names_in(folder, self._catalog.current(), known)

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

    def views(self, handles: Callable[[], Iterable[str]], root: str) -> Mapping[str, View]:
        """The cache directory of tensorflow_hub."""
        return {"tfhub_modules": TfhubModules([DEFAULT_HUB, self._hub_url], handles, root)}
