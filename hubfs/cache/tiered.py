"""Two tiers as one: memory in front of the disk, and a local tier in front of the shared one."""

import threading
from collections import Counter

from hubfs.cache.block_cache import BlockCache, CacheKey, Release, TierStats


class TieredCache:
    """Reads from `fast`, then from `slow`, whose hits move up; writes to both.

    A model that is dropped may be damaged, and a block of it that is on its way up meanwhile would stay there for good:
    the drops are counted, and `get` takes back what it moved if there was one. `_lock` guards `_drops`; it is never
    held while a tier is asked.
    """

    def __init__(self, fast: BlockCache, slow: BlockCache) -> None:
        self._fast = fast
        self._slow = slow
        self._lock = threading.Lock()
        self._drops: Counter[str] = Counter()  # by model

    def get(self, key: CacheKey, index: int) -> bytes | None:
        """The block, verified, or None."""
        block = self._fast.get(key, index)
        if block is None:
            drops = self._drops_of(key.model)
            block = self._slow.get(key, index)
            if block is not None:
                self._fast.put(key, index, block)
                if self._drops_of(key.model) != drops:
                    self._fast.drop(key.model)
        return block

    def has(self, key: CacheKey, index: int) -> bool:
        """Whether `get` would most likely have the block."""
        return self._fast.has(key, index) or self._slow.has(key, index)

    def put(self, key: CacheKey, index: int, block: bytes) -> bool:
        """Keeps the block if there is room; whether it will outlive the process."""
        self._fast.put(key, index, block)
        return self._slow.put(key, index, block)

    def hold(self, model: str) -> Release:
        """Says that `model` is in use, until the release."""
        return self._slow.hold(model)

    def drop(self, model: str) -> None:
        """Forgets everything of `model`."""
        self._slow.drop(model)
        with self._lock:
            self._drops[model] += 1
        self._fast.drop(model)

    def _drops_of(self, model: str) -> int:
        with self._lock:
            return self._drops[model]

    def cached_bytes(self, model: str) -> int | None:
        """How many bytes of `model` the slow tier has, for that is what lasts."""
        return self._slow.cached_bytes(model)

    def stats(self) -> dict[str, TierStats]:
        """The figures of both tiers, by name."""
        return {**self._fast.stats(), **self._slow.stats()}


class OverShared(TieredCache):
    """A local tier (the disk, or memory if there is none) over the shared one; only the local one counts as kept."""

    def __init__(self, local: BlockCache, shared: BlockCache) -> None:
        super().__init__(local, shared)
        self._local = local

    def put(self, key: CacheKey, index: int, block: bytes) -> bool:
        """Keeps the block in both tiers; whether the local one has it now."""
        self._slow.put(key, index, block)
        return self._local.put(key, index, block)

    def hold(self, model: str) -> Release:
        """Says that `model` is in use in the local tier: nothing is evicted from the shared one."""
        return self._local.hold(model)

    def cached_bytes(self, model: str) -> int | None:
        """How many bytes of `model` are local; to look at a status asks no store."""
        return self._local.cached_bytes(model)
