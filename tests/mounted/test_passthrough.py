"""Files that the kernel reads itself, out of the disk cache: the daemon's counters say that nobody asked it."""

import ctypes.util
import fcntl
import json
import mmap
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hubfs.fuse.passthrough import why_off
from tests.conftest import SMALL, MountHub
from tests.mounted.test_taking_over import kill
from tests.support.another_user import ordinary_machine, run
from tests.support.disk_cache import spoil
from tests.support.files import files, listed
from tests.support.mount import Machine, Mount
from tests.support.origin import Origin
from tests.support.paths import ROOT
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted

DATA = "variables/variables.data-00000-of-00001"
MIB = 1 << 20


def _has_newer_libfuse() -> bool:
    return ctypes.util.find_library("fuse3") == "libfuse3.so.4"


by_libfuse_too = pytest.mark.parametrize("binding", ["session", "libfuse3"], indirect=True)


@pytest.fixture
def binding(request: pytest.FixtureRequest) -> str:
    return str(getattr(request, "param", "session"))


@pytest.fixture
def machine(tmp_path: Path, binding: str) -> Machine:
    """libfuse 3 is one that has passthrough: the machine's own, or the one that the tests' setup builds."""
    environment = {"HUBFS_FUSE_LIBRARY": binding}
    if binding == "libfuse3":
        built = ROOT / ".work" / "libfuse"
        if (built / "libfuse3.so.4").exists():
            environment["LD_LIBRARY_PATH"] = str(built)
        elif not _has_newer_libfuse():
            pytest.skip("there is no libfuse 3.17, neither installed nor built by scripts/test")
    return Machine(tmp_path / "machine", environment)


@pytest.fixture
def bucket(servers: Origin) -> Origin:
    """The servers, asked for files of a bucket."""
    return servers.asked_for("uncompressed")


@pytest.fixture(autouse=True)
def _where_the_kernel_has_it(request: pytest.FixtureRequest) -> None:
    reason = why_off(Path("/"), verify_each_read=False)
    if reason is not None and "says_why" not in request.node.name:
        pytest.skip(reason)


def reads(hub: Mount) -> int:
    """How many blocks were looked for in the cache so far: each read that reaches the daemon looks for some."""
    memory = hub.status()["cache"]["memory"]
    return int(memory["hits"] + memory["misses"])


def passed_through(hub: Mount) -> int:
    """How many inodes are open so now."""
    return int(hub.status()["passthrough"]["open_files"])


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def passes(hub: Mount, path: Path) -> bool:
    """Whether the file, once opened, is passed through."""
    with opened(path):
        return passed_through(hub) == 1


def read_whole(hub: Mount, small: Path) -> tuple[Path, bytes]:
    """The path of DATA, and its bytes, once all of SMALL was read and the file is passed through."""
    path = hub.path / SMALL / DATA
    assert files(hub.path / SMALL) == files(small)
    assert eventually(lambda: passes(hub, path))
    return path, (small / DATA).read_bytes()


def cached(hub: Mount, path: str) -> Path:
    """The data file of a file of SMALL in the disk cache."""
    found = [*(hub.machine.root.rglob(f"{SMALL.rpartition('/')[2]}@*/data/{path}"))]
    assert len(found) == 1
    return found[0]


def is_held(model: Path) -> bool:
    """Whether any process keeps the cache's model, a directory, from eviction."""
    with (model / "in-use").open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def by_read(path: Path) -> bytes:
    return path.read_bytes()


def by_mmap(path: Path) -> bytes:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        return bytes(mapped)


def by_sendfile(path: Path) -> bytes:
    ours, theirs = socket.socketpair()
    with ours, theirs, path.open("rb") as file:
        sender = threading.Thread(target=lambda: (ours.sendfile(file), ours.shutdown(socket.SHUT_WR)))
        sender.start()
        data = b"".join(iter(lambda: theirs.recv(MIB), b""))
        sender.join()
    return data


def by_direct_io(path: Path) -> bytes:
    with opened(path) as fd:
        direct = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECT)
        buffer = mmap.mmap(-1, 16 * MIB)
        try:
            return buffer[: os.preadv(direct, [buffer], 0)]
        finally:
            os.close(direct)


@by_libfuse_too
@pytest.mark.parametrize("read", [by_read, by_mmap, by_sendfile, by_direct_io])
def test_what_is_whole_is_read_by_the_kernel_itself(
    mount: MountHub, origin: Origin, small: Path, read: Callable[[Path], bytes]
) -> None:
    with mount(origin) as hub:
        assert files(hub.path / SMALL) == files(small)
        for _ in range(2):
            assert eventually(lambda: passes(hub, hub.path / SMALL / DATA))
            before = reads(hub)
            assert read(hub.path / SMALL / DATA) == (small / DATA).read_bytes()
            assert reads(hub) == before, "the daemon was asked"
        assert passed_through(hub) == 0
        state = hub.status()["passthrough"]
        assert state.pop("opens") > 0
        assert state == {"on": True, "off_because": None, "open_files": 0}
        assert "passthrough: on" in hub.machine.hubfs("status", hub.path).stdout
        assert "FUSE passthrough" in hub.log()


