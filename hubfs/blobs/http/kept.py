"""Kept connections that ended before they were used again.

A server closes an idle connection when it likes, and a request may already be on its way: neither side has failed. Any
request here may be sent twice: a GET, or another question that changes nothing at the host.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import requests
import urllib3.exceptions

from hubfs.blobs.http.head import BoundedReply

if TYPE_CHECKING:
    from urllib3.connection import HTTPConnection as _Connection
    from urllib3.connectionpool import HTTPConnectionPool as _Pool
else:
    _Connection = _Pool = object

_fresh: ContextVar[bool] = ContextVar("fresh", default=False)


class _Ended(ConnectionError):
    """A connection that had brought replies before ended without a byte of the next one."""


def ended_while_kept(error: requests.ConnectionError) -> bool:
    """Whether a request failed for no other reason than that its connection was a kept one, which had ended."""
    aborted = error.args[0] if error.args else None
    return isinstance(aborted, urllib3.exceptions.ProtocolError) and isinstance(aborted.args[-1], _Ended)


@contextmanager
def fresh_connections() -> Iterator[None]:
    """Inside of it, requests of this thread go over connections that are made for them."""
    token = _fresh.set(True)
    try:
        yield
    finally:
        _fresh.reset(token)


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


class KeptConnection(_Connection):
    """Mixed into a connection: tells one that ended while it was kept from a host that hangs up."""

    response_class: type[BoundedReply] = BoundedReply

    def connect(self) -> None:
        """As in urllib3."""
        self.response_class = BoundedReply
        super().connect()

    def request(self, *args: Any, **kwargs: Any) -> None:
        """As in urllib3. Raises `_Ended` where TLS was ended: without it, the end shows when the reply is read."""
        try:
            super().request(*args, **kwargs)
        except ssl.SSLError as error:
            if self.response_class is _LaterReply:
                raise _Ended from error
            raise

    def getresponse(self, *args: Any, **kwargs: Any) -> Any:
        """As in urllib3. Raises `_Ended`."""
        response = super().getresponse(*args, **kwargs)
        self.response_class = _LaterReply
        return response


class KeepingPool(_Pool):
    """Mixed into a pool of connections: knows `fresh_connections`."""

    def _get_conn(self, *args: Any, **kwargs: Any) -> Any:
        connection = super()._get_conn(*args, **kwargs)
        if _fresh.get():
            connection.close()  # it connects anew when it is used
        return connection
