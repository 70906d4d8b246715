"""Who uses which model: shared locks that every process sees, and that a kill releases, too."""

import contextlib
import errno
import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hubfs.cache.block_cache import Release, once
from hubfs.cache.disk.files import NO_FILE, open_to_read, open_to_write, open_to_write_there
from hubfs.cache.disk.layout import CacheLayout

_log = logging.getLogger(__name__)

_NOT_TO_BE_WRITTEN = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT)
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
                lock = self._enter(model, _Lock(self._locked_shared(model)))
            except OSError as error:
                # Where nothing can be written, nothing is evicted.
                level = logging.DEBUG if error.errno in _NOT_TO_BE_WRITTEN else logging.WARNING
                _log.log(level, "The disk cache cannot mark %s as in use: %s", model, error)
                return lambda: None
        with contextlib.suppress(OSError):
            os.utime(lock.fd)
        return once(lambda: self._leave(model, lock))

    def look(self, model: str) -> tuple[bool, float]:
        """Whether any process holds `model`, and when it was last used (Unix time). Makes nothing. Raises OSError."""
        try:
            fd = open_to_read(self._layout.in_use(model))
        except OSError as error:  # never held, or something else lies there
            if error.errno not in NO_FILE | {errno.ENOENT}:
                raise
            return False, self._layout.model(model).stat().st_mtime
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True, os.fstat(fd).st_mtime
            return False, os.fstat(fd).st_mtime
        finally:
            os.close(fd)

    def forget(self, model: str) -> None:
        """The files of `model` were taken away: who holds it from now on locks the new ones."""
        with self._lock:
            self._locks.pop(model, None)

    @contextlib.contextmanager
    def idle(self, model: str) -> Iterator[bool]:
        """Keeps others from beginning to hold `model`. False if any process holds it, or it is not there."""
        try:
            # A model that was dropped meanwhile is not to come back, as a directory that no eviction would free.
            fd = self._opened(model, open_to_write_there)
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

    def _made(self, path: Path) -> int:
        return open_to_write(path, self._layout.models_root)

    def _opened(self, model: str, opened: Callable[[Path], int]) -> int:
        """A descriptor of the model's file. Raises OSError."""
        path = self._layout.in_use(model)
        try:
            return opened(path)
        except OSError as error:
            if error.errno not in NO_FILE:
                raise
            self._layout.discard(path)  # else the model could never be evicted
            return opened(path)

    def _locked_shared(self, model: str) -> int:
        """A descriptor that has the shared lock of the model's file as it is now. Raises OSError."""
        path = self._layout.in_use(model)
        for _ in range(_ATTEMPTS):
            fd = self._opened(model, self._made)
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
