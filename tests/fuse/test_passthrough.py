"""How inodes are opened, against the kernel's own rules (fs/fuse/iomode.c, backing.c), of which `Kernel` is a model."""

import errno
import itertools
import os
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hubfs.blobs.blob import MemoryBlob
from hubfs.errors import Stale
from hubfs.fuse import passthrough as module
from hubfs.fuse.passthrough import Passthrough, stack_depth, why_off
from hubfs.tree.open_file import Backing, OpenFile, text_file
from tests.support.paths import ROOT
from tests.support.programs import ran

DEVICE = 77
NODE = 5


class Kernel:
    """The kernel's table of backing files, and the mode of each inode."""

    def __init__(self) -> None:
        self.backing: dict[int, tuple[int, int]] = {}
        self.modes: dict[int, list[int]] = {}  # by node: the backing ids of its openers, 0 for ordinary ones
        self.error: int | None = None
        self.taken = 0
        self._numbers = itertools.count(1)

    def ioctl(self, device: int, request: int, argument: "bytes | bytearray") -> "int | bytes":
        assert device == DEVICE
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        if request == 0x4010E501:
            fd, flags, padding = struct.unpack("=iIQ", argument)
            assert (flags, padding) == (0, 0)
            found = os.fstat(fd)
            number = next(self._numbers)
            self.backing[number] = (found.st_dev, found.st_ino)
            self.taken += 1
            return number
        assert request == 0x4004E502
        del self.backing[struct.unpack("=I", argument)[0]]
        return bytes(argument)

    def open(self, node: int, backing_id: int) -> None:
        """The reply arrives: what the kernel would answer by EIO fails here."""
        openers = self.modes.setdefault(node, [])
        assert not backing_id or backing_id in self.backing, "no such backing file"
        assert not openers or set(openers) == {backing_id}, "the inode is open in another way"
        openers.append(backing_id)

    def close(self, node: int) -> None:
        self.modes[node].pop()
        if not self.modes[node]:
            del self.modes[node]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr("fcntl.ioctl", kernel.ioctl)
    return kernel


@pytest.fixture
def passthrough(kernel: Kernel) -> Passthrough:
    return begun()


def begun() -> Passthrough:
    passthrough = Passthrough(None)
    passthrough.begin(DEVICE)
    return passthrough


def nothing() -> None:
    """Nothing to release."""


def file_of(backing: Backing, source: object = "a source") -> OpenFile:
    return OpenFile(MemoryBlob("a file", b"bytes"), source, nothing, backing)


def whole(path: Path) -> OpenFile:
    """A file that is whole at `path`."""
    path.touch()
    return file_of(lambda _: os.open(path, os.O_RDONLY))


def partial() -> OpenFile:
    """A file that is not whole."""
    return file_of(lambda _: None)


@pytest.fixture(autouse=True)
def _no_descriptor_is_left() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_whole_file_is_passed_through_and_shared(kernel: Kernel, passthrough: Passthrough, tmp_path: Path) -> None:
    file = whole(tmp_path / "f")
    ids = [passthrough.opened(NODE, file) for _ in range(3)]
    assert set(ids) == {ids[0]} != {0}
    assert [*kernel.backing] == [ids[0]]
    assert passthrough.describe() == {"on": True, "off_because": None, "open_files": 1, "opens": 3}
    for _ in range(2):
        passthrough.released(NODE)
    assert [*kernel.backing] == [ids[0]]
    passthrough.released(NODE)
    assert not kernel.backing
    assert passthrough.describe()["open_files"] == 0


def test_a_file_that_is_not_whole_is_opened_as_ever(kernel: Kernel, passthrough: Passthrough) -> None:
    assert passthrough.opened(NODE, partial()) == 0
    assert not kernel.taken


def test_an_inode_stays_ordinary_until_its_last_opener_has_gone(
    kernel: Kernel, passthrough: Passthrough, tmp_path: Path
) -> None:
    passthrough.opened(NODE, partial())
    file = whole(tmp_path / "f")
    assert passthrough.opened(NODE, file) == 0
    passthrough.released(NODE)
    assert passthrough.opened(NODE, file) == 0
    passthrough.released(NODE)
    passthrough.released(NODE)
    assert not kernel.taken
    assert passthrough.opened(NODE, file) != 0


def test_a_file_that_was_replaced_while_it_is_passed_through_is_stale(
    kernel: Kernel, passthrough: Passthrough, tmp_path: Path
) -> None:
    old = passthrough.opened(NODE, whole(tmp_path / "old"))
    for other in (whole(tmp_path / "new"), partial()):
        with pytest.raises(Stale):
            passthrough.opened(NODE, other)
    assert [*kernel.backing] == [old]
    assert passthrough.opened(NODE + 1, partial()) == 0  # by the new node of the path
    passthrough.released(NODE)
    assert passthrough.opened(NODE, whole(tmp_path / "new")) not in (0, old)


