import threading
from collections.abc import Callable, Iterator

import pytest

from hubfs.blobs.blob import Blob, MemoryBlob, Prefetchable, WrappedBlob
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES as BLOCK
from hubfs.cache.block_cache import CacheKey
from hubfs.errors import Damaged
from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.models.troubles import Troubles, WatchedBlob
from hubfs.sources.prefetch.prefetcher import Prefetcher
from hubfs.sources.prefetch.readers import FOLLOW_S
from hubfs.sources.source import Entry, Source
from hubfs.testing import Clock, MemorySource
from hubfs.waiting import Cancellation
from tests.support.waiting import eventually

GRAPH, INDEX, DATA = "saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"
CONTENTS = {GRAPH: b"g" * 1000, INDEX: b"i" * 100, DATA: b"d" * (90 * BLOCK), "fingerprint.pb": b"f" * 10}
TOTAL_BYTES = sum(map(len, CONTENTS.values()))


class Asked:
    """What was asked for, by path, in order; `room_bytes` is how much more is admitted."""

    def __init__(self) -> None:
        self.ranges: list[tuple[str, int, int]] = []
        self.room_bytes = 1 << 40
        self.error: Exception | None = None
        self._lock = threading.Lock()

    def ask(self, path: str, offset_bytes: int, size_bytes: int) -> int:
        with self._lock:
            if self.error is not None:
                raise self.error
            admitted_bytes = min(size_bytes, self.room_bytes)
            if admitted_bytes < size_bytes:
                admitted_bytes = admitted_bytes // BLOCK * BLOCK
            self.room_bytes -= admitted_bytes
            if admitted_bytes:
                self.ranges.append((path, offset_bytes, offset_bytes + admitted_bytes))
            return offset_bytes + admitted_bytes

    def bytes_of(self, path: str) -> int:
        with self._lock:
            return sum(end - start for asked, start, end in self.ranges if asked == path)

    @property
    def total_bytes(self) -> int:
        with self._lock:
            return sum(end - start for _, start, end in self.ranges)


class AskedBlob(WrappedBlob):
    """A blob that notes what it is asked to prefetch."""

    def __init__(self, path: str, blob: Blob, asked: Asked) -> None:
        super().__init__(blob)
        self._path = path
        self._asked = asked

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        return self._blob.read_at(offset_bytes, size_bytes)

    def prefetch(self, offset_bytes: int, size_bytes: int) -> int:
        return self._asked.ask(self._path, offset_bytes, size_bytes)


def source_of(asked: Asked | None, name: str = "a/model/1") -> MemorySource:
    """A model of CONTENTS."""

    def wrap(key: CacheKey, blob: Blob) -> Blob:
        return blob if asked is None else AskedBlob(key.path, blob, asked)

    return MemorySource(CONTENTS, handle=parse_handle(name), wrap=wrap)


@pytest.fixture
def clock() -> Clock:
    return Clock(0)


@pytest.fixture
def cancellation() -> Iterator[Cancellation]:
    cancellation = Cancellation()
    yield cancellation
    cancellation.cancel()
    assert eventually(is_idle), "the thread goes on after the cancel"


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def source(asked: Asked) -> MemorySource:
    return source_of(asked)


@pytest.fixture
def prefetcher(cancellation: Cancellation, clock: Clock) -> Prefetcher:
    return Prefetcher(cancellation, timer=clock)


def is_idle() -> bool:
    return not any(thread.name == "prefetch" for thread in threading.enumerate())


def settled(asked: Asked) -> int:
    """How many bytes were asked for once nothing moves any more."""
    assert eventually(is_idle), "the thread goes on with nothing to do"
    return asked.total_bytes


def opened(prefetcher: Prefetcher, source: Source, path: str) -> tuple[Blob, Callable[[], None]]:
    entry = source.find(path)
    blob = WatchedBlob(source.open(entry), Troubles(), str(source.handle), path)
    blob.follow, release = prefetcher.opened(source, entry)
    return blob, release


def test_a_blob_with_a_prefetch_is_known_as_such(source: MemorySource) -> None:
    assert isinstance(source.open(source.find(DATA)), Prefetchable)
    assert not isinstance(MemoryBlob("a", b""), Prefetchable)


def test_opening_the_graph_asks_for_what_is_certain_and_no_more(
    prefetcher: Prefetcher, source: MemorySource, asked: Asked
) -> None:
    _, release = opened(prefetcher, source, GRAPH)
    assert 63 * BLOCK < settled(asked) <= 64 * BLOCK
    assert [path for path, _, _ in asked.ranges[:4]] == [GRAPH, INDEX, DATA, DATA]
    assert asked.ranges[2] == (DATA, 89 * BLOCK, 90 * BLOCK)
    release()


def test_a_loader_gets_everything_fetched_once(prefetcher: Prefetcher, source: MemorySource, asked: Asked) -> None:
    opened(prefetcher, source, GRAPH)[1]()
    prefetcher.looked_up(source, "debug")
    assert settled(asked) == TOTAL_BYTES
    assert asked.bytes_of(DATA) == 90 * BLOCK
    assert asked.ranges[-1][0] == "fingerprint.pb"


def test_opening_other_files_and_looking_up_other_names_asks_for_nothing(
    prefetcher: Prefetcher, source: MemorySource, asked: Asked
) -> None:
    for path in (INDEX, DATA, "fingerprint.pb"):
        opened(prefetcher, source, path)
        prefetcher.looked_up(source, path)
    prefetcher.looked_up(source, "debug")
    assert settled(asked) == 0


