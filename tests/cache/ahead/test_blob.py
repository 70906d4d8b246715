import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from hubfs.blobs.memory import MemoryBlob
from hubfs.cache.ahead.blob import ReadAheadBlob
from hubfs.cache.ahead.budget import Ahead
from hubfs.cache.ahead.policy import ReadAheadPolicy
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey
from hubfs.cache.cached_blob import CachedBlob
from hubfs.cache.memory import MemoryTier
from hubfs.memory_budget import MemoryBudget
from hubfs.waiting import Cancellation
from tests.support.mount import eventually

PAYLOAD = bytes(range(256)) * (24 * 4096 + 5)
READ_BYTES = 128 << 10


class Origin(MemoryBlob):
    """Counts the bytes that are fetched."""

    def __init__(self, key: str, payload: bytes) -> None:
        super().__init__(key, payload)
        self._lock = threading.Lock()
        self.fetched_bytes = 0

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        data = super().read_at(offset_bytes, size_bytes)
        with self._lock:
            self.fetched_bytes += len(data)
        return data


@pytest.fixture
def origin() -> Origin:
    return Origin("k", PAYLOAD)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def cached(origin: Origin, pool: ThreadPoolExecutor, memory_blocks: int) -> CachedBlob:
    ahead = Ahead(MemoryBudget(memory_blocks * BLOCK_SIZE_BYTES // 2))
    memory = MemoryTier(memory_blocks * BLOCK_SIZE_BYTES, lambda: ahead.beside_cache_bytes)
    key = CacheKey("hub/a/b/1@x", "f")
    return CachedBlob(origin, memory, key, pool=pool, cancellation=Cancellation(), ahead=ahead)


def read_side_by_side(readers: list[ReadAheadBlob]) -> None:
    for offset in range(0, len(PAYLOAD), READ_BYTES):
        for reader in readers:
            assert reader.read_at(offset, READ_BYTES) == PAYLOAD[offset : offset + READ_BYTES]


def test_readers_of_an_open_file_get_the_right_bytes_and_each_block_is_fetched_once(
    origin: Origin, pool: ThreadPoolExecutor
) -> None:
    blob = cached(origin, pool, memory_blocks=1000)
    read_side_by_side([ReadAheadBlob(blob, ReadAheadPolicy()) for _ in range(3)])
    assert origin.fetched_bytes == len(PAYLOAD)


def test_a_memory_that_is_smaller_than_the_window_fetches_nothing_twice(
    origin: Origin, pool: ThreadPoolExecutor
) -> None:
    blob = cached(origin, pool, memory_blocks=8)
    read_side_by_side([ReadAheadBlob(blob, ReadAheadPolicy())])
    assert origin.fetched_bytes == len(PAYLOAD)


def test_a_reader_that_was_refused_fetches_ahead_once_there_is_room_again(
    origin: Origin, pool: ThreadPoolExecutor
) -> None:
    budget = MemoryBudget(40 * BLOCK_SIZE_BYTES)
    assert budget.try_take(40 * BLOCK_SIZE_BYTES)
    memory, ahead = MemoryTier(1 << 30), Ahead(budget)
    key = CacheKey("hub/a/b/1@x", "f")
    blob = CachedBlob(origin, memory, key, pool=pool, cancellation=Cancellation(), ahead=ahead)
    reader = ReadAheadBlob(blob, ReadAheadPolicy())
    for offset in range(0, 4 * BLOCK_SIZE_BYTES, READ_BYTES):
        reader.read_at(offset, READ_BYTES)
    assert origin.fetched_bytes == 4 * BLOCK_SIZE_BYTES
    budget.give_back(40 * BLOCK_SIZE_BYTES)
    reader.read_at(4 * BLOCK_SIZE_BYTES, READ_BYTES)
    assert eventually(lambda: origin.fetched_bytes >= 12 * BLOCK_SIZE_BYTES)
