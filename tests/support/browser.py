"""A headless Chromium that looks at pages, by its DevTools protocol. Where no Chromium is installed there is none.

with Browser() as browser:
    seen = browser.look(url, Screen(width=400))
    seen.text, seen.requests, seen.complaints, seen.wider_than_the_screen, seen.png
"""

import asyncio
import base64
import itertools
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
_BOUND_S = 60
_LISTENS = re.compile(rb"DevTools listening on (ws://\S{1,200})")


@dataclass(frozen=True)
class Screen:
    width: int = 1000
    height: int = 900
    scheme: str = "light"


@dataclass(frozen=True)
class Seen:
    """What a person sees of a page, and what the browser did for it. `complaints` are what its console says."""

    text: str
    wider_than_the_screen: bool
    requests: list[str]
    complaints: list[str]
    png: bytes


class Browser:
    """One process, and a profile that goes with it."""

    def __enter__(self) -> "Browser":  # noqa: PYI034 - Python 3.10 has no Self
        assert CHROMIUM is not None
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
        self._process = subprocess.Popen(
            [CHROMIUM, *options, "--remote-debugging-port=0", f"--user-data-dir={self._profile.name}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        alarm = threading.Timer(_BOUND_S, self._process.kill)
        alarm.start()
        assert self._process.stderr is not None
        found = next(filter(None, map(_LISTENS.search, self._process.stderr)), None)
        alarm.cancel()
        assert found, "Chromium did not start"
        self._address = found[1].decode()
        # What it says from now on is of no use, and must not fill the pipe.
        self._drain = threading.Thread(target=self._process.stderr.read, daemon=True)
        self._drain.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(_BOUND_S)
        finally:
            self._process.kill()
            self._process.wait()
            self._drain.join(_BOUND_S)
            assert self._process.stderr is not None
            self._process.stderr.close()
            self._profile.cleanup()

    def look(self, url: str, screen: Screen) -> Seen:
        return asyncio.run(asyncio.wait_for(_look(self._address, url, screen), _BOUND_S))


async def _look(address: str, url: str, screen: Screen) -> Seen:
    numbers = itertools.count(1)
    events: list[Mapping[str, Any]] = []
    async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=0) as socket:
        tab: dict[str, str] = {}

        async def ask(method: str, **parameters: Any) -> Any:
            number = next(numbers)
            await socket.send_json({"id": number, "method": method, "params": parameters, **tab})
            while True:
                message = await socket.receive_json()
                if message.get("id") == number:
                    assert "error" not in message, message
                    return message["result"]
                events.append(message)

        async def until(event: str) -> None:
            while not any(message.get("method") == event for message in events):
                events.append(await socket.receive_json())

        target = await ask("Target.createTarget", url="about:blank")
        tab["sessionId"] = (await ask("Target.attachToTarget", targetId=target["targetId"], flatten=True))["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            await ask(f"{domain}.enable")
        size = {"width": screen.width, "height": screen.height}
        await ask("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=screen.width < 500)
        scheme = {"name": "prefers-color-scheme", "value": screen.scheme}
        await ask("Emulation.setEmulatedMedia", features=[scheme])
        events.clear()
        await ask("Page.navigate", url=url)
        await until("Page.loadEventFired")

        async def value(expression: str) -> Any:
            return (await ask("Runtime.evaluate", expression=expression, returnByValue=True))["result"]["value"]

        text = await value("document.body.innerText")
        wide = await value("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        png = base64.b64decode((await ask("Page.captureScreenshot", format="png"))["data"])
        await ask("Target.closeTarget", targetId=target["targetId"])
    said = {"Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"}
    return Seen(
        str(text),
        bool(wide),
        [message["params"]["request"]["url"] for message in events if message["method"] == "Network.requestWillBeSent"],
        [str(message["params"]) for message in events if message.get("method") in said],
        png,
    )
