"""What hubs share whose models have handles: PUBLISHER/NAME/VERSION, and versions that are numbers."""

from collections.abc import Callable, Collection, Iterable, Mapping

from hubfs.hubs.hub import Hub, View
from hubfs.hubs.place import Place, Shown
from hubfs.hubs.registry import DEFAULT_HUB
from hubfs.hubs.tfhub.names.catalogue import Catalog
from hubfs.hubs.tfhub.names.handle import handle_on, is_versioned, parse_handle, version_age
from hubfs.hubs.tfhub.names.places import Known, names_in, place_of
from hubfs.hubs.tfhub.names.tfhub_modules import TfhubModules
from hubfs.model_id import ModelId


class Handles(Hub):
    """The names of a hub at `url`: its part of `Hub` that asks nobody."""

    def __init__(self, url: str, host: str, label: str) -> None:
        self.url, self.host, self.label = url, host, label

    def parse(self, text: str) -> ModelId:
        """Reads `google/spice/2`. Raises `InvalidHandle`."""
        return parse_handle(text)

    def find(self, text: str) -> tuple[str, str | None] | None:
        """The name and version in a handle, a name without version (None), or the URL of either on this hub."""
        found = handle_on(self.url, text)
        if found is None:
            return None
        name, _, version = found.rpartition("/")
        return (name, version) if is_versioned(found) else (found, None)

    def place(self, path: str, known: Catalog) -> Place:
        """What `path` is, by the grammar of handles and the catalogue."""
        return place_of(path, known)

    def names(self, folder: tuple[str, ...], known: Known) -> Shown:
        """Publishers, names, versions, `latest` and documentation."""
        return names_in(folder, known)

    def newest(self, versions: Collection[str]) -> str:
        """The highest number."""
        return max(versions, key=version_age)

    def views(self, handles: Callable[[], Iterable[str]], root: str) -> Mapping[str, View]:
        """The cache directory of tensorflow_hub."""
        return {"tfhub_modules": TfhubModules([DEFAULT_HUB, self.url], handles, root)}
