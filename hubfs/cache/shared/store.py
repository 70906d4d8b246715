"""A store that is asked more slowly while it is busy, and left alone for a while after it failed."""

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from hubfs.blobs.retry import Busy
from hubfs.blobs.store import ObjectStore, StoredObject
from hubfs.cache.shared.health import Health
from hubfs.errors import Cancelled, HubfsError, Unavailable
from hubfs.waiting import Cancellation

_log = logging.getLogger(__name__)

T = TypeVar("T")

_FAILS = "The shared cache fails, and reads go on without it: %s"

_BUSY_SAID_S = 60.0
"""The log is told at most so often that the store is busy."""


class RestingStore:
    """`store`, asked as `Health` says: slowly while it is busy, and not at all for a while after it failed.

    A request that the store refuses, because it is busy, is repeated for half a minute. While the store rests all
    requests raise `Unavailable` at once, so nobody waits for a store that is down. Lines in the log say when it begins
    to be busy, or to fail, and when it answers again. `_lock` guards every field below it, and is held across no I/O.
    """

    def __init__(
        self,
        store: ObjectStore,
        cancellation: Cancellation,
        *,
        timer: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._cancellation = cancellation
        self._timer = timer
        self._chance = chance
        self._lock = threading.Lock()
        self._health = Health()
        self._said_busy_s = -math.inf

    @property
    def url(self) -> str:
        """The wrapped store's."""
        return self._store.url

    @property
    def resting(self) -> bool:
        """Whether it is left alone just now."""
        with self._lock:
            return self._health.resting(self._timer())

    def get(self, name: str) -> bytes | None:
        """The content of an object, or None if there is none."""
        return self._guarded(lambda: self._store.get(name))

    def put(self, name: str, data: bytes, *, if_absent: bool = False) -> bool:
        """Stores an object; whether it did: not if it is there, with `if_absent`."""
        return self._guarded(lambda: self._store.put(name, data, if_absent=if_absent))

    def delete(self, name: str) -> None:
        """Deletes an object, if it is there."""
        self._guarded(lambda: self._store.delete(name))

    def list(self, prefix: str) -> Sequence[StoredObject]:
        """The objects whose names begin with `prefix`."""
        return self._guarded(lambda: self._store.list(prefix))

    def close(self) -> None:
        """Ends the connections."""
        self._store.close()

    def _guarded(self, call: Callable[[], T]) -> T:
        began_s, refusals, wish_s = self._timer(), 0, 0.0
        while True:
            self._wait(refusals, wish_s)
            if self.resting:
                raise Unavailable(f"{self.url}: the shared cache failed a moment ago and is left alone")
            try:
                result = call()
            except Cancelled:
                raise
            except Busy as error:
                refusals, wish_s = refusals + 1, error.retry_after_s or 0.0
                if self._refused(error, self._timer() - began_s):
                    raise
            except HubfsError as error:
                self._failed(error)
                raise
            else:
                self._answered()
                return result

    def _wait(self, refusals: int, wish_s: float) -> None:
        with self._lock:
            resting = self._health.resting(self._timer())
            delay_s = 0.0 if resting else self._health.delay_s(refusals, wish_s, self._chance())
        if delay_s:
            self._cancellation.sleep(delay_s)

    def _refused(self, error: Busy, asked_s: float) -> bool:
        """Whether the store is left alone now."""
        with self._lock:
            now_s = self._timer()
            before, self._health = self._health, self._health.refused(now_s, asked_s)
            failing = self._health.failing
            says_busy = not failing and now_s - self._said_busy_s >= _BUSY_SAID_S
            if says_busy:
                self._said_busy_s = now_s
        if failing and not before.failing:
            _log.warning(_FAILS, error)
        elif says_busy:
            _log.warning("The shared cache is busy, and is asked more slowly: %s", error)
        return failing

    def _failed(self, error: HubfsError) -> None:
        with self._lock:
            before, self._health = self._health, self._health.failed(self._timer())
        if not before.failing:
            _log.warning(_FAILS, error)

    def _answered(self) -> None:
        with self._lock:
            before, self._health = self._health, self._health.answered(self._timer())
            ended = before.failing and not self._health.failing
        if ended:
            _log.warning("The shared cache %s answers again", self.url)
