"""Which files the kernel may read itself: whole ones, verified once, and again when they changed."""

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hubfs.blobs.checksums import crc32c
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey
from hubfs.cache.disk import whole as module
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.store import DiskStore
from hubfs.cache.disk.tier import DiskTier
from hubfs.cache.disk.whole import WholeFiles
from hubfs.waiting import Cancellation
from tests.support.disk_cache import KEY, MODEL, block_of, spoil, tier
from tests.support.waiting import eventually

SIZE_BYTES = 2 * BLOCK_SIZE_BYTES + 4321
BLOCKS = [block_of(0), block_of(1), block_of(2, 4321)]
OTHER = CacheKey("tfhub.dev/google/other/1@abc", KEY.path)
PATIENCE_S = 60.0


class Checksums:
    """Counts the blocks that are verified."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = 0
        monkeypatch.setattr(module, "crc32c", self._count)

    def _count(self, data: bytes) -> int:
        self.made += 1
        return crc32c(data)


@pytest.fixture
def checksums(monkeypatch: pytest.MonkeyPatch) -> Checksums:
    return Checksums(monkeypatch)


@pytest.fixture
def layout(tmp_path: Path) -> CacheLayout:
    return CacheLayout(tmp_path)


@pytest.fixture
def cache(tmp_path: Path) -> DiskTier:
    return tier(tmp_path)


@pytest.fixture
def whole(layout: CacheLayout) -> WholeFiles:
    return of_a_daemon(layout)


def of_a_daemon(layout: CacheLayout) -> WholeFiles:
    """As a daemon that starts now has it."""
    return WholeFiles(DiskStore(CacheLayout(layout.root)), Cancellation())


def fill(cache: DiskTier, key: CacheKey = KEY) -> None:
    for index, block in enumerate(BLOCKS):
        assert cache.put(key, index, block)


def content(whole: WholeFiles, key: CacheKey = KEY, size_bytes: int = SIZE_BYTES) -> bytes | None:
    """What the descriptor reads, if there is one."""
    fd = whole.opened(key, size_bytes, PATIENCE_S)
    if fd is None:
        return None
    with os.fdopen(fd, "rb") as file:
        return file.read()


def test_a_file_is_whole_once_its_last_block_is_there(cache: DiskTier, whole: WholeFiles) -> None:
    for index in (2, 0, 1):
        assert content(whole) is None
        assert not whole.is_right(KEY)
        cache.put(KEY, index, BLOCKS[index])
    assert content(whole) == b"".join(BLOCKS)
    assert whole.is_right(KEY)


def test_a_file_in_the_background_is_verified_as_one_at_once(
    cache: DiskTier, whole: WholeFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE_BYTES", 0)
    fill(cache)
    assert content(whole) == b"".join(BLOCKS)


def test_nothing_can_be_written_by_the_descriptor(cache: DiskTier, whole: WholeFiles) -> None:
    fill(cache)
    fd = whole.opened(KEY, SIZE_BYTES, PATIENCE_S)
    assert fd is not None
    try:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.pwrite(fd, b"x", 0)
    finally:
        os.close(fd)


@pytest.mark.parametrize("size_bytes", [0, 1, SIZE_BYTES - 1, SIZE_BYTES + 1, SIZE_BYTES + BLOCK_SIZE_BYTES])
def test_a_file_of_another_size_is_not_whole(cache: DiskTier, whole: WholeFiles, size_bytes: int) -> None:
    fill(cache)
    assert content(whole, size_bytes=size_bytes) is None
    assert content(whole) is not None
    assert content(whole, size_bytes=size_bytes) is None


def test_what_is_not_there_is_not_whole_and_asking_makes_nothing(layout: CacheLayout, whole: WholeFiles) -> None:
    for model in ("hub/never/heard/of/1@ffff", "hub/../../etc@x", ""):
        assert content(whole, CacheKey(model, "f"), 5) is None
    assert [*layout.root.iterdir()] == []


def test_bytes_that_were_never_written_are_no_part_of_a_whole_file(
    cache: DiskTier, layout: CacheLayout, whole: WholeFiles
) -> None:
    """The data file has its full size as soon as its last block is there."""
    cache.put(KEY, 2, BLOCKS[2])
    assert layout.data(KEY).stat().st_size == SIZE_BYTES
    assert content(whole) is None


def test_a_damaged_file_is_not_whole_until_it_was_fetched_again(
    cache: DiskTier, layout: CacheLayout, whole: WholeFiles
) -> None:
    fill(cache)
    spoil(layout.data(KEY))
    assert content(whole) is None
    assert [one.block_index for one in DiskStore(layout).records(KEY)] == [0, 2]
    cache.put(KEY, 1, BLOCKS[1])
    assert content(whole) == b"".join(BLOCKS)


def test_a_file_is_verified_once_in_the_life_of_a_daemon(
    cache: DiskTier, layout: CacheLayout, whole: WholeFiles, checksums: Checksums
) -> None:
    fill(cache)
    for _ in range(5):
        assert content(whole) is not None
    shutil.rmtree(layout.seal(KEY).parents[1])
    assert content(whole) is not None
    assert checksums.made == len(BLOCKS)


def test_a_file_that_is_not_whole_is_looked_at_once(
    cache: DiskTier, whole: WholeFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.put(KEY, 2, BLOCKS[2])
    assert content(whole) is None
    monkeypatch.setattr(DiskStore, "records", lambda *_: pytest.fail("its map was read again"))
    assert content(whole) is None


def test_openers_at_the_same_time_have_it_verified_once(
    cache: DiskTier, whole: WholeFiles, checksums: Checksums, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE_BYTES", 0)
    fill(cache)
    found: list[bytes | None] = []
    threads = [threading.Thread(target=lambda: found.append(content(whole))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"".join(BLOCKS)] * 8
    assert checksums.made <= 2 * len(BLOCKS)  # one may come between the end of the flight and its own look


def test_a_daemon_that_starts_anew_is_spared_that_until_the_machine_does(
    cache: DiskTier, layout: CacheLayout, whole: WholeFiles, checksums: Checksums, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(cache)
    assert content(whole) is not None
    assert content(of_a_daemon(layout)) is not None
    assert checksums.made == len(BLOCKS)
    monkeypatch.setattr(module, "_boot", lambda: "another")
    assert content(of_a_daemon(layout)) is not None
    assert checksums.made == 2 * len(BLOCKS)


def test_without_a_name_for_the_run_of_the_machine_there_are_no_seals(
    cache: DiskTier, layout: CacheLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_boot", lambda: None)
    fill(cache)
    assert content(of_a_daemon(layout)) is not None
    assert not layout.seal(KEY).exists()


def test_a_file_that_was_written_to_since_is_verified_anew(
    cache: DiskTier, layout: CacheLayout, whole: WholeFiles
) -> None:
    """Though it has its size and its time of before."""
    fill(cache)
    assert content(whole) is not None
    spoil(layout.data(KEY))
    for one in (whole, of_a_daemon(layout)):
        assert content(one) is None


@pytest.mark.parametrize("change", [os.utime, lambda path: path.chmod(0o400)])
def test_a_file_that_only_looks_changed_is_verified_again_and_is_whole(
    cache: DiskTier, layout: CacheLayout, whole: WholeFiles, checksums: Checksums, change: Callable[[Path], None]
) -> None:
    fill(cache)
    assert content(whole) is not None
    change(layout.data(KEY))
    assert content(whole) == b"".join(BLOCKS)
    assert checksums.made == 2 * len(BLOCKS)


def test_another_file_in_its_place_is_verified_for_itself(
    cache: DiskTier, layout: CacheLayout, whole: WholeFiles, checksums: Checksums
) -> None:
    fill(cache)
    assert content(whole) is not None
    copy = layout.data(KEY).with_name("copy")
    shutil.copy2(layout.data(KEY), copy)
    copy.replace(layout.data(KEY))
    assert content(whole) == b"".join(BLOCKS)
    assert checksums.made == 2 * len(BLOCKS)


def test_a_reader_who_finds_damage_ends_the_seal(cache: DiskTier, layout: CacheLayout, whole: WholeFiles) -> None:
    fill(cache)
    assert content(whole) is not None
    spoil(layout.data(KEY))
    assert cache.get(KEY, 1) is None
    assert not layout.seal(KEY).exists()
    assert content(whole) is None


def test_a_seal_of_another_file_or_model_does_not_count(cache: DiskTier, layout: CacheLayout) -> None:
    for key in (KEY, OTHER):
        fill(cache, key)
        spoil(layout.data(key))
    layout.seal(OTHER).parent.mkdir(parents=True)
    layout.seal(KEY).parent.mkdir(parents=True)
    for key, text in ((KEY, b"{}"), (OTHER, b"\xff" * 100)):
        layout.seal(key).write_bytes(text)
        assert content(of_a_daemon(layout), key) is None


def test_seals_go_with_the_blocks(cache: DiskTier, layout: CacheLayout, whole: WholeFiles) -> None:
    fill(cache)
    assert content(whole) is not None
    assert layout.seal(KEY).exists()
    assert DiskStore(layout).remove(MODEL, blocks_only=True)
    assert not layout.seal(KEY).exists()
    assert content(whole) is None


def test_an_evicted_file_is_read_on_by_its_descriptor(cache: DiskTier, layout: CacheLayout, whole: WholeFiles) -> None:
    fill(cache)
    fd = whole.opened(KEY, SIZE_BYTES, PATIENCE_S)
    assert fd is not None
    with os.fdopen(fd, "rb") as file:
        cache.drop(MODEL)
        assert content(whole) is None
        assert not whole.is_right(KEY), "its pages would stay, though nobody is served from them"
        assert file.read() == b"".join(BLOCKS)


def test_a_disk_that_keeps_no_seal_has_files_that_are_verified_by_each_daemon(
    cache: DiskTier, layout: CacheLayout, checksums: Checksums
) -> None:
    fill(cache)
    (layout.model(MODEL) / "seals").write_bytes(b"in the way")
    for _ in range(2):
        assert content(of_a_daemon(layout)) == b"".join(BLOCKS)
    assert checksums.made == 2 * len(BLOCKS)


def test_who_has_no_patience_goes_on_and_the_next_one_finds_it_verified(
    cache: DiskTier, layout: CacheLayout, whole: WholeFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE_BYTES", 0)
    fill(cache)
    goes_on = threading.Event()
    monkeypatch.setattr(module, "crc32c", lambda data: goes_on.wait(60) and crc32c(data))
    assert whole.opened(KEY, SIZE_BYTES, 0.0) is None
    goes_on.set()
    assert eventually(lambda: whole.is_right(KEY))
    assert content(whole) == b"".join(BLOCKS)


def test_the_end_of_the_mount_ends_it(
    cache: DiskTier, layout: CacheLayout, monkeypatch: pytest.MonkeyPatch, checksums: Checksums
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE_BYTES", 0)
    fill(cache)
    cancellation = Cancellation()
    whole = WholeFiles(DiskStore(layout), cancellation)
    cancellation.cancel()
    assert whole.opened(KEY, SIZE_BYTES, PATIENCE_S) is None
    assert checksums.made == 0