def test_a_control_file_is_not_asked_for(passthrough: Passthrough) -> None:
    file = text_file("status", b"text")
    assert file.backing(0.0) is None
    asked = OpenFile(file.blob, None, nothing, lambda _: pytest.fail("it was asked"))
    assert passthrough.opened(NODE, asked) == 0
    passthrough.released(NODE)


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTTY, errno.EOPNOTSUPP, errno.ELOOP])
def test_what_the_kernel_never_takes_is_asked_once_and_told(
    kernel: Kernel, passthrough: Passthrough, tmp_path: Path, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    kernel.error = number
    file = whole(tmp_path / "f")
    assert [passthrough.opened(node, file) for node in range(3)] == [0, 0, 0]
    told = passthrough.describe()
    assert not told["on"]
    assert told["off_because"] in caplog.text
    kernel.error = None
    assert passthrough.opened(9, file) == 0


def test_what_the_kernel_does_not_take_now_is_tried_again(
    kernel: Kernel, passthrough: Passthrough, tmp_path: Path
) -> None:
    kernel.error = errno.ENOMEM
    file = whole(tmp_path / "f")
    assert passthrough.opened(NODE, file) == 0
    passthrough.released(NODE)
    kernel.error = None
    assert passthrough.opened(NODE, file) != 0


def test_a_connection_that_is_gone_does_not_matter(kernel: Kernel, passthrough: Passthrough, tmp_path: Path) -> None:
    passthrough.opened(NODE, whole(tmp_path / "f"))
    kernel.error = errno.ENODEV
    passthrough.released(NODE)
    passthrough.released(NODE)


def test_the_last_opener_of_an_ordinary_file_has_it_verified(passthrough: Passthrough, tmp_path: Path) -> None:
    patience: list[float] = []

    def backing(patience_s: float) -> int | None:
        patience.append(patience_s)
        return None if len(patience) == 1 else os.open(tmp_path, os.O_RDONLY)

    file = file_of(backing)
    passthrough.opened(NODE, file)
    passthrough.opened(NODE, file)
    passthrough.released(NODE)
    assert patience == [module.PATIENCE_S]
    passthrough.released(NODE)
    assert patience == [module.PATIENCE_S, 0.0]


def test_where_it_is_refused_nothing_is_asked(kernel: Kernel, tmp_path: Path) -> None:
    refused = Passthrough("there is no disk cache")
    assert refused.stack_depth == 0
    assert Passthrough(None, 2).stack_depth == 2
    refused.begin(DEVICE)
    never = file_of(lambda _: pytest.fail("it was asked"))
    assert refused.opened(NODE, never) == 0
    refused.released(NODE)
    assert refused.describe() == {
        "on": False,
        "off_because": "there is no disk cache",
        "open_files": 0,
        "opens": 0,
    }
    late = Passthrough(None)
    assert late.opened(NODE, whole(tmp_path / "f")) == 0
    late.refuse("libfuse does not have it")
    assert late.opened(NODE, never) == 0
    assert late.describe()["off_because"] == "libfuse does not have it"
    assert not kernel.taken


def test_a_successor_keeps_to_the_modes_that_it_finds(kernel: Kernel, tmp_path: Path) -> None:
    first = begun()
    file = whole(tmp_path / "f")
    left = first.opened(1, file)
    successor = Passthrough(None)
    successor.begin(DEVICE, {1: (2, left), 2: (1, 0), 3: (0, 0)})
    assert successor.opened(2, file) == 0
    with pytest.raises(Stale):  # which file it is, only the first process knew
        successor.opened(1, file)
    assert successor.opened(3, file) not in (0, left)
    for _ in range(2):
        assert left in kernel.backing
        successor.released(1)
    assert left not in kernel.backing


def test_what_an_earlier_process_counted_twice_is_closed_with_its_inode(kernel: Kernel, tmp_path: Path) -> None:
    passthrough, file = begun(), whole(tmp_path / "f")
    backing_id = passthrough.opened(NODE, file)
    successor = Passthrough(None)
    successor.begin(DEVICE, {NODE: (2, backing_id)})  # one opener, and one whose reply was lost
    successor.released(NODE)
    assert kernel.backing
    successor.forgotten(NODE)
    assert not kernel.backing
    assert successor.describe()["open_files"] == 0
    successor.forgotten(NODE)


def test_openers_at_the_same_time_agree(kernel: Kernel, passthrough: Passthrough, tmp_path: Path) -> None:
    """One finds the file whole a moment before another one does not, or the reverse."""
    path = tmp_path / "f"
    path.touch()
    for turn in range(20):
        together = threading.Barrier(4, timeout=60)
        calls = itertools.count()

        def backing(_: float, together: threading.Barrier = together, calls: Iterator[int] = calls) -> int | None:
            number = next(calls)
            together.wait()
            return None if number % 2 else os.open(path, os.O_RDONLY)

        ids: list[int | None] = []

        def open_it(backing: Backing = backing, ids: "list[int | None]" = ids, turn: int = turn) -> None:
            try:
                ids.append(passthrough.opened(turn, file_of(backing)))
            except Stale:
                ids.append(None)

        threads = [threading.Thread(target=open_it) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        opened = [one for one in ids if one is not None]
        assert len(set(opened)) == 1
        assert len(kernel.backing) == (opened[0] != 0)
        for _ in opened[1:]:
            passthrough.released(turn)
        # The last one of an ordinary file asks again.
        passthrough._inodes[turn].backing = None
        passthrough.released(turn)
        assert not kernel.backing


NODES = st.integers(1, 3)


@settings(deadline=None)
class Life(RuleBasedStateMachine):
    """Files of three inodes are opened and closed, become whole, are replaced, and cannot be registered for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = Kernel()
        self.patch = patch("fcntl.ioctl", self.kernel.ioctl)
        self.patch.start()
        self.passthrough = begun()
        self.files = [os.memfd_create("file") for _ in range(4)]
        self.whole: dict[int, int | None] = {}

    def teardown(self) -> None:
        self.patch.stop()
        for fd in self.files:
            os.close(fd)

    @rule(node=NODES, file=st.one_of(st.none(), st.integers(0, 3)))
    def becomes(self, node: int, file: int | None) -> None:
        self.whole[node] = file

    @rule(number=st.sampled_from([None, errno.ENOMEM, errno.ENODEV]))
    def kernel_says(self, number: int | None) -> None:
        self.kernel.error = number

    @rule(node=NODES)
    def open(self, node: int) -> None:
        def backing(_: float) -> int | None:
            file = self.whole.get(node)
            return None if file is None else os.dup(self.files[file])

        before = list(self.kernel.modes.get(node, []))
        try:
            backing_id = self.passthrough.opened(node, file_of(backing))
        except Stale:
            assert any(before)
            return
        self.kernel.open(node, backing_id)
        if backing_id:
            file = self.whole.get(node)
            assert file is not None
            found = os.fstat(self.files[file])
            assert self.kernel.backing[backing_id] == (found.st_dev, found.st_ino)

    @rule(node=NODES)
    def close(self, node: int) -> None:
        if node in self.kernel.modes:
            self.kernel.close(node)
            self.passthrough.released(node)

    @precondition(lambda self: self.kernel.error is None)
    @invariant()
    def nothing_more_is_registered_than_is_open(self) -> None:
        if not self.kernel.modes and self.kernel.error is None:
            assert self.passthrough.describe()["open_files"] == 0


TestLife = Life.TestCase


@pytest.mark.parametrize(
    ("cache_dir", "verify_each_read", "release", "rights", "told"),
    [
        (Path("/c"), False, "6.9.0", True, None),
        (Path("/c"), False, "6.18.44-fc", True, None),
        (Path("/c"), False, "10.0", True, None),
        (Path("/c"), False, "7-rc1", True, None),
        (None, False, "6.9.0", True, "no disk cache"),
        (Path("/c"), True, "6.9.0", True, "--verify always"),
        (Path("/c"), False, "6.8.12", True, "6.9"),
        (Path("/c"), False, "5.15.0", True, "6.9"),
        (Path("/c"), False, "unknown", True, "6.9"),
        (Path("/c"), False, "6.9.0", False, "CAP_SYS_ADMIN"),
    ],
)
def test_why_it_is_off(
    *, cache_dir: Path | None, verify_each_read: bool, release: str, rights: bool, told: str | None
) -> None:
    found = why_off(cache_dir, verify_each_read=verify_each_read, release=release, has_rights=lambda: rights)
    assert (found is None) if told is None else (found is not None and told in found)


def test_rights_are_those_of_this_process() -> None:
    """Root has them outside of containers; a process in a user namespace has not, though it is root there."""
    program = "from hubfs.fuse.passthrough import _has_rights; print(_has_rights())"
    told = []
    for before in ([], ["unshare", "--user", "--map-root-user"]):
        command = [*before, sys.executable, "-c", program]
        done = ran(command, cwd=ROOT)
        if done.returncode:
            pytest.skip(f"this machine allows no user namespaces: {done.stderr}")
        told.append(done.stdout)
    assert told == [f"{os.geteuid() == 0}\n", "False\n"]


def test_a_cache_that_is_not_there_yet_is_no_overlay(tmp_path: Path) -> None:
    assert stack_depth(tmp_path / "nothing") == 1
    assert stack_depth(tmp_path) in (1, 2)
