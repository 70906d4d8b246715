# ruff: noqa: ARG002 - the signatures are fusepy's
"""What FUSE asks, answered by the tree. No policy, no path grammar, no network."""

import os
import threading
from collections.abc import Callable
from itertools import count
from typing import Any, NoReturn

from cachetools import LRUCache

from hubfs.errors import AccessDenied, NameTooLong, NotFound, ReadOnly, Stale
from hubfs.fuse.attributes import Owner, inode, mode_of, stat_of
from hubfs.fuse.errnos import boundary
from hubfs.tree.hub_tree import OpenFile
from hubfs.tree.node import NodeKind
from hubfs.tree.virtual_tree import VirtualTree

_REMEMBERED_PATHS = 100_000
"""Of what the kernel was told of paths."""


class OpenFiles:
    """fh → OpenFile, and what the kernel's page cache was filled from.

    `_lock` guards `_files` and `_pages_of`; nothing foreign is called under it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[int, OpenFile] = {}
        self._pages_of: LRUCache[str, object] = LRUCache(_REMEMBERED_PATHS)
        self._numbers = count(1)

    def add(self, path: str, file: OpenFile) -> tuple[int, bool]:
        """The file's new handle, and whether the pages that the kernel may have of `path` are this file's.

        Raises `Stale`, once, if the kernel knows the path from another source: it then asks for the name anew, and so
        learns the size, before it opens again. Else it would cut the new file to the size of the old one for a day.
        """
        with self._lock:
            known = self._pages_of.get(path)
            replaced = known is not None and known is not file.pages_of
            if replaced:
                del self._pages_of[path]
        if replaced:
            file.release()
            raise Stale(f"{path} was replaced since it was opened last: open it again")
        with self._lock:
            number = next(self._numbers)
            self._files[number] = file
            same = file.pages_of is not None and self._pages_of.get(path) is file.pages_of
            self._pages_of[path] = file.pages_of
        return number, same

    def __getitem__(self, number: int) -> OpenFile:
        """The file. Raises `Stale` for a handle that is not open."""
        file = self._files.get(number)
        if file is None:
            raise Stale(f"file handle {number} is not open")
        return file

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
        self._sizes_bytes: LRUCache[str, int] = LRUCache(_REMEMBERED_PATHS)

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


_BLOCK_BYTES = 1 << 20
_STATFS_BYTES = 4096
"""The unit in which `statfs` counts."""
_NAME_MAX_BYTES = 255
_ATTRIBUTE_MAX_BYTES = 1 << 16
"""XATTR_SIZE_MAX of Linux: a longer one is an error, and a directory may have many versions that cannot be read."""


@boundary
def _refuse(*_args: object, **_kwargs: object) -> NoReturn:
    raise ReadOnly("a hub is read-only")


class Operations:
    """The methods that fusepy and mfusepy call, by their names and signatures (with `raw_fi`).

    They are called by many threads at once; what is shared locks for itself. `forget_attributes` has the kernel ask for
    the attributes of a path anew, and is called within an operation.
    """

    use_ns = True
    """Times are integers in nanoseconds."""

    def __init__(
        self, tree: VirtualTree, owner: Owner, forget_attributes: Callable[[str], None] = lambda _: None
    ) -> None:
        self._tree = tree
        self._owner = owner
        self._forget_attributes = forget_attributes
        self._links = LinkSizes()
        self._files = OpenFiles()

    @boundary
    def getattr(self, path: str, fh: Any = None) -> dict[str, int]:
        """Struct stat of a path."""
        try:
            node = self._tree.stat(path)
        except NotFound:
            if len(os.fsencode(path.rpartition("/")[2])) > _NAME_MAX_BYTES:  # the kernel takes names of up to 1024
                raise NameTooLong(f"{path}: the name has more than {_NAME_MAX_BYTES} bytes") from None
            raise
        if node.kind is NodeKind.SYMLINK:
            self._links.told(path, node.size_bytes)
        return stat_of(path, node, self._owner)

    @boundary
    def readdir(self, path: str, fh: Any) -> list[tuple[str, dict[str, int], int]]:
        """All names at once, with type and inode: listing never looks entries up.

        Never ENOENT: the directory is open, and libc takes that errno for its end. It would look empty
        (docs/decisions/readdir.md).
        """
        below = path.rstrip("/")
        try:
            names = self._tree.list(path)
            places = self._tree.places(path)
        except NotFound as gone:
            raise Stale(f"{path} was there when it was opened, and is gone: {gone}") from gone
        return [
            (".", {"st_mode": mode_of(NodeKind.DIRECTORY), "st_ino": inode(path)}, 0),
            ("..", {"st_mode": mode_of(NodeKind.DIRECTORY), "st_ino": inode(os.path.dirname(below) or "/")}, 0),  # noqa: PTH120
            *(
                (name, {"st_mode": mode_of(kind), "st_ino": inode(f"{below}/{name}", places.get(name, 0))}, 0)
                for name, kind in names
            ),
        ]

    @boundary
    def open(self, path: str, fi: Any) -> int:
        """Opens for reading, and says whether the kernel's cached pages of the path still hold.

        They do if they were read from the very source that is opened now (worth 5.3x on warm reads, hf-mount measured).
        A model that was damaged and is fetched anew has another source: then the kernel drops them.
        """
        if fi.flags & (os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_APPEND):
            raise ReadOnly(path)
        file = self._tree.open(path)
        fi.fh, fi.keep_cache = self._files.add(path, file)
        # Control files: the size that stat told is not the size of what was made for this open.
        fi.direct_io = file.pages_of is None
        return 0

    @boundary
    def read(self, path: str, size: int, offset: int, fi: Any) -> bytes:
        """Bytes of an open file."""
        return self._files[fi.fh].blob.read_at(offset, size)

    @boundary
    def release(self, path: str, fi: Any) -> int:
        """The last user of an open file has gone."""
        self._files.remove(fi.fh)
        return 0

    @boundary
    def readlink(self, path: str) -> str:
        """The target of a symlink. One of another length than `getattr` told makes the kernel forget that."""
        target = self._tree.readlink(path)
        if self._links.moved(path, len(target.encode(errors="surrogateescape"))):
            self._forget_attributes(path)
        return target

    @boundary
    def access(self, path: str, amode: int) -> int:
        """Everything may be read, directories searched, nothing written or run.

        Asked only when the mount is made without `default_permissions`; else the kernel decides by the modes.
        """
        node = self._tree.stat(path)
        if amode & os.W_OK:
            raise ReadOnly(path)
        if amode & os.X_OK and not mode_of(node.kind) & 0o111:
            raise AccessDenied(f"{path} is no program")
        return 0

    @boundary
    def statfs(self, path: str) -> dict[str, int]:
        """The room of the cache: its limit, and what of that is free. Nothing is available, for nobody may write.

        Use counts once it is known.
        """
        room = self._tree.room()
        return {
            "f_bsize": _BLOCK_BYTES,
            "f_frsize": _STATFS_BYTES,
            "f_blocks": room.limit_bytes // _STATFS_BYTES,
            "f_bfree": max(0, room.limit_bytes - (room.used_bytes or 0)) // _STATFS_BYTES,
            "f_namemax": _NAME_MAX_BYTES,
        }

    @boundary
    def getxattr(self, path: str, name: str, position: int = 0) -> bytes:
        """One of `user.hubfs.*`."""
        # A name that is no UTF-8 may be quoted in it, with what stands for its bytes.
        value = self._tree.attribute(path, name).encode(errors="backslashreplace")
        if len(value) <= _ATTRIBUTE_MAX_BYTES:
            return value
        return value[: _ATTRIBUTE_MAX_BYTES - 3].decode(errors="ignore").encode() + b"..."

    @boundary
    def listxattr(self, path: str) -> list[str]:
        """None: a copy that took them along (`cp -a`, `rsync -X`) would go on claiming `cached_bytes` or an `error`."""
        return []

    chmod = chown = create = link = mkdir = mknod = removexattr = rename = rmdir = setxattr = symlink = truncate = (
        _refuse
    )
    unlink = utimens = write = fallocate = _refuse
