# ruff: noqa: ARG002 - the signatures are fusepy's
"""The answers, in the shape that the libfuse bindings ask for."""

import functools
from collections.abc import Callable
from typing import Any, NoReturn, ParamSpec, TypeVar

from hubfs.errors import ReadOnly
from hubfs.fuse.answers import NAME_MAX_BYTES, STATFS_BYTES, Answers
from hubfs.fuse.attributes import BLOCK_BYTES, inode, mode_of, stat_of
from hubfs.fuse.errnos import told
from hubfs.tree.node import NodeKind

P = ParamSpec("P")
R = TypeVar("R")


def boundary(operation: Callable[P, R]) -> Callable[P, R]:
    """Makes an operation of a libfuse binding raise nothing but OSErrors with an errno of the table.

    fusepy would pass a foreign OSError's errno on to the reader, answer EINVAL for other exceptions, and end in
    NameError for an OSError without errno.
    """

    @functools.wraps(operation)
    def translated(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return operation(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the boundary: behind it is C
            number = told(error, operation.__name__, _path(args))
            raise OSError(number, str(error) or repr(error)) from None

    return translated


def _path(args: tuple[object, ...]) -> object:
    """Operations are methods whose first argument is the path."""
    return args[1] if len(args) > 1 else ""


@boundary
def _refuse(*_args: object, **_kwargs: object) -> NoReturn:
    raise ReadOnly("a hub is read-only")


class Operations:
    """The methods that fusepy and mfusepy call, by their names and signatures (with `raw_fi`).

    `forget_attributes` has the kernel ask for the attributes of a path anew, and is called within an operation.
    """

    use_ns = True
    """Times are integers in nanoseconds."""

    def __init__(self, answers: Answers, forget_attributes: Callable[[str], None] = lambda _: None) -> None:
        self._answers = answers
        self._forget_attributes = forget_attributes

    @boundary
    def getattr(self, path: str, fh: Any = None) -> dict[str, int]:
        """Struct stat of a path."""
        return stat_of(path, self._answers.stat(path), self._answers.owner)

    @boundary
    def opendir(self, path: str) -> int:
        """Opens for listing; ENOENT where a catalogue named a model that the hub does not have."""
        self._answers.open_directory(path)
        return 0

    @boundary
    def readdir(self, path: str, fh: Any) -> list[tuple[str, dict[str, int], int]]:
        """All names at once, with type and inode. Never ENOENT."""
        below = path.rstrip("/")
        return [
            (".", {"st_mode": mode_of(NodeKind.DIRECTORY), "st_ino": inode(path)}, 0),
            ("..", {"st_mode": mode_of(NodeKind.DIRECTORY), "st_ino": inode(below.rpartition("/")[0] or "/")}, 0),
            *(
                (each.name, {"st_mode": mode_of(each.kind), "st_ino": inode(f"{below}/{each.name}", each.place)}, 0)
                for each in self._answers.listed(path, self._answers.names(path))
            ),
        ]

    @boundary
    def open(self, path: str, fi: Any) -> int:
        """Opens for reading."""
        opened = self._answers.open(path, fi.flags, path)
        fi.fh, fi.keep_cache, fi.direct_io = opened.handle, opened.keeps_pages, opened.direct
        return 0

    @boundary
    def read(self, path: str, size: int, offset: int, fi: Any) -> bytes:
        """Bytes of an open file."""
        return self._answers.files[fi.fh].blob.read_at(offset, size)

    @boundary
    def release(self, path: str, fi: Any) -> int:
        """The last user of an open file has gone."""
        self._answers.files.remove(fi.fh)
        return 0

    @boundary
    def readlink(self, path: str) -> str:
        """The target of a symlink. One of another length than `getattr` told makes the kernel forget that."""
        target, moved = self._answers.readlink(path)
        if moved:
            self._forget_attributes(path)
        return target.decode(errors="surrogateescape")

    @boundary
    def access(self, path: str, amode: int) -> int:
        """Asked only when the mount is made without `default_permissions`."""
        self._answers.access(path, amode)
        return 0

    @boundary
    def statfs(self, path: str) -> dict[str, int]:
        """The room of the cache. Nothing is available, for nobody may write."""
        room = self._answers.room()
        return {
            "f_bsize": BLOCK_BYTES,
            "f_frsize": STATFS_BYTES,
            "f_blocks": room.blocks,
            "f_bfree": room.free_blocks,
            "f_namemax": NAME_MAX_BYTES,
        }

    @boundary
    def getxattr(self, path: str, name: str, position: int = 0) -> bytes:
        """One of `user.hubfs.*`."""
        return self._answers.attribute(path, name)

    @boundary
    def listxattr(self, path: str) -> list[str]:
        """None: a copy that took them along (`cp -a`, `rsync -X`) would go on claiming `cached_bytes` or an `error`."""
        return []

    chmod = chown = create = link = mkdir = mknod = removexattr = rename = rmdir = setxattr = symlink = truncate = (
        _refuse
    )
    unlink = utimens = write = fallocate = _refuse
