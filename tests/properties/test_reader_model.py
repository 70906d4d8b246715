"""The readers against plain bytes: whatever is read, by however many at a time, is right, or the error of below."""

import gzip
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.blobs.blob import Blob
from hubfs.blobs.lazy import LazyBlob
from hubfs.blobs.retry import Busy, RetryingBlob
from hubfs.blobs.streaming.stream import RangedStream
from hubfs.cache.ahead import ReadAheadBlob, ReadAheadPolicy
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey
from hubfs.cache.cached_blob import CachedBlob
from hubfs.cache.memory import MemoryTier
from hubfs.errors import Damaged, HubfsError, Stale, TimedOut, Unavailable
from hubfs.formats.gzip import recorder as index_recorder
from hubfs.formats.gzip.blob import GzipBlob
from hubfs.formats.gzip.index import GzipIndex
from hubfs.memory_budget import MemoryBudget
from hubfs.testing import ScriptedBlob
from hubfs.waiting import Cancellation
from tests.properties.kit import examples
from tests.support.archives import gzipped, tar_of
from tests.support.checkpoints import index_of, mixture
from tests.support.http_clients import QUICK
from tests.support.ranges import ScriptedRanges
from tests.support.streams import Desk, NoCache

MIB = BLOCK_SIZE_BYTES
DATA = mixture(5 * MIB + 4321, seed=5)
SIZES = st.sampled_from([0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 77, len(DATA)])
HUGE = 1 << 63

OFFSETS = st.one_of(
    st.builds(lambda block, beside: max(0, block * MIB + beside), st.integers(0, 6), st.integers(-2, 2)),
    st.integers(0, len(DATA) + 10),
    st.sampled_from([0, len(DATA), HUGE - 1, HUGE]),
)
LENGTHS = st.one_of(st.sampled_from([0, 1, 4096, 131_072, MIB, HUGE]), st.integers(0, 4 * MIB))
READS = st.lists(st.tuples(OFFSETS, LENGTHS), min_size=1, max_size=12)


class Scripted(Exception):
    """Marks the errors that a test asked for."""


class ScriptedUnavailable(Unavailable, Scripted):
    pass


class ScriptedStale(Stale, Scripted):
    pass


class ScriptedTimeout(TimedOut, Scripted):
    pass


FAULTS = st.lists(st.sampled_from([None, None, None, ScriptedUnavailable, ScriptedStale, ScriptedTimeout]), max_size=8)
Faults = Sequence[type[HubfsError] | None]


class Below(ScriptedBlob):
    """The first reads raise what `faults` say. Notices when bytes are on their way twice at a time.

    `_lock` guards every field below it.
    """

    def __init__(self, data: bytes, faults: Faults = ()) -> None:
        super().__init__(data, delay_s=0.0005)  # so that others may come meanwhile
        self.fail(*(fault and fault("as the test asked") for fault in faults))
        self._lock = threading.Lock()
        self._under_way: list[range] = []
        self.overlaps: list[tuple[range, range]] = []
        self.outside: list[range] = []

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        wanted = range(offset_bytes, offset_bytes + size_bytes)
        with self._lock:
            self.overlaps += [
                (wanted, other) for other in self._under_way if wanted.start < other.stop and other.start < wanted.stop
            ]
            if wanted.stop > self.size_bytes:
                self.outside.append(wanted)
            self._under_way.append(wanted)
        try:
            return super().read_at(offset_bytes, size_bytes)
        finally:
            with self._lock:
                self._under_way.remove(wanted)


def read(blob: Blob, offset_bytes: int, size_bytes: int) -> bytes | Scripted:
    try:
        return blob.read_at(offset_bytes, size_bytes)
    except Scripted as asked_for:  # any other error fails
        return asked_for


