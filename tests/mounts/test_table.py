"""The mount table. Mounted hubs are shown in tests/mounted."""

import os
import threading
from pathlib import Path

import pytest

from hubfs.errors import MountFailed
from hubfs.mounts import table as mount_table


def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    path = tmp_path / "mounts"
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    monkeypatch.setattr(mount_table, "_TABLE", path)


def line(mountpoint: str) -> str:
    """Of proc_pid_mountinfo(5), for a hub."""
    return f"40 22 0:41 / {mountpoint} ro,nosuid - fuse.hubfs hubfs ro,user_id=0,group_id=0"


class TestTable:
    def test_hubs_are_told_from_everything_else(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        table(
            tmp_path,
            monkeypatch,
            "22 1 254:0 / / rw - ext4 /dev/vda rw",
            line("/mnt/a"),
            "41 22 0:43 / /mnt/sshfs ro - fuse.sshfs fuse.hubfs ro,user_id=0",
            line("/mnt/b"),
        )
        assert mount_table.mountpoints() == [Path("/mnt/a"), Path("/mnt/b")]
        assert mount_table.is_mounted(Path("/mnt/a"))
        assert not mount_table.is_mounted(Path("/mnt/sshfs"))
        assert not mount_table.is_mounted(Path("/mnt"))

    def test_names_are_unescaped(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        table(tmp_path, monkeypatch, line(r"/mnt/a\040b\011c\134040d/ü"))
        assert mount_table.mountpoints() == [Path("/mnt/a b\tc\\040d/ü")]

    @pytest.mark.parametrize("separator", ["\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
    def test_a_name_that_another_user_chose_makes_no_line_of_its_own(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, separator: str
    ) -> None:
        """The kernel escapes newlines only; anybody may mount a FUSE file system on a directory of such a name."""
        path = tmp_path / "mounts"
        path.write_bytes(f"{line(f'/tmp/a{separator}b')}\n{line('/mnt/hub')}\n".encode())
        monkeypatch.setattr(mount_table, "_TABLE", path)
        assert mount_table.mountpoints() == [Path(f"/tmp/a{separator}b"), Path("/mnt/hub")]

    def test_a_mount_is_known_by_all_its_names(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "real" / "hub").mkdir(parents=True)
        (tmp_path / "link").symlink_to("real/hub")
        table(tmp_path, monkeypatch, line(f"{tmp_path}/real/hub"))
        for name in ("real/hub", "link", "real/../real/hub"):
            assert mount_table.is_mounted(tmp_path / name)

    def test_the_real_table_can_be_read(self) -> None:
        assert isinstance(mount_table.mountpoints(), list)


class TestDevices:
    def test_a_mount_is_found_by_its_device_under_its_name_of_now(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        table(
            tmp_path,
            monkeypatch,
            "22 1 254:0 / / rw - ext4 /dev/vda rw",
            f"40 22 0:41 / {tmp_path}/a\\040b ro,nosuid shared:7 master:2 - fuse.hubfs hubfs ro,user_id=7,group_id=8",
            f"41 40 0:42 / {tmp_path}/a\\040b ro,nosuid - fuse.hubfs hubfs ro",
            f"42 41 0:44 / {tmp_path}/a\\040b/google/spice rw - tmpfs tmpfs rw",
        )
        assert mount_table.where_is(os.makedev(0, 41)) == tmp_path / "a b"
        assert mount_table.where_is(os.makedev(0, 43)) is None
        assert mount_table.device_of(tmp_path / "a b") == os.makedev(0, 42), "the one on top"
        assert mount_table.device_of(tmp_path / "c") is None
        assert [mount_table.owner_of(os.makedev(0, minor)) for minor in (41, 42, 43)] == [7, None, None]
        assert mount_table.inside(tmp_path / "a b") == [tmp_path / "a b/google/spice"]
        assert mount_table.inside(tmp_path / "a") == []


def test_mounts_are_asked_side_by_side_and_one_that_is_taken_off_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [Path(f"/mnt/{number}") for number in range(8)]
    monkeypatch.setattr(mount_table, "mountpoints", lambda: places)
    all_are_asked = threading.Barrier(len(places))

    def ask(where: Path) -> str:
        all_are_asked.wait(60)
        if where == places[3]:
            raise MountFailed("taken off")
        return where.name

    assert mount_table.of_each(ask) == ["0", "1", "2", "4", "5", "6", "7"]


def test_a_directory_is_not_dead(tmp_path: Path) -> None:
    assert not mount_table.is_dead(tmp_path)
    assert not mount_table.is_dead(tmp_path / "absent")
