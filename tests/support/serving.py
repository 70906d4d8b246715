"""A hub host on a real socket, in a thread of the test's process."""

import asyncio
import os
import random
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

from hubfs.hubs.tfhub.serve.app import HostSettings, make_app
from hubfs.hubs.tfhub.serve.connections import ConnectionLimits
from hubfs.hubs.tfhub.serve.server import listening
from tests.support.loops import end_others


@contextmanager
def serving(directory: Path, limits: ConnectionLimits | None = None, **settings: Any) -> Iterator[str]:
    """Yields the host's URL."""
    loop = asyncio.new_event_loop()
    stack = AsyncExitStack()
    app = make_app(directory, HostSettings(**settings))
    limits = limits or ConnectionLimits.of_this_process()
    listens = listening(app, "127.0.0.1", 0, limits, shutdown_timeout_s=1)
    url = "http://{}:{}".format(*loop.run_until_complete(stack.enter_async_context(listens)))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield url
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(60)
        asyncio.run_coroutine_threadsafe(end_others(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def write_model(root: Path, handle: str, seed: int = 1, size_bytes: int = 300_000) -> dict[str, bytes]:
    """Writes a SavedModel's files with the times of a model that was written long ago; returns the files."""
    rng = random.Random(seed)
    files = {
        "saved_model.pb": b"graph " * 3000 + rng.randbytes(1000),
        "variables/variables.index": rng.randbytes(700),
        "variables/variables.data-00000-of-00001": rng.randbytes(size_bytes),
        "assets/vocab.txt": b"a\nb\n",
    }
    for n, (name, content) in enumerate(files.items()):
        path = root / handle / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(0, 1_600_000_000_000_000_000 + n * 1_234_567_891))
    return files
