"""Many readers, a cache that forgets, a stream that stops and breaks: always the right bytes, and always an end."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from hubfs.cache.block_cache import CacheKey
from hubfs.cache.memory import MemoryTier
from hubfs.errors import EntryNotFound, Unavailable
from hubfs.sources.archive import progress as archive_progress
from hubfs.sources.archive.source import ArchiveSource
from tests.support.archives import gzipped, tar_of
from tests.support.streams import MIB, Desk, ScriptedStream

pytestmark = pytest.mark.slow

_NOISE = random.Random(5)
FILES = {
    f"d{n % 3}/file{n}": _NOISE.randbytes(size) for n, size in enumerate((0, 7, MIB, 3 * MIB + 1, 300_000, 2 * MIB))
}
ARCHIVES = {"tar": tar_of(FILES), "tar.gz": gzipped(tar_of(FILES), level=1)}
READERS, SECONDS = 8, 1.5


class Forgetful(MemoryTier):
    """Loses blocks at random, and cannot say for how long it keeps one."""

    def __init__(self, seed: int, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self._chance = random.Random(seed)

    def get(self, key: CacheKey, index: int) -> bytes | None:
        return None if self._chance.random() < 0.3 else super().get(key, index)

    def put(self, key: CacheKey, index: int, block: bytes) -> bool:
        if self._chance.random() < 0.7:
            super().put(key, index, block)
        return self._chance.random() < 0.5


def read_at_random(source: ArchiveSource, seed: int, until_s: float) -> int:
    """Reads until then, past errors of transfers; returns how many reads gave bytes."""
    chance = random.Random(seed)
    reads = 0
    while time.monotonic() < until_s:
        path, data = chance.choice([*FILES.items()])
        offset, size = chance.randrange(len(data) + 1), chance.choice((1, 4096, MIB, 4 * MIB))
        try:
            match chance.randrange(12):
                case 0:
                    assert len(source.entries()) == len(FILES) + 3
                case 1:
                    with pytest.raises(EntryNotFound):
                        source.find("nothing")
                case _:
                    assert source.open(source.find(path)).read_at(offset, size) == data[offset : offset + size]
                    reads += 1
        except Unavailable:
            pass
        if chance.random() < 0.2:
            time.sleep(chance.random() * 0.02)
    return reads


def disturb(stream: ScriptedStream, seed: int, until_s: float) -> None:
    chance = random.Random(seed)
    while time.monotonic() < until_s:
        stream.pause_at(chance.randrange(len(stream.data)))
        time.sleep(chance.random() * 0.01)
        stream.resume()
        if chance.random() < 0.3:
            stream.fail_at(chance.randrange(len(stream.data)), Unavailable("broken for the test"))
        time.sleep(chance.random() * 0.02)


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("seed", range(3))
def test_readers_always_get_the_right_bytes_and_always_come_to_an_end(
    monkeypatch: pytest.MonkeyPatch, kind: str, seed: int
) -> None:
    monkeypatch.setattr(archive_progress, "_IDLE_S", 0.02)
    monkeypatch.setattr(archive_progress, "_STALL_S", 20.0)
    desk = Desk()
    stream = desk.stream(ARCHIVES[kind])
    source = desk.source(stream, Forgetful(seed, (1 + seed) * MIB), ahead_bytes=seed * MIB // 2)
    until_s = time.monotonic() + SECONDS
    disturber = threading.Thread(target=disturb, args=(stream, seed, until_s))
    disturber.start()
    try:
        with ThreadPoolExecutor(READERS) as pool:
            readers = [pool.submit(read_at_random, source, 100 * seed + n, until_s) for n in range(READERS)]
            reads = [reader.result(SECONDS + 25) for reader in readers]
    finally:
        disturber.join()
        desk.close()
    assert all(reads)
    assert not source._progress._waiters
    assert not source._progress._questions
    assert source.failure is None
