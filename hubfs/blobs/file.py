"""A local file as a blob."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from hubfs.errors import AccessDenied, Stale, Unavailable


class FileBlob:
    """The file at `path`, as long as it has this size and this time of modification; `Stale` once it has not.

    Every read opens the file: no descriptor is kept for a file that nobody reads. A symlink in its place is not
    followed. `opened` opens it for one read, and may refuse it with a `HubfsError`.
    """

    def __init__(
        self,
        path: Path,
        size_bytes: int,
        mtime_ns: int,
        opened: Callable[[], AbstractContextManager[int]] | None = None,
    ) -> None:
        self._path = path
        self.size_bytes = size_bytes
        self.mtime_ns = mtime_ns
        self.key = f"file://{path}@{size_bytes}-{mtime_ns}"
        self._opened = opened or partial(_opened, path)

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes at an offset. Raises `Stale` for a file that changed or is gone, `AccessDenied`, `Unavailable`."""
        try:
            with self._opened() as descriptor:
                data = _read(descriptor, offset_bytes, min(size_bytes, self.size_bytes - offset_bytes))
                found = os.fstat(descriptor)  # after reading: what changed while it was read is noticed
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise Stale(f"{self._path} is gone: open the file again") from error
        except PermissionError as error:
            raise AccessDenied(f"{self._path} may not be read by this user") from error
        except OSError as error:
            raise Unavailable(f"{self._path} cannot be read: {error.strerror}") from error
        if (found.st_size, found.st_mtime_ns) != (self.size_bytes, self.mtime_ns):
            raise Stale(f"{self._path} changed: open the file again")
        return data


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(descriptor: int, offset_bytes: int, size_bytes: int) -> bytes:
    """`os.pread`, which may give less than there is: Linux reads at most 2 GiB at a time."""
    parts = []
    while size_bytes > 0 and (part := os.pread(descriptor, size_bytes, offset_bytes)):
        parts.append(part)
        offset_bytes += len(part)
        size_bytes -= len(part)
    return b"".join(parts)
