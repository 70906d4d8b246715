"""How a mount ends: in time, whatever its readers wait for; told clearly when it is busy; with nothing left behind."""

import contextlib
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hubfs.blobs.streaming.stream import MOST_CONNECTIONS
from hubfs.cache.ahead import FETCHES
from hubfs.daemon.policy import delay_s
from hubfs.mounts import table as mount_table
from tests.conftest import SMALL, MountHub
from tests.support.figures import Figures, budget
from tests.support.files import files
from tests.support.gcs_server import Fault
from tests.support.http_origin import Answer, HttpOrigin, paced, stall, stall_first, status
from tests.support.models import pack
from tests.support.mount import DEAD, HUBFS, Machine, Mount, is_mounted, mounted, processes_naming
from tests.support.origin import Origin, running_origin
from tests.support.waiting import Stopwatch, eventually

pytestmark = pytest.mark.mounted

END_S = 2.0
"""From the signal until process and mount are gone."""
COMMAND_S = 2.0
"""What `hubfs` itself takes to start, at most, on a machine that does other things, too."""
VARIABLES = "variables/variables.data-00000-of-00001"
GIVEN_UP = (errno.EIO, errno.ENOTCONN, errno.ECONNABORTED)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, small: Path) -> bytes:
    return pack(small, tmp_path_factory.mktemp("packed") / "small.tar.gz").read_bytes()


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory, small: Path) -> Iterator[Origin]:
    """Servers whose faults are not those of others."""
    home = tmp_path_factory.mktemp("stalling")
    with running_origin(home, {SMALL: small}, {SMALL: pack(small, home / "small.tar.gz")}) as origin:
        yield origin
        origin.store.reset()