def check_reads(blob: Blob, data: bytes, reads: Sequence[tuple[int, int]], readers: int, *, faulty: bool) -> None:
    """Every read is right, or the error of below if there may be one; and once there are none, all of it is right."""
    assert blob.size_bytes == len(data)
    with ThreadPoolExecutor(readers) as pool:
        results = list(pool.map(lambda place: read(blob, *place), reads))
    for (offset_bytes, size_bytes), result in zip(reads, results, strict=True):
        if isinstance(result, Scripted):
            assert faulty
        else:
            assert type(result) is bytes
            assert result == data[offset_bytes : offset_bytes + size_bytes]


@contextmanager
def cached(below: Blob, limit_bytes: int) -> Iterator[Blob]:
    budget = MemoryBudget(8 * MIB, idle_s=0.0)
    tier = MemoryTier(limit_bytes, budget.beside_cache_bytes)
    with ThreadPoolExecutor(4) as pool:
        yield CachedBlob(
            below, tier, CacheKey("hub/a/b/1@x", "f"), pool=pool, cancellation=Cancellation(), budget=budget
        )
    budget.allowance_bytes()  # forgets what nobody read
    assert budget.taken_bytes == 0, "memory that was taken is given back, whatever happened"


@contextmanager
def reading_ahead(below: Blob, limit_bytes: int) -> Iterator[Blob]:
    with cached(below, limit_bytes) as blob:
        assert isinstance(blob, CachedBlob)
        yield ReadAheadBlob(blob, ReadAheadPolicy())


Wrap = Callable[[Blob, int], AbstractContextManager[Blob]]


@pytest.mark.parametrize("wrap", [cached, reading_ahead])
@examples(0.7)
@given(
    reads=READS,
    size_bytes=SIZES,
    limit_bytes=st.sampled_from([0, MIB, 64 * MIB]),
    faults=FAULTS,
    readers=st.sampled_from([1, 4]),
)
def test_what_is_read_through_the_cache_is_right_and_no_block_is_fetched_twice_at_a_time(
    wrap: Wrap,
    reads: Sequence[tuple[int, int]],
    size_bytes: int,
    limit_bytes: int,
    faults: Faults,
    readers: int,
) -> None:
    data = DATA[:size_bytes]
    below = Below(data, faults)
    with wrap(below, limit_bytes) as blob:
        check_reads(blob, data, reads, readers, faulty=any(faults))
        below.heal()
        assert any(read(blob, 0, HUGE) == data for _ in range(2))  # a flight ahead may still end with a fault
    assert not below.overlaps
    assert not below.outside
    if limit_bytes > 2 * len(DATA) and not any(faults):
        assert below.asked_bytes == size_bytes, "every block once"


@examples(0.5)
@given(reads=READS, size_bytes=SIZES, readers=st.sampled_from([1, 4]), missing=st.integers(1, MIB))
def test_a_blob_that_gives_less_than_it_has_is_damaged_and_never_short(
    reads: Sequence[tuple[int, int]], size_bytes: int, readers: int, missing: int
) -> None:
    class Short(ScriptedBlob):
        def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
            return super().read_at(offset_bytes, size_bytes)[:-missing]

    data = DATA[:size_bytes]
    with cached(Short(data), 64 * MIB) as blob:
        for offset_bytes, length_bytes in reads:
            if data[offset_bytes : offset_bytes + length_bytes]:
                with pytest.raises(Damaged, match="bytes asked for"):
                    blob.read_at(offset_bytes, length_bytes)
            else:
                assert blob.read_at(offset_bytes, length_bytes) == b""


@examples()
@given(
    reads=READS,
    size_bytes=SIZES,
    faults=FAULTS,
    readers=st.sampled_from([1, 3]),
)
def test_a_lazy_blob_shows_what_it_opens(
    reads: Sequence[tuple[int, int]], size_bytes: int, faults: Faults, readers: int
) -> None:
    data = DATA[:size_bytes]
    opened: list[Blob] = []
    opening = iter(faults)

    def open_blob() -> Blob:
        if (fault := next(opening, None)) is not None:
            raise fault("as the test asked")
        opened.append(Below(data))
        return opened[-1]

    lazy = LazyBlob("lazy", len(data), open_blob, Cancellation())
    check_reads(lazy, data, reads, readers, faulty=any(faults))
    assert len(opened) <= 1


