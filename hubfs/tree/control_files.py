"""The control directory, `.hubfs`: files about the mount, and directories that look like caches of client libraries."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

from hubfs.errors import EntryNotFound, NotADirectory
from hubfs.hubs.names import View
from hubfs.tree.node import DIRECTORY, Names, Node, NodeKind, names_of

CONTROL = ".hubfs"
"""The directory of control files in the root; neither a hub nor a publisher can have this name."""

Segments = tuple[str, ...]
"""A path below `.hubfs`; empty for that itself."""


class ControlFiles:
    """The control files, made by `contents` when they are looked at, and `views` of every hub, by their names."""

    def __init__(self, contents: Mapping[str, Callable[[], bytes]], views: Mapping[str, Sequence[View]]) -> None:
        self._contents = contents
        self._views = views

    def stat(self, segments: Segments) -> Node:
        """The kind and size of what is there. Raises `EntryNotFound`, `NotADirectory`."""
        match segments:
            case ():
                return DIRECTORY
            case (folder,) if folder in self._views:
                return DIRECTORY
            case (folder, *inner) if folder in self._views:
                target = self.target(segments)
                if target is not None:
                    return Node(NodeKind.SYMLINK, len(target))
                if any(view.is_folder("/".join(inner)) for view in self._views[folder]):
                    return DIRECTORY
                return Node(NodeKind.CONTROL, len(self.content(segments)))
            case (name,) if name in self._contents:
                return Node(NodeKind.CONTROL, len(self.content(segments)))
            case (name, *_) if name in self._contents:
                raise NotADirectory(f"{CONTROL}/{name} is a file, and {'/'.join(segments)} is below it")
            case _:
                raise EntryNotFound(f"There is no {CONTROL}/{'/'.join(segments)}")

    def list(self, segments: Segments) -> Names:
        """The names in a directory. Raises `EntryNotFound`, `NotADirectory`."""
        if not segments:
            files = ((name, NodeKind.CONTROL) for name in self._contents)
            return sorted([*files, *((name, NodeKind.DIRECTORY) for name in self._views)], key=lambda named: named[0])
        if self.stat(segments).kind is not NodeKind.DIRECTORY:
            raise NotADirectory("/".join(segments))
        folder, *inner = segments
        shown = [view.shown("/".join(inner)) for view in self._views[folder]]
        return names_of(
            folders=chain.from_iterable(names.folders for names in shown),
            links=chain.from_iterable(names.links for names in shown),
            texts=chain.from_iterable(names.texts for names in shown),
        )

    def content(self, segments: Segments) -> bytes:
        """The bytes of a file, as of now. Raises `EntryNotFound` where no view has one of that name."""
        if len(segments) == 1:
            return self._contents[segments[0]]()
        folder, *inner = segments
        path = "/".join(inner)
        for view in self._views[folder]:
            content = view.content(path)
            if content is not None:
                return content
        raise EntryNotFound(f"No handle that is known here has the name {path}")

    def target(self, segments: Segments) -> str | None:
        """Where a symlink leads; None for what is none."""
        match segments:
            case (folder, *inner) if inner:
                targets = (view.target("/".join(inner)) for view in self._views.get(folder, ()))
                return next((target for target in targets if target is not None), None)
            case _:
                return None