class Reader(threading.Thread):
    """Reads a file, or looks it up, until that ends; remembers the errno."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        super().__init__(name="reader", daemon=True)
        self._path, self._offset = path, offset
        self.errno: int | None = None
        self.start()

    def run(self) -> None:
        try:
            with self._path.open("rb", buffering=0) as file:
                while chunk := os.pread(file.fileno(), 1 << 20, self._offset):
                    self._offset += len(chunk)
        except OSError as error:
            self.errno = error.errno


@dataclass
class Stalled:
    """A hub that keeps its readers waiting. `begin` starts them; when it returns, they wait."""

    url: str
    begin: Callable[[Mount], list[Reader]]
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


Scenario = Callable[["Servers"], AbstractContextManager[Stalled]]


@dataclass
class Servers:
    """What scenarios are made of."""

    archive: bytes
    stores: Origin
    tmp_path: Path


def _waiting(*readers: Reader) -> list[Reader]:
    """The readers, once they wait (half a second is long where everything else takes milliseconds)."""
    time.sleep(0.5)
    assert all(reader.is_alive() for reader in readers)
    return list(readers)


def _of_transfers(fault: Callable[[Answer], Answer]) -> Callable[[Answer], Answer]:
    """The fault, for replies that are more than a look at the head: a connection that stalls serves nobody else."""
    return lambda answer: fault(answer) if len(answer.body) > 1000 else answer


@contextlib.contextmanager
def archive_stalls(servers: Servers, *, after: int, stopped: bool = False) -> Iterator[Stalled]:
    with HttpOrigin() as origin:
        origin.put(f"/{SMALL}", servers.archive, etag='"1"')
        origin.always(f"/{SMALL}", _of_transfers(stall(after)))

        def begin(hub: Mount) -> list[Reader]:
            reader = Reader(hub.path / SMALL / VARIABLES)
            if stopped:
                (daemon,) = hub.pids()
                assert eventually(lambda: bool(children(daemon)))
                time.sleep(0.3)
                for child in children(daemon):
                    os.kill(child, signal.SIGSTOP)
            return _waiting(reader)

        yield Stalled(origin.url, begin, ("--format", "compressed", "--inflate-workers", "2"))


@contextlib.contextmanager
def bucket_stalls(servers: Servers, *, readers: int = 1) -> Iterator[Stalled]:
    def begin(hub: Mount) -> list[Reader]:
        assert os.listdir(hub.path / SMALL)
        servers.stores.store.spoil(*[Fault(stall_s=60)] * 20)
        return _waiting(*[Reader(hub.path / SMALL / VARIABLES) for _ in range(readers)])

    yield Stalled(servers.stores.url, begin, ("--format", "uncompressed"), servers.stores.environment)


@contextlib.contextmanager
def prefetching_stalls(servers: Servers) -> Iterator[Stalled]:
    def begin(hub: Mount) -> list[Reader]:
        os.listdir(hub.path / SMALL)
        with (hub.path / SMALL / "saved_model.pb").open("rb", buffering=0) as file:
            servers.stores.store.spoil(*[Fault(stall_s=60)] * 20)
            with contextlib.suppress(OSError):
                (hub.path / SMALL / "debug/saved_model_debug_info.pb").stat()
            assert file.fileno()
        time.sleep(0.5)
        return []

    yield Stalled(servers.stores.url, begin, ("--format", "uncompressed"), servers.stores.environment)


@contextlib.contextmanager
def resolver_stalls(_servers: Servers) -> Iterator[Stalled]:
    with HttpOrigin() as origin:
        origin.always(f"/{SMALL}", stall_first())
        yield Stalled(origin.url, lambda hub: _waiting(Reader(hub.path / SMALL / VARIABLES)))


@contextlib.contextmanager
def full_backlog() -> Iterator[int]:
    """A port that completes no more connections: they hang as they do where packets are dropped."""
    with socket.socket() as listener, ExitStack() as opened:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = int(listener.getsockname()[1])
        for _ in range(4):
            filler = opened.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        time.sleep(0.1)
        yield port


@contextlib.contextmanager
def connect_hangs(_servers: Servers) -> Iterator[Stalled]:
    with full_backlog() as port:
        yield Stalled(f"http://127.0.0.1:{port}", lambda hub: _waiting(Reader(hub.path / SMALL / VARIABLES)))


@contextlib.contextmanager
def names_hang(servers: Servers) -> Iterator[Stalled]:
    library = servers.tmp_path / "no_names.so"
    source = Path(__file__).parents[1] / "support" / "c" / "no_names.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, source], check=True)
    yield Stalled(
        "http://hub.invalid",
        lambda hub: _waiting(Reader(hub.path / SMALL / VARIABLES)),
        environment={"LD_PRELOAD": str(library)},
    )


@contextlib.contextmanager
def shared_store_stalls(servers: Servers) -> Iterator[Stalled]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:  # connects, and never says anything
        yield Stalled(
            servers.stores.url,
            lambda hub: _waiting(Reader(hub.path / SMALL / VARIABLES)),
            ("--format", "compressed", "--cache-dir", "gs://fleet/cache"),
            {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{silent.getsockname()[1]}"},
        )


def children(pid: int) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((process / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(process.name))
    return found


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def signalled(number: signal.Signals) -> Callable[[Mount], float]:
    def end(hub: Mount) -> float:
        (daemon,) = hub.pids()
        os.kill(daemon, number)
        return END_S

    return end


def forced(hub: Mount) -> float:
    done = hub.machine.hubfs("unmount", "--force", hub.path)
    assert done.returncode == 0, done.stderr
    assert not hub.pids(), "the command came back before the daemon was gone"
    return END_S + COMMAND_S


TERM, INT, HUP = (signalled(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))

CASES: dict[str, tuple[Scenario, Callable[[Mount], float], str]] = {
    "before the first byte of an archive": (lambda s: archive_stalls(s, after=0), TERM, "session"),
    "in the middle of an archive": (lambda s: archive_stalls(s, after=6 << 20), TERM, "libfuse2"),
    "the inflating process is stopped": (lambda s: archive_stalls(s, after=6 << 20, stopped=True), TERM, "libfuse3"),
    "a range of a bucket, which others wait for, too": (lambda s: bucket_stalls(s, readers=3), INT, "session"),
    "a range of a bucket, by force": (bucket_stalls, forced, "libfuse2"),
    "prefetching is under way": (prefetching_stalls, TERM, "session"),
    "the hub does not answer": (resolver_stalls, HUP, "session"),
    "a connection hangs": (connect_hangs, TERM, "libfuse2"),
    "the name service hangs": (names_hang, TERM, "session"),
    "the shared cache does not answer": (shared_store_stalls, TERM, "session"),
}


@pytest.mark.parametrize(("scenario", "end", "binding"), CASES.values(), ids=CASES, indirect=["binding"])
def test_a_mount_ends_within_two_seconds_though_readers_wait(
    machine: Machine,
    tmp_path: Path,
    archive: bytes,
    stores: Origin,
    figures: Figures,
    scenario: Scenario,
    end: Callable[[Mount], float],
) -> None:
    stores.store.reset()
    with scenario(Servers(archive, stores, tmp_path)) as stalled:
        user = machine.with_environment(**stalled.environment)
        with mounted(user, tmp_path / "hub", stalled.url, *stalled.options) as hub:
            readers = stalled.begin(hub)
            (daemon,) = hub.pids()
            helpers = children(daemon)
            watch = Stopwatch()
            bound_s = end(hub)
            while is_running(daemon) or is_mounted(hub.path):
                assert watch.took_s() < 30, "the daemon does not end"
                time.sleep(0.005)
            took_s = watch.took_s()
            for reader in readers:
                reader.join(60)
                assert not reader.is_alive(), "a reader hangs"
                assert reader.errno in GIVEN_UP
            assert eventually(lambda: not any(map(is_running, helpers)), 2), "the inflating process was left behind"
    assert took_s < bound_s, f"it took {took_s:.2f} s"
    figures.add("lifecycle", ends_with_reads_in_flight=1)
    figures.note(
        "lifecycle",
        **{
            f"slowest_end_{'by_force' if end is forced else 'by_signal'}_s": max(
                took_s, _slowest.get(end is forced, 0.0)
            )
        },
    )
    _slowest[end is forced] = max(took_s, _slowest.get(end is forced, 0.0))


_slowest: dict[bool, float] = {}

HOLDERS = {
    "an open file": "file = open(sys.argv[1], 'rb')",
    "a mapped file": "import mmap; file = open(sys.argv[1], 'rb'); pages = mmap.mmap(file.fileno(), 0, "
    "access=mmap.ACCESS_READ); file.close()",
    "a working directory": "import os; os.chdir(os.path.dirname(sys.argv[1]))",
}


@contextlib.contextmanager
def holder(program: str, path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that keeps the mount busy."""
    command = [sys.executable, "-c", f"import sys; {program}; print(1, flush=True); sys.stdin.read()", path]
    with subprocess.Popen(command, stdin=-1, stdout=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def test_a_busy_mount_names_who_uses_it_and_ends_by_force(mount: MountHub, servers: Origin) -> None:
    # What is open and passed through, the kernel reads on without any daemon.
    with mount(servers, "--verify", "always") as hub, ExitStack() as held:
        for program in HOLDERS.values():
            with holder(program, hub.path / SMALL / "saved_model.pb") as process:
                done = hub.machine.hubfs("unmount", hub.path)
                assert done.returncode == 1
                assert re.search(rf"in use by .*\({process.pid}\); .*--force", done.stderr), done.stderr
                assert len(done.stderr.splitlines()) == 1
                assert is_mounted(hub.path)
        file = held.enter_context((hub.path / SMALL / VARIABLES).open("rb", buffering=0))
        done = hub.machine.hubfs("unmount", "--force", hub.path)
        assert done.returncode == 0, done.stderr
        assert not is_mounted(hub.path)
        assert not hub.pids()
        with pytest.raises(OSError, match=DEAD):
            os.pread(file.fileno(), 10, 5 << 20)


def test_a_dead_mount_is_found_and_replaced_though_somebody_is_in_there(
    mount: MountHub, servers: Origin, small: Path
) -> None:
    with (
        mount(servers) as hub,
        holder(HOLDERS["a working directory"], hub.path / SMALL / "saved_model.pb"),
        holder(HOLDERS["an open file"], hub.path / SMALL / "saved_model.pb"),
    ):
        hub.kill()
        said = hub.machine.hubfs("status", hub.path)
        assert said.returncode == 1
        assert "dead" in said.stdout
        with mount(servers) as again:
            assert files(again.path / SMALL) == files(small)
            again.kill()
            assert again.machine.hubfs("unmount", again.path).returncode == 0
            assert not is_mounted(again.path)


def test_a_stuck_mount_keeps_nobody_from_mounting_elsewhere(
    mount: MountHub, machine: Machine, tmp_path: Path, servers: Origin
) -> None:
    # As after a day, when the kernel asks for the root's attributes again.
    with mount(servers, "-o", "attr_timeout=0") as stuck:
        pid = stuck.status()["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            with mounted(machine, tmp_path / "elsewhere", servers.url, timeout_s=20) as hub:
                assert (hub.path / ".hubfs" / "version").read_text()
        finally:
            os.kill(pid, signal.SIGCONT)


def test_mount_points_may_have_any_name(machine: Machine, tmp_path: Path, servers: Origin) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / "link").symlink_to(target)
    for name in ("blank and\nnew line\\ ünï, no text: " + os.fsdecode(b"\xff"), "link"):
        mountpoint = tmp_path / name
        where = target if name == "link" else mountpoint
        with mounted(machine.with_environment(**servers.environment), mountpoint, servers.url) as hub:
            assert is_mounted(where)
            assert (hub.path / SMALL / "fingerprint.pb").stat().st_size == 57
            assert hub.status()["mountpoint"] == str(mountpoint)
            assert machine.hubfs("unmount", mountpoint).returncode == 0
            assert not is_mounted(where)


def test_a_mount_whose_directory_was_renamed_is_taken_off_where_it_is_now(
    machine: Machine, tmp_path: Path, servers: Origin
) -> None:
    (tmp_path / "before").mkdir()
    with mounted(machine, tmp_path / "before" / "hub", servers.url) as hub:
        (daemon,) = hub.pids()
        (tmp_path / "before").rename(tmp_path / "after")
        os.kill(daemon, signal.SIGTERM)
        assert eventually(lambda: not is_running(daemon), END_S)
        assert not is_mounted(tmp_path / "after" / "hub")
        assert os.listdir(tmp_path / "after" / "hub") == []
        (tmp_path / "after").rename(tmp_path / "before")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes mount namespaces")
def test_a_copy_of_the_mount_in_another_namespace_keeps_no_daemon(mount: MountHub, servers: Origin) -> None:
    """Whatever is started with mounts of its own (a container, a service) gets a copy of those that are there."""
    elsewhere = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo there; exec sleep 60"]
    with mount(servers) as hub, subprocess.Popen(elsewhere, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"there\n"
            assert f" {hub.path} " in Path(f"/proc/{process.pid}/mountinfo").read_text()
            done = hub.machine.hubfs("unmount", hub.path, timeout_s=40)
            assert done.returncode == 0, done.stderr
            assert not is_mounted(hub.path)
            assert not hub.pids()
        finally:
            process.kill()


def test_of_mounts_that_begin_at_once_on_one_place_one_wins(machine: Machine, tmp_path: Path, servers: Origin) -> None:
    mountpoint = tmp_path / "hub"
    for directory in (mountpoint, machine.home, machine.temp):
        directory.mkdir(parents=True)
    done: list[subprocess.CompletedProcess[str]] = []
    try:
        racers = [
            threading.Thread(target=lambda: done.append(machine.hubfs("mount", mountpoint, "--hub", servers.url)))
            for _ in range(3)
        ]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        assert sorted(one.returncode for one in done) == [0, 1, 1], [one.stderr for one in done]
        for one in done:
            if one.returncode:
                assert re.search("just being mounted|is mounted at .* already", one.stderr), one.stderr
        assert Path("/proc/mounts").read_text().count(f" {mountpoint} ") == 1
    finally:
        machine.hubfs("unmount", "--force", mountpoint)
    assert not is_mounted(mountpoint)
    assert eventually(lambda: not processes_naming(mountpoint))


def _traces(base: Path) -> dict[str, object]:
    """What a mount could leave behind outside of its cache. Sockets here are those of the tests' own servers."""
    kinds = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the listing itself
            kinds.append(str(Path(f"/proc/self/fd/{number}").readlink()))
    return {
        "descriptors": sorted(kind for kind in kinds if not kind.startswith("socket:")),
        "threads": threading.active_count(),
        "processes": processes_naming(base / "hub"),
        "mounts": [line for line in Path("/proc/mounts").read_text().splitlines() if f"{base}/hub" in line],
        "temporary files": sorted((base / "machine" / "temp").rglob("*")),
        "shared memory": [name for name in os.listdir("/dev/shm") if "hubfs" in name],
        "cache": sorted((base / "machine" / "home" / ".cache").rglob("*")),
    }


@pytest.mark.timeout(1200)  # a hundred take 200 s, and twice as long on a busy machine
def test_cycles_of_mounting_and_unmounting_leave_nothing_behind(
    mount: MountHub, servers: Origin, tmp_path: Path, figures: Figures
) -> None:
    def cycle() -> None:
        with mount(servers.asked_for("compressed")) as hub:
            assert (hub.path / SMALL / "fingerprint.pb").stat().st_size == 57
            (hub.path / SMALL / VARIABLES).read_bytes()
            device = os.minor(hub.path.stat().st_dev)
            named = f"@hubfs/daemon/0:{device}"
            (inode,) = [inode for inode, name in _named_sockets() if name == named]
            assert hub.machine.hubfs("unmount", hub.path).returncode == 0
            assert inode not in dict(_named_sockets())
            # Where it is shown at all; the next mount of anybody may have the number again, and other mount namespaces
            # a copy of this one.
            connections = {int(name) for name in os.listdir("/sys/fs/fuse/connections")}
            assert device not in connections or _is_mounted_for_anybody(device)

    cycle()
    cycle()  # which verifies the files that the first has kept, and says so in a seal beside them
    before = _traces(tmp_path)
    cycles = int(budget("lifecycle_cycles", boxed=4, full=100))
    for _ in range(cycles):
        cycle()
    eventually(lambda: _traces(tmp_path) == before, 5)
    assert _traces(tmp_path) == before
    figures.add("lifecycle", cycles_of_mount_and_unmount=cycles)


def _is_mounted_for_anybody(device: int) -> bool:
    for mounts in Path("/proc").glob("[0-9]*/mountinfo"):
        with contextlib.suppress(OSError):  # it has just ended
            if f" 0:{device} " in mounts.read_text(errors="replace"):
                return True
    return False


def _named_sockets() -> list[tuple[str, str]]:
    lines = map(str.split, Path("/proc/net/unix").read_text().splitlines()[1:])
    return [(fields[6], fields[7]) for fields in lines if len(fields) == 8]


MANY = FETCHES + 4
"""So many passes end in the middle: a thread or a descriptor that one of them left would show beside the pool's."""


@dataclass
class Kept:
    """What a daemon keeps: threads, descriptors by what they are of, and connections to hosts among them."""

    threads: int
    files: list[str]
    sockets: int
    connections: int

    def is_no_more_than(self, before: "Kept") -> bool:
        # Connections and threads of the pool are kept for the next request. How many are there to be kept is chance: as
        # many as were busy at once, of which a pass has up to MOST_CONNECTIONS, and readers' windows up to FETCHES.
        most_connections = max(before.connections, MOST_CONNECTIONS)
        return (
            self.threads <= before.threads + FETCHES
            and self.sockets <= before.sockets
            and self.files == before.files
            and self.connections <= most_connections
        )


def kept_by(pid: int) -> Kept:
    kinds = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            kinds.append(str(descriptor.readlink()))
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()
    ]
    connected = {f"socket:[{fields[9]}]" for fields in lines}
    files = sorted(kind for kind in kinds if not kind.startswith("socket:"))
    connections = sum(kind in connected for kind in kinds)
    return Kept(len(os.listdir(f"/proc/{pid}/task")), files, len(kinds) - len(files) - connections, connections)


def test_a_daemon_keeps_no_thread_and_no_descriptor_of_what_is_over(
    machine: Machine, tmp_path: Path, archive: bytes, small: Path, figures: Figures
) -> None:
    with HttpOrigin() as origin:
        origin.put(f"/{SMALL}", archive, etag='"1"')
        for number in range(1 + MANY):
            origin.put(f"/noise/slow{number}/1", archive, etag='"1"')
            origin.always(f"/noise/slow{number}/1", _of_transfers(paced(20_000_000)))
        for number in range(50):
            origin.route(f"/noise/refused{number}/1", lambda _: status(403)(None))  # type: ignore[arg-type]
        with mounted(machine, tmp_path / "hub", origin.url, "--format", "compressed") as hub:
            (daemon,) = hub.pids()

            def use(first: int, slow: range) -> None:
                for number in range(100):
                    assert (hub.path / SMALL / "fingerprint.pb").read_bytes()[:1]
                    with (hub.path / SMALL / VARIABLES).open("rb") as file:
                        file.seek(number << 16)
                        assert len(file.read(1000)) == 1000
                    with pytest.raises(FileNotFoundError):
                        (hub.path / f"noise/absent{first + number}/1").stat()
                    with pytest.raises(FileNotFoundError):
                        (hub.path / SMALL / f"absent{number}").read_bytes()
                for number in range(first // 4, first // 4 + 25):
                    with pytest.raises(PermissionError):
                        os.listdir(hub.path / f"noise/refused{number}/1")
                for number in slow:
                    path = hub.path / f"noise/slow{number}/1" / VARIABLES
                    with subprocess.Popen(["cat", path], stdout=-1) as reader:
                        assert reader.stdout is not None
                        assert reader.stdout.read(100_000)
                        reader.kill()  # in mid-read

            use(0, range(1))
            time.sleep(3)  # the slow pass ends; files of the cache stay open for moments
            before = kept_by(daemon)
            use(100, range(1, 1 + MANY))
            assert eventually(lambda: kept_by(daemon).is_no_more_than(before), 15), f"{before}\n{kept_by(daemon)}"
            after = kept_by(daemon)
    figures.note(
        "lifecycle",
        daemon_threads=f"{before.threads} and {after.threads}",
        daemon_files=f"{len(before.files)} and {len(after.files)}",
        daemon_sockets=f"{before.sockets} and {after.sockets}",
        daemon_connections=f"{before.connections} and {after.connections}",
    )


@pytest.mark.timeout(900)  # before the tenth start alone it pauses for half a minute
@pytest.mark.parametrize("binding", ["libfuse3"], indirect=True)  # which nobody can take over
def test_a_supervised_mount_is_there_again_after_every_kill(
    mount: MountHub, servers: Origin, small: Path, figures: Figures
) -> None:
    expected = (small / "saved_model.pb").read_bytes()
    kills = int(budget("supervised_kills", boxed=3, full=10))
    right, wrong, over = [0], [0], threading.Event()

    def read() -> None:
        while not over.wait(0.01):
            with contextlib.suppress(OSError):
                bytes_are_right = (hub.path / SMALL / "saved_model.pb").read_bytes() == expected
                (right if bytes_are_right else wrong)[0] += 1

    slowest_s = 0.0
    with mount(servers.asked_for("compressed"), "--supervise") as hub:
        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        try:
            for number in range(kills):
                assert eventually(lambda: right[0] > 0, 30)
                found = told(hub.path)
                assert (found["supervised"], found["restarts"]) == (True, number)
                helpers = children(found["pid"])
                os.kill(found["pid"], signal.SIGKILL)
                killed_s = time.monotonic()
                pause_s = delay_s(number + 1)  # the tenth is the longest there is
                came_back = eventually(
                    lambda: told(hub.path).get("restarts") == number + 1,  # noqa: B023 - called now
                    pause_s + 30,
                )
                figures.add("lifecycle", supervised_kills=1, came_back=came_back)
                assert came_back
                slowest_s = max(slowest_s, time.monotonic() - killed_s - pause_s)
                right[0] = 0
                assert not any(map(is_running, helpers))
            assert eventually(lambda: right[0] > 0, 30)
        finally:
            over.set()
            for reader in readers:
                reader.join(60)
        assert not any(reader.is_alive() for reader in readers)
        assert wrong == [0]
        assert "was killed by SIGKILL; it is started again in 0.1 s" in hub.log()
        assert f"restarted {kills} times" in hub.machine.hubfs("status", hub.path).stdout
        assert hub.machine.hubfs("unmount", hub.path).returncode == 0
        assert not hub.pids(), "the supervisor ends, too"
    figures.note("lifecycle", slowest_return_after_the_pause_s=slowest_s)


def told(path: Path) -> dict[str, Any]:
    """What the daemon says of itself; nothing if there is none, or it died while it was asked."""
    with contextlib.suppress(OSError):
        return dict(json.loads((path / ".hubfs" / "status.json").read_bytes()))
    return {}


def test_a_supervisor_ends_with_its_dead_mount_and_is_alone(mount: MountHub, servers: Origin) -> None:
    with mount(servers, "--supervise") as hub:
        second = hub.machine.hubfs("mount", hub.path, "--supervise", "--hub", servers.url)
        assert second.returncode == 1
        assert "already" in second.stderr
        os.kill(told(hub.path)["pid"], signal.SIGKILL)
        done = hub.machine.hubfs("unmount", hub.path)  # while nothing, something dead or something new is mounted
        assert done.returncode == 0, done.stderr
        assert not is_mounted(hub.path)
        assert not hub.pids()


@pytest.mark.parametrize("binding", ["libfuse3"], indirect=True)  # which nobody can take over
def test_a_supervisor_ends_when_somebody_else_took_its_place(
    mount: MountHub, servers: Origin, small: Path, figures: Figures
) -> None:
    with mount(servers, "--supervise") as hub:
        daemon = told(hub.path)["pid"]
        (supervisor,) = {*hub.pids()} - {daemon}
        os.kill(supervisor, signal.SIGSTOP)  # or it would be faster than anybody
        os.kill(daemon, signal.SIGKILL)
        assert eventually(lambda: mount_table.is_dead(hub.path))
        with mount(servers) as by_hand:
            os.kill(supervisor, signal.SIGCONT)
            assert eventually(lambda: not is_running(supervisor))
            assert f"A hub was mounted at {hub.path} by somebody else meanwhile" in hub.log()
            assert told(by_hand.path)["supervised"] is False
            assert (by_hand.path / SMALL / "saved_model.pb").read_bytes() == (small / "saved_model.pb").read_bytes()
    figures.add("lifecycle", places_left_to_others=1)


def test_a_supervisor_in_the_foreground_tells_systemd_and_passes_signals_on(
    machine: Machine, tmp_path: Path, servers: Origin
) -> None:
    mountpoint = tmp_path / "hub"
    for directory in (mountpoint, machine.home, machine.temp):
        directory.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        environment = {
            **os.environ,
            "HOME": str(machine.home),
            "TMPDIR": str(machine.temp),
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "HUBFS_SUPERVISE": "true",
        }
        command = [HUBFS, "mount", mountpoint, "--hub", servers.url, "--foreground"]
        with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            assert manager.recv(100) == b"READY=1"
            assert is_mounted(mountpoint)
            watch = Stopwatch()
            process.terminate()
            assert process.wait(60) == 0
            assert watch.took_s() < END_S
            assert process.stderr is not None
            assert b"Traceback" not in process.stderr.read()
    assert not is_mounted(mountpoint)
    assert not processes_naming(mountpoint)


def test_a_daemon_that_is_told_to_end_many_times_ends_well(machine: Machine, tmp_path: Path, servers: Origin) -> None:
    """As when a supervisor and a service manager both do; a status of its own would have it started again."""
    with mounted(machine, tmp_path / "hub", servers.url, "--supervise") as hub:
        daemon = told(hub.path)["pid"]
        while is_running(daemon):
            with contextlib.suppress(ProcessLookupError):
                os.kill(daemon, signal.SIGTERM)
            time.sleep(0.001)
        assert eventually(lambda: not hub.pids())
        assert "is started again" not in hub.log()
        assert not is_mounted(hub.path)


def test_a_supervised_mount_that_fails_at_once_says_why(machine: Machine, tmp_path: Path) -> None:
    done = machine.hubfs("mount", tmp_path, "--hub", "http://127.0.0.1:9", "--supervise", "-o", "no_such_option")
    assert done.returncode == 1
    assert "could not mount" in done.stderr or "is not empty" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not is_mounted(tmp_path)
