import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey
from hubfs.cache.cached_blob import CachedBlob
from hubfs.cache.memory import MemoryTier
from hubfs.errors import Cancelled, Damaged, Unavailable
from hubfs.memory_budget import MemoryBudget
from hubfs.testing import ScriptedBlob
from hubfs.waiting import Cancellation
from tests.support.waiting import eventually, waiting_threads

PAYLOAD = random.Random(11).randbytes(20 * BLOCK_SIZE_BYTES + 999)
KEY = CacheKey("hub/a/b/1@x", "f")
PLENTY_BYTES = 1 << 30


class Origin(ScriptedBlob):
    """PAYLOAD."""

    def __init__(self) -> None:
        super().__init__(PAYLOAD)

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
    origin.resume()


@pytest.fixture
def pool(origin: Origin) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool
        origin.resume()


@pytest.fixture
def blob(origin: Origin, pool: ThreadPoolExecutor, cancellation: Cancellation) -> CachedBlob:
    return CachedBlob(origin, MemoryTier(PLENTY_BYTES), KEY, pool=pool, cancellation=cancellation)


def without_cache(origin: Origin, pool: ThreadPoolExecutor, cancellation: Cancellation) -> CachedBlob:
    return CachedBlob(origin, MemoryTier(0), KEY, pool=pool, cancellation=cancellation)


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


def test_a_large_read_is_spread_over_all_fetches(blob: CachedBlob, origin: Origin) -> None:
    assert blob.read_at(0, len(PAYLOAD)) == PAYLOAD
    assert origin.blocks() == Counter(range(21))
    assert len(origin.reads) == 11
    assert max(size for _, size in origin.reads) == 2 * BLOCK_SIZE_BYTES


def test_the_runs_of_a_large_read_are_under_way_at_once(blob: CachedBlob, origin: Origin) -> None:
    origin.pause()
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(blob.read_at, 0, len(PAYLOAD))
        assert origin.wait_for_reads(3)
        origin.resume()
        assert read.result(timeout=60) == PAYLOAD


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
    origin.error = Unavailable("https://hub/x: no route")
    origin.pause()
    errors: list[str] = []

    def read() -> None:
        try:
            blob.read_at(10, 10)
        except Unavailable as error:
            errors.append(str(error))

    with ThreadPoolExecutor(8) as readers:
        for _ in range(8):
            readers.submit(read)
        assert origin.wait_for_reads(1)
        assert eventually(lambda: waiting_threads() == 7)  # one fetches itself
        origin.resume()
    assert errors == ["https://hub/x: no route"] * 8
    origin.error = None
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
        if offset >= 2 * BLOCK_SIZE_BYTES:
            raise Unavailable("gone")
        return whole(offset, size)

    origin.answer = fail_late
    with pytest.raises(Unavailable):
        blob.read_at(0, len(PAYLOAD))
    assert blob.read_at(0, 100) == PAYLOAD[:100]
    assert origin.blocks()[0] == 1


def test_prefetch_returns_at_once_and_a_read_waits_for_what_is_on_its_way(blob: CachedBlob, origin: Origin) -> None:
    origin.pause()
    blob.prefetch(0, 2 * BLOCK_SIZE_BYTES)
    assert origin.wait_for_reads(1)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(blob.read_at, BLOCK_SIZE_BYTES, 5)
        time.sleep(0.05)
        assert not read.done()
        origin.resume()
        assert read.result(timeout=60) == PAYLOAD[BLOCK_SIZE_BYTES : BLOCK_SIZE_BYTES + 5]
    assert origin.blocks() == Counter(range(2))


def test_prefetching_twice_fetches_once(blob: CachedBlob, origin: Origin, pool: ThreadPoolExecutor) -> None:
    for _ in range(3):
        blob.prefetch(0, len(PAYLOAD))
    pool.shutdown(wait=True)
    blob.prefetch(0, len(PAYLOAD))
    assert origin.blocks() == Counter(range(21))


def test_a_failed_prefetch_is_nobodys_error(blob: CachedBlob, origin: Origin, pool: ThreadPoolExecutor) -> None:
    origin.error = Unavailable("for a moment")
    blob.prefetch(0, 1)
    pool.submit(time.sleep, 0).result()
    pool.shutdown(wait=True)
    origin.error = None
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
    origin.pause()
    blob.prefetch(0, 1)
    assert origin.wait_for_reads(1)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(blob.read_at, 0, 10)
        time.sleep(0.05)
        cancellation.cancel()
        with pytest.raises(Cancelled):
            read.result(timeout=60)


