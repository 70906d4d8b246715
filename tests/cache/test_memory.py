from hubfs.cache.block_cache import CacheKey
from hubfs.cache.memory import MemoryTier

KEY = CacheKey("hub/a/b/1@x", "f")


def test_the_least_recently_used_block_gives_way() -> None:
    tier = MemoryTier(300)
    for index in range(3):
        tier.put(KEY, index, bytes(100))
    assert tier.get(KEY, 0) is not None
    tier.put(KEY, 3, bytes(150))
    assert [tier.get(KEY, index) is not None for index in range(4)] == [True, False, False, True]


def test_counts_the_bytes_not_the_blocks() -> None:
    tier = MemoryTier(300)
    tier.put(KEY, 0, bytes(10))
    tier.put(KEY, 1, bytes(290))
    assert tier.stats()["memory"].used_bytes == 300
    tier.put(KEY, 0, bytes(5))
    assert tier.stats()["memory"].used_bytes == 295


def test_a_hold_protects_nothing_in_memory() -> None:
    tier = MemoryTier(100)
    tier.hold(KEY.model)
    tier.put(KEY, 0, bytes(100))
    tier.put(KEY, 1, bytes(100))
    assert tier.get(KEY, 0) is None


def test_hands_out_the_very_block_without_a_copy() -> None:
    tier = MemoryTier(100)
    block = bytes(100)
    tier.put(KEY, 0, block)
    assert tier.get(KEY, 0) is block


def test_what_is_taken_elsewhere_is_not_there_for_blocks() -> None:
    taken_bytes = 0
    tier = MemoryTier(300, lambda: taken_bytes)
    for index in range(3):
        tier.put(KEY, index, bytes(100))
    taken_bytes = 150
    tier.put(KEY, 3, bytes(100))
    assert tier.cached_bytes(KEY.model) == 100
    assert tier.get(KEY, 3) is not None
    taken_bytes = 250
    tier.put(KEY, 4, bytes(100))
    assert tier.cached_bytes(KEY.model) == 0
    taken_bytes = 0
    tier.put(KEY, 5, bytes(100))
    assert tier.cached_bytes(KEY.model) == 100
