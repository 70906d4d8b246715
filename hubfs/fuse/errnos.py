"""Errors → errno: one table."""

import errno
import logging
from collections.abc import Mapping

from hubfs import errors

_log = logging.getLogger(__name__)

ERRNOS: dict[type[errors.HubfsError], int] = {
    errors.NotFound: errno.ENOENT,
    errors.InvalidHandle: errno.ENOENT,
    errors.NameTooLong: errno.ENAMETOOLONG,
    errors.NotADirectory: errno.ENOTDIR,
    errors.IsADirectory: errno.EISDIR,
    errors.NotASymlink: errno.EINVAL,
    errors.NoSuchAttribute: errno.ENODATA,
    errors.NoAttributes: errno.ENOTSUP,
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
    """The errno of an error that an operation raised. The log says the error.

    What the table does not know becomes EIO, with a traceback in the log.
    """
    if not isinstance(error, errors.HubfsError):
        said = _fields(operation, subject, errno.EIO)
        _log.error("%s %s: unexpected error", operation, subject, exc_info=error, extra=said)
        return errno.EIO
    number = errno_for(type(error))
    if isinstance(error, errors.Ordinary):
        _log.debug("%s %s: %s", operation, subject, error)
    else:
        said = _fields(operation, subject, number)
        _log.warning("%s %s: %s (%s)", operation, subject, error, error.advice, extra=said)
    return number


def _fields(operation: str, subject: object, number: int) -> Mapping[str, object]:
    """What a log of JSON objects has in fields of their own."""
    return {"fields": {"operation": operation, "path": subject, "errno": errno.errorcode[number]}}
