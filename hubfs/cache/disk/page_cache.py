"""Gives the kernel's pages of data files back: what is read through the mount is in the mount's page cache already."""

import ctypes
import logging
import os
import threading
import time
from collections.abc import Callable

from hubfs.cache.block_cache import CacheKey
from hubfs.cache.disk.files import open_to_read
from hubfs.cache.disk.layout import CacheLayout
from hubfs.errors import Cancelled
from hubfs.waiting import Cancellation

_log = logging.getLogger(__name__)

_AFTER_S = 5.0
"""So long the pages of a file stay after its first use: libfuse 2 reads a block in eight pieces, and what a pass wrote
is often read a moment later. Then all goes at once, away from the reading path."""

_PIECE_BYTES = 64 << 20
"""What is written back between two looks at whether the mount goes away."""

_WRITE_AND_WAIT = 1 | 2 | 4
"""SYNC_FILE_RANGE_WAIT_BEFORE | WRITE | WAIT_AFTER: dirty pages cannot be given back. Unlike fdatasync it neither
flushes the disk's cache nor commits the journal: this is not about durability."""


class DataPages:
    """Which data files were used, and the thread that gives their pages back; it ends when there is nothing to do.

    Without it a model that was read is in memory twice, as the mount's pages and as the data file's. Of files that the
    kernel reads itself, the latter are those that are served, and stay: `served` says which files these are.
    `_lock` guards `_due_s` and `_sweeping`; it is held across no I/O.
    """

    def __init__(
        self,
        layout: CacheLayout,
        cancellation: Cancellation,
        *,
        served: Callable[[CacheKey], bool] = lambda _: False,
        after_s: float = _AFTER_S,
    ) -> None:
        self._layout = layout
        self._served = served
        self._cancellation = cancellation
        self._after_s = after_s
        self._lock = threading.Lock()
        self._due_s: dict[CacheKey, float] = {}  # the first due first
        self._sweeping = False

    def used(self, key: CacheKey) -> None:
        """The data file of `key` was read or written; cheap, and called for each block."""
        if key in self._due_s:  # unlocked: a call too late for this sweep costs some pages' worth of memory
            return
        with self._lock:
            self._due_s.setdefault(key, time.monotonic() + self._after_s)
            begin, self._sweeping = not self._sweeping, True
        if begin:
            try:
                threading.Thread(target=self._sweep, name="page cache", daemon=True).start()
            except RuntimeError as error:  # no thread is left: the next call tries again
                with self._lock:
                    self._due_s.clear()
                    self._sweeping = False
                _log.debug("The pages of data files are not given back just now: %s", error)

    def _sweep(self) -> None:
        try:
            while True:
                with self._lock:
                    if not self._due_s:
                        self._sweeping = False
                        return
                    key, due_s = next(iter(self._due_s.items()))
                self._cancellation.sleep(max(0.0, due_s - time.monotonic()))
                with self._lock:
                    del self._due_s[key]  # what is used from now on has a sweep of its own
                if not self._served(key):
                    self._give_back(key)
        except Cancelled:
            return

    def _give_back(self, key: CacheKey) -> None:
        try:
            give_back(str(self._layout.data(key)), self._cancellation.check)
        except FileNotFoundError:
            pass  # evicted meanwhile
        except OSError as error:
            _log.debug("The pages of %s cannot be given back: %s", key.path, error)


def give_back(path: str, check: Callable[[], None] = lambda: None) -> None:
    """Writes a file's dirty pages, and has the kernel forget all of its pages.

    Raises OSError, and whatever `check` raises, which is called now and then.
    """
    fd = open_to_read(path)
    try:
        for offset_bytes in range(0, os.fstat(fd).st_size, _PIECE_BYTES):
            check()
            _write_back(fd, offset_bytes)
            os.posix_fadvise(fd, offset_bytes, _PIECE_BYTES, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def _write_back(fd: int, offset_bytes: int) -> None:
    """`sync_file_range`, which Python does not offer; where libc has none, DONTNEED itself begins to write."""
    sync = getattr(ctypes.CDLL(None, use_errno=True), "sync_file_range", None)
    if sync is None:
        return
    if sync(fd, ctypes.c_int64(offset_bytes), ctypes.c_int64(_PIECE_BYTES), ctypes.c_uint(_WRITE_AND_WAIT)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