@examples()
@given(reads=READS, faults=FAULTS)
def test_faults_that_pass_are_not_seen_and_those_that_do_not_are(
    reads: Sequence[tuple[int, int]], faults: Faults
) -> None:
    below = Below(DATA, faults)
    left = list(faults)
    # Each look at the clock finds it two seconds on: what failed before is not the answer to the next read.
    blob = RetryingBlob(below, QUICK, Cancellation(), timer=count(0, 2).__next__)
    for offset_bytes, size_bytes in reads:
        fault: type[HubfsError] | None = None
        for _ in range(QUICK.attempts):
            fault = left.pop(0) if left else None
            if fault in (None, ScriptedStale):  # that it is stale is not asked twice
                break
        result = read(blob, offset_bytes, size_bytes)
        assert isinstance(result, Scripted if fault else bytes)
        if not fault:
            assert result == DATA[offset_bytes : offset_bytes + size_bytes]


@cache
def indexed() -> tuple[bytes, GzipIndex]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_recorder, "SPACING_BYTES", 200_000)
        archive = gzip.compress(DATA, 1)
        return archive, index_of(archive)


@examples()
@given(
    reads=READS, faults=FAULTS, readers=st.sampled_from([1, 4]), memory_bytes=st.sampled_from([0, 400_000, 64 * MIB])
)
def test_any_range_of_what_a_gzip_file_inflates_to_is_right(
    reads: Sequence[tuple[int, int]], faults: Faults, readers: int, memory_bytes: int
) -> None:
    archive, index = indexed()
    below = Below(archive, faults)
    memory = MemoryTier(memory_bytes)
    with ThreadPoolExecutor(3) as pool:
        blob = GzipBlob(
            below,
            index,
            name="archive",
            pool=pool,
            cancellation=Cancellation(),
            recall=lambda number: memory.span("model", number),
            keep=lambda number, output: memory.put_span("model", number, output),
        )
        check_reads(blob, DATA, reads, readers, faulty=any(faults))
        below.heal()
        read(blob, 1000, HUGE)  # which may join a flight of before, and its fault
        assert blob.read_at(1000, HUGE) == DATA[1000:]
    assert not below.outside


