"""How much memory there is, and who has taken how much of it."""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

_NO_LIMIT_BYTES = 1 << 60
"""Cgroup v1 says "no limit" by a number just below 2^63."""


_IDLE_S = 20.0
"""A block that nobody read for so long after it came is not waited with any longer: its reader has stopped or gone
elsewhere, and others may fetch ahead in its place. Loaders compute for less than 2 s between two reads."""

_BLOCK_BYTES = 1 << 20
"""The largest block: so much each pass has in hand while it waits for its readers."""

Place = Hashable
"""Which block of which file."""


class MemoryBudget:
    """Bytes that are taken before memory is filled, and given back after: transfers, windows ahead, what is decoded.

    Work that is worth having but not needed asks with `try_take`, and does without if it is refused. Bytes that a
    reader waits for are taken with `take`, which never waits and is never refused: the budget may be exceeded for that
    long, and speculation ends meanwhile.

    A fetch ahead is bounded from the moment that it is asked for. A block on disk is done with as soon as it is
    there. A block that only memory keeps stays within the budget until it was read: else a reader's window would push
    its own blocks out before the reader gets to them.

    Blocks that passes over archives bring ahead of their readers are bounded by the memory for blocks: by what
    the budget, half of the memory, has not given away. Half of that is for all passes together, and the other half for
    what was read: readers come back to it in pieces, and out of order. `in` tells whether a block waits for its reader.

    `_lock` guards every field below it: `_unread` and `_passed` have size and time of arrival by place, oldest first.
    Nothing is called under it.
    """

    def __init__(
        self, limit_bytes: int, *, idle_s: float = _IDLE_S, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit_bytes = limit_bytes
        self._idle_s = idle_s
        self._timer = timer
        self._lock = threading.Lock()
        self._taken_bytes = 0
        self._unread: OrderedDict[Place, tuple[int, float]] = OrderedDict()
        self._unread_bytes = 0
        self._passes = 0
        self._passed: OrderedDict[Place, tuple[int, float]] = OrderedDict()
        self._passed_bytes = 0
        self._lost_bytes = 0

    @property
    def taken_bytes(self) -> int:
        """What is taken now; more than the limit if readers needed it."""
        return self._taken_bytes

    @property
    def free_bytes(self) -> int:
        """What `try_take` could take now."""
        return max(0, self.limit_bytes - self._taken_bytes)

    def beside_cache_bytes(self) -> int:
        """What is taken and not held by the memory tier."""
        return self._taken_bytes - self._unread_bytes

    def try_take(self, size_bytes: int) -> bool:
        """Takes all of it, or nothing and returns False."""
        with self._lock:
            if self._taken_bytes + size_bytes > self.limit_bytes:
                return False
            self._taken_bytes += size_bytes
            return True

    def take(self, size_bytes: int) -> None:
        """Takes it in any case."""
        with self._lock:
            self._taken_bytes += size_bytes

    @contextmanager
    def taken(self, size_bytes: int) -> Iterator[None]:
        """Takes it for as long as the block lasts."""
        self.take(size_bytes)
        try:
            yield
        finally:
            self.give_back(size_bytes)

    def give_back(self, size_bytes: int) -> None:
        """Of what was taken: it was read, is on disk, or did not come."""
        with self._lock:
            self._give_back(size_bytes)

    def _give_back(self, size_bytes: int) -> None:
        """Held, as for all below that begin with `_`: `_lock`."""
        if size_bytes > self._taken_bytes:
            raise ValueError(f"{size_bytes} bytes given back of {self._taken_bytes} that were taken")
        self._taken_bytes -= size_bytes

    def allowance_bytes(self) -> int:
        """How much one caller should take now to fetch ahead: half of what is free, so that others find some, too."""
        with self._lock:
            until_s = self._timer() - self._idle_s
            while self._unread:
                place, (_, arrived_s) = next(iter(self._unread.items()))
                if arrived_s > until_s:
                    break
                self._forget(place)
        return self.free_bytes // 2

    def arrived(self, place: Place, size_bytes: int) -> None:
        """Of a block that was taken: it is in memory alone, and waits for its reader."""
        with self._lock:
            before_bytes, _ = self._unread.pop(place, (0, 0.0))
            self._unread[place] = size_bytes, self._timer()
            self._unread_bytes += size_bytes - before_bytes
            self._give_back(before_bytes)

    def read(self, place: Place) -> None:
        """Somebody read the block; most blocks of most caches are not waited for, so that this costs nothing."""
        if place in self._unread or place in self._passed:
            with self._lock:
                self._forget(place)
                self._forget_passed(place)

    def __contains__(self, place: object) -> bool:
        """Whether the block is in memory alone, and waits for its reader. Takes no lock."""
        found = self._passed.get(place) or self._unread.get(place)
        return found is not None and found[1] > self._timer() - self._idle_s

    @contextmanager
    def passing(self, shared_bytes: int) -> Iterator[None]:
        """A pass runs, for as long as the block lasts, and takes `shared_bytes` to inflate."""
        with self._lock:
            self._passes += 1
            self._taken_bytes += shared_bytes
        try:
            yield
        finally:
            with self._lock:
                self._passes -= 1
                self._give_back(shared_bytes)

    def pass_bytes(self) -> int:
        """How far ahead of its readers each of the passes that run may be while only memory keeps what it brings."""
        return self._passes_bytes() // max(1, self._passes)

    def passed(self, place: Place, size_bytes: int) -> None:
        """A pass brought the block, which is in memory alone. Where there are too many, the oldest wait no longer."""
        with self._lock:
            self._forget_passed(place)
            self._passed[place] = size_bytes, self._timer()
            self._passed_bytes += size_bytes
            while self._passed and self._passed_bytes > self._passes_bytes() + self._passes * _BLOCK_BYTES:
                self._forget_passed(next(iter(self._passed)))

    def _passes_bytes(self) -> int:
        return max(0, 2 * self.limit_bytes - self._taken_bytes) // 2

    @property
    def lost_bytes(self) -> int:
        """How much a pass had brought, nothing kept, and a reader asked for: it was fetched once more."""
        return self._lost_bytes

    def lost(self, size_bytes: int) -> None:
        """Of a block: a pass had brought it, nothing kept it, and a reader asks for it."""
        with self._lock:
            self._lost_bytes += size_bytes

    def _forget(self, place: Place) -> None:
        size_bytes, _ = self._unread.pop(place, (0, 0.0))
        self._unread_bytes -= size_bytes
        self._give_back(size_bytes)

    def _forget_passed(self, place: Place) -> None:
        self._passed_bytes -= self._passed.pop(place, (0, 0.0))[0]


def available_memory_bytes(root: Path = Path("/")) -> int:
    """What this process may use: the machine's memory, or the least limit of the cgroups that it is in.

    Reads `/proc/meminfo`, `/proc/self/cgroup` and `/sys/fs/cgroup` below `root`. A limit that cannot be read does not
    count.
    """
    limits = [_physical_bytes(root), *_cgroup_limits_bytes(root)]
    return min((limit for limit in limits if limit is not None), default=_NO_LIMIT_BYTES)


def _physical_bytes(root: Path) -> int | None:
    """`MemTotal:       16316412 kB`, see proc(5)."""
    for line in _lines(root / "proc/meminfo"):
        name, _, value = line.partition(":")
        number, _, unit = value.strip().partition(" ")
        if name == "MemTotal" and number.isdecimal() and unit == "kB":
            return int(number) << 10
    return None


def _cgroup_limits_bytes(root: Path) -> Iterator[int | None]:
    """The limits of the process's own group and of those around it, see cgroups(7).

    A line is `0::PATH` for version 2, `NUMBER:CONTROLLERS:PATH` for version 1. In a container the path may be the
    host's, which is not there, while the container's own group is at the root of the file system: both are looked at.
    """
    hierarchy = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            files, top = ["memory.max", "memory.high"], hierarchy
        elif "memory" in controllers.split(","):
            files, top = ["memory.limit_in_bytes"], hierarchy / "memory"
        else:
            continue
        relative = PurePosixPath(os.path.normpath(path.lstrip("/") or "."))
        if ".." in relative.parts:  # the group is outside of what this namespace shows
            relative = PurePosixPath()
        for group in (relative, *relative.parents):
            yield from (_limit_in(top / group / file) for file in files)


def _limit_in(path: Path) -> int | None:
    """A number of bytes, or `max`."""
    for text in _lines(path):
        if text.strip().isdecimal() and int(text) < _NO_LIMIT_BYTES:
            return int(text)
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except (OSError, ValueError):  # a name that cannot be one
        return []
