"""Taking mounts off, and what serves them. Mounted hubs are shown in tests/mounted."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubfs.errors import ModelNotFound, MountFailed, Unavailable
from hubfs.library.below_mounts import below_a_mount
from hubfs.mounts import table as mount_table
from hubfs.mounts import taking
from hubfs.mounts.taking import detach, force, unmount


def test_where_nothing_is_mounted_there_is_nothing_to_unmount_or_to_ask(tmp_path: Path) -> None:
    for act in (unmount, force, mount_table.state_of):
        with pytest.raises(MountFailed, match="No hub is mounted"):
            act(tmp_path)


class TestUnmount:
    """On a tmpfs that stands for a hub: it has the status file, and a process stands for the daemon."""

    @pytest.fixture
    def daemon(self, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
        program = "import sys; sys.stdin.read()"
        with subprocess.Popen([sys.executable, "-c", program, "hubfs", tmp_path], stdin=-1) as process:
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
        (path / ".hubfs" / "mount.json").write_text(json.dumps({"pid": daemon.pid}), encoding="utf-8")
        yield path
        while mount_table.is_mounted(path):
            subprocess.run(["umount", "-l", path], check=True)

    def test_waits_for_the_daemon_to_end(self, mountpoint: Path, daemon: "subprocess.Popen[bytes]") -> None:
        assert daemon.stdin is not None
        timer = threading.Timer(0.2, daemon.stdin.close)
        started_s = time.monotonic()
        timer.start()
        unmount(mountpoint)
        assert time.monotonic() - started_s >= 0.15
        assert not mount_table.is_mounted(mountpoint)
        timer.join()

    def test_asks_for_no_report(self, mountpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A report may be long in coming, or make no sense: the daemon is found by its name, or says who it is."""
        asked, look = [], mount_table.look

        def looking(path: Path, name: str = mount_table.ABOUT) -> mount_table.Answer:
            asked.append(name)
            return look(path, name)

        monkeypatch.setattr(mount_table, "look", looking)
        (mountpoint / ".hubfs" / "mount.json").write_text(json.dumps({"hub": "https://tfhub.dev", "pid": 0}))
        (mountpoint / ".hubfs" / mount_table.REPORT).write_text("[")
        with pytest.raises((ModelNotFound, Unavailable)):
            below_a_mount("https://tfhub.dev/google/spice/2")
        unmount(mountpoint)
        assert not mount_table.is_mounted(mountpoint)
        assert {*asked} == {mount_table.ABOUT}

    def test_says_so_when_the_daemon_does_not_end(self, mountpoint: Path, daemon: "subprocess.Popen[bytes]") -> None:
        with pytest.raises(MountFailed, match=rf"is unmounted, but its daemon \(process {daemon.pid}\) does not end"):
            unmount(mountpoint, timeout_s=0.1)

    def test_names_who_uses_it(self, mountpoint: Path) -> None:
        (mountpoint / "file").touch()
        with (mountpoint / "file").open("rb"), pytest.raises(MountFailed, match=rf"in use by .* \({os.getpid()}\)"):
            unmount(mountpoint)
        assert mount_table.is_mounted(mountpoint)

    def test_waits_for_a_process_that_looks_at_it_in_passing(
        self, mountpoint: Path, daemon: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (mountpoint / "file").touch()
        assert daemon.stdin is not None
        daemon.stdin.close()  # it ends
        with (mountpoint / "file").open("rb") as passing:

            def named(*_: object) -> list[str]:
                passing.close()  # after the first attempt
                return ["df (7)"]

            monkeypatch.setattr(taking, "users", named)
            unmount(mountpoint)
        assert not mount_table.is_mounted(mountpoint)

    def test_waits_for_one_after_the_other_that_looks_at_it_in_passing(
        self, mountpoint: Path, daemon: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (mountpoint / "file").touch()
        assert daemon.stdin is not None
        daemon.stdin.close()  # it ends
        monkeypatch.setattr(taking, "_PASSING_S", 0.2)
        with (mountpoint / "file").open("rb") as passing:
            until_s = time.monotonic() + 0.6

            def named(*_: object) -> list[str]:
                if time.monotonic() > until_s:
                    passing.close()
                return [f"df ({time.monotonic_ns()})"]

            monkeypatch.setattr(taking, "users", named)
            unmount(mountpoint)
        assert not mount_table.is_mounted(mountpoint)

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
                unmount(mountpoint)
            user.kill()

    def test_force_ends_the_daemon_though_it_is_used_and_though_it_ignores_a_signal(
        self, mountpoint: Path, tmp_path: Path
    ) -> None:
        program = (
            "import os, signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); from hubfs.mounts import presence;"
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
            force(mountpoint)
            assert stubborn.wait(60) == -9
        assert not mount_table.is_mounted(mountpoint)

    @pytest.mark.parametrize("said", [None, -1, 0, True, "1", [1]])
    def test_force_ends_nobody_but_a_process_of_hubfs_whatever_the_mount_says(
        self, mountpoint: Path, tmp_path: Path, said: object
    ) -> None:
        """Who serves it may be anybody, or in a container, where processes have other numbers."""
        with subprocess.Popen(["sleep", "600"], cwd=tmp_path) as bystander:
            status = json.dumps({"pid": bystander.pid if said is None else said})
            (mountpoint / ".hubfs" / "mount.json").write_text(status, encoding="utf-8")
            force(mountpoint)
            assert bystander.poll() is None
            bystander.kill()
        assert not mount_table.is_mounted(mountpoint)

    def test_what_another_user_s_mount_says_of_itself_is_not_believed(
        self, mountpoint: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (mountpoint / ".hubfs" / "status.json").write_text("{}", encoding="utf-8")
        assert mount_table.state_of(mountpoint) == (mount_table.State.ALIVE, {})
        monkeypatch.setattr(mount_table.Mounted, "is_believed", False)
        assert mount_table.state_of(mountpoint) == (mount_table.State.SHUT, None)
        with pytest.raises(MountFailed, match="No hub that you or root mounted is there"):
            below_a_mount("google/spice/2")

    def test_detach_takes_it_off_though_it_is_busy(self, mountpoint: Path) -> None:
        (mountpoint / "file").touch()
        with (mountpoint / "file").open("rb"):
            assert detach(mountpoint) == ""
            assert not mount_table.is_mounted(mountpoint)

    def test_a_dead_mount_that_cannot_be_taken_off_is_not_said_to_be_unmounted(
        self, mountpoint: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mount_table, "look", lambda *_: mount_table.Answer(errno.ENOTCONN))
        with monkeypatch.context() as patched:
            patched.setenv("PATH", "")
            with pytest.raises(MountFailed, match="neither fusermount3 nor umount is installed"):
                unmount(mountpoint)
        unmount(mountpoint)
        assert not mount_table.is_mounted(mountpoint)

    def test_an_inner_mount_that_keeps_it_busy_is_named(self, mountpoint: Path) -> None:
        inner = mountpoint / "inner"
        inner.mkdir()
        subprocess.run(["mount", "-t", "ramfs", "ramfs", inner], check=True)
        with pytest.raises(MountFailed, match=rf"{inner} is mounted inside \(`umount {inner}` first\); .*--force"):
            unmount(mountpoint)
        assert detach(mountpoint) == "", "--force takes both off"

    @pytest.mark.parametrize("content", ["", "{", "[]", "\x00"])
    def test_what_makes_no_sense_keeps_no_mount(self, mountpoint: Path, content: str) -> None:
        (mountpoint / ".hubfs" / "mount.json").write_text(content, encoding="utf-8")
        assert mount_table.state_of(mountpoint, mount_table.ABOUT) == (mount_table.State.STRANGE, None)
        unmount(mountpoint)
        assert not mount_table.is_mounted(mountpoint)

    def test_a_resolve_beside_a_stopped_daemon_says_so(
        self, mountpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program = (
            "import os, sys; from hubfs.mounts import presence;"
            "kept = presence.announce(presence.of_daemon(os.stat(sys.argv[1]).st_dev));"
            "print(1, flush=True); sys.stdin.read()"
        )
        with subprocess.Popen([sys.executable, "-c", program, mountpoint, tmp_path], stdin=-1, stdout=-1) as stopped:
            assert stopped.stdout is not None
            stopped.stdout.readline()
            try:
                stopped.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, stopped.pid, os.WSTOPPED | os.WNOWAIT)
                monkeypatch.setattr(mount_table, "look", lambda *_: mount_table.Answer(None))
                told = rf"{mountpoint} does not answer: its daemon \(process {stopped.pid}\) is stopped; `kill -CONT"
                with pytest.raises(Unavailable, match=told):
                    below_a_mount("google/spice/2")
            finally:
                stopped.kill()
