from hubfs.cache.block_cache import CacheKey
from hubfs.cache.memory import MemoryTier
from hubfs.cache.tiered import TieredCache

KEY = CacheKey("hub/a/b/1@x", "f")


def test_a_hit_of_the_slow_tier_moves_up() -> None:
    fast, slow = MemoryTier(1000), MemoryTier(1000)
    slow.put(KEY, 0, b"block")
    cache = TieredCache(fast, slow)
    assert cache.get(KEY, 0) == b"block"
    assert fast.get(KEY, 0) == b"block"


def test_a_hit_of_the_fast_tier_leaves_the_slow_one_alone() -> None:
    fast, slow = MemoryTier(1000), MemoryTier(1000)
    cache = TieredCache(fast, slow)
    cache.put(KEY, 0, b"block")
    cache.get(KEY, 0)
    assert slow.stats()["memory"].hits == 0


def test_what_the_slow_tier_cannot_keep_is_served_from_the_fast_one() -> None:
    cache = TieredCache(MemoryTier(1000), MemoryTier(0))
    assert cache.put(KEY, 0, b"block") is False
    assert cache.get(KEY, 0) == b"block"
    assert cache.cached_bytes(KEY.model) == 0
