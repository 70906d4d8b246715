import gzip
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.blobs.blob import MemoryBlob
from hubfs.cache.memory import MemoryTier
from hubfs.errors import Cancelled, Damaged, Stale, Unavailable
from hubfs.formats.gzip import blob as blob_module
from hubfs.formats.gzip import recorder as index_recorder
from hubfs.formats.gzip.blob import GzipBlob
from hubfs.formats.gzip.index import GzipIndex, Span
from hubfs.memory_budget import MemoryBudget
from hubfs.testing import ScriptedBlob
from hubfs.waiting import Cancellation
from tests.support.archives import flipped
from tests.support.checkpoints import index_of, mixture
from tests.support.examples import examples
from tests.support.waiting import eventually, waiting_threads

OUTPUT = mixture(6_000_000)
ARCHIVE = b"".join(gzip.compress(OUTPUT[n : n + 2_500_000], 6) for n in range(0, len(OUTPUT), 2_500_000))


@pytest.fixture(scope="module")
def index() -> GzipIndex:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_recorder, "SPACING_BYTES", 150_000)
        made = index_of(ARCHIVE)
    assert len(made) > 12
    return made


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as pool:
        yield pool


def archived(data: bytes = ARCHIVE) -> ScriptedBlob:
    return ScriptedBlob(data, key="archive")


def blob_of(archive: MemoryBlob, index: GzipIndex, pool: ThreadPoolExecutor, **options) -> GzipBlob:
    return GzipBlob(
        archive,
        index,
        **{"name": "http://hub/model", "pool": pool, "cancellation": Cancellation(), **options},
    )


def kept_in(memory: MemoryTier) -> dict[str, Any]:
    return {"recall": partial(memory.span, "model"), "keep": partial(memory.put_span, "model")}


def test_a_read_fetches_the_spans_it_touches_and_nothing_else(index, pool):
    archive = archived()
    blob = blob_of(archive, index, pool)
    span = index.span(5)
    assert blob.read_at(span.output_start_bytes + 10, 100) == OUTPUT[span.output_start_bytes + 10 :][:100]
    assert archive.reads == [(span.start_bytes, span.end_bytes - span.start_bytes)]
    archive.reads.clear()
    boundary = span.output_end_bytes
    assert blob.read_at(boundary - 1, 2) == OUTPUT[boundary - 1 : boundary + 1]
    after = index.span(6)
    assert sorted(archive.reads) == [(one.start_bytes, one.end_bytes - one.start_bytes) for one in (span, after)]


def test_neighbouring_reads_decode_no_span_twice(index, pool):
    archive = archived()
    memory = MemoryTier(2 * max(index.span(n).output_bytes for n in range(len(index))))
    blob = blob_of(archive, index, pool, **kept_in(memory))
    assert b"".join(blob.read_at(n, 100_000) for n in range(0, len(OUTPUT), 100_000)) == OUTPUT
    assert len(archive.reads) == len(index)


def test_kept_spans_are_bounded_in_bytes(index, pool):
    memory = MemoryTier(1_500_000)
    blob = blob_of(archived(), index, pool, **kept_in(memory))
    assert blob.read_at(0, len(OUTPUT)) == OUTPUT
    assert 0 < memory.stats()["memory"].used_bytes <= 1_500_000


