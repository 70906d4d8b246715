"""A lease: the right to fetch something, which lapses unless it is refreshed."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b

from hubfs.blobs import json_text
from hubfs.blobs.store import ObjectStore
from hubfs.errors import HubfsError
from hubfs.waiting import Cancellation

TTL_S = 15.0

_SKEW_S = 300.0
"""Clocks of a fleet differ by less. A lease older than that is stale at first sight."""


_NO_LEASE = (ValueError, KeyError, TypeError, OverflowError)
"""What reading something raises that is no lease."""


class Lease:
    """The lease `name` on `store`, as `owner` sees it. For one thread at a time.

    It is an object that is created only if it is absent. A daemon that sees it unchanged for `ttl_s` seconds, by a
    clock of its own, takes it over: clocks of different machines are compared only to find one that was left behind
    long ago. Of many that find it lapsed, one takes it over: the right to do so is a lease itself. A holder that comes
    to life in that instant may believe to have it for a while. That costs a second transfer, and never a wrong byte.

    `clock` gives seconds since the epoch, `timer` those of a clock that is never set. All methods raise what the store
    raises, and `Cancelled`.
    """

    def __init__(
        self,
        store: ObjectStore,
        name: str,
        owner: str,
        *,
        cancellation: Cancellation,
        ttl_s: float = TTL_S,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._name = name
        self._owner = owner
        self._cancellation = cancellation
        self._ttl_s = ttl_s
        self._clock = clock
        self._timer = timer
        self._seen: bytes | None = None  # another owner's lease, as it was since `_seen_s`
        self._seen_s = 0.0
        self._right: Lease | None = None  # to take over what was seen last

    def acquire(self, *, listed: bool = False) -> bool:
        """Takes the lease if nobody has it, or its holder let it lapse. Does not wait.

        `listed`: somebody has it, as far as is known. Then it is read first, for stores take fewer writes of one name.
        """
        self._cancellation.check()
        if self._seen is None and not listed and self._create():
            return True
        found = self._store.get(self._name)
        if found is None:
            return self._create()
        if self._owner_of(found) == self._owner:
            return True  # created by an attempt whose answer was lost
        return self._lapsed(found) and self._take_over(found)

    def refresh(self) -> bool:
        """Says that it is still needed. False if somebody else took it over."""
        found = self._store.get(self._name)
        if found is not None and self._owner_of(found) != self._owner:
            return False
        return self._store.put(self._name, self._text())

    def release(self) -> None:
        """Gives it back; does nothing to one that somebody else took over."""
        found = self._store.get(self._name)
        if found is not None and self._owner_of(found) == self._owner:
            self._store.delete(self._name)

    def _take_over(self, found: bytes) -> bool:
        """Takes the place of the lease `found`, which lapsed, if nobody else does.

        Without the right, a daemon that is slow would delete the lease of the one that was quick. The right's name is
        of this very lapse, and the right of a daemon that dies in the middle lapses, too.
        """
        name = f"{self._name}.{blake2b(found, digest_size=8).hexdigest()}"
        if self._right is None or self._right._name != name:  # noqa: SLF001 - of this class
            self._right = Lease(
                self._store,
                name,
                self._owner,
                cancellation=self._cancellation,
                ttl_s=self._ttl_s,
                clock=self._clock,
                timer=self._timer,
            )
        if not self._right.acquire():
            return False
        try:
            if self._store.get(self._name) == found:
                self._store.delete(self._name)
            return self._create()
        finally:
            with suppress(HubfsError):  # it lapses
                self._right.release()

    def _create(self) -> bool:
        return self._store.put(self._name, self._text(), if_absent=True)

    def _text(self) -> bytes:
        return json.dumps({"owner": self._owner, "time_s": self._clock()}).encode()

    def _lapsed(self, found: bytes) -> bool:
        now_s = self._timer()
        if found != self._seen:
            self._seen, self._seen_s = found, now_s
        return now_s - self._seen_s >= self._ttl_s or self._clock() - _time_of(found) > self._ttl_s + _SKEW_S

    @staticmethod
    def _owner_of(found: bytes) -> str | None:
        try:
            return str(json_text.parse(found)["owner"])
        except _NO_LEASE:
            return None


def _time_of(found: bytes) -> float:
    """When it was written; for what is no lease, long ago."""
    try:
        return float(json_text.parse(found)["time_s"])
    except _NO_LEASE:
        return 0.0