@by_libfuse_too
def test_the_first_open_after_a_remount_passes_through(mount: MountHub, bucket: Origin, small: Path) -> None:
    """Whether a seal of the last daemon says so, or not."""
    with mount(bucket) as hub:
        assert files(hub.path / SMALL) == files(small)
    for _ in range(2):
        with mount(bucket) as hub:
            before = reads(hub)
            assert files(hub.path / SMALL) == files(small)
            assert reads(hub) == before
            for seals in hub.machine.root.rglob("seals"):
                shutil.rmtree(seals)


@by_libfuse_too
def test_a_file_that_is_open_stays_as_it_was_opened(mount: MountHub, bucket: Origin, small: Path) -> None:
    with mount(bucket) as hub:
        path = hub.path / SMALL / DATA
        content = (small / DATA).read_bytes()
        with opened(path) as first:
            assert os.pread(first, 16 * MIB, 0) == content
            with opened(path) as second:
                assert os.pread(second, 16 * MIB, 0) == content
                assert passed_through(hub) == 0
        assert eventually(lambda: passes(hub, path))
        with opened(path) as first, opened(path) as second:
            assert os.pread(first, 16 * MIB, 0) == os.pread(second, 16 * MIB, 0) == content
            assert passed_through(hub) == 1
        assert passed_through(hub) == 0


@by_libfuse_too
def test_damage_on_the_disk_is_found_before_a_file_passes_through(mount: MountHub, bucket: Origin, small: Path) -> None:
    with mount(bucket) as hub:
        path, content = read_whole(hub, small)
        spoil(cached(hub, DATA), 3 * MIB + 17)
        with opened(path) as fd:
            assert passed_through(hub) == 0
            assert os.pread(fd, 16 * MIB, 0) == content
    spoil(cached(hub, DATA), 5 * MIB + 17)
    with mount(bucket) as hub:
        assert files(hub.path / SMALL) == files(small)
        assert eventually(lambda: passes(hub, path))
        assert by_mmap(path) == content
        assert cached(hub, DATA).read_bytes() == content


def test_a_file_whose_backing_file_changed_while_it_is_open_is_opened_beside_it(
    mount: MountHub, bucket: Origin, small: Path
) -> None:
    with mount(bucket) as hub:
        path, content = read_whole(hub, small)
        with opened(path):
            spoil(cached(hub, DATA), 17)
            for _ in range(3):
                assert path.read_bytes() == content


def test_what_is_evicted_or_deleted_is_read_on(mount: MountHub, bucket: Origin, small: Path) -> None:
    with mount(bucket) as hub:
        path, content = read_whole(hub, small)
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            shutil.rmtree(cached(hub, DATA).parents[2])
            assert bytes(mapped) == file.read() == content
            assert path.read_bytes() == content, "another opener, meanwhile"
        assert path.read_bytes() == content


@by_libfuse_too
def test_a_mapping_outlives_the_daemon_and_the_mount(mount: MountHub, bucket: Origin, small: Path) -> None:
    with mount(bucket) as hub:
        path, content = read_whole(hub, small)
        file = path.open("rb")
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        hub.kill()
        assert bytes(mapped) == content
        assert hub.machine.hubfs("unmount", "--force", hub.path).returncode == 0
        assert bytes(mapped) == content
        mapped.close()
        file.close()


def test_a_daemon_that_takes_over_keeps_to_what_is_open(mount: MountHub, bucket: Origin, small: Path) -> None:
    with mount(bucket, "--supervise") as hub:
        path, content = read_whole(hub, small)
        model = cached(hub, DATA).parents[2]
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            for _ in range(2):
                kill(hub)
                assert passed_through(hub) == 1
                assert eventually(lambda: is_held(model)), "the successor would let it be evicted"
                before = reads(hub)
                assert bytes(mapped) == os.pread(file.fileno(), len(content), 0) == content
                assert reads(hub) == before, "the successor was asked"
                assert by_mmap(path) == by_read(path) == content, "another opener, meanwhile"
        assert eventually(lambda: passed_through(hub) == 0)
        assert eventually(lambda: not is_held(model))
        assert eventually(lambda: passes(hub, path))


