"""Files of a cache directory that are whole and verified: the kernel may read them itself."""

import contextlib
import logging
import os
import threading
from pathlib import Path
from typing import Any, NamedTuple

from cachetools import LRUCache

from hubfs.blobs.checksums import crc32c
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey, block_size_at, blocks_of
from hubfs.cache.disk.files import open_to_read, read_whole, write_whole
from hubfs.cache.disk.store import DiskStore
from hubfs.cache.sealed_json import seal, unseal
from hubfs.errors import HubfsError
from hubfs.waiting import Cancellation, SingleFlight, await_result

_log = logging.getLogger(__name__)

_SEAL_BYTES = 1 << 16
"""No seal of a file is larger."""

_AT_ONCE_BYTES = 4 << 20
"""A file that is no larger is verified by the opener itself: a thread would cost as much as the file."""

_VERIFYING_S = 3600.0
"""The bound for an opener without patience of its own, who finds another one at a small file."""

_REMEMBERED = 100_000
"""Of so many files is known what was found."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")


class _Facts(NamedTuple):
    """What changes when a file does: inode, size in bytes, and the times of the last write and the last change."""

    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> "_Facts":
        return cls(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class _State(NamedTuple):
    """The facts of a data file, and of its block map: who finds a block corrupt takes its record back there."""

    data: _Facts
    blocks: _Facts


class WholeFiles:
    """Says which files are whole and verified, and opens them.

    All blocks of a file are held against their checksums once in the life of this object, and again when the inode, the
    size or a time of the data file or of the block map changed. A seal beside the file spares that to others, until the
    machine starts anew: what a power cut took nobody vouches for, since nothing is synced.

    `_lock` guards `_found`: by file, what was looked at, and whether it was whole and right. It is never held across
    I/O or a wait.
    """

    def __init__(self, store: DiskStore, cancellation: Cancellation) -> None:
        self._store = store
        self._layout = store.layout
        self._cancellation = cancellation
        self._boot = _boot()
        self._flights: SingleFlight[CacheKey, None] = SingleFlight(cancellation, _VERIFYING_S)
        self._lock = threading.Lock()
        self._found: LRUCache[CacheKey, tuple[_State, bool]] = LRUCache(_REMEMBERED)

    def opened(self, key: CacheKey, size_bytes: int, patience_s: float) -> int | None:
        """A descriptor (read-only) of the file of `size_bytes` itself, for the caller to close; None if it is not
        whole, or is not verified within `patience_s`: then that goes on without the caller.

        The caller holds the model meanwhile. Raises nothing.
        """
        try:
            state = self._state(key)
            if not size_bytes or state.data.size_bytes != size_bytes:
                return None
            if self._finding(key, state) is None:
                self._look(key, size_bytes, patience_s)
                state = self._state(key)
            return self._descriptor(key, state) if self._finding(key, state) else None
        except HubfsError as error:
            _log.debug("%s is not verified yet: %s", key.path, error)
        except OSError as error:
            _log.debug("%s is read block by block: %s", key.path, error)
            with self._lock:
                self._found.pop(key, None)
        return None

    def is_right(self, key: CacheKey) -> bool:
        """Whether the file was whole and right when somebody looked last. Costs nothing."""
        with self._lock:
            return self._found.get(key, (None, False))[1]

    def _finding(self, key: CacheKey, state: _State) -> bool | None:
        """What was found of a file in this state; None if nobody has looked."""
        with self._lock:
            known = self._found.get(key)
        return known[1] if known is not None and known[0] == state else None

    def _descriptor(self, key: CacheKey, state: _State) -> int | None:
        fd = open_to_read(self._layout.data(key))
        if _Facts.of(os.fstat(fd)) == state.data:
            return fd
        os.close(fd)
        return None

    def _look(self, key: CacheKey, size_bytes: int, patience_s: float) -> None:
        """Has the file verified. Raises OSError, `TimedOut` and `Cancelled`."""
        if size_bytes <= _AT_ONCE_BYTES:
            self._flights.run(key, lambda: self._verify(key, size_bytes))
            return
        flight = self._flights.behind(key, lambda: self._verify(key, size_bytes))
        await_result(flight, self._cancellation, patience_s, f"the checksums of {key.path}")

    def _verify(self, key: CacheKey, size_bytes: int) -> None:
        """Finds out whether the file is whole and right. Raises OSError and `Cancelled`."""
        state = self._state(key)
        sealed = self._seal_of(size_bytes, state)
        right = sealed is not None and self._sealed(key) == sealed
        if not right:
            right = self._is_right(key, size_bytes)
            if self._state(key) != state:
                return  # it was written to meanwhile: who opens it next looks again
            if right and sealed is not None:
                data = seal("whole", _name(key), sealed)
                with contextlib.suppress(OSError):  # a full disk, say: the next daemon verifies it again
                    write_whole(self._layout.seal(key), data, self._layout.models_root)
        with self._lock:
            self._found[key] = state, right

    def _is_right(self, key: CacheKey, size_bytes: int) -> bool:
        """Whether all blocks are there and are what their records say; one that is not is taken back.

        Raises OSError and `Cancelled`.
        """
        records = self._store.records(key)
        expected = [(index, block_size_at(index, size_bytes)) for index in blocks_of(0, size_bytes, size_bytes)]
        if [(record.block_index, record.length_bytes) for record in records] != expected:
            return False
        fd = open_to_read(self._layout.data(key))
        try:
            for index, length_bytes, checksum in records:
                self._cancellation.check()
                if crc32c(os.pread(fd, length_bytes, index * BLOCK_SIZE_BYTES)) != checksum:
                    self._store.read(key, index)
                    return False
        finally:
            os.close(fd)
        return True

    def _state(self, key: CacheKey) -> _State:
        """Raises OSError."""
        return _State(*(_Facts.of(os.lstat(path)) for path in (self._layout.data(key), self._layout.blocks(key))))

    def _seal_of(self, size_bytes: int, state: _State) -> dict[str, Any] | None:
        """What a seal of a file in this state says; None where nobody knows since when the machine runs."""
        if self._boot is None:
            return None
        return {"boot": self._boot, "size": size_bytes, "files": [[*facts] for facts in state]}

    def _sealed(self, key: CacheKey) -> dict[str, Any] | None:
        try:
            return unseal("whole", _name(key), read_whole(self._layout.seal(key), _SEAL_BYTES))
        except (OSError, ValueError):
            return None


def _name(key: CacheKey) -> str:
    return f"{key.model}/{key.path}"


def _boot() -> str | None:
    """Names this run of the machine; None if the kernel does not tell."""
    try:
        return _BOOT.read_text(encoding="ascii").strip() or None
    except OSError:
        return None
