"""A real HTTP server in a thread, which misbehaves on demand and remembers what was asked.

with HttpOrigin() as origin:
    origin.put("/model", payload, etag='"1"')
    origin.script("/model", cut(after=1000), status(503, {"Retry-After": "1"}))    # one reply each, in order
    ... origin.url + "/model" ...
    origin.requests, origin.body_bytes_sent("/model")
"""

import re
import socket
import ssl
import struct
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Request:
    """What a client asked. `headers` have lower-case names."""

    path: str
    query: str
    headers: Mapping[str, str]
    method: str = "GET"
    body: bytes = b""

    @property
    def arguments(self) -> dict[str, list[str]]:
        return parse_qs(self.query)


@dataclass(frozen=True)
class Answer:
    """What goes back. Without a Content-Length among `headers` the length of `body` is announced (unless chunked)."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    chunked: bool = False
    cut_after: int | None = None  # close the connection after so many bytes of the body
    reset: bool = False  # ... or after `wire`, with a TCP reset
    stall_after: int | None = None  # fall silent after so many bytes of the body
    stall_s: float = 3600.0
    stall_first: bool = False  # fall silent before the status line
    bytes_per_s: float | None = None
    piece_bytes: int = _PIECE_BYTES  # how much goes out at a time
    wire: Iterable[bytes] | None = None  # these bytes instead of a reply, and the end of the connection


Route = Callable[[Request], Answer]
Tls = tuple[Path, Path] | ssl.SSLContext  # a certificate and its key; or all that is to be said of it
Fault = Callable[[Answer], Answer]


def cut(after: int, *, reset: bool = False) -> Fault:
    """The connection ends after so many bytes of the body."""
    return lambda answer: replace(answer, cut_after=after, reset=reset)


def stall(after: int, stall_s: float = 3600.0) -> Fault:
    """Silence after so many bytes of the body, until `stall_s` or the end of the server."""
    return lambda answer: replace(answer, stall_after=after, stall_s=stall_s)


def stall_first(stall_s: float = 3600.0) -> Fault:
    """Silence before the first byte of the reply."""
    return lambda answer: replace(answer, stall_first=True, stall_s=stall_s)


def paced(bytes_per_s: float, piece_bytes: int = _PIECE_BYTES) -> Fault:
    return lambda answer: replace(answer, bytes_per_s=bytes_per_s, piece_bytes=piece_bytes)


def wire(*parts: bytes, reset: bool = False) -> Fault:
    """Bytes that need not be HTTP, and the end of the connection."""
    return lambda answer: replace(answer, wire=parts, reset=reset)


def hang_up(*, reset: bool = False) -> Fault:
    """The end of the connection instead of a reply: a FIN, or a TCP reset."""
    return wire(reset=reset)


def flip(position: int) -> Fault:
    """One wrong bit in the body, `position` bytes into it."""

    def wrong(answer: Answer) -> Answer:
        body = bytearray(answer.body)
        body[position] ^= 1
        return replace(answer, body=bytes(body))

    return wrong


def status(code: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Fault:
    """Another reply altogether."""
    return lambda _: Answer(code, headers or {}, body)


def well() -> Fault:
    """The reply as it should be; to let some requests pass before a fault."""
    return lambda answer: answer


def redirect(location: str, code: int = 302, body: bytes = b"") -> Route:
    return lambda _: Answer(code, {"Location": location}, body)


@dataclass(frozen=True)
class Resource:
    """A file, served as a decent host does; each field takes one virtue away."""

    body: bytes
    etag: str | None = None
    last_modified: str | None = None
    ranges: bool = True
    chunked: bool = False
    content_type: str = "application/gzip"
    headers: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, request: Request) -> Answer:
        headers = {"Content-Type": self.content_type, **self.headers}
        if self.etag:
            headers["ETag"] = self.etag
        if self.last_modified:
            headers["Last-Modified"] = self.last_modified
        whole = Answer(200, headers, self.body, self.chunked)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if not self.ranges or wanted is None:
            return whole
        if request.headers.get("if-range") not in (None, self.etag, self.last_modified):
            return whole
        size, start = len(self.body), int(wanted[1])
        end = min(int(wanted[2]) + 1, size) if wanted[2] else size
        if start >= size:
            return Answer(416, {**headers, "Content-Range": f"bytes */{size}"}, b"no such range")
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        return Answer(206, headers, self.body[start:end], self.chunked)


class HttpOrigin:
    """The server. `_lock` guards every table; replies are sent outside it."""

    def __init__(self, tls: "Tls | None" = None, port: int = 0, address: str = "127.0.0.1") -> None:
        self._lock = threading.Lock()
        self._routes: dict[str, Route] = {}
        self._scripts: dict[str, deque[Fault]] = defaultdict(deque)
        self._always: dict[str, Fault] = {}
        self._requests: list[Request] = []
        self._sent: Counter[str] = Counter()
        self._under_way = self._most_under_way = 0
        self._closing = threading.Event()
        self._server = _Server(self, tls, (address, port))
        self._scheme = "https" if tls else "http"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="http-origin")

    @property
    def host(self) -> str:
        return f"{self._server.server_address[0]}:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"{self._scheme}://{self.host}"

    @property
    def requests(self) -> list[Request]:
        with self._lock:
            return list(self._requests)

    @property
    def connections(self) -> int:
        """How many were made so far."""
        return self._server.connections

    @property
    def most_under_way(self) -> int:
        """Of how many replies the bodies were sent at the same time, at most."""
        with self._lock:
            return self._most_under_way

    def body_bytes_sent(self, path: str | None = None) -> int:
        with self._lock:
            return self._sent.total() if path is None else self._sent[path]

    def put(self, path: str, body: bytes, **virtues: object) -> None:
        """Serves `body` at `path`; `virtues` are fields of `Resource`."""
        self.route(path, Resource(body, **virtues))  # type: ignore[arg-type]

    def route(self, path: str, route: Route) -> None:
        """Answers requests for `path` (a prefix, if it ends with `*`)."""
        with self._lock:
            self._routes[path] = route

    def script(self, path: str, *faults: Fault) -> None:
        """The next requests for `path` meet these faults, one each."""
        with self._lock:
            self._scripts[path].extend(faults)

    def always(self, path: str, fault: Fault) -> None:
        """Every request for `path` that no script is left for meets this fault."""
        with self._lock:
            self._always[path] = fault

    def reset(self) -> None:
        """Forgets requests, counts, scripts and standing faults; routes stay."""
        with self._lock:
            self._requests.clear()
            self._sent.clear()
            self._most_under_way = self._under_way
            self._scripts.clear()
            self._always.clear()

    def answer(self, request: Request) -> Answer:
        with self._lock:
            self._requests.append(request)
            route = self._routes.get(request.path)
            if route is None:
                prefixes = [p for p in self._routes if p.endswith("*") and request.path.startswith(p[:-1])]
                route = self._routes[max(prefixes, key=len)] if prefixes else lambda _: Answer(404)
            script = self._scripts[request.path]
            fault = script.popleft() if script else self._always.get(request.path, well())
        return fault(route(request))

    def sent(self, path: str, size: int) -> None:
        with self._lock:
            self._sent[path] += size

    @contextmanager
    def sending(self) -> Iterator[None]:
        with self._lock:
            self._under_way += 1
            self._most_under_way = max(self._most_under_way, self._under_way)
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    def wait(self, seconds: float) -> None:
        self._closing.wait(seconds)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> "HttpOrigin":  # noqa: PYI034 - Self came with Python 3.11
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for every handler: nothing outlives a test
    request_queue_size = 128

    def __init__(self, origin: HttpOrigin, tls: "Tls | None", address: tuple[str, int]) -> None:
        self.origin = origin
        self.connections = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._tls = tls if isinstance(tls, ssl.SSLContext) else None
        if isinstance(tls, tuple):
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*tls)
        super().__init__(address, _Handler)

    def finish_request(self, request, client_address) -> None:
        # In the connection's own thread: a TLS handshake here does not hold up the others.
        if self._tls:
            request = self._tls.wrap_socket(request, server_side=True)
        with self._lock:
            self._open.add(request)
            self.connections += 1
        try:
            super().finish_request(request, client_address)
        finally:
            with self._lock:
                self._open.discard(request)
            request.close()

    def handle_error(self, request, client_address) -> None:
        """Clients that go away are part of the tests."""

    def server_close(self) -> None:
        with self._lock:
            for connection in self._open:
                with suppress(OSError):  # the client was faster
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
        super().server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format, *args) -> None:  # noqa: A002 - the base class names it so
        pass

    def do_GET(self) -> None:
        origin = self.server.origin
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        request = Request(parts.path, parts.query, headers, self.command, body)
        answer = origin.answer(request)
        if answer.stall_first:
            origin.wait(answer.stall_s)
        if answer.wire is not None:
            self.wfile.writelines(answer.wire)
            self._hang_up(reset=answer.reset)
            return
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        with origin.sending():
            self._send_body(request.path, answer)

    do_POST = do_DELETE = do_GET  # noqa: N815 - the base class names them so

    def _send_body(self, path: str, answer: Answer) -> None:
        origin = self.server.origin
        marks = sorted(
            {len(answer.body), *(mark for mark in (answer.cut_after, answer.stall_after) if mark is not None)}
        )
        position = 0
        for mark in marks:
            while position < min(mark, len(answer.body)):
                piece = answer.body[position : min(position + answer.piece_bytes, mark)]
                origin.sent(path, len(piece))  # before the client can have it, so that a test that has it can count it
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if answer.chunked else piece)
                position += len(piece)
                if answer.bytes_per_s:
                    origin.wait(len(piece) / answer.bytes_per_s)
            if mark == answer.stall_after:
                origin.wait(answer.stall_s)
            if mark == answer.cut_after:
                self._hang_up(reset=answer.reset)
                return
        if answer.chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _hang_up(self, *, reset: bool) -> None:
        self.close_connection = True
        if reset:
            time.sleep(0.05)  # let the client have what was sent: a reset discards what it has not read
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self.connection.shutdown(socket.SHUT_RDWR)


class DeadPort:
    """A port of 127.0.0.1 where connections are refused, as long as this is open."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))  # bound, and never listening

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> "DeadPort":  # noqa: PYI034 - Self came with Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
