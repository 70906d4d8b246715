"""A heartbeat for each lease that a daemon holds: a daemon that is stopped falls silent."""

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from hubfs.errors import Cancelled
from hubfs.waiting import Cancellation

_log = logging.getLogger(__name__)

_Lease = TypeVar("_Lease")


class Beats(Generic[_Lease]):
    """Calls `beat` for each lease that is held, every `every_s` seconds, in one thread, as long as one is held.

    `beat` raises nothing but `Cancelled`, which ends the thread. `_lock` guards `_held` and `_running`; it is held
    across no call of `beat`.
    """

    def __init__(self, beat: Callable[[_Lease], None], every_s: float, cancellation: Cancellation) -> None:
        self._beat = beat
        self._every_s = every_s
        self._cancellation = cancellation
        self._lock = threading.Lock()
        self._held: set[_Lease] = set()
        self._running = False

    def __contains__(self, lease: _Lease) -> bool:
        with self._lock:
            return lease in self._held

    def add(self, lease: _Lease) -> None:
        """The lease is held from now on."""
        with self._lock:
            self._held.add(lease)
            begin, self._running = not self._running, True
        if begin:
            try:
                threading.Thread(target=self._run, name="leases", daemon=True).start()
            except RuntimeError as error:  # no thread is left: the lease lapses, and another daemon may fetch, too
                with self._lock:
                    self._running = False
                _log.debug("Leases are not refreshed: %s", error)

    def discard(self, lease: _Lease) -> None:
        """The lease is no longer held. A beat of it may be under way."""
        with self._lock:
            self._held.discard(lease)

    def _run(self) -> None:
        try:
            while True:
                self._cancellation.sleep(self._every_s)
                with self._lock:
                    held = list(self._held)
                    if not held:
                        self._running = False
                        return
                for lease in held:
                    self._beat(lease)
        except Cancelled:
            return
