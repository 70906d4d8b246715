"""Bounds of an HTTP reply: length of its head, time until the head is here, time between chunks of its body."""

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from io import BufferedReader
from typing import TYPE_CHECKING, Any

from hubfs.blobs.http.open_sockets import shut_down
from hubfs.blobs.retry import Permanent
from hubfs.waiting import Cancellation


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
        """Bytes of the body: whatever was before them has ended."""
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

    Once the head is there, whoever reads the body can end it. Before, nobody else has the connection.
    """
    token = _stop.set(stop)
    try:
        yield
    finally:
        _stop.reset(token)


class _TooLong(http.client.HTTPException):
    """The head goes on and on."""


class _HeadLines:
    """The file that http.client reads a head from, as long as that is no longer than heads are."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._left_bytes = _LONGEST_HEAD_BYTES

    def __getattr__(self, name: str) -> Any:
        """Everything but what is here is as the file does it."""
        return getattr(self._file, name)

    def readline(self, _limit_bytes: int) -> bytes:
        line: bytes = self._file.readline(_LONGEST_LINE_BYTES + 1)
        self._left_bytes -= len(line)
        if len(line) > _LONGEST_LINE_BYTES or self._left_bytes < 0:
            raise _TooLong
        return line


class BoundedReply(http.client.HTTPResponse):
    """A reply with a head of bounded length, without what no request of ours sends back: cookies.

    requests would read those of every reply, at length.
    """

    def begin(self) -> None:
        """As of http.client. Raises `_TooLong`, too."""
        if getattr(self, "headers", None) is None:  # else it has begun
            file = self.fp
            self.fp = _HeadLines(file)  # type: ignore[assignment] # it is used as one
            super().begin()
            if self.fp is not None:
                self.fp = file
            for name in _FOR_BROWSERS:
                del self.headers[name]


class BoundedHead(_Connection):
    """Mixed into a connection: its read time-out bounds the whole head, too, and not each wait for a byte of it.

    A host that sends headers a byte at a time, or interim replies for ever, would hold its readers for days. The timer
    costs a thread for as long as the head takes, a tenth of a millisecond. What is between the chunks of the body is
    bounded in the same way, by `BoundedLines`.
    """

    def getresponse(self, *args: Any, **kwargs: Any) -> Any:
        """As in urllib3.

        Raises `TimeoutError`, also for a head that was cut short by that, or by `heads_end_with`; `Permanent` for one
        that is too long, where the replies are of the class `BoundedReply`.
        """
        connected, ended = self.sock, threading.Event()
        if self.timeout is None or not isinstance(connected, socket.socket):
            return super().getresponse(*args, **kwargs)

        def end() -> None:
            ended.set()
            shut_down(connected)

        with ExitStack() as watching:
            timer = threading.Timer(self.timeout, end)
            timer.daemon = True
            timer.start()
            watching.callback(timer.cancel)
            if stop := _stop.get():
                watching.callback(stop.on_cancel(end))
            try:
                response = super().getresponse(*args, **kwargs)
            except _TooLong:
                raise Permanent(
                    f"{self.host}:{self.port} answered with a head of more than {_LONGEST_HEAD_BYTES} bytes, or a line "
                    f"in it of more than {_LONGEST_LINE_BYTES}: refused; no host of models needs so many"
                ) from None
            except Exception:
                if ended.is_set():
                    raise TimeoutError from None
                raise
        if ended.is_set():  # http.client takes the end of the connection for the end of the headers
            response.close()  # it holds on to the connection's descriptor
            raise TimeoutError
        body = response._fp  # noqa: SLF001 - http.client's reply, in urllib3's
        if body is not None and body.chunked and body.fp is not None:
            body.fp = BoundedLines(body.fp, self.timeout)  # type: ignore[assignment] # it is used as one
        return response