def test_what_a_span_takes_on_its_way_is_counted_and_no_longer(
    index: GzipIndex, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget, span, archive = MemoryBudget(1 << 20), index.span(5), archived()
    compressed_bytes, counted_bytes = span.end_bytes - span.start_bytes, []

    def inflated(span: Span, compressed: bytes) -> bytes:
        counted_bytes.append(budget.taken_bytes)
        return inflate(span, compressed)

    inflate = blob_module._inflated
    monkeypatch.setattr(blob_module, "_inflated", inflated)
    blob = blob_of(archive, index, pool, budget=budget)
    archive.pause()
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(blob.read_at, span.output_start_bytes, 1000)
        assert eventually(lambda: budget.taken_bytes == compressed_bytes)
        archive.resume()
        assert read.result(10) == OUTPUT[span.output_start_bytes :][:1000]
    assert counted_bytes == [compressed_bytes + span.output_bytes]
    assert budget.taken_bytes == 0
    damaged = blob_of(archived(flipped(ARCHIVE, 4 * (span.start_bytes + span.end_bytes))), index, pool, budget=budget)
    with pytest.raises(Damaged):
        damaged.read_at(span.output_start_bytes, 1000)
    assert budget.taken_bytes == 0


def test_a_span_larger_than_what_may_be_kept_is_read_all_the_same(index, pool):
    memory = MemoryTier(1000)
    blob = blob_of(archived(), index, pool, **kept_in(memory))
    assert blob.read_at(0, len(OUTPUT)) == OUTPUT
    assert memory.stats()["memory"].used_bytes == 0


def test_readers_of_one_span_share_one_fetch(index, pool):
    archive = archived()
    archive.pause()
    blob = blob_of(archive, index, pool)
    with ThreadPoolExecutor(6) as readers:
        reads = [readers.submit(blob.read_at, n, 1000) for n in range(6)]
        assert eventually(lambda: waiting_threads() == 5)
        archive.resume()
        assert [read.result(60) for read in reads] == [OUTPUT[n : n + 1000] for n in range(6)]
    assert len(archive.reads) == 1


def test_spans_of_one_read_are_decoded_in_parallel(index, pool):
    archive = archived()
    archive.pause()
    blob = blob_of(archive, index, pool)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(blob.read_at, 0, len(OUTPUT))
        assert archive.wait_for_reads(4)  # the reader's and the pool's three
        archive.resume()
        assert read.result(60) == OUTPUT


def test_a_pool_that_never_gets_to_it_holds_nobody_up(index):
    with ThreadPoolExecutor(1) as pool:
        blob = blob_of(archived(), index, pool)
        # The only thread of the pool is the reader itself.
        assert pool.submit(blob.read_at, 0, len(OUTPUT)).result(60) == OUTPUT


@given(st.integers(0, len(OUTPUT) + 10), st.integers(0, 2_000_000))
@examples(25)
def test_any_range_is_that_range_of_the_output(index, offset: int, size: int):
    with ThreadPoolExecutor(2) as pool:
        assert blob_of(archived(), index, pool).read_at(offset, size) == OUTPUT[offset : offset + size]


def test_a_wrong_bit_anywhere_is_damage_of_its_span_only(index, pool):
    noise = random.Random(9)
    for number in range(1, len(index) - 1, 3):
        span = index.span(number)
        bit = noise.randrange(8 * (span.start_bytes + 40), 8 * (span.end_bytes - 40))
        blob = blob_of(archived(flipped(ARCHIVE, bit)), index, pool)
        with pytest.raises(Damaged, match=rf"http://hub/model, bytes {span.start_bytes} to {span.end_bytes}: "):
            blob.read_at(span.output_start_bytes, 10)
        before = index.span(number - 1)
        assert blob.read_at(before.output_start_bytes, 10) == OUTPUT[before.output_start_bytes :][:10]


def test_other_bytes_of_the_same_size_are_damage(index, pool):
    blob = blob_of(archived(bytes(len(ARCHIVE))), index, pool)
    with pytest.raises(Damaged):
        blob.read_at(0, len(OUTPUT))


def test_an_archive_of_another_size_is_stale(index, pool):
    with pytest.raises(Stale, match=r"http://hub/model has \d+ bytes, and its index is of one of"):
        blob_of(archived(ARCHIVE + b"x"), index, pool)


def test_an_error_of_the_archive_reaches_the_reader_and_the_next_read_tries_again(index, pool):
    archive = archived()
    archive.error = Unavailable("the host went away")
    blob = blob_of(archive, index, pool)
    with pytest.raises(Unavailable, match="went away"):
        blob.read_at(0, len(OUTPUT))
    ended = threading.Barrier(3)  # the threads of the pool: a span that still fails would fail who joins it
    assert sorted(pool.map(lambda _: ended.wait(60), range(3))) == [0, 1, 2]
    archive.heal()
    assert blob.read_at(0, len(OUTPUT)) == OUTPUT


def test_a_cancel_ends_the_wait_for_another_readers_span(index, pool):
    archive, cancellation = archived(), Cancellation()
    archive.pause()
    blob = blob_of(archive, index, pool, cancellation=cancellation)
    with ThreadPoolExecutor(2) as readers:
        first = readers.submit(blob.read_at, 0, 10)
        assert archive.wait_for_reads(1)
        second = readers.submit(blob.read_at, 0, 10)
        assert eventually(lambda: waiting_threads() == 1)
        cancellation.cancel()
        with pytest.raises(Cancelled):
            second.result(60)
        archive.resume()
        assert first.result(60) == OUTPUT[:10]
    with pytest.raises(Cancelled):
        blob.read_at(1_000_000, 10)


def test_the_key_is_not_that_of_the_archive(index, pool):
    assert blob_of(archived(), index, pool).key == "archive#inflated"


def test_spans_that_were_kept_under_another_index_of_the_same_archive_are_read_right(index, pool):
    """An index that was of no use is made anew, and its spans begin elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_recorder, "SPACING_BYTES", 250_000)
        other = index_of(ARCHIVE)
    assert {one.output_offset_bytes for one in other.checkpoints} != {
        one.output_offset_bytes for one in index.checkpoints
    }
    memory = MemoryTier(2 * len(OUTPUT))
    for one in (index, other, index):
        blob = blob_of(archived(), one, pool, **kept_in(memory))
        assert blob.read_at(0, len(OUTPUT)) == OUTPUT
        assert all(blob.read_at(n, 1000) == OUTPUT[n : n + 1000] for n in range(0, len(OUTPUT), 100_000))