@by_libfuse_too
def test_a_mount_whose_files_are_mapped_is_taken_off_by_force(mount: MountHub, bucket: Origin, small: Path) -> None:
    program = """
import mmap, sys
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
    first = bytes(mapped)
    print("mapped", flush=True)
    sys.stdin.read()
    sys.exit(bytes(mapped) != first)
"""
    with mount(bucket) as hub:
        path, _ = read_whole(hub, small)
        with subprocess.Popen(
            [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "mapped\n"
            pids = hub.pids()
            assert hub.machine.hubfs("unmount", "--force", hub.path).returncode == 0
            assert eventually(lambda: not any(Path(f"/proc/{pid}/exe").is_symlink() for pid in pids))
            assert reader.stdin is not None
            reader.stdin.close()
            assert reader.wait(60) == 0


@by_libfuse_too
def test_a_file_that_was_read_in_order_is_completed_behind_its_reader(
    mount: MountHub, bucket: Origin, small: Path
) -> None:
    """As the reader of a part of a checkpoint does: from somewhere in the middle to the end."""
    with mount(bucket) as hub:
        path = hub.path / SMALL / DATA
        with opened(path) as fd:
            for offset_bytes in range(3 * MIB, 8 * MIB, MIB):
                os.pread(fd, MIB, offset_bytes)
        assert eventually(lambda: passes(hub, path))
        before = reads(hub)
        assert path.read_bytes() == (small / DATA).read_bytes()
        assert reads(hub) == before
    with mount(bucket, "--prefetch", "none", "--cache-dir", hub.machine.root / "another") as hub:
        with opened(path) as fd:
            for offset_bytes in range(3 * MIB, 8 * MIB, MIB):
                os.pread(fd, MIB, offset_bytes)
        assert not passes(hub, path)


def test_what_a_loader_will_open_of_a_cold_archive_is_verified_before(mount: MountHub, servers: Origin) -> None:
    """The graph is opened while the archive comes, when no file of it can be passed through."""
    with mount(servers.asked_for("compressed")) as hub:
        with opened(hub.path / SMALL / "saved_model.pb") as fd:
            assert os.read(fd, MIB)
            assert not (hub.path / SMALL / "debug" / "saved_model_debug_info.pb").exists()
            assert eventually(lambda: any(hub.machine.root.rglob(f"seals/{DATA}")))
        assert eventually(lambda: passes(hub, hub.path / SMALL / DATA))


@by_libfuse_too
def test_every_file_of_the_model_has_the_right_bytes_by_many_readers(
    mount: MountHub, bucket: Origin, small: Path
) -> None:
    """Some find their file whole, some do not: nobody sees another error or other bytes."""
    with mount(bucket) as hub:
        wrong: list[object] = []

        def read(name: str) -> None:
            try:
                for number in range(20):
                    how = by_mmap if number % 2 and (small / name).stat().st_size else by_read
                    if how(hub.path / SMALL / name) != (small / name).read_bytes():
                        wrong.append(name)
            except OSError as error:
                wrong.append(error)

        names = [name for name in listed(small) if (small / name).is_file()]
        threads = [threading.Thread(target=read, args=(name,)) for name in names * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert passed_through(hub) == 0


@by_libfuse_too
def test_verify_always_says_why_nothing_passes_through(mount: MountHub, bucket: Origin, small: Path) -> None:
    with mount(bucket, "--verify", "always") as hub:
        for _ in range(2):
            assert files(hub.path / SMALL) == files(small)
        before = reads(hub)
        with opened(hub.path / SMALL / DATA) as fd:
            assert passed_through(hub) == 0
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            assert os.pread(fd, 16 * MIB, 0) == (small / DATA).read_bytes()
        assert reads(hub) > before
        assert "--verify always" in hub.status()["passthrough"]["off_because"]
        assert "passthrough: off, because --verify always" in hub.machine.hubfs("status", hub.path).stdout
        assert "--verify always" in hub.log()


def test_an_ordinary_user_is_told_and_the_status_says_why(tmp_path: Path, servers: Origin) -> None:
    environment = {"HUBFS_FUSE_LIBRARY": "session", "HUBFS_HUB": servers.url, **servers.environment}
    with ordinary_machine(tmp_path / "machine", environment) as user:
        assert run(user, "mkdir", "hub").returncode == 0
        assert user.hubfs("mount", "hub").returncode == 0
        told = json.loads(user.hubfs("status", "--json", "hub").stdout)["passthrough"]
        assert not told["on"]
        assert "CAP_SYS_ADMIN" in told["off_because"]
        assert "CAP_SYS_ADMIN" in user.hubfs("doctor").stdout
        assert user.hubfs("unmount", "hub").returncode == 0


@pytest.mark.skipif(_has_newer_libfuse(), reason="the libfuse of this machine has it")
def test_libfuse_says_why_it_does_not_have_it(tmp_path: Path, servers: Origin) -> None:
    machine = Machine(tmp_path / "machine", {"HUBFS_FUSE_LIBRARY": "libfuse3", **servers.environment})
    doctor = machine.hubfs("doctor", "--hub", servers.url).stdout
    says = r"off, because libfuse 3\.\d+\.\d+ does not have it; libfuse 3\.17\.2 and --fuse-library session have"
    assert re.search(says, doctor)
