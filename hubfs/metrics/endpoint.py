"""The port where Prometheus reads: plain HTTP, one reply a connection, and nothing that a client can have grow."""

import http.client
import logging
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO

from hubfs.errors import HubfsError, MountFailed
from hubfs.metrics.address import Address
from hubfs.waiting import Cancellation, Remembered

_log = logging.getLogger(__name__)

Render = Callable[[str], tuple[bytes, str]]
"""The metrics, and their media type, for an `Accept` header."""

PATH = "/metrics"

_MOST_CLIENTS = 8
"""Where one more comes, the connection that is there longest is closed: those that say nothing keep nobody out."""

_CLIENT_S = 5.0
"""A client has so long to ask, and so long to take the reply."""

_REQUEST_BYTES = 8 << 10
_PIECE_BYTES = 1 << 12
_BACKLOG = 16
_OPEN_METRICS = "application/openmetrics-text;version=1.0.0"
_AGAIN_S = 5.0
_HOLDS_S = 0.5
"""Clients that ask more often get the same text: telling costs milliseconds of the readers' time."""


def listening(address: Address) -> socket.socket:
    """A socket that listens there, and nowhere else. Raises OSError."""
    host, port = address
    family, kind, number, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    found = socket.socket(family, kind, number)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a successor need not wait for old connections
        if family == socket.AF_INET6:
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        found.bind(where)
        found.listen(_BACKLOG)
    except BaseException:
        found.close()
        raise
    return found


class Endpoint:
    """Serves the metrics of a mount at an address, for the life of the mount. `_lock` guards `_clients`.

    `open` first, where the port must be had; `serve` then goes on by threads of its own, and without a port tries again
    every five seconds: a mount whose readers a successor serves on must not end for a port.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._listening: socket.socket | None = None
        self._lock = threading.Lock()
        self._clients: OrderedDict[socket.socket, None] = OrderedDict()  # who came first is first

    def open(self) -> None:
        """Listens. Raises `MountFailed`."""
        try:
            self._listening = listening(self._address)
        except (OSError, UnicodeError) as error:
            raise MountFailed(
                f"--metrics-addr {self._address}: the port cannot be opened "
                f"({getattr(error, 'strerror', None) or error}); another process may have it: name another one"
            ) from None

    @property
    def where(self) -> str | None:
        """The address that is listened at; None where there is none yet."""
        with suppress(AttributeError, OSError):
            return str(Address(*self._listening.getsockname()[:2]))  # type: ignore[union-attr]
        return None

    def serve(self, render: Render, cancellation: Cancellation) -> None:
        """Begins to serve, until the cancel. Returns at once."""
        texts: Remembered[str, tuple[bytes, str]] = Remembered(
            cancellation, ttl_s=_HOLDS_S, timeout_s=_CLIENT_S, most=_MOST_CLIENTS
        )

        def told(accept: str) -> tuple[bytes, str]:
            return texts.get(accept, lambda: render(accept))

        threading.Thread(target=self._run, args=(told, cancellation), name="metrics", daemon=True).start()

    def _run(self, told: Render, cancellation: Cancellation) -> None:
        with suppress(HubfsError):  # the cancel
            while self._listening is None and not self._opens():
                cancellation.sleep(_AGAIN_S)
            cancellation.on_cancel(self.close)
            _log.info("Metrics are at http://%s%s", self.where, PATH)
            while not cancellation.cancelled:
                self._accept(told, cancellation)

    def _opens(self) -> bool:
        try:
            self.open()
        except MountFailed as error:
            _log.warning("%s; it is tried again every %g s", error, _AGAIN_S)
            return False
        return True

    def _accept(self, told: Render, cancellation: Cancellation) -> None:
        assert self._listening is not None  # noqa: S101 - `_run` has opened it
        try:
            client, _ = self._listening.accept()
        except OSError as error:
            if not cancellation.cancelled:  # no descriptor left, say
                _log.debug("No client is let in: %s", error)
                cancellation.sleep(_AGAIN_S)
            return
        with self._lock:
            self._clients[client] = None
            too_many = next(iter(self._clients)) if len(self._clients) > _MOST_CLIENTS else None
            if too_many is not None:
                del self._clients[too_many]
        if too_many is not None:
            _shut(too_many)
        try:
            threading.Thread(target=self._answer, args=(client, told), name="scrape", daemon=True).start()
        except RuntimeError:  # no thread is left
            self._close(client)

    def _answer(self, client: socket.socket, told: Render) -> None:
        try:
            reply = _reply(_request(client), told)
            client.settimeout(_CLIENT_S)
            client.sendall(reply)  # the time-out holds for all of it
            client.shutdown(socket.SHUT_WR)
        except (OSError, HubfsError) as error:  # the client is gone, or the mount is
            _log.debug("A client got no metrics: %s", error)
        finally:
            self._close(client)

    def _close(self, client: socket.socket) -> None:
        with self._lock:
            self._clients.pop(client, None)
        client.close()

    def close(self) -> None:
        """Listens no more, and ends what is being served."""
        with self._lock:
            clients = [*self._clients]
        for each in (self._listening, *clients):
            if each is not None:
                _shut(each)
        if self._listening is not None:
            self._listening.close()


def _shut(client: socket.socket) -> None:
    with suppress(OSError):  # who waits for it is told
        client.shutdown(socket.SHUT_RDWR)


def _request(client: socket.socket) -> bytes:
    """What the client asks, up to the blank line. Raises OSError for one that does not ask within its time."""
    deadline_s = time.monotonic() + _CLIENT_S
    asked = b""
    while b"\r\n\r\n" not in asked and b"\n\n" not in asked and len(asked) < _REQUEST_BYTES:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("no request came")
        client.settimeout(left_s)
        piece = client.recv(_PIECE_BYTES)
        if not piece:
            raise ConnectionAbortedError("the client went away")
        asked += piece
    return asked


def _reply(asked: bytes, told: Render) -> bytes:
    line, _, headers = asked.partition(b"\n")
    words = line.split()
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):  # noqa: PLR2004 - method, target, version
        return _made(400, b"This is a port for HTTP.\n")
    try:
        accept = http.client.parse_headers(BytesIO(headers)).get("Accept", "")
    except http.client.HTTPException:
        return _made(431, b"The headers are too long.\n")
    if words[0] not in (b"GET", b"HEAD"):
        return _made(405, b"Metrics are read by GET.\n")
    if words[1].partition(b"?")[0] != PATH.encode():
        return _made(404, f"Metrics are at {PATH}.\n".encode())
    text, media_type = told(_OPEN_METRICS if "application/openmetrics-text" in accept else "")
    return _made(200, text, media_type, body=words[0] == b"GET")


def _made(status: int, text: bytes, media_type: str = "text/plain; charset=utf-8", *, body: bool = True) -> bytes:
    head = (
        f"HTTP/1.1 {status} {http.client.responses[status]}\r\nContent-Type: {media_type}\r\n"
        f"Content-Length: {len(text)}\r\nConnection: close\r\nX-Content-Type-Options: nosniff\r\n\r\n"
    )
    return head.encode("ascii") + (text if body else b"")
