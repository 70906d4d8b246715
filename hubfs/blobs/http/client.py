"""The door to requests: replies and transfers over HTTP; no foreign exception comes out of it."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from http import HTTPStatus
from io import BytesIO

import urllib3
from requests.utils import check_header_validity
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import ProtocolError

from hubfs.blobs.http.connections import OpenSockets, Peers, Target, WatchedAdapter
from hubfs.blobs.http.counts import HttpCounts, HttpStats
from hubfs.blobs.http.object import HttpObject
from hubfs.blobs.http.reach import Reach
from hubfs.blobs.http.reply import ended_while_kept, fresh_connections
from hubfs.blobs.http.settings import Bearer, HttpSettings, Netrc, environment_of
from hubfs.blobs.http.transfer import HttpReply, Transfer, translated
from hubfs.blobs.http.url import basic, host_url, may_have_netrc, next_hop, origin_of, redacted, without_userinfo
from hubfs.blobs.http.wholes import Wholes
from hubfs.blobs.retry import Busy, Permanent, retrying
from hubfs.errors import AccessDenied, HubfsError
from hubfs.waiting import Cancellation, Remembered

_log = logging.getLogger(__name__)

HEAD_BYTES = 512
WHOLE_BYTES = 14 << 10
"""What a host sends before it waits for an acknowledgement: ten segments (RFC 6928). So much of an archive is asked for
at once, and one that is no larger costs one request."""
_MAX_REDIRECTS = 10
_PROBE_TTL_S = 60.0
_PROBE_WAIT_S = 300.0
_PROBES_KEPT = 1024
_HOSTS_KEPT = 64
_DONE = 2
"""The first digit of the status of what was done."""
_NO_HEADERS: Mapping[str, str] = {}


class _Timeout(urllib3.Timeout):
    """Bounds each wait, and not a request as a whole: so it holds for any number of requests, and is never copied."""

    def clone(self) -> "_Timeout":
        """Itself."""
        return self

    def start_connect(self) -> float:
        """Notes nothing: no time that was taken counts."""
        return 0.0


_timeout = lru_cache(_HOSTS_KEPT)(_Timeout)
_check = lru_cache(_HOSTS_KEPT)(check_header_validity)

_Headers = dict[str, tuple[str, str]]
"""Names as they are sent, and values, by the names in lower case."""


@dataclass(frozen=True)
class _Probed:
    """An answer is remembered for callers with the same headers."""

    url: str = field(repr=False)
    headers: frozenset[tuple[str, str]] = field(repr=False)

    def __str__(self) -> str:  # for messages: headers and queries may be secrets
        return redacted(self.url)


class HttpClient:
    """Requests to any number of hosts, from any number of threads, over connections that are kept.

    `_lock` guards `_connected_ahead`; no I/O is done while it is held.
    A cancel shuts every socket down, so that reads in flight end at once; a connection being made ends within
    `connect_timeout_s`.
    """

    def __init__(
        self,
        settings: HttpSettings,
        cancellation: Cancellation,
        *,
        bearer: Bearer | None = None,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._bearer = bearer
        self.cancellation = cancellation
        self._credential_origin = settings.credential_host and origin_of(
            f"{settings.credential_scheme}://{settings.credential_host}"
        )
        self._lock = threading.Lock()
        self.counts = HttpCounts()
        self._connected_ahead: set[str] = set()
        self._probes: Remembered[_Probed, HttpObject] = Remembered(
            cancellation, ttl_s=_PROBE_TTL_S, timeout_s=_PROBE_WAIT_S, most=_PROBES_KEPT, timer=timer
        )
        self.wholes = Wholes()
        """What came whole with the reply to a probe."""
        sockets = OpenSockets(cancellation)
        # Reading the environment takes as long as a small request, and the daemon's does not change.
        environment = lru_cache(_HOSTS_KEPT)(partial(environment_of, verify=settings.verify))
        self._netrc = Netrc()
        self._has_netrc = lru_cache(_HOSTS_KEPT)(self._netrc.names)
        self._peers = Peers()
        self._adapters = {
            limit: WatchedAdapter(sockets, partial(self._peers.meet, limit=limit), environment, settings.proxy_headers)
            for limit in Reach
        }
        self._forget_callback = cancellation.on_cancel(sockets.shut_down)
        # urllib3's debug lines print whole URLs, and the query of a signed one is a secret.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
        if not settings.verify:
            _log.warning("certificates of https hosts are not verified")
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    def close(self) -> None:
        """Closes the connections that are idle."""
        self._forget_callback()
        for adapter in self._adapters.values():
            adapter.close()

    def stats(self) -> HttpStats:
        """What was asked and received since the start."""
        return self.counts.stats()

    def probe(
        self,
        url: str,
        headers: Mapping[str, str] = _NO_HEADERS,
        *,
        fresh: bool = False,
        locate: Callable[[], str] | None = None,
        first_bytes: int = HEAD_BYTES,
    ) -> HttpObject:
        """What is behind `url`, from its first 512 bytes; retried; remembered for a minute unless `fresh`.

        So many `first_bytes` are asked for, and `wholes` has an object that is no larger. `locate` says where `url`
        leads by now, instead of `url` itself, and is asked until it says so. Raises `NotFound`, `AccessDenied`,
        `TimedOut`, `Unavailable`.
        """
        key = _Probed(url, frozenset(headers.items()))

        def ask() -> HttpObject:
            start = [url] if locate is None else []

            def attempt() -> tuple[HttpObject, bytes]:
                if locate is not None and not start:
                    start.append(locate())
                return self._probe(url, headers, start[0], first_bytes)

            found, first = retrying(attempt, self.settings.retry, self.cancellation)
            is_whole = first_bytes > HEAD_BYTES and len(first) == found.size_bytes
            self.wholes.keep(found, headers, first if is_whole else None)
            return found

        if not fresh:
            return self._probes.get(key, ask)
        found = ask()
        self._probes.keep(key, found)
        return found

    def connect_ahead(self, url: str, connections: int = 1) -> None:
        """Begins to make so many connections to the host of `url`, the first time, and returns at once. Raises nothing.

        Requests that come side by side find a connection each, and TLS, made.
        """
        with self._lock:
            if url in self._connected_ahead:
                return
            self._connected_ahead.add(url)

        def connect() -> None:
            try:
                with self._translated(url):
                    self._adapters[Reach.NOBODY].connect(Target.of(url).root, self.settings.connect_timeout_s)
            except HubfsError as error:  # who asks for something is told
                _log.debug("%s", error)

        with suppress(RuntimeError):  # no thread is left
            for _ in range(connections):
                threading.Thread(target=connect, name="connect", daemon=True).start()

    def forget(self, url: str, headers: Mapping[str, str] = _NO_HEADERS) -> None:
        """The object behind `url` changed: the next probe asks."""
        self._probes.forget(_Probed(url, frozenset(headers.items())))

    def _probe(self, url: str, headers: Mapping[str, str], start: str, first_bytes: int) -> tuple[HttpObject, bytes]:
        """What is behind `url`, and its first bytes."""
        with self.open(url, headers, extra={"Range": f"bytes=0-{first_bytes - 1}"}, start=start) as transfer:
            # 416 is how hosts say that an empty object has no first byte; its body is a page about that.
            unsatisfiable = transfer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            first = b"" if unsatisfiable else transfer.read_up_to(first_bytes)
            if transfer.content_range and transfer.content_range.start_bytes != 0:
                raise Permanent(f"{redacted(url)} answered with another range than the one asked for")
            found = HttpObject.of(url, transfer.url, transfer.status, transfer.headers, first[:HEAD_BYTES])
        if unsatisfiable and found.size_bytes:
            raise Permanent(f"{redacted(url)} answered 416 though it has {found.size_bytes} bytes")
        return found, first

    def reply(
        self,
        url: str,
        headers: Mapping[str, str] = _NO_HEADERS,
        max_body_bytes: int = 65536,
        follow: Callable[[HttpReply], bool] = lambda _: False,
    ) -> HttpReply:
        """The reply itself, of any status, with at most `max_body_bytes` of its body; retried.

        A redirect is followed if `follow` says so of the reply. Raises `AccessDenied`, `TimedOut`, `Unavailable` (429,
        5xx and no answer at all).
        """

        def attempt() -> HttpReply:
            for transfer in self._hops(url, headers, {}, url):
                with transfer:
                    if isinstance(transfer.refusal, AccessDenied | Busy):
                        raise transfer.refusal
                    reply = transfer.reply(max_body_bytes)
                if transfer.redirect is None or not follow(reply):
                    return reply
            raise _endless(url)

        return retrying(attempt, self.settings.retry, self.cancellation)

    def open(
        self,
        url: str,
        headers: Mapping[str, str] = _NO_HEADERS,
        *,
        extra: Mapping[str, str] = _NO_HEADERS,
        start: str | None = None,
    ) -> Transfer:
        """One attempt to get `url`: the reply with status 200, 206 or 416, redirects followed. To be closed.

        `headers` may be secret and go only to the host of `url`; `extra` ones go along to every hop. `start` is a URL
        that `url` is known to lead to. Raises `NotFound`, `AccessDenied`, `TimedOut`, `Unavailable`.
        """
        for transfer in self._hops(url, headers, extra, start or url):
            transfer.refuse()
            if transfer.redirect is None:
                return transfer
            transfer.finish()
        raise _endless(url)

    def change(self, method: str, url: str, body: bytes = b"", headers: Mapping[str, str] = _NO_HEADERS) -> int:
        """One attempt to have the host of `url` change something; the status of its reply, which is 2xx or 412.

        Sent once, since the host may have done what it was asked for before its connection ended. No redirect is
        followed. Raises `NotFound`, `AccessDenied`, `TimedOut`, `Unavailable`.
        """
        with self._exchange(method, url, body, headers, again=False) as transfer:
            if transfer.status // 100 == _DONE or transfer.status == HTTPStatus.PRECONDITION_FAILED:
                transfer.finish()
                return transfer.status
            transfer.refuse()
        raise Permanent(f"{redacted(url)} answered {transfer.status} to {method}, which hubfs cannot use")

    def ask(
        self, url: str, question: bytes | None, headers: Mapping[str, str] = _NO_HEADERS, max_body_bytes: int = 65536
    ) -> HttpReply:
        """One attempt to ask the host of `url`, by a GET, or by a POST of `question`, which is JSON.

        Any reply is returned, a refusal or a redirect, too, with at most `max_body_bytes` of its body. A question
        changes nothing at the host: it may be sent twice. Raises `TimedOut`, `Unavailable`.
        """
        method, kind = ("GET", {}) if question is None else ("POST", {"Content-Type": "application/json"})
        with self._exchange(method, url, question or b"", {**kind, **headers}, again=True) as transfer:
            return transfer.reply(max_body_bytes)

    def _exchange(self, method: str, url: str, body: bytes, headers: Mapping[str, str], *, again: bool) -> Transfer:
        """The reply of the host of `url`, which the user named."""
        with self._translated(url):
            secret = {**without_userinfo(url)[1], **headers}
            return self._send(url, secret, Reach.NOBODY, netrc=True, method=method, body=body, again=again)

    def _hops(self, url: str, headers: Mapping[str, str], extra: Mapping[str, str], start: str) -> Iterator[Transfer]:
        """The replies from `start` on, along the redirects. The caller closes each, and stops where none leads on."""
        hop = start
        with self._translated(url):
            ours = origin_of(url)
            secret = {**without_userinfo(url)[1], **headers}
        for _ in range(_MAX_REDIRECTS + 1):
            with self._translated(hop):
                at_home = origin_of(hop) == ours
                headers = {**extra, **(secret if at_home else {})}
                # The hub itself the user named; where it leads, it must not use that we are inside and it is not.
                limit = Reach.NOBODY if at_home else self._peers.reach(*ours[1:])
                if self.settings.private_redirects:  # no hub keeps models where a cloud keeps its machines' credentials
                    limit = max(limit, Reach.LOOPBACK)
                named = self.settings.verify and may_have_netrc(ours, origin_of(hop)) and self._has_netrc(host_url(hop))
                transfer = self._send(hop, headers, limit, netrc=at_home or named)
            yield transfer
            hop = next_hop(hop, transfer.redirect or "")

    def _send(
        self,
        url: str,
        headers: Mapping[str, str],
        limit: Reach,
        *,
        netrc: bool,
        method: str = "GET",
        body: bytes = b"",
        again: bool = True,
    ) -> Transfer:
        """One request, and one more if the credential host refused its `Bearer`, which has another by then."""
        target = Target.of(url)
        asked = self._headers(url, headers, netrc=netrc)
        transfer = self._send_once(target, asked, limit, method=method, body=body, again=again)
        if self._bearer is None or transfer.status != HTTPStatus.UNAUTHORIZED:
            return transfer
        refused = asked.get("authorization", ("", ""))[1]
        if origin_of(url) != self._credential_origin or not self._bearer.refused(refused):
            return transfer
        transfer.close()
        asked = self._headers(url, headers, netrc=netrc)
        return self._send_once(target, asked, limit, method=method, body=body, again=again)

    def _headers(self, url: str, headers: Mapping[str, str], *, netrc: bool) -> _Headers:
        """What a request for `url` says. Raises `ValueError` for what no header may say."""
        settings = self.settings
        chosen = {"User-Agent": settings.user_agent, "Accept": "*/*", "Connection": "keep-alive", **headers}
        asked = {name.lower(): (name, value) for name, value in chosen.items()}
        if origin_of(url) == self._credential_origin:
            more = {**settings.headers, **(self._bearer.headers() if self._bearer else {})}
            asked.update((name.lower(), (name, value)) for name, value in more.items())
        asked["accept-encoding"] = "Accept-Encoding", headers.get("Accept-Encoding", "identity")
        # netrc must not replace what the user configured for this very host.
        if "authorization" not in asked:
            login = self._netrc.login(url) if netrc and settings.netrc else None
            said = without_userinfo(url)[1] if login is None else basic(*login)
            asked.update((name.lower(), (name, value)) for name, value in said.items())
        for header in asked.values():
            _check(header)
        return asked

    def _send_once(
        self, target: Target, asked: _Headers, limit: Reach, *, method: str, body: bytes, again: bool
    ) -> Transfer:
        """To a host no further inside than `limit`; sent `again` if a kept connection proves to have ended."""
        self.cancellation.check()
        headers = dict(asked.values())
        if method != "GET":
            headers["Content-Length"] = str(len(body))
        # What is not sent again may be long: it is sent in pieces, each within the time-out, and not as a whole.
        data = None if not body else body if again else BytesIO(body)
        timeout = _timeout(connect=self.settings.connect_timeout_s, read=self.settings.stall_timeout_s)

        def send() -> BaseHTTPResponse:
            with self.counts.asking() as status:
                reply = self._adapters[limit].ask(method, target, headers, data, timeout)
                status.append(reply.status)
                return reply

        try:
            response = send()
        except ProtocolError as error:
            if not (again and ended_while_kept(error)):
                raise
            self.cancellation.check()
            with fresh_connections():
                response = send()
        return Transfer(f"{target.root}{target.path}", response, self.settings, self.cancellation, self.counts)

    def _translated(self, url: str) -> AbstractContextManager[None]:
        """Foreign exceptions that come of asking `url` are raised as ours."""
        return translated(url, self.settings, self.cancellation)


def _endless(url: str) -> HubfsError:
    return Permanent(f"{redacted(url)} redirects more than {_MAX_REDIRECTS} times")
