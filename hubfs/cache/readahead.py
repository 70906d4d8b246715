"""What to fetch next: a pure policy, and the wrapper that carries it out."""

import threading
from dataclasses import dataclass

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES
from hubfs.cache.cached_blob import CachedBlob

_SLACK_BYTES = 2 * BLOCK_SIZE_BYTES
"""A read that begins this near to the end of the last one continues it: the kernel issues its read-ahead slightly out
of order, and TensorFlow's 1 MiB fills overlap its tensor-sized reads."""


@dataclass(frozen=True)
class Window:
    """Where a reader is.

    `expected_bytes`: where a sequential reader goes on; `size_bytes`: how far ahead to fetch; `fetched_bytes`: up to
    where the fetch was asked for already.
    """

    expected_bytes: int = 0
    size_bytes: int = 0
    fetched_bytes: int = 0


@dataclass(frozen=True)
class ReadAheadPolicy:
    """The window begins at `first_bytes`, doubles whenever half of it was read, and ends at `limit_bytes` (0: none)."""

    first_bytes: int = BLOCK_SIZE_BYTES
    limit_bytes: int = 32 * BLOCK_SIZE_BYTES

    def plan(
        self, window: Window, offset_bytes: int, size_bytes: int, file_size_bytes: int
    ) -> tuple[Window, range | None]:
        """The window after this read, and the byte range to fetch ahead, if any. A random read closes the window."""
        end_bytes = min(offset_bytes + size_bytes, file_size_bytes)
        if abs(offset_bytes - window.expected_bytes) > _SLACK_BYTES:
            return Window(expected_bytes=end_bytes, fetched_bytes=end_bytes), None
        expected_bytes = max(end_bytes, window.expected_bytes)
        # From the next block on: the one that the read ends in is fetched by the read itself.
        start_bytes = max(window.fetched_bytes, _block_end(end_bytes))
        # A window at a time, however small the reads are: many small requests would cost a round trip each.
        if start_bytes - end_bytes > max(self.first_bytes, window.size_bytes) // 2:
            return Window(expected_bytes, window.size_bytes, window.fetched_bytes), None
        ahead_bytes = min(max(self.first_bytes, 2 * window.size_bytes), self.limit_bytes)
        # Whole blocks are fetched: none is asked for twice.
        stop_bytes = min(_block_end(end_bytes + ahead_bytes), file_size_bytes) if ahead_bytes else start_bytes
        if stop_bytes <= start_bytes:
            return Window(expected_bytes, window.size_bytes, window.fetched_bytes), None
        return Window(expected_bytes, ahead_bytes, stop_bytes), range(start_bytes, stop_bytes)


def _block_end(offset_bytes: int) -> int:
    """The first block boundary that is not before `offset_bytes`."""
    return -(-offset_bytes // BLOCK_SIZE_BYTES) * BLOCK_SIZE_BYTES


class ReadAheadBlob:
    """One reader's view of a CachedBlob: notices sequential reading and fetches ahead. Made per open file.

    `_lock` guards `_window`; it is not held while anything is fetched.
    """

    def __init__(self, blob: CachedBlob, policy: ReadAheadPolicy) -> None:
        self._blob = blob
        self._policy = policy
        self._lock = threading.Lock()
        self._window = Window()

    @property
    def key(self) -> str:
        """The wrapped blob's."""
        return self._blob.key

    @property
    def size_bytes(self) -> int:
        """The wrapped blob's."""
        return self._blob.size_bytes

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """See `Blob`."""
        with self._lock:
            self._window, ahead = self._policy.plan(self._window, offset_bytes, size_bytes, self.size_bytes)
        if ahead is not None:
            self._blob.prefetch(ahead.start, len(ahead))
        return self._blob.read_at(offset_bytes, size_bytes)
