"""Which names lead to models that are known: kept up to date one by one, since a listing asks for few of thousands."""

from collections.abc import Iterable

from hubfs.model_id import ModelId


class KnownNames:
    """Names by folder, and versions by name, of the handles that were added. Not thread-safe."""

    def __init__(self, handles: Iterable[ModelId] = ()) -> None:
        self._children: dict[str, set[str]] = {}
        self._versions: dict[str, set[str]] = {}
        for handle in handles:
            self.add(handle)

    def add(self, handle: ModelId) -> None:
        """Adds a handle, which may be there already."""
        folder = ""
        for segment in (*handle.name.split("/"), handle.version):
            self._children.setdefault(folder, set()).add(segment)
            folder = f"{folder}/{segment}" if folder else segment
        self._versions.setdefault(handle.name, set()).add(handle.version)

    def children(self, folder: str) -> frozenset[str]:
        """The names directly below `folder` (`google/bert`, or empty for the publishers)."""
        return frozenset(self._children.get(folder, ()))

    def versions(self, name: str) -> frozenset[str]:
        """The versions of `name` (`google/spice`)."""
        return frozenset(self._versions.get(name, ()))
