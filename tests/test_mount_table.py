"""The mount table and the way to take mounts off. Mounted hubs are shown in tests/mounted."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubfs import mount_table
from hubfs.errors import MountFailed


def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    path = tmp_path / "mounts"
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    monkeypatch.setattr(mount_table, "_TABLE", path)


class TestTable:
    def test_hubs_are_told_from_everything_else(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        table(
            tmp_path,
            monkeypatch,
            "/dev/vda / ext4 rw,relatime 0 0",
            "hubfs /mnt/a fuse.hubfs ro,nosuid 0 0",
            "hubfs /mnt/sshfs fuse.sshfs ro 0 0",
            "hubfs /mnt/b fuse.hubfs ro,nosuid 0 0",
        )
        assert mount_table.mountpoints() == [Path("/mnt/a"), Path("/mnt/b")]
        assert mount_table.is_mounted(Path("/mnt/a"))
        assert not mount_table.is_mounted(Path("/mnt/sshfs"))
        assert not mount_table.is_mounted(Path("/mnt"))

    def test_names_are_unescaped(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        table(tmp_path, monkeypatch, r"hubfs /mnt/a\040b\011c\134040d/ü fuse.hubfs ro 0 0")
        assert mount_table.mountpoints() == [Path("/mnt/a b\tc\\040d/ü")]

    def test_a_mount_is_known_by_all_its_names(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "real" / "hub").mkdir(parents=True)
        (tmp_path / "link").symlink_to("real/hub")
        table(tmp_path, monkeypatch, f"hubfs {tmp_path}/real/hub fuse.hubfs ro 0 0")
        for name in ("real/hub", "link", "real/../real/hub"):
            assert mount_table.is_mounted(tmp_path / name)

    def test_the_real_table_can_be_read(self) -> None:
        assert isinstance(mount_table.mountpoints(), list)


class TestPrepare:
    def test_an_empty_directory_is_fine(self, tmp_path: Path) -> None:
        mount_table.prepare(tmp_path)

    @pytest.mark.parametrize(
        ("name", "reason"),
        [("absent", "does not exist; make it first"), ("file", "is not a directory"), ("full", "is not empty")],
    )
    def test_what_cannot_be_used_is_refused_with_the_reason(self, tmp_path: Path, name: str, reason: str) -> None:
        (tmp_path / "file").touch()
        (tmp_path / "full" / "something").mkdir(parents=True)
        with pytest.raises(MountFailed, match=reason):
            mount_table.prepare(tmp_path / name)

    def test_where_a_hub_is_mounted_no_other_can_be(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        table(tmp_path, monkeypatch, f"hubfs {tmp_path} fuse.hubfs ro 0 0")
        with pytest.raises(MountFailed, match=r"is mounted at .* already; `hubfs unmount"):
            mount_table.prepare(tmp_path)

    @pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user for a moment, which takes root")
    def test_a_directory_that_may_not_be_read_is_refused_in_one_line(self, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.mkdir(mode=0o700)
        os.seteuid(65534)
        try:
            with pytest.raises(MountFailed, match="cannot be used: Permission denied"):
                mount_table.prepare(secret)
        finally:
            os.seteuid(0)


class TestClaimed:
    def test_of_two_at_once_one_is_refused(self, tmp_path: Path) -> None:
        with (
            mount_table.claimed(tmp_path),
            pytest.raises(MountFailed, match="Another hub is just being mounted"),
            mount_table.claimed(tmp_path),
        ):
            pass
        with mount_table.claimed(tmp_path):
            pass

    def test_who_was_faster_meanwhile_is_seen(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        answers = iter([False, True])
        monkeypatch.setattr(mount_table, "is_dead", lambda _: False)
        monkeypatch.setattr(mount_table, "is_mounted", lambda _: next(answers))
        with pytest.raises(MountFailed, match="already"), mount_table.claimed(tmp_path):
            pass


class TestDevices:
    def test_a_mount_is_found_by_its_device_under_its_name_of_now(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "mountinfo"
        path.write_text(
            "22 1 254:0 / / rw - ext4 /dev/vda rw\n"
            f"40 22 0:41 / {tmp_path}/a\\040b ro,nosuid shared:7 - fuse.hubfs hubfs ro\n"
            f"41 40 0:42 / {tmp_path}/a\\040b ro,nosuid - fuse.hubfs hubfs ro\n",
            encoding="utf-8",
        )
        monkeypatch.setattr(mount_table, "_DEVICES", path)
        table(tmp_path, monkeypatch, f"hubfs {tmp_path}/a\\040b fuse.hubfs ro 0 0")
        assert mount_table.where_is(os.makedev(0, 41)) == tmp_path / "a b"
        assert mount_table.where_is(os.makedev(0, 43)) is None
        assert mount_table.device_of(tmp_path / "a b") == os.makedev(0, 42), "the one on top"
        assert mount_table.device_of(tmp_path / "c") is None


def test_where_nothing_is_mounted_there_is_nothing_to_unmount_or_to_ask(tmp_path: Path) -> None:
    for act in (mount_table.unmount, mount_table.force, mount_table.read_status):
        with pytest.raises(MountFailed, match="No hub is mounted"):
            act(tmp_path)


def test_a_directory_is_not_dead(tmp_path: Path) -> None:
    assert not mount_table.is_dead(tmp_path)
    assert not mount_table.is_dead(tmp_path / "absent")


class TestUnmount:
    """On a tmpfs that stands for a hub: it has the status file, and a process stands for the daemon."""

    @pytest.fixture
    def daemon(self, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
        with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()", tmp_path], stdin=-1) as process:
            yield process
            process.kill()

    @pytest.fixture
    def mountpoint(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, daemon: "subprocess.Popen[bytes]"
    ) -> Iterator[Path]:
        if os.geteuid() != 0:
            pytest.skip("mounting a tmpfs takes root")
        path = tmp_path / "a hub"
        path.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", path], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"no tmpfs here: {done.stderr!r}")
        monkeypatch.setattr(mount_table, "_TYPE", "tmpfs")
        (path / ".hubfs").mkdir()
        (path / ".hubfs" / "status.json").write_text(json.dumps({"pid": daemon.pid}), encoding="utf-8")
        yield path
        while mount_table.is_mounted(path):
            subprocess.run(["umount", "-l", path], check=True)

    def test_waits_for_the_daemon_to_end(self, mountpoint: Path, daemon: "subprocess.Popen[bytes]") -> None:
        assert daemon.stdin is not None
        timer = threading.Timer(0.2, daemon.stdin.close)
        timer.start()
        started_s = time.monotonic()
        mount_table.unmount(mountpoint)
        assert time.monotonic() - started_s >= 0.15
        assert not mount_table.is_mounted(mountpoint)
        timer.join()

    def test_says_so_when_the_daemon_does_not_end(self, mountpoint: Path, daemon: "subprocess.Popen[bytes]") -> None:
        with pytest.raises(MountFailed, match=rf"is unmounted, but its daemon \(process {daemon.pid}\) does not end"):
            mount_table.unmount(mountpoint, timeout_s=0.1)

    def test_names_who_uses_it(self, mountpoint: Path) -> None:
        (mountpoint / "file").touch()
        with (mountpoint / "file").open("rb"), pytest.raises(MountFailed, match=rf"in use by .* \({os.getpid()}\)"):
            mount_table.unmount(mountpoint)
        assert mount_table.is_mounted(mountpoint)

    def test_names_who_has_its_working_directory_there(self, mountpoint: Path, tmp_path: Path) -> None:
        with subprocess.Popen(
            [sys.executable, "-c", "import sys; print(1, flush=True); sys.stdin.read()", tmp_path],
            cwd=mountpoint,
            stdin=-1,
            stdout=-1,
        ) as user:
            assert user.stdout is not None
            user.stdout.readline()
            with pytest.raises(MountFailed, match=rf"in use by .*\({user.pid}\)"):
                mount_table.unmount(mountpoint)
            user.kill()

    def test_force_ends_the_daemon_though_it_is_used_and_though_it_ignores_a_signal(
        self, mountpoint: Path, tmp_path: Path
    ) -> None:
        program = (
            "import os, signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); from hubfs import presence;"
            "kept = presence.announce(presence.of_daemon(os.stat(sys.argv[1]).st_dev));"
            "print(1, flush=True); sys.stdin.read()"
        )
        (mountpoint / "file").touch()
        with (
            subprocess.Popen([sys.executable, "-c", program, mountpoint, tmp_path], stdin=-1, stdout=-1) as stubborn,
            (mountpoint / "file").open("rb"),
        ):
            assert stubborn.stdout is not None
            stubborn.stdout.readline()
            mount_table.force(mountpoint)
            assert stubborn.wait(1) == -9
        assert not mount_table.is_mounted(mountpoint)

    def test_detach_takes_it_off_though_it_is_busy(self, mountpoint: Path) -> None:
        (mountpoint / "file").touch()
        with (mountpoint / "file").open("rb"):
            assert mount_table.detach(mountpoint) == ""
            assert not mount_table.is_mounted(mountpoint)

    def test_a_dead_mount_that_cannot_be_taken_off_is_not_said_to_be_unmounted(
        self, mountpoint: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mount_table, "_look", lambda _: (errno.ENOTCONN, b""))
        with monkeypatch.context() as patched:
            patched.setenv("PATH", "")
            with pytest.raises(MountFailed, match="neither fusermount3 nor umount is installed"):
                mount_table.unmount(mountpoint)
        mount_table.unmount(mountpoint)
        assert not mount_table.is_mounted(mountpoint)

    @pytest.mark.parametrize("content", ["", "{", "[]", "\x00"])
    def test_a_status_that_makes_no_sense_is_none(self, mountpoint: Path, content: str) -> None:
        (mountpoint / ".hubfs" / "status.json").write_text(content, encoding="utf-8")
        assert mount_table.read_status(mountpoint) is None
        mount_table.unmount(mountpoint)
        assert not mount_table.is_mounted(mountpoint)
