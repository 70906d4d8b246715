"""A daemon that dies or hangs is followed by one that serves on: readers see no error, and lose nothing."""

import contextlib
import ctypes
import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from io import FileIO
from pathlib import Path

import pytest

from hubfs.daemon.policy import MOST_FAILURES, successor_delay_s
from hubfs.mounts import table as mount_table
from tests.conftest import SMALL, MountHub
from tests.mounted.test_lifecycle import children, is_running, told
from tests.support.files import files
from tests.support.models import pack, small_model
from tests.support.mount import DEAD, HUBFS, Machine, Mount, clear, is_mounted, mounted
from tests.support.origin import Origin, running_origin
from tests.support.service_manager import ServiceManager, service
from tests.support.waiting import Stopwatch, eventually

pytestmark = pytest.mark.mounted

VARIABLES = "variables/variables.data-00000-of-00001"
SUPERVISED = "--supervise"
MNT_DETACH = 2
MIB = 1 << 20
STALE = os.strerror(errno.ESTALE)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    """A hub so slow that there is time to kill in the middle of a read: some four seconds for the archive."""
    home = tmp_path_factory.mktemp("slow")
    small = small_model(home / "model")
    archives = {SMALL: pack(small, home / "small.tar.gz")}
    with running_origin(home, {SMALL: small}, archives, bytes_per_s=2_000_000) as servers:
        yield servers


def daemon_of(hub: Mount) -> int:
    """The process that serves the mount now."""
    assert eventually(lambda: told(hub.path))
    return int(told(hub.path)["pid"])


def supervisor_of(hub: Mount) -> int:
    (supervisor,) = {*hub.pids()} - {daemon_of(hub)}
    return supervisor


def kill(hub: Mount) -> None:
    """kill -9 of the daemon; another one serves when this returns."""
    before = daemon_of(hub)
    os.kill(before, signal.SIGKILL)
    assert eventually(lambda: told(hub.path).get("pid", before) != before)


def test_a_read_under_way_returns_the_right_bytes(mount: MountHub, slow: Origin, small: Path) -> None:
    original = (small / VARIABLES).read_bytes()
    with mount(slow.asked_for("compressed"), SUPERVISED) as hub, ThreadPoolExecutor(2) as pool:
        path = hub.path / SMALL / VARIABLES
        with path.open("rb", buffering=0) as file:
            assert os.pread(file.fileno(), 1 << 16, 0) == original[: 1 << 16]
            whole = pool.submit(os.pread, file.fileno(), len(original), 0)
            last = pool.submit(os.pread, file.fileno(), 4096, len(original) - 4096)
            time.sleep(0.3)
            assert not whole.done()
            kill(hub)
            assert last.result(timeout=120) == original[-4096:]
            got = whole.result(timeout=120)  # the kernel may return what it has, as ever
            assert got == original[: len(got)]
            assert os.pread(file.fileno(), len(original), 0)[-100:] == original[-100:]


_MAPS = """
import hashlib, mmap, sys
file = open(sys.argv[1], "rb")
pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
file.close()
print(end=hashlib.sha256(pages[: 1 << 12]).hexdigest(), flush=True)
sys.stdin.read()
print(end=hashlib.sha256(pages).hexdigest())
"""


def test_open_files_mappings_and_directories_live_on(mount: MountHub, servers: Origin, small: Path) -> None:
    original = (small / VARIABLES).read_bytes()
    with mount(servers.asked_for("uncompressed"), SUPERVISED) as hub:
        model = hub.path / SMALL
        with (
            (model / VARIABLES).open("rb", buffering=0) as file,
            os.scandir(model) as listing,
            subprocess.Popen([sys.executable, "-c", _MAPS, model / VARIABLES], stdin=-1, stdout=-1) as mapping,
        ):
            first = next(listing).name
            assert mapping.stdin is not None
            assert mapping.stdout is not None
            assert mapping.stdout.read(64) == sha256(original[: 1 << 12]).hexdigest().encode()
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            for _ in range(2):
                kill(hub)
            mapping.stdin.close()
            assert mapping.stdout.read() == sha256(original).hexdigest().encode()
            assert {first, *(entry.name for entry in listing)} == {*os.listdir(small)}
            assert os.fstat(file.fileno()).st_size == len(original)
            assert file.read() == original
        assert files(model) == files(small)
        assert told(hub.path)["restarts"] == 2
        assert "was killed by SIGKILL; another one takes its mount over" in hub.log()
        assert "was taken over" in hub.log()


