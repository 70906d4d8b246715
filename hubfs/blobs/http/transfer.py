"""The body of an HTTP reply as it comes, and the errors that a status or an exception of requests and urllib3 means."""

import http.client
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import requests
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProxyError, ReadTimeoutError

from hubfs.blobs import json_text
from hubfs.blobs.http.counts import HttpCounts
from hubfs.blobs.http.object import ContentRange, content_length, redirect_target, retry_after_s
from hubfs.blobs.http.settings import HttpSettings
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


# By the codes of OpenSSL's <openssl/x509_vfy.h>.
_ADVICE = {
    9: "its time is yet to come; is this machine's clock right?",
    10: "it has expired; tell the host's operator, or is this machine's clock wrong?",
    62: "it is for another host name; is the URL right?",
    64: "it is for another address; is the URL right?",
}

_NO_COMMON_TLS = frozenset(
    {
        "UNSUPPORTED_PROTOCOL",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "WRONG_SSL_VERSION",
        "NO_PROTOCOLS_AVAILABLE",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "DH_KEY_TOO_SMALL",
    }
)


_FOREIGN = (requests.RequestException, HTTPError, ValueError, OSError)


class translated:  # noqa: N801 - it is called like a function; made of a generator, it takes twice as long
    """An error inside, while `url` is asked, comes out as `HubfsError`; as `Cancelled` after a cancel.

    Texts of foreign exceptions hold whole URLs and are never shown.
    """

    __slots__ = ("_cancellation", "_settings", "_url")

    def __init__(self, url: str, settings: HttpSettings, cancellation: Cancellation) -> None:
        self._url, self._settings, self._cancellation = url, settings, cancellation

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, _FOREIGN) and not isinstance(error, HubfsError):
            self._cancellation.check()
            raise _error_for(redacted(self._url), error, self._settings) from None  # else its text would be shown


def _error_for(url: str, error: Exception, settings: HttpSettings) -> HubfsError:
    if isinstance(error, ConnectTimeoutError) and not isinstance(error, NewConnectionError):
        return TimedOut(f"{url} could not be connected to within {settings.connect_timeout_s:g} s")
    if isinstance(error, ReadTimeoutError):
        return TimedOut(f"{url} sent nothing for {settings.stall_timeout_s:g} s")
    cause, reason = _cause(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        advice = _ADVICE.get(cause.verify_code, "add its authority with REQUESTS_CA_BUNDLE")
        return Permanent(f"{url} shows a certificate that is not trusted ({cause.verify_message}): {advice}")
    if isinstance(cause, ssl.SSLError) and cause.reason in _NO_COMMON_TLS:
        return Permanent(f"{url} offers no version or cipher of TLS that is still safe ({cause.reason}): refused")
    if isinstance(error, ValueError):
        return Permanent(f"{url} cannot be requested: the URL or one of the headers to send is not well-formed")
    through = " through the proxy" if isinstance(error, ProxyError) else ""
    return Unavailable(f"{url} could not be read{through}: {reason}")


def _cause(error: BaseException) -> tuple[BaseException, str]:
    """The deepest cause that says something, and what it says. Texts of requests and urllib3 are not used."""
    cause, reason = error, "the connection failed"
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.strerror:
            cause, reason = link, link.strerror
        elif isinstance(link, http.client.HTTPException):
            cause, reason = link, quoted(link) or type(link).__name__
        link = link.__cause__ or link.__context__
    return cause, reason


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

_GATHERING_S = 0.1
"""Who asks for so many bytes has no use for fewer, and looks at the pace of the transfer so often meanwhile."""


class Transfer:
    """The body of one reply, read once, by one thread.

    `url` is the one that answered, `size_bytes` the body's as announced (None if it was not), `redirect` where the
    reply leads to, if it is a redirect, `refusal` the error that it means, if it is one. `counts` is told of bytes.
    """

    def __init__(
        self,
        url: str,
        response: BaseHTTPResponse,
        settings: HttpSettings,
        cancellation: Cancellation,
        counts: HttpCounts,
    ) -> None:
        self._response = response
        self._settings = settings
        self._cancellation = cancellation
        self._counts = counts
        self.received_bytes = 0
        self._floor = PaceFloor(settings.stall_timeout_s)
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.url = url
        self.content_range = ContentRange.parse(self.headers) if self.status == HTTPStatus.PARTIAL_CONTENT else None
        self.size_bytes = content_length(self.headers)
        if self.content_range:
            range_bytes = self.content_range.end_bytes - self.content_range.start_bytes
            if self.size_bytes is None:
                self.size_bytes = range_bytes
            elif self.size_bytes != range_bytes:
                # Where this body ends is not known, and so not where the next reply on the connection would begin: it
                # goes with the transfer, not back to the pool.
                response._pool = None  # type: ignore[attr-defined]  # noqa: SLF001 - urllib3 has no other way to say so
        self.redirect = redirect_target(self.headers) if self.status in REDIRECTS else None
        self.refusal = None if self.redirect is not None else self._refusal()
        counts.began(self)

    def read(self, limit_bytes: int) -> bytes:
        """The bytes that are there, at least one and at most `limit_bytes`; none at the end.

        Raises `Unavailable` when the connection broke, `TimedOut` when it stalled or trickles, `Cancelled`.
        """
        began_s = time.monotonic()
        with translated(self.url, self._settings, self._cancellation):
            # As they came: decoding is for those who show pages. read1, because read would lose what it has when
            # the connection breaks.
            data: bytes = self._response.read1(limit_bytes, decode_content=False) or b""
        self._cancellation.check()
        self.received_bytes += len(data)
        self._counts.received(len(data))
        if data and self._floor.too_slow(time.monotonic() - began_s, len(data)):
            raise TimedOut(f"{redacted(self.url)} sent less than {SLOWEST_BYTES_PER_S} bytes a second")
        return data

    def read_up_to(self, limit_bytes: int) -> bytes:
        """The next `limit_bytes`, fewer only at the end of the body. Raises as `read` does."""
        parts = []
        reply: Any = self._response._original_response  # type: ignore[attr-defined]  # noqa: SLF001 - urllib3 has no other way to it
        reply.gathering_s = _GATHERING_S
        while limit_bytes > 0 and (part := self.read(limit_bytes)):
            parts.append(part)
            limit_bytes -= len(part)
        reply.gathering_s = 0.0
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
        self._counts.ended(self)
        self._response.close()
        self._response.release_conn()

    def __enter__(self) -> "Transfer":  # noqa: PYI034 - Self came with Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
