"""What the status of a reply means."""

from collections.abc import Mapping
from http import HTTPStatus

from hubfs.blobs.http.object import retry_after_s
from hubfs.blobs.http.url import redacted
from hubfs.blobs.retry import Busy, Permanent
from hubfs.errors import AccessDenied, HubfsError, NotFound

REDIRECTS = (301, 302, 303, 307, 308)
_ANSWERS = (200, 206, 416)
_SERVER_ERRORS = 500


def refusal(url: str, status: int, headers: Mapping[str, str]) -> HubfsError | None:
    """The error that a reply from `url` means; None if it is an answer: 200, 206 or 416."""
    url = redacted(url)
    if status in _ANSWERS:
        return None
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return NotFound(f"{url} does not exist (status {status})")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return AccessDenied(f"{url} refuses access (status {status}): configure credentials that this host accepts")
    if status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS) or status >= _SERVER_ERRORS:
        return Busy(f"{url} answered {status}: the host cannot serve it now", retry_after_s(headers))
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return Permanent(f"{url} was not reached: the proxy asks for credentials (status {status})")
    return Permanent(f"{url} answered {status}, which hubfs cannot use")
