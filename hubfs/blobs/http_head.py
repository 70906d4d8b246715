"""Bounds the time that the head of a reply may take."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from hubfs.blobs.http_framing import BoundedLines
from hubfs.blobs.open_sockets import shut_down
from hubfs.cancellation import Cancellation

if TYPE_CHECKING:
    from urllib3.connection import HTTPConnection as _Connection
else:
    _Connection = object

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


class BoundedHead(_Connection):
    """Mixed into a connection: its read time-out bounds the whole head, too, and not each wait for a byte of it.

    A host that sends headers a byte at a time, or interim replies for ever, would hold its readers for days. The timer
    costs a thread for as long as the head takes, a tenth of a millisecond. What is between the chunks of the body is
    bounded in the same way, by `BoundedLines`.
    """

    def getresponse(self, *args: Any, **kwargs: Any) -> Any:
        """As in urllib3. Raises `TimeoutError`, also for a head that was cut short by that, or by `heads_end_with`."""
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
