"""The memory tier: least recently used blocks give way, bounded in bytes."""

import threading
from collections.abc import Callable

from cachetools import LRUCache

from hubfs.cache.block_cache import CacheKey, Release, TierStats


class MemoryTier:
    """A BlockCache of its own, and the upper half of the two tiers.

    `limit_bytes` is for blocks and for what `beside_bytes` says is taken elsewhere, together: as transfers take more,
    the next block that is put makes more blocks give way. `_lock` guards every field; `beside_bytes`, called under it,
    takes no lock.
    """

    def __init__(self, limit_bytes: int, beside_bytes: Callable[[], int] = lambda: 0) -> None:
        self._limit_bytes = limit_bytes
        self._beside_bytes = beside_bytes
        self._lock = threading.Lock()
        self._blocks: LRUCache[tuple[CacheKey, int], bytes] = LRUCache(maxsize=limit_bytes, getsizeof=len)
        self._hits = 0
        self._misses = 0

    def get(self, key: CacheKey, index: int) -> bytes | None:
        """See `BlockCache`."""
        with self._lock:
            block = self._blocks.get((key, index))
            if block is None:
                self._misses += 1
            else:
                self._hits += 1
            return block

    def has(self, key: CacheKey, index: int) -> bool:
        """See `BlockCache`."""
        with self._lock:
            return (key, index) in self._blocks

    def put(self, key: CacheKey, index: int, block: bytes) -> bool:
        """See `BlockCache`; False, always: memory does not outlive the process."""
        if len(block) > self._limit_bytes:
            return False
        with self._lock:
            self._blocks.pop((key, index), None)
            room_bytes = self._limit_bytes - self._beside_bytes() - len(block)
            while self._blocks and self._blocks.currsize > room_bytes:
                self._blocks.popitem()
            if room_bytes >= 0:
                self._blocks[key, index] = block
        return False

    def hold(self, model: str) -> Release:  # noqa: ARG002 - the protocol's signature
        """Nothing to do: memory gives way by recency alone."""
        return lambda: None

    def drop(self, model: str) -> None:
        """See `BlockCache`."""
        with self._lock:
            for place in [place for place in self._blocks if place[0].model == model]:
                del self._blocks[place]

    def cached_bytes(self, model: str) -> int:
        """See `BlockCache`."""
        with self._lock:
            return sum(len(block) for (key, _), block in self._blocks.items() if key.model == model)

    def stats(self) -> dict[str, TierStats]:
        """See `BlockCache`."""
        with self._lock:
            return {"memory": TierStats(int(self._blocks.currsize), self._limit_bytes, self._hits, self._misses)}
