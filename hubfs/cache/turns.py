"""Turns: daemons that share what they keep agree on which of them fetches; the others wait for what it keeps."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from hubfs.cache.block_cache import CacheKey
from hubfs.cache.disk.indexes import Index
from hubfs.errors import Cancelled
from hubfs.waiting import Cancellation

_log = logging.getLogger(__name__)
_Lease = TypeVar("_Lease")

Member = Mapping[str, Any]
"""An entry of an archive as the archive's index has it, JSON."""

PATIENCE_S = 1800.0
"""Nobody waits longer for others, however lively they are."""

Arrived = Callable[[Sequence[Member] | None], bool]
"""Whether another daemon's pass has brought all that is waited for. It may be asked often.

While that pass runs, the argument is the members that began since the last call. `None` says that a pass may have ended
since: then the index is looked for, too.
"""


@dataclass(frozen=True)
class Turn:
    """What a daemon was told when it asked for its turn: `mine` if it must fetch.

    It calls `tell` for each member that begins, and `let_go` once nobody else will find what it fetches: both cost
    nothing where nobody listens, and never raise.
    """

    mine: bool
    tell: Callable[[Member], None] = lambda _: None
    let_go: Callable[[], None] = lambda: None


class Turns(Protocol):
    """Agrees with other daemons on who fetches what.

    No method raises but `Cancelled` and what the caller's own functions raise: if nothing can be agreed, all fetch.
    """

    @property
    def others_wait(self) -> bool:
        """Whether daemons of other machines may be waiting for what this one fetches.

        A pass does not wait for its own readers then, and blocks are fetched in the store's runs.
        """
        ...

    def pass_turn(self, model: str, arrived: Arrived) -> AbstractContextManager[Turn]:
        """Waits until it is this daemon's turn to make a pass over the archive of `model`, or `arrived`."""
        ...

    def run_turn(self, key: CacheKey, run: range, arrived: Callable[[], bool]) -> AbstractContextManager[None]:
        """Waits until it is this daemon's turn to fetch the blocks `run` of a file, or `arrived()`.

        `arrived` is called at least once, at last when nobody else fetches; the caller fetches what is missing then.
        """
        ...

    def index(self, model: str) -> Index | None:
        """The index of a model that another daemon completed meanwhile."""
        ...


class NoTurns:
    """`Turns` of a daemon that keeps nothing for others: it fetches what it wants."""

    @property
    def others_wait(self) -> bool:
        """Nobody does."""
        return False

    @contextmanager
    def pass_turn(self, model: str, arrived: Arrived) -> Iterator[Turn]:  # noqa: ARG002 - the protocol's signature
        """It is this daemon's turn, always."""
        yield Turn(mine=True)

    @contextmanager
    def run_turn(self, key: CacheKey, run: range, arrived: Callable[[], bool]) -> Iterator[None]:  # noqa: ARG002 - the protocol's signature
        """It is this daemon's turn, always."""
        arrived()
        yield

    def index(self, model: str) -> Index | None:  # noqa: ARG002 - the protocol's signature
        """None: no other daemon is known."""
        return None


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
