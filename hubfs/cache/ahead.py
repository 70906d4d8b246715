"""What is fetched before anybody asked for it: how much of it there may be, over all files."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from hubfs.cache.block_cache import CacheKey
from hubfs.memory_budget import MemoryBudget

_IDLE_S = 20.0
"""A block that nobody read for so long after it came is not waited with any longer: its reader has stopped or gone
elsewhere, and others may fetch ahead in its place. Longer than TensorFlow computes between two reads (under 2 s)."""

Place = tuple[CacheKey, int]


class Ahead:
    """Bounds what is fetched ahead by a budget, from the moment that it is asked for.

    A block on disk is done with as soon as it is there. A block that only memory keeps stays within the budget until it
    was read: else a reader's window would push its own blocks out before the reader gets to them. `_lock` guards
    `_unread` (size and time of arrival by place, oldest first) and `_unread_bytes`; it is taken before the budget's.
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
