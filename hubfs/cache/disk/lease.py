"""A lease in the cache directory: the right to fetch units of a file, which the kernel takes back from the dead."""

import contextlib
import fcntl
import os
import struct
import time
from pathlib import Path

from hubfs.cache.disk.files import open_to_read, open_to_write, pwrite_all

_FLOCK = struct.Struct("hhqqi4x")
"""`struct flock` of 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid."""

_BEAT = struct.Struct("<q")
"""What a heartbeat writes for each unit: nanoseconds of the holder's clock. Others see only whether it changes."""

_ATTEMPTS = 10
"""The file may be taken away between the open and the lock, with its model, and made anew."""


class DiskLease:
    """The units `units` of the lease file `path`: blocks of a file, or the one unit of an archive's pass.

    A lock of an open file description (F_OFD_SETLK) excludes other holders of the same units, in this process as in
    others, and ends with the process. For one thread, but for `beat`.
    """

    def __init__(self, path: Path, below: Path, units: range) -> None:
        self._path = path
        self._below = below
        self._units = units
        self._fd: int | None = None
        self.beat_seen = b""
        """What the holder's heartbeat was when `acquire` last failed."""

    def __str__(self) -> str:
        return f"{self._path}[{self._units.start}:{self._units.stop}]"

    def acquire(self) -> bool:
        """Takes the lease if nobody has any of its units. Does not wait. Raises OSError if nothing can be locked."""
        for _ in range(_ATTEMPTS):
            fd = open_to_write(self._path, self._below)
            try:
                if not _lock(fd, self._units):
                    self.beat_seen = os.pread(fd, len(self._units) * _BEAT.size, self._units.start * _BEAT.size)
                    return False
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(fd), self._path.stat()):
                        self._fd, fd = fd, -1
                        return True
            finally:
                if fd >= 0:
                    os.close(fd)
        return False

    def beat(self) -> None:
        """Says that the holder lives. May be called by another thread, and after the release. Raises OSError."""
        fd = open_to_read(self._path, os.O_RDWR)  # a descriptor that `release` closes might be another file's by now
        try:
            pwrite_all(fd, _BEAT.pack(time.time_ns()) * len(self._units), self._units.start * _BEAT.size)
        finally:
            os.close(fd)

    def release(self) -> None:
        """Gives the lease back; does nothing if it is not held."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


def _lock(fd: int, units: range) -> bool:
    wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, units.start * _BEAT.size, len(units) * _BEAT.size, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, wanted)
    except (BlockingIOError, PermissionError):  # POSIX allows either for a lock that somebody else has
        return False
    return True
