"""Replies on connections that are kept: what bounds them, and what tells a connection that had ended from a failure.

A server closes an idle connection when it likes, and a request may already be on its way: neither side has failed. Any
request here may be sent twice: a GET, or another question that changes nothing at the host.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

import urllib3.exceptions

from hubfs.blobs.http.head import read_head
from hubfs.blobs.retry import Permanent
from hubfs.waiting import Cancellation

if TYPE_CHECKING:
    from urllib3.connection import HTTPConnection as _Connection
    from urllib3.connectionpool import HTTPConnectionPool as _Pool
else:
    _Connection = _Pool = object

_LONGEST_HEAD_BYTES = 64 << 10
"""Interim replies and all fields together. http.client takes a hundred lines of this length, each as often as it likes
to come; the largest heads of the hosts of models have 4 KiB."""

_LONGEST_LINE_BYTES = 16 << 10

_WITHOUT_BODY = (http.client.NO_CONTENT, http.client.NOT_MODIFIED)

_PIECE_BYTES = 256 << 10
"""At most so much of a body is read from the socket at once. `read1` makes room for all that it may return, and gives
unused room back: with room for 4 MiB each time, the kernel brings fresh pages for most reads."""

_stop: ContextVar[Cancellation | None] = ContextVar("stop", default=None)
_fresh: ContextVar[bool] = ContextVar("fresh", default=False)


@contextmanager
def heads_end_with(stop: Cancellation) -> Iterator[None]:
    """Inside of it, a cancel of `stop` ends the head that this thread waits for.

    Once the head is there, the reader of the body can end it. Before, nobody else has the connection.
    """
    token = _stop.set(stop)
    try:
        yield
    finally:
        _stop.reset(token)


@contextmanager
def fresh_connections() -> Iterator[None]:
    """Inside of it, requests of this thread go over connections that are made for them."""
    token = _fresh.set(True)
    try:
        yield
    finally:
        _fresh.reset(token)


def shut_down(connected: socket.socket) -> None:
    """Ends every read and write of `connected`, in whichever thread; never blocks."""
    with suppress(OSError):  # closed meanwhile
        # Not connected.shutdown(): a TLS socket would take its TLS state away from the thread that is using it.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


class _TooLong(http.client.HTTPException):
    """The lines go on and on."""


class _Ended(ConnectionError):
    """A connection that had brought replies before ended without a byte of the next one."""


def ended_while_kept(error: urllib3.exceptions.ProtocolError) -> bool:
    """Whether a request failed for no other reason than that its connection was a kept one, which had ended."""
    return isinstance(error.args[-1], _Ended)


class _Lines:
    """The file that http.client reads a reply from, whose lines are no longer, and take no longer, than they may.

    These are the head, and what lies between two chunks of the body: their sizes, which may be followed by extensions,
    and trailers. A byte of them now and then is no silence, and no body that `PaceFloor` would see, and would hold its
    readers for days. All lines up to the next byte of the body take `timeout_s` together (None: any time), the head
    from the making of this on. The socket's time-out is lowered for that. For one thread.
    """

    def __init__(self, file: Any, connected: Any, timeout_s: float | None) -> None:
        self._file = file
        self._connected = connected
        self._timeout_s = timeout_s
        self._until_s: float | None = None if timeout_s is None else time.monotonic() + timeout_s
        self._left_bytes = _LONGEST_HEAD_BYTES
        self._is_more_there = False

    def __getattr__(self, name: str) -> Any:
        """Everything but what is here is as the file does it."""
        return getattr(self._file, name)

    def end(self) -> None:
        """Of the lines in a row: the next one begins others."""
        self._until_s, self._left_bytes, self._is_more_there = None, _LONGEST_HEAD_BYTES, False

    def read1(self, size_bytes: int = -1) -> bytes:
        """Bytes of the body."""
        self.end()
        data: bytes = self._file.read1(size_bytes)
        return data

    def readline(self, _limit_bytes: int) -> bytes:
        """The next line, shorter only at the end of the connection. Raises `TimeoutError`, `_TooLong`."""
        line = b""
        while not line.endswith(b"\n") and (there := self._file.peek(1) if self._is_more_there else self._there()):
            part: bytes = self._file.read(there.find(b"\n") + 1 or len(there))  # these are there: it does not wait
            self._is_more_there = len(part) < len(there)
            line += part
            self._left_bytes -= len(part)
            if len(line) > _LONGEST_LINE_BYTES or self._left_bytes < 0:
                raise _TooLong
        return line

    def _there(self) -> bytes:
        """Bytes that came and were not read, at least one; none at the end of the connection."""
        if self._timeout_s is None:
            there: bytes = self._file.peek(1)
            return there
        now_s = time.monotonic()
        self._until_s = self._until_s or now_s + self._timeout_s
        if self._until_s <= now_s:
            raise TimeoutError
        self._connected.settimeout(self._until_s - now_s)
        there = self._file.peek(1)
        self._connected.settimeout(self._timeout_s)  # each wait for the body is bounded
        return there


class BoundedReply(http.client.HTTPResponse):
    """A reply with a head of bounded length, without what no request of ours sends back: cookies.

    The read time-out of the socket bounds the whole head, and all that lies between two chunks of the body. requests
    would read the cookies of every reply, at length.
    """

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._lines = _Lines(self.fp, sock, sock.gettimeout())
        self.gathering_s = 0.0
        """For so long `read1` goes on, once it has something. TLS brings 16 KiB at a time, and what urllib3 and this
        project do around each `read1` takes ten times as long as the reading."""

    def read1(self, size_bytes: int = -1) -> bytes:
        """At most so many bytes of the body: what is there, or what comes while it gathers; none at the end."""
        if not self.gathering_s:
            return super().read1(size_bytes)
        until_s, parts = time.monotonic() + self.gathering_s, []
        while size_bytes > 0 and (part := super().read1(min(size_bytes, _PIECE_BYTES))):
            parts.append(part)
            size_bytes -= len(part)
            if time.monotonic() > until_s:
                break
        return b"".join(parts)

    def begin(self) -> None:
        """As of http.client. Raises `_TooLong`, too."""
        if getattr(self, "headers", None) is None:  # else it has begun
            file, lines = self.fp, self._lines
            self.fp = lines  # type: ignore[assignment] # it is used as one
            status = http.client.CONTINUE
            while status == http.client.CONTINUE:  # that reply is an interim one
                version, status, reason = self._read_status()  # type: ignore[attr-defined]
                head = read_head(lines)
            if not version.startswith("HTTP/1.") and version != "HTTP/0.9":
                raise http.client.UnknownProtocol(version)
            self.headers = self.msg = head
            self.code, self.status, self.reason = status, status, reason.strip()
            self.version = 10 if version in ("HTTP/1.0", "HTTP/0.9") else 11
            self._find_end()
            lines.end()
            if not self.chunked:
                self.fp = file

    def _find_end(self) -> None:
        """Where the body ends, and whether the connection does then, as http.client has it."""
        self.chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        self.chunk_left = None
        self.length = None
        if not self.chunked:
            with suppress(ValueError):
                length_bytes = int(self.headers.get("content-length", ""))
                self.length = length_bytes if length_bytes >= 0 else None
        without_body = self.status < http.client.OK or self.status in _WITHOUT_BODY
        if without_body or self._method == "HEAD":  # type: ignore[attr-defined]
            self.length = 0
        closes: bool = self._check_close()  # type: ignore[attr-defined]
        self.will_close = closes or (self.length is None and not self.chunked)


class _LaterReply(BoundedReply):
    """A reply on a connection that has brought others."""

    def begin(self) -> None:
        """As of its base. Raises `_Ended` when the connection ends before the first byte."""
        try:
            begun = self.fp.peek(1)
        except TimeoutError:
            raise
        except OSError as error:
            raise _Ended from error
        if not begun:
            raise _Ended
        super().begin()


class BoundedConnection(_Connection):
    """Mixed into a connection: its read time-out bounds the head of a reply as a whole, and not each wait for a byte.

    A host that sends headers a byte at a time, or interim replies for ever, would hold its readers for days. One that
    ended while it was kept is told from a host that hangs up.
    """

    response_class: type[BoundedReply] = BoundedReply

    def connect(self) -> None:
        """As in urllib3."""
        self.response_class = BoundedReply
        super().connect()

    def is_kept(self) -> None:
        """No request was made yet; the first one may be long in coming, and find that the server has hung up."""
        self.response_class = _LaterReply

    def request(self, *args: Any, **kwargs: Any) -> None:
        """As in urllib3. Raises `_Ended` where TLS was ended: without it, the end shows when the reply is read."""
        try:
            super().request(*args, **kwargs)
        except ssl.SSLError as error:
            if self.response_class is _LaterReply:
                raise _Ended from error
            raise

    def getresponse(self, *args: Any, **kwargs: Any) -> Any:
        """As in urllib3.

        Raises `TimeoutError`, also for a head that was cut short by `heads_end_with`; `Permanent` for one that is too
        long; `_Ended`.
        """
        connected, stop = self.sock, _stop.get()
        with ExitStack() as watching:
            if stop and isinstance(connected, socket.socket):
                watching.callback(stop.on_cancel(partial(shut_down, connected)))
            try:
                response = super().getresponse(*args, **kwargs)
            except _TooLong:
                raise Permanent(
                    f"{self.host}:{self.port} answered with a head of more than {_LONGEST_HEAD_BYTES} bytes, or a line "
                    f"in it of more than {_LONGEST_LINE_BYTES}: refused; no host of models needs so many"
                ) from None
            except Exception:
                if stop and stop.cancelled:
                    raise TimeoutError from None
                raise
        if stop and stop.cancelled:  # http.client takes the end of the connection for the end of the headers
            response.close()  # it holds on to the connection's descriptor
            raise TimeoutError
        self.response_class = _LaterReply
        return response


class KeepingPool(_Pool):
    """Mixed into a pool of connections: knows `fresh_connections`."""

    def _get_conn(self, *args: Any, **kwargs: Any) -> Any:
        connection = super()._get_conn(*args, **kwargs)
        if _fresh.get():
            connection.close()  # it connects anew when it is used
        return connection
