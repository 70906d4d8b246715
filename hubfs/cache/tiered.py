"""Two tiers as one: memory in front of the disk."""

from hubfs.cache.block_cache import BlockCache, CacheKey, Release, TierStats


class TieredCache:
    """Reads from `fast`, then from `slow`, whose hits move up; writes to both."""

    def __init__(self, fast: BlockCache, slow: BlockCache) -> None:
        self._fast = fast
        self._slow = slow

    def get(self, key: CacheKey, index: int) -> bytes | None:
        """See `BlockCache`."""
        block = self._fast.get(key, index)
        if block is None:
            block = self._slow.get(key, index)
            if block is not None:
                self._fast.put(key, index, block)
        return block

    def has(self, key: CacheKey, index: int) -> bool:
        """See `BlockCache`."""
        return self._fast.has(key, index) or self._slow.has(key, index)

    def put(self, key: CacheKey, index: int, block: bytes) -> bool:
        """See `BlockCache`."""
        self._fast.put(key, index, block)
        return self._slow.put(key, index, block)

    def hold(self, model: str) -> Release:
        """See `BlockCache`."""
        return self._slow.hold(model)

    def drop(self, model: str) -> None:
        """See `BlockCache`."""
        self._fast.drop(model)
        self._slow.drop(model)

    def cached_bytes(self, model: str) -> int:
        """See `BlockCache`: what the slow tier has, for that is what lasts."""
        return self._slow.cached_bytes(model)

    def stats(self) -> dict[str, TierStats]:
        """See `BlockCache`."""
        return {**self._fast.stats(), **self._slow.stats()}
