"""A source whose blobs note what they are asked to prefetch, and readers of it as a mount has them."""

import threading
from collections.abc import Callable

from hubfs.blobs.blob import Blob, WrappedBlob
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES as BLOCK
from hubfs.models.troubles import Troubles, WatchedBlob
from hubfs.sources.prefetch.prefetcher import Prefetcher
from hubfs.sources.source import Source
from tests.support.waiting import eventually


class Asked:
    """What was asked for, by path, in order; `room_bytes` is how much more is admitted."""

    def __init__(self) -> None:
        self.ranges: list[tuple[str, int, int]] = []
        self.room_bytes = 1 << 40
        self.error: Exception | None = None
        self._lock = threading.Lock()

    def ask(self, path: str, offset_bytes: int, size_bytes: int) -> int:
        with self._lock:
            if self.error is not None:
                raise self.error
            admitted_bytes = min(size_bytes, self.room_bytes)
            if admitted_bytes < size_bytes:
                admitted_bytes = admitted_bytes // BLOCK * BLOCK
            self.room_bytes -= admitted_bytes
            if admitted_bytes:
                self.ranges.append((path, offset_bytes, offset_bytes + admitted_bytes))
            return offset_bytes + admitted_bytes

    def bytes_of(self, path: str) -> int:
        with self._lock:
            return sum(end - start for asked, start, end in self.ranges if asked == path)

    @property
    def total_bytes(self) -> int:
        with self._lock:
            return sum(end - start for _, start, end in self.ranges)


class AskedBlob(WrappedBlob):
    """A blob that notes what it is asked to prefetch."""

    def __init__(self, path: str, blob: Blob, asked: Asked) -> None:
        super().__init__(blob)
        self._path = path
        self._asked = asked

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        return self._blob.read_at(offset_bytes, size_bytes)

    def prefetch(self, offset_bytes: int, size_bytes: int) -> int:
        return self._asked.ask(self._path, offset_bytes, size_bytes)


def is_idle() -> bool:
    return not any(thread.name == "prefetch" for thread in threading.enumerate())


def settled(asked: Asked) -> int:
    """How many bytes were asked for once nothing moves any more."""
    assert eventually(is_idle), "the thread goes on with nothing to do"
    return asked.total_bytes


def opened(prefetcher: Prefetcher, source: Source, path: str) -> tuple[Blob, Callable[[], None]]:
    entry = source.find(path)
    blob = WatchedBlob(source.open(entry), Troubles(), str(source.handle), path)
    blob.follow, release = prefetcher.opened(source, entry)
    return blob, release
