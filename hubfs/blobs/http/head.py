"""What ends the wait for a host: a cancel, and the bounds of a reply (head, and what is between chunks)."""

import http.client
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from io import BufferedReader
from typing import TYPE_CHECKING, Any

from hubfs.blobs.retry import Permanent
from hubfs.waiting import Cancellation


class OpenSockets:
    """The open sockets of one client, so that a cancel ends what waits for them.

    `_lock` guards `_open` and is held for no call that could block.
    """

    def __init__(self, cancellation: Cancellation) -> None:
        self._cancellation = cancellation
        self._lock = threading.Lock()
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def watch(self, connected: object) -> None:
        """Takes a socket that was just connected. Raises `Cancelled` if that came too late for the cancel."""
        # TLS through a TLS proxy is not a socket; there the stall time-out ends a read.
        if isinstance(connected, socket.socket):
            with self._lock:
                self._open.add(connected)
        self._cancellation.check()

    def shut_down(self) -> None:
        """Ends every read and write, in whichever thread; never blocks."""
        with self._lock:
            sockets = list(self._open)
        for each in sockets:
            shut_down(each)


def shut_down(connected: socket.socket) -> None:
    """Ends every read and write of `connected`, in whichever thread; never blocks."""
    with suppress(OSError):  # closed meanwhile
        # Not connected.shutdown(): a TLS socket would take its TLS state away from the thread that is using it.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


class BoundedLines:
    """The file that http.client reads a chunked body from: the lines between two pieces of it take `timeout_s` at most.

    A size may be followed by 64 KiB of extensions, and the last chunk by any number of trailers. A byte of them now and
    then is no silence, and no body that `PaceFloor` would see, and would hold its readers for days. For one thread.
    """

    def __init__(self, file: BufferedReader, timeout_s: float, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._timeout_s = timeout_s
        self._timer = timer
        self._until_s: float | None = None

    def __getattr__(self, name: str) -> Any:
        """Everything but what is here is as the file does it."""
        return getattr(self._file, name)

    def read1(self, size_bytes: int = -1) -> bytes:
        """Bytes of the body: the head or line before them has ended."""
        self._until_s = None
        return self._file.read1(size_bytes)

    def readline(self, limit_bytes: int) -> bytes:
        """As of a file. Raises `TimeoutError` when this line, and those just before it, take too long."""
        if self._until_s is None:
            self._until_s = self._timer() + self._timeout_s
        line = b""
        while len(line) < limit_bytes and not line.endswith(b"\n") and (there := self._file.peek(1)):
            if self._timer() > self._until_s:
                raise TimeoutError
            rest_bytes = min(limit_bytes - len(line), there.find(b"\n") + 1 or len(there))
            line += self._file.read(rest_bytes)  # these are there: it does not wait
        return line


if TYPE_CHECKING:
    from urllib3.connection import HTTPConnection as _Connection
else:
    _Connection = object

_LONGEST_HEAD_BYTES = 64 << 10
"""Interim replies and all fields together. http.client takes a hundred lines of this length, each as often as it likes
to come; the largest heads of the hosts of models have 4 KiB."""

_LONGEST_LINE_BYTES = 16 << 10

_FOR_BROWSERS = ("Set-Cookie", "Set-Cookie2")

_stop: ContextVar[Cancellation | None] = ContextVar("stop", default=None)


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


class _TooLong(http.client.HTTPException):
    """The head goes on and on."""


class _HeadLines:
    """The file that http.client reads a head from, as long as heads are no longer, and take no longer, than they may.

    The socket's time-out becomes the time that is left whenever bytes are waited for. `until_s` None sets no time.
    """

    def __init__(self, file: Any, connected: Any, until_s: float | None) -> None:
        self._file = file
        self._connected = connected
        self._until_s = until_s
        self._left_bytes = _LONGEST_HEAD_BYTES
        self._is_more_there = False

    def __getattr__(self, name: str) -> Any:
        """Everything but what is here is as the file does it."""
        return getattr(self._file, name)

    def readline(self, _limit_bytes: int) -> bytes:
        """The next line, shorter only at the end of the connection. Raises `TimeoutError`, `_TooLong`."""
        line = b""
        while not line.endswith(b"\n") and (there := self._there()):
            part: bytes = self._file.read(there.find(b"\n") + 1 or len(there))  # these are there: it does not wait
            self._is_more_there = len(part) < len(there)
            line += part
            self._left_bytes -= len(part)
            if len(line) > _LONGEST_LINE_BYTES or self._left_bytes < 0:
                raise _TooLong
        return line

    def _there(self) -> bytes:
        """Bytes that came and were not read, at least one; none at the end of the connection."""
        if self._until_s is not None and not self._is_more_there:
            left_s = self._until_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            self._connected.settimeout(left_s)
        there: bytes = self._file.peek(1)
        return there


class BoundedReply(http.client.HTTPResponse):
    """A reply with a head of bounded length, without what no request of ours sends back: cookies.

    The read time-out of the socket bounds the whole head, counted from the making of the reply. requests would read the
    cookies of every reply, at length.
    """

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._connected: Any = sock
        self._timeout_s: float | None = sock.gettimeout()
        self._until_s = None if self._timeout_s is None else time.monotonic() + self._timeout_s

    def begin(self) -> None:
        """As of http.client. Raises `_TooLong`, too."""
        if getattr(self, "headers", None) is None:  # else it has begun
            file = self.fp
            self.fp = _HeadLines(file, self._connected, self._until_s)  # type: ignore[assignment] # it is used as one
            super().begin()
            if self.fp is not None:
                self.fp = file
            self._connected.settimeout(self._timeout_s)  # of the body, each wait is bounded
            for name in _FOR_BROWSERS:
                del self.headers[name]


class BoundedHead(_Connection):
    """Mixed into a connection: its read time-out bounds the whole head, too, and not each wait for a byte of it.

    A host that sends headers a byte at a time, or interim replies for ever, would hold its readers for days. The
    replies, of the class `BoundedReply`, look at the time. Lines between the chunks of the body are bounded in the
    same way, by `BoundedLines`.
    """

    def getresponse(self, *args: Any, **kwargs: Any) -> Any:
        """As in urllib3.

        Raises `TimeoutError`, also for a head that was cut short by `heads_end_with`; `Permanent` for one that is too
        long.
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
        body = response._fp  # noqa: SLF001 - http.client's reply, in urllib3's
        if self.timeout is not None and body is not None and body.chunked and body.fp is not None:
            body.fp = BoundedLines(body.fp, self.timeout)  # type: ignore[assignment] # it is used as one
        return response
