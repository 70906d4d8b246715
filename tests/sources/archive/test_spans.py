"""Blocks that the cache has lost, read by the spans of an archive that was seen once."""

import json
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from hubfs.blobs.blob import Blob, MemoryBlob, Prefetchable
from hubfs.blobs.retry import Permanent
from hubfs.blobs.sparse import SparseMap
from hubfs.cache.block_cache import BlockCache, CacheKey
from hubfs.cache.memory import MemoryTier
from hubfs.errors import Damaged, Stale
from hubfs.formats.index_file import IndexFile
from hubfs.memory_budget import MemoryBudget
from hubfs.sources.archive.index import ArchiveIndex
from hubfs.sources.archive.spans import ArchiveSpans
from tests.support.archives import END_MARKER, gzipped, member, model_files, padded, pax, tar_of
from tests.support.indexed import MODEL, Bench
from tests.support.streams import HANDLE, MIB, URL, NoCache, archive_source, read, source_from_index
from tests.support.waiting import eventually

WEIGHTS = "variables/variables.data-00000-of-00001"
# Six bits a byte: what compressors make Huffman blocks of, and large enough for several spans.
NOISE = random.Random(5).randbytes(16 * MIB).translate(bytes(n % 64 for n in range(256)))
FILES = {**model_files(), WEIGHTS: NOISE, "zz/last": b"the end"}
ARCHIVE = gzipped(tar_of(FILES), level=1)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as pool:
        yield pool


@pytest.fixture
def bench_of(pool: ThreadPoolExecutor) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(cache: BlockCache | None = None, archive: bytes = ARCHIVE) -> Bench:
        made.append(Bench(pool, cache or MemoryTier(64 * MIB), archive))
        return made[-1]

    yield make
    for bench in made:
        bench.desk.close()


