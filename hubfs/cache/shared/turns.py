"""Who fetches: one daemon of a fleet at a time, while the others wait for what it stores."""

import logging
import random
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from hubfs.cache.block_cache import CacheKey
from hubfs.cache.disk.indexes import Index
from hubfs.cache.shared.indexes import SharedIndexes
from hubfs.cache.shared.layout import Place, pass_lease_name, place_of, run_lease_name
from hubfs.cache.shared.lease import TTL_S, Lease
from hubfs.cache.shared.store import RestingStore
from hubfs.cache.shared.tier import SharedTier
from hubfs.cache.turns import PATIENCE_S, Arrived, Beats, Turn
from hubfs.errors import Cancelled, HubfsError
from hubfs.waiting import Cancellation

_log = logging.getLogger(__name__)

_LONGEST_POLL_S = 5.0

_SHARED_PAUSE = 0.75
"""Runs that wait side by side look at one listing, unless it is older than this share of their pause."""


def pause_s(poll_s: float, waited_s: float, chance: float) -> float:
    """The pause, in seconds, of a daemon that has waited `waited_s` for a lease, before it asks the store again.

    The pause is a tenth of `waited_s`, at least `poll_s`: 1,000 daemons that ask twice a second are more than a bucket
    answers. `chance`, in [0, 1), makes it up to a quarter longer or shorter, so that daemons that began together do not
    ask together.
    """
    return (0.75 + 0.5 * chance) * max(poll_s, min(_LONGEST_POLL_S, 0.1 * waited_s))


class SharedTurns:
    """`Turns` by leases on the shared store. A lease is kept until what was fetched under it is stored.

    All leases that are held are refreshed three times in `ttl_s`. There is no lock here: `Beats` has its own.
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
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._tier = tier
        self._indexes = indexes
        self._cancellation = cancellation
        self._ttl_s = ttl_s
        self._poll_s = poll_s
        self._patience_s = patience_s
        self._clock = clock
        self._timer = timer
        self._chance = chance
        self._daemon = f"{socket.gethostname()} {uuid.uuid4().hex}"
        self._beats: Beats[Lease] = Beats(self._refresh, ttl_s / 3, cancellation)

    @property
    def others_wait(self) -> bool:
        """Whether daemons of other machines may wait: not while the store is left alone."""
        return not self._store.resting

    def index(self, model: str) -> Index | None:
        """The index of a model that another daemon completed meanwhile."""
        return self._indexes.of(model)

    @contextmanager
    def pass_turn(self, model: str, arrived: Arrived) -> Iterator[Turn]:
        """Waits until it is this daemon's turn to make a pass over the model's archive, or `arrived`.

        A waiter learns nothing before the pass ends: the store gets the index last.
        """
        with self._turn(model, None, lambda: arrived(None)) as mine:
            yield Turn(mine)

    @contextmanager
    def run_turn(self, key: CacheKey, run: range, arrived: Callable[[], bool]) -> Iterator[None]:
        """Waits until it is this daemon's turn to fetch these blocks of a file, or `arrived()`.

        The leases are of the store's runs: one, or two neighbours.
        """
        with ExitStack() as turns:
            # In ascending order, so that no two daemons wait for each other.
            for place in sorted({place_of(key, index) for index in (run.start, run.stop - 1)}):
                turns.enter_context(self._turn(key.model, place, arrived))
            yield

    @contextmanager
    def _turn(self, model: str, place: Place | None, arrived: Callable[[], bool]) -> Iterator[bool]:
        """Waits for the lease of a run, or of the pass, or for `arrived()`. True if the caller must fetch, inside."""
        # Each turn is an owner of its own: two sources of one model in a daemon exclude each other, too.
        owner = f"{self._daemon} {uuid.uuid4().hex}"
        lease = Lease(
            self._store,
            pass_lease_name(model) if place is None else run_lease_name(model, place),
            owner,
            cancellation=self._cancellation,
            ttl_s=self._ttl_s,
            clock=self._clock,
            timer=self._timer,
        )
        mine, leased = self._wait(model, place, lease, arrived)
        try:
            yield mine
        finally:
            if leased:
                # The others find the lease gone only when they find the bytes, too.
                self._tier.afterwards(model, lambda: self._give_back(lease))

    def _wait(self, model: str, place: Place | None, lease: Lease, arrived: Callable[[], bool]) -> tuple[bool, bool]:
        """Whether to fetch, and whether the lease is held.

        The lease of a run is listed with the blocks, so a waiter asks for the lease itself only where it is not listed,
        and now and then, to see that the holder lives.
        """
        began_s = self._timer()
        look_s = began_s + self._poll_s
        while not arrived():
            leased, listed = False, place is not None and self._tier.leased(model, place)
            if not listed or self._timer() >= look_s or self._store.resting:
                look_s = self._timer() + self._ttl_s / 3
                try:
                    leased = lease.acquire(listed=listed)
                except Cancelled:
                    raise
                except HubfsError as error:
                    _log.debug("No turns are taken: %s", error)
                    return True, False
            if leased:
                self._beats.add(lease)
                self._tier.look_again(model, place)
                if arrived():  # before it was acquired
                    self._give_back(lease)
                    return False, False
                return True, True
            waited_s = self._timer() - began_s
            if waited_s >= self._patience_s:
                return True, False
            pause = pause_s(self._poll_s, waited_s, self._chance())
            self._cancellation.sleep(pause)
            self._tier.look_again(model, place, _SHARED_PAUSE * pause)
        return False, False

    def _give_back(self, lease: Lease) -> None:
        self._beats.discard(lease)
        try:
            lease.release()
        except HubfsError as error:
            _log.debug("A lease lapses, for it cannot be given back: %s", error)

    def _refresh(self, lease: Lease) -> None:
        try:
            lease.refresh()
            if lease not in self._beats:
                lease.release()  # it came to life again
        except Cancelled:
            raise
        except HubfsError as error:
            _log.debug("A lease cannot be refreshed: %s", error)
