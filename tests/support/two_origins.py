"""What the stand-ins for Kaggle and for the Hugging Face Hub have in common: two origins, scripts, gates."""

import asyncio
import threading
from abc import abstractmethod
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Protocol, TypeVar

from aiohttp import web

from tests.support.kaggle_replies import RANGE, Fault, Reply, well
from tests.support.loops import end_others

_Own = TypeVar("_Own", bound="TwoOrigins")


class Behind(Protocol):
    """The second origin, where the bytes are; it learns its URL."""

    url: str


class TwoOrigins:
    """Serves `url`, and the origin `behind` it, from a thread of the test's process, within a `with`.

    `_lock` guards `_scripts`, and every table of a subclass; answers are sent outside it.
    """

    def __init__(self, name: str, behind: Behind) -> None:
        self.url = ""
        self._behind = behind
        self._lock = threading.Lock()
        self._scripts: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._runner: web.ServerRunner | None = None

    def script(self, what: str, *faults: Fault) -> None:
        """One fault for each of the next requests of a kind."""
        with self._lock:
            self._scripts[what].extend(faults)

    def _scripted(self, what: str, reply: Reply) -> Reply:
        with self._lock:
            faults = self._scripts[what]
            fault = faults.popleft() if faults else well()
        return fault(reply)

    def __enter__(self: _Own) -> _Own:  # noqa: PYI019 - Self came with Python 3.11
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    async def _start(self) -> None:
        self._runner = web.ServerRunner(web.Server(self._serve), handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        for _ in range(2):
            await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url, self._behind.url = (f"http://127.0.0.1:{address[1]}" for address in self._runner.addresses)

    async def _end(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        await end_others()

    @abstractmethod
    async def _serve(self, request: web.BaseRequest) -> web.Response:
        """Answers a request to either origin."""


class Gate:
    """Holds some requests back until `open`: those of which `stops` says so, by the path's last part and the range."""

    def __init__(self, stops: Callable[[str, range], bool]) -> None:
        self._stops = stops
        self._opened: Future[None] = Future()
        self._held = threading.Semaphore(0)

    def wait(self, count: int = 1) -> bool:
        """Whether so many requests more came to be held within two minutes."""
        return all(self._held.acquire(timeout=120) for _ in range(count))

    def open(self) -> None:
        if not self._opened.done():
            self._opened.set_result(None)

    async def pass_by(self, path: str, headers: Mapping[str, str]) -> None:
        asked = RANGE.fullmatch(headers.get("range", ""))
        part = range(int(asked[1]), int(asked[2] or _NO_END) + 1) if asked else range(_NO_END)
        if not self._opened.done() and self._stops(path.rpartition("/")[2], part):
            self._held.release()
            await asyncio.shield(asyncio.wrap_future(self._opened))


_NO_END = 1 << 62
