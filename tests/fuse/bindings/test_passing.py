"""What is asked of a libfuse that has passthrough, and of one that has not; the rest of it is tested mounted."""

import ctypes
import errno
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest

from hubfs.errors import Stale
from hubfs.fuse.answers import Answers
from hubfs.fuse.bindings.passing import PassingOperations, agree, why_not
from hubfs.fuse.passthrough import Passthrough
from hubfs.tree.open_file import OpenFile
from tests.support.one_model import ROOT, Cache, OneModel, answers_of

GRAPH = f"{ROOT}/saved_model.pb"
CAP_PASSTHROUGH = 1 << 29
DEVICE = 77


class Function:
    """A function of a C library, as ctypes has it."""

    restype: object = None

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def __call__(self, *_: object) -> object:
        return self.answer


def library(version: str | None) -> SimpleNamespace:
    context = SimpleNamespace(contents=SimpleNamespace(fuse=1))
    functions = {"fuse_get_context": context, "fuse_get_session": 2, "fuse_session_fd": DEVICE}
    if version is not None:
        functions["fuse_pkgversion"] = version.encode()
    return SimpleNamespace(**{name: Function(answer) for name, answer in functions.items()})


def binding(version: str | None, *fields: str) -> ModuleType:
    connection = SimpleNamespace(**dict.fromkeys(fields, 0))
    found = SimpleNamespace(__name__="mfusepy", _libfuse=library(version), fuse_conn_info=connection)
    return cast("ModuleType", found)


@pytest.mark.parametrize(
    ("version", "says"),
    [
        (None, "libfuse 2 does not have it; libfuse 3.17.2 and --fuse-library session have"),
        ("3.14.0", "libfuse 3.14.0 does not have it; libfuse 3.17.2 and --fuse-library session have"),
        ("3.17.1", "libfuse 3.17.1 does not have it; libfuse 3.17.2 and --fuse-library session have"),
        ("3.17.2", None),
        ("3.18.0", None),
        ("4.0", None),
    ],
)
def test_which_libfuse_has_it(version: str | None, says: str | None) -> None:
    assert why_not(binding(version, "want_ext")) == says


def test_a_binding_that_does_not_know_it_is_too_old() -> None:
    assert "mfusepy" in (why_not(binding("3.17.2")) or "")


def connection(capable: int = CAP_PASSTHROUGH | 5) -> SimpleNamespace:
    return SimpleNamespace(capable_ext=capable, want_ext=5, max_backing_stack_depth=0)


@pytest.mark.parametrize("depth", [1, 2])
def test_the_kernel_is_asked_for_it(depth: int) -> None:
    passthrough, asked = Passthrough(None, depth), connection()
    agree(binding("3.17.2"), asked, passthrough, {"allow_other": True, "kernel_cache": False})
    assert asked.want_ext == CAP_PASSTHROUGH | 5
    assert asked.max_backing_stack_depth == depth - 1
    assert passthrough.describe()["on"]


@pytest.mark.parametrize(
    ("capable", "options", "says"),
    [
        (5, {}, "the kernel was built without it"),
        (CAP_PASSTHROUGH, {"kernel_cache": True}, "-o kernel_cache"),
        (CAP_PASSTHROUGH, {"auto_cache": True}, "-o auto_cache"),
    ],
)
def test_where_it_cannot_be_the_status_says_why(capable: int, options: dict[str, object], says: str) -> None:
    passthrough, asked = Passthrough(None), connection(capable)
    agree(binding("3.17.2"), asked, passthrough, options)
    assert asked.want_ext == 5
    assert says in str(passthrough.describe()["off_because"])


def test_what_is_refused_is_not_asked_for() -> None:
    asked = connection()
    agree(binding("3.17.2"), asked, Passthrough("there is no disk cache"), {})
    assert asked.want_ext == 5


class FileInfo(ctypes.Structure):
    """struct fuse_file_info, as mfusepy 3.1.1 has it: it ends with `poll_events`, which covers `backing_id`."""

    _fields_ = (
        ("flags", ctypes.c_int32),
        ("direct_io", ctypes.c_uint32, 1),
        ("keep_cache", ctypes.c_uint32, 1),
        ("padding", ctypes.c_uint32, 30),
        ("padding2", ctypes.c_uint32),
        ("padding3", ctypes.c_uint32),
        ("fh", ctypes.c_uint64),
        ("lock_owner", ctypes.c_uint64),
        ("poll_events", ctypes.c_uint64),
    )


def backing_id_of(fi: FileInfo) -> int:
    return int.from_bytes(bytes(fi)[36:40], sys.byteorder)


class Passing:
    def __init__(self) -> None:
        self.opens: list[str] = []
        self.backing_id = 7
        self.stale = False

    def opened(self, node: str, _file: OpenFile) -> int:
        if self.stale:
            raise Stale("another file")
        self.opens.append(node)
        return self.backing_id

    def released(self, node: str) -> None:
        self.opens.remove(node)


@pytest.fixture
def cache() -> Cache:
    return Cache()


@pytest.fixture
def answers(cache: Cache, tmp_path: Path) -> Answers:
    return answers_of(OneModel(), cache, tmp_path)


def test_a_whole_file_is_opened_by_its_backing_file_and_keeps_no_pages_of_ours(answers: Answers, cache: Cache) -> None:
    passing: Any = Passing()
    operations = PassingOperations(answers, lambda _: None, passing)
    infos = [FileInfo(flags=os.O_RDONLY) for _ in range(2)]
    for fi in infos:
        assert operations.open(GRAPH, fi) == 0
        assert (backing_id_of(fi), fi.keep_cache, fi.direct_io) == (7, 0, 0)
    assert operations.read(GRAPH, 5, 0, infos[0]) == b"graph"
    passing.stale = True
    with pytest.raises(OSError, match="another file") as refused:
        operations.open(GRAPH, FileInfo())
    assert refused.value.errno == errno.ESTALE
    assert (len(cache.held), len(cache.released)) == (3, 1)
    for fi in infos:
        assert operations.release(GRAPH, fi) == 0
    assert not passing.opens
    assert len(cache.released) == 3
    passing.backing_id, passing.stale = 0, False
    for kept in (1, 1):
        fi = FileInfo()
        assert operations.open(GRAPH, fi) == 0
        assert (backing_id_of(fi), fi.keep_cache, fi.direct_io) == (0, kept, 0)
