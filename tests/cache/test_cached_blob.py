import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.blobs.memory import MemoryBlob
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey
from hubfs.cache.cached_blob import CachedBlob, runs_of
from hubfs.cache.memory import MemoryTier
from hubfs.cancellation import Cancellation
from hubfs.errors import Cancelled, Damaged, Unavailable

PAYLOAD = random.Random(11).randbytes(20 * BLOCK_SIZE_BYTES + 999)
KEY = CacheKey("hub/a/b/1@x", "f")
PLENTY_BYTES = 1 << 30


class Origin:
    """A blob that notes the reads, and answers once `open` is set, by `answer`."""

    key = "origin"
    size_bytes = len(PAYLOAD)

    def __init__(self) -> None:
        self.reads: list[tuple[int, int]] = []
        self.arrived = threading.Semaphore(0)
        self.open = threading.Event()
        self.open.set()
        self.answer: Callable[[int, int], bytes] = MemoryBlob("origin", PAYLOAD).read_at

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        self.reads.append((offset_bytes, size_bytes))
        self.arrived.release()
        assert self.open.wait(20)
        return self.answer(offset_bytes, size_bytes)

    def blocks(self) -> Counter[int]:
        """How often each block was asked for."""
        return Counter(
            index
            for offset, size in self.reads
            for index in range(offset // BLOCK_SIZE_BYTES, -(-(offset + size) // BLOCK_SIZE_BYTES))
        )


@pytest.fixture
def origin() -> Iterator[Origin]:
    origin = Origin()
    yield origin
    origin.open.set()


@pytest.fixture
def cancellation() -> Cancellation:
    return Cancellation()


@pytest.fixture
def pool(origin: Origin) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool
        origin.open.set()


@pytest.fixture
def blob(origin: Origin, pool: ThreadPoolExecutor, cancellation: Cancellation) -> CachedBlob:
    return CachedBlob(origin, MemoryTier(PLENTY_BYTES), KEY, pool=pool, cancellation=cancellation)


def without_cache(origin: Origin, pool: ThreadPoolExecutor, cancellation: Cancellation) -> CachedBlob:
    return CachedBlob(origin, MemoryTier(0), KEY, pool=pool, cancellation=cancellation)


@given(st.sets(st.integers(0, 200)), st.integers(1, 9))
def test_runs_are_neighbours_in_order_and_not_too_long(indexes: set[int], longest: int) -> None:
    runs = list(runs_of(sorted(indexes), longest))
    assert [index for run in runs for index in run] == sorted(indexes)
    assert all(1 <= len(run) <= longest for run in runs)
    for one, two in pairwise(runs):
        assert one.stop < two.start or len(one) == longest


def test_16_readers_at_once_fetch_each_block_once(blob: CachedBlob, origin: Origin) -> None:
    chance = random.Random(2)
    places = [(chance.randrange(len(PAYLOAD)), chance.randrange(3 * BLOCK_SIZE_BYTES)) for _ in range(200)]

    def same(place: tuple[int, int]) -> bool:
        offset, size = place
        return blob.read_at(offset, size) == PAYLOAD[offset : offset + size]

    with ThreadPoolExecutor(16) as readers:
        assert all(readers.map(same, places))
        assert all(readers.map(same, [(0, len(PAYLOAD))] * 16))
    assert origin.blocks() == Counter(range(21))


def test_what_is_cached_is_not_fetched(blob: CachedBlob, origin: Origin) -> None:
    blob.read_at(5, 10)
    before = list(origin.reads)
    assert blob.read_at(BLOCK_SIZE_BYTES - 100, 100) == PAYLOAD[BLOCK_SIZE_BYTES - 100 : BLOCK_SIZE_BYTES]
    assert origin.reads == before == [(0, BLOCK_SIZE_BYTES)]


def test_a_large_read_asks_for_runs_of_at_most_eight_blocks(blob: CachedBlob, origin: Origin) -> None:
    assert blob.read_at(0, len(PAYLOAD)) == PAYLOAD
    run_bytes = 8 * BLOCK_SIZE_BYTES
    assert sorted(origin.reads) == [
        (0, run_bytes),
        (run_bytes, run_bytes),
        (2 * run_bytes, len(PAYLOAD) - 2 * run_bytes),
    ]


def test_the_runs_of_a_large_read_are_under_way_at_once(blob: CachedBlob, origin: Origin) -> None:
    origin.open.clear()
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(blob.read_at, 0, len(PAYLOAD))
        for _ in range(3):
            assert origin.arrived.acquire(timeout=10)
        origin.open.set()
        assert read.result(timeout=10) == PAYLOAD


def test_a_read_with_holes_fetches_the_holes_alone(blob: CachedBlob, origin: Origin) -> None:
    blob.read_at(2 * BLOCK_SIZE_BYTES, 1)
    blob.read_at(4 * BLOCK_SIZE_BYTES, 1)
    assert blob.read_at(1, 6 * BLOCK_SIZE_BYTES) == PAYLOAD[1 : 1 + 6 * BLOCK_SIZE_BYTES]
    assert origin.blocks() == Counter(range(7))


def test_a_short_answer_is_damage_and_nothing_of_it_is_kept(blob: CachedBlob, origin: Origin) -> None:
    whole = origin.answer
    origin.answer = lambda offset, size: whole(offset, size)[:-1]
    with pytest.raises(Damaged, match="asked for"):
        blob.read_at(0, 10)
    origin.answer = whole
    assert blob.read_at(0, 10) == PAYLOAD[:10]


def test_an_error_reaches_all_who_wait_and_the_next_read_tries_anew(blob: CachedBlob, origin: Origin) -> None:
    whole = origin.answer

    def fail(_offset: int, _size: int) -> bytes:
        raise Unavailable("https://hub/x: no route")

    origin.answer = fail
    origin.open.clear()
    errors: list[str] = []

    def read() -> None:
        try:
            blob.read_at(10, 10)
        except Unavailable as error:
            errors.append(str(error))

    with ThreadPoolExecutor(8) as readers:
        for _ in range(8):
            readers.submit(read)
        assert origin.arrived.acquire(timeout=10)
        time.sleep(0.05)  # let the others join
        origin.open.set()
    assert errors == ["https://hub/x: no route"] * 8
    origin.answer = whole
    assert blob.read_at(10, 10) == PAYLOAD[10:20]


def test_who_hears_of_an_error_and_tries_again_at_once_does_not_hear_of_it_again(
    origin: Origin, pool: ThreadPoolExecutor, cancellation: Cancellation
) -> None:
    blob = without_cache(origin, pool, cancellation)
    whole = origin.answer
    failures = Counter[int]()

    def fail_once(offset: int, size: int) -> bytes:
        failures[offset] += 1
        if failures[offset] == 1:
            raise Unavailable("for a moment")
        return whole(offset, size)

    origin.answer = fail_once

    def persist(index: int) -> bool:
        for _ in range(2):
            try:
                return blob.read_at(index * BLOCK_SIZE_BYTES, 5) == PAYLOAD[index * BLOCK_SIZE_BYTES :][:5]
            except Unavailable:  # noqa: PERF203 - the loop is for this
                continue
        return False

    with ThreadPoolExecutor(16) as readers:
        assert all(readers.map(persist, [index for index in range(20) for _ in range(16)]))


def test_an_error_in_one_run_does_not_spoil_the_others(blob: CachedBlob, origin: Origin) -> None:
    whole = origin.answer

    def fail_late(offset: int, size: int) -> bytes:
        if offset >= 8 * BLOCK_SIZE_BYTES:
            raise Unavailable("gone")
        return whole(offset, size)

    origin.answer = fail_late
    with pytest.raises(Unavailable):
        blob.read_at(0, len(PAYLOAD))
    assert blob.read_at(0, 100) == PAYLOAD[:100]
    assert origin.blocks()[0] == 1


def test_prefetch_returns_at_once_and_a_read_waits_for_what_is_on_its_way(blob: CachedBlob, origin: Origin) -> None:
    origin.open.clear()
    blob.prefetch(0, 2 * BLOCK_SIZE_BYTES)
    assert origin.arrived.acquire(timeout=10)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(blob.read_at, BLOCK_SIZE_BYTES, 5)
        time.sleep(0.05)
        assert not read.done()
        origin.open.set()
        assert read.result(timeout=10) == PAYLOAD[BLOCK_SIZE_BYTES : BLOCK_SIZE_BYTES + 5]
    assert origin.reads == [(0, 2 * BLOCK_SIZE_BYTES)]


def test_prefetching_twice_fetches_once(blob: CachedBlob, origin: Origin, pool: ThreadPoolExecutor) -> None:
    for _ in range(3):
        blob.prefetch(0, len(PAYLOAD))
    pool.shutdown(wait=True)
    blob.prefetch(0, len(PAYLOAD))
    assert origin.blocks() == Counter(range(21))


def test_a_failed_prefetch_is_nobodys_error(blob: CachedBlob, origin: Origin, pool: ThreadPoolExecutor) -> None:
    whole = origin.answer

    def fail(_offset: int, _size: int) -> bytes:
        raise Unavailable("for a moment")

    origin.answer = fail
    blob.prefetch(0, 1)
    pool.submit(time.sleep, 0).result()
    pool.shutdown(wait=True)
    origin.answer = whole
    assert blob.read_at(0, 10) == PAYLOAD[:10]


def test_prefetch_past_the_end_fetches_nothing(blob: CachedBlob, origin: Origin) -> None:
    blob.prefetch(len(PAYLOAD), 100)
    blob.prefetch(0, 0)
    assert origin.reads == []


@pytest.mark.parametrize("limit_bytes", [0, BLOCK_SIZE_BYTES])
def test_a_cache_that_keeps_next_to_nothing_still_reads_right(
    origin: Origin, pool: ThreadPoolExecutor, cancellation: Cancellation, limit_bytes: int
) -> None:
    blob = CachedBlob(origin, MemoryTier(limit_bytes), KEY, pool=pool, cancellation=cancellation)
    blob.prefetch(0, len(PAYLOAD))
    with ThreadPoolExecutor(4) as readers:
        assert set(readers.map(lambda _: blob.read_at(0, len(PAYLOAD)), range(4))) == {PAYLOAD}


def test_a_cancel_ends_those_who_wait_for_another_readers_fetch(
    blob: CachedBlob, origin: Origin, cancellation: Cancellation
) -> None:
    origin.open.clear()
    blob.prefetch(0, 1)
    assert origin.arrived.acquire(timeout=10)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(blob.read_at, 0, 10)
        time.sleep(0.05)
        cancellation.cancel()
        with pytest.raises(Cancelled):
            read.result(timeout=0.6)


def test_after_a_cancel_nothing_is_fetched(blob: CachedBlob, origin: Origin, cancellation: Cancellation) -> None:
    cancellation.cancel()
    blob.prefetch(BLOCK_SIZE_BYTES, 5)
    with pytest.raises(Cancelled):
        blob.read_at(0, 10)
    assert origin.reads == []


def test_a_pool_that_is_shut_down_leaves_no_reader_waiting(origin: Origin, cancellation: Cancellation) -> None:
    pool = ThreadPoolExecutor(1)
    blob = without_cache(origin, pool, cancellation)
    origin.open.clear()
    blob.prefetch(0, 1)  # takes the only thread
    assert origin.arrived.acquire(timeout=10)
    blob.prefetch(BLOCK_SIZE_BYTES, 1)  # stands in line
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(blob.read_at, BLOCK_SIZE_BYTES, 10)
        time.sleep(0.05)
        pool.shutdown(wait=False, cancel_futures=True)
        with pytest.raises(Cancelled):
            read.result(timeout=1)
    origin.open.set()
    pool.shutdown(wait=True)
    blob.prefetch(3 * BLOCK_SIZE_BYTES, 1)  # no thread is left: it is fetched here
    assert blob.read_at(0, 12 * BLOCK_SIZE_BYTES) == PAYLOAD[: 12 * BLOCK_SIZE_BYTES]
