"""Ranges that are ordered all at once: which come past the cache, and that all of them hold the right bytes."""

import random
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.blobs.checksums import ChecksummedBlob, Failure
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey, block_size_at, blocks_of
from hubfs.cache.cached_blob import CachedBlob
from hubfs.cache.memory import MemoryTier
from hubfs.cache.ranges import DENSE_PART, REQUEST_BYTES, RangesBlob, Read, plan_reads
from hubfs.cache.turns import NoTurns
from hubfs.errors import Cancelled, Damaged, Stale, Unavailable
from hubfs.memory_budget import MemoryBudget
from hubfs.testing import ScriptedBlob
from hubfs.waiting import Cancellation

KIB = 1 << 10
MIB = 1 << 20
SIZE = 20 * MIB + 999
PAYLOAD = random.Random(12).randbytes(SIZE)
KEY = CacheKey("hub/a/b/1@x", "f")

ORDERS = st.lists(
    st.builds(
        lambda start, size: range(start, min(start + size, SIZE)),
        st.integers(0, SIZE),
        st.sampled_from([0, 1, 4 * KIB, 64 * KIB, 200 * KIB, 500 * KIB, MIB, 3 * MIB]),
    ),
    max_size=60,
)


def one(offset_bytes: int, size_bytes: int) -> range:
    return range(offset_bytes, offset_bytes + size_bytes)


def planned(*order: range, by_blocks: Sequence[int] = (), size: int = SIZE) -> list[Read]:
    return plan_reads(order, size, by_blocks.__contains__)


@given(order=ORDERS, whole=st.sets(st.integers(0, 20)))
def test_each_range_comes_by_one_read_and_nothing_comes_past_the_cache_that_should_be_kept(
    order: list[range], whole: set[int]
) -> None:
    reads = plan_reads(order, SIZE, whole.__contains__)
    assert sorted(number for read in reads for number in read.ranges) == [
        number for number, wanted in enumerate(order) if wanted
    ]
    for read in reads:
        end_bytes = read.offset_bytes + read.size_bytes
        assert all(read.offset_bytes <= order[number].start for number in read.ranges)
        assert all(order[number].stop <= end_bytes <= SIZE for number in read.ranges)
    past = [read for read in reads if read.past]
    for read in past:
        touched = blocks_of(read.offset_bytes, read.size_bytes, SIZE)
        assert whole.isdisjoint(touched)
        assert read.size_bytes <= sum(len(order[at]) for at in read.ranges) + REQUEST_BYTES * (len(read.ranges) - 1)
    for index in range(21):
        inside = [
            min(read.offset_bytes + read.size_bytes, (index + 1) * MIB) - max(read.offset_bytes, index * MIB)
            for read in past
            if index in blocks_of(read.offset_bytes, read.size_bytes, SIZE)
        ]
        assert DENSE_PART * sum(inside) <= block_size_at(index, SIZE)


def test_few_ranges_come_past_the_cache_and_near_ones_in_one_read() -> None:
    far = [one(at * MIB + 77, 64 * KIB) for at in range(10)]
    assert planned(*far) == [Read(wanted.start, len(wanted), [at], past=True) for at, wanted in enumerate(far)]
    assert planned(one(5000, 10), one(100, 10), one(2000, 0), one(105, 20), one(MIB, 1)) == [
        Read(100, 4910, [1, 3, 0], past=True),
        Read(MIB, 1, [4], past=True),
    ]
    across = one(3 * MIB - 5, 10)
    assert planned(across) == [Read(across.start, 10, [0], past=True)]


def test_a_hundred_thousand_ranges_are_planned_as_a_few_are() -> None:
    near = [one(at, 5) for at in range(100_000)]
    [read] = planned(*reversed(near))
    assert read == Read(0, 100_004, [*reversed(range(100_000))], past=True)
    far = [one(at * MIB, 5) for at in range(100_000)]
    assert planned(*far, size=1 << 40) == [Read(at * MIB, 5, [at], past=True) for at in range(100_000)]


@pytest.mark.parametrize(
    "order",
    [
        [one(MIB, 192 * KIB)],  # a request of its own makes it a fourth
        [one(MIB + at * 300 * KIB, 30 * KIB) for at in range(3)],
        [one(MIB + at * 60 * KIB, 1) for at in range(15)],
        [one(MIB - 100 * KIB, 300 * KIB)],
        [one(0, SIZE), one(7 * MIB, 5)],
        [one(SIZE - 100, 100)],  # the last block is short
    ],
)
def test_ranges_that_are_a_good_part_of_a_block_come_by_the_cache_each_by_itself(order: list[range]) -> None:
    assert planned(*order) == [Read(wanted.start, len(wanted), [at]) for at, wanted in enumerate(order)]


