"""Names by folder, and versions by name: kept up to date one by one, since a listing asks for few of thousands."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from hubfs.model_id import ModelId

_NONE: frozenset[str] = frozenset()


class NamesByFolder:
    """Which names lie directly below a folder, and which versions a name has, of the models that were added.

    Not thread-safe: sets that a method returned may change with the next model.
    """

    def __init__(self, models: Iterable[ModelId] = ()) -> None:
        self._children: dict[str, set[str]] = {}
        self._versions: dict[str, set[str]] = {}
        for model in models:
            self.add(model)

    def add(self, model: ModelId) -> None:
        """Adds a model, which may be there already."""
        self.add_path(str(model))
        self._versions.setdefault(model.name, set()).add(model.version)

    def add_path(self, path: str) -> None:
        """Adds a path that no version ends."""
        while path:
            folder, _, name = path.rpartition("/")
            names = self._children.setdefault(folder, set())
            if name in names:  # and so is the folder in the one above
                return
            names.add(name)
            path = folder

    def children(self, folder: str) -> AbstractSet[str]:
        """The names directly below `folder` (`google/bert`, or empty for the publishers)."""
        return self._children.get(folder, _NONE)

    def versions(self, name: str) -> AbstractSet[str]:
        """The versions of `name` (`google/spice`)."""
        return self._versions.get(name, _NONE)

    def named(self) -> list[str]:
        """The names that have versions, sorted."""
        return sorted(self._versions)