def test_a_control_file_is_never_read_in_pieces_of_two_texts(mount: MountHub, servers: Origin, small: Path) -> None:
    """The text is made for its open: what a dead daemon gave out of it no successor goes on with."""
    with mount(servers, SUPERVISED) as hub, contextlib.ExitStack() as opened:
        control = hub.path / ".hubfs"
        assert files(hub.path / SMALL) == files(small)

        def begun(name: str, size_bytes: int) -> tuple[FileIO, bytes]:
            file = opened.enter_context((control / name).open("rb", buffering=0))
            return file, file.read(size_bytes)

        same, start = begun("version", 2)
        in_the_middle = [begun(name, 10)[0] for name in ("status.json", "metrics", "mount.json")]
        kill(hub)
        assert start + same.read() == (control / "version").read_bytes()
        for file in in_the_middle:
            with pytest.raises(OSError, match=STALE):
                file.read()
            with pytest.raises(OSError, match=STALE):
                os.pread(file.fileno(), 1, 10)
            file.seek(0)
            text = file.read()
            if file.name.endswith(".json"):
                assert json.loads(text)["pid"] == daemon_of(hub)
            assert file.read() == b""
            file.close()
        at_the_end, text = begun("metrics", MIB)
        assert len(text) < MIB
        unread, _ = begun("mount.json", 0)
        kill(hub)
        assert text.endswith(b"\n")
        assert at_the_end.read() == b"", "it has the whole text"
        assert json.loads(unread.read())["pid"] == daemon_of(hub)


def test_a_mount_in_the_background_is_supervised_where_it_can_be_taken_over(
    machine: Machine, servers: Origin, tmp_path: Path
) -> None:
    for library, supervised in (("session", True), ("auto", True), ("libfuse3", False)):
        user = machine.with_environment(HUBFS_SUPERVISE="", HUBFS_FUSE_LIBRARY=library)
        for options, expected in (((), supervised), (("--no-supervise",), False)):
            with mounted(user, tmp_path / "hub", servers.url, *options) as hub:
                assert told(hub.path)["supervised"] is expected
                assert len(hub.pids()) == 1 + expected


def test_a_mount_taken_over_ends_as_any_other(mount: MountHub, servers: Origin) -> None:
    with mount(servers, SUPERVISED) as hub:
        kill(hub)
        with (hub.path / SMALL / VARIABLES).open("rb", buffering=0) as file:
            busy = hub.machine.hubfs("unmount", hub.path)
            assert (busy.returncode, is_mounted(hub.path)) == (1, True)
            assert "in use by" in busy.stderr
            assert file.read(1)
            assert hub.machine.hubfs("unmount", "--force", hub.path).returncode == 0
            assert not is_mounted(hub.path)
            assert not hub.pids()
            with pytest.raises(OSError, match=DEAD):
                os.pread(file.fileno(), 10, 5 << 20)


@pytest.mark.parametrize("flags", [0, MNT_DETACH])
def test_a_mount_that_is_taken_off_while_nobody_serves_it_is_over(mount: MountHub, servers: Origin, flags: int) -> None:
    with mount(servers, SUPERVISED) as hub:
        supervisor = supervisor_of(hub)
        assert eventually(lambda: is_taken_off(hub, supervisor, flags))
        assert eventually(lambda: not hub.pids())
        assert not is_mounted(hub.path)


def is_taken_off(hub: Mount, supervisor: int, flags: int) -> bool:
    """Whether umount2(2) takes the mount off while the supervisor cannot start a successor.

    False where a process asked the mount just as its daemon was killed, as a daemon's own pulse does now and then: that
    keeps the mount busy until a successor answers.
    """
    daemon = daemon_of(hub)
    os.kill(supervisor, signal.SIGSTOP)
    try:
        os.kill(daemon, signal.SIGKILL)
        assert eventually(lambda: not is_running(daemon))
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.umount2(os.fsencode(hub.path), flags) == 0:  # umount(8) asks the mount first
            return True
        assert ctypes.get_errno() == errno.EBUSY, os.strerror(ctypes.get_errno())
        return False
    finally:
        os.kill(supervisor, signal.SIGCONT)


def test_a_reader_waits_for_nobody_when_daemon_and_supervisor_are_killed(mount: MountHub, servers: Origin) -> None:
    with mount(servers, SUPERVISED) as hub:
        supervisor, daemon = supervisor_of(hub), daemon_of(hub)
        os.kill(supervisor, signal.SIGKILL)
        assert eventually(lambda: not is_running(supervisor))
        assert (hub.path / SMALL / "fingerprint.pb").read_bytes()  # it serves on, unsupervised
        os.kill(daemon, signal.SIGKILL)
        assert eventually(lambda: mount_table.is_dead(hub.path))


