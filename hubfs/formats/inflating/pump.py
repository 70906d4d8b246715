"""Pulls chunks in a thread of its own, so that making them and using them overlap."""

import threading
from collections import deque
from collections.abc import Generator

from hubfs.formats.byte_reader import Bytes
from hubfs.waiting import Cancellation

_JOIN_TIMEOUT_S = 1.0
_TICK_S = 0.25


def pumped(
    chunks: Generator[Bytes, None, None], *, ahead_bytes: int, cancellation: Cancellation
) -> Generator[Bytes, None, None]:
    """Yields `chunks`, which another thread pulls up to `ahead_bytes` ahead; raises what they raise, in its place.

    Closing it, or a cancel, ends the thread as soon as the chunk that it waits for came or failed; the thread closes
    `chunks`. Raises `Cancelled`.
    """
    pump = _Pump(chunks, ahead_bytes, cancellation)
    pump.start()
    try:
        yield from pump.taken()
    finally:
        pump.stop()


class _Pump:
    """One thread and what it has pulled.

    `_changed` guards every field below it in `__init__`; nothing is pulled while it is held.
    """

    def __init__(self, chunks: Generator[Bytes, None, None], ahead_bytes: int, cancellation: Cancellation) -> None:
        self._source = chunks
        self._ahead_bytes = ahead_bytes
        self._cancellation = cancellation
        self._thread = threading.Thread(target=self._run, name="pump", daemon=True)

        self._changed = threading.Condition()
        self._pulled: deque[Bytes] = deque()
        self._pulled_bytes = 0
        self._error: BaseException | None = None
        self._ended = False
        self._stopped = False

    def start(self) -> None:
        """Begins to pull."""
        self._thread.start()

    def taken(self) -> Generator[Bytes, None, None]:
        """What was pulled, in order."""
        while True:
            with self._changed:
                while not self._pulled and not self._ended:
                    self._cancellation.check()
                    self._changed.wait(_TICK_S)
                if not self._pulled:
                    if self._error is not None:
                        raise self._error
                    return
                chunk = self._pulled.popleft()
                self._pulled_bytes -= len(chunk)
                self._changed.notify_all()
            yield chunk

    def stop(self) -> None:
        """Pulls nothing more. Waits for the thread, but not for a network that is slow."""
        with self._changed:
            self._stopped = True
            self._pulled.clear()
            self._changed.notify_all()
        self._thread.join(_JOIN_TIMEOUT_S)

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            for chunk in self._source:
                if not self._put(chunk):
                    break
        except BaseException as raised:  # noqa: BLE001 - raised again where the chunks are taken
            error = raised
        finally:
            self._source.close()
            with self._changed:
                self._error, self._ended = error, True
                self._changed.notify_all()

    def _put(self, chunk: Bytes) -> bool:
        """Waits for room; False if nobody wants more. Raises `Cancelled`."""
        with self._changed:
            while self._pulled_bytes >= self._ahead_bytes and not (self._stopped or self._cancellation.cancelled):
                self._changed.wait(_TICK_S)
            if self._stopped:
                return False
            self._cancellation.check()  # an end without an error would say that the chunks are complete
            self._pulled.append(chunk)
            self._pulled_bytes += len(chunk)
            self._changed.notify_all()
            return True