def test_after_a_cancel_nothing_is_fetched(blob: CachedBlob, origin: Origin, cancellation: Cancellation) -> None:
    cancellation.cancel()
    blob.prefetch(BLOCK_SIZE_BYTES, 5)
    with pytest.raises(Cancelled):
        blob.read_at(0, 10)
    assert origin.reads == []


def test_what_a_reader_wants_does_not_stand_in_line_behind_what_is_fetched_ahead(
    origin: Origin, cancellation: Cancellation
) -> None:
    origin.pause()
    with ThreadPoolExecutor(1) as pool, ThreadPoolExecutor(1) as reader:
        blob = without_cache(origin, pool, cancellation)
        blob.prefetch(0, 1)  # takes the only thread
        assert origin.wait_for_reads(1)
        blob.prefetch(5 * BLOCK_SIZE_BYTES, 1)  # stands in line
        read = reader.submit(blob.read_at, 5 * BLOCK_SIZE_BYTES, 10)
        assert origin.wait_for_reads(2)
        origin.resume()
        assert read.result(timeout=60) == PAYLOAD[5 * BLOCK_SIZE_BYTES :][:10]
    assert origin.blocks() == Counter([0, 5])


def test_a_pool_that_is_shut_down_leaves_no_reader_waiting(origin: Origin, cancellation: Cancellation) -> None:
    pool = ThreadPoolExecutor(1)
    budget = MemoryBudget(PLENTY_BYTES, idle_s=0.0)
    blob = CachedBlob(origin, MemoryTier(0), KEY, pool=pool, cancellation=cancellation, budget=budget)
    origin.pause()
    blob.prefetch(0, 1)  # takes the only thread
    assert origin.wait_for_reads(1)
    blob.prefetch(BLOCK_SIZE_BYTES, 1)  # stands in line
    pool.shutdown(wait=False, cancel_futures=True)
    assert budget.taken_bytes == BLOCK_SIZE_BYTES  # what stood in line was called off
    origin.resume()
    pool.shutdown(wait=True)
    assert blob.read_at(BLOCK_SIZE_BYTES, 10) == PAYLOAD[BLOCK_SIZE_BYTES:][:10]
    blob.prefetch(3 * BLOCK_SIZE_BYTES, 1)  # no thread is left: it is fetched here
    assert blob.read_at(0, 12 * BLOCK_SIZE_BYTES) == PAYLOAD[: 12 * BLOCK_SIZE_BYTES]


class Bounded:
    """A blob whose cache and fetches share a budget, in memory alone or over a tier that lasts."""

    def __init__(self, origin: Origin, pool: ThreadPoolExecutor, *, limit_blocks: int, lasting: bool = False) -> None:
        self.now_s = 0.0
        self.budget = MemoryBudget(limit_blocks * BLOCK_SIZE_BYTES, idle_s=20.0, timer=lambda: self.now_s)
        self.memory = MemoryTier(PLENTY_BYTES, self.budget.beside_cache_bytes)
        cache = Lasting() if lasting else self.memory
        self.blob = CachedBlob(origin, cache, KEY, pool=pool, cancellation=Cancellation(), budget=self.budget)


class Lasting(MemoryTier):
    """Stands for memory over a disk: says that what it keeps will outlive the process."""

    def __init__(self) -> None:
        super().__init__(PLENTY_BYTES)

    def put(self, key: CacheKey, index: int, block: bytes) -> bool:
        super().put(key, index, block)
        return True


def settled(bounded: Bounded, bytes_: int) -> bool:
    return eventually(lambda: bounded.budget.taken_bytes == bytes_)


def test_prefetch_begins_half_of_what_is_free_and_says_how_far_it_got(origin: Origin, pool: ThreadPoolExecutor) -> None:
    bounded = Bounded(origin, pool, limit_blocks=8)
    origin.pause()
    assert bounded.blob.prefetch(100, len(PAYLOAD)) == 4 * BLOCK_SIZE_BYTES
    assert bounded.budget.taken_bytes == 4 * BLOCK_SIZE_BYTES
    assert bounded.blob.prefetch(100, len(PAYLOAD)) == 6 * BLOCK_SIZE_BYTES
    assert bounded.blob.prefetch(7 * BLOCK_SIZE_BYTES + 5, 10) == 7 * BLOCK_SIZE_BYTES + 15
    assert bounded.blob.prefetch(8 * BLOCK_SIZE_BYTES, 10) == 8 * BLOCK_SIZE_BYTES  # all of it refused
    origin.resume()
    assert bounded.blob.read_at(0, len(PAYLOAD)) == PAYLOAD
    assert origin.blocks() == Counter(range(21))
    assert settled(bounded, 0)