def test_beside_a_block_that_comes_whole_a_range_comes_by_the_cache_and_others_past_it() -> None:
    order = [one(MIB - 5, 10), one(5 * MIB, 10), one(2 * MIB, MIB), one(4 * MIB - 5, 10)]
    assert planned(*order, by_blocks=[1]) == [
        Read(MIB - 5, 10, [0]),
        Read(2 * MIB, MIB, [2]),
        Read(4 * MIB - 5, 10, [3], past=True),
        Read(5 * MIB, 10, [1], past=True),
    ]


class Waited(NoTurns):
    """Other machines may wait for what this one fetches."""

    @property
    def others_wait(self) -> bool:
        return True


class File:
    """A file of PAYLOAD, or the start of it, with the cache around it."""

    def __init__(self, size: int = SIZE, *, pinned: bool = True, **options: object) -> None:
        self.origin = ScriptedBlob(PAYLOAD[:size])
        self.cancellation = Cancellation()
        self.budget = MemoryBudget(1 << 30)
        self.failure = Failure()
        self.cache = MemoryTier(1 << 30)
        checksummed = ChecksummedBlob(self.origin, None, MIB, failure=self.failure, pinned=pinned)
        self.pool = ThreadPoolExecutor(4)
        self.blob = CachedBlob(
            *(checksummed, self.cache, KEY),
            pool=self.pool,
            cancellation=self.cancellation,
            budget=self.budget,
            failed=checksummed.failed,
            **options,  # type: ignore[arg-type]
        )
        self.blob.needs_block = checksummed.needs_block

    def read(self, *order: range) -> list[bytes]:
        """As a reader does that names its ranges."""
        view = RangesBlob(self.blob)
        found = [b""] * len(order)
        for read in view.plan(order):
            data = view.read_at(read.offset_bytes, read.size_bytes)
            for number in read.ranges:
                found[number] = data[order[number].start - read.offset_bytes :][: len(order[number])]
        assert self.budget.taken_bytes == 0
        return found


@pytest.fixture
def made() -> Iterator[Callable[..., File]]:
    every: list[File] = []

    def make(*arguments: int, **options: object) -> File:
        every.append(File(*arguments, **options))  # type: ignore[arg-type]
        return every[-1]

    yield make
    for each in every:
        each.origin.resume()
        each.pool.shutdown()


@given(order=ORDERS, before=st.sets(st.integers(0, 20), max_size=5))
def test_whatever_is_ordered_the_bytes_are_right(order: list[range], before: set[int]) -> None:
    file = File()
    for index in before:
        file.blob.read_at(index * MIB, 1)
    for _ in range(3):
        assert file.read(*order) == [PAYLOAD[wanted.start : wanted.stop] for wanted in order]
    assert file.origin.read_bytes < 2 * SIZE
    file.pool.shutdown()


def test_few_ranges_cost_their_bytes_and_the_same_block_comes_whole_the_next_time(made: Callable[..., File]) -> None:
    file = made()
    order = [one(at * 2 * MIB + 100, 64 * KIB) for at in range(10)]
    assert file.read(*order) == [PAYLOAD[wanted.start : wanted.stop] for wanted in order]
    assert file.origin.reads == [(wanted.start, len(wanted)) for wanted in order]
    assert not any(file.cache.has(KEY, index) for index in range(21))
    file.read(one(100, 10), one(3 * MIB, 10))
    assert file.origin.reads[10:] == [(0, MIB), (3 * MIB, 10)]
    file.read(one(500, 10))
    assert file.origin.reads[12:] == []


def test_a_read_across_two_blocks_passes_both(made: Callable[..., File]) -> None:
    file = made()
    file.read(one(5 * MIB - 5, 10))
    file.read(one(4 * MIB, 10), one(6 * MIB - 10, 10), one(7 * MIB, 10))
    assert file.origin.reads == [(5 * MIB - 5, 10), (4 * MIB, MIB), (5 * MIB, MIB), (7 * MIB, 10)]


def test_blocks_that_were_passed_cost_little_memory_in_a_file_of_any_size() -> None:
    endless = ScriptedBlob(b"")
    endless.size_bytes = 1 << 60  # by the word of its hub
    endless.answer = lambda _offset, size: bytes(size)
    with ThreadPoolExecutor(1) as pool:
        blob = CachedBlob(
            *(endless, MemoryTier(1 << 30), KEY),
            pool=pool,
            cancellation=Cancellation(),
            budget=MemoryBudget(1 << 30),
            failed=lambda: False,
        )
        blob.needs_block = lambda _index: False
        tracemalloc.start()
        try:
            for number in range(10_000):
                blob.read_past((1 << 60) - (number + 1) * MIB, 10)
            assert tracemalloc.get_traced_memory()[1] < 2 * MIB
        finally:
            tracemalloc.stop()
        first, last = (1 << 40) - 10_000, (1 << 40) - 1
        assert blob.by_blocks(first)
        assert not blob.by_blocks(last), "it was long ago"


