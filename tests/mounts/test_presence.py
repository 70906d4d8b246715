import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hubfs.mounts import presence


def test_a_process_is_found_by_its_name_as_long_as_it_lives(tmp_path: Path) -> None:
    name = presence.of_supervisor(tmp_path)
    assert presence.find(name, {os.geteuid()}) is None
    program = (
        "import sys; from hubfs.mounts.presence import announce; kept = announce(sys.argv[1]); print(1, flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", f"{program}; input()", name, tmp_path], stdin=-1, stdout=-1
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert presence.find(name, {os.geteuid()}) == process.pid
        process.kill()
    assert presence.find(name, {os.geteuid()}) is None


def test_it_is_found_without_looking_into_it_and_also_by_who_looks_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = presence.of_supervisor(tmp_path)
    with presence.announce(name):
        with monkeypatch.context() as without:
            without.setattr(presence, "_searched", lambda *_: None)  # daemons keep /proc/PID/fd from all but root
            assert presence.find(name, {os.geteuid()}) == os.getpid()
        for _ in range(presence._BACKLOG + 5):
            assert presence.find(name, {os.geteuid()}) == os.getpid()


def test_a_name_is_one_process_s_at_a_time(tmp_path: Path) -> None:
    name = presence.of_supervisor(tmp_path)
    with presence.announce(name):
        assert presence.find(name, {os.geteuid()}) == os.getpid()
        with pytest.raises(OSError, match="in use"):
            presence.announce(name)
    with presence.announce(name):
        pass


def test_who_took_the_name_and_is_another_user_is_nobody(tmp_path: Path) -> None:
    name = presence.of_daemon(os.makedev(0, 4711))
    with presence.announce(name):
        assert presence.find(name, {os.geteuid() + 1}) is None
        assert presence.find(name, {os.geteuid()}) == os.getpid()


def test_a_line_that_another_user_put_into_the_list_of_sockets_names_no_process(tmp_path: Path) -> None:
    """The kernel escapes nothing there: a name with a newline makes a line, which says that a socket is the daemon's.

    The process that has that socket open would be ended for the daemon, as root: `unmount` searches once many looked.
    """
    name = presence.of_daemon(os.makedev(0, 4711))
    with socket.socket(socket.AF_UNIX) as victim, socket.socket(socket.AF_UNIX) as forging:
        victim.bind(str(tmp_path / "victim"))
        inode = os.fstat(victim.fileno()).st_ino
        forging.bind(f"\0x\n0: 2 0 10000 1 1 {inode} @{name}")
        assert f"{inode} @{name}\n" in Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace")
        assert presence._searched(name, {os.geteuid()}) is None


def test_a_process_that_was_only_given_the_socket_is_not_who_took_the_name(tmp_path: Path) -> None:
    name = presence.of_supervisor(tmp_path)
    with presence.announce(name) as announced:
        os.set_inheritable(announced.fileno(), True)
        with subprocess.Popen(["sleep", "600"], close_fds=False) as process:
            announced.close()
            try:
                assert presence._searched(name, {os.geteuid()}) == os.getpid()
            finally:
                process.kill()


def test_names_tell_mounts_apart(tmp_path: Path) -> None:
    names = [presence.of_supervisor(tmp_path / "a"), presence.of_supervisor(tmp_path / "b")]
    names += [presence.of_daemon(os.makedev(0, 41)), presence.of_daemon(os.makedev(0, 42))]
    assert len(set(names)) == len(names)
    assert all(len(name) < 100 for name in names), "the kernel takes 107 characters"