def test_prefetch_says_that_everything_is_there_when_it_is(origin: Origin, pool: ThreadPoolExecutor) -> None:
    bounded = Bounded(origin, pool, limit_blocks=2)
    assert bounded.blob.read_at(0, len(PAYLOAD)) == PAYLOAD
    reads = list(origin.reads)
    assert bounded.blob.prefetch(5, 10) == 15
    assert bounded.blob.prefetch(5, 1 << 40) == len(PAYLOAD)
    assert origin.reads == reads


def test_requests_are_as_long_as_what_is_under_way_for_all_files_takes(
    origin: Origin, pool: ThreadPoolExecutor
) -> None:
    budget = MemoryBudget(PLENTY_BYTES)
    blob = CachedBlob(origin, MemoryTier(PLENTY_BYTES), KEY, pool=pool, cancellation=Cancellation(), budget=budget)
    with budget.taken(44 * BLOCK_SIZE_BYTES):  # other files have so much on its way
        blob.prefetch(0, 20 * BLOCK_SIZE_BYTES)
        assert blob.read_at(0, len(PAYLOAD)) == PAYLOAD
    assert {size for _, size in origin.reads if size > BLOCK_SIZE_BYTES} == {4 * BLOCK_SIZE_BYTES}


def test_prefetch_fetches_the_holes_alone(origin: Origin, pool: ThreadPoolExecutor) -> None:
    bounded = Bounded(origin, pool, limit_blocks=100)
    for index in (1, 2, 7):
        bounded.blob.read_at(index * BLOCK_SIZE_BYTES, 1)
    hits = bounded.memory.stats()["memory"].hits
    assert bounded.blob.prefetch(0, 10 * BLOCK_SIZE_BYTES) == 10 * BLOCK_SIZE_BYTES
    pool.shutdown(wait=True)
    assert origin.blocks() == Counter(range(10))
    assert bounded.memory.stats()["memory"].hits == hits  # a look is no read


def test_a_reader_is_served_however_much_is_taken(origin: Origin, pool: ThreadPoolExecutor) -> None:
    bounded = Bounded(origin, pool, limit_blocks=4)
    assert bounded.budget.try_take(4 * BLOCK_SIZE_BYTES)
    assert bounded.blob.prefetch(0, len(PAYLOAD)) == 0
    assert bounded.blob.read_at(0, len(PAYLOAD)) == PAYLOAD
    assert settled(bounded, 4 * BLOCK_SIZE_BYTES)


def test_what_only_memory_keeps_stays_within_the_budget_until_it_is_read(
    origin: Origin, pool: ThreadPoolExecutor
) -> None:
    bounded = Bounded(origin, pool, limit_blocks=8)
    assert bounded.blob.prefetch(0, len(PAYLOAD)) == 4 * BLOCK_SIZE_BYTES
    assert eventually(lambda: bounded.memory.cached_bytes(KEY.model) == 4 * BLOCK_SIZE_BYTES)
    assert eventually(lambda: bounded.budget.beside_cache_bytes() == 0)
    assert bounded.budget.taken_bytes == 4 * BLOCK_SIZE_BYTES
    bounded.blob.read_at(BLOCK_SIZE_BYTES, 2 * BLOCK_SIZE_BYTES)
    assert bounded.budget.taken_bytes == 2 * BLOCK_SIZE_BYTES


def test_what_nobody_reads_is_given_back_after_a_while(origin: Origin, pool: ThreadPoolExecutor) -> None:
    bounded = Bounded(origin, pool, limit_blocks=8)
    bounded.blob.prefetch(0, len(PAYLOAD))
    assert eventually(lambda: bounded.budget.beside_cache_bytes() == 0)
    bounded.now_s = 19.0
    assert bounded.budget.allowance_bytes() == 2 * BLOCK_SIZE_BYTES
    bounded.now_s = 20.0
    assert bounded.budget.allowance_bytes() == 4 * BLOCK_SIZE_BYTES
    assert bounded.budget.taken_bytes == 0


def test_what_is_on_disk_is_given_back_as_it_arrives(origin: Origin, pool: ThreadPoolExecutor) -> None:
    bounded = Bounded(origin, pool, limit_blocks=8, lasting=True)
    assert bounded.blob.prefetch(0, len(PAYLOAD)) == 4 * BLOCK_SIZE_BYTES
    assert settled(bounded, 0)


def test_what_fails_is_given_back(origin: Origin, pool: ThreadPoolExecutor) -> None:
    bounded = Bounded(origin, pool, limit_blocks=100)
    whole = origin.answer

    def fail(offset: int, size: int) -> bytes:
        if offset % (2 * BLOCK_SIZE_BYTES):
            raise Unavailable("gone")
        return whole(offset, size)[: size - offset % 7]

    origin.answer = fail
    bounded.blob.prefetch(0, len(PAYLOAD))
    for offset in range(0, len(PAYLOAD), 1 << 18):
        with suppress(Unavailable, Damaged):
            bounded.blob.read_at(offset, 1 << 18)
    pool.shutdown(wait=True)
    origin.answer = whole
    assert bounded.blob.read_at(0, len(PAYLOAD)) == PAYLOAD
    assert settled(bounded, 0)


