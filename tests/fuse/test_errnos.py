import errno
import logging

import pytest

from hubfs import errors
from hubfs.errors import HubfsError
from hubfs.fuse.errnos import ERRNOS, boundary, errno_of

# DESIGN section 7, row by row.
TABLE = {
    errors.ModelNotFound: errno.ENOENT,
    errors.EntryNotFound: errno.ENOENT,
    errors.InvalidHandle: errno.ENOENT,
    errors.AccessDenied: errno.EACCES,
    errors.ReadOnly: errno.EROFS,
    errors.TimedOut: errno.ETIMEDOUT,
    errors.Unavailable: errno.EHOSTUNREACH,
    errors.Damaged: errno.EIO,
    errors.Stale: errno.ESTALE,
    # What a path is not.
    errors.NameTooLong: errno.ENAMETOOLONG,
    errors.NotADirectory: errno.ENOTDIR,
    errors.IsADirectory: errno.EISDIR,
    errors.NotASymlink: errno.EINVAL,
    errors.NoSuchAttribute: errno.ENODATA,
    errors.Cancelled: errno.EIO,
}


class Operations:
    """As FUSE's operations: methods whose first argument is the path."""

    @boundary
    def read(self, path: str, error: BaseException | None) -> bytes:
        """The operation's own words."""
        if error is not None:
            raise error
        return path.encode()


def errno_for(error: BaseException) -> int | None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is looked at
        Operations().read("/a/b/1", error)
    assert type(caught.value) is not OSError or caught.value.errno is not None
    assert caught.value.__cause__ is None
    return caught.value.errno


@pytest.mark.parametrize(("kind", "number"), TABLE.items(), ids=lambda value: getattr(value, "__name__", None))
def test_every_row_of_the_table(kind: type[HubfsError], number: int) -> None:
    assert errno_for(kind("why")) == errno_of(kind("why")) == number


def test_every_error_that_a_reader_can_meet_is_in_the_table() -> None:
    def kinds(kind: type[HubfsError]) -> set[type[HubfsError]]:
        return {kind}.union(*map(kinds, kind.__subclasses__()))

    known = {kind for kind in kinds(HubfsError) if kind.__module__ == "hubfs.errors"}
    at_the_command_only = {HubfsError, errors.InvalidConfig, errors.MountFailed}
    assert {kind for kind in known if not any(base in ERRNOS for base in kind.__mro__)} == at_the_command_only


def test_a_subclass_has_its_parents_errno() -> None:
    class Slow(errors.TimedOut):
        pass

    class Both(Slow, errors.Unavailable):
        pass

    assert errno_for(Slow("x")) == errno_for(Both("x")) == errno.ETIMEDOUT


def test_an_error_that_the_table_does_not_know_is_eio() -> None:
    class New(HubfsError):
        pass

    assert errno_for(New("x")) == errno_for(errors.MountFailed("x")) == errno.EIO


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
    assert errno_for(error) == errno.EIO
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert "read /a/b/1" in record.getMessage()


@pytest.mark.parametrize(
    ("kind", "level"),
    [(errors.Damaged, "WARNING"), (errors.Unavailable, "WARNING"), (errors.ModelNotFound, "DEBUG")],
)
def test_the_log_names_the_operation_the_path_and_the_reason_and_the_ordinary_quietly(
    kind: type[HubfsError], level: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        errno_for(kind("https://hub/x: the reason"))
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
