"""What was read and written is soon no longer in the page cache; asked of the kernel by mincore."""

import ctypes
import mmap
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.page_cache import DataPages, give_back
from hubfs.cache.disk.room import DiskSettings
from hubfs.cache.disk.store import DiskStore
from hubfs.cache.disk.tier import DiskTier
from hubfs.errors import Cancelled
from hubfs.waiting import Cancellation
from tests.support.disk_cache import KEY, PLENTY_BYTES, block_of, data_file
from tests.support.waiting import eventually

BLOCKS = 4


def resident_bytes(path: Path) -> int:
    """How much of a file is in the page cache."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    size_bytes = path.stat().st_size
    pages = -(-size_bytes // mmap.PAGESIZE)
    answer = (ctypes.c_ubyte * pages)()
    fd = os.open(path, os.O_RDONLY)
    try:
        address = libc.mmap(None, ctypes.c_size_t(size_bytes), mmap.PROT_READ, mmap.MAP_SHARED, fd, ctypes.c_long(0))
        assert libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(size_bytes), answer) == 0
        libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(size_bytes))
    finally:
        os.close(fd)
    return sum(page & 1 for page in answer) * mmap.PAGESIZE


def sweepers() -> int:
    return sum(thread.name == "page cache" for thread in threading.enumerate())


@pytest.fixture
def cancellation() -> Iterator[Cancellation]:
    cancellation = Cancellation()
    yield cancellation
    cancellation.cancel()
    assert eventually(lambda: not sweepers())


def tier_with_pages(root: Path, cancellation: Cancellation, after_s: float) -> DiskTier:
    layout = CacheLayout(root)
    layout.prepare()
    pages = DataPages(layout, cancellation, after_s=after_s)
    return DiskTier(DiskStore(layout), DiskSettings(PLENTY_BYTES, 0), pages)


def fill(cache: DiskTier) -> None:
    for index in range(BLOCKS):
        assert cache.put(KEY, index, block_of(index))


@pytest.fixture(autouse=True)
def _a_real_disk(tmp_path: Path) -> None:
    """On tmpfs the page cache is the file."""
    (tmp_path / "probe").write_bytes(bytes(BLOCK_SIZE_BYTES))
    give_back(str(tmp_path / "probe"))
    if resident_bytes(tmp_path / "probe"):
        pytest.skip("the temporary directory is on a file system that lives in memory")


@pytest.mark.slow
def test_what_was_written_is_given_back_and_is_still_there(tmp_path: Path, cancellation: Cancellation) -> None:
    cache = tier_with_pages(tmp_path, cancellation, after_s=2.0)
    fill(cache)
    assert resident_bytes(data_file(tmp_path)) == BLOCKS * BLOCK_SIZE_BYTES
    assert eventually(lambda: resident_bytes(data_file(tmp_path)) == 0)
    assert [cache.get(KEY, index) for index in range(BLOCKS)] == [block_of(index) for index in range(BLOCKS)]


def test_what_was_read_is_given_back(tmp_path: Path, cancellation: Cancellation) -> None:
    cache = tier_with_pages(tmp_path, cancellation, after_s=0.1)
    fill(cache)
    assert eventually(lambda: not sweepers())
    for _ in range(2):  # each use has a sweep of its own
        assert cache.get(KEY, 2) == block_of(2)
        assert eventually(lambda: resident_bytes(data_file(tmp_path)) == 0)


def test_what_the_kernel_serves_itself_stays(tmp_path: Path, cancellation: Cancellation) -> None:
    layout = CacheLayout(tmp_path)
    layout.prepare()
    served = {KEY}
    pages = DataPages(layout, cancellation, served=served.__contains__, after_s=0.01)
    cache = DiskTier(DiskStore(layout), DiskSettings(PLENTY_BYTES, 0), pages)
    fill(cache)
    assert eventually(lambda: not sweepers())
    assert resident_bytes(data_file(tmp_path)) == BLOCKS * BLOCK_SIZE_BYTES
    served.clear()
    assert cache.get(KEY, 0) == block_of(0)
    assert eventually(lambda: resident_bytes(data_file(tmp_path)) == 0)


def test_until_then_it_stays(tmp_path: Path, cancellation: Cancellation) -> None:
    cache = tier_with_pages(tmp_path, cancellation, after_s=60)
    fill(cache)
    cache.get(KEY, 0)
    assert resident_bytes(data_file(tmp_path)) == BLOCKS * BLOCK_SIZE_BYTES
    assert sweepers() == 1


@pytest.mark.slow
def test_the_thread_ends_when_there_is_nothing_to_do_and_begins_anew(
    tmp_path: Path, cancellation: Cancellation
) -> None:
    cache = tier_with_pages(tmp_path, cancellation, after_s=1.0)
    assert sweepers() == 0
    for index in range(2):
        cache.put(KEY, index, block_of(index))
        assert sweepers() == 1
        assert eventually(lambda: not sweepers())


def test_a_model_that_was_dropped_meanwhile_does_not_matter(tmp_path: Path, cancellation: Cancellation) -> None:
    cache = tier_with_pages(tmp_path, cancellation, after_s=0.1)
    fill(cache)
    cache.drop(KEY.model)
    assert eventually(lambda: not sweepers())
    fill(cache)
    assert eventually(lambda: resident_bytes(data_file(tmp_path)) == 0)


def test_giving_back_ends_with_the_mount(tmp_path: Path, cancellation: Cancellation) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(BLOCK_SIZE_BYTES))
    cancellation.cancel()
    with pytest.raises(Cancelled):
        give_back(str(path), cancellation.check)
    assert resident_bytes(path) == BLOCK_SIZE_BYTES


def test_a_small_block_is_left_to_the_kernel(tmp_path: Path, cancellation: Cancellation) -> None:
    cache = tier_with_pages(tmp_path, cancellation, after_s=60)
    assert cache.put(KEY, 0, b"small")
    assert cache.get(KEY, 0) == b"small"
    assert not sweepers()
    fill(cache)
    assert sweepers() == 1
