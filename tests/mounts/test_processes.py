import mmap
import os
import signal
import subprocess
from pathlib import Path

from hubfs.mounts.processes import is_running, is_stopped, send, users


def test_a_process_is_running_until_it_has_ended(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"], cwd=tmp_path) as process:
        assert is_running(process.pid)
        assert not is_stopped(process.pid)
        send(process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        assert is_stopped(process.pid)
        send(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not is_running(process.pid), "nobody waited for it yet, and it has ended"
    assert not is_running(process.pid)
    send(process.pid, signal.SIGTERM)


def test_who_has_mapped_a_file_uses_its_mount(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100)
    me = f"({os.getpid()})"
    with (tmp_path / "file").open("rb") as file:
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    nowhere = tmp_path / "elsewhere"
    with pages:
        assert any(user.endswith(me) for user in users(nowhere, tmp_path.stat().st_dev))
    assert not any(user.endswith(me) for user in users(nowhere, os.makedev(0, 4095)))


def test_a_mapped_file_whose_name_makes_a_line_spoils_nothing(tmp_path: Path) -> None:
    """The kernel escapes newlines only, and anybody may map a file with a carriage return in its name."""
    (tmp_path / "a\rb").write_bytes(b"x" * 100)
    with (tmp_path / "a\rb").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
        users(tmp_path / "elsewhere", os.makedev(0, 4095))


def test_who_has_a_file_open_or_is_in_there_uses_it(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"], cwd=tmp_path) as process:
        assert f"sleep ({process.pid})" in users(tmp_path, None)
        process.kill()
    (tmp_path / "file").touch()
    with (tmp_path / "file").open("rb"):
        assert any(user.endswith(f"({os.getpid()})") for user in users(tmp_path, None))
