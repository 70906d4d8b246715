"""One caller works, the others wait for the result."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from time import monotonic
from typing import Generic, TypeVar

from hubfs.errors import TimedOut
from hubfs.waiting.cancellation import Cancellation

K = TypeVar("K")
V = TypeVar("V")


def await_result(future: "Future[V]", cancellation: Cancellation, timeout_s: float, what: str) -> V:
    """The future's result, or what it raised.

    Raises `TimedOut` naming `what` after `timeout_s` seconds, `Cancelled` within a quarter of a second of a cancel.
    """
    deadline_s = monotonic() + timeout_s
    while True:
        cancellation.check()
        try:
            return future.result(timeout=max(0.0, min(0.25, deadline_s - monotonic())))
        except FutureTimeoutError:
            # From Python 3.11 on this is the built-in TimeoutError, which the work itself may have raised, too.
            if future.done():
                return future.result()
            if monotonic() >= deadline_s:
                raise TimedOut(f"waited {timeout_s:g} s for {what}") from None


class SingleFlight(Generic[K, V]):
    """Runs at most one `work` per key at a time.

    `_lock` guards `_flights`; it is never held while work runs or a caller waits.
    """

    def __init__(self, cancellation: Cancellation, timeout_s: float) -> None:
        self._cancellation = cancellation
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._flights: dict[K, Future[V]] = {}

    def run(self, key: K, work: Callable[[], V]) -> V:
        """The result of `work`, run here, or by the caller who came first with this key, who is waited for.

        Everybody gets what the work returned or raised. Raises `TimedOut` and `Cancelled` to those who wait.
        """
        with self._lock:
            flight = self._flights.get(key)
            mine: Future[V] | None = None
            if flight is None:
                mine = self._flights[key] = Future()
        if flight is not None:
            return await_result(flight, self._cancellation, self._timeout_s, str(key))
        assert mine is not None  # noqa: S101 - tells the type checker what the lines above did
        try:
            try:
                result = work()
            finally:
                with self._lock:  # before anybody hears of it, so that whoever tries again begins anew
                    del self._flights[key]
            mine.set_result(result)
        except BaseException as error:  # noqa: BLE001 - whatever happened belongs to all who wait
            mine.set_exception(error)
        return mine.result()