def test_a_refusal_is_tried_again_until_there_is_room(
    prefetcher: Prefetcher, source: MemorySource, asked: Asked
) -> None:
    asked.room_bytes = 10 * BLOCK
    opened(prefetcher, source, GRAPH)
    opened(prefetcher, source, DATA)
    assert eventually(lambda: asked.room_bytes < BLOCK)
    assert not is_idle()
    asked.room_bytes = 1 << 40
    assert settled(asked) == TOTAL_BYTES


def test_nobody_following_ends_the_prefetch(
    prefetcher: Prefetcher, source: MemorySource, asked: Asked, clock: Clock
) -> None:
    asked.room_bytes = 10 * BLOCK
    opened(prefetcher, source, GRAPH)[1]()
    prefetcher.looked_up(source, "debug")
    assert eventually(lambda: asked.room_bytes < BLOCK)
    before_bytes = asked.total_bytes
    clock.now_s = FOLLOW_S + 1
    assert eventually(is_idle)
    asked.room_bytes = 1 << 40
    assert settled(asked) == before_bytes


def test_many_processes_that_open_one_model_ask_once(
    prefetcher: Prefetcher, source: MemorySource, asked: Asked
) -> None:
    asked.room_bytes = 0  # the burst lasts until all are there
    for _ in range(16):
        opened(prefetcher, source, GRAPH)
        opened(prefetcher, source, DATA)
    asked.room_bytes = 1 << 40
    assert settled(asked) == TOTAL_BYTES


def test_a_second_load_does_not_ask_for_what_the_first_was_given(
    prefetcher: Prefetcher, source: MemorySource, asked: Asked
) -> None:
    for path, data in CONTENTS.items():
        reader, release = opened(prefetcher, source, path)
        assert reader.read_at(0, len(data)) == data
        release()
    before_bytes = settled(asked)
    for path in CONTENTS:
        opened(prefetcher, source, path)
    assert settled(asked) == before_bytes


def test_a_model_that_failed_is_not_fetched_any_further(
    prefetcher: Prefetcher, source: MemorySource, asked: Asked
) -> None:
    asked.room_bytes = 10 * BLOCK
    opened(prefetcher, source, GRAPH)
    assert eventually(lambda: asked.room_bytes < BLOCK)
    source.fail(Damaged("it is not what was listed"))
    assert eventually(is_idle)


def test_the_prefetch_of_one_model_survives_the_failure_of_another(
    prefetcher: Prefetcher, asked: Asked, source: MemorySource
) -> None:
    failing = Asked()
    failing.error = RuntimeError("a defect")
    opened(prefetcher, source_of(failing, "a/failing/1"), GRAPH)
    opened(prefetcher, source, GRAPH)
    assert settled(asked) > 60 * BLOCK


def test_a_model_whose_entries_are_not_known_yet_is_waited_for_by_nobody(prefetcher: Prefetcher, asked: Asked) -> None:
    class Unknown(MemorySource):
        complete = False

    source = source_of(asked)
    source.__class__ = Unknown
    opened(prefetcher, source, GRAPH)
    opened(prefetcher, source, DATA)
    assert not is_idle()
    assert asked.total_bytes == 0
    Unknown.complete = True
    assert settled(asked) == TOTAL_BYTES


def test_files_that_cannot_be_prefetched_are_passed_over(prefetcher: Prefetcher) -> None:
    local = source_of(None)
    reader, release = opened(prefetcher, local, GRAPH)
    opened(prefetcher, local, DATA)
    assert eventually(is_idle)
    assert reader.read_at(0, 10) == CONTENTS[GRAPH][:10]
    release()


def test_a_release_that_comes_twice_counts_once(
    prefetcher: Prefetcher, source: MemorySource, asked: Asked, clock: Clock
) -> None:
    asked.room_bytes = 0
    opened(prefetcher, source, GRAPH)
    _, release = opened(prefetcher, source, DATA)
    release()
    release()
    clock.now_s = 10 * FOLLOW_S
    asked.room_bytes = 1 << 40
    assert settled(asked) == TOTAL_BYTES  # the graph is open still


def test_a_large_file_is_completed_once_all_of_it_was_asked_for(
    prefetcher: Prefetcher, source: MemorySource, asked: Asked
) -> None:
    completed: list[tuple[str, int]] = []

    def complete(_source: Source, entry: Entry, _blob: Prefetchable) -> None:
        completed.append((entry.path, asked.bytes_of(entry.path)))

    asked.room_bytes = 70 * BLOCK
    prefetcher.opened(source, source.find(GRAPH), complete)
    prefetcher.looked_up(source, "debug")
    assert eventually(lambda: asked.room_bytes < BLOCK)
    assert completed == []
    asked.room_bytes = 1 << 40
    assert settled(asked) == TOTAL_BYTES
    assert completed == [(DATA, 90 * BLOCK)]


def test_nothing_is_completed_of_which_a_part_waits_for_a_loader(
    prefetcher: Prefetcher, source: MemorySource, asked: Asked
) -> None:
    prefetcher.opened(source, source.find(GRAPH), lambda *_: pytest.fail("not all of it was asked for"))
    assert settled(asked) < TOTAL_BYTES
