"""What is cached of each model, counted without reading a file for each of its files when somebody asks."""

import os
from pathlib import Path

import pytest

from hubfs.cache.block_cache import CacheKey
from hubfs.cache.disk import block_counts
from hubfs.cache.disk.files import read_whole
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.room import DiskSettings
from hubfs.cache.disk.store import DiskStore
from hubfs.cache.disk.tier import DiskTier
from tests.support.waiting import eventually

MODEL = "tfhub.dev/google/spice/2@aa"
OTHER = "tfhub.dev/google/spice/1@bb"
MANY = 200


def tier(root: Path) -> DiskTier:
    cache = DiskTier(DiskStore(CacheLayout(root)), DiskSettings(1 << 30, reserve_bytes=0))
    cache.start()
    return cache


def fill(cache: DiskTier, files: int, model: str = MODEL) -> None:
    for number in range(files):
        assert cache.put(CacheKey(model, f"d{number % 7}/f{number}"), 0, b"x" * 10)


@pytest.fixture
def maps_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The block maps that were read since, to count."""
    read: list[str] = []

    def reading(path: str | Path, most_bytes: int) -> bytes:
        read.append(str(path))
        return read_whole(path, most_bytes)

    monkeypatch.setattr(block_counts, "read_whole", reading)
    return read


def test_what_this_daemon_kept_is_known_and_never_counted(tmp_path: Path, maps_read: list[str]) -> None:
    cache = tier(tmp_path)
    fill(cache, MANY)
    for _ in range(10):
        assert cache.cached_bytes(MODEL) == MANY * 10
    assert not maps_read


def test_of_a_large_model_that_was_there_before_few_maps_are_read_by_who_asks(
    tmp_path: Path, maps_read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tier(tmp_path), MANY)
    cache = tier(tmp_path)
    counts = cache._store._counts
    count_all, begun = counts._count_all, []
    monkeypatch.setattr(counts, "_count_all", lambda: begun.append(MODEL))
    asked = [cache.cached_bytes(MODEL) for _ in range(100)]
    assert asked == [None] * 100
    assert len(maps_read) <= block_counts._AT_ONCE_FILES
    count_all()
    assert eventually(lambda: begun == [MODEL]), "one thread counts, however many ask"
    maps_read.clear()
    assert [cache.cached_bytes(MODEL) for _ in range(100)] == [MANY * 10] * 100
    assert not maps_read


def test_it_is_counted_behind_the_readers_backs(tmp_path: Path) -> None:
    fill(tier(tmp_path), MANY)
    cache = tier(tmp_path)
    assert eventually(lambda: cache.cached_bytes(MODEL) == MANY * 10)
    assert cache.put(CacheKey(MODEL, "one more"), 0, b"12345")
    assert cache.cached_bytes(MODEL) == MANY * 10 + 5


def test_a_small_model_that_was_there_before_is_counted_at_once(tmp_path: Path) -> None:
    fill(tier(tmp_path), 16)
    assert tier(tmp_path).cached_bytes(MODEL) == 160


def test_one_large_block_map_is_not_read_by_who_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tier(tmp_path).put(CacheKey(MODEL, "weights"), 10_000, b"last")
    cache = tier(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(cache._store._counts, "_count_later", lambda _: None)
        assert cache.cached_bytes(MODEL) is None
    assert eventually(lambda: cache.cached_bytes(MODEL) == 4)


def test_a_model_that_another_daemon_dropped_has_nothing(tmp_path: Path) -> None:
    cache = tier(tmp_path)
    fill(cache, 3)
    fill(cache, 2, OTHER)
    tier(tmp_path).drop(MODEL)
    assert (cache.cached_bytes(MODEL), cache.cached_bytes(OTHER)) == (0, 20)
    fill(cache, 1)
    assert cache.cached_bytes(MODEL) == 10


def test_a_block_that_is_damaged_is_counted_no_longer(tmp_path: Path) -> None:
    cache = tier(tmp_path)
    fill(cache, 3)
    layout, key = CacheLayout(tmp_path), CacheKey(MODEL, "d1/f1")
    fd = os.open(layout.data(key), os.O_WRONLY)
    os.pwrite(fd, b"?", 0)
    os.close(fd)
    assert cache.get(key, 0) is None
    assert cache.cached_bytes(MODEL) == 20


def test_a_block_that_is_written_twice_at_once_counts_once(tmp_path: Path) -> None:
    cache = tier(tmp_path)
    fill(cache, 1)
    key = CacheKey(MODEL, "twice")
    counts = cache._store._counts
    first, second = counts.begin(key, 0), counts.begin(key, 0)
    assert cache._store._write(key, 0, b"12345") == (True, 5)
    for count in (first, second):  # each found it missing
        counts.end(count, key, 0, 5)
    assert cache.cached_bytes(MODEL) == 15


def test_a_block_that_was_on_its_way_while_its_model_was_dropped_is_counted_where_it_went(tmp_path: Path) -> None:
    cache = tier(tmp_path)
    fill(cache, 2)
    late = CacheKey(MODEL, "late")
    count = cache._store._counts.begin(late, 0)
    cache.drop(MODEL)
    _, more_bytes = cache._store._write(late, 0, b"12345")
    cache._store._counts.end(count, late, 0, more_bytes)
    assert cache.cached_bytes(MODEL) == 5


def test_what_other_daemons_keep_is_seen_after_a_while(tmp_path: Path) -> None:
    now_s = 0.0
    cache = tier(tmp_path)
    cache._store._counts._timer = lambda: now_s
    fill(cache, 1)
    fill(tier(tmp_path), 3)
    assert cache.cached_bytes(MODEL) == 10
    now_s = 61.0
    assert cache.cached_bytes(MODEL) == 30
