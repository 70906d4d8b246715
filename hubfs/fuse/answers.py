"""What is answered to the kernel, whichever way it asks. No policy, no path grammar, no network.

`operations` puts the answers into the shape of the libfuse bindings, `session` into that of the kernel's own protocol.
"""

import os
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum, auto
from itertools import count
from time import time_ns

from cachetools import LRUCache

from hubfs.cache.block_cache import Release
from hubfs.errors import AccessDenied, NameTooLong, NoAttributes, NotADirectory, NotFound, ReadOnly, Stale
from hubfs.fuse.attributes import Owner, mode_of
from hubfs.fuse.counts import OperationCounts
from hubfs.tree.node import Names, Node, NodeKind
from hubfs.tree.open_file import OpenFile
from hubfs.tree.virtual_tree import VirtualTree

_REMEMBERED = 100_000
"""Of what the kernel was told of paths."""


class Pages(Enum):
    """What the kernel may have of an inode that is opened: pages of this very source; `NEW`: no pages, unless an
    earlier process has let it read them; perhaps others, which are to be dropped.
    """

    SAME = auto()
    NEW = auto()
    OTHER = auto()


class KernelsPages:
    """What the kernel's page cache was filled from. `_lock` guards `_sources` and `_forgot`: whether any was forgotten.

    A key stands for an inode of the kernel: its path, or its number.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sources: LRUCache[Hashable, object] = LRUCache(_REMEMBERED)
        self._forgot = False

    def hold(self, key: Hashable, source: object | None) -> Pages:
        """Whose pages the kernel may have, now that `source` is opened; from now on they are of `source`."""
        with self._lock:
            is_known, known = key in self._sources, self._sources.get(key)
            self._forgot |= len(self._sources) >= _REMEMBERED
            self._sources[key] = source
            if source is not None and known is source:
                return Pages.SAME
            return Pages.OTHER if source is None or is_known or self._forgot else Pages.NEW

    def replaced(self, key: Hashable, source: object | None) -> bool:
        """Whether the kernel has pages of another source; says so once."""
        with self._lock:
            known = self._sources.get(key)
            if known is None or known is source:
                return False
            self._sources[key] = None
            return True


class OpenFiles:
    """fh → OpenFile. `_lock` guards `_files`; nothing foreign is called under it.

    Numbers begin with the time, so that a handle of an earlier process is never one of this one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[int, OpenFile] = {}
        self._pages = KernelsPages()
        self._numbers = count(time_ns())

    def add(self, key: Hashable, file: OpenFile) -> tuple[int, Pages]:
        """The file's new handle, and whose pages the kernel may have of `key`.

        Raises `Stale`, once, if the kernel knows the key from another source: it then asks for the name anew, and so
        learns the size, before it opens again. Else it would cut the new file to the size of the old one for a day.
        """
        if self._pages.replaced(key, file.pages_of):
            file.release()
            raise Stale(f"{file.blob.key} was replaced since it was opened last: open it again")
        number = next(self._numbers)
        with self._lock:
            self._files[number] = file
        return number, self._pages.hold(key, file.pages_of)

    def adopt(self, number: int, file: OpenFile) -> OpenFile:
        """The file of a handle that an earlier process gave out. Of two that open it at once, one is released."""
        with self._lock:
            adopted = self._files.setdefault(number, file)
        if adopted is not file:
            file.release()
        return adopted

    def get(self, number: int) -> OpenFile | None:
        """The file; None for a handle that is not open."""
        return self._files.get(number)

    def __getitem__(self, number: int) -> OpenFile:
        """The file. Raises `Stale` for a handle that is not open."""
        file = self._files.get(number)
        if file is None:
            raise Stale(f"file handle {number} is not open")
        return file

    def keys(self) -> list[str]:
        """Which files are open, by the keys of their blobs, once for each open."""
        with self._lock:
            return [file.blob.key for file in self._files.values()]

    def remove(self, number: int) -> None:
        """Releases the file."""
        with self._lock:
            file = self._files.pop(number, None)
        if file is not None:
            file.release()


class LinkSizes:
    """What the kernel was told of the sizes of symlinks, which it believes for a day. `_lock` guards `_sizes_bytes`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sizes_bytes: LRUCache[str, int] = LRUCache(_REMEMBERED)

    def told(self, path: str, size_bytes: int) -> None:
        """The kernel is told this size."""
        with self._lock:
            self._sizes_bytes[path] = size_bytes

    def moved(self, path: str, size_bytes: int) -> bool:
        """Whether the kernel knows another size of the symlink than this one; says so once."""
        with self._lock:
            if self._sizes_bytes.get(path, size_bytes) == size_bytes:
                return False
            del self._sizes_bytes[path]
            return True


STATFS_BYTES = 4096
"""The unit in which `statfs` counts."""
NAME_MAX_BYTES = 255
_NAME_SPACE = "user."
_ATTRIBUTE_MAX_BYTES = 1 << 16
"""XATTR_SIZE_MAX of Linux: a longer one is an error, and a directory may have many versions that cannot be read."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A name in a directory. `node`: what `stat` would say, where that is known without asking anybody."""

    name: str
    kind: NodeKind
    node: Node | None

    @property
    def place(self) -> int:
        """As of a `Node`; 0 where it is not known."""
        return 0 if self.node is None else self.node.place


