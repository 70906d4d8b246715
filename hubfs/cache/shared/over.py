"""A local tier over the shared one."""

from hubfs.cache.block_cache import BlockCache, CacheKey, Release
from hubfs.cache.shared.tier import SharedTier
from hubfs.cache.tiered import TieredCache


class OverShared(TieredCache):
    """A local tier (the disk, or memory if there is none) over the shared one; only the local one counts as kept."""

    def __init__(self, local: BlockCache, shared: SharedTier) -> None:
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
