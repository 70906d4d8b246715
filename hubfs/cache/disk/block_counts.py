"""How many bytes of each model the disk tier has: kept as blocks come and go, and counted behind the readers' backs."""

import contextlib
import errno
import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hubfs.cache.block_cache import CacheKey
from hubfs.cache.disk.files import read_whole
from hubfs.cache.disk.layout import CacheLayout

MOST_MAP_BYTES = 64 << 20
"""No block map is larger: it would be of a file of 5 TB."""

_AT_ONCE_FILES = 16
_AT_ONCE_MAP_BYTES = 64 << 10
"""A model of so few files, each with so small a block map (of 5 GiB), is counted by the thread that asks."""

_SLICE_FILES = 64
_REST = 3
"""After so many files the count rests, for so many times as long as they took: readers want the processor, too."""

_OLD_S = 60.0
_OLD_PART = 100
"""A count is made again, if somebody asks, when it is older than a minute and than a hundred times what it took: other
daemons keep blocks, too."""


@dataclass(eq=False)
class Count:
    """What is known of a model, from its first block to the day when it is dropped.

    `good_until_s`: it is counted anew when somebody asks later. `writing`: the blocks that are being written, `begun`
    of which there were.
    """

    cached_bytes: int | None = None
    good_until_s: float = -math.inf
    writing: set[tuple[str, int]] = field(default_factory=set)
    begun: int = 0


class BlockCounts:
    """Bytes by model; asking never reads more than a few files. `committed_bytes` says it of the content of a map.

    A model that had no block when this daemon wrote the first needs no count. Another is counted when somebody asks:
    at once if it has few files, else by a thread that ends with the last model that waits.

    `_lock` guards every field below it, and of each `Count`; it is never held across I/O.
    """

    def __init__(self, layout: CacheLayout, committed_bytes: Callable[[bytes, CacheKey], int]) -> None:
        self._layout = layout
        self._committed_bytes = committed_bytes
        self._timer = time.monotonic
        self._lock = threading.Lock()
        self._counts: dict[str, Count] = {}
        self._waiting: dict[str, None] = {}  # in order

    def cached_bytes(self, model: str) -> int | None:
        """What is known. None: not counted yet; the count has begun."""
        if not self._exists(model):  # never, or taken away, maybe by another daemon
            self.dropped(model)
            return 0
        with self._lock:
            count = self._counts.setdefault(model, Count())
            if self._timer() < count.good_until_s or model in self._waiting:
                return count.cached_bytes
        if not self._count(model, at_once=True):
            self._count_later(model)
        with self._lock:
            return self._counts[model].cached_bytes

    def begin(self, key: CacheKey, index: int) -> Count:
        """A block is about to be written, and its model may not have any yet. `end` follows."""
        with self._lock:
            count = self._counts.get(key.model)
        if count is None:
            count = Count() if self._exists(key.model) else self._nothing()
        with self._lock:
            count = self._counts.setdefault(key.model, count)
            if (key.path, index) in count.writing:  # two at once: each may find it missing
                count.good_until_s = -math.inf
            count.writing.add((key.path, index))
            count.begun += 1
            return count

    def end(self, count: Count, key: CacheKey, index: int, more_bytes: int) -> None:
        """It is written, and the model has so many bytes more."""
        with self._lock:
            count.writing.discard((key.path, index))
            if self._counts[key.model] is not count:  # dropped meanwhile: nobody knows which files it went to
                self._counts[key.model].good_until_s = -math.inf
            elif count.cached_bytes is not None:
                count.cached_bytes += more_bytes

    def doubt(self, model: str) -> None:
        """A block turned out to be damaged: it is counted anew when somebody asks."""
        with self._lock:
            if model in self._counts:
                self._counts[model].good_until_s = -math.inf

    def dropped(self, model: str) -> None:
        """There is nothing of it any more."""
        with self._lock:
            if model in self._counts:
                self._counts[model] = self._nothing()

    def _nothing(self) -> Count:
        return Count(0, self._timer() + _OLD_S)

    def _exists(self, model: str) -> bool:
        try:
            return os.path.lexists(self._layout.block_folders(model)[0])
        except OSError:
            return False

    def _count(self, model: str, *, at_once: bool) -> bool:
        """Reads all block maps of a model, slowly; `at_once`, if they are few and small, else not: False.

        A block that is written meanwhile may be in the sum or not: the sum is soon made again.
        """
        with self._lock:
            count = self._counts[model]
            begun, is_quiet = count.begun, not count.writing
        begun_s = self._timer()
        total_bytes = self._sum(model, at_once=at_once)
        if total_bytes is None:
            return False
        with self._lock:
            now_s = self._timer()
            took_s = now_s - begun_s
            is_sure = is_quiet and count.begun == begun
            count.cached_bytes = total_bytes
            count.good_until_s = now_s + (max(_OLD_S, _OLD_PART * took_s) if is_sure else _REST * took_s)
        return True

    def _sum(self, model: str, *, at_once: bool) -> int | None:
        """What the block maps commit to. None if there are too many, or too large ones, for a thread that waits."""
        root, total_bytes, begun_s = self._layout.block_folders(model)[0], 0, time.monotonic()
        for number, key in enumerate(self._layout.files(model)):
            if at_once and number >= _AT_ONCE_FILES:
                return None
            if number and not number % _SLICE_FILES:
                time.sleep(_REST * (time.monotonic() - begun_s))
                begun_s = time.monotonic()
            try:
                data = read_whole(f"{root}/{key.path}", _AT_ONCE_MAP_BYTES if at_once else MOST_MAP_BYTES)
            except OSError as error:
                if at_once and error.errno == errno.EFBIG:
                    return None
                continue
            total_bytes += self._committed_bytes(data, key)
        return total_bytes

    def _count_later(self, model: str) -> None:
        with self._lock:
            is_first = not self._waiting
            self._waiting[model] = None
        if is_first:
            threading.Thread(target=self._count_all, name="count blocks", daemon=True).start()

    def _count_all(self) -> None:
        while True:
            with self._lock:
                model = next(iter(self._waiting))
            with contextlib.suppress(OSError):  # the others wait, too
                self._count(model, at_once=False)
            with self._lock:
                del self._waiting[model]
                if not self._waiting:
                    return
