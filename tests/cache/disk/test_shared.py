"""Several processes on one cache directory, and kills at any instant."""

import random
import time
from pathlib import Path

import pytest

from hubfs.cache.block_cache import CacheKey
from tests.support.disk_cache import KEY, another_process, block_of, tier

pytestmark = pytest.mark.slow

COUNT = 12

WRITER = """
print("ready", flush=True)
blocks = {index: block_of(index) for index in range(12)}
while True:
    for index, block in blocks.items():
        cache.put(KEY, index, block)
    cache.drop(MODEL)
"""


def test_a_reader_sees_right_bytes_or_none_while_another_process_writes_drops_and_is_killed(tmp_path: Path) -> None:
    expected = {index: block_of(index) for index in range(COUNT)}
    chance = random.Random(3)
    cache = tier(tmp_path)
    for _ in range(5):
        with another_process(tmp_path, WRITER) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            end_s, hits = time.monotonic() + chance.uniform(0.1, 0.4), 0
            while time.monotonic() < end_s or not hits:  # a writer may take long to begin
                assert time.monotonic() < end_s + 60, "nothing of what is written is ever there"
                index = chance.randrange(COUNT)
                block = cache.get(KEY, index)
                assert block in (None, expected[index])
                hits += block is not None
            writer.kill()  # at whatever it is just doing
        for reader in (cache, tier(tmp_path)):
            for index in range(COUNT):
                assert reader.get(KEY, index) in (None, expected[index])
    assert all(cache.put(KEY, index, block) for index, block in expected.items())
    assert all(tier(tmp_path).get(KEY, index) == block for index, block in expected.items())


def test_what_another_process_kept_is_found(tmp_path: Path) -> None:
    program = "print([cache.put(KEY, index, block_of(index)) for index in range(4)], flush=True)"
    cache = tier(tmp_path)
    assert cache.get(KEY, 0) is None
    with another_process(tmp_path, program) as writer:
        assert writer.communicate(timeout=60)[0] == "[True, True, True, True]\n"
    assert [cache.get(KEY, index) for index in range(4)] == [block_of(index) for index in range(4)]


def test_evictions_of_several_processes_at_once_leave_right_bytes(tmp_path: Path) -> None:
    program = """
for seed in range(150):
    key = CacheKey(f"hub/a/m/{seed % 7}@x", "f")
    release = cache.hold(key.model)
    cache.put(key, seed % 3, block_of(seed % 3, 200_000))
    if cache.get(key, seed % 3) not in (None, block_of(seed % 3, 200_000)):
        print("wrong", flush=True)
    release()
print("done", flush=True)
"""
    limit_bytes = 1_500_000
    with another_process(tmp_path, program, limit_bytes) as one, another_process(tmp_path, program, limit_bytes) as two:
        assert [process.communicate(timeout=60)[0] for process in (one, two)] == ["done\n", "done\n"]
    cache = tier(tmp_path, limit_bytes)
    for seed in range(7):
        for index in range(3):
            assert cache.get(CacheKey(f"hub/a/m/{seed}@x", "f"), index) in (None, block_of(index, 200_000))
    assert not list((tmp_path / "trash").iterdir())
