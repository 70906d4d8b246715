import contextlib
import errno
import logging
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey
from hubfs.cache.disk import room
from tests.support.disk_cache import KEY, MODEL, block_of, data_file, map_file, tier

BLOCKS = {index: block_of(index) for index in range(3)} | {3: block_of(3, 12_345)}
WHOLE = b"".join(BLOCKS.values())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A cache directory that has KEY's four blocks."""
    root = tmp_path / "cache"
    cache = tier(root)
    for index, block in BLOCKS.items():
        assert cache.put(KEY, index, block)
    return root


def read_back(root: Path) -> dict[int, bytes | None]:
    cache = tier(root)
    return {index: cache.get(KEY, index) for index in BLOCKS}


def test_survives_a_restart(root: Path) -> None:
    assert read_back(root) == BLOCKS


def test_the_data_file_is_the_file_itself(root: Path) -> None:
    assert data_file(root).read_bytes() == WHOLE


def test_the_data_file_is_sparse_where_blocks_are_missing(tmp_path: Path) -> None:
    cache = tier(tmp_path)
    cache.put(KEY, 500, b"last")
    found = data_file(tmp_path).stat()
    assert found.st_size == 500 * BLOCK_SIZE_BYTES + 4
    assert found.st_blocks * 512 <= 64 * 1024
    assert cache.stats()["disk"].used_bytes <= 128 * 1024


def test_bytes_without_a_record_are_a_miss(root: Path) -> None:
    os.truncate(map_file(root), 16 + 2 * 12)  # as a kill between data and record leaves it
    assert read_back(root) == {0: BLOCKS[0], 1: BLOCKS[1], 2: None, 3: None}


