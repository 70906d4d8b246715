"""The folder of the archives that one process builds, and what killed processes left beside it."""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hubfs.errors import InvalidConfig

_PREFIX = "hubfs-serve-"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_YOUNG_S = 60.0
"""A folder that changed since then may just be being made: its lock comes a moment after it."""


@contextlib.contextmanager
def archive_folder(above: Path) -> Iterator[Path]:
    """A new folder below `above` (made if need be), for as long as it is used; then it is deleted with all in it.

    Folders of processes that were killed are deleted first: nobody holds the lock of these. Raises `InvalidConfig`
    where no folder can be made.
    """
    try:
        above.mkdir(parents=True, exist_ok=True)
        _sweep(above)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=above))
        lock = os.open(folder, _DIRECTORY)
    except OSError as error:
        raise InvalidConfig(
            f"archives cannot be kept in {above}: {error.strerror}; --archive-dir names another directory"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _sweep(above: Path) -> None:
    for folder in above.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, or just gone
            lock = os.open(folder, _DIRECTORY)
            try:
                if os.fstat(lock).st_mtime < time.time() - _YOUNG_S:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
