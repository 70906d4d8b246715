"""How much memory there is, and who has taken how much of it."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

_NO_LIMIT_BYTES = 1 << 60
"""Cgroup v1 says "no limit" by a number just below 2^63."""


class MemoryBudget:
    """Bytes that are taken before memory is filled, and given back after: transfers, windows ahead, what is decoded.

    What is worth having but not needed asks with `try_take`, and does without if it is refused. What a reader waits for
    is taken with `take`, which never waits and is never refused: the budget may be exceeded for that long, and
    speculation ends meanwhile. `_lock` guards `_taken_bytes`; nothing is called under it.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._taken_bytes = 0

    @property
    def limit_bytes(self) -> int:
        """Up to where `try_take` takes."""
        return self._limit_bytes

    @property
    def taken_bytes(self) -> int:
        """What is taken now; more than the limit if readers needed it."""
        return self._taken_bytes

    @property
    def free_bytes(self) -> int:
        """What `try_take` could take now."""
        return max(0, self._limit_bytes - self._taken_bytes)

    def try_take(self, size_bytes: int) -> bool:
        """Takes all of it, or nothing and returns False."""
        with self._lock:
            if self._taken_bytes + size_bytes > self._limit_bytes:
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
        """Of what was taken."""
        with self._lock:
            if size_bytes > self._taken_bytes:
                raise ValueError(f"{size_bytes} bytes given back of {self._taken_bytes} that were taken")
            self._taken_bytes -= size_bytes


def available_memory_bytes(root: Path = Path("/")) -> int:
    """What this process may use: the machine's memory, or the least limit of the cgroups that it is in.

    Reads `/proc/meminfo`, `/proc/self/cgroup` and `/sys/fs/cgroup` below `root`. What cannot be read does not limit.
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