def test_a_daemon_that_was_stopped_is_replaced(machine: Machine, servers: Origin, tmp_path: Path, small: Path) -> None:
    quick = machine.with_environment(HUBFS_HANG_TIMEOUT="4s", **servers.environment)
    original = (small / VARIABLES).read_bytes()
    with mounted(quick, tmp_path / "hub", servers.url, SUPERVISED) as hub:
        with (hub.path / SMALL / VARIABLES).open("rb", buffering=0) as file:
            assert file.read(1 << 12) == original[: 1 << 12]
            daemon = daemon_of(hub)
            time.sleep(2)  # it has said that it is well
            os.kill(daemon, signal.SIGSTOP)
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert file.read() == original[1 << 12 :]
        assert not is_running(daemon)
        assert told(hub.path)["restarts"] == 1
        assert "for it did not answer any more; another one takes its mount over" in hub.log()


HOLDS_THE_INTERPRETER = """
import re, signal
signal.signal(signal.SIGRTMIN, lambda *_arguments: re.match("(a+)+$", "a" * 40 + "b"))  # for hours
"""


def test_the_log_says_where_a_daemon_hung(machine: Machine, servers: Origin, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(HOLDS_THE_INTERPRETER)
    quick = machine.with_environment(HUBFS_HANG_TIMEOUT="4s", PYTHONPATH=str(site), **servers.environment)
    with mounted(quick, tmp_path / "hub", servers.url, SUPERVISED) as hub:
        daemon = daemon_of(hub)
        time.sleep(2)  # it has said that it is well
        os.kill(daemon, signal.SIGRTMIN)
        assert eventually(lambda: not is_running(daemon))
        assert eventually(lambda: told(hub.path).get("restarts") == 1)
        assert f"process {daemon}) was killed by SIGABRT, for it did not answer any more" in hub.log()
        assert f'File "{site}/sitecustomize.py", line 3 in <lambda>' in hub.log()


def test_readers_of_a_mount_that_no_successor_can_serve_get_an_error(
    mount: MountHub, servers: Origin, small: Path, tmp_path: Path
) -> None:
    catalogue = tmp_path / "catalogue.jsonl"
    catalogue.write_text(f"Module\t{SMALL}\n")
    with mount(servers.asked_for("uncompressed"), SUPERVISED, "--catalog", catalogue) as hub:
        with (hub.path / SMALL / VARIABLES).open("rb", buffering=0) as file:
            assert file.read(1)
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            catalogue.rename(tmp_path / "gone")  # no daemon starts without
            watch = Stopwatch()
            os.kill(daemon_of(hub), signal.SIGKILL)
            with pytest.raises(OSError, match=DEAD):
                os.pread(file.fileno(), 1 << 20, 5 << 20)
            least_s = sum(map(successor_delay_s, range(1, MOST_FAILURES + 1)))
            assert least_s <= watch.took_s() < least_s + 30
        (tmp_path / "gone").rename(catalogue)
        assert eventually(lambda: told(hub.path), 90)
        assert files(hub.path / SMALL) == files(small)
        assert len(re.findall(r"(?m)^\S.* another one takes its mount over", hub.log())) == MOST_FAILURES + 1
        assert "it is started again" in hub.log()


def descriptors(pid: int) -> list[str]:
    """What a process has open; it may close a file, or end, meanwhile."""
    found = []
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(str(link.readlink()))
    return found


def command_of(pid: int) -> bytes:
    """Empty for a process that has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def test_no_child_of_a_daemon_has_what_keeps_the_mount_alive(mount: MountHub, slow: Origin) -> None:
    with mount(slow.asked_for("compressed"), SUPERVISED) as hub, ThreadPoolExecutor(1) as pool:
        kill(hub)
        reading = pool.submit((hub.path / SMALL / VARIABLES).read_bytes)
        daemon = daemon_of(hub)
        held: set[str] = set()

        def looked() -> bool:
            # Between fork and exec a child is a copy of the daemon, with all that exec closes.
            begun = [child for child in children(daemon) if command_of(child) not in (b"", command_of(daemon))]
            held.update(name for child in begun for name in descriptors(child))
            return bool(held)

        assert eventually(looked)
        assert not [name for name in held if "fuse" in name or "hubfs-nodes" in name], held
        assert reading.result(timeout=120)


class TestService:
    """Under systemd, the descriptor store is the keeper. Here a fake has its half of the protocol."""

    @pytest.fixture
    def mountpoint(self, tmp_path: Path) -> Iterator[Path]:
        mountpoint = tmp_path / "hub"
        mountpoint.mkdir()
        yield mountpoint
        clear(mountpoint)

    @pytest.fixture
    def manager(self, machine: Machine, tmp_path: Path, mountpoint: Path, servers: Origin) -> Iterator[ServiceManager]:
        for directory in (machine.home, machine.temp):
            directory.mkdir(parents=True)
        environment = {
            **os.environ,
            "HOME": str(machine.home),
            "TMPDIR": str(machine.temp),
            **machine.environment,
            **servers.environment,
        }
        command = [HUBFS, "mount", mountpoint, "--hub", servers.url, "--foreground", "--log-file", tmp_path / "log"]
        with service(tmp_path / "notify", command, environment) as manager:
            yield manager

    def test_a_restart_disturbs_no_reader(self, manager: ServiceManager, mountpoint: Path, small: Path) -> None:
        original = (small / VARIABLES).read_bytes()
        first = manager.start()
        with (mountpoint / SMALL / VARIABLES).open("rb", buffering=0) as file, ThreadPoolExecutor(1) as pool:
            assert file.read(1 << 12) == original[: 1 << 12]
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert manager.end(signal.SIGUSR2) == os.EX_TEMPFAIL  # RestartKillSignal= of the unit
            waiting = pool.submit(file.read)
            again = manager.start()
            assert again != first
            assert waiting.result(timeout=60) == original[1 << 12 :]
            assert told(mountpoint)["pid"] == again
            manager.end(signal.SIGKILL)
            manager.start()
            assert os.pread(file.fileno(), 1 << 12, 0) == original[: 1 << 12]
        assert manager.end(signal.SIGTERM) == 0
        assert not is_mounted(mountpoint)
        assert eventually(lambda: not manager.stored)

    def test_what_cannot_be_taken_over_is_dropped_and_mounted_anew(
        self, manager: ServiceManager, mountpoint: Path, small: Path, tmp_path: Path
    ) -> None:
        manager.start()
        with (mountpoint / SMALL / "saved_model.pb").open("rb", buffering=0) as file:
            manager.end(signal.SIGKILL)
            (nodes,) = [descriptor for name, descriptor in manager.stored.items() if "nodes" in name]
            os.pwrite(nodes, b"another version's", 0)
            manager.start()
            with pytest.raises(OSError, match=DEAD):
                os.pread(file.fileno(), 10, 0)
        assert "cannot be taken over" in (tmp_path / "log").read_text()
        assert files(mountpoint / SMALL) == files(small)
        assert manager.end(signal.SIGTERM) == 0
        assert not is_mounted(mountpoint)

    def test_a_program_takes_the_place_of_another_in_its_process(
        self, manager: ServiceManager, mountpoint: Path, small: Path, tmp_path: Path
    ) -> None:
        """SIGHUP, under a service manager alone: settings are read anew, and no reader is disturbed."""
        original = (small / VARIABLES).read_bytes()
        config = tmp_path / "config.toml"
        config.write_text("")
        process = manager.start(HUBFS_CONFIG=str(config), WATCHDOG_USEC="60000000")
        assert eventually(lambda: any(text.startswith("STATUS=http") for text in manager.said))
        with (mountpoint / SMALL / VARIABLES).open("rb", buffering=0) as file:
            assert file.read() == original  # there is nothing to ask for, offline
            stored = {name: os.fstat(descriptor).st_ino for name, descriptor in manager.stored.items()}
            for text, said in (("offline = true", "READY=1"), ("offline = 7", "STATUS=Nothing was reloaded: ")):
                config.write_text(text)
                manager.said.clear()
                os.kill(process, signal.SIGHUP)
                assert eventually(lambda said=said: any(text.startswith(said) for text in manager.said))
                reloading, microseconds = manager.said[0].split("\nMONOTONIC_USEC=")
                assert reloading == "RELOADING=1"
                assert 0 < int(microseconds) <= time.monotonic_ns() // 1000
                assert eventually(lambda: "READY=1" in manager.said)
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                assert os.pread(file.fileno(), len(original), 0) == original
                assert told(mountpoint)["pid"] == process
            assert {name: os.fstat(descriptor).st_ino for name, descriptor in manager.stored.items()} == stored
        assert told(mountpoint)["offline"] is True
        assert manager.end(signal.SIGTERM) == 0
        assert eventually(lambda: "STOPPING=1" in manager.said and not manager.stored)
        assert not is_mounted(mountpoint)

    def test_it_hears_that_the_mount_is_well(self, manager: ServiceManager) -> None:
        manager.start(WATCHDOG_USEC="2000000")
        assert eventually(lambda: manager.said.count("WATCHDOG=1") > 1)
        assert manager.process is not None
        os.kill(manager.process.pid, signal.SIGSTOP)
        manager.said.clear()
        time.sleep(3)
        assert "WATCHDOG=1" not in manager.said
        os.kill(manager.process.pid, signal.SIGCONT)
        assert eventually(lambda: "WATCHDOG=1" in manager.said)
        assert manager.end(signal.SIGTERM) == 0
