"""The body of an HTTP reply as it comes, and the errors that the status of a reply means."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus

import requests

from hubfs.blobs import json_text
from hubfs.blobs.http.errors import HttpSettings, translated
from hubfs.blobs.http.object import ContentRange, content_length, redirect_target, retry_after_s
from hubfs.blobs.http.url import next_hop, redacted, redacted_text
from hubfs.blobs.retry import PROGRESS_BYTES, Busy, Permanent
from hubfs.errors import AccessDenied, HubfsError, NotFound, TimedOut, Unavailable, quoted
from hubfs.waiting import Cancellation

SLOWEST_BYTES_PER_S = 1024
"""Below that a host is as good as silent: a byte now and then would keep its readers waiting for days."""

_LONGEST_WINDOW_S = PROGRESS_BYTES / SLOWEST_BYTES_PER_S  # so that what is given up as too slow was no progress


class PaceFloor:
    """Whether a transfer is too slow: over a window as long as the silence that is borne, at most a minute.

    Only the time spent waiting counts, since a reader that pauses is no fault of the host. For one thread.
    """

    def __init__(self, stall_timeout_s: float) -> None:
        self.window_s = min(stall_timeout_s, _LONGEST_WINDOW_S)
        self._waited_s = 0.0
        self._came_bytes = 0

    def too_slow(self, waited_s: float, came_bytes: int) -> bool:
        """Takes into account that `came_bytes` came after a wait of `waited_s`."""
        self._waited_s += waited_s
        self._came_bytes += came_bytes
        if self._waited_s < self.window_s:
            return False
        slow = self._came_bytes < SLOWEST_BYTES_PER_S * self._waited_s
        self._waited_s, self._came_bytes = 0.0, 0
        return slow


REDIRECTS = (301, 302, 303, 307, 308)
_ANSWERS = (200, 206, 416)
_SERVER_ERRORS = 500


def refusal(url: str, status: int, headers: Mapping[str, str], body: bytes = b"") -> HubfsError | None:
    """The error that a reply from `url` means; None if it is an answer: 200, 206 or 416.

    A `body` that is JSON as Google's services write it, `{"error": {"message": ...}}`, gives the message a reason.
    """
    if status in _ANSWERS:
        return None
    url, said = redacted(url), f"{status}{_reason(body)}"
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return NotFound(f"{url} does not exist (status {said})")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return AccessDenied(f"{url} refuses access (status {said}): configure credentials that this host accepts")
    if status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS) or status >= _SERVER_ERRORS:
        return Busy(f"{url} answered {said}: the host cannot serve it now", retry_after_s(headers))
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return Permanent(f"{url} was not reached: the proxy asks for credentials (status {said})")
    return Permanent(f"{url} answered {said}, which hubfs cannot use")


def _reason(body: bytes) -> str:
    """The reason that the body of a refusal gives, to follow the status; empty if it gives none."""
    try:
        message = json_text.parse(body)["error"]["message"]
    except (ValueError, TypeError, KeyError):
        return ""
    return f": {redacted_text(quoted(' '.join(str(message).split())))}"


@dataclass(frozen=True)
class HttpReply:
    """A reply as it came, with the start of its body. `url` is the one that answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str = field(repr=False)

    @property
    def leads_to(self) -> str | None:
        """The URL that the reply redirects to, if it is a redirect. Raises `Permanent` where none must lead."""
        target = redirect_target(self.headers) if self.status in REDIRECTS else None
        return None if target is None else next_hop(self.url, target)


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
        self.refusal = None if self.redirect is not None else self._refusal()

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

    def reply(self, max_body_bytes: int) -> HttpReply:
        """The reply, with at most so many bytes of its body. Raises as `read` does."""
        return HttpReply(self.status, self.headers, self.read_up_to(max_body_bytes), self.url)

    def finish(self) -> bytes:
        """Closes it, having read a small body, which keeps the connection for the next request; returns that body."""
        body = b""
        if self.size_bytes is not None and self.size_bytes <= _SMALL_BODY_BYTES:
            body = self.read_up_to(self.size_bytes or 1)  # the end has to be read even of nothing
        self.close()
        return body

    def refuse(self) -> None:
        """Raises the error that the reply means, with the reason that its body gives, if the reply is a refusal."""
        if self.refusal:
            body = b""
            with suppress(TimedOut, Unavailable):
                body = self.finish()
            raise self._refusal(body) or self.refusal

    def _refusal(self, body: bytes = b"") -> HubfsError | None:
        error, credentials = refusal(self.url, self.status, self.headers, body), self._settings.credentials
        return AccessDenied(f"{error}; {credentials}") if credentials and isinstance(error, AccessDenied) else error

    def close(self) -> None:
        """Gives up what was not read. The connection lives on if nothing was left."""
        self._response.close()

    def __enter__(self) -> "Transfer":  # noqa: PYI034 - Self came with Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
