"""Two daemons with one cache directory: what the pass of one brings, the readers of the other get."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hubfs.cache.block_cache import TieredCache
from hubfs.cache.disk.indexes import IndexStore
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.room import DiskSettings
from hubfs.cache.disk.store import DiskStore
from hubfs.cache.disk.tier import DiskTier
from hubfs.cache.disk.turns import DiskTurns
from hubfs.cache.memory import MemoryTier
from hubfs.cache.turns import NoTurns
from hubfs.errors import Damaged, EntryNotFound
from hubfs.sources.archive.source import ArchiveSource
from tests.support.archives import tar_of
from tests.support.streams import MIB, Desk, ScriptedStream, read
from tests.support.waiting import eventually

_NOISE = random.Random(13)
FIRST, LAST = "saved_model.pb", "variables/variables.data-00000-of-00001"
FILES = {FIRST: _NOISE.randbytes(2 * MIB + 17), LAST: _NOISE.randbytes(9 * MIB + 4321)}
ARCHIVE = tar_of(FILES)
MIDDLE = len(ARCHIVE) // 2


class Machine(Desk):
    """Daemons with one cache directory."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        self._home = home

    def daemon(
        self, stream: ScriptedStream, *, disk_bytes: int = 1 << 30, memory_bytes: int = 64 * MIB
    ) -> ArchiveSource:
        layout = CacheLayout(self._home)
        disk = DiskTier(DiskStore(layout), DiskSettings(disk_bytes, reserve_bytes=0))
        disk.start()
        turns = DiskTurns(layout, NoTurns(), self.cancellation, keeps=disk.keeps, poll_s=0.01)

        def keep_index(source: ArchiveSource) -> None:
            IndexStore(layout).save(source.model, source.to_index())
            self.completed.append(source)

        cache = TieredCache(MemoryTier(memory_bytes), disk)
        overrides: dict[str, Any] = {"turns": turns, "on_complete": keep_index}
        return self.source(stream, cache, 2 * MIB, **overrides)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "cache")
    yield machine
    machine.close()


@pytest.fixture
def pool(machine: Machine) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool
        machine.close()


def check(source: ArchiveSource) -> None:
    assert {path: read(source, path) for path in FILES} == FILES


def transfers(*streams: ScriptedStream) -> list[int]:
    return [stream.transfers for stream in streams]


def test_readers_of_both_have_one_pass_between_them(machine: Machine, pool: ThreadPoolExecutor) -> None:
    streams = [machine.stream(ARCHIVE) for _ in range(2)]
    for reading in [pool.submit(check, machine.daemon(stream)) for stream in streams]:
        reading.result(60)
    assert sorted(transfers(*streams)) == [0, 1]
    assert eventually(lambda: len(machine.completed) == 2)  # a reader has its bytes before the pass has ended


def test_what_came_by_is_read_by_the_other_one_at_once(machine: Machine, pool: ThreadPoolExecutor) -> None:
    mine, others = machine.stream(ARCHIVE), machine.stream(ARCHIVE)
    mine.pause_at(MIDDLE)
    one, other = machine.daemon(mine), machine.daemon(others)
    reading = pool.submit(check, one)
    assert eventually(lambda: mine.pulled_bytes == MIDDLE)
    assert read(other, FIRST) == FILES[FIRST]
    assert other.open(other.find(LAST)).read_at(MIB, 5) == FILES[LAST][MIB : MIB + 5]
    end = pool.submit(other.open(other.find(LAST)).read_at, len(FILES[LAST]) - 5, 5)
    missing = pool.submit(other.find, "missing")
    listing = pool.submit(other.entries)
    assert not eventually(lambda: end.done() or missing.done() or listing.done(), 0.3)
    mine.resume()
    assert end.result(60) == FILES[LAST][-5:]
    assert isinstance(missing.exception(30), EntryNotFound)
    assert [entry.path for entry in listing.result(60)] == [FIRST, "variables", LAST]
    reading.result(60)
    assert transfers(mine, others) == [1, 0]


def test_a_pass_that_fails_is_made_by_the_other_one(machine: Machine, pool: ThreadPoolExecutor) -> None:
    mine, others = machine.stream(ARCHIVE), machine.stream(ARCHIVE)
    mine.pause_at(MIDDLE)
    mine.fail_at(MIDDLE + 1, Damaged("half of it is noise"))
    reading = pool.submit(check, machine.daemon(mine))
    assert eventually(lambda: mine.pulled_bytes == MIDDLE)
    waiting = pool.submit(check, machine.daemon(others))
    assert not eventually(waiting.done, 0.3)
    mine.resume()
    assert isinstance(reading.exception(30), Damaged)
    waiting.result(60)
    assert transfers(mine, others) == [1, 1]


def test_a_pass_whose_blocks_the_disk_does_not_keep_is_not_waited_for(
    machine: Machine, pool: ThreadPoolExecutor
) -> None:
    mine, others = machine.stream(ARCHIVE), machine.stream(ARCHIVE)
    one = machine.daemon(mine, disk_bytes=4 * MIB, memory_bytes=4 * MIB)
    other = machine.daemon(others, disk_bytes=4 * MIB)
    assert read(one, FIRST) == FILES[FIRST]
    assert eventually(lambda: mine.pulled_bytes > 3 * MIB)  # it waits for readers of its own, of which there are none
    pool.submit(check, other).result(60)
    assert transfers(mine, others) == [1, 1]
