from collections.abc import Callable

import pytest

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey, TieredCache, block_size_at
from hubfs.cache.memory import MemoryTier

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


class Interrupted(MemoryTier):
    """Has something done between finding a block and handing it out."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    def get(self, key: CacheKey, index: int) -> bytes | None:
        block = super().get(key, index)
        self.meanwhile()
        return block


def test_a_block_that_moves_up_while_its_model_is_dropped_does_not_stay() -> None:
    fast, slow = MemoryTier(1000), Interrupted(1000)
    cache = TieredCache(fast, slow)
    slow.put(KEY, 0, b"block")
    slow.meanwhile = lambda: cache.drop(KEY.model)
    assert cache.get(KEY, 0) == b"block"  # nobody knew yet
    assert cache.get(KEY, 0) is None


class Slow(MemoryTier):
    """Has something done before it drops."""

    before: Callable[[], object] = staticmethod(lambda: None)

    def drop(self, model: str) -> None:
        self.before()
        super().drop(model)


def test_what_is_read_while_a_drop_is_under_way_does_not_stay_in_the_fast_tier() -> None:
    slow = Slow(1000)
    cache = TieredCache(MemoryTier(1000), slow)
    slow.put(KEY, 0, b"block")
    slow.before = lambda: cache.get(KEY, 0)
    cache.drop(KEY.model)
    assert cache.get(KEY, 0) is None


class Full(MemoryTier):
    """Keeps nothing until it has room."""

    has_room = False

    def put(self, key: CacheKey, index: int, block: bytes) -> bool:
        return super().put(key, index, block) if self.has_room else False


def test_what_the_fast_tier_alone_has_is_settled_in_the_slow_one() -> None:
    size_bytes = 2 * BLOCK_SIZE_BYTES + 5
    slow = Full(1 << 30)
    cache = TieredCache(MemoryTier(1 << 30), slow)
    blocks = [bytes([index]) * block_size_at(index, size_bytes) for index in range(3)]
    cache.put(KEY, 0, blocks[0])
    slow.has_room = True
    cache.put(KEY, 1, blocks[1])
    cache.settle(KEY, size_bytes)
    assert [slow.get(KEY, index) for index in range(3)] == [blocks[0], blocks[1], None], "the last one never came"


def test_what_is_dropped_while_it_is_settled_does_not_stay() -> None:
    fast, slow = Interrupted(1000), MemoryTier(1000)
    cache = TieredCache(fast, slow)
    fast.put(KEY, 0, b"block")
    fast.meanwhile = lambda: cache.drop(KEY.model)
    cache.settle(KEY, 5)
    assert slow.get(KEY, 0) is None


class Writing(MemoryTier):
    """Has something done before it keeps a block."""

    before: Callable[[], object] = staticmethod(lambda: None)

    def put(self, key: CacheKey, index: int, block: bytes) -> bool:
        before, self.before = self.before, lambda: pytest.fail("it was written twice")
        before()
        return super().put(key, index, block)


def test_a_block_that_is_being_written_is_not_settled_as_well() -> None:
    slow = Writing(1000)
    cache = TieredCache(MemoryTier(1000), slow)
    slow.before = lambda: cache.settle(KEY, 5)
    cache.put(KEY, 0, b"block")
    assert slow.get(KEY, 0) == b"block"
