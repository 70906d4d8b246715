"""What is fetched before anybody asked for it: how much of it there may be, over all files."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey
from hubfs.memory_budget import MemoryBudget

_IDLE_S = 20.0
"""A block that nobody read for so long after it came is not waited with any longer: its reader has stopped or gone
elsewhere, and others may fetch ahead in its place. Longer than TensorFlow computes between two reads (under 2 s)."""

Place = tuple[CacheKey, int]


class Ahead:
    """Bounds what is fetched ahead by a budget, from the moment that it is asked for.

    A block on disk is done with as soon as it is there. A block that only memory keeps stays within the budget until it
    was read: else a reader's window would push its own blocks out before the reader gets to them.

    What passes over archives bring ahead of their readers is bounded by the memory that is there for blocks: by what
    the budget, half of the memory, has not given away. Half of that is for all passes together, and the other half for
    what was read: readers come back to it in pieces, and out of order. `in` tells whether a block waits for its reader.

    `_lock` guards `_unread` and `_passed` (size and time of arrival by place, oldest first), the bytes in either,
    `_passes` and `_lost_bytes`; it is taken before the budget's.
    """

    def __init__(
        self, budget: MemoryBudget, *, idle_s: float = _IDLE_S, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._budget = budget
        self._idle_s = idle_s
        self._timer = timer
        self._lock = threading.Lock()
        self._unread: OrderedDict[Place, tuple[int, float]] = OrderedDict()
        self._unread_bytes = 0
        self._passes = 0
        self._passed: OrderedDict[Place, tuple[int, float]] = OrderedDict()
        self._passed_bytes = 0
        self._lost_bytes = 0

    @property
    def beside_cache_bytes(self) -> int:
        """What is taken of the budget and not held by the memory tier."""
        return self._budget.taken_bytes - self._unread_bytes

    def allowance_bytes(self) -> int:
        """How much one caller should begin now: half of what is free, so that there is some left for who comes next."""
        self._forget_idle()
        return self._budget.free_bytes // 2

    def try_begin(self, size_bytes: int) -> bool:
        """Takes memory for a block to be fetched ahead, if there is any."""
        return self._budget.try_take(size_bytes)

    def begin(self, size_bytes: int) -> None:
        """Takes memory for a block that a reader waits for."""
        self._budget.take(size_bytes)

    def end(self, size_bytes: int) -> None:
        """Of a block that was begun: it was read, is on disk, or did not come."""
        self._budget.give_back(size_bytes)

    def arrived(self, place: Place, size_bytes: int) -> None:
        """Of a block that was begun: it is in memory alone, and waits for its reader."""
        with self._lock:
            before_bytes, _ = self._unread.pop(place, (0, 0.0))
            self._unread[place] = size_bytes, self._timer()
            self._unread_bytes += size_bytes - before_bytes
            self._budget.give_back(before_bytes)

    def read(self, place: Place) -> None:
        """Somebody read the block; most blocks of most caches are not waited for, so that this costs nothing."""
        if place in self._unread:
            with self._lock:
                self._forget(place)
        if place in self._passed:
            with self._lock:
                self._forget_passed(place)

    def __contains__(self, place: object) -> bool:
        """Whether the block is in memory alone, and waits for its reader. Takes no lock."""
        found = self._passed.get(place) or self._unread.get(place)  # type: ignore[call-overload]  # as `in` has it
        return found is not None and found[1] > self._timer() - self._idle_s

    @contextmanager
    def passing(self, shared_bytes: int) -> Iterator[None]:
        """A pass runs, for as long as the block lasts, and takes `shared_bytes` to inflate."""
        with self._budget.taken(shared_bytes):
            with self._lock:
                self._passes += 1
            try:
                yield
            finally:
                with self._lock:
                    self._passes -= 1

    def pass_bytes(self) -> int:
        """How far ahead of its readers each of the passes that run may be while only memory keeps what it brings."""
        return self._passes_bytes() // max(1, self._passes)

    def passed(self, place: Place, size_bytes: int) -> None:
        """A pass brought the block, which is in memory alone. Where there are too many, the oldest wait no longer."""
        with self._lock:
            self._forget_passed(place)
            self._passed[place] = size_bytes, self._timer()
            self._passed_bytes += size_bytes
            in_hand_bytes = self._passes * BLOCK_SIZE_BYTES  # the block in front of which each pass waits
            while self._passed and self._passed_bytes > self._passes_bytes() + in_hand_bytes:
                self._forget_passed(next(iter(self._passed)))

    def _passes_bytes(self) -> int:
        return max(0, 2 * self._budget.limit_bytes - self._budget.taken_bytes) // 2

    @property
    def lost_bytes(self) -> int:
        """How much a pass had brought, nothing kept, and a reader asked for: it was fetched once more."""
        return self._lost_bytes

    def lost(self, size_bytes: int) -> None:
        """Of a block: see `lost_bytes`."""
        with self._lock:
            self._lost_bytes += size_bytes

    def _forget_idle(self) -> None:
        with self._lock:
            until_s = self._timer() - self._idle_s
            while self._unread:
                place, (_, arrived_s) = next(iter(self._unread.items()))
                if arrived_s > until_s:
                    return
                self._forget(place)

    def _forget(self, place: Place) -> None:
        """Held: `_lock`."""
        size_bytes, _ = self._unread.pop(place, (0, 0.0))
        self._unread_bytes -= size_bytes
        self._budget.give_back(size_bytes)

    def _forget_passed(self, place: Place) -> None:
        """Held: `_lock`."""
        self._passed_bytes -= self._passed.pop(place, (0, 0.0))[0]