def test_a_lost_block_costs_its_spans_and_no_pass(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of()
    source = bench.read_once()
    middle = source.open(source.find(WEIGHTS)).read_at(7 * MIB + 5, 1000)
    assert middle == NOISE[7 * MIB + 5 : 7 * MIB + 1005]
    assert bench.stream.transfers == 1
    assert len(bench.origin.reads) <= 2
    assert bench.origin.asked_bytes < len(ARCHIVE) // 2


def test_a_block_of_another_length_is_as_good_as_lost(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of()
    source = bench.read_once()
    bench.cache.put(CacheKey(MODEL, WEIGHTS), 1, NOISE[MIB : 2 * MIB - 7])
    assert read(source, WEIGHTS) == NOISE


def test_everything_is_read_again_by_spans_and_right(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of()
    source = bench.read_once()
    assert {path: read(source, path) for path in FILES} == FILES
    assert bench.stream.transfers == 1


def test_where_nothing_is_kept_reading_anywhere_takes_one_pass(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(NoCache())
    source = bench.read_once()
    blob = source.open(source.find(WEIGHTS))
    for offset in random.Random(1).sample(range(len(NOISE) - 1000), 20):
        assert blob.read_at(offset, 1000) == NOISE[offset : offset + 1000]
    assert bench.stream.transfers == 1


def test_an_index_that_another_daemon_kept_meanwhile_is_found(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of()
    bench.read_once()
    kept, bench.kept = bench.kept, None
    spans: ArchiveSpans = bench.collaborators()["spans"]
    assert not spans.known
    bench.kept = kept
    assert not spans.known
    spans.look_again()
    assert spans.known


def test_the_index_outlives_the_daemon(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of()
    index = bench.read_once().to_index()
    again = source_from_index(MODEL, ArchiveIndex.from_json(HANDLE, index), **bench.collaborators())
    assert read(again, WEIGHTS) == NOISE
    assert bench.stream.transfers == 1


def test_readers_that_come_at_once_to_a_kept_index_share_its_spans(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of()
    index = bench.read_once().to_index()
    both = threading.Barrier(2, timeout=60)

    def kept() -> bytes | None:
        both.wait()
        return bench.kept

    spans = ArchiveSpans(MODEL, unpack=bench.unpack, load=kept, save=lambda _: None)
    source = source_from_index(MODEL, ArchiveIndex.from_json(HANDLE, index), **bench.collaborators() | {"spans": spans})
    with ThreadPoolExecutor(2) as readers:
        reads = [readers.submit(source.open(source.find(WEIGHTS)).read_at, offset, 1000) for offset in (0, 2000)]
        assert [read.result(60) for read in reads] == [NOISE[:1000], NOISE[2000:3000]]
    assert len({start for start, _ in bench.origin.reads}) == len(bench.origin.reads)


def test_a_small_archive_is_one_span(bench_of: Callable[..., Bench]) -> None:
    small = model_files()
    bench = bench_of(archive=gzipped(tar_of(small)))
    source = bench.source()
    source.entries()
    assert eventually(lambda: bench.kept is not None)
    bench.cache.drop(MODEL)
    assert {path: read(source, path) for path in small} == small
    assert bench.stream.transfers == 1


def test_of_a_plain_tar_only_the_blocks_are_fetched(bench_of: Callable[..., Bench]) -> None:
    tar = tar_of(FILES)
    bench = bench_of(archive=tar)
    source = bench.read_once()
    assert source.open(source.find(WEIGHTS)).read_at(3 * MIB, 10) == NOISE[3 * MIB : 3 * MIB + 10]
    assert bench.origin.asked_bytes == MIB
    assert bench.stream.transfers == 1


def test_inflated_in_the_daemon_a_large_archive_has_no_index_and_is_passed_again(
    bench_of: Callable[..., Bench],
) -> None:
    bench = bench_of()
    source = bench.read_once(workers=0)
    assert read(source, WEIGHTS) == NOISE
    assert (bench.kept, bench.stream.transfers, bench.origin.reads) == (None, 2, [])


@pytest.mark.slow
def test_an_index_that_does_not_fit_gives_way_to_a_pass(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of()
    source = bench.read_once()
    whole, bench.origin.answer = bench.origin.answer, MemoryBlob("another archive", bytes(len(ARCHIVE))).read_at
    bench.kept = None
    assert read(source, WEIGHTS) == NOISE
    assert eventually(lambda: bench.kept is not None)
    assert bench.stream.transfers == 2
    bench.cache.drop(MODEL)
    bench.origin.answer = whole
    assert read(source, "zz/last") == b"the end"  # the pass made a new index
    assert bench.stream.transfers == 2
    assert source.failure is None


def test_a_host_that_answers_no_ranges_is_passed_again(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of()
    source = bench.read_once()
    bench.origin.error = Permanent("no ranges here")
    assert read(source, WEIGHTS) == NOISE
    assert bench.stream.transfers == 2


def test_an_archive_that_changed_fails_for_good(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of()
    source = bench.read_once()
    bench.origin.error = Stale("it changed")
    for _ in range(2):
        with pytest.raises(Stale, match="it changed"):
            read(source, WEIGHTS)
    assert isinstance(source.failure, Stale)
    assert bench.stream.transfers == 1


def test_a_kept_index_that_is_damaged_is_left_aside(
    bench_of: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    bench = bench_of()
    index = bench.read_once().to_index()
    assert bench.kept is not None
    bench.kept = bench.kept[:-1] + b"x"
    again = source_from_index(MODEL, ArchiveIndex.from_json(HANDLE, index), **bench.collaborators())
    assert read(again, WEIGHTS) == NOISE
    assert bench.stream.transfers == 2
    assert "left aside" in caplog.text


def test_with_a_published_index_the_first_touch_is_random_access(bench_of: Callable[..., Bench]) -> None:
    publisher = bench_of()
    members = publisher.read_once()._progress.known()
    assert publisher.kept is not None
    assert IndexFile.from_bytes(publisher.kept).members == ()  # the model's index has them
    bench = bench_of()
    source = bench.source()
    source.adopt(replace(IndexFile.from_bytes(publisher.kept), members=members))
    assert source.complete
    assert bench.desk.completed == [source]
    assert {entry.path for entry in source.entries()} >= FILES.keys()
    assert read(source, "zz/last") == b"the end"
    assert len(bench.origin.reads) <= 2
    assert read(source, WEIGHTS) == NOISE
    assert bench.stream.transfers == 0
    assert bench.kept == publisher.kept


def test_prefetching_begins_what_is_missing_and_nothing_while_a_pass_goes_by(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of()
    source = bench.source()
    bench.stream.pause_at(len(ARCHIVE) - 1000)
    entry = source.find(WEIGHTS)
    weights = source.open(entry)
    assert isinstance(weights, Prefetchable)
    assert weights.prefetch(0, entry.size_bytes) == entry.size_bytes
    assert bench.origin.reads == []
    bench.stream.resume()
    source.entries()
    assert eventually(lambda: bench.kept is not None)
    assert weights.prefetch(0, entry.size_bytes) == entry.size_bytes  # the cache has it all
    assert bench.origin.reads == []
    bench.cache.drop(MODEL)
    assert weights.prefetch(0, 4 * MIB) == 4 * MIB
    assert eventually(lambda: bench.cache.cached_bytes(MODEL) == 4 * MIB)
    assert bench.stream.transfers == 1


def test_the_rings_of_the_inflating_process_are_part_of_the_budget(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of()
    budget = MemoryBudget(1 << 30)
    source = archive_source(HANDLE, URL, MODEL, "v1", **bench.collaborators(), budget=budget)
    bench.stream.pause_at(len(ARCHIVE) - 1000)
    source.find(WEIGHTS)
    assert budget.taken_bytes > 4 * MIB
    bench.stream.resume()
    source.entries()
    assert eventually(lambda: budget.taken_bytes == 0)


def test_who_waits_for_what_came_by_unread_has_it_by_the_index_of_the_same_pass(
    bench_of: Callable[..., Bench], pool: ThreadPoolExecutor
) -> None:
    bench = bench_of()
    budget = MemoryBudget(1 << 30)
    source = archive_source(HANDLE, URL, MODEL, "v1", **bench.collaborators(), budget=budget)
    bench.stream.pause_at(len(ARCHIVE) - 1000)
    weights = source.open(source.find(WEIGHTS))
    assert weights.read_at(6 * MIB, 1000) == NOISE[6 * MIB : 6 * MIB + 1000]
    assert budget.lost_bytes == 0
    bench.cache.drop(MODEL)
    waiting = pool.submit(weights.read_at, MIB, MIB)
    assert eventually(lambda: [(one.file.path, one.index) for one in source._progress._missing()] == [(WEIGHTS, 1)])
    bench.stream.resume()
    assert waiting.result(60) == NOISE[MIB : 2 * MIB]
    assert bench.stream.transfers == 1
    assert budget.lost_bytes == MIB


def test_who_waits_for_what_came_by_unread_has_it_by_another_pass_where_there_is_no_index(
    bench_of: Callable[..., Bench], pool: ThreadPoolExecutor
) -> None:
    bench = bench_of()
    source = bench.source(workers=0)
    bench.stream.pause_at(len(ARCHIVE) - 1000)
    weights = source.open(source.find(WEIGHTS))
    assert weights.read_at(6 * MIB, 1000) == NOISE[6 * MIB : 6 * MIB + 1000]
    bench.cache.drop(MODEL)
    waiting = pool.submit(weights.read_at, MIB, MIB)
    assert eventually(lambda: [(one.file.path, one.index) for one in source._progress._missing()] == [(WEIGHTS, 1)])
    bench.stream.resume()
    assert waiting.result(60) == NOISE[MIB : 2 * MIB]
    assert bench.stream.transfers == 2


HOLES = SparseMap(1 << 40, ((5, 3 * MIB), (1 << 39, 4 * MIB), ((1 << 40) - 3, 3)))
STORED = random.Random(6).randbytes(HOLES.stored_bytes).translate(bytes(n % 64 for n in range(256)))


def sparse_archive() -> bytes:
    """With a file of a tebibyte: two stretches of data of a few MiB, three bytes at its end, and holes."""
    table = "".join(f"{offset}\n{size}\n" for offset, size in HOLES.extents)
    records = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.name": WEIGHTS.encode()}
    sparse = pax({**records, b"GNU.sparse.realsize": b"%d" % HOLES.size_bytes})
    sparse += member(b"GNUSparseFile.1/w", padded(b"3\n" + table.encode()) + STORED)
    return member(b"a", b"first") + sparse + member(b"zz/last", b"the end") + END_MARKER


def check_holes(blob: Blob) -> None:
    assert blob.size_bytes == 1 << 40
    assert blob.read_at(0, 9) == bytes(5) + STORED[:4]
    assert blob.read_at(3 * MIB, 100) == STORED[3 * MIB - 5 : 3 * MIB] + bytes(95)
    assert blob.read_at(1 << 38, MIB) == bytes(MIB)
    assert blob.read_at((1 << 39) - 3, 4 * MIB) == bytes(3) + STORED[3 * MIB :][: 4 * MIB - 3]
    assert blob.read_at((1 << 40) - 9, 100) == bytes(6) + STORED[-3:]


@pytest.mark.parametrize("pack", [bytes, lambda tar: gzipped(tar, level=1)], ids=["tar", "tar.gz"])
def test_a_file_with_holes_is_read_by_a_pass_by_spans_and_out_of_the_cache(
    bench_of: Callable[..., Bench], pack: Callable[[bytes], bytes]
) -> None:
    bench = bench_of(archive=pack(sparse_archive()))
    source = bench.source()
    check_holes(source.open(source.find(WEIGHTS)))
    assert read(source, "zz/last") == b"the end"
    source.entries()
    assert bench.stream.transfers == 1
    assert bench.cache.cached_bytes(MODEL) == HOLES.stored_bytes + len(b"firstthe end")
    assert source.extent.size_bytes == bench.cache.cached_bytes(MODEL)  # or it would never be all of it
    assert eventually(lambda: bench.kept is not None)
    assert bench.origin.reads == []

    bench.cache.drop(MODEL)
    blob = source.open(source.find(WEIGHTS))
    check_holes(blob)
    assert bench.stream.transfers == 1
    assert bench.origin.reads

    restarted = source_from_index(
        MODEL, ArchiveIndex.from_json(HANDLE, json.loads(json.dumps(source.to_index()))), **bench.collaborators()
    )
    assert restarted.find(WEIGHTS) == source.find(WEIGHTS)
    check_holes(restarted.open(restarted.find(WEIGHTS)))
    before = len(bench.origin.reads)
    check_holes(restarted.open(restarted.find(WEIGHTS)))  # out of the cache
    assert (bench.stream.transfers, len(bench.origin.reads)) == (1, before)
    assert restarted.entries() == source.entries()
    assert isinstance(blob, Prefetchable)
    assert blob.prefetch(0, 1 << 40) == 1 << 40


def test_an_index_whose_holes_cannot_be_is_malformed(
    bench_of: Callable[..., Bench],
) -> None:
    bench = bench_of(archive=sparse_archive())
    source = bench.source()
    source.entries()
    index = json.loads(json.dumps(source.to_index()))
    (sparse,) = [entry for entry in index["entries"] if "extents" in entry]
    for extents in ([[5, 1 << 41]], [[5, 1], [5, 1]], [[0, -1]], [["a", 1]], [5], [[2 * n, 1] for n in range(100_001)]):
        with pytest.raises(Damaged):
            ArchiveIndex.from_json(HANDLE, {**index, "entries": [{**sparse, "extents": extents}]})


def in_two_members(tar: bytes) -> bytes:
    middle = len(tar) // 2
    return gzipped(tar[:middle], level=1) + gzipped(tar[middle:], level=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pack", "workers", "reason"),
    [
        (in_two_members, 2, "it is damaged, or has several gzip members"),
        (lambda tar: gzipped(tar, level=1), 0, "where --inflate-workers is 0"),
    ],
    ids=["two members", "no workers"],
)
def test_an_archive_without_an_index_is_named_and_the_reason_is_said(
    bench_of: Callable[..., Bench],
    caplog: pytest.LogCaptureFixture,
    pack: Callable[[bytes], bytes],
    workers: int,
    reason: str,
) -> None:
    bench = bench_of(archive=pack(tar_of(FILES)))
    source = bench.source(workers)
    assert read(source, "zz/last") == FILES["zz/last"]
    source.entries()
    assert eventually(lambda: f"{URL} has no index, so that a block that the cache loses costs another" in caplog.text)
    assert reason in caplog.text
    assert "pack it as one gzip member, as `tar -cz` does" in caplog.text
    assert bench.kept is None
    if pack is in_two_members:
        assert f"{URL} is inflated on one core, from the start: " in caplog.text


def test_nothing_is_said_of_an_archive_that_has_an_index(
    bench_of: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    bench_of().read_once()
    assert "index" not in caplog.text
