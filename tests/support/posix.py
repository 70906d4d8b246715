"""System calls that Python does not have, and directories read as C reads them."""

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)
libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
libc.opendir.argtypes = [ctypes.c_char_p]
libc.telldir.restype = ctypes.c_long
for name in ("readdir", "closedir", "rewinddir", "telldir", "dirfd"):
    getattr(libc, name).argtypes = [ctypes.c_void_p]
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]

AT_FDCWD = -100
_OPENAT2 = 437  # on every architecture
RESOLVE = {"NO_XDEV": 1, "NO_MAGICLINKS": 2, "NO_SYMLINKS": 4, "BENEATH": 8, "IN_ROOT": 16, "CACHED": 32}

_DIRENT = struct.Struct("=QqHB")


def called(function: str, *arguments: object) -> int:
    """What a function of the C library returned. Raises OSError."""
    result = int(getattr(libc, function)(*arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), function)
    return result


def openat2(path: Path | str, resolve: int, *, dir_fd: int = AT_FDCWD, flags: int = os.O_RDONLY) -> int:
    """A descriptor. Raises OSError."""
    how = struct.pack("=QQQ", flags, 0, resolve)
    return called("syscall", _OPENAT2, dir_fd, os.fsencode(path), how, len(how))


def errno_name(operation: Callable[[], object]) -> str:
    """What the operation failed with; "ok" if it did not."""
    try:
        operation()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    return "ok"


class Directory:
    """An open directory stream: names with inode number and type, and the C library's positions."""

    def __init__(self, path: Path) -> None:
        self._stream = libc.opendir(os.fsencode(path))
        if not self._stream:
            raise OSError(ctypes.get_errno(), "opendir")

    def __enter__(self) -> "Directory":  # noqa: PYI034 - Self came with Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        called("closedir", self._stream)

    def read(self) -> tuple[str, int, int] | None:
        """The next name, its inode number and its type; None at the end."""
        ctypes.set_errno(0)
        entry = libc.readdir(self._stream)
        if not entry:
            number = ctypes.get_errno()
            if number:
                raise OSError(number, "readdir")
            return None
        inode, _, _, kind = _DIRENT.unpack(ctypes.string_at(entry, _DIRENT.size))
        return os.fsdecode(ctypes.string_at(entry + _DIRENT.size)), inode, kind

    def __iter__(self) -> Iterator[tuple[str, int, int]]:
        while (entry := self.read()) is not None:
            yield entry

    def names(self) -> list[str]:
        """The names from here on."""
        return [name for name, _, _ in self]

    def tell(self) -> int:
        return called("telldir", self._stream)

    def seek(self, position: int) -> None:
        libc.seekdir(self._stream, position)

    def rewind(self) -> None:
        libc.rewinddir(self._stream)


def entries_by_getdents(path: Path, buffer_bytes: int, *, enough: int = sys.maxsize) -> list[str]:
    """The names, as many at a time as go into a buffer of this size, until they are enough. Raises OSError."""
    names: list[str] = []
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        buffer = ctypes.create_string_buffer(buffer_bytes)
        while len(names) < enough and (length := called("getdents64", fd, buffer, ctypes.c_size_t(buffer_bytes))):
            at = 0
            while at < length:
                _, _, record_bytes, _ = _DIRENT.unpack_from(buffer, at)
                names.append(os.fsdecode(buffer.raw[at + _DIRENT.size : at + record_bytes].split(b"\0")[0]))
                at += record_bytes
    finally:
        os.close(fd)
    return names
