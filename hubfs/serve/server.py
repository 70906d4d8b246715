"""`hubfs serve`: the hub host in a process of its own, until a signal ends it."""

import asyncio
import ipaddress
import signal
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from hubfs.errors import InvalidConfig
from hubfs.serve.app import make_app

_SHUTDOWN_TIMEOUT_S = 3.0  # for the replies in flight


def run(directory: Path, *, host: str, port: int, bucket: str | None, on_ready: Callable[[str], None]) -> None:
    """Serves the models in `directory` until SIGINT or SIGTERM; for the main thread.

    `port` 0 is any free port. `on_ready` is called with the hub's URL once it answers. Nothing is left behind: neither
    a thread nor a temporary file. Raises `InvalidConfig` for a directory, an address or a bucket that cannot be used.
    """
    asyncio.run(_serve(make_app(directory, bucket=bucket), host, port, on_ready))


async def _serve(app: web.Application, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    runner = web.AppRunner(app, shutdown_timeout=_SHUTDOWN_TIMEOUT_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise InvalidConfig(f"cannot listen on {host}:{port}: {reason}; choose another --host or --port") from error
        on_ready(_url_of(host, runner.addresses[0]))
        await ended.wait()
    finally:
        await runner.cleanup()


def _url_of(host: str, address: tuple[str, int]) -> str:
    """The URL for people on this machine: an address that means "all of mine" is none that can be opened."""
    bound, port = address[:2]
    shown = "localhost" if ipaddress.ip_address(bound).is_unspecified else host
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
