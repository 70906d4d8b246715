"""A read leaves no file open, and never reads from a file that was taken away."""

import contextlib
import os
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hubfs.cache.block_cache import CacheKey
from tests.support.disk_cache import KEY, MODEL, another_process, block_of, data_file, tier


def open_files(root: Path) -> list[str]:
    """The block maps and data files below `root` that this process has open."""
    links = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one of the listing itself
            links.append(os.readlink(f"/proc/self/fd/{fd}"))  # noqa: PTH115 - "… (deleted)" is no path
    return sorted(link for link in links if link.startswith(str(root)) and "/in-use" not in link)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A cache directory with three blocks of a file."""
    cache = tier(tmp_path)
    for index in range(3):
        cache.put(KEY, index, block_of(index))
    return tmp_path


def test_nothing_stays_open_after_a_read_with_a_hold_or_without(root: Path) -> None:
    cache = tier(root)
    assert cache.get(KEY, 0) == block_of(0)
    release = cache.hold(MODEL)
    assert [cache.get(KEY, index) for index in (0, 1, 9)] == [block_of(0), block_of(1), None]
    assert open_files(root) == []
    release()


def test_a_map_without_its_data_file_is_a_miss_and_nothing_stays_open(root: Path) -> None:
    data_file(root).unlink()
    assert tier(root).get(KEY, 0) is None
    assert open_files(root) == []


def test_what_is_written_later_is_seen(root: Path) -> None:
    cache, writer = tier(root), tier(root)
    release = cache.hold(MODEL)
    assert cache.get(KEY, 7) is None
    writer.put(KEY, 7, block_of(7))
    assert cache.get(KEY, 7) == block_of(7)
    release()


def test_what_rots_is_a_miss(root: Path) -> None:
    cache = tier(root)
    release = cache.hold(MODEL)
    assert cache.get(KEY, 1) == block_of(1)
    with data_file(root).open("r+b") as file:
        file.seek((1 << 20) + 5)
        file.write(b"rot")
    assert cache.get(KEY, 1) is None
    assert cache.get(KEY, 2) == block_of(2)
    release()


def test_what_another_process_dropped_is_a_miss(root: Path) -> None:
    cache = tier(root)
    release = cache.hold(MODEL)
    assert cache.get(KEY, 0) == block_of(0)
    with another_process(root, "cache.drop(MODEL); print('dropped', flush=True)") as dropper:
        assert dropper.communicate(timeout=60)[0] == "dropped\n"
    assert cache.get(KEY, 0) is None
    assert open_files(root) == []
    cache.put(KEY, 0, block_of(50))
    assert cache.get(KEY, 0) == block_of(50)
    release()


def test_an_own_drop_is_a_miss_at_once(root: Path) -> None:
    cache = tier(root)
    release = cache.hold(MODEL)
    assert cache.get(KEY, 0) == block_of(0)
    cache.drop(MODEL)
    assert cache.get(KEY, 0) is None
    assert open_files(root) == []
    release()


def test_whatever_threads_do_at_once_bytes_are_right_and_nothing_stays_open(tmp_path: Path) -> None:
    cache = tier(tmp_path)
    keys = [CacheKey(MODEL, name) for name in ("a", "b")]
    blocks = {
        (key, index): block_of(seed, 9_000) for seed, (key, index) in enumerate((k, i) for k in keys for i in (0, 1))
    }

    def use(seed: int) -> int:
        chance, wrong = random.Random(seed), 0
        for _ in range(150):
            place = chance.choice(list(blocks))
            release = cache.hold(MODEL)
            match chance.randrange(10):
                case 0:
                    cache.drop(MODEL)
                case 1 | 2 | 3:
                    cache.put(*place, blocks[place])
                case _:
                    wrong += cache.get(*place) not in (None, blocks[place])
            release()
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(use, range(8))) == 0
    assert open_files(tmp_path) == []


def test_a_lost_cache_directory_is_a_miss(root: Path) -> None:
    cache = tier(root)
    release = cache.hold(MODEL)
    assert cache.get(KEY, 0) == block_of(0)
    shutil.rmtree(root / "models")
    assert cache.get(KEY, 0) is None
    release()
