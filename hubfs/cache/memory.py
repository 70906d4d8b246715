"""The memory tier: least recently used blocks give way, bounded in bytes."""

import threading

from cachetools import LRUCache

from hubfs.cache.block_cache import CacheKey, Release, TierStats


class MemoryTier:
    """A BlockCache of its own, and the upper half of the two tiers.

    `_lock` guards every field; nothing foreign is called under it.
    """

    def __init__(self, limit_bytes: int) -> None:
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

    def put(self, key: CacheKey, index: int, block: bytes) -> bool:
        """See `BlockCache`; False, always: memory does not outlive the process."""
        with self._lock:
            # A block larger than the whole tier is refused by cachetools with ValueError.
            if len(block) <= self._blocks.maxsize:
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
            return {
                "memory": TierStats(int(self._blocks.currsize), int(self._blocks.maxsize), self._hits, self._misses)
            }
