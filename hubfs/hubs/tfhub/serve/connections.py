"""How many connections the host has, how long a request may take to come, and how slowly a reply may be read."""

import asyncio
import contextlib
import fcntl
import resource
import socket
import struct
import termios
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

_KEPT_DESCRIPTORS = 100
"""For listening, files that are listed, archives that are built."""

_MOST = 1000
_LEAST = 16
_BLANK = b"\r\n"
_HEAD_END = (b"\n\r\n", b"\n\n")
_ACKNOWLEDGED = struct.Struct("@Q")
_ACKNOWLEDGED_OFFSET = 120  # of tcpi_bytes_acked in struct tcp_info, <linux/tcp.h>, since Linux 4.1
_RESET = struct.pack("@ii", 1, 0)  # of SO_LINGER: closing waits for nothing
_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 37\r\n\r\nthis hub has too many connections now"
)


@dataclass(frozen=True)
class ConnectionLimits:
    """What clients may take of the host.

    `most` connections are open at once, `most_per_address` of them to one address. The head of a request must be there
    `head_s` after its first byte, or after the connection was made. Of a reply that a client is slow to read, at least
    `floor_bytes_per_s` must be acknowledged; that is looked at every `look_s`.
    """

    most: int
    most_per_address: int
    head_s: float = 15.0
    look_s: float = 30.0
    floor_bytes_per_s: int = 1024

    @classmethod
    def of_this_process(cls) -> "ConnectionLimits":
        """As many connections as the process may have descriptors for: each reply has a file open besides."""
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = max(_LEAST, min(_MOST, (descriptors - _KEPT_DESCRIPTORS) // 2))
        return cls(most, most // 2)


class Connections:
    """Makes the protocol of each connection: that of `make_inner`, within `limits`. All in the event loop's thread."""

    def __init__(self, limits: ConnectionLimits, make_inner: Callable[[], asyncio.Protocol]) -> None:
        self.limits = limits
        self._make_inner = make_inner
        self._open: dict[_Connection, str] = {}
        self._of_address: Counter[str] = Counter()
        self._looking: asyncio.TimerHandle | None = None

    def __call__(self) -> asyncio.Protocol:
        """A protocol for `loop.create_server`."""
        return _Connection(self, self._make_inner())

    def admit(self, connection: "_Connection", address: str) -> bool:
        """Whether there is room for one more; then it counts until it is `gone`."""
        if len(self._open) >= self.limits.most or self._of_address[address] >= self.limits.most_per_address:
            return False
        self._open[connection] = address
        self._of_address[address] += 1
        if self._looking is None:
            self._look_later()
        return True

    def gone(self, connection: "_Connection") -> None:
        """The connection has ended."""
        address = self._open.pop(connection)
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]
        if not self._open and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _look_later(self) -> None:
        self._looking = asyncio.get_running_loop().call_later(self.limits.look_s, self._look)

    def _look(self) -> None:
        for connection in [*self._open]:
            connection.look()
        self._look_later()


class _Connection(asyncio.Protocol):
    """Stands before the protocol of aiohttp, which has no bound on any of this, and passes everything on to it."""

    def __init__(self, connections: Connections, inner: asyncio.Protocol) -> None:
        self._connections = connections
        self._inner = inner
        self._transport: asyncio.Transport | None = None
        self._admitted = False
        self._head: asyncio.TimerHandle | None = None
        self._tail = b""  # of the head that is coming
        self._requests = 0
        self._seen: tuple[int, int] | None = None  # requests and acknowledged bytes when a reply was last looked at

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._admitted = self._connections.admit(self, peer[0] if peer else "")
        if not self._admitted:
            self._transport.write(_REFUSAL)
            self._transport.close()
            return
        self._inner.connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        if not self._admitted:
            return
        self._follow_heads(data)
        self._inner.data_received(data)

    def _follow_heads(self, data: bytes) -> None:
        """Notices where a head ends. No request has a body that this host takes: one counts as a head, too.

        Blank lines before a head are none: aiohttp skips them, and waits on.
        """
        coming = self._tail + data if self._tail else data.lstrip(_BLANK)
        ends = max(coming.rfind(end) + len(end) if end in coming else 0 for end in _HEAD_END)
        if ends:
            self._requests += 1
            self._stop_waiting()
        rest = coming[ends:].lstrip(_BLANK) if ends else coming
        self._tail = rest[-2:]
        if rest and self._head is None:
            self._await_head()

    def _await_head(self) -> None:
        self._head = asyncio.get_running_loop().call_later(self._connections.limits.head_s, self._end)

    def _stop_waiting(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _end(self) -> None:
        """Resets the connection.

        Not by `abort`, which closes the descriptor under `loop.sendfile`: that would wait for it for ever.
        """
        if self._transport is None or self._transport.is_closing():
            return
        peer = self._transport.get_extra_info("socket")
        with contextlib.suppress(OSError):  # it has just ended
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            peer.shutdown(socket.SHUT_RDWR)

    def look(self) -> None:
        """Ends the connection if the client has hardly read of the same reply since the last look."""
        if self._transport is None or self._transport.is_closing():
            return
        peer = self._transport.get_extra_info("socket")
        before, self._seen = self._seen, None
        try:
            waiting = struct.unpack("@i", fcntl.ioctl(peer.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
            told = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED_OFFSET + _ACKNOWLEDGED.size)
            acknowledged_bytes = _ACKNOWLEDGED.unpack_from(told, _ACKNOWLEDGED_OFFSET)[0]
        except (OSError, struct.error):  # it has just ended, or the kernel does not tell
            return
        if not waiting:
            return
        self._seen = self._requests, acknowledged_bytes
        limits = self._connections.limits
        if (
            before is not None
            and before[0] == self._requests
            and acknowledged_bytes - before[1] < limits.floor_bytes_per_s * limits.look_s
        ):
            self._end()

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._admitted else None

    def pause_writing(self) -> None:
        if self._admitted:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._admitted:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        if self._admitted:
            self._connections.gone(self)
            self._inner.connection_lost(exc)
