"""How the disk tier keeps to its limit, and what it evicts for that."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hubfs.blobs.blob import MemoryBlob
from hubfs.blobs.checksums import Checksum
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey
from hubfs.cache.disk import in_use
from hubfs.cache.disk import store as disk
from hubfs.cache.disk import tier as disk_tier
from hubfs.cache.disk.in_use import InUse
from hubfs.cache.disk.indexes import IndexStore
from hubfs.cache.disk.layout import CacheLayout
from hubfs.model_id import ModelId
from hubfs.sources.files import FilesSource, Manifest, RemoteFile
from hubfs.sources.source import Form, key_of
from tests.support.disk_cache import MODEL, another_process, block_of, file_system, tier

BLOCK = block_of(1)
SLACK_BYTES = BLOCK_SIZE_BYTES // 4
"""The maps, and what a file system rounds up."""


def model(number: int) -> str:
    return f"hub/a/m/{number}@x"


def key(number: int) -> CacheKey:
    return CacheKey(model(number), "f")


def disk_usage_bytes(root: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in (root / "models").rglob("*") if path.is_file())


def used_at(root: Path, number: int, time_s: int) -> None:
    os.utime(CacheLayout(root).in_use(model(number)), (time_s, time_s))


def test_the_least_recently_used_model_goes_first(tmp_path: Path) -> None:
    cache = tier(tmp_path, 4 * BLOCK_SIZE_BYTES)
    for number, time_s in ((1, 300), (2, 100), (3, 200)):
        cache.hold(model(number))()
        cache.put(key(number), 0, BLOCK)
        used_at(tmp_path, number, time_s)
    cache.put(key(4), 0, BLOCK)
    assert [cache.get(key(number), 0) is not None for number in (1, 2, 3, 4)] == [True, False, True, True]


def test_a_hold_and_a_hit_are_uses(tmp_path: Path) -> None:
    writer = tier(tmp_path)
    for number in (1, 2, 3):
        writer.hold(model(number))()
        writer.put(key(number), 0, BLOCK)
        used_at(tmp_path, number, 1000)
    cache = tier(tmp_path, 4 * BLOCK_SIZE_BYTES)
    assert cache.get(key(1), 0) == BLOCK
    cache.hold(model(3))()
    cache.put(key(4), 0, BLOCK)
    assert [cache.get(key(number), 0) is not None for number in (1, 2, 3, 4)] == [True, False, True, True]


def test_no_put_exceeds_the_limit(tmp_path: Path) -> None:
    limit_bytes = 5 * BLOCK_SIZE_BYTES
    cache = tier(tmp_path, limit_bytes)
    for number in range(20):
        for index in range(number % 3 + 1):
            assert cache.put(key(number), index, BLOCK)
            assert disk_usage_bytes(tmp_path) <= limit_bytes + SLACK_BYTES
    used_bytes = cache.stats()["disk"].used_bytes
    assert abs(used_bytes - disk_usage_bytes(tmp_path)) <= SLACK_BYTES


@pytest.mark.slow
def test_many_small_files_do_not_exceed_the_limit(tmp_path: Path) -> None:
    limit_bytes = 2 * BLOCK_SIZE_BYTES
    cache = tier(tmp_path, limit_bytes)
    for number in range(30):
        for file in range(20):
            cache.put(CacheKey(model(number), f"assets/{file}"), 0, b"small")
        assert disk_usage_bytes(tmp_path) <= limit_bytes + SLACK_BYTES


def test_writers_side_by_side_do_not_exceed_the_limit(tmp_path: Path) -> None:
    limit_bytes = 6 * BLOCK_SIZE_BYTES
    cache = tier(tmp_path, limit_bytes)
    release = cache.hold(model(0))  # nothing can be evicted
    with ThreadPoolExecutor(16) as pool:
        kept = sum(pool.map(lambda index: cache.put(key(0), index, BLOCK), range(32)))
    release()
    assert 0 < kept <= 6
    assert disk_usage_bytes(tmp_path) <= limit_bytes + SLACK_BYTES


def test_two_mounts_share_one_limit(tmp_path: Path) -> None:
    limit_bytes = 8 * BLOCK_SIZE_BYTES
    mounts = [tier(tmp_path, limit_bytes) for _ in range(2)]
    for mount in mounts:
        mount.stats()  # both have counted an empty directory
    for number in range(16):
        mounts[number % 2].put(key(number), 0, BLOCK)
        assert disk_usage_bytes(tmp_path) <= limit_bytes + BLOCK_SIZE_BYTES + SLACK_BYTES


def test_a_held_model_is_not_evicted(tmp_path: Path) -> None:
    cache = tier(tmp_path, 3 * BLOCK_SIZE_BYTES)
    release = cache.hold(model(1))
    cache.put(key(1), 0, BLOCK)
    used_at(tmp_path, 1, 1)
    cache.put(key(2), 0, BLOCK)
    cache.put(key(3), 0, BLOCK)
    assert cache.get(key(1), 0) == BLOCK
    assert cache.get(key(2), 0) is None
    release()
    used_at(tmp_path, 1, 1)
    cache.put(key(4), 0, BLOCK)
    assert cache.get(key(1), 0) is None


def test_a_held_model_keeps_the_files_that_it_shares_with_others(tmp_path: Path) -> None:
    cache = tier(tmp_path, 3 * BLOCK_SIZE_BYTES + SLACK_BYTES)
    checksum = Checksum("sha256", "ab" * 32)
    file = RemoteFile(BLOCK_SIZE_BYTES, "pin", lambda: MemoryBlob("pin", BLOCK), checksum)
    source = FilesSource("hub", ModelId("a/b", "1"), Manifest("url", Form.FILES, {"f": file}), lambda _, blob: blob)
    IndexStore(CacheLayout(tmp_path)).save(source.model, source.to_index())
    shared = key_of(source, source.find("f"))
    cache.put(shared, 0, BLOCK)
    release = cache.hold(source.model)
    cache.hold(shared.model)()
    os.utime(CacheLayout(tmp_path).in_use(shared.model), (1, 1))
    for number in (1, 2, 3):
        cache.hold(model(number))()
        cache.put(key(number), 0, BLOCK)
        used_at(tmp_path, number, 10 + number)
    assert cache.has(shared, 0)
    assert not cache.has(key(1), 0)
    release()
    os.utime(CacheLayout(tmp_path).in_use(shared.model), (1, 1))
    for number in (4, 5, 6):
        cache.put(key(number), 0, BLOCK)
    assert not cache.has(shared, 0)


def test_a_hold_that_began_after_a_drop_protects_what_was_fetched_anew(tmp_path: Path) -> None:
    cache = tier(tmp_path, 2 * BLOCK_SIZE_BYTES + SLACK_BYTES)
    before = cache.hold(model(1))
    cache.put(key(1), 0, BLOCK)
    cache.drop(model(1))  # it was damaged; a reader still has it open
    after = cache.hold(model(1))
    cache.put(key(1), 0, BLOCK)
    before()
    CacheLayout(tmp_path).in_use(model(1)).touch()
    used_at(tmp_path, 1, 1)
    cache.put(key(2), 0, BLOCK)
    cache.put(key(3), 0, BLOCK)
    assert cache.get(key(1), 0) == BLOCK
    after()


def test_when_all_that_is_there_is_in_use_nothing_is_kept_and_nothing_lost(tmp_path: Path) -> None:
    cache = tier(tmp_path, 2 * BLOCK_SIZE_BYTES + SLACK_BYTES)
    release = cache.hold(model(1))
    kept = [cache.put(key(1), index, BLOCK) for index in range(4)]
    assert kept == [True, True, False, False]
    assert cache.get(key(1), 0) == cache.get(key(1), 1) == BLOCK
    release()


def test_a_model_that_another_process_holds_is_not_evicted_until_that_is_killed(tmp_path: Path) -> None:
    program = f"cache.hold({model(1)!r}); print('held', flush=True); sys.stdin.read()"
    cache = tier(tmp_path, 2 * BLOCK_SIZE_BYTES + SLACK_BYTES)
    cache.put(key(1), 0, BLOCK)
    with another_process(tmp_path, program) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        used_at(tmp_path, 1, 1)
        cache.put(key(2), 0, BLOCK)
        cache.put(key(3), 0, BLOCK)
        assert cache.get(key(1), 0) == BLOCK
        holder.kill()
        holder.wait()
    used_at(tmp_path, 1, 1)  # it was read since
    cache.put(key(4), 0, BLOCK)
    assert cache.get(key(1), 0) is None


def test_who_comes_while_another_makes_room_is_refused_and_the_disk_is_not_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tier(tmp_path, 2 * BLOCK_SIZE_BYTES + SLACK_BYTES)
    cache.put(key(1), 0, BLOCK)
    cache.put(key(1), 1, BLOCK)
    answers = []
    plan = disk_tier.plan_eviction

    def plan_while_another_puts(*args: object) -> object:
        with ThreadPoolExecutor(1) as pool:
            answers.append(pool.submit(cache.put, key(3), 0, BLOCK).result(timeout=60))
        return plan(*args)  # type: ignore[arg-type] # handed through

    with monkeypatch.context() as patched:
        patched.setattr(disk_tier, "plan_eviction", plan_while_another_puts)
        assert cache.put(key(2), 0, BLOCK) is True
    assert answers == [False]
    assert cache.put(key(3), 0, BLOCK) is True


def test_a_part_of_the_disk_stays_free_whatever_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = os.statvfs(tmp_path)
    free_bytes = found.f_bavail * found.f_frsize
    cache = tier(tmp_path, reserve_bytes=free_bytes + (1 << 40))
    assert cache.put(key(1), 0, BLOCK) is False
    assert cache.get(key(1), 0) is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    with file_system(tmp_path / "disk") as path:
        yield path


def test_a_disk_that_is_really_full_fails_no_read(small_disk: Path) -> None:
    cache = tier(small_disk)  # a limit far beyond the disk
    release = cache.hold(MODEL)
    kept = [cache.put(CacheKey(MODEL, "f"), index, block_of(index)) for index in range(12)]
    assert 6 <= sum(kept) < 8
    assert not any(kept[8:])
    for index, was_kept in enumerate(kept):
        assert cache.get(CacheKey(MODEL, "f"), index) == (block_of(index) if was_kept else None)
    release()
    assert all(
        tier(small_disk).get(CacheKey(MODEL, "f"), index) == block_of(index) for index, was in enumerate(kept) if was
    )


def test_room_is_made_before_a_small_disk_is_full(small_disk: Path) -> None:
    cache = tier(small_disk, reserve_bytes=3 << 20)
    for number in range(12):
        assert cache.put(key(number), 0, BLOCK) is True
        found = os.statvfs(small_disk)
        assert found.f_bavail * found.f_frsize >= (3 << 20) - SLACK_BYTES
    assert cache.get(key(11), 0) == BLOCK


def test_an_archive_index_survives_the_eviction_of_its_blocks(tmp_path: Path) -> None:
    indexes = IndexStore(CacheLayout(tmp_path))
    cache = tier(tmp_path, 2 * BLOCK_SIZE_BYTES + SLACK_BYTES)
    cache.hold(model(1))()
    for index in (0, 1):
        cache.put(key(1), index, BLOCK)
    indexes.save(model(1), {"entries": []})
    indexes.save_file(model(1), b"spans")
    assert cache.put(key(2), 0, BLOCK) is True
    assert cache.get(key(1), 0) is None
    assert cache.cached_bytes(model(1)) == 0
    assert (indexes.load("hub/a/m/1"), indexes.load_file(model(1))) == ({"entries": []}, b"spans")
    assert not list((tmp_path / "trash").iterdir())
    cache.put(key(1), 0, BLOCK)
    assert tier(tmp_path).get(key(1), 0) == BLOCK


def test_a_model_can_be_held_while_what_was_evicted_of_it_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tier(tmp_path, 3 * BLOCK_SIZE_BYTES)
    store = IndexStore(CacheLayout(tmp_path))
    store.save(model(1), {})
    store.save_file(model(1), b"spans")  # it stays, with the lock, and its blocks go
    cache.put(key(1), 0, BLOCK)
    cache.put(key(1), 1, BLOCK)
    graves = []
    delete = disk.delete

    def slowly(path: Path) -> None:
        graves.append(path)
        InUse(CacheLayout(tmp_path)).hold(model(1))()
        delete(path)

    monkeypatch.setattr(disk, "delete", slowly)
    monkeypatch.setattr(in_use, "_ATTEMPTS", 1)
    assert cache.put(key(2), 0, BLOCK)
    assert cache.get(key(1), 0) is None
    assert len(graves) == 2
    assert "cannot mark" not in caplog.text