@pytest.mark.parametrize("place", [0, 1, BLOCK_SIZE_BYTES // 2, BLOCK_SIZE_BYTES - 1])
def test_a_flipped_bit_is_a_miss_once_and_costs_that_block_alone(
    root: Path, place: int, caplog: pytest.LogCaptureFixture
) -> None:
    with data_file(root).open("r+b") as file:
        file.seek(BLOCK_SIZE_BYTES + place)
        (byte,) = file.read(1)
        file.seek(BLOCK_SIZE_BYTES + place)
        file.write(bytes([byte ^ 4]))
    assert read_back(root) == {**BLOCKS, 1: None}
    assert "corrupt" in caplog.text
    caplog.clear()
    assert read_back(root) == {**BLOCKS, 1: None}
    assert "corrupt" not in caplog.text  # its record is gone
    cache = tier(root)
    assert cache.put(KEY, 1, BLOCKS[1])
    assert cache.get(KEY, 1) == BLOCKS[1]


@pytest.mark.parametrize("size_bytes", [0, 1, BLOCK_SIZE_BYTES, BLOCK_SIZE_BYTES + 1, len(WHOLE) - 1])
def test_what_a_truncated_data_file_lost_is_a_miss(root: Path, size_bytes: int) -> None:
    os.truncate(data_file(root), size_bytes)
    whole_blocks = size_bytes // BLOCK_SIZE_BYTES
    assert read_back(root) == {index: block if index < whole_blocks else None for index, block in BLOCKS.items()}


@pytest.mark.parametrize("which", [data_file, map_file])
def test_a_deleted_file_is_a_miss_and_is_filled_again(root: Path, which: Callable[[Path], Path]) -> None:
    which(root).unlink()
    assert set(read_back(root).values()) == {None}
    cache = tier(root)
    for index, block in BLOCKS.items():
        assert cache.put(KEY, index, block)
    assert read_back(root) == BLOCKS


@pytest.mark.parametrize("damage", [b"", b"HUBFSMAP", b"\0" * 64, b"another format, quite long, with text in it" * 9])
def test_a_map_of_another_format_is_a_miss_and_begun_anew(root: Path, damage: bytes) -> None:
    map_file(root).write_bytes(damage)
    assert set(read_back(root).values()) == {None}
    cache = tier(root)
    assert cache.put(KEY, 2, BLOCKS[2])
    assert read_back(root) == {0: None, 1: None, 2: BLOCKS[2], 3: None}


def test_no_damage_whatever_is_ever_served_or_raised(root: Path) -> None:
    chance = random.Random(5)
    originals = {path: path.read_bytes() for path in (data_file(root), map_file(root))}
    for _ in range(60):
        path = chance.choice(list(originals))
        damaged = bytearray(originals[path])
        for _ in range(chance.randrange(1, 4)):
            start = chance.randrange(len(damaged))
            damaged[start : start + chance.randrange(1, 40)] = chance.randbytes(chance.randrange(60))
        path.write_bytes(damaged)
        assert all(block in (None, BLOCKS[index]) for index, block in read_back(root).items())
        for path, original in originals.items():
            path.write_bytes(original)


@pytest.mark.parametrize("which", [data_file, map_file])
def test_something_else_in_the_place_of_a_file_is_a_miss_and_taken_away(
    root: Path, which: Callable[[Path], Path]
) -> None:
    which(root).unlink()
    which(root).mkdir()
    cache = tier(root)
    assert cache.get(KEY, 0) is None
    assert cache.put(CacheKey(MODEL, "other"), 0, b"kept all the same") is True
    assert cache.put(KEY, 0, BLOCKS[0]) is True
    assert read_back(root) == {0: BLOCKS[0], 1: None, 2: None, 3: None}


def test_a_name_that_is_too_long_for_the_disk_does_not_stop_the_others(tmp_path: Path) -> None:
    cache = tier(tmp_path)
    long = CacheKey(MODEL, "n" * 300)
    assert cache.put(long, 0, b"x") is False
    assert cache.get(long, 0) is None
    assert cache.put(KEY, 0, b"y") is True


@pytest.mark.parametrize("path", ["../../../escape", "/etc/escape", "a/../../b", "", "a//b", "nul\0"])
def test_no_name_leads_out_of_the_cache_directory(tmp_path: Path, path: str) -> None:
    cache = tier(tmp_path / "cache")
    assert cache.put(CacheKey(MODEL, path), 0, b"x") is False
    assert cache.put(CacheKey(f"hub/{path}", "file"), 0, b"x") is False
    assert cache.get(CacheKey(MODEL, path), 0) is None
    cache.drop(f"hub/{path}")
    cache.hold(f"hub/{path}")()
    assert cache.cached_bytes(f"hub/{path}") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache"]


def test_a_full_disk_fails_no_read_and_is_left_alone_for_a_while(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tier(root)
    attempts = []

    def full(_fd: int, data: bytes, _offset: int) -> int:
        attempts.append(len(data))
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.pwrite", full)
        for index in range(10, 20):
            assert cache.put(KEY, index, BLOCKS[0]) is False
        assert len(attempts) == 1
    assert "No space left" in caplog.text
    assert cache.get(KEY, 10) is None
    assert cache.get(KEY, 0) == BLOCKS[0]
    assert cache.put(KEY, 10, BLOCKS[0]) is False  # still resting
    monkeypatch.setattr(room.time, "monotonic", lambda: float("inf"))
    assert cache.put(KEY, 10, BLOCKS[0]) is True


def test_a_write_that_was_cut_short_leaves_no_block(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tier(root)
    pwrite = os.pwrite
    calls = []

    def half(fd: int, data: bytes, offset: int) -> int:
        calls.append(offset)
        if len(calls) > 1:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        return pwrite(fd, bytes(data)[: len(data) // 2], offset)

    monkeypatch.setattr("os.pwrite", half)
    assert cache.put(KEY, 0, block_of(99)) is False  # over a block that was there, as a purged origin would
    assert calls[1] == BLOCK_SIZE_BYTES // 2
    assert cache.get(KEY, 0) is None


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tier(tmp_path)
    pwrite = os.pwrite
    monkeypatch.setattr("os.pwrite", lambda fd, data, offset: pwrite(fd, bytes(data)[:300_000], offset))
    assert cache.put(KEY, 0, BLOCKS[0]) is True
    assert cache.get(KEY, 0) == BLOCKS[0]


@pytest.mark.parametrize("call", ["open", "pread", "statvfs", "rename"])
def test_whatever_the_disk_does_nothing_is_raised(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    cache = tier(root)

    def broken(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched, caplog.at_level(logging.CRITICAL):
        patched.setattr(f"os.{call}", broken)
        assert cache.get(KEY, 0) == (BLOCKS[0] if call in ("statvfs", "rename") else None)
        assert cache.put(KEY, 9, BLOCKS[0]) is (call == "rename")
        cache.hold(MODEL)()
        cache.cached_bytes(MODEL)
        cache.stats()
        cache.drop(MODEL)
    assert tier(root).get(KEY, 1) is None


@pytest.mark.parametrize(("number", "kept"), [(errno.EMFILE, True), (errno.EIO, False)])
def test_a_block_that_cannot_be_read_is_given_up_but_not_for_want_of_descriptors(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int, *, kept: bool
) -> None:
    cache = tier(root)
    pread = os.pread

    def broken(fd: int, size_bytes: int, offset_bytes: int) -> bytes:
        if size_bytes == BLOCK_SIZE_BYTES:
            raise OSError(number, os.strerror(number))
        return pread(fd, size_bytes, offset_bytes)

    with monkeypatch.context() as patched:
        patched.setattr("os.pread", broken)
        assert cache.get(KEY, 0) is None
    assert (cache.get(KEY, 0) is not None) is kept


def test_a_lost_cache_directory_is_a_miss_and_is_made_anew(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tier(root)
    shutil.rmtree(root)
    assert cache.get(KEY, 0) is None
    assert cache.put(KEY, 0, BLOCKS[0]) is False
    cache.drop(MODEL)
    assert cache.cached_bytes(MODEL) == 0
    assert cache.stats()["disk"].limit_bytes
    assert not root.exists()  # nobody but the tier itself makes it again, and not at once
    monkeypatch.setattr(room.time, "monotonic", lambda: float("inf"))
    assert cache.put(KEY, 0, BLOCKS[0]) is True
    assert read_back(root)[0] == BLOCKS[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user for a moment, which takes root")
def test_files_that_may_not_be_read_are_a_miss(root: Path) -> None:
    for folder in (root, *root.parents[:2]):
        folder.chmod(0o755)
    (root / "models").chmod(0o700)
    cache = tier(root)
    os.seteuid(65534)
    try:
        assert cache.get(KEY, 0) is None
        assert cache.put(KEY, 0, BLOCKS[0]) is False
        cache.hold(MODEL)()
        cache.drop(MODEL)
        assert cache.cached_bytes(MODEL) == 0
    finally:
        os.seteuid(0)
    assert read_back(root) == BLOCKS


def test_drop_leaves_nothing_behind(root: Path) -> None:
    tier(root).drop(MODEL)
    assert sorted(path.relative_to(root).as_posix() for path in root.rglob("*")) == ["CACHEDIR.TAG", "models", "trash"]


def test_drop_works_after_somebody_deleted_the_trash(root: Path) -> None:
    (root / "trash").rmdir()
    tier_before = tier(root)
    (root / "trash").rmdir()
    tier_before.drop(MODEL)
    assert set(read_back(root).values()) == {None}


def test_what_a_kill_left_in_the_trash_goes_at_the_next_start(root: Path) -> None:
    (root / "models").rename(root / "trash" / "half-deleted")
    tier(root)
    assert not list((root / "trash").iterdir())


def test_what_is_not_ours_is_left_alone(root: Path) -> None:
    strangers = [root / "notes.txt", root / "0123abcd" / "saved_model.pb", root / "models" / "README"]
    for stranger in strangers:
        stranger.parent.mkdir(exist_ok=True)
        stranger.write_text("keep me", encoding="ascii")
    cache = tier(root, limit_bytes=BLOCK_SIZE_BYTES)
    cache.put(CacheKey("hub/a/b/1@x", "f"), 0, block_of(7, 500_000))
    assert cache.get(KEY, 0) is None  # evicted
    assert [stranger.read_text(encoding="ascii") for stranger in strangers] == ["keep me"] * 3


def test_a_map_is_not_believed_of_a_data_file_that_was_made_anew(tmp_path: Path) -> None:
    cache = tier(tmp_path)
    with contextlib.ExitStack() as stack:
        stack.callback(cache.hold(MODEL))
        assert cache.put(KEY, 0, block_of(0))
        assert cache.get(KEY, 0) == block_of(0)
        data_file(tmp_path).unlink()  # somebody tidied up, and left the maps
        assert cache.put(KEY, 1, block_of(1))
        assert cache.get(KEY, 1) == block_of(1)
        assert cache.get(KEY, 0) is None
        assert cache.put(KEY, 0, block_of(0))
        assert cache.get(KEY, 0) == block_of(0)
