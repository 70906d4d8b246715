"""The one signal that ends every wait: set once, when the mount goes away."""

import logging
import threading
import time
from collections.abc import Callable

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
