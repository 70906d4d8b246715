from collections.abc import Iterator

import pytest

from hubfs.blobs.blob import Blob, MemoryBlob, Prefetchable
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES as BLOCK
from hubfs.cache.block_cache import CacheKey
from hubfs.errors import Damaged
from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.sources.prefetch.prefetcher import Prefetcher
from hubfs.sources.prefetch.readers import FOLLOW_S
from hubfs.sources.source import Entry, Source
from hubfs.testing import Clock, MemorySource
from hubfs.waiting import Cancellation
from tests.support.prefetching import Asked, AskedBlob, is_idle, opened, settled
from tests.support.waiting import eventually

GRAPH, INDEX, DATA = "saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"
CONTENTS = {GRAPH: b"g" * 1000, INDEX: b"i" * 100, DATA: b"d" * (90 * BLOCK), "fingerprint.pb": b"f" * 10}
TOTAL_BYTES = sum(map(len, CONTENTS.values()))


def source_of(asked: Asked | None, name: str = "a/model/1") -> MemorySource:
    """A model of CONTENTS."""

    def wrap(key: CacheKey, blob: Blob) -> Blob:
        return blob if asked is None else AskedBlob(key.path, blob, asked)

    return MemorySource(CONTENTS, handle=parse_handle(name), wrap=wrap)


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
    clock.now_s += FOLLOW_S + 1
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
    clock.now_s += 10 * FOLLOW_S
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
