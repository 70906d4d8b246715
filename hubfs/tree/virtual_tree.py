"""Paths below the mount point → directories, files and their bytes. Knows neither FUSE nor errno."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

from hubfs.blobs.blob import Blob
from hubfs.blobs.memory import MemoryBlob
from hubfs.cache.block_cache import BlockCache, Release
from hubfs.errors import (
    EntryNotFound,
    HubfsError,
    InvalidHandle,
    IsADirectory,
    NoSuchAttribute,
    NotADirectory,
    NotASymlink,
    NotFound,
)
from hubfs.hub.handle import Handle
from hubfs.sources.models import Models
from hubfs.sources.source import Entry, EntryKind, Source
from hubfs.tree.snapshot import children

CONTROL = ".hubfs"
"""The directory of control files in the root; no publisher can have this name."""


class NodeKind(Enum):
    """What is at a path."""

    DIRECTORY = "directory"
    FILE = "file"
    CONTROL = "control"  # a file whose content is made when it is opened


@dataclass(frozen=True)
class Node:
    """What `stat` tells. `size_bytes` of a control file is what it had just now."""

    kind: NodeKind
    size_bytes: int = 0


@dataclass(frozen=True)
class OpenFile:
    """An open file; `release` ends the use.

    `pages_of` is the same object for as long as what was read from this path earlier still holds; None if it never
    does.
    """

    blob: Blob
    pages_of: object | None
    release: Release


ReadAhead = Callable[[Blob], Blob]
"""Makes one reader's view of a blob."""


class VirtualTree:
    """The name space. Stateless but for its collaborators; every method may wait for the network, with a bound.

    A directory that could lead to a model exists without asking the hub; a model root exists if the hub says so.
    Looking a path up never lists, listing never looks up.
    """

    def __init__(
        self, models: Models, cache: BlockCache, *, read_ahead: ReadAhead, controls: Mapping[str, Callable[[], bytes]]
    ) -> None:
        self._models = models
        self._cache = cache
        self._read_ahead = read_ahead
        self._controls = controls

    def stat(self, path: str) -> Node:
        """What is at `path` (absolute, as FUSE gives it).

        Raises `NotFound`, `NotADirectory` for a path below a file, and what kept the hub from answering.
        """
        segments = _segments(path)
        if segments[:1] == [CONTROL]:
            return self._stat_control(segments)
        handle, inner = _split(segments)
        if handle is None:
            return Node(NodeKind.DIRECTORY)
        source = self._models.get(handle)
        if not inner:
            return Node(NodeKind.DIRECTORY)
        entry = _find(source, inner)
        return Node(NodeKind.DIRECTORY if entry.kind is EntryKind.DIRECTORY else NodeKind.FILE, entry.size_bytes)

    def list(self, path: str) -> list[tuple[str, NodeKind]]:
        """The names in a directory, sorted, and what they are. In a model, waits until all entries are known."""
        segments = _segments(path)
        if segments[:1] == [CONTROL]:
            if self._stat_control(segments).kind is not NodeKind.DIRECTORY:
                raise NotADirectory(path)
            return [(name, NodeKind.CONTROL) for name in sorted(self._controls)]
        handle, inner = _split(segments)
        if handle is None:
            names = [(name, NodeKind.DIRECTORY) for name in children(self._models.known(), tuple(segments))]
            return names if segments else [(CONTROL, NodeKind.DIRECTORY), *names]
        source = self._models.get(handle)
        if inner and _find(source, inner).kind is not EntryKind.DIRECTORY:
            raise NotADirectory(path)
        prefix = f"{inner}/" if inner else ""
        return [
            (name, NodeKind.DIRECTORY if entry.kind is EntryKind.DIRECTORY else NodeKind.FILE)
            for entry in source.entries()
            if entry.path.startswith(prefix) and "/" not in (name := entry.path.removeprefix(prefix))
        ]

    def open(self, path: str) -> OpenFile:
        """Opens a file for reading. The caller calls `release` when done."""
        segments = _segments(path)
        if segments[:1] == [CONTROL]:
            if self._stat_control(segments).kind is NodeKind.DIRECTORY:
                raise IsADirectory(path)
            return OpenFile(MemoryBlob(path, self._controls[segments[1]]()), None, lambda: None)
        source, inner = self._inside(path, segments)
        entry = _find(source, inner)
        if entry.kind is EntryKind.DIRECTORY:
            raise IsADirectory(path)
        blob = source.open(entry)
        return OpenFile(self._read_ahead(blob), source, self._cache.hold(source.model))

    def readlink(self, path: str) -> str:
        """The target of a symlink. There are none yet: raises `NotASymlink` for whatever exists."""
        self.stat(path)
        raise NotASymlink(path)

    def attributes(self, path: str) -> dict[str, str]:
        """The extended attributes `user.hubfs.*` of a path in a model; empty elsewhere.

        Waits for the hub where nobody asked for the model before. Raises `NotFound` where there is no such model.
        """
        segments = _segments(path)
        handle, _ = _split(segments) if segments[:1] != [CONTROL] else (None, "")
        if handle is None:
            return {}
        attributes = {"user.hubfs.handle": str(handle)}
        try:
            source = self._models.get(handle)
        except NotFound:
            raise
        except HubfsError as unreadable:
            return {**attributes, "user.hubfs.error": str(unreadable)}
        if source.failure is not None:
            attributes["user.hubfs.error"] = str(source.failure)
        return {
            **attributes,
            "user.hubfs.url": source.url,
            "user.hubfs.form": source.form.value,
            "user.hubfs.cached_bytes": str(self._cache.cached_bytes(source.model)),
        }

    def attribute(self, path: str, name: str) -> str:
        """One extended attribute. Raises `NoSuchAttribute`."""
        if not name.startswith("user.hubfs."):
            # `ls` asks for security.* of every file it shows: answered without looking.
            raise NoSuchAttribute(f"{path} has no attribute {name}")
        try:
            return self.attributes(path)[name]
        except KeyError:
            raise NoSuchAttribute(f"{path} has no attribute {name}") from None

    def _stat_control(self, segments: Sequence[str]) -> Node:
        match segments:
            case [_]:
                return Node(NodeKind.DIRECTORY)
            case [_, name] if name in self._controls:
                return Node(NodeKind.CONTROL, len(self._controls[name]()))
            case [_, name, *_] if name in self._controls:
                raise NotADirectory(f"{CONTROL}/{name} is a file, and {'/'.join(segments)} is below it")
            case _:
                raise EntryNotFound(f"There is no {'/'.join(segments)}")

    def _inside(self, path: str, segments: Sequence[str]) -> tuple[Source, str]:
        handle, inner = _split(segments)
        if handle is None or not inner:
            raise IsADirectory(path)
        return self._models.get(handle), inner


def _find(source: Source, inner: str) -> Entry:
    """The entry at `inner`. Raises `NotADirectory` as soon as a file is seen where the path goes on, else as `find`."""
    for parent in reversed(PurePosixPath(inner).parents):
        if source.find(str(parent) if parent.name else "").kind is not EntryKind.DIRECTORY:
            raise NotADirectory(f"{source.handle}/{parent} is a file, and {inner!r} is below it")
    return source.find(inner)


def _segments(path: str) -> list[str]:
    return [segment for segment in path.split("/") if segment]


def _split(segments: Sequence[str]) -> tuple[Handle | None, str]:
    """The handle that a path leads to, and the path in the model. Raises `EntryNotFound` for names no hub can have."""
    try:
        handle, inner = Handle.split(segments)
    except InvalidHandle as error:
        raise EntryNotFound(str(error)) from None
    return handle, "/".join(inner)
