"""The link between clients and servers: a TCP proxy, in a process of its own, that delays, paces and counts.

- A request is passed on one latency after it came; the first of a connection one latency later still, as a handshake
  takes a round trip.
- Answers are paced per connection and in total. They never pass through Python: `splice` moves them from socket to
  socket within the kernel, since whoever is measured has the same few cores.
- Not modelled: slow start, loss, TLS, and the link's other direction.

    python -m scripts._bench.shaping NAME…

listens on one port for each name, and then answers commands, JSON lines from stdin, until that ends. See `Shaping`.
"""

import contextlib
import fcntl
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

HOST = "127.0.0.1"

_QUANTUM_S = 0.005
"""How much of a paced connection's time passes in one piece: 200 pieces a second cost 1 % of a core."""

_LARGEST_PIECE_BYTES = 1 << 20
_SMALLEST_PIECE_BYTES = 16 << 10

_CREDIT_S = 0.02
"""What a sleeper that was woken late may catch up."""

_SEND_BUFFER_BYTES = 256 << 10
"""What has been sent, but was not read, waits on this side of the link, and is paced; not in a buffer behind it."""

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_RANGE = re.compile(rb"\r\nrange:[ \t]*([^\r\n]+)", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"
_LOGGED_REQUESTS = 10_000


@dataclass(frozen=True)
class Link:
    """What lies between a client and the servers. Zero: no delay, no bound."""

    latency_s: float = 0.0
    connection_bytes_per_s: float = 0.0
    total_bytes_per_s: float = 0.0


UNSHAPED = Link()


@dataclass(frozen=True)
class Counts:
    """What passed since the last reset. `log` has a line for each request: its first line, and its range."""

    requests: int
    connections: int
    sent_bytes: int
    log: list[str]


class Pace:
    """When bytes have passed, at so many a second. Guarded by `_lock`: `_free_s`, when the link is free again."""

    def __init__(self, bytes_per_s: float, credit_s: float = _CREDIT_S) -> None:
        self._bytes_per_s = bytes_per_s
        self._credit_s = credit_s
        self._lock = threading.Lock()
        self._free_s = 0.0

    def reserve(self, size_bytes: int, now_s: float) -> float:
        """Takes the next free time for so many bytes; returns when they are through."""
        if not self._bytes_per_s:
            return now_s
        with self._lock:
            self._free_s = max(self._free_s, now_s - self._credit_s) + size_bytes / self._bytes_per_s
            return self._free_s


class Proxy:
    """Serves listeners in threads. Guarded by `_lock`: the counts, and the link with its shared pace."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._link, self._total = UNSHAPED, Pace(0)
        self._upstreams: dict[str, tuple[str, int]] = {}
        self._requests = self._connections = self._sent_bytes = 0
        self._log: list[str] = []

    def listen(self, name: str) -> int:
        """Accepts connections for the server `name` from now on; returns the port."""
        listener = socket.create_server((HOST, 0), backlog=256)
        # Inherited by what is accepted.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        _in_thread(self._accept, listener, name)
        return int(listener.getsockname()[1])

    def connect(self, name: str, port: int) -> None:
        """Where the connections for `name` lead."""
        self._upstreams[name] = (HOST, port)

    def shape(self, link: Link) -> None:
        """What connections that are made from now on find."""
        with self._lock:
            self._link, self._total = link, Pace(link.total_bytes_per_s)

    def reset(self) -> None:
        """Counts from zero."""
        with self._lock:
            self._requests = self._connections = self._sent_bytes = 0
            self._log = []

    def counts(self) -> Counts:
        """Since the last reset."""
        with self._lock:
            return Counts(self._requests, self._connections, self._sent_bytes, list(self._log))

    def _accept(self, listener: socket.socket, name: str) -> None:
        while True:
            client, _ = listener.accept()
            _in_thread(self._serve, client, name, time.monotonic())

    def _serve(self, client: socket.socket, name: str, accepted_s: float) -> None:
        with self._lock:
            self._connections += 1
            link, total = self._link, self._total
        with client, socket.socket() as server:
            try:
                server.connect(self._upstreams[name])
            except (OSError, KeyError):
                return  # the client sees the connection end
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            upwards = _in_thread(self._pass_requests, client, server, accepted_s, link.latency_s)
            with contextlib.suppress(OSError):  # either side went away: so does the other
                self._pass_answers(server, client, link, total)
            for end in (client, server):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            upwards.join()

    def _pass_requests(self, client: socket.socket, server: socket.socket, accepted_s: float, latency_s: float) -> None:
        connected_s = accepted_s + latency_s
        with contextlib.suppress(OSError):
            for request, body in requests_in(lambda: client.recv(1 << 16)):
                now_s = time.monotonic()
                if not body:
                    self._count_request(request)
                    time.sleep(max(now_s, connected_s) + latency_s - now_s)
                server.sendall(request)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _pass_answers(self, server: socket.socket, client: socket.socket, link: Link, total: Pace) -> None:
        mine = Pace(link.connection_bytes_per_s)
        slowest = min(filter(None, (link.connection_bytes_per_s, link.total_bytes_per_s)), default=0)
        piece_bytes = _piece_bytes(slowest)
        with _pipe() as (out_of, into):
            while moved := os.splice(server.fileno(), into, piece_bytes):
                now_s = time.monotonic()
                due_s = max(mine.reserve(moved, now_s), total.reserve(moved, now_s))
                if due_s > now_s:
                    time.sleep(due_s - now_s)
                # Counted before it is sent: a client that has got its last byte finds it counted.
                with self._lock:
                    self._sent_bytes += moved
                while moved:
                    moved -= os.splice(out_of, client.fileno(), moved)

    def _count_request(self, head: bytes) -> None:
        asked = _RANGE.search(head)
        line = head.split(b"\r\n", 1)[0] + (b" " + asked[1] if asked else b"")
        with self._lock:
            self._requests += 1
            if len(self._log) < _LOGGED_REQUESTS:
                self._log.append(line.decode("latin-1"))


def requests_in(receive: Callable[[], bytes]) -> Iterator[tuple[bytes, bool]]:
    """Cuts what a client sends into heads, and pieces of bodies (True). `receive` gives b"" at the end."""
    buffered, body_bytes = b"", 0
    while data := receive():
        buffered += data
        while buffered:
            if body_bytes:
                piece, buffered = buffered[:body_bytes], buffered[body_bytes:]
                body_bytes -= len(piece)
                yield piece, True
                continue
            head, end, rest = buffered.partition(_HEAD_END)
            if not end:
                break
            length = _LENGTH.search(head)
            body_bytes = int(length[1]) if length else 0
            buffered = rest
            yield head + end, False


def _piece_bytes(bytes_per_s: float) -> int:
    if not bytes_per_s:
        return _LARGEST_PIECE_BYTES
    return max(_SMALLEST_PIECE_BYTES, min(_LARGEST_PIECE_BYTES, int(bytes_per_s * _QUANTUM_S)))


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    out_of, into = os.pipe()
    try:
        # As much as an unprivileged process may have; a smaller pipe only means smaller pieces.
        with contextlib.suppress(OSError):
            fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, _LARGEST_PIECE_BYTES)
        yield out_of, into
    finally:
        os.close(out_of)
        os.close(into)


def _in_thread(target: Callable[..., None], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread


class Shaping:
    """The proxy's process, as those see it who command it. `ports`: name → port."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.ports: dict[str, int] = self._answer()

    @property
    def pid(self) -> int:
        """The process that shapes."""
        return self._process.pid

    def url(self, name: str) -> str:
        """Where clients find the server `name`."""
        return f"http://{HOST}:{self.ports[name]}"

    def connect(self, name: str, port: int) -> None:
        """Says where the server `name` listens."""
        self._command("connect", name=name, port=port)

    def shape(self, link: Link) -> None:
        """Sets the link for new connections."""
        self._command("shape", **asdict(link))

    def reset(self) -> None:
        """Counts from zero."""
        self._command("reset")

    def counts(self) -> Counts:
        """What passed since the last reset."""
        return Counts(**self._command("counts"))

    def _command(self, what: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([what, arguments]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the shaping proxy ended with status {self._process.wait(10)}")
        return json.loads(line)


@contextlib.contextmanager
def shaping(names: Sequence[str]) -> Iterator[Shaping]:
    """Runs the proxy for the servers `names`, and ends it."""
    command = [sys.executable, "-m", "scripts._bench.shaping", *names]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield Shaping(process)
        finally:
            process.kill()


def main() -> None:
    proxy = Proxy()
    commands: dict[str, Callable[..., Any]] = {
        "connect": proxy.connect,
        "shape": lambda **link: proxy.shape(Link(**link)),
        "reset": proxy.reset,
        "counts": lambda: asdict(proxy.counts()),
    }
    print(json.dumps({name: proxy.listen(name) for name in sys.argv[1:]}), flush=True)
    for line in sys.stdin:
        what, arguments = json.loads(line)
        print(json.dumps(commands[what](**arguments)), flush=True)


if __name__ == "__main__":
    main()
