"""A proxy that only tunnels (CONNECT), in clear or over TLS, for what hubfs asks of https hosts."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.loops import end_others


class Tunnel:
    """`url` is what `HTTPS_PROXY` would name; `tunnels` are the hosts that somebody was connected to, and `heads` what
    the tunnels were asked for by.
    """

    def __init__(self) -> None:
        self.url = ""
        self.tunnels: list[str] = []
        self.heads: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            target = head.split()[1].decode()
            self.tunnels.append(target)
            self.heads.append(head)
            host, _, port = target.rpartition(":")
            beyond, there = await asyncio.open_connection(host, int(port))
            ends.append(there)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.wait(
                [asyncio.ensure_future(_copied(reader, there)), asyncio.ensure_future(_copied(beyond, writer))],
                return_when=asyncio.FIRST_COMPLETED,
            )
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for end in ends:
                end.transport.abort()


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()


@contextmanager
def tunnel(certificate: tuple[Path, Path] | None = None) -> Iterator[Tunnel]:
    """A proxy on a port of its own; with a certificate and its key, one that is spoken to over TLS."""
    proxy, context, loop = Tunnel(), None, asyncio.new_event_loop()
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    started, ended = threading.Event(), asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=context)
        scheme = "http" if context is None else "https"
        proxy.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        started.set()
        await ended.wait()
        server.close()
        await end_others()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), name="tunnel", daemon=True)
    thread.start()
    started.wait()
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()