def _gone(path: str, gone: NotFound) -> Stale:
    return Stale(f"{path} was there when it was opened, and is gone: {gone}")


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that was opened, and the kernel's `pages` of it. `direct`: no page of it ever holds."""

    handle: int
    file: OpenFile
    pages: Pages

    @property
    def keeps_pages(self) -> bool:
        """Of a mount that this process alone has served. Pages are kept at the first open, too, though there are none:
        else the kernel would drop them, and wait for every page that other openers are reading meanwhile. No signal
        ends that wait.
        """
        return self.pages is not Pages.OTHER

    @property
    def direct(self) -> bool:
        """Control files: each open has a text of its own, whose size is not the one that stat told."""
        return self.file.pages_of is None


@dataclass(frozen=True, slots=True)
class Room:
    """How much the cache may keep, and what of that is free, in units of `STATFS_BYTES`."""

    blocks: int
    free_blocks: int


class Answers:
    """The tree's answers, and the files that are open. Raises `HubfsError` for what happened instead.

    Called by many threads at once; what is shared locks for itself. `owner` is who mounted. Who puts the answers into
    the shape of a protocol has `counts` count them.
    """

    def __init__(self, tree: VirtualTree, owner: Owner, counts: OperationCounts | None = None) -> None:
        self._tree = tree
        self.owner = owner
        self.counts = counts or OperationCounts()
        self._links = LinkSizes()
        self.files = OpenFiles()

    def watch(self, dropped: Callable[[str], None]) -> None:
        """Has `dropped` told the path of each model of which nothing that was said holds any longer."""
        self._tree.watch(dropped)

    def stat(self, path: str) -> Node:
        """What is at the path."""
        try:
            node = self._tree.stat(path)
        except NotFound:
            if len(os.fsencode(path.rpartition("/")[2])) > NAME_MAX_BYTES:  # the kernel takes names of up to 1024
                raise NameTooLong(f"{path}: the name has more than {NAME_MAX_BYTES} bytes") from None
            raise
        if node.kind is NodeKind.SYMLINK:
            self._links.told(path, node.size_bytes)
        return node

    def open_directory(self, path: str) -> Node:
        """What is at the path, to be listed: of a model that nobody has looked into, the hub is asked."""
        node = self._tree.stat(path, opens=True)
        if node.kind is not NodeKind.DIRECTORY:
            raise NotADirectory(path)
        return node

    def names(self, path: str) -> Names:
        """The names in a directory: listing never looks entries up.

        Never `NotFound`: the directory is open, and libc takes ENOENT for its end. It would look empty
        (docs/decisions/readdir.md).
        """
        try:
            return self._tree.list(path)
        except NotFound as gone:
            raise _gone(path, gone) from gone

    def listed(self, path: str, names: Names) -> list[Listed]:
        """The `names` of a directory that was listed, with what is known of them. Raises as `names`."""
        try:
            nodes = self._tree.nodes(path, names)
        except NotFound as gone:
            raise _gone(path, gone) from gone
        listed = [Listed(name, kind, nodes.get(name)) for name, kind in names]
        for each in listed:
            if each.kind is NodeKind.SYMLINK and each.node is not None:
                self._links.told(f"{path.rstrip('/')}/{each.name}", each.node.size_bytes)
        return listed

    def open(self, path: str, flags: int, key: Hashable) -> Opened:
        """Opens for reading, and says whether the kernel's cached pages of the inode `key` still hold.

        They do if they were read from the very source that is opened now (worth 5.3x on warm reads, hf-mount measured).
        A model that was damaged and is fetched anew has another source: then the kernel drops them. Raises `Stale`,
        once, as `OpenFiles.add`.
        """
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_APPEND):
            raise ReadOnly(path)
        file = self._tree.open(path)
        handle, pages = self.files.add(key, file)
        return Opened(handle, file, pages)

    def reopened(self, path: str) -> OpenFile:
        """The file at a path of which an earlier process gave a handle out; for `files` to adopt, or to be released."""
        return self._tree.open(path)

    def hold(self, path: str) -> Release | None:
        """Has the model of a file that an earlier process opened count as in use; None where nothing of it is kept."""
        return self._tree.hold(path)

    def readlink(self, path: str) -> tuple[bytes, bool]:
        """The target of a symlink; and whether the kernel was told another length of it, and is to forget that."""
        target = self._tree.readlink(path).encode(errors="surrogateescape")
        return target, self._links.moved(path, len(target))

    def access(self, path: str, mode: int) -> None:
        """Everything may be read, directories searched, nothing written or run.

        Asked only when the mount is made without `default_permissions`; else the kernel decides by the modes.
        """
        node = self._tree.stat(path)
        if mode & os.W_OK:
            raise ReadOnly(path)
        if mode & os.X_OK and not mode_of(node.kind) & 0o111:
            raise AccessDenied(f"{path} is no program")

    def room(self) -> Room:
        """The room of the cache: its limit, and what of that is free. Use counts once it is known."""
        room = self._tree.room()
        free_bytes = max(0, room.limit_bytes - (room.used_bytes or 0))
        return Room(room.limit_bytes // STATFS_BYTES, free_bytes // STATFS_BYTES)

    def attribute(self, path: str, name: str) -> bytes:
        """The extended attribute, one of `user.hubfs.*`.

        Raises `NoAttributes` for a name of another name space than `user`: a program that hears so of one file asks
        for it of no other (`ls -l` asks for three names of every file else).
        """
        if not name.startswith(_NAME_SPACE):
            raise NoAttributes(f"{path} has no attribute {name}, nor has anything here")
        # A name that is no UTF-8 may be quoted in it, with what stands for its bytes.
        value = self._tree.attribute(path, name).encode(errors="backslashreplace")
        if len(value) <= _ATTRIBUTE_MAX_BYTES:
            return value
        return value[: _ATTRIBUTE_MAX_BYTES - 3].decode(errors="ignore").encode() + b"..."
