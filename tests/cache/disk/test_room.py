import errno
import os
from pathlib import Path

import pytest

from hubfs.cache.disk import room
from hubfs.cache.disk.room import DiskSettings, Room, Space, disk_usage_bytes, excess_bytes
from tests.support.waiting import eventually

VAST = Space(1 << 50, 1 << 50)


@pytest.fixture
def holds(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def room_of(holds: Path, limit_bytes: int = 1 << 20) -> Room:
    return Room(DiskSettings(limit_bytes, 0), holds.parent, holds)


@pytest.mark.parametrize(
    ("used_bytes", "coming_bytes", "expected"), [(0, 10, -90), (80, 20, 0), (80, 21, 1), (200, 0, 100)]
)
def test_the_limit_counts_what_is_there_and_what_is_coming(used_bytes: int, coming_bytes: int, expected: int) -> None:
    assert excess_bytes(DiskSettings(100, 0), used_bytes, coming_bytes, VAST) == expected


@pytest.mark.parametrize(
    ("total_bytes", "free_bytes", "expected"),
    [
        (100_000, 1_060, 0),  # the reserve, and what is coming
        (100_000, 1_059, 1),
        (10_000, 560, 0),  # of a small disk a part is enough
        (10_000, 500, 60),
        (100_000, 1_000_000, -940),  # then the limit is nearer
    ],
)
def test_what_must_stay_free_stays_free(total_bytes: int, free_bytes: int, expected: int) -> None:
    settings = DiskSettings(1_000, reserve_bytes=1_000, reserve_part=0.05)
    assert excess_bytes(settings, 0, 60, Space(total_bytes, free_bytes)) == expected


def test_what_is_coming_counts_until_it_is_kept_or_refused(holds: Path) -> None:
    found = room_of(holds, limit_bytes=10_000)
    assert found.excess_bytes() == -10_000
    with found.coming(4_000), found.coming(5_000):
        assert found.excess_bytes() == -1_000
    assert found.excess_bytes() == -10_000
    found.kept(9_000)
    assert (found.used_bytes(), found.excess_bytes()) == (0, -10_000)  # it is time to count: nothing is there
    found.kept(100)
    assert found.used_bytes() == 100


def test_what_others_keep_is_found_once_enough_was_kept_here(holds: Path) -> None:
    found = room_of(holds)
    assert found.used_bytes() == 0
    (holds / "of another mount").write_bytes(os.urandom(8_192))
    found.kept(1 << 15)
    assert found.used_bytes() == 1 << 15
    found.kept(1)
    assert found.used_bytes() == disk_usage_bytes(holds) >= 8_192


def test_holes_take_no_room(holds: Path) -> None:
    with (holds / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert disk_usage_bytes(holds) == 0


def test_a_rest_ends_by_itself_and_its_reason_when_something_is_kept(
    holds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [100.0]
    monkeypatch.setattr(room.time, "monotonic", lambda: now_s[0])
    found = room_of(holds)
    assert (found.is_resting, found.problem) == (False, None)
    found.rest()
    assert (found.is_resting, found.problem) == (True, None)
    found.rest(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    now_s[0] += 11
    assert (found.is_resting, found.problem) == (False, "No space left on device")
    found.kept(0)
    assert found.problem is None


def test_a_large_cache_is_counted_in_a_thread_and_a_small_one_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_AT_ONCE_FILES", 5)
    for number in range(4):
        (tmp_path / str(number)).write_bytes(bytes(5000))
    small = Room(DiskSettings(1 << 30, 0), tmp_path, tmp_path)
    assert small.known_bytes() == disk_usage_bytes(tmp_path)
    (tmp_path / "one more").write_bytes(bytes(5000))
    assert small.known_bytes() == disk_usage_bytes(tmp_path) * 4 // 5, "nobody told it"
    small.kept(8192)
    assert small.known_bytes() == disk_usage_bytes(tmp_path)
    large = Room(DiskSettings(1 << 30, 0), tmp_path, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(room, "disk_usage_bytes", None)  # who asks reads no further
        patched.setattr(Room, "_count", lambda _: None)
        assert large.known_bytes() is None
    large = Room(DiskSettings(1 << 30, 0), tmp_path, tmp_path)
    assert eventually(lambda: large.known_bytes() == disk_usage_bytes(tmp_path))
