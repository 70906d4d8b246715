"""The folder of the archives that one process builds, and what killed processes left beside it."""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hubfs.errors import InvalidConfig, Unavailable

_PREFIX = "hubfs-serve-"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_YOUNG_S = 60.0
"""A folder that changed since then may just be being made: its lock comes a moment after it."""


@contextlib.contextmanager
def archive_folder(above: Path) -> Iterator["ArchiveFolder"]:
    """A new folder below `above` (made if need be), for as long as it is used; then it is deleted with all in it.

    Folders of this user's processes that were killed are deleted first: nobody holds the lock of these. Raises
    `InvalidConfig` where no folder can be made.
    """
    try:
        above.mkdir(parents=True, exist_ok=True)
        _sweep(above)
        folder = ArchiveFolder(above)
    except OSError as error:
        raise InvalidConfig(
            f"archives cannot be kept in {above}: {error.strerror}; --archive-dir names another directory"
        ) from error
    try:
        yield folder
    finally:
        folder.delete()


class ArchiveFolder:
    """A folder below `above`, made when this is, and its lock. For one thread."""

    def __init__(self, above: Path) -> None:
        self._above = above
        self._path, self._lock = _made(above)

    def delete(self) -> None:
        """Deletes the folder, with all in it, if it is still there."""
        if self._is_there():
            shutil.rmtree(self._path, ignore_errors=True)
        os.close(self._lock)

    def path(self) -> Path:
        """The folder; a new one, if this is gone or something else is in its place. Raises `Unavailable`.

        Programs that clean temporary directories do not ask, and then the name, which everybody can see, is anybody's.
        """
        if not self._is_there():
            gone = self._lock
            try:
                self._path, self._lock = _made(self._above)
            except OSError as error:
                raise Unavailable(f"no folder for archives can be made: {error.strerror}") from error
            os.close(gone)
        return self._path

    def has(self, file: Path) -> bool:
        """Whether `file` is there, and is one that this process put into the folder."""
        return file.parent == self._path and self._is_there() and file.exists()

    def _is_there(self) -> bool:
        with contextlib.suppress(OSError):
            return os.path.samestat(os.lstat(self._path), os.fstat(self._lock))
        return False


def _made(above: Path) -> tuple[Path, int]:
    """A new folder, and the descriptor that has its lock. Raises OSError."""
    path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=above))
    lock = os.open(path, _DIRECTORY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return path, lock


def _sweep(above: Path) -> None:
    for folder in above.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # just gone, or no directory
            lock = os.open(folder, _DIRECTORY)
            try:
                found = os.fstat(lock)
                if found.st_uid == os.geteuid() and found.st_mtime < time.time() - _YOUNG_S:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
