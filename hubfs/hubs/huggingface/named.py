"""The names of the Hugging Face Hub as the names of a hub. No I/O."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from hubfs.hubs.huggingface import names
from hubfs.hubs.huggingface.huggingface_cache import HuggingFaceCache
from hubfs.hubs.names import Known, Names, View
from hubfs.hubs.place import Place, Shown


def names_of(hub_url: str, _cancellation: object, _catalog: object) -> Names:
    """The names of the hub at `hf:NAMESPACE`, or https://huggingface.co/NAMESPACE."""
    return HuggingFaceNames(urlsplit(hub_url).path.strip("/"))


class HuggingFaceNames(Names):
    """NAMESPACE/NAME@COMMIT, and symlinks to these. Nothing is written down, but perhaps that there is `namespace`."""

    parse, find = staticmethod(names.parse), staticmethod(names.find)

    def __init__(self, namespace: str = "") -> None:
        self._namespace = namespace

    def place(self, path: str) -> Place:
        """What `path` is, by the grammar of ids and revisions."""
        return names.place_of(path, self._namespace)

    def path(self, name: str, version: str | None) -> str:
        """`BAAI/bge-m3@COMMIT`; of no version, the symlink."""
        return name if version is None else f"{name}@{version}"

    def shown(self, folder: tuple[str, ...], known: Known) -> Shown:
        """Namespaces; the repositories of one, as symlinks, and their commits that are known."""
        path = "/".join(folder)
        found = {*known.known_children(path), *(known.children(path) or ())}
        if not folder or folder == (names.DATASETS,):
            return Shown(found)
        if not all(map(names.is_id, folder)):  # "name@refs"
            return Shown(())
        commits = [f"{name}@{commit}" for name in found for commit in known.known_versions(f"{path}/{name}")]
        return Shown(commits, found)

    def views(self, known: Known, root: str) -> Mapping[str, View]:
        """The cache directory of huggingface_hub."""
        return {"huggingface": HuggingFaceCache(known, root)}

    def age(self, version: str) -> str:
        """Sorts commits as texts: nothing tells which is older."""
        return version
