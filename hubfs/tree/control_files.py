"""What is in the control directory, `.hubfs`: files about the mount, and what looks like tensorflow_hub's cache."""

from collections.abc import Callable, Mapping

from hubfs.catalogue.places import CONTROL
from hubfs.errors import EntryNotFound, NotADirectory
from hubfs.tree.node import DIRECTORY, Names, Node, NodeKind
from hubfs.tree.tfhub_modules import TfhubModules

MODULES = "tfhub_modules"
"""The control directory that looks like tensorflow_hub's cache directory."""

Segments = tuple[str, ...]
"""A path below `.hubfs`; empty for that itself."""


class ControlFiles:
    """The control files, made by `contents` when they are looked at, and `modules`."""

    def __init__(self, contents: Mapping[str, Callable[[], bytes]], modules: TfhubModules) -> None:
        self._contents = contents
        self._modules = modules

    def stat(self, segments: Segments) -> Node:
        """What is there. Raises `EntryNotFound`, `NotADirectory`."""
        if segments in ((), (MODULES,)):
            return DIRECTORY
        match segments:
            case (folder, name) if folder == MODULES:
                target = self._modules.target(name)
                if target is not None:
                    return Node(NodeKind.SYMLINK, len(target))
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
            return sorted(
                [*((name, NodeKind.CONTROL) for name in self._contents), (MODULES, NodeKind.DIRECTORY)],
                key=lambda named: named[0],
            )
        if segments == (MODULES,):
            return []  # 2,800 hashes tell nobody anything; each is there for who asks
        self.stat(segments)
        raise NotADirectory("/".join(segments))

    def content(self, segments: Segments) -> bytes:
        """What is in a file, as of now. Raises `EntryNotFound` where `tfhub_modules` has none of that name."""
        if segments[0] == MODULES:
            text = self._modules.descriptor(segments[1])
            if text is None:
                raise EntryNotFound(f"No handle that is known here has the name {segments[1]}")
            return text
        return self._contents[segments[0]]()

    def target(self, segments: Segments) -> str | None:
        """Where a symlink leads; None for what is none."""
        match segments:
            case (folder, module) if folder == MODULES:
                return self._modules.target(module)
            case _:
                return None
