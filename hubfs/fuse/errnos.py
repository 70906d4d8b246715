"""Errors → errno: one table, applied at one boundary."""

import errno
import functools
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from hubfs import errors

_log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

ERRNOS: dict[type[errors.HubfsError], int] = {
    errors.NotFound: errno.ENOENT,
    errors.InvalidHandle: errno.ENOENT,
    errors.NameTooLong: errno.ENAMETOOLONG,
    errors.NotADirectory: errno.ENOTDIR,
    errors.IsADirectory: errno.EISDIR,
    errors.NotASymlink: errno.EINVAL,
    errors.NoSuchAttribute: errno.ENODATA,
    errors.AccessDenied: errno.EACCES,
    errors.ReadOnly: errno.EROFS,
    errors.TimedOut: errno.ETIMEDOUT,
    errors.Unavailable: errno.EHOSTUNREACH,
    errors.Damaged: errno.EIO,
    errors.Stale: errno.ESTALE,
    errors.Cancelled: errno.EIO,
}
"""The first class of an error's ancestry that stands here decides."""


def errno_for(kind: type[errors.HubfsError]) -> int:
    """The errno of errors of this class; EIO for one that the table does not know."""
    return next((ERRNOS[base] for base in kind.__mro__ if base in ERRNOS), errno.EIO)


def told(error: Exception, operation: str, subject: object) -> int:
    """The errno of what an operation raised, which is said in the log.

    What the table does not know becomes EIO, with a traceback in the log.
    """
    if not isinstance(error, errors.HubfsError):
        _log.error("%s %s: unexpected error", operation, subject, exc_info=error)
        return errno.EIO
    if error.ordinary:
        _log.debug("%s %s: %s", operation, subject, error)
    else:
        _log.warning("%s %s: %s (%s)", operation, subject, error, error.advice)
    return errno_for(type(error))


def boundary(operation: Callable[P, R]) -> Callable[P, R]:
    """Makes an operation of a libfuse binding raise nothing but OSErrors with an errno of the table.

    fusepy would pass a foreign OSError's errno on to the reader, answer EINVAL for other exceptions, and end in
    NameError for an OSError without errno.
    """

    @functools.wraps(operation)
    def translated(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return operation(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the boundary: behind it is C
            number = told(error, operation.__name__, _path(args))
            raise OSError(number, str(error) or repr(error)) from None

    return translated


def _path(args: tuple[object, ...]) -> object:
    """Operations are methods whose first argument is the path."""
    return args[1] if len(args) > 1 else ""
