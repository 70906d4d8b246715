"""Waits: one signal that ends them all when the mount goes away, and callers that share one answer."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from time import monotonic
from typing import Generic, TypeVar

from hubfs.errors import Cancelled, TimedOut

_log = logging.getLogger(__name__)

_NOTICED_WITHIN_S = 0.25
"""How long `Cancellation.wait_for` sleeps before it looks again."""


class Cancellation:
    """A flag that is set once, and that every wait of the daemon watches.

    `on_cancel` callbacks run once, in the thread that cancels (at once, when it is cancelled already); they must
    not block. `_lock` guards `_callbacks`; it is taken last and held for no call of foreign code.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: dict[object, Callable[[], None]] = {}

    @property
    def cancelled(self) -> bool:
        """True from the call of `cancel` on."""
        return self._event.is_set()

    def cancel(self) -> None:
        """Ends every wait; calling it again does nothing."""
        with self._lock:
            self._event.set()
            callbacks = list(self._callbacks.values())
            self._callbacks.clear()
        for callback in callbacks:
            _run(callback)

    def check(self) -> None:
        """Raises `Cancelled` once `cancel` was called."""
        if self._event.is_set():
            raise Cancelled("the hub is being unmounted")

    def sleep(self, seconds_s: float) -> None:
        """Sleeps; raises `Cancelled` as soon as `cancel` is called."""
        if self._event.wait(seconds_s):
            self.check()

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Registers `callback` to run on cancel. Returns the function that takes it back."""
        token = object()
        with self._lock:
            if not self._event.is_set():
                self._callbacks[token] = callback
                return lambda: self._forget(token)
        callback()
        return lambda: None

    def _forget(self, token: object) -> None:
        with self._lock:
            self._callbacks.pop(token, None)

    def wait_for(
        self, condition: threading.Condition, predicate: Callable[[], bool], timeout_s: float, what: str
    ) -> None:
        """Waits on `condition` (held by the caller) until `predicate()`.

        Raises `TimedOut` naming `what` after `timeout_s` seconds, `Cancelled` on cancel. A cancel is noticed within
        a quarter of a second: `Condition` cannot wait for two things, and a wake-up four times a second costs nothing
        measurable beside the network that is being waited for.
        """
        deadline_s = time.monotonic() + timeout_s
        while not predicate():
            self.check()
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0:
                raise TimedOut(f"waited {timeout_s:g} s for {what}")
            condition.wait(min(remaining_s, _NOTICED_WITHIN_S))


def _run(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:  # noqa: BLE001 - whatever it is, the other callbacks end waits, too
        _log.exception("A callback of a cancel failed; the others run")


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
