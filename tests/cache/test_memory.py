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


def test_blocks_that_wait_for_their_readers_give_way_last() -> None:
    awaited = {(KEY, 0), (KEY, 1)}
    tier = MemoryTier(400, awaited=awaited)
    for index in range(40):
        tier.put(KEY, index, bytes(100))
    assert [index for index in range(40) if tier.has(KEY, index)] == [0, 1, 38, 39]
    awaited.clear()
    tier.put(KEY, 40, bytes(100))
    assert [index for index in range(41) if tier.has(KEY, index)] == [1, 38, 39, 40]


def test_also_blocks_that_wait_give_way_to_one_that_is_wanted_now() -> None:
    tier = MemoryTier(300, awaited={(KEY, index) for index in range(3)})
    for index in range(4):
        tier.put(KEY, index, bytes(100))
    assert [index for index in range(4) if tier.has(KEY, index)] == [1, 2, 3]


def test_a_span_is_kept_among_the_blocks_and_is_none_of_them() -> None:
    tier = MemoryTier(400)
    tier.put(KEY, 0, bytes(100))
    tier.put_span(KEY.model, 7, b"inflated" * 20)
    assert tier.span(KEY.model, 7) == b"inflated" * 20
    assert tier.span(KEY.model, 0) is None
    assert tier.cached_bytes(KEY.model) == 100
    assert tier.stats()["memory"].used_bytes == 260
    for index in range(4):
        tier.put(KEY, index, bytes(100))
    assert tier.span(KEY.model, 7) is None


def test_a_span_that_would_leave_no_room_for_blocks_is_not_kept_and_takes_no_place() -> None:
    tier = MemoryTier(400, lambda: 100)
    tier.put(KEY, 0, bytes(100))
    tier.put_span(KEY.model, 0, bytes(250))
    assert tier.span(KEY.model, 0) is None
    assert tier.has(KEY, 0)


def test_what_is_dropped_of_a_model_has_no_spans() -> None:
    tier = MemoryTier(400)
    tier.put_span(KEY.model, 0, bytes(100))
    tier.drop(KEY.model)
    assert tier.span(KEY.model, 0) is None
    assert tier.stats()["memory"].used_bytes == 0
