# ruff: noqa: PTH101, PTH102, PTH104, PTH106, PTH108, PTH115, PTH116, PTH211 - what is tested are system calls, by name
"""What POSIX and Linux promise of a read-only file system, asked by system calls: on both bindings, of both forms."""

import ctypes
import errno
import fcntl
import itertools
import json
import mmap
import os
import select
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import BINDINGS, FORMS
from tests.support.archives import gzipped, header, tar_of
from tests.support.figures import FULL
from tests.support.mount import Machine, Mount, mounted
from tests.support.nginx import nginx_hub
from tests.support.origin import Origin, running_origin
from tests.support.posix import AT_FDCWD, RESOLVE, Directory, called, entries_by_getdents, errno_name, openat2
from tests.support.programs import output_of
from tests.support.soak import taken_by

pytestmark = pytest.mark.mounted

MODEL = "posix/small/1"
LONGEST = "n" * 255
FILES = {
    "saved_model.pb": bytes(range(256)) * 40 + b"tail",
    "empty": b"",
    "large": bytes(3 * (1 << 20) // 16 * 16) + b"the end",
    f"assets/{LONGEST}": b"long",
    "assets/ünï.txt": b"names are bytes",
    "variables/variables.index": b"index",
}
NOBODY = 65534


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    home = tmp_path_factory.mktemp("posix")
    for path, data in FILES.items():
        (home / "model" / path).parent.mkdir(parents=True, exist_ok=True)
        (home / "model" / path).write_bytes(data)
    (home / "posix.tar.gz").write_bytes(gzipped(tar_of(FILES)))
    with running_origin(home, {MODEL: home / "model"}, {MODEL: home / "posix.tar.gz"}) as servers:
        yield servers


WORLDS = itertools.product(BINDINGS, FORMS) if FULL else zip(BINDINGS, itertools.cycle(FORMS), strict=False)
"""Every binding and every form; where there is time, each with each."""


@pytest.fixture(scope="module", params=WORLDS, ids="-".join)
def hub(request: pytest.FixtureRequest, origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    binding, form = request.param
    home = tmp_path_factory.mktemp("machine")
    machine = Machine(home / "machine", {"HUBFS_FUSE_LIBRARY": binding, **origin.environment})
    with mounted(machine, home / "hub", origin.url, "--format", form, "--allow-other") as hub:
        yield hub


@pytest.fixture
def model(hub: Mount) -> Path:
    return hub.path / MODEL


@contextmanager
def opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    fd = os.open(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


# Nothing can be written.


def writes(file: Path, directory: Path, new: Path) -> dict[str, Callable[[], object]]:
    """Every system call that would change something, by name: of a file, a directory, and a name that is not there."""

    def created(flags: int, path: Path) -> Callable[[], None]:
        return lambda: os.close(os.open(path, flags, 0o644))

    def renamed(old: Path, to: Path, flags: int) -> Callable[[], object]:
        return lambda: called("renameat2", AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(to), flags)

    return {
        "open O_WRONLY": created(os.O_WRONLY, file),
        "open O_RDWR": created(os.O_RDWR, file),
        "open O_TRUNC": created(os.O_RDONLY | os.O_TRUNC, file),
        "open O_APPEND": created(os.O_WRONLY | os.O_APPEND, file),
        "open O_CREAT": created(os.O_RDONLY | os.O_CREAT, new),
        "open O_CREAT O_EXCL": created(os.O_RDWR | os.O_CREAT | os.O_EXCL, new),
        "open O_TMPFILE": created(os.O_RDWR | os.O_TMPFILE, directory),
        "creat": lambda: os.close(called("creat", os.fsencode(new), 0o644)),
        "creat over a file": lambda: os.close(called("creat", os.fsencode(file), 0o644)),
        "mkdir": lambda: os.mkdir(new),
        "mknod a fifo": lambda: os.mknod(new, stat.S_IFIFO | 0o600),
        "mknod a device": lambda: os.mknod(new, stat.S_IFCHR | 0o600, os.makedev(1, 3)),
        "mknod a socket": lambda: os.mknod(new, stat.S_IFSOCK | 0o600),
        "symlink": lambda: os.symlink("target", new),
        "link": lambda: os.link(file, new),
        "rename": lambda: os.rename(file, new),
        "rename of a directory": lambda: os.rename(directory, new),
        "rename over itself": lambda: os.rename(file, file),
        "renameat2 NOREPLACE": renamed(file, new, 1),
        "renameat2 EXCHANGE": renamed(file, directory, 2),
        "renameat2 WHITEOUT": renamed(file, new, 4),
        "unlink": lambda: os.unlink(file),
        "unlink of what is not there": lambda: os.unlink(new),
        "rmdir": lambda: os.rmdir(directory),
        "truncate": lambda: os.truncate(file, 0),
        "truncate to more": lambda: os.truncate(file, 1 << 40),
        "chmod": lambda: os.chmod(file, 0o777),
        "chmod of a directory": lambda: os.chmod(directory, 0o777),
        "chown": lambda: os.chown(file, 0, 0),
        "lchown": lambda: os.lchown(file, 1, 1),
        "utime": lambda: os.utime(file),
        "utimensat": lambda: os.utime(file, ns=(1, 1), follow_symlinks=False),
        "setxattr": lambda: os.setxattr(file, "user.mine", b"x"),
        "setxattr of ours": lambda: os.setxattr(file, "user.hubfs.handle", b"x"),
        "setxattr, too large": lambda: os.setxattr(file, "user.mine", bytes(65_536)),
        "removexattr": lambda: os.removexattr(file, "user.hubfs.handle"),
    }


def writes_by_descriptor(path: Path) -> dict[str, Callable[[], object]]:
    """The same by a descriptor that is open for reading."""

    def with_fd(operation: Callable[[int], object]) -> Callable[[], None]:
        def run() -> None:
            with opened(path) as fd:
                operation(fd)

        return run

    def copy_into(fd: int) -> None:
        with opened(path) as other:
            os.copy_file_range(other, fd, 10)

    return {
        "write": with_fd(lambda fd: os.write(fd, b"x")),
        "pwrite": with_fd(lambda fd: os.pwrite(fd, b"x", 0)),
        "ftruncate": with_fd(lambda fd: os.ftruncate(fd, 0)),
        "fallocate": with_fd(lambda fd: os.posix_fallocate(fd, 0, 10)),
        "copy_file_range": with_fd(copy_into),
        "fchmod": with_fd(lambda fd: os.fchmod(fd, 0o777)),
        "fchown": with_fd(lambda fd: os.fchown(fd, 0, 0)),
        "futimens": with_fd(os.utime),
        "fsetxattr": with_fd(lambda fd: os.setxattr(fd, "user.mine", b"x")),
        "ioctl FS_IOC_SETFLAGS": with_fd(lambda fd: fcntl.ioctl(fd, 0x40086602, struct.pack("l", 0x10))),
        "mmap for writing": with_fd(lambda fd: mmap.mmap(fd, 10, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)),
        "fcntl F_WRLCK": with_fd(lambda fd: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)),
    }


BY_DESCRIPTOR = {
    "write": "EBADF",
    "pwrite": "EBADF",
    "ftruncate": "EINVAL",
    "fallocate": "EBADF",
    "copy_file_range": "EBADF",
    "fchmod": "EROFS",
    "fchown": "EROFS",
    "futimens": "EROFS",
    "fsetxattr": "EROFS",
    "ioctl FS_IOC_SETFLAGS": "EROFS",
    "mmap for writing": "EACCES",
    "fcntl F_WRLCK": "EBADF",
}
"""Linux looks at the descriptor first: what it is not open for is refused before the file system is asked."""


def outcomes(operations: dict[str, Callable[[], object]]) -> dict[str, str]:
    return {name: errno_name(operation) for name, operation in operations.items()}


@pytest.mark.parametrize(
    ("file", "directory"),
    [
        (f"{MODEL}/saved_model.pb", f"{MODEL}/assets"),
        (f"{MODEL}/empty", MODEL),
        (".hubfs/version", ".hubfs"),
        (f"{MODEL}/variables/variables.index", "posix/small"),
    ],
)
def test_every_write_operation_is_refused(hub: Mount, file: str, directory: str) -> None:
    operations = writes(hub.path / file, hub.path / directory, hub.path / directory / ".new")
    assert outcomes(operations) == dict.fromkeys(operations, "EROFS")


def test_every_write_operation_by_a_descriptor_is_refused(model: Path) -> None:
    assert outcomes(writes_by_descriptor(model / "saved_model.pb")) == BY_DESCRIPTOR


def test_what_is_not_there_cannot_be_changed_and_what_is_there_cannot_be_made(model: Path) -> None:
    nothing, file = model / "nothing", model / "saved_model.pb"
    assert outcomes(
        {
            "truncate": lambda: os.truncate(nothing, 0),
            "chmod": lambda: os.chmod(nothing, 0o777),
            "chown": lambda: os.chown(nothing, 0, 0),
            "utime": lambda: os.utime(nothing),
            "setxattr": lambda: os.setxattr(nothing, "user.mine", b""),
            "rename": lambda: os.rename(nothing, model / "other"),
            "mkdir": lambda: os.mkdir(file),
            "symlink": lambda: os.symlink("target", file),
            "create below a file": lambda: os.open(file / "new", os.O_CREAT | os.O_WRONLY),
            "rename across file systems": lambda: os.rename(file, "/dev/shm/other"),
        }
    ) == {
        **dict.fromkeys(("truncate", "chmod", "chown", "utime", "setxattr"), "ENOENT"),
        "rename": "EROFS",
        "mkdir": "EEXIST",
        "symlink": "EEXIST",
        "create below a file": "ENOTDIR",
        "rename across file systems": "EXDEV",
    }


def test_o_creat_opens_what_is_there(model: Path) -> None:
    with opened(model / "saved_model.pb", os.O_RDONLY | os.O_CREAT) as fd:
        assert os.read(fd, 4) == FILES["saved_model.pb"][:4]


AS_NOBODY = """
import json, os, sys
os.chdir(sys.argv[1])  # whoever comes in from outside passes directories that are not everybody's
os.setgroups([]); os.setgid(65534); os.setuid(65534)
def outcome(operation, *arguments):
    try:
        operation(*arguments)
    except OSError as error:
        return error.errno
    return 0
file = "saved_model.pb"
print(json.dumps({
    "read": outcome(lambda: open(file, "rb").read()),
    "list": outcome(os.listdir, "."),
    "getxattr": outcome(os.getxattr, file, "user.hubfs.handle"),
    "write": outcome(os.open, file, os.O_WRONLY),
    "create": outcome(os.open, ".new", os.O_WRONLY | os.O_CREAT),
    "mkdir": outcome(os.mkdir, ".new"),
    "unlink": outcome(os.unlink, file),
    "rename": outcome(os.rename, file, ".new"),
    "chmod": outcome(os.chmod, file, 0o777),
    "truncate": outcome(os.truncate, file, 0),
    "setxattr": outcome(os.setxattr, file, "user.mine", b""),
    "noatime": outcome(os.open, file, os.O_RDONLY | os.O_NOATIME),
    "access": [os.access(file, mode) for mode in (os.F_OK, os.R_OK, os.W_OK, os.X_OK)],
    "access of a directory": [os.access("assets", mode) for mode in (os.F_OK, os.R_OK, os.W_OK, os.X_OK)],
}))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_others_may_read_where_they_are_allowed_and_change_nothing_either(model: Path) -> None:
    told = json.loads(output_of([sys.executable, "-c", AS_NOBODY, model], timeout=30))
    assert told.pop("access") == [True, True, False, False]
    assert told.pop("access of a directory") == [True, True, False, True]
    assert {name: errno.errorcode.get(number, "ok") for name, number in told.items()} == {
        **dict.fromkeys(("read", "list", "getxattr"), "ok"),
        **dict.fromkeys(("write", "create", "mkdir", "unlink", "rename", "chmod", "truncate", "setxattr"), "EROFS"),
        "noatime": "EPERM",
    }


def test_access_tells_the_mounter_what_the_modes_say(model: Path) -> None:
    modes = (os.F_OK, os.R_OK, os.W_OK, os.X_OK)
    assert [os.access(model / "saved_model.pb", mode) for mode in modes] == [True, True, False, False]
    assert [os.access(model, mode) for mode in modes] == [True, True, False, True]
    assert not os.access(model / "nothing", os.F_OK)


# Reading.


@pytest.mark.parametrize("name", ["saved_model.pb", "large", "empty"])
def test_reads_at_and_past_the_end_are_short_and_absurd_offsets_refused(model: Path, name: str) -> None:
    data = FILES[name]
    with opened(model / name) as fd:
        for offset in {0, 1, max(0, len(data) - 1), len(data), len(data) + 1, 1 << 40, (1 << 63) - 1 - (1 << 20)}:
            for size in (0, 1, 100, 1 << 20):
                assert os.pread(fd, size, offset) == data[offset : offset + size], (offset, size)
        assert errno_name(lambda: os.pread(fd, 1, -1)) == "EINVAL"
        assert errno_name(lambda: os.pread(fd, 1, (1 << 63) - 1)) in ("ok", "EINVAL", "EOVERFLOW")
        assert os.read(fd, len(data) + 1) == data
        assert os.read(fd, 1) == b""


def test_lseek_knows_ends_data_and_holes(model: Path) -> None:
    size = len(FILES["large"])
    with opened(model / "large") as fd:
        assert os.lseek(fd, 0, os.SEEK_END) == size
        assert os.lseek(fd, -5, os.SEEK_END) == size - 5
        assert os.lseek(fd, 1 << 40, os.SEEK_SET) == 1 << 40
        assert os.read(fd, 1) == b""
        assert os.lseek(fd, 10, os.SEEK_DATA) == 10
        assert os.lseek(fd, 10, os.SEEK_HOLE) == size
        assert errno_name(lambda: os.lseek(fd, size, os.SEEK_DATA)) == "ENXIO"
        assert errno_name(lambda: os.lseek(fd, size + 1, os.SEEK_HOLE)) == "ENXIO"
        assert errno_name(lambda: os.lseek(fd, -1, os.SEEK_SET)) == "EINVAL"


def test_vectors_pipes_and_copies_get_the_same_bytes(model: Path, tmp_path: Path) -> None:
    data = FILES["saved_model.pb"]
    with opened(model / "saved_model.pb") as fd, (tmp_path / "copy").open("w+b") as copy:
        parts = [bytearray(10), bytearray(0), bytearray(5000)]
        assert os.preadv(fd, parts, 3) == 5010
        assert b"".join(parts) == data[3:5013]
        assert os.readv(fd, [first := bytearray(7)]) == 7
        assert first == data[:7]
        assert os.sendfile(copy.fileno(), fd, 0, len(data)) == len(data)
        # Between file systems Linux does not: programs go on with read and write.
        assert errno_name(lambda: os.copy_file_range(fd, copy.fileno(), 100, 50)) in ("ok", "EXDEV")
        assert (tmp_path / "copy").read_bytes()[: len(data)] == data
        reader, writer = os.pipe()
        try:
            assert os.splice(fd, writer, 4096, 9) == 4096
            assert os.read(reader, 5000) == data[9:4105]
        finally:
            os.close(reader)
            os.close(writer)


def test_duplicates_share_their_offset_and_children_inherit_it(model: Path) -> None:
    data = FILES["saved_model.pb"]
    with opened(model / "saved_model.pb") as fd:
        assert os.read(fd, 10) == data[:10]
        copy = os.dup(fd)
        assert os.read(copy, 10) == data[10:20]
        os.set_inheritable(copy, True)
        child = "import os, sys; sys.stdout.buffer.write(os.read(int(sys.argv[1]), 10))"
        done = subprocess.run(
            [sys.executable, "-c", child, str(copy)], capture_output=True, check=True, close_fds=False, timeout=30
        )
        os.close(copy)
        assert done.stdout == data[20:30]
        assert os.read(fd, 10) == data[30:40]


def test_unusual_ways_to_open(model: Path) -> None:
    file, data = model / "saved_model.pb", FILES["saved_model.pb"]
    with opened(file, os.O_RDONLY | os.O_DIRECT) as fd:
        aligned = mmap.mmap(-1, 8192)
        assert os.preadv(fd, [aligned], 0) == 8192
        assert aligned[:] == data[:8192]
    with opened(file, os.O_RDONLY | os.O_NOATIME) as fd:
        assert os.read(fd, 3) == data[:3]
    with opened(file, os.O_PATH) as fd:
        assert os.fstat(fd).st_size == len(data)
        assert errno_name(lambda: os.read(fd, 1)) == "EBADF"
        assert Path(f"/proc/self/fd/{fd}").read_bytes() == data
    with opened(model) as directory:
        assert outcomes(
            {
                "read a directory": lambda: os.read(directory, 1),
                "a directory for writing": lambda: os.open(model, os.O_WRONLY),
                "a file as a directory": lambda: os.open(file, os.O_DIRECTORY),
                "a link, not followed": lambda: os.open(model.with_name("latest"), os.O_NOFOLLOW),
            }
        ) == {
            "read a directory": "EISDIR",
            "a directory for writing": "EISDIR",
            "a file as a directory": "ENOTDIR",
            "a link, not followed": "ELOOP",
        }


def test_nothing_to_write_back_and_always_ready(model: Path) -> None:
    with opened(model / "saved_model.pb") as fd, opened(model) as directory:
        os.fsync(fd)
        os.fdatasync(fd)
        os.fsync(directory)
        called("syncfs", fd)
        waiting = select.poll()
        waiting.register(fd)
        assert waiting.poll(0) == [(fd, select.POLLIN | select.POLLOUT)]
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)


def test_locks_are_the_kernels(model: Path) -> None:
    with opened(model / "saved_model.pb") as one, opened(model / "saved_model.pb") as other:
        fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert errno_name(lambda: fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)) == "EAGAIN"
        fcntl.flock(one, fcntl.LOCK_UN)
        fcntl.lockf(one, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.lockf(other, fcntl.LOCK_SH | fcntl.LOCK_NB)


# Directories.


def test_a_listing_tells_the_inode_and_type_that_stat_tells(hub: Mount) -> None:
    for directory in (hub.path, hub.path / "posix", hub.path / "posix/small", hub.path / MODEL, hub.path / ".hubfs"):
        with Directory(directory) as listed:
            for name, inode, kind in listed:
                found = os.lstat(directory / name) if name != ".." else os.stat(directory.parent)
                assert kind == stat.S_IFMT(found.st_mode) >> 12, (directory, name)
                if (directory, name) != (hub.path, ".."):  # of the root's parent the file system knows nothing
                    assert inode == found.st_ino, (directory, name)
                assert (found.st_dev, found.st_mode) == (
                    (fresh := os.stat(directory / name, follow_symlinks=False)).st_dev,
                    fresh.st_mode,
                )


def test_positions_in_a_directory_can_be_returned_to(model: Path) -> None:
    with Directory(model) as listed:
        names = listed.names()
        assert sorted(names) == sorted([".", "..", *{path.split("/")[0] for path in FILES}])
        listed.rewind()
        told = []
        for name in names:
            told.append(listed.tell())
            assert next(iter(listed))[0] == name
        for place in (3, 0, 5, 1):
            listed.seek(told[place])
            assert listed.names() == names[place:]
        assert listed.read() is None


def test_small_buffers_give_the_same_names_and_too_small_ones_are_refused(model: Path) -> None:
    whole = entries_by_getdents(model, 32_768)
    assert entries_by_getdents(model, 64) == whole
    assert errno_name(lambda: entries_by_getdents(model, 16)) == "EINVAL"
    assert errno_name(lambda: entries_by_getdents(model / "assets", 64)) == "EINVAL"  # a name of 255 bytes
    assert errno_name(lambda: entries_by_getdents(model / "saved_model.pb", 64)) == "ENOTDIR"


def test_dots_lead_where_they_should(model: Path) -> None:
    assert os.stat(model / "assets" / ".").st_ino == os.stat(model / "assets").st_ino
    assert os.stat(f"{model}/assets/..").st_ino == os.stat(model).st_ino
    assert os.stat(f"{model}/assets/../../1/saved_model.pb").st_size == len(FILES["saved_model.pb"])


def test_links_count_what_they_may(model: Path) -> None:
    assert os.stat(model / "saved_model.pb").st_nlink == 1
    assert os.stat(model).st_nlink >= 1  # with 1 or 2 programs do not count on it to tell subdirectories


# Names.


def test_names_and_paths_that_are_too_long_or_lead_nowhere(model: Path) -> None:
    file = model / "saved_model.pb"
    assert (model / "assets" / LONGEST).read_bytes() == b"long"
    assert (model / "assets" / "ünï.txt").read_bytes() == b"names are bytes"
    assert outcomes(
        {
            "a name of 255 bytes": lambda: os.stat(model / ("x" * 255)),
            "a name of 256 bytes": lambda: os.stat(model / ("x" * 256)),
            "a path of 4096 bytes": lambda: os.stat(f"{model}/{'./' * 2048}saved_model.pb"),
            "no UTF-8": lambda: os.stat(os.fsencode(model) + b"/\xff\xfe"),
            "no UTF-8 above the models": lambda: os.stat(os.fsencode(model.parents[2]) + b"/\xff"),
            "a control character": lambda: os.stat(model / "a\nb"),
            "below a file": lambda: os.stat(file / "x"),
            "a file with a slash": lambda: os.stat(f"{file}/"),
            "a directory with a slash": lambda: os.stat(f"{model}/assets/"),
            "list a file": lambda: os.listdir(file),
            "read a directory": (model / "assets").read_bytes,
            "readlink of a file": lambda: os.readlink(file),
            "readlink of a directory": lambda: os.readlink(model),
            "readlink of nothing": lambda: os.readlink(model / "nothing"),
            "follow nothing": lambda: os.stat(model / "nothing" / "x"),
            "run a file": lambda: os.execv(file, ["x"]),
        }
    ) == {
        "a name of 255 bytes": "ENOENT",
        "a name of 256 bytes": "ENAMETOOLONG",
        "a path of 4096 bytes": "ENAMETOOLONG",
        "no UTF-8": "ENOENT",
        "no UTF-8 above the models": "ENOENT",
        "a control character": "ENOENT",
        "below a file": "ENOTDIR",
        "a file with a slash": "ENOTDIR",
        "a directory with a slash": "ok",
        "list a file": "ENOTDIR",
        "read a directory": "EISDIR",
        "readlink of a file": "EINVAL",
        "readlink of a directory": "EINVAL",
        "readlink of nothing": "ENOENT",
        "follow nothing": "ENOENT",
        "run a file": "EACCES",
    }


def test_links_from_outside_that_turn_in_circles_are_noticed(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").symlink_to(f"{model}/../../../../{'../' * 20}{tmp_path}/in")
    assert errno_name(lambda: os.stat(tmp_path / "in")) == "ELOOP"


def test_resolving_with_restrictions(hub: Mount) -> None:
    root = os.open(hub.path, os.O_RDONLY | os.O_DIRECTORY)

    def resolved(path: str, *restrictions: str) -> str:
        resolve = sum(RESOLVE[restriction] for restriction in restrictions)
        return errno_name(lambda: os.close(openat2(path, resolve, dir_fd=root)))

    try:
        assert resolved(f"{MODEL}/saved_model.pb", *(RESOLVE.keys() - {"CACHED"})) == "EINVAL"  # BENEATH and IN_ROOT
        assert resolved(f"{MODEL}/saved_model.pb", "BENEATH", "NO_XDEV", "NO_MAGICLINKS", "NO_SYMLINKS") == "ok"
        assert resolved("posix/small/latest/saved_model.pb", "BENEATH") == "ok"
        assert resolved("posix/small/latest/saved_model.pb", "NO_SYMLINKS") == "ELOOP"
        assert resolved(f"../{hub.path.name}", "BENEATH") == "EXDEV"
        assert resolved(f"../../{MODEL}/empty", "IN_ROOT") == "ok"
        assert resolved("..", "NO_XDEV") == "EXDEV"
        assert resolved(f"{MODEL}/saved_model.pb", "CACHED") in ("ok", "EAGAIN")
    finally:
        os.close(root)


# Extended attributes, file systems, and what watches them.


def test_extended_attributes_tell_their_size_and_what_is_wrong(model: Path) -> None:
    file, name = os.fsencode(model / "saved_model.pb"), b"user.hubfs.handle"
    size = called("getxattr", file, name, None, 0)
    assert size == len(MODEL)
    buffer = ctypes.create_string_buffer(size)
    assert called("getxattr", file, name, buffer, size) == size
    assert buffer.raw == MODEL.encode()
    assert called("listxattr", file, None, 0) == 0, "a copy would take them along"
    assert outcomes(
        {
            "too small": lambda: called("getxattr", file, name, buffer, size - 1),
            "none such": lambda: os.getxattr(file, "user.nothing"),
            "none such of ours": lambda: os.getxattr(file, "user.hubfs.nothing"),
            "security": lambda: os.getxattr(file, "security.capability"),
            "acl": lambda: os.getxattr(file, "system.posix_acl_access"),
            "a name too long": lambda: os.getxattr(file, "user." + "x" * 300),
            "of nothing": lambda: os.getxattr(model / "nothing", "user.hubfs.handle"),
            "no name space": lambda: os.getxattr(file, "mine"),
        }
    ) == {
        "too small": "ERANGE",
        "none such": "ENODATA",
        "none such of ours": "ENODATA",
        "security": "ENOTSUP",
        "acl": "ENOTSUP",
        "a name too long": "ERANGE",
        "of nothing": "ENOENT",
        "no name space": "ENOTSUP",
    }


def test_statfs_says_read_only_and_that_nothing_is_available(model: Path) -> None:
    found = os.statvfs(model)
    assert found.f_flag & os.ST_RDONLY
    assert found.f_flag & os.ST_NOSUID
    assert found.f_flag & os.ST_NODEV
    assert (found.f_bavail, found.f_ffree, found.f_namemax) == (0, 0, 255)


def test_watching_and_naming_by_handle_do_no_harm(model: Path) -> None:
    watcher = called("inotify_init1", os.O_NONBLOCK)
    try:
        called("inotify_add_watch", watcher, os.fsencode(model), 0xFFF)
        assert (model / "saved_model.pb").read_bytes() == FILES["saved_model.pb"]
        assert os.read(watcher, 65_536)
    finally:
        os.close(watcher)
    handle, mount_id = ctypes.create_string_buffer(struct.pack("=II", 128, 0), 136), ctypes.c_int()
    path = os.fsencode(model / "empty")
    named = errno_name(lambda: called("name_to_handle_at", AT_FDCWD, path, handle, ctypes.byref(mount_id), 0))
    assert named in ("ok", "EOPNOTSUPP")
    assert (model / "empty").read_bytes() == b""


# Many.

MANY_MODEL = "posix/many/1"


@pytest.mark.parametrize(("binding", "many"), [("session", 100_000), ("libfuse3", 20_000), ("libfuse2", 20_000)])
def test_a_directory_of_very_many_files_is_listed_whole_and_soon(machine: Machine, many: int, tmp_path: Path) -> None:
    empty_file, names = tar_header(), [f"{number:06}" for number in range(many)]
    archive = tmp_path / "many.tar.gz"
    archive.write_bytes(gzipped(b"".join(empty_file(name) for name in names) + bytes(1024), level=1))
    with nginx_hub(tmp_path / "nginx") as nginx:
        nginx.host_archive(MANY_MODEL, archive)
        with mounted(machine, tmp_path / "hub", nginx.url, "--format", "compressed") as hub:
            files = hub.path / MANY_MODEL
            assert (files / names[0]).read_bytes() == b""
            (daemon,) = hub.pids()
            before = taken_by(daemon)
            assert sorted(os.listdir(files)) == names  # at the end of the archive
            known = taken_by(daemon)
            assert sorted(os.listdir(files)) == names
            assert taken_by(daemon).cpu_s - known.cpu_s < 3
            with Directory(files) as listed:
                early = [name for name, _, _ in itertools.islice(listed, many // 3)]
                place = listed.tell()
                rest = listed.names()
                assert len({*early, *rest}) == len(early) + len(rest) == many + 2
                listed.seek(place)
                assert listed.names() == rest
            assert entries_by_getdents(files, 256, enough=1000)[:1000] == early[:1000]
            for name in names[::9973]:
                assert (files / name).read_bytes() == b""
            assert errno_name(lambda: os.stat(files / "999999")) == "ENOENT"
            assert taken_by(daemon).rss_mb - before.rss_mb < 150


def tar_header() -> Callable[[str], bytes]:
    """Makes headers of empty files, quickly: all alike but for the name and the checksum."""
    blank = header(b"")
    base = sum(blank[:148]) + sum(blank[156:]) + 8 * 32

    def made(name: str) -> bytes:
        encoded = name.encode()
        return encoded.ljust(100, b"\0") + blank[100:148] + b"%06o\0 " % (base + sum(encoded)) + blank[156:]

    return made