@examples(0.5)
@given(data=st.data(), bit=st.integers(0, 1 << 40))
def test_a_wrong_bit_in_a_gzip_file_is_damage_or_changes_nothing(data: st.DataObject, bit: int) -> None:
    archive, index = indexed()
    wrong = bytearray(archive)
    wrong[bit // 8 % len(wrong)] ^= 1 << bit % 8
    with ThreadPoolExecutor(3) as pool:
        below = Below(bytes(wrong))
        blob = GzipBlob(below, index, name="archive", pool=pool, cancellation=Cancellation())
        for offset_bytes, size_bytes in data.draw(READS):
            try:
                result = blob.read_at(offset_bytes, size_bytes)
            except Damaged:
                continue
            assert result == DATA[offset_bytes : offset_bytes + size_bytes]


MEMBERS = {"first": DATA[:100], "variables/data": DATA[: 3 * MIB + 77], "empty": b"", "last": DATA[: MIB + 1]}
ARCHIVES = {"gzip": gzipped(tar_of(MEMBERS), level=1), "tar": tar_of(MEMBERS)}


@examples(0.7)
@given(
    reads=st.lists(st.tuples(st.sampled_from(list(MEMBERS)), OFFSETS, LENGTHS), min_size=1, max_size=12),
    archive=st.sampled_from(list(ARCHIVES)),
    limit_bytes=st.sampled_from([None, 0, MIB, 64 * MIB]),
    faults=st.lists(
        st.tuples(st.integers(0, 4 * MIB), st.sampled_from([ScriptedUnavailable, ScriptedTimeout])), max_size=3
    ),
    ahead_bytes=st.sampled_from([0, MIB, 64 * MIB]),
    readers=st.sampled_from([1, 3]),
)
def test_what_is_read_of_an_archive_that_passes_by_is_right(
    reads: Sequence[tuple[str, int, int]],
    archive: str,
    limit_bytes: int | None,
    faults: Sequence[tuple[int, type[HubfsError]]],
    ahead_bytes: int,
    readers: int,
) -> None:
    desk = Desk()
    try:
        stream = desk.stream(ARCHIVES[archive])
        for offset_bytes, fault in faults:
            stream.fail_at(min(offset_bytes, len(stream.data)), fault("as the test asked"))
        tier = NoCache() if limit_bytes is None else MemoryTier(limit_bytes)
        source = desk.source(stream, tier, ahead_bytes=ahead_bytes)

        def read_member(place: tuple[str, int, int]) -> bytes | Scripted:
            try:
                return source.open(source.find(place[0])).read_at(*place[1:])
            except Scripted as asked_for:
                return asked_for

        with ThreadPoolExecutor(readers) as pool:
            results = list(pool.map(read_member, reads))
        for (path, offset_bytes, size_bytes), result in zip(reads, results, strict=True):
            if isinstance(result, Scripted):
                assert faults
            else:
                assert result == MEMBERS[path][offset_bytes : offset_bytes + size_bytes]
        for path, wanted in MEMBERS.items():  # and after as many tries as there are faults, everything is
            assert any(read_member((path, 0, HUGE)) == wanted for _ in range(len(faults) + 1))
    finally:
        desk.close()


BEGINNINGS = st.sampled_from([None, None, ScriptedUnavailable, ScriptedTimeout, Busy, Damaged])


@examples(0.7)
@given(
    size_bytes=SIZES,
    faults=st.lists(BEGINNINGS, max_size=8),
    chunk_bytes=st.sampled_from([1000, 65_536, MIB]),
    connections=st.sampled_from([1, 2, 16]),
    allowance_bytes=st.sampled_from([0, MIB, 1 << 40]),
    stop_after=st.one_of(st.none(), st.integers(0, 20)),
)
def test_what_comes_over_several_connections_is_a_beginning_of_the_bytes_and_all_of_them_unless_it_says_so(
    size_bytes: int,
    faults: Sequence[type[HubfsError] | None],
    chunk_bytes: int,
    connections: int,
    allowance_bytes: int,
    stop_after: int | None,
) -> None:
    data = DATA[:size_bytes]
    ranges = ScriptedRanges(data, chunk_bytes=chunk_bytes)
    script, lock = list(faults), threading.Lock()

    def fault(_: int) -> None:
        with lock:
            error = script.pop(0) if script else None
        if error is not None:
            raise error("as the test asked")

    ranges.fault = fault
    budget = MemoryBudget(allowance_bytes)
    stream = RangedStream(ranges, retry=QUICK, cancellation=Cancellation(), connections=connections, allowance=budget)
    chunks, got, ended = stream.chunks(), b"", False
    try:
        for number, chunk in enumerate(chunks):
            got += chunk
            if number == stop_after:
                break
        else:
            ended = True
    except HubfsError as error:
        assert "as the test asked" in str(error)  # noqa: PT017 - most runs raise nothing
        assert any(faults)
    finally:
        chunks.close()
    assert data.startswith(got)
    assert got == data or not ended
    assert budget.taken_bytes == 0
    assert all(0 <= begin < end <= size_bytes for begin, end in ranges.begun)


def test_the_data_is_of_both_kinds() -> None:
    archive, index = indexed()
    assert len(index) > 10
    assert 0.3 < len(archive) / len(DATA) < 0.95
    assert random.Random(1).randbytes(10) not in DATA
