"""Files stay open while their model is held, and nobody reads from a file that was taken away."""

import contextlib
import os
import random
import resource
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hubfs.cache.block_cache import CacheKey
from hubfs.cache.disk.descriptors import Descriptors
from hubfs.cache.disk.layout import CacheLayout
from tests.support.disk_cache import KEY, MODEL, another_process, block_of, data_file, map_file, tier


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


def test_without_a_hold_nothing_stays_open(root: Path) -> None:
    cache = tier(root)
    assert cache.get(KEY, 0) == block_of(0)
    assert open_files(root) == []


def test_while_a_model_is_held_its_files_are_opened_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tier(root)
    release, other = cache.hold(MODEL), cache.hold(MODEL)
    assert cache.get(KEY, 0) == block_of(0)
    assert open_files(root) == sorted(map(str, (map_file(root), data_file(root))))
    with monkeypatch.context() as patched:
        patched.delattr("os.open")
        assert [cache.get(KEY, index) for index in (1, 2)] == [block_of(1), block_of(2)]
    release()
    release()
    assert len(open_files(root)) == 2
    other()
    assert open_files(root) == []


def test_what_is_written_later_is_seen_through_open_files(root: Path) -> None:
    cache, writer = tier(root), tier(root)
    release = cache.hold(MODEL)
    assert cache.get(KEY, 7) is None
    writer.put(KEY, 7, block_of(7))
    assert cache.get(KEY, 7) == block_of(7)
    release()


def test_what_rots_under_open_files_is_a_miss(root: Path) -> None:
    cache = tier(root)
    release = cache.hold(MODEL)
    assert cache.get(KEY, 1) == block_of(1)
    with data_file(root).open("r+b") as file:
        file.seek((1 << 20) + 5)
        file.write(b"rot")
    assert cache.get(KEY, 1) is None
    assert cache.get(KEY, 2) == block_of(2)
    release()


def test_what_another_process_dropped_is_a_miss_and_is_closed(root: Path) -> None:
    cache = tier(root)
    release = cache.hold(MODEL)
    assert cache.get(KEY, 0) == block_of(0)
    with another_process(root, "cache.drop(MODEL); print('dropped', flush=True)") as dropper:
        assert dropper.communicate(timeout=30)[0] == "dropped\n"
    assert cache.get(KEY, 0) is None
    assert open_files(root) == []
    cache.put(KEY, 0, block_of(50))
    assert cache.get(KEY, 0) == block_of(50)
    release()


def test_an_own_drop_closes_at_once(root: Path) -> None:
    cache = tier(root)
    release = cache.hold(MODEL)
    assert cache.get(KEY, 0) == block_of(0)
    cache.drop(MODEL)
    assert open_files(root) == []
    release()


def test_not_more_than_so_many_files_stay_open_the_last_used_ones(tmp_path: Path) -> None:
    keys = [CacheKey(MODEL, f"file-{number}") for number in range(5)]
    cache = tier(tmp_path)
    for key in keys:
        cache.put(key, 0, b"block")
    descriptors = Descriptors(CacheLayout(tmp_path), limit=3)
    descriptors.hold(MODEL)
    for key in (*keys[:3], keys[0], *keys[3:]):
        descriptors.give_back(descriptors.borrow(key))
        assert len(descriptors) <= 3
    assert {Path(name).name for name in open_files(tmp_path)} == {"file-0", "file-3", "file-4"}
    descriptors.release(MODEL)
    assert open_files(tmp_path) == []


def test_a_file_that_is_being_read_is_closed_by_its_last_reader(root: Path) -> None:
    descriptors = Descriptors(CacheLayout(root))
    descriptors.hold(MODEL)
    one, two = descriptors.borrow(KEY), descriptors.borrow(KEY)
    assert one is two
    descriptors.release(MODEL)
    assert one.bytes_at(0, 10) == block_of(0)[:10]
    descriptors.give_back(one)
    assert len(open_files(root)) == 2
    descriptors.give_back(two)
    assert open_files(root) == []


def test_a_map_without_its_data_file_is_not_kept(root: Path) -> None:
    data_file(root).unlink()
    descriptors = Descriptors(CacheLayout(root))
    descriptors.hold(MODEL)
    opened = descriptors.borrow(KEY)
    assert opened.bytes_at(0, 10) == b""
    descriptors.give_back(opened)
    assert open_files(root) == []


def test_whatever_threads_do_at_once_bytes_are_right_and_all_is_closed(tmp_path: Path) -> None:
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


def test_a_lost_cache_directory_is_a_miss_for_open_files_too(root: Path) -> None:
    cache = tier(root)
    release = cache.hold(MODEL)
    assert cache.get(KEY, 0) == block_of(0)
    shutil.rmtree(root / "models")
    assert cache.get(KEY, 0) is None
    release()


def test_where_a_process_may_have_few_descriptors_fewer_files_stay_open(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tier(root)
    keys = [CacheKey(MODEL, f"few/{number}") for number in range(12)]
    for key in keys:
        assert cache.put(key, 0, b"block")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 4096))
    descriptors = Descriptors(CacheLayout(root))
    descriptors.hold(MODEL)
    for key in keys:
        descriptors.give_back(descriptors.borrow(key))
    assert len(descriptors) == 8
    descriptors.release(MODEL)
