"""Who uses which model: shared locks that every process sees, and that a kill releases, too."""

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hubfs.cache.block_cache import Release
from hubfs.cache.layout import CacheLayout

_log = logging.getLogger(__name__)

_ATTEMPTS = 50
_PAUSE_S = 0.01
"""An eviction holds the lock just long enough to look, or to rename the model away; then there is a new lock file."""


@dataclass(eq=False)
class _Lock:
    """The one lock of this process on a model, and how many share it."""

    fd: int
    users: int = 1


class InUse:
    """Locks on models, by the `in-use` file of each (see `CacheLayout`).

    However often a model is held, one file is open for it. `_lock` guards `_locks` and the `users` in it; it is never
    held across I/O.
    """

    def __init__(self, layout: CacheLayout) -> None:
        self._layout = layout
        self._lock = threading.Lock()
        self._locks: dict[str, _Lock] = {}

    def hold(self, model: str) -> Release:
        """Keeps every process from evicting `model` until the release. If that fails it is logged, nothing raised."""
        lock = self._join(model)
        if lock is None:
            try:
                lock = self._enter(model, _Lock(_locked_shared(self._layout.in_use(model))))
            except OSError as error:
                _log.warning("The disk cache cannot mark %s as in use: %s", model, error)
                return lambda: None
        with contextlib.suppress(OSError):
            os.utime(lock.fd)
        released = threading.Lock()

        def release() -> None:
            if released.acquire(blocking=False):
                self._leave(model, lock)

        return release

    def forget(self, model: str) -> None:
        """The files of `model` were taken away: who holds it from now on locks the new ones."""
        with self._lock:
            self._locks.pop(model, None)

    @contextlib.contextmanager
    def idle(self, model: str) -> Iterator[bool]:
        """Keeps others from beginning to hold `model`. False if anybody, of this process or another, holds it."""
        try:
            fd = open_for_writing(self._layout.in_use(model))
        except OSError:
            yield False
            return
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
            else:
                yield True
        finally:
            os.close(fd)

    def _join(self, model: str) -> _Lock | None:
        with self._lock:
            lock = self._locks.get(model)
            if lock is not None:
                lock.users += 1
            return lock

    def _enter(self, model: str, lock: _Lock) -> _Lock:
        with self._lock:
            first = self._locks.setdefault(model, lock)
            if first is not lock:
                first.users += 1
        if first is not lock:
            os.close(lock.fd)
        return first

    def _leave(self, model: str, lock: _Lock) -> None:
        with self._lock:
            lock.users -= 1
            last = not lock.users
            if last and self._locks.get(model) is lock:
                del self._locks[model]
        if last:
            os.close(lock.fd)


def open_for_writing(path: Path) -> int:
    """A file descriptor of the file, which is made if need be, and its directories. Raises OSError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    for _ in range(_ATTEMPTS):
        try:
            return os.open(path, flags, 0o644)
        except FileNotFoundError:  # noqa: PERF203 - the loop is for this
            # An eviction may take the directories away again, at any moment.
            with contextlib.suppress(FileNotFoundError, FileExistsError):
                path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, flags, 0o644)


def _locked_shared(path: Path) -> int:
    """A descriptor that has the shared lock of the file that is at `path` now. Raises OSError."""
    for _ in range(_ATTEMPTS):
        fd = open_for_writing(path)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            # Between the open and the lock an eviction may have renamed the model away.
            if os.path.samestat(os.fstat(fd), path.stat()):
                return fd
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError:
            os.close(fd)
            raise
        os.close(fd)
        time.sleep(_PAUSE_S)
    raise BlockingIOError(f"{path} stays locked by an eviction")
