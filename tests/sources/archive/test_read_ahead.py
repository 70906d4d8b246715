"""A sequential reader of an archive that has an index, and of which the cache has lost everything."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from hubfs.blobs.blob import Blob, Prefetchable
from hubfs.cache.ahead import ReadAheadBlob, ReadAheadPolicy
from hubfs.cache.memory import MemoryTier
from hubfs.sources.archive.index import ArchiveIndex
from hubfs.sources.archive.source import ArchiveSource
from hubfs.testing import ScriptedBlob
from tests.support.archives import gzipped, tar_of
from tests.support.indexed import MODEL, Bench
from tests.support.streams import HANDLE, MIB, source_from_index
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

WEIGHTS = "variables/variables.data-00000-of-00001"
SIZE_BYTES = 48 * MIB
NOISE = random.Random(5).randbytes(SIZE_BYTES).translate(bytes(n % 64 for n in range(256)))
FILES = {"saved_model.pb": b"graph", WEIGHTS: NOISE, "zz/last": b"the end"}


class FarOrigin(ScriptedBlob):
    """Answers after a round trip. Counts how many requests were under way at once, and how many the reader made.

    With `together`, a round trip takes 2 s until so many requests were under way at once: threads begin late where
    they get no processor.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data, delay_s=0.1)
        self._lock = threading.Lock()
        self._reader = threading.current_thread()
        self._under_way = 0
        self.most_under_way = 0
        self.by_the_reader = 0
        self.together = 0
        self._were_together = threading.Event()

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        with self._lock:
            self._under_way += 1
            self.most_under_way = max(self.most_under_way, self._under_way)
            self.by_the_reader += threading.current_thread() is self._reader
            if self._under_way >= self.together:
                self._were_together.set()
        self._were_together.wait(2)
        try:
            return super().read_at(offset_bytes, size_bytes)
        finally:
            with self._lock:
                self._under_way -= 1


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ThreadPoolExecutor(16) as pool:
        bench = Bench(pool, MemoryTier(4 * SIZE_BYTES), gzipped(tar_of(FILES), level=1))
        yield bench
        bench.desk.close()


def again(bench: Bench) -> ArchiveSource:
    """The source after a remount, of whose bytes the cache has nothing."""
    index = bench.read_once().to_index()
    bench.origin = FarOrigin(bench.stream.data)
    return source_from_index(MODEL, ArchiveIndex.from_json(HANDLE, index), **bench.collaborators())


def view_of(blob: Blob) -> ReadAheadBlob:
    """As a mount makes it for whatever can prefetch."""
    assert isinstance(blob, Prefetchable)
    return ReadAheadBlob(blob, ReadAheadPolicy())


def test_a_reader_in_order_waits_for_few_round_trips(bench: Bench) -> None:
    source = again(bench)
    origin = bench.origin
    assert isinstance(origin, FarOrigin)
    origin.together = 4
    view = view_of(source.open(source.find(WEIGHTS)))
    for offset in range(0, SIZE_BYTES, MIB):
        assert view.read_at(offset, MIB) == NOISE[offset : offset + MIB]
    assert origin.most_under_way >= 4
    assert origin.by_the_reader <= 2
    assert len({start for start, _ in origin.reads}) == len(origin.reads)  # each span once
    assert bench.stream.transfers == 1


def test_a_first_reader_fetches_nothing_beside_the_pass(bench: Bench) -> None:
    source = bench.source()
    view = view_of(source.open(source.find(WEIGHTS)))
    for offset in range(0, SIZE_BYTES, MIB):
        assert view.read_at(offset, MIB) == NOISE[offset : offset + MIB]
    assert (bench.stream.transfers, bench.origin.reads) == (1, [])


class Counting(MemoryTier):
    """Counts how often each block is asked for."""

    def __init__(self) -> None:
        super().__init__(4 * SIZE_BYTES)
        self.asked: list[int] = []

    def get(self, key, index):  # type: ignore[no-untyped-def]  # as the base class has it
        self.asked.append(index)
        return super().get(key, index)


@pytest.fixture
def counting(bench: Bench) -> Callable[[], list[int]]:
    bench.cache = Counting()
    cache = bench.cache

    def asked() -> list[int]:
        cache.asked.clear()
        return cache.asked

    return asked


def test_a_lost_block_is_looked_for_as_often_as_one_of_a_bucket(
    bench: Bench, counting: Callable[[], list[int]]
) -> None:
    source = again(bench)
    blob = source.open(source.find(WEIGHTS))
    asked = counting()
    assert blob.read_at(7 * MIB, 5) == NOISE[7 * MIB : 7 * MIB + 5]
    assert asked == [7, 7]  # before a fetch is begun, and once nobody else can have begun one


def test_a_block_that_only_a_pass_brings_is_looked_for_once(bench: Bench, counting: Callable[[], list[int]]) -> None:
    source = bench.source(workers=0)
    weights = source.open(source.find(WEIGHTS))
    source.entries()
    assert eventually(lambda: not source.streams)
    bench.cache.drop(MODEL)
    asked = counting()
    assert weights.read_at(7 * MIB, 5) == NOISE[7 * MIB : 7 * MIB + 5]
    assert asked == [7]
    assert bench.stream.transfers == 2
