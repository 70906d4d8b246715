"""The names of Kaggle Models as the names of a hub. No I/O."""

from collections.abc import Mapping

from hubfs.hubs.kaggle import names
from hubfs.hubs.kaggle.kagglehub_cache import KagglehubCache
from hubfs.hubs.names import Known, Names, View
from hubfs.hubs.place import Shown


def names_of(_hub_url: str, _cancellation: object, _catalog: object) -> Names:
    """The names of every hub at Kaggle."""
    return KaggleNames()


class KaggleNames(Names):
    """OWNER/MODEL/FRAMEWORK/VARIATION/VERSION. Nothing is written down."""

    parse, find, place = staticmethod(names.parse), staticmethod(names.find), staticmethod(names.place_of)

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

    def views(self, known: Known, root: str) -> Mapping[str, View]:  # noqa: ARG002 - paths tell all
        """The cache directory of kagglehub."""
        return {"kagglehub": KagglehubCache(root)}
