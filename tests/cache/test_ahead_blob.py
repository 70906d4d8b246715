from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import pytest

from hubfs.cache.ahead import ReadAheadBlob, ReadAheadPolicy
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey
from hubfs.cache.cached_blob import CachedBlob
from hubfs.cache.memory import MemoryTier
from hubfs.memory_budget import MemoryBudget
from hubfs.testing import ScriptedBlob
from hubfs.waiting import Cancellation
from tests.support.waiting import eventually

PAYLOAD = bytes(range(256)) * (24 * 4096 + 5)
READ_BYTES = 128 << 10


@pytest.fixture
def origin() -> ScriptedBlob:
    return ScriptedBlob(PAYLOAD)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def cached(origin: ScriptedBlob, pool: ThreadPoolExecutor, memory_blocks: int) -> CachedBlob:
    budget = MemoryBudget(memory_blocks * BLOCK_SIZE_BYTES // 2)
    memory = MemoryTier(memory_blocks * BLOCK_SIZE_BYTES, budget.beside_cache_bytes)
    key = CacheKey("hub/a/b/1@x", "f")
    return CachedBlob(origin, memory, key, pool=pool, cancellation=Cancellation(), budget=budget)


def read_side_by_side(readers: list[ReadAheadBlob]) -> None:
    for offset in range(0, len(PAYLOAD), READ_BYTES):
        for reader in readers:
            assert reader.read_at(offset, READ_BYTES) == PAYLOAD[offset : offset + READ_BYTES]


def test_readers_of_an_open_file_get_the_right_bytes_and_each_block_is_fetched_once(
    origin: ScriptedBlob, pool: ThreadPoolExecutor
) -> None:
    blob = cached(origin, pool, memory_blocks=1000)
    read_side_by_side([ReadAheadBlob(blob, ReadAheadPolicy()) for _ in range(3)])
    assert origin.read_bytes == len(PAYLOAD)


def test_a_memory_that_is_smaller_than_the_window_fetches_nothing_twice(
    origin: ScriptedBlob, pool: ThreadPoolExecutor
) -> None:
    blob = cached(origin, pool, memory_blocks=8)
    read_side_by_side([ReadAheadBlob(blob, ReadAheadPolicy())])
    assert origin.read_bytes == len(PAYLOAD)


def test_a_reader_that_was_refused_fetches_ahead_once_there_is_room_again(
    origin: ScriptedBlob, pool: ThreadPoolExecutor
) -> None:
    budget = MemoryBudget(40 * BLOCK_SIZE_BYTES)
    assert budget.try_take(40 * BLOCK_SIZE_BYTES)
    memory = MemoryTier(1 << 30)
    key = CacheKey("hub/a/b/1@x", "f")
    blob = CachedBlob(origin, memory, key, pool=pool, cancellation=Cancellation(), budget=budget)
    reader = ReadAheadBlob(blob, ReadAheadPolicy())
    for offset in range(0, 4 * BLOCK_SIZE_BYTES, READ_BYTES):
        reader.read_at(offset, READ_BYTES)
    assert origin.read_bytes == 4 * BLOCK_SIZE_BYTES
    budget.give_back(40 * BLOCK_SIZE_BYTES)
    reader.read_at(4 * BLOCK_SIZE_BYTES, READ_BYTES)
    assert eventually(lambda: origin.read_bytes >= 12 * BLOCK_SIZE_BYTES)


def test_reads_of_the_kernel_that_come_slightly_out_of_order_are_in_order_at_the_end(
    origin: ScriptedBlob, pool: ThreadPoolExecutor
) -> None:
    """The kernel's read-ahead has three reads under way at once, which as many threads take up in any order."""
    blob = cached(origin, pool, memory_blocks=1000)
    first, last = 10, len(PAYLOAD) // BLOCK_SIZE_BYTES
    for order in permutations(range(3)):
        reader = ReadAheadBlob(blob, ReadAheadPolicy(0))
        for group in range(first, last + 1, 3):
            for number in order:
                reader.read_at((group + number) * BLOCK_SIZE_BYTES, BLOCK_SIZE_BYTES)
        assert reader.was_read_in_order, order


def test_a_reader_that_leaves_out_every_second_block_has_not_read_in_order(
    origin: ScriptedBlob, pool: ThreadPoolExecutor
) -> None:
    reader = ReadAheadBlob(cached(origin, pool, memory_blocks=1000), ReadAheadPolicy(0))
    for offset in range(0, len(PAYLOAD), 2 * BLOCK_SIZE_BYTES):
        reader.read_at(offset, BLOCK_SIZE_BYTES)
    assert not reader.was_read_in_order
