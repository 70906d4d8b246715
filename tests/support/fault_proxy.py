"""A reverse proxy that stands between hubfs and a real server, and does to the traffic what networks and hosts do.

with FaultProxy(nginx.url) as proxy:
    fault = proxy.inject("/noise/model/1", cut(after=1000), times=2)      # the next two requests below that path
    fault = proxy.inject("/noise/model/1", status(503), when=for_bytes)   # every one that asks for more than the head
    ... fault.injected ...
    fault.lift()

It is an `HttpOrigin` whose one route is the server behind it, so what the origin can do to an answer, it can do too.
"""

import http.client
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from urllib.parse import unquote, urlsplit

from hubfs.blobs.http.client import HEAD_BYTES, WHOLE_BYTES
from tests.support.http_origin import Answer, Fault, HttpOrigin, Request, Route

_HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "host")
_SIGNED = "/-/signed/"

Meddler = Callable[[Request, Route], Answer]
"""Makes the answer to a request; may ask the server behind, once, often or not at all."""


@dataclass(eq=False)
class Injected:
    """A fault in force. `left`: for how many requests (None: until it is lifted)."""

    below: str
    meddle: Meddler
    when: Callable[[Request], bool]
    left: int | None
    injected: int = 0
    lifted: bool = field(default=False, repr=False)

    def lift(self) -> None:
        """From now on requests pass."""
        self.lifted = True


def for_bytes(request: Request) -> bool:
    """Whether it asks for content: not for the first bytes, by which hubfs looks what is there, nor for a list."""
    first = (f"bytes=0-{HEAD_BYTES - 1}", f"bytes=0-{WHOLE_BYTES - 1}")
    return request.headers.get("range") not in first and "prefix=" not in request.query


def anything(_: Request) -> bool:
    return True


class FaultProxy:
    """Stands before the server at `upstream` (`http://host:port`). `_lock` guards `_faults` and their counts."""

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream).netloc
        self._lock = threading.Lock()
        self._faults: list[Injected] = []
        self._origin = HttpOrigin()
        self._port = int(self._origin.host.rpartition(":")[2])
        self._closed_port: socket.socket | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def injected(self) -> int:
        """How many requests met a fault so far."""
        with self._lock:
            return sum(fault.injected for fault in self._faults)

    def inject(
        self,
        below: str,
        fault: Fault,
        *,
        times: int | None = None,
        when: Callable[[Request], bool] = anything,
    ) -> Injected:
        """Lets requests that name `below`, in path or query, meet `fault`; the first that fits is taken."""
        return self.meddle(below, lambda request, forward: fault(forward(request)), times=times, when=when)

    def meddle(
        self,
        below: str,
        meddler: Meddler,
        *,
        times: int | None = None,
        when: Callable[[Request], bool] = anything,
    ) -> Injected:
        """As `inject`, for what must know the request."""
        injected = Injected(below, meddler, when, times)
        with self._lock:
            self._faults.append(injected)
        return injected

    def refuse(self) -> None:
        """From now on connections are refused; those that are open end."""
        self._origin.close()
        self._closed_port = _closed_port(self._port)

    def accept(self) -> None:
        """Ends `refuse`."""
        assert self._closed_port is not None
        self._closed_port.close()
        self._closed_port = None
        self._origin = HttpOrigin(port=self._port)
        self._start()

    def forward(self, request: Request) -> Answer:
        """What the server behind answers."""
        path = request.path
        if path.startswith(_SIGNED):
            path = "/" + path.removeprefix(_SIGNED).partition("/")[2]
        target = f"{path}?{request.query}" if request.query else path
        headers = {name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP}
        with closing(http.client.HTTPConnection(self._upstream, timeout=30)) as connection:
            connection.request("GET", target, headers=headers)
            reply = connection.getresponse()
            kept = {name: value for name, value in reply.getheaders() if name.lower() not in _HOP_BY_HOP}
            return Answer(reply.status, kept, reply.read())

    def __enter__(self) -> "FaultProxy":  # noqa: PYI034 - Self came with Python 3.11
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._closed_port is None:
            self._origin.close()
        else:
            self._closed_port.close()

    def _start(self) -> None:
        self._origin.route("/*", self._answer)
        self._origin.start()

    def _answer(self, request: Request) -> Answer:
        with self._lock:
            fault = next((each for each in self._faults if self._fits(each, request)), None)
            if fault is not None:
                fault.injected += 1
                if fault.left is not None:
                    fault.left -= 1
        return self.forward(request) if fault is None else fault.meddle(request, self.forward)

    @staticmethod
    def _fits(fault: Injected, request: Request) -> bool:
        asked = unquote(f"{request.path}?{request.query}")
        return not fault.lifted and fault.left != 0 and fault.below in asked and fault.when(request)


def ignoring_ranges(request: Request, forward: Route) -> Answer:
    """The whole, whatever was asked for."""
    headers = {name: value for name, value in request.headers.items() if name not in ("range", "if-range")}
    return forward(replace(request, headers=headers))


def another_range(request: Request, forward: Route) -> Answer:
    """Bytes that lie seven further on, and a Content-Range that says so."""
    first, _, last = request.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")
    shifted = f"bytes={int(first) + 7}-{int(last) + 7 if last else ''}"
    return forward(replace(request, headers={**request.headers, "range": shifted}))


class Signatures:
    """A hub that redirects to URLs which expire, as stores of objects sign them. `_lock` guards the two numbers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given = 0
        self._expired = 0
        self.refused = 0

    def expire(self) -> None:
        """No URL given out so far is good any more."""
        with self._lock:
            self._expired = self._given

    def __call__(self, request: Request, forward: Route) -> Answer:
        with self._lock:
            if not request.path.startswith(_SIGNED):
                self._given += 1
                signed = f"{_SIGNED}{self._given}{request.path}?{request.query}"
                return Answer(302, {"Location": signed})
            number = int(request.path.removeprefix(_SIGNED).partition("/")[0])
            expired = number <= self._expired
            self.refused += expired
        return Answer(403, {}, b"the signature has expired") if expired else forward(request)


def endless_header(line_bytes: int = 60_000, lines: int = 500) -> Iterator[bytes]:
    """A status line, and headers without an end."""
    yield b"HTTP/1.1 200 OK\r\n"
    for number in range(lines):
        yield b"X-%d: %s\r\n" % (number, b"x" * line_bytes)


def slow_header(every_s: float = 0.1, bytes_in_all: int = 600) -> Iterator[bytes]:
    """A reply that begins well, and whose headers then come a byte at a time."""
    yield b"HTTP/1.1 200 OK\r\nX-Slow: "
    for _ in range(bytes_in_all):
        time.sleep(every_s)
        yield b"x"


def garbage(seed: float, size_bytes: int = 4096) -> bytes:
    """Noise with line ends in it, so that a reader of lines gets somewhere."""
    noise = random.Random(seed)
    return b"\r\n".join(noise.randbytes(64) for _ in range(size_bytes // 64)) + b"\r\n\r\n"


def _closed_port(port: int) -> socket.socket:
    """Keeps a port where nobody listens."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", port))
    return holder
