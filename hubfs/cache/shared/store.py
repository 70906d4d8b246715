"""A store that is left alone for a while after it failed."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from hubfs.blobs.store import ObjectStore, StoredObject
from hubfs.errors import Cancelled, HubfsError, Unavailable

_log = logging.getLogger(__name__)

T = TypeVar("T")

_FIRST_REST_S = 10.0
_LONGEST_REST_S = 300.0


class RestingStore:
    """`store`, with a rest after each failure: ten seconds, doubled up to five minutes; a success ends it.

    While it rests everything raises `Unavailable` at once, so nobody waits for a store that is down. A line in the log
    says when it begins to fail, and when it answers again. `_lock` guards every field below it.
    """

    def __init__(self, store: ObjectStore, timer: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._timer = timer
        self._lock = threading.Lock()
        self._failing = False
        self._rest_s = 0.0
        self._resting_until_s = 0.0

    @property
    def url(self) -> str:
        """The wrapped store's."""
        return self._store.url

    @property
    def resting(self) -> bool:
        """Whether it is left alone just now."""
        with self._lock:
            return self._failing and self._timer() < self._resting_until_s

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
        if self.resting:
            raise Unavailable(f"{self.url}: the shared cache failed a moment ago and is left alone")
        try:
            result = call()
        except Cancelled:
            raise
        except HubfsError as error:
            self._failed(error)
            raise
        self._worked()
        return result

    def _failed(self, error: HubfsError) -> None:
        with self._lock:
            if self._failing and self._timer() < self._resting_until_s:
                return  # begun before the rest, and ended in it
            began, self._failing = not self._failing, True
            self._rest_s = min(max(2 * self._rest_s, _FIRST_REST_S), _LONGEST_REST_S)
            self._resting_until_s = self._timer() + self._rest_s
        if began:
            _log.warning("The shared cache fails, and reads go on without it: %s", error)

    def _worked(self) -> None:
        with self._lock:
            ended = self._failing and self._timer() >= self._resting_until_s
            if ended:
                self._failing, self._rest_s = False, 0.0
        if ended:
            _log.warning("The shared cache %s answers again", self.url)
