"""A cache directory that cannot be used: models are read without it, and it is used again once it can be."""

import contextlib
import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hubfs.cache.block_cache import CacheKey
from hubfs.cache.disk import room
from hubfs.cache.disk.indexes import IndexStore
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.tier import DiskTier
from tests.support.disk_cache import (
    KEY,
    MODEL,
    another_user,
    block_of,
    data_file,
    file_system,
    let_others_in,
    map_file,
    tier,
)

BLOCK = block_of(1)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lets the time pass for which a tier rests that met an error."""
    now_s = [room.time.monotonic()]
    monkeypatch.setattr(room.time, "monotonic", lambda: now_s[0])

    def pass_by() -> None:
        now_s[0] += 11

    return pass_by


def use_in_every_way(cache: DiskTier, root: Path) -> None:
    """Nothing is raised, nothing is there."""
    store = IndexStore(CacheLayout(root))
    assert cache.get(KEY, 0) is None
    assert cache.has(KEY, 0) is False
    assert cache.put(KEY, 0, BLOCK) is False
    cache.hold(MODEL)()
    cache.drop(MODEL)
    store.save(MODEL, {"entries": []})
    store.save_file(MODEL, b"spans")
    assert store.load("tfhub.dev/google/spice/2") is None
    assert store.load_file(MODEL) is None
    assert list(store.known("tfhub.dev")) == []
    assert cache.cached_bytes(MODEL) == 0


def problem(cache: DiskTier) -> str | None:
    return cache.stats()["disk"].problem


@pytest.mark.parametrize("below", ["", "models", "trash"])
def test_a_file_in_the_place_of_a_directory_is_said_and_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, later: Callable[[], None], below: str
) -> None:
    root = tmp_path / "cache"
    (root / below).parent.mkdir(exist_ok=True)
    (root / below).write_text("mine", encoding="ascii")
    cache = tier(root)
    assert "cannot be used" in caplog.text
    assert problem(cache) in ("File exists", "Not a directory")
    assert cache.put(KEY, 0, BLOCK) is False
    assert (root / below).read_text(encoding="ascii") == "mine"
    (root / below).unlink()
    assert cache.put(KEY, 0, BLOCK) is False  # it is not asked for every block
    later()
    assert cache.put(KEY, 0, BLOCK) is True
    assert problem(cache) is None
    assert cache.get(KEY, 0) == BLOCK


def test_a_file_in_the_place_of_the_whole_is_a_miss_in_every_way(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("mine", encoding="ascii")
    use_in_every_way(tier(tmp_path / "cache"), tmp_path / "cache")


def test_a_directory_that_can_only_be_read_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, later: Callable[[], None]
) -> None:
    with file_system(tmp_path / "disk") as root:
        before = tier(root)
        for index in range(3):
            assert before.put(KEY, index, block_of(index))
        IndexStore(CacheLayout(root)).save(MODEL, {"entries": []})
        with data_file(root).open("r+b") as file:
            file.write(b"damage")
        subprocess.run(["mount", "-o", "remount,ro", root], check=True)
        cache = tier(root)
        release = cache.hold(MODEL)
        assert problem(cache) == "Read-only file system"
        assert [cache.get(KEY, index) for index in range(3)] == [None, block_of(1), block_of(2)]
        assert IndexStore(CacheLayout(root)).load("tfhub.dev/google/spice/2") == {"entries": []}
        assert [cache.put(KEY, index, BLOCK) for index in range(5)] == [False] * 5
        cache.drop(MODEL)
        release()
        assert sum("Read-only" in message and "cannot be used" in message for message in caplog.messages) == 1
        subprocess.run(["mount", "-o", "remount,rw", root], check=True)
        later()
        assert cache.get(KEY, 0) is None
        assert cache.put(KEY, 0, block_of(0)) is True
        assert [cache.get(KEY, index) for index in range(3)] == [block_of(index) for index in range(3)]


def test_a_disk_that_is_full_from_the_start_is_used_once_there_is_room(
    tmp_path: Path, later: Callable[[], None]
) -> None:
    with file_system(tmp_path / "disk") as root:
        with (root / "ballast").open("wb") as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        cache = tier(root)
        assert cache.put(KEY, 0, BLOCK) is False
        use_in_every_way(cache, root)
        (root / "ballast").unlink()
        later()
        assert cache.put(KEY, 0, BLOCK) is True
        assert cache.get(KEY, 0) == BLOCK


def test_a_directory_without_rights_for_us_is_a_miss_and_used_once_there_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, later: Callable[[], None]
) -> None:
    let_others_in(tmp_path)
    root = tmp_path / "cache"
    root.mkdir(mode=0o700)
    with another_user():
        cache = tier(root)
        assert problem(cache) == "Permission denied"
        use_in_every_way(cache, root)
    assert "cannot be used" in caplog.text
    os.chown(root, 65534, 65534)
    later()
    with another_user():
        assert cache.put(KEY, 0, BLOCK) is True
        assert cache.get(KEY, 0) == BLOCK


def test_a_directory_that_vanished_and_that_another_made_again_is_shared_with_it(
    tmp_path: Path, later: Callable[[], None]
) -> None:
    root = tmp_path / "cache"
    cache = tier(root)
    release = cache.hold(MODEL)
    assert cache.put(KEY, 0, BLOCK)
    shutil.rmtree(root)
    assert cache.get(KEY, 0) is None
    other = tier(root)
    assert other.put(KEY, 1, BLOCK)
    assert cache.get(KEY, 1) == BLOCK
    later()
    assert cache.put(KEY, 2, BLOCK)
    assert other.get(KEY, 2) == BLOCK
    release()


def test_a_failing_disk_is_a_miss_and_said_once_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tier(tmp_path / "cache")
    for index in range(20):
        assert cache.put(KEY, index, BLOCK)

    def fails(*_args: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr("os.pread", fails)
        assert not any(cache.get(KEY, index) for index in range(20))
        release = cache.hold(MODEL)
        assert not any(cache.get(KEY, index) for index in range(20))
        release()
    assert sum("cannot read" in message for message in caplog.messages) == 1
    assert all(cache.get(KEY, index) == BLOCK for index in range(20))


def test_files_that_may_not_be_opened_are_a_miss_and_replaced(tmp_path: Path) -> None:
    let_others_in(tmp_path)
    root = tmp_path / "cache"
    root.mkdir()
    os.chown(root, 65534, 65534)
    with another_user():
        cache = tier(root)
        assert cache.put(KEY, 0, BLOCK)
        map_file(root).chmod(0)
        data_file(root).chmod(0)
        assert cache.get(KEY, 0) is None
        assert cache.put(KEY, 0, BLOCK) is True
        assert cache.get(KEY, 0) == BLOCK


@pytest.mark.parametrize("above", ["tfhub.dev", "tfhub.dev/google", MODEL, f"{MODEL}/data", f"{MODEL}/blocks"])
@pytest.mark.parametrize("make", [Path.touch, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_whatever_lies_in_the_place_of_a_directory_of_a_model_is_taken_away(
    tmp_path: Path, above: str, make: Callable[[Path], None]
) -> None:
    cache = tier(tmp_path / "cache")
    path = tmp_path / "cache" / "models" / above
    path.parent.mkdir(parents=True, exist_ok=True)
    make(path)
    assert cache.get(KEY, 0) is None
    assert cache.put(KEY, 0, BLOCK) is True
    assert cache.get(KEY, 0) == BLOCK
    assert not list((tmp_path / "cache" / "trash").iterdir())


def test_what_is_in_the_way_again_and_again_is_not_taken_away_for_every_block(tmp_path: Path) -> None:
    cache = tier(tmp_path / "cache")
    kept = []
    for index in range(4):
        data_file(tmp_path / "cache").unlink(missing_ok=True)
        data_file(tmp_path / "cache").mkdir(parents=True)
        kept.append(cache.put(KEY, index, BLOCK))
        shutil.rmtree(data_file(tmp_path / "cache"), ignore_errors=True)
    assert kept == [True, False, False, False]
    assert cache.put(CacheKey("hub/a/b/1@x", "f"), 0, BLOCK) is True


@pytest.mark.parametrize("call", ["stat", "fstat", "open", "rename"])
def test_a_call_of_the_system_that_fails_is_no_error_and_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Whichever it is: the first, the second … that the tier makes."""
    real, calls, failing = getattr(os, call), 0, 0

    def fails(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return real(*arguments, **options)

    def use() -> None:
        cache = tier(tmp_path / "cache")
        release = cache.hold(MODEL)
        cache.put(KEY, 0, b"block")
        assert cache.get(KEY, 0) in (None, b"block")
        cache.drop(MODEL)
        release()

    use()
    open_before = len(os.listdir("/proc/self/fd"))
    while calls >= failing:
        calls, failing = 0, failing + 1
        with monkeypatch.context() as patched:
            patched.setattr(os, call, fails)
            use()
        assert len(os.listdir("/proc/self/fd")) == open_before, f"{call} number {failing}"
    assert failing > 1


def test_what_cannot_be_renamed_away_is_dropped_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "cache"
    cache = tier(root)
    release = cache.hold(MODEL)
    assert cache.put(KEY, 0, BLOCK)
    assert cache.get(KEY, 0) == BLOCK
    IndexStore(CacheLayout(root)).save(MODEL, {"entries": []})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("os.rename", full)
        cache.drop(MODEL)
    assert cache.get(KEY, 0) is None
    assert IndexStore(CacheLayout(root)).load("tfhub.dev/google/spice/2") is None
    assert cache.put(KEY, 0, BLOCK)
    assert tier(root).get(KEY, 0) == BLOCK
    release()
