"""How often, and how far, an archive is read when nothing or little of it can be kept."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hubfs import waiting
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey, TieredCache
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.room import DiskSettings
from hubfs.cache.disk.store import DiskStore
from hubfs.cache.disk.tier import DiskTier
from hubfs.cache.memory import MemoryTier
from hubfs.memory_budget import MemoryBudget
from hubfs.sources.archive import progress as archive_progress
from hubfs.sources.archive.source import ArchiveSource
from tests.support.archives import tar_of
from tests.support.streams import MIB, Desk, NoCache, ScriptedStream, read
from tests.support.waiting import eventually

_NOISE = random.Random(11)
FILES = {
    "assets/vocab.txt": _NOISE.randbytes(70_000),
    "fingerprint.pb": _NOISE.randbytes(60),
    "saved_model.pb": _NOISE.randbytes(2 * MIB + 17),
    "variables/variables.data-00000-of-00001": _NOISE.randbytes(17 * MIB + 4321),
    "variables/variables.index": _NOISE.randbytes(5_000),
}
WEIGHTS = "variables/variables.data-00000-of-00001"
ARCHIVE = tar_of(FILES)
BLOCKS = [(path, index) for path, data in FILES.items() for index in range(-(-len(data) // BLOCK_SIZE_BYTES))]
SMALL, AHEAD = 2 * MIB, MIB


@pytest.fixture
def stream(desk: Desk) -> ScriptedStream:
    return desk.stream(ARCHIVE)


@pytest.fixture
def source(desk: Desk, stream: ScriptedStream) -> ArchiveSource:
    """One whose memory holds a tenth of the archive."""
    return desk.source(stream, MemoryTier(SMALL), AHEAD)


def check(source: ArchiveSource, path: str, offset: int, size: int) -> None:
    assert source.open(source.find(path)).read_at(offset, size) == FILES[path][offset : offset + size]


def check_ascending(source: ArchiveSource, path: str, step: int) -> None:
    for offset in range(0, len(FILES[path]), step):
        check(source, path, offset, step)


@pytest.mark.parametrize("step", [128 * 1024, MIB, 3 * MIB + 5])
def test_reading_in_order_takes_one_pass(source: ArchiveSource, stream: ScriptedStream, step: int) -> None:
    for path in FILES:
        check_ascending(source, path, step)
    assert len(source.entries()) == len(FILES) + 2
    assert stream.transfers == 1


def test_a_pass_whose_end_is_waited_for_waits_for_no_reader(desk: Desk) -> None:
    stream = desk.stream(ARCHIVE, chunk_bytes=len(ARCHIVE))
    source = desk.source(stream, MemoryTier(SMALL), AHEAD, size_bytes=len(ARCHIVE))  # type: ignore[arg-type]
    check(source, "fingerprint.pb", 0, 60)
    assert source.to_come_bytes == 0
    assert not source.complete
    source.await_end(300.0)
    assert source.complete


def test_a_slow_reader_takes_one_pass(source: ArchiveSource, stream: ScriptedStream) -> None:
    pauses = random.Random(3)
    for path, data in FILES.items():
        for offset in range(0, len(data), MIB // 2):
            time.sleep(pauses.choice((0, 0, 0.02)))
            check(source, path, offset, MIB // 2)
    assert stream.transfers == 1


def test_reading_in_order_through_no_cache_takes_one_pass(desk: Desk, stream: ScriptedStream) -> None:
    source = desk.source(stream, NoCache(), 0)
    for path in FILES:
        check_ascending(source, path, MIB)
    assert stream.transfers == 1


def test_a_pass_that_waits_for_its_readers_hears_of_a_question_at_once(
    desk: Desk, stream: ScriptedStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_NOTICED_WITHIN_S", 200.0)  # who is not told sleeps on
    source = desk.source(stream, NoCache(), 0)
    began_s = time.monotonic()
    for path, index in BLOCKS:
        time.sleep(0.02)  # the pass has gone to sleep again
        check(source, path, index * MIB, MIB)
    assert time.monotonic() - began_s < 150


def test_reading_as_tensorflow_does_takes_few_passes(source: ArchiveSource, stream: ScriptedStream) -> None:
    check_ascending(source, "saved_model.pb", 512 * 1024)
    index_bytes = len(FILES["variables/variables.index"])
    check(source, "variables/variables.index", index_bytes - 48, 48)
    check(source, WEIGHTS, len(FILES[WEIGHTS]) - 20_000, 20_000)
    check(source, "variables/variables.index", 0, index_bytes)
    check_ascending(source, WEIGHTS, MIB)
    check_ascending(source, "fingerprint.pb", MIB)
    assert stream.transfers <= 4


def test_the_tail_first_and_then_in_order_takes_three_passes_at_most(
    source: ArchiveSource, stream: ScriptedStream
) -> None:
    check(source, WEIGHTS, len(FILES[WEIGHTS]) - 20_000, 20_000)
    check_ascending(source, WEIGHTS, MIB)
    assert stream.transfers <= 3


class KeepsTheIndex(MemoryTier):
    """A cache that another reader keeps warm at the end of the archive, and nowhere else."""

    def put(self, key: CacheKey, index: int, block: bytes) -> bool:
        return super().put(key, index, block) if key.path.endswith(".index") else False


def test_reading_what_the_cache_has_of_the_end_does_not_hurry_the_pass_past_another_reader(
    desk: Desk, stream: ScriptedStream
) -> None:
    source = desk.source(stream, KeepsTheIndex(SMALL), 0)
    check(source, "variables/variables.index", 0, 5_000)
    for index in range(18):
        check(source, WEIGHTS, index * MIB, MIB)
        check(source, "variables/variables.index", 0, 5_000)
    assert stream.transfers == 2


@pytest.mark.parametrize("seed", range(3))
def test_reading_in_any_order_takes_at_most_a_pass_a_block(
    source: ArchiveSource, stream: ScriptedStream, seed: int
) -> None:
    blocks = random.Random(seed).sample(BLOCKS, len(BLOCKS))
    for path, index in blocks:
        check(source, path, index * MIB, MIB)
    assert stream.transfers <= len(blocks)


def test_readers_at_opposite_ends_both_come_through(source: ArchiveSource, stream: ScriptedStream) -> None:
    with ThreadPoolExecutor(2) as pool:
        readers = [
            pool.submit(check_ascending, source, "saved_model.pb", MIB // 2),
            pool.submit(check_ascending, source, WEIGHTS, MIB),
        ]
        for reader in readers:
            reader.result(60)
    assert stream.transfers <= len(BLOCKS)


def test_a_reader_of_the_front_is_served_although_another_keeps_asking_for_more(
    source: ArchiveSource, stream: ScriptedStream
) -> None:
    source.entries()
    with ThreadPoolExecutor(2) as pool:
        far = pool.submit(check_ascending, source, WEIGHTS, MIB)
        near = [pool.submit(check, source, "assets/vocab.txt", 0, 70_000) for _ in range(5)]
        for reader in [far, *near]:
            reader.result(60)
    assert stream.transfers <= 2 * len(BLOCKS)


def test_nothing_is_pulled_further_than_agreed_beyond_the_last_reader(
    source: ArchiveSource, stream: ScriptedStream
) -> None:
    check(source, "saved_model.pb", 0, 100)
    time.sleep(0.3)
    begins = ARCHIVE.index(FILES["saved_model.pb"])
    assert begins + MIB <= stream.pulled_bytes <= begins + MIB + AHEAD + MIB // 8
    check(source, WEIGHTS, 3 * MIB, 100)
    time.sleep(0.3)
    begins = ARCHIVE.index(FILES[WEIGHTS]) + 3 * MIB
    assert begins + MIB <= stream.pulled_bytes <= begins + MIB + AHEAD + MIB // 8
    assert stream.transfers == 1


def test_what_a_pass_brought_ahead_is_not_lost_to_what_others_read(desk: Desk, stream: ScriptedStream) -> None:
    budget = MemoryBudget(4 * MIB)  # of eight
    memory = MemoryTier(8 * MIB, budget.beside_cache_bytes, budget)
    source = desk.source(stream, memory, 64 * MIB, budget=budget)
    for path, data in FILES.items():
        for offset in range(0, len(data), MIB):
            check(source, path, offset, MIB)
            for index in range(8):
                memory.put(CacheKey("another model", "its file"), index, bytes(MIB))
    assert (stream.transfers, budget.lost_bytes) == (1, 0)


def test_a_pass_is_ahead_by_what_memory_holds_of_it_just_now(desk: Desk, stream: ScriptedStream) -> None:
    budget = MemoryBudget(4 * MIB)
    source = desk.source(stream, MemoryTier(8 * MIB), 64 * MIB, budget=budget)
    begins = ARCHIVE.index(FILES[WEIGHTS])
    with budget.taken(6 * MIB):
        check(source, WEIGHTS, 0, 100)
        time.sleep(0.3)
        assert begins + MIB <= stream.pulled_bytes <= begins + 2 * MIB + MIB // 8
    assert eventually(lambda: stream.pulled_bytes >= begins + 4 * MIB)
    time.sleep(0.3)
    assert stream.pulled_bytes <= begins + 5 * MIB + MIB // 8
    assert stream.transfers == 1


def tiers(tmp_path: Path, disk_bytes: int) -> TieredCache:
    layout = CacheLayout(tmp_path / "cache")
    layout.prepare()
    return TieredCache(MemoryTier(SMALL), DiskTier(DiskStore(layout), DiskSettings(disk_bytes, 0)))


def test_everything_is_pulled_at_once_when_the_disk_keeps_it(
    desk: Desk, stream: ScriptedStream, tmp_path: Path
) -> None:
    source = desk.source(stream, tiers(tmp_path, 64 * MIB), AHEAD)
    check(source, "assets/vocab.txt", 0, 100)
    assert eventually(lambda: source.complete)
    for path, index in random.Random(5).sample(BLOCKS, len(BLOCKS)):
        check(source, path, index * MIB, MIB)
    assert stream.transfers == 1


def test_a_pass_is_paced_once_the_disk_is_full(desk: Desk, stream: ScriptedStream, tmp_path: Path) -> None:
    source = desk.source(stream, tiers(tmp_path, 6 * MIB), AHEAD)
    check(source, "assets/vocab.txt", 0, 100)
    time.sleep(0.5)
    assert stream.pulled_bytes < 12 * MIB
    for path in FILES:
        check_ascending(source, path, MIB)
    assert stream.transfers == 1


def test_an_idle_pass_ends_and_a_later_reader_begins_anew(
    source: ArchiveSource, stream: ScriptedStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_progress, "_IDLE_S", 0.2)
    check(source, "saved_model.pb", 0, 100)
    assert eventually(lambda: stream.closed == 1)
    monkeypatch.undo()
    assert stream.pulled_bytes < len(ARCHIVE) // 2
    assert source.failure is None
    assert not source.complete
    assert read(source, WEIGHTS) == FILES[WEIGHTS]
    assert len(source.entries()) == len(FILES) + 2
    assert stream.transfers == 2
    assert eventually(lambda: stream.closed == 2)


@pytest.mark.slow
def test_a_reader_who_pauses_longer_than_a_pass_waits_still_comes_through(
    source: ArchiveSource, stream: ScriptedStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_progress, "_IDLE_S", 0.05)
    for index in range(0, 17, 4):
        check(source, WEIGHTS, index * MIB, 4 * MIB)
        time.sleep(0.4)
    assert 2 <= stream.transfers <= 6
    assert eventually(lambda: stream.closed == stream.transfers)
