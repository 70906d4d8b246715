"""How files of the cache are made and opened: their owner's alone, and nothing but regular files.

An entry of a cache directory may be anything after a power cut or an accident: a symlink is not followed, a fifo does
not block, and neither is read or written. (A directory may be a symlink of the owner's: to another disk, say.)
"""

import contextlib
import errno
import os
import shutil
import stat
import time
import uuid
from collections.abc import Callable
from pathlib import Path

_FOLDER_MODE = 0o700
_FILE_MODE = 0o600
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

NO_FILE = frozenset({errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.EINVAL, errno.ENXIO, errno.ENODEV})
"""What opening says of something else in the place of a file, or of one of its directories."""

_LEFT_OVER_S = 3600.0
"""What is written aside and is that old was left by a kill."""

_ATTEMPTS = 50
"""An eviction may take directories away again, at any moment."""


def make_folder(folder: Path, below: Path) -> None:
    """Makes `folder` and what is missing above it, down from `below`, which must be there. Raises OSError."""
    missing = [folder]  # a list, and no recursion: a path may have more names than Python takes calls
    while missing:
        try:
            missing[-1].mkdir(_FOLDER_MODE, exist_ok=True)
            missing.pop()
        except FileNotFoundError:  # noqa: PERF203 - that is how it is told
            parent = missing[-1].parent
            if parent == below or not parent.is_relative_to(below):
                raise
            missing.append(parent)


def open_to_read(path: str | Path, flags: int = os.O_RDONLY) -> int:
    """A file descriptor of the file. Raises OSError, also for what is no regular file."""
    return _regular(os.open(path, flags | _FLAGS))


def open_to_write(path: Path, below: Path) -> int:
    """A file descriptor of the file, which is made if need be, and its directories below `below`. Raises OSError."""
    return _in_its_folder(path, below, lambda: open_to_write_there(path))


def open_to_write_there(path: Path) -> int:
    """The same, but that its directory must be there. Raises OSError."""
    return _regular(os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, _FILE_MODE))


def read_whole(path: str | Path, most_bytes: int) -> bytes:
    """The file's content. Raises OSError, also for one that is larger than `most_bytes`."""
    fd = os.open(path, os.O_RDONLY | _FLAGS)
    try:
        found = _status(fd)
        if found.st_size > most_bytes:
            raise OSError(errno.EFBIG, "too large to be ours", str(path))
        parts = []
        left_bytes = found.st_size
        while left_bytes > 0 and (part := os.read(fd, left_bytes)):
            parts.append(part)
            left_bytes -= len(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def write_whole(path: Path, data: bytes, below: Path) -> None:
    """Replaces the file's content, at once or not at all. Raises OSError."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    attempts = 0

    def opened() -> int:
        nonlocal attempts
        attempts += 1
        return os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, _FILE_MODE)

    try:
        fd = _in_its_folder(path, below, opened)
        try:
            pwrite_all(fd, data, 0)
        finally:
            os.close(fd)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if attempts == 1:  # nothing was left in a directory that was made just now
        _sweep(path)


def _sweep(path: Path) -> None:
    """Deletes what kills in the middle of writing the file left."""
    with contextlib.suppress(OSError), os.scandir(path.parent) as beside:
        for left_over in beside:
            if not left_over.name.startswith(f"{path.name}."):
                continue
            if left_over.stat(follow_symlinks=False).st_mtime < time.time() - _LEFT_OVER_S:
                os.unlink(left_over)  # noqa: PTH108 - no Path is made of each name


def pwrite_all(fd: int, data: bytes, offset_bytes: int) -> None:
    """Writes all of it. Raises OSError."""
    view = memoryview(data)
    while view:
        written_bytes = os.pwrite(fd, view, offset_bytes)
        view = view[written_bytes:]
        offset_bytes += written_bytes


def delete(path: Path) -> None:
    """An entry of any kind, and all that is in it, as far as that is possible."""
    with contextlib.suppress(OSError):  # rmtree ignores most errors, not all
        # rmtree waits for ever for a writer of a fifo.
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def _in_its_folder(path: Path, below: Path, opened: Callable[[], int]) -> int:
    """What `opened` returns; the directories of `path` below `below` are made if they are missing. Raises OSError."""
    for _ in range(_ATTEMPTS):
        try:
            return opened()
        except FileNotFoundError:  # noqa: PERF203 - the loop is for this
            with contextlib.suppress(FileNotFoundError):
                make_folder(path.parent, below)
    return opened()


def _regular(fd: int) -> int:
    try:
        _status(fd)
    except OSError:
        os.close(fd)
        raise
    return fd


def _status(fd: int) -> os.stat_result:
    """Of a regular file. Raises OSError, as the kernel refuses other kinds."""
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    return found