@pytest.mark.parametrize("limit_blocks", [2, 12, 1000])
def test_readers_and_prefetchers_at_once_fetch_each_block_once_and_give_everything_back(
    origin: Origin, pool: ThreadPoolExecutor, limit_blocks: int
) -> None:
    bounded = Bounded(origin, pool, limit_blocks=limit_blocks)

    def use(seed: int) -> bool:
        chance = random.Random(seed)
        for _ in range(30):
            offset, size = chance.randrange(len(PAYLOAD)), chance.randrange(1, 3 * BLOCK_SIZE_BYTES)
            if chance.random() < 0.5:
                bounded.blob.prefetch(offset, size)
            elif bounded.blob.read_at(offset, size) != PAYLOAD[offset : offset + size]:
                return False
        return True

    with ThreadPoolExecutor(12) as users:
        assert all(users.map(use, range(12)))
    assert bounded.blob.read_at(0, len(PAYLOAD)) == PAYLOAD
    assert origin.blocks() == Counter(range(21))
    assert settled(bounded, 0)


def test_what_a_fetch_brings_while_another_finds_damage_does_not_stay_in_the_cache(
    origin: Origin, pool: ThreadPoolExecutor, cancellation: Cancellation
) -> None:
    cache = Late(PLENTY_BYTES)
    failure = threading.Event()
    blob = CachedBlob(origin, cache, KEY, pool=pool, cancellation=cancellation, failed=failure.is_set)
    early = pool.submit(blob.read_at, 0, 10)
    assert cache.putting.wait(60)  # it was read, and found no fault; but it is not kept yet

    def damaged(*_: int) -> bytes:
        failure.set()  # as the source does
        cache.drop(KEY.model)
        raise Damaged("the whole is not what was announced")

    origin.answer = damaged
    with pytest.raises(Damaged):
        blob.read_at(9 * BLOCK_SIZE_BYTES, 10)
    cache.go_on.set()
    assert early.result(60) == PAYLOAD[:10]
    assert eventually(lambda: cache.cached_bytes(KEY.model) == 0)


class Late(MemoryTier):
    """Keeps a block only once `go_on` is set."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self.putting, self.go_on = threading.Event(), threading.Event()

    def put(self, key: CacheKey, index: int, block: bytes) -> bool:
        self.putting.set()
        assert self.go_on.wait(60)
        return super().put(key, index, block)


def test_a_cached_block_of_another_length_is_fetched_anew(
    origin: Origin, pool: ThreadPoolExecutor, cancellation: Cancellation
) -> None:
    cache = MemoryTier(PLENTY_BYTES)
    cache.put(KEY, 1, PAYLOAD[BLOCK_SIZE_BYTES:][:1000])  # as if it had been the file's last once
    blob = CachedBlob(origin, cache, KEY, pool=pool, cancellation=cancellation)
    assert blob.read_at(0, 3 * BLOCK_SIZE_BYTES) == PAYLOAD[: 3 * BLOCK_SIZE_BYTES]
    assert blob.read_at(BLOCK_SIZE_BYTES, BLOCK_SIZE_BYTES) == PAYLOAD[BLOCK_SIZE_BYTES : 2 * BLOCK_SIZE_BYTES]


def test_what_lies_beside_a_block_that_is_on_its_way_is_fetched_too() -> None:
    begun, go = threading.Event(), threading.Event()
    data = bytes(BLOCK_SIZE_BYTES + 9)

    def slow(offset_bytes: int, size_bytes: int) -> bytes:
        if offset_bytes == 0:
            begun.set()
            assert go.wait(60)
        return data[offset_bytes : offset_bytes + size_bytes]

    origin = ScriptedBlob(data)
    origin.answer = slow
    budget, cache, key = MemoryBudget(1 << 30), MemoryTier(1 << 30), CacheKey("hub/a/b/1@x", "f")
    cache.put(key, 1, data[-9:])
    with ThreadPoolExecutor(1) as pool, ThreadPoolExecutor(2) as readers:
        blob = CachedBlob(origin, cache, key, pool=pool, cancellation=Cancellation(), budget=budget)
        first = readers.submit(blob.read_at, 0, 5)
        assert begun.wait(60)
        cache.drop(key.model)
        second = readers.submit(blob.read_at, 0, 5)
        assert eventually(lambda: cache.has(key, 1))
        go.set()
        assert first.result() == second.result() == bytes(5)
    assert budget.taken_bytes == 0
