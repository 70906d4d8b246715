"""How many bytes of each model the disk tier has: kept as blocks come and go, and counted behind the readers' backs."""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from hubfs.cache.block_cache import CacheKey
from hubfs.cache.disk import block_map
from hubfs.cache.disk.files import read_whole
from hubfs.cache.disk.layout import CacheLayout

_AT_ONCE_FILES = 16
_AT_ONCE_MAP_BYTES = 64 << 10
"""A model of so few files, each with so small a block map (of 5 GiB), is counted by the thread that asks."""

_AT_ONCE_FILES_A_SECOND = 1000
"""All who ask read no more maps than that: 30 ms, if they are of small files."""

_SLICE_FILES = 64
_REST = 3
"""After so many files the count rests, for so many times as long as they took: readers want the processor, too."""

_OLD_S = 60.0
_OLD_PART = 100
"""A count is made again, if somebody asks, when it is older than a minute and than a hundred times what it took: other
daemons keep blocks, too."""


@dataclass
class _Count:
    """What is known of a model. `is_doubtful`: blocks came or went unseen by the count, or twice."""

    cached_bytes: int | None = None
    is_doubtful: bool = False
    counted_at_s: float = 0.0
    took_s: float = 0.0
    generation: int = 0  # grows when the model is dropped: what was under way then counts no more


@dataclass(frozen=True)
class Write:
    """A block that is being written."""

    key: CacheKey
    index: int
    generation: int


@dataclass
class _Budget:
    """How many more files may be counted at once in the second that began at `began_s`."""

    began_s: float = 0.0
    files: int = field(default=_AT_ONCE_FILES_A_SECOND)


class BlockCounts:
    """Bytes by model; asking never reads more than a few files.

    A model that had no block when this daemon wrote the first needs no count. Another is counted when somebody asks:
    at once if it has few files, else by a thread that ends with the last model that waits.

    `_lock` guards every field below it; it is never held across I/O.
    """

    def __init__(self, layout: CacheLayout, timer: Callable[[], float] = time.monotonic) -> None:
        self._layout = layout
        self._timer = timer
        self._lock = threading.Lock()
        self._counts: dict[str, _Count] = {}
        self._writing: set[tuple[CacheKey, int]] = set()
        self._waiting: dict[str, None] = {}  # in order
        self._budget = _Budget()

    def cached_bytes(self, model: str) -> int | None:
        """What is known. None: not counted yet; the count has begun."""
        if not self._exists(model):  # never, or taken away, maybe by another daemon
            self.dropped(model)
            return 0
        with self._lock:
            count = self._counts.setdefault(model, _Count())
            age_s = self._timer() - count.counted_at_s
            is_old = age_s > max(_OLD_S, _OLD_PART * count.took_s)
            if count.cached_bytes is not None and not count.is_doubtful and not is_old:
                return count.cached_bytes
            at_once = self._may_count_at_once()
        done = at_once and self._count(model, at_once=True)
        if not done and (count.cached_bytes is None or age_s > _REST * count.took_s):
            self._count_later(model)
        with self._lock:
            return count.cached_bytes

    def begin(self, key: CacheKey, index: int) -> Write:
        """A block is about to be written, and its model may not have any yet. `end` follows."""
        with self._lock:
            count = self._counts.get(key.model)
        if count is None and not self._exists(key.model):
            with self._lock:
                self._counts.setdefault(key.model, _Count(0, counted_at_s=self._timer()))
        with self._lock:
            count = self._counts.setdefault(key.model, _Count())
            if (key, index) in self._writing:  # two at once: each may find it missing
                count.is_doubtful = True
            self._writing.add((key, index))
            return Write(key, index, count.generation)

    def end(self, write: Write, more_bytes: int) -> None:
        """It is written, and the model has so many bytes more."""
        with self._lock:
            self._writing.discard((write.key, write.index))
            count = self._counts[write.key.model]
            if count.generation != write.generation:  # dropped meanwhile: who knows which files it went to
                count.is_doubtful = True
            elif count.cached_bytes is not None:
                count.cached_bytes += more_bytes

    def doubt(self, model: str) -> None:
        """A block turned out to be damaged: it is counted anew when somebody asks."""
        with self._lock:
            if model in self._counts:
                self._counts[model].is_doubtful = True

    def dropped(self, model: str) -> None:
        """There is nothing of it any more."""
        with self._lock:
            count = self._counts.get(model)
            if count is not None:
                count.generation += 1
                count.cached_bytes, count.is_doubtful, count.counted_at_s = 0, False, self._timer()

    def _exists(self, model: str) -> bool:
        try:
            return os.path.lexists(self._layout.block_folders(model)[0])
        except OSError:
            return False

    def _may_count_at_once(self) -> bool:
        """Held: `_lock`."""
        now_s = self._timer()
        if now_s - self._budget.began_s >= 1:
            self._budget = _Budget(now_s)
        return self._budget.files > 0

    def _count(self, model: str, *, at_once: bool) -> bool:
        """Reads all block maps of a model, slowly; `at_once`, if they are few and small, else not: False.

        What is written meanwhile may be in the sum or not.
        """
        with self._lock:
            count = self._counts.setdefault(model, _Count())
            generation, before_bytes = count.generation, count.cached_bytes
            was_writing = self._is_writing(model)
        begun_s = self._timer()
        total_bytes = self._sum_at_once(model) if at_once else self._sum_slowly(model)
        if total_bytes is None:
            return False
        with self._lock:
            if count.generation == generation:
                count.is_doubtful = was_writing or self._is_writing(model) or count.cached_bytes != before_bytes
                count.cached_bytes = total_bytes
                count.counted_at_s = self._timer()
                count.took_s = count.counted_at_s - begun_s
        return True

    def _is_writing(self, model: str) -> bool:
        """Held: `_lock`."""
        return any(key.model == model for key, _ in self._writing)

    def _sum_at_once(self, model: str) -> int | None:
        found = [*islice(self._bytes_of_maps(model, _AT_ONCE_MAP_BYTES), _AT_ONCE_FILES + 1)]
        with self._lock:
            self._budget.files -= len(found)
        few = len(found) <= _AT_ONCE_FILES
        return sum(one for one in found if one is not None) if few and None not in found else None

    def _sum_slowly(self, model: str) -> int:
        maps, total_bytes = self._bytes_of_maps(model, block_map.MOST_BYTES), 0
        while True:
            begun_s = time.monotonic()
            some = [*islice(maps, _SLICE_FILES)]
            total_bytes += sum(one or 0 for one in some)
            if len(some) < _SLICE_FILES:
                return total_bytes
            time.sleep(_REST * (time.monotonic() - begun_s))

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
            try:
                self._count(model, at_once=False)
            finally:
                with self._lock:
                    del self._waiting[model]
                    is_over = not self._waiting
            if is_over:
                return

    def _bytes_of_maps(self, model: str, most_bytes: int) -> Iterator[int | None]:
        """What each block map commits to; None for one that is larger than `most_bytes`."""
        root = self._layout.block_folders(model)[0]
        return (_committed_bytes(f"{root}/{key.path}", key, most_bytes) for key in self._layout.files(model))


def _committed_bytes(path: str, key: CacheKey, most_bytes: int) -> int | None:
    try:
        data = read_whole(path, most_bytes)
    except OSError as error:
        return None if error.errno == errno.EFBIG else 0
    return sum(record.length_bytes for record in block_map.records(data, block_map.seed_of(key)))