def test_a_block_that_is_here_or_on_its_way_is_not_passed(made: Callable[..., File]) -> None:
    file = made()
    file.blob.read_at(9 * MIB, 1)
    file.origin.pause()
    with ThreadPoolExecutor(2) as readers:
        first = readers.submit(file.blob.read_at, 3 * MIB, 10)
        assert file.origin.wait_for_reads(2)
        assert file.blob.by_blocks(3)
        view = RangesBlob(file.blob)
        assert [read.past for read in view.plan([one(3 * MIB, 5), one(9 * MIB, 5), one(11 * MIB, 5)])] == [
            *(False, False, True)
        ]
        second = readers.submit(view.read_at, 3 * MIB, 5)
        file.origin.resume()
        assert first.result(60)[:5] == second.result(60)
    assert view.read_at(9 * MIB, 5) == PAYLOAD[9 * MIB :][:5]
    assert file.origin.reads == [(9 * MIB, MIB), (3 * MIB, MIB)]


@pytest.mark.parametrize(
    "file",
    [
        {"size": 4 * MIB},  # one request brings it
        {"pinned": False},  # a block that comes again must be the same
        {"turns": Waited()},
    ],
)
def test_a_block_comes_whole_where_a_part_of_it_would_not_do(
    file: dict[str, object], made: Callable[..., File]
) -> None:
    opened = made(**file)
    assert opened.read(one(2 * MIB + 5, 10)) == [PAYLOAD[2 * MIB + 5 :][:10]]
    assert all(offset % MIB == 0 for offset, _ in opened.origin.reads)
    assert opened.cache.has(KEY, 2)


def test_a_block_that_was_read_and_lost_comes_whole_and_must_be_the_same(made: Callable[..., File]) -> None:
    file = made()
    file.blob.needs_block = lambda index: index == 2  # as of a file whose checksum is known
    file.read(one(2 * MIB, 10), one(3 * MIB, 10))
    assert file.origin.reads == [(2 * MIB, MIB), (3 * MIB, 10)]


def test_a_file_of_which_nobody_told_what_to_do_comes_by_blocks() -> None:
    with ThreadPoolExecutor(1) as pool:
        blob = CachedBlob(ScriptedBlob(PAYLOAD), MemoryTier(1 << 30), KEY, pool=pool, cancellation=Cancellation())
        assert all(map(blob.by_blocks, range(21)))


def test_a_read_past_the_cache_fails_as_a_read_does_and_gives_its_memory_back(made: Callable[..., File]) -> None:
    file = made()
    for error in (Unavailable("gone"), Stale("changed")):
        file.origin.fail(error)
        with pytest.raises(type(error), match=str(error)):
            file.read(one(MIB, 10))
        assert file.budget.taken_bytes == 0
        assert not file.blob.by_blocks(1)  # it did not come
    with pytest.raises(Stale, match="changed"):  # the model has failed
        file.read(one(5 * MIB, 10))


def test_fewer_bytes_than_there_are_is_damage(made: Callable[..., File]) -> None:
    file = made()
    file.origin.answer = lambda offset, size: PAYLOAD[offset : offset + size - 1]
    with pytest.raises(Damaged, match="10 bytes asked for, 9 came"):
        file.read(one(MIB, 10))


def test_a_cancel_ends_reads_past_the_cache(made: Callable[..., File]) -> None:
    file = made()
    file.cancellation.cancel()
    with pytest.raises(Cancelled):
        file.read(one(MIB, 10))
    assert file.origin.reads == []


def test_readers_of_ranges_and_of_blocks_at_once_get_the_right_bytes(made: Callable[..., File]) -> None:
    file = made()
    wrong = threading.Event()

    def use(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(20):
            order = [one(chance.randrange(SIZE - 2 * MIB), chance.randrange(1, 300 * KIB)) for _ in range(5)]
            view = RangesBlob(file.blob)
            for read in view.plan(order):
                data = view.read_at(read.offset_bytes, read.size_bytes)
                if data != PAYLOAD[read.offset_bytes : read.offset_bytes + read.size_bytes]:
                    wrong.set()
            file.blob.read_at(chance.randrange(SIZE), 10)

    with ThreadPoolExecutor(8) as users:
        assert all(done is None for done in users.map(use, range(8)))
    assert not wrong.is_set()
    assert file.budget.taken_bytes == 0
    assert BLOCK_SIZE_BYTES == MIB
