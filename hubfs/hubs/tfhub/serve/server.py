"""`hubfs serve`: the hub host in a process of its own, until a signal ends it."""

import asyncio
import ipaddress
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger as _server_log

from hubfs.errors import InvalidConfig
from hubfs.hubs.tfhub.serve.app import HostSettings, make_app
from hubfs.hubs.tfhub.serve.connections import ConnectionLimits, Connections

_BACKLOG = 128


def run(directory: Path, settings: HostSettings, *, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serves the models in `directory` until SIGINT or SIGTERM; for the main thread.

    `port` 0 is any free port. `on_ready` is called with the hub's URL once it answers. Nothing is left behind: neither
    a thread nor a temporary file. Raises `InvalidConfig` for a directory, an address or a bucket that cannot be used.
    """
    asyncio.run(_serve(make_app(directory, settings), host, port, on_ready))


async def _serve(app: web.Application, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with listening(app, host, port, ConnectionLimits.of_this_process()) as address:
        on_ready(_url_of(host, address))
        await ended.wait()


@asynccontextmanager
async def listening(
    app: web.Application, host: str, port: int, limits: ConnectionLimits, *, shutdown_timeout_s: float = 3.0
) -> AsyncIterator[tuple[str, int]]:
    """Serves `app` within `limits`; address and port. Replies in flight have `shutdown_timeout_s` to end.

    Raises `InvalidConfig` for an address that cannot be used.
    """
    _server_log.addFilter(_is_worth_a_line)
    runner = web.AppRunner(
        app,
        shutdown_timeout=shutdown_timeout_s,
        keepalive_timeout=limits.head_s,  # also the bound of a head that does not end
        lingering_time=limits.head_s,
    )
    await runner.setup()
    try:
        assert runner.server is not None  # noqa: S101 - for the types: `setup` makes it
        connections = Connections(limits, runner.server)
        try:
            server = await asyncio.get_running_loop().create_server(connections, host, port, backlog=_BACKLOG)
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise InvalidConfig(f"cannot listen on {host}:{port}: {reason}; choose another --host or --port") from error
        try:
            yield server.sockets[0].getsockname()[:2]
        finally:
            server.close()
    finally:
        await runner.cleanup()


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Whether a record of aiohttp's is not just of a client that sent nonsense: each would have a traceback."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)


def _url_of(host: str, address: tuple[str, int]) -> str:
    """The URL for people on this machine: an address that means "all of mine" is none that can be opened."""
    bound, port = address[:2]
    shown = "localhost" if ipaddress.ip_address(bound).is_unspecified else host
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
