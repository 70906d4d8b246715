"""Pulls chunks in a thread of its own, so that making them and using them overlap."""

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait

from hubfs.formats.byte_reader import Bytes
from hubfs.waiting import Cancellation, await_result

_WAIT_S = 300.0
"""The bound of the wait for a chunk; a transfer that is silent gives up much earlier."""

_END_S = 1.0
"""Closing waits so long for a chunk that is just being made."""


def pumped(
    chunks: Generator[Bytes, None, None], *, ahead: int, cancellation: Cancellation
) -> Generator[Bytes, None, None]:
    """Yields `chunks`, of which another thread pulls `ahead` more meanwhile; raises what they raise, in its place.

    Closing it closes `chunks`, once the chunk that is just being made came or failed. Raises `Cancelled`, `TimedOut`.
    """
    puller = ThreadPoolExecutor(1, thread_name_prefix="pump")
    coming: deque[Future[Bytes | None]] = deque()
    try:
        while True:
            while len(coming) <= ahead:
                coming.append(puller.submit(next, chunks, None))
            chunk = await_result(coming.popleft(), cancellation, _WAIT_S, "the next bytes of the archive")
            if chunk is None:
                return
            yield chunk
    finally:
        for pull in coming:
            pull.cancel()
        closed = puller.submit(chunks.close)
        puller.shutdown(wait=False)
        wait([closed], _END_S)
