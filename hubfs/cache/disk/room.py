"""How much room the disk tier has: what it holds, what is coming, what must stay free, and when it rests."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

_REST_S = 10.0
"""After the disk refused (full, over budget with all models in use), it is not asked again for so long."""

_COUNTS = 32
"""What is on disk is counted anew each time that the tier kept this fraction of its limit: other mounts keep, too."""


_AT_ONCE_FILES = 1000
"""A cache of fewer files is counted by the thread that asks for a status, in a few milliseconds."""


@dataclass(frozen=True)
class DiskSettings:
    """`limit_bytes` bounds what the tier holds; `reserve_bytes` of the file system stay free whatever the limit.

    But not more than `reserve_part` of it.
    """

    limit_bytes: int
    reserve_bytes: int
    reserve_part: float = 1.0


@dataclass(frozen=True)
class Space:
    """A file system: what it takes in all, and what may still be written."""

    total_bytes: int
    free_bytes: int


def excess_bytes(settings: DiskSettings, used_bytes: int, coming_bytes: int, space: Space) -> int:
    """How many bytes are too many once what is coming is kept, by the limit or by what must stay free; ≤ 0: none."""
    over_limit_bytes = used_bytes + coming_bytes - settings.limit_bytes
    reserve_bytes = min(settings.reserve_bytes, int(space.total_bytes * settings.reserve_part))
    return max(over_limit_bytes, reserve_bytes + coming_bytes - space.free_bytes)


class Room:
    """Keeps account of the room below `root`, where `holds` has what counts against the limit.

    `_lock` guards every field below it; it is never held across I/O.
    """

    def __init__(self, settings: DiskSettings, root: Path, holds: Path) -> None:
        self._settings = settings
        self._root = root
        self._holds = holds
        self._lock = threading.Lock()
        self._used_bytes: int | None = None  # as of the last count, and kept since
        self._is_to_count = True
        self._is_counting = False  # for who only asks
        self._kept_bytes = 0  # since that was counted
        self._coming_bytes = 0  # of blocks that are being kept just now
        self._resting_until_s = 0.0
        self._problem: str | None = None  # why it rests

    @property
    def problem(self) -> str | None:
        """Why nothing is kept just now; None if that is not the disk's fault."""
        with self._lock:
            return self._problem

    @property
    def is_resting(self) -> bool:
        """Whether the disk refused a moment ago."""
        with self._lock:
            return time.monotonic() < self._resting_until_s

    def rest(self, error: OSError | None = None) -> None:
        """The disk refused: with `error`, or because nothing more could be evicted."""
        with self._lock:
            self._resting_until_s = time.monotonic() + _REST_S
            if error is not None:
                self._problem = error.strerror or str(error)

    @contextlib.contextmanager
    def coming(self, space_bytes: int) -> Iterator[None]:
        """Meanwhile so much is about to be kept: who else asks for room is told of it."""
        with self._lock:
            self._coming_bytes += space_bytes
        try:
            yield
        finally:
            with self._lock:
                self._coming_bytes -= space_bytes

    def kept(self, space_bytes: int) -> None:
        """So much was kept, 0 if it was there before; so the disk works."""
        with self._lock:
            self._problem = None
            self._kept_bytes += space_bytes
            if self._used_bytes is not None:
                self._used_bytes += space_bytes

    def count_anew(self) -> None:
        """Something was taken away, or somebody else may have: what is used is counted when it is asked for next."""
        with self._lock:
            self._is_to_count = True

    def used_bytes(self) -> int:
        """What there is, those files included that other mounts keep; counted when it is time for that."""
        with self._lock:
            is_recent = not self._is_to_count and self._kept_bytes <= self._settings.limit_bytes // _COUNTS
            if is_recent and self._used_bytes is not None:
                return self._used_bytes
            self._kept_bytes, self._is_to_count = 0, False
        used_bytes = disk_usage_bytes(self._holds)
        with self._lock:
            self._used_bytes = used_bytes
        return used_bytes

    def known_bytes(self) -> int | None:
        """What was used by the last count, and was kept since; None if that is not known yet.

        Asking costs the same however much there is: a large cache is counted in a thread.
        """
        with self._lock:
            if not self._is_to_count or self._is_counting:
                return self._used_bytes
            self._is_to_count, self._is_counting = False, True
        some = [*islice(_disk_usages_bytes(self._holds), _AT_ONCE_FILES)]
        with self._lock:
            is_all = len(some) < _AT_ONCE_FILES
            if is_all:  # what was kept meanwhile may be in it or not, as in `used_bytes`
                self._used_bytes, self._kept_bytes, self._is_counting = sum(some), 0, False
            else:
                self._is_to_count = True
        if not is_all:
            threading.Thread(target=self._count, name="count disk", daemon=True).start()
        with self._lock:
            return self._used_bytes

    def _count(self) -> None:
        try:
            self.used_bytes()
        finally:
            with self._lock:
                self._is_counting = False

    def excess_bytes(self) -> int:
        """See the function of this name. Raises OSError."""
        used_bytes = self.used_bytes()
        with self._lock:
            coming_bytes = self._coming_bytes
        found = os.statvfs(self._root)
        space = Space(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)
        return excess_bytes(self._settings, used_bytes, coming_bytes, space)


def disk_usage_bytes(root: Path) -> int:
    """What the files below `root` take on disk; holes in sparse files take nothing.

    A file of several names counts once: a part of it by each name.
    """
    return sum(_disk_usages_bytes(root))


def _disk_usages_bytes(root: Path) -> Iterator[int]:
    for folder, _, names in os.walk(root):
        for name in names:
            with contextlib.suppress(OSError):
                found = os.lstat(os.path.join(folder, name))  # noqa: PTH118 - half the time of Path
                yield found.st_blocks * 512 // found.st_nlink
