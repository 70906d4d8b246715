import ast
import errno
import logging
import re

import pytest

from hubfs import errors
from hubfs.blobs.retry import Busy, Permanent
from hubfs.errors import HubfsError
from hubfs.fuse.errnos import ERRNOS
from hubfs.fuse.operations import boundary
from hubfs.models.reachability import OutOfReach
from tests.support.paths import ROOT

HAPPENED: dict[str, tuple[type[Exception], ...]] = {
    "no such model, no such file, a name that cannot exist": (
        *(errors.ModelNotFound, errors.EntryNotFound, errors.InvalidHandle),
    ),
    "a name of more than 255 bytes": (errors.NameTooLong,),
    "a directory is asked for, and the name is a file's": (errors.NotADirectory,),
    "a file is asked for, and the name is a directory's": (errors.IsADirectory,),
    "a symlink is asked for, and the name is something else's": (errors.NotASymlink,),
    "no such extended attribute": (errors.NoSuchAttribute,),
    "an extended attribute of another name space than `user`": (errors.NoAttributes,),
    "the hub says 401 or 403": (errors.AccessDenied,),
    "any write": (errors.ReadOnly,),
    "a transfer or a connection stalled": (errors.TimedOut,),
    "the host was not found, refused, cannot be reached, keeps failing, or shows no certificate that is trusted": (
        *(errors.Unavailable, errors.NotCached, Permanent, Busy, OutOfReach),
    ),
    "the hub redirects to where it must not: from https to http, to no http(s) URL, or further inside the network than "
    "it is": (Permanent,),
    "the archive is damaged, truncated or hostile; a checksum is wrong": (errors.Damaged,),
    "the origin changed, or went away, under an open file or directory": (errors.Stale,),
    "a daemon died while a control file was read": (errors.Stale,),
    "the mount is taken off meanwhile": (errors.Cancelled,),
    "anything unexpected": (RuntimeError, HubfsError),
}
"""What raises these errors, in the words of the table "What goes wrong" of docs/SEMANTICS.md."""

_SECTION = (
    (ROOT / "docs/SEMANTICS.md").read_text(encoding="utf-8").partition("## What goes wrong\n")[2].partition("#")[0]
)
SAID = dict(re.findall(r"^\| (.+) \| `(E[A-Z]+)`", _SECTION, re.MULTILINE))
"""What the document promises for each."""


class Operations:
    """As FUSE's operations: methods whose first argument is the path."""

    @boundary
    def read(self, path: str, error: BaseException | None) -> bytes:
        """The operation's own words."""
        if error is not None:
            raise error
        return path.encode()


def met(error: BaseException) -> int | None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is looked at
        Operations().read("/a/b/1", error)
    assert type(caught.value) is not OSError or caught.value.errno is not None
    assert caught.value.__cause__ is None
    return caught.value.errno


def test_the_document_says_what_happens_in_every_case() -> None:
    assert SAID.keys() == HAPPENED.keys()
    assert {kind for kinds in HAPPENED.values() for kind in kinds} >= ERRNOS.keys() - {errors.NotFound}


@pytest.mark.parametrize("happened", HAPPENED)
def test_a_reader_gets_what_the_document_says(happened: str) -> None:
    assert {errno.errorcode[met(kind("why"))] for kind in HAPPENED[happened]} == {SAID[happened]}


def test_every_error_that_a_reader_can_meet_is_in_the_table() -> None:
    def kinds(kind: type[HubfsError]) -> set[type[HubfsError]]:
        return {kind}.union(*map(kinds, kind.__subclasses__()))

    known = {kind for kind in kinds(HubfsError) if kind.__module__ == "hubfs.errors"}
    at_the_command_only = {HubfsError, errors.Ordinary, errors.InvalidConfig, errors.MountFailed, errors.NotInstalled}
    assert {kind for kind in known if not any(base in ERRNOS for base in kind.__mro__)} == at_the_command_only


def callers_of(name: str) -> set[str]:
    """The functions of hubfs that call a function of this name, with their modules."""
    found = set()
    for file in (ROOT / "hubfs").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        for function in ast.walk(ast.parse(text)) if name in text else ():
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                called = (ast.unparse(call.func) for call in ast.walk(function) if isinstance(call, ast.Call))
                if any(f".{each}".endswith(f".{name}") for each in called):
                    found.add(f"{file.relative_to(ROOT / 'hubfs')} {function.name}")
    return found


def test_a_package_that_is_missing_is_met_before_anything_is_mounted() -> None:
    """Readers come to the last of these places alone, and get `AccessDenied` there (tests/blobs/gcs/test_token.py)."""
    assert callers_of("NotInstalled") == {"errors.py needing"}
    assert callers_of("needing") == {
        "hubs/tfhub/serve/command.py serve",  # a command
        "fuse/bindings/libfuse.py load",  # the binding that is to mount
        "blobs/store.py open_store",
        "blobs/gcs/credentials.py load",
    }
    assert callers_of("open_store") == {
        *("commands/doctor/network.py shared_cache", "commands/doctor/network.py ask"),  # a command
        "cache/shared/cache.py open",
    }
    assert callers_of("SharedCache.open") == {"engine.py _open_caches"}
    assert callers_of("self._open_caches") == {"engine.py __init__"}, "which a mount begins with"


def test_a_subclass_has_its_parents_errno() -> None:
    class Slow(errors.TimedOut):
        pass

    class Both(Slow, errors.Unavailable):
        pass

    assert met(Slow("x")) == met(Both("x")) == errno.ETIMEDOUT


def test_an_error_that_the_table_does_not_know_is_eio() -> None:
    class New(HubfsError):
        pass

    assert met(New("x")) == met(errors.MountFailed("x")) == errno.EIO


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("odd"),
        OSError("an OSError without errno, as gcsfs raises"),
        OSError(errno.ENOSPC, "somebody else's"),
        FileNotFoundError(errno.ENOENT, "somebody else's"),
        TimeoutError(),
        KeyError("k"),
        MemoryError(),
        AssertionError(),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd"),
        StopIteration(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_is_unexpected_is_eio_with_a_traceback_in_the_log(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    assert met(error) == errno.EIO
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert "read /a/b/1" in record.getMessage()


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        *((kind, "WARNING") for kind in (errors.Damaged, errors.Unavailable, errors.AccessDenied, errors.Stale)),
        *((kind, "DEBUG") for kind in (errors.ModelNotFound, errors.NameTooLong, errors.NotADirectory)),
        *((kind, "DEBUG") for kind in (errors.IsADirectory, errors.NotASymlink, errors.NoSuchAttribute)),
        *((kind, "DEBUG") for kind in (errors.NoAttributes, errors.ReadOnly, errors.Cancelled)),
    ],
)
def test_the_log_names_the_operation_the_path_and_the_reason_and_the_ordinary_quietly(
    kind: type[HubfsError], level: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        met(kind("https://hub/x: the reason"))
    advice = f" ({kind.advice})" if level == "WARNING" else ""
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (level, f"read /a/b/1: https://hub/x: the reason{advice}")
    ]
    assert caplog.records[0].exc_info is None


def test_a_result_passes_and_the_operation_keeps_its_name() -> None:
    assert Operations().read("/x", None) == b"/x"
    assert Operations.read.__name__ == "read"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_what_is_to_end_the_process_is_not_swallowed(error: BaseException) -> None:
    with pytest.raises(type(error)):
        Operations().read("/x", error)
