"""The body of an HTTP reply as it comes, and the errors that the status of a reply means."""

import time
from collections.abc import Callable, Mapping
from http import HTTPStatus

import requests

from hubfs.blobs.http.errors import HttpSettings, translated
from hubfs.blobs.http.object import ContentRange, content_length, redirect_target, retry_after_s
from hubfs.blobs.http.url import redacted
from hubfs.blobs.pace_floor import SLOWEST_BYTES_PER_S, PaceFloor
from hubfs.blobs.retry import Busy, Permanent
from hubfs.errors import AccessDenied, HubfsError, NotFound, TimedOut
from hubfs.waiting import Cancellation

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


_SMALL_BODY_BYTES = 16 * 1024


class Transfer:
    """The body of one reply, read once, by one thread.

    `url` is the one that answered, `size_bytes` the body's as announced (None if it was not), `redirect` where the
    reply leads to, if it is a redirect, `refusal` the error that it means, if it is one. `received` is told of bytes.
    """

    def __init__(
        self,
        response: requests.Response,
        settings: HttpSettings,
        cancellation: Cancellation,
        received: Callable[[int], None],
    ) -> None:
        self._response = response
        self._settings = settings
        self._cancellation = cancellation
        self._received = received
        self._floor = PaceFloor(settings.stall_timeout_s)
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.url = response.url
        self.content_range = ContentRange.parse(self.headers) if self.status == HTTPStatus.PARTIAL_CONTENT else None
        self.size_bytes = content_length(self.headers)
        if self.content_range:
            range_bytes = self.content_range.end_bytes - self.content_range.start_bytes
            if self.size_bytes is None:
                self.size_bytes = range_bytes
            elif self.size_bytes != range_bytes:
                # Where this body ends is not known, and so not where the next reply on the connection would begin: it
                # goes with the transfer, not back to the pool.
                response.raw._pool = None  # noqa: SLF001 - urllib3 has no other way to say so
        self.redirect = redirect_target(self.headers) if self.status in REDIRECTS else None
        self.refusal = None if self.redirect is not None else refusal(self.url, self.status, self.headers)

    def read(self, limit_bytes: int) -> bytes:
        """The bytes that are there, at least one and at most `limit_bytes`; none at the end.

        Raises `Unavailable` when the connection broke, `TimedOut` when it stalled or trickles, `Cancelled`.
        """
        began_s = time.monotonic()
        with translated(self.url, self._settings, self._cancellation):
            # As they came: decoding is for those who show pages. read1, because read would lose what it has when
            # the connection breaks.
            data: bytes = self._response.raw.read1(limit_bytes, decode_content=False) or b""
        self._cancellation.check()
        self._received(len(data))
        if data and self._floor.too_slow(time.monotonic() - began_s, len(data)):
            raise TimedOut(f"{redacted(self.url)} sent less than {SLOWEST_BYTES_PER_S} bytes a second")
        return data

    def read_up_to(self, limit_bytes: int) -> bytes:
        """The next `limit_bytes`, fewer only at the end of the body. Raises as `read` does."""
        parts = []
        while limit_bytes > 0 and (part := self.read(limit_bytes)):
            parts.append(part)
            limit_bytes -= len(part)
        return b"".join(parts)

    def finish(self) -> None:
        """Closes it, having read a small body, which keeps the connection for the next request."""
        if self.size_bytes is not None and self.size_bytes <= _SMALL_BODY_BYTES:
            self.read_up_to(self.size_bytes or 1)  # the end has to be read even of nothing
        self.close()

    def close(self) -> None:
        """Gives up what was not read. The connection lives on if nothing was left."""
        self._response.close()

    def __enter__(self) -> "Transfer":  # noqa: PYI034 - Self came with Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
