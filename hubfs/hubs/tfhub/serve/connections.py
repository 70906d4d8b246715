"""How many connections the host has, and how slowly a reply may be read."""

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
    `head_s` after the reply before, or after the connection was made: aiohttp sees to that. Of a reply that a client is
    slow to read, at least `floor_bytes_per_s` must be acknowledged; that is looked at every `look_s`.
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
    """Stands before the protocol of aiohttp, which bounds neither, and passes everything on to it."""

    def __init__(self, connections: Connections, inner: asyncio.Protocol) -> None:
        self._connections = connections
        self._inner = inner
        self._transport: asyncio.Transport | None = None
        self._admitted = False
        self._seen: tuple[int, int] | None = None  # bytes acknowledged and bytes sent, as of the last look

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._admitted = self._connections.admit(self, peer[0] if peer else "")
        if not self._admitted:
            self._transport.write(_REFUSAL)
            self._transport.close()
            return
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._admitted:
            self._inner.data_received(data)

    def look(self) -> None:
        """Resets the connection if the client has not read what waited at the last look, but for a few bytes.

        Not by `abort`, which closes the descriptor under `loop.sendfile`: that would wait for it for ever.
        """
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
        self._seen = acknowledged_bytes, acknowledged_bytes + waiting
        limits = self._connections.limits
        least_bytes = limits.floor_bytes_per_s * limits.look_s
        if before is not None and acknowledged_bytes < min(before[0] + least_bytes, before[1]):
            with contextlib.suppress(OSError):  # it has just ended
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                peer.shutdown(socket.SHUT_RDWR)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._admitted else None

    def pause_writing(self) -> None:
        if self._admitted:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._admitted:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._admitted:
            self._connections.gone(self)
            self._inner.connection_lost(exc)
