"""The names of Kaggle Models as the names of a hub. No I/O."""

from collections.abc import Callable, Iterable, Mapping

from hubfs.hubs.kaggle import names
from hubfs.hubs.kaggle.kagglehub_cache import KagglehubCache
from hubfs.hubs.names import Known, Names, View
from hubfs.hubs.place import Place, Shown
from hubfs.model_id import ModelId


def names_of(_hub_url: str, _cancellation: object, _catalog: object) -> Names:
    """The names of every hub at Kaggle."""
    return KaggleNames()


class KaggleNames(Names):
    """OWNER/MODEL/FRAMEWORK/VARIATION/VERSION. Nothing is written down."""

    def parse(self, text: str) -> ModelId:
        """Reads `google/yamnet/tensorFlow2/yamnet/1`. Raises `InvalidHandle`."""
        return names.parse(text)

    def find(self, text: str) -> tuple[str, str | None] | None:
        """The name and the version in a handle, or in a URL that a browser or kagglehub shows."""
        return names.find(text)

    def place(self, path: str) -> Place:
        """What `path` is, by the grammar alone."""
        return names.place_of(path)

    def shown(self, folder: tuple[str, ...], known: Known) -> Shown:
        """Owners, models, frameworks, variations, versions and `latest`."""
        path = "/".join(folder)
        found = {*known.known_children(path), *(known.children(path) or ())}
        if len(folder) < names.NAME_SEGMENTS:
            return Shown(found)
        versions = {*filter(names.is_version, found), *known.known_versions(path)}
        return Shown(versions, [names.LATEST] if versions else [])

    def age(self, version: str) -> int:
        """Sorts versions as numbers."""
        return int(version)

    def views(self, handles: Callable[[], Iterable[str]], root: str) -> Mapping[str, View]:  # noqa: ARG002 - none is needed
        """The cache directory of kagglehub."""
        return {"kagglehub": KagglehubCache(root)}
