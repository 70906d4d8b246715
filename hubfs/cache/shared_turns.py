"""Who fetches: one daemon of a fleet at a time, while the others wait for what it stores."""

import logging
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from hubfs.cache.index_store import Index
from hubfs.cache.shared import SharedTier
from hubfs.cache.shared_indexes import SharedIndexes
from hubfs.cache.shared_layout import lease_name
from hubfs.cache.shared_lease import TTL_S, Lease
from hubfs.cache.shared_store import RestingStore
from hubfs.cancellation import Cancellation
from hubfs.errors import Cancelled, HubfsError

_log = logging.getLogger(__name__)

_PATIENCE_S = 1800.0
"""Nobody waits longer for others, however lively they are."""


class Turns(Protocol):
    """Agrees with other daemons on who fetches what."""

    @property
    def others_wait(self) -> bool:
        """Whether others may be waiting for what this daemon fetches: it should not wait for its own readers."""
        ...

    def turn(self, model: str, name: str, arrived: Callable[[], bool]) -> AbstractContextManager[bool]:
        """Waits until it is this daemon's turn to fetch `name` of `model`, or `arrived()`: another one has fetched it.

        True if the caller must fetch, inside of the block; False if it arrived. Never fails but by `Cancelled`: if
        nothing can be agreed, everybody fetches.
        """
        ...

    def index(self, model: str) -> Index | None:
        """The index of a model that another daemon completed meanwhile."""
        ...


class NoTurns:
    """What there is without a shared cache: whoever wants to fetch does."""

    @property
    def others_wait(self) -> bool:
        """See `Turns`."""
        return False

    def turn(self, model: str, name: str, arrived: Callable[[], bool]) -> AbstractContextManager[bool]:  # noqa: ARG002 - the protocol's signature
        """See `Turns`."""
        return nullcontext(True)

    def index(self, model: str) -> Index | None:  # noqa: ARG002 - the protocol's signature
        """See `Turns`."""
        return None


class SharedTurns:
    """`Turns` by leases on the shared store. A lease is kept until what was fetched under it is stored.

    One thread refreshes all leases that are held, three times in `ttl_s`. `_lock` guards `_held` and `_refreshing`; it
    is held across no I/O.
    """

    def __init__(
        self,
        store: RestingStore,
        tier: SharedTier,
        indexes: SharedIndexes,
        cancellation: Cancellation,
        *,
        ttl_s: float = TTL_S,
        poll_s: float = 0.5,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._store = store
        self._tier = tier
        self._indexes = indexes
        self._cancellation = cancellation
        self._ttl_s = ttl_s
        self._poll_s = poll_s
        self._patience_s = patience_s
        self._daemon = f"{socket.gethostname()} {uuid.uuid4().hex}"
        self._lock = threading.Lock()
        self._held: set[Lease] = set()
        self._refreshing = False

    @property
    def others_wait(self) -> bool:
        """See `Turns`: not while the store is left alone, for then nobody waits."""
        return not self._store.resting

    def index(self, model: str) -> Index | None:
        """See `Turns`."""
        return self._indexes.of(model)

    @contextmanager
    def turn(self, model: str, name: str, arrived: Callable[[], bool]) -> Iterator[bool]:
        """See `Turns`."""
        # Each turn is an owner of its own: two sources of one model in a daemon exclude each other, too.
        owner = f"{self._daemon} {uuid.uuid4().hex}"
        lease = Lease(self._store, lease_name(model, name), owner, cancellation=self._cancellation, ttl_s=self._ttl_s)
        mine, leased = self._wait(model, lease, arrived)
        try:
            yield mine
        finally:
            if leased:
                # The others find the lease gone only when they find the bytes, too.
                self._tier.afterwards(model, lambda: self._give_back(lease))

    def _wait(self, model: str, lease: Lease, arrived: Callable[[], bool]) -> tuple[bool, bool]:
        """Whether to fetch, and whether the lease is held."""
        until_s = time.monotonic() + self._patience_s
        while not arrived():
            try:
                leased = lease.acquire()
            except Cancelled:
                raise
            except HubfsError as error:
                _log.debug("No turns are taken: %s", error)
                return True, False
            if leased:
                self._keep(lease)
                self._tier.look_again(model)
                if arrived():  # before it was acquired
                    self._give_back(lease)
                    return False, False
                return True, True
            if time.monotonic() >= until_s:
                return True, False
            self._cancellation.sleep(self._poll_s)
            self._tier.look_again(model)
        return False, False

    def _keep(self, lease: Lease) -> None:
        with self._lock:
            self._held.add(lease)
            begin, self._refreshing = not self._refreshing, True
        if begin:
            try:
                threading.Thread(target=self._refresh, name="leases", daemon=True).start()
            except RuntimeError as error:  # no thread is left: the lease lapses, and another daemon may fetch, too
                with self._lock:
                    self._refreshing = False
                _log.debug("Leases are not refreshed: %s", error)

    def _give_back(self, lease: Lease) -> None:
        with self._lock:
            self._held.discard(lease)
        try:
            lease.release()
        except HubfsError as error:
            _log.debug("A lease lapses, for it cannot be given back: %s", error)

    def _refresh(self) -> None:
        """Refreshes what is held, until nothing is, or the mount goes away."""
        try:
            while True:
                self._cancellation.sleep(self._ttl_s / 3)
                with self._lock:
                    held = list(self._held)
                    if not held:
                        self._refreshing = False
                        return
                for lease in held:
                    self._refresh_one(lease)
        except Cancelled:
            return

    def _refresh_one(self, lease: Lease) -> None:
        try:
            lease.refresh()
            with self._lock:
                given_back = lease not in self._held
            if given_back:
                lease.release()  # it came to life again
        except Cancelled:
            raise
        except HubfsError as error:
            _log.debug("A lease cannot be refreshed: %s", error)
