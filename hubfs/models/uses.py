"""Which models are in use."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import LRUCache, TTLCache

from hubfs.cache.block_cache import Release
from hubfs.model_id import ModelId

_KEPT = 10_000
_LOADING_S = 60.0
"""A loader opens the next file of a model sooner."""

_RECENT_S = 600.0
"""A loader closes what it has read, and its model is still one that somebody wants to hear of."""


@dataclass(frozen=True)
class Use:
    """How a model is read: the files of it that are open, and the bytes that readers got through the daemon."""

    open_files: int = 0
    read_bytes: int = 0


UNUSED = Use()


class Uses:
    """Models of which a file is open, or was within the last ten minutes.

    `_lock` guards every field below it; it is taken last.
    """

    def __init__(self, timer: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._open: Counter[ModelId] = Counter()  # how many files
        self._opened: TTLCache[ModelId, None] = TTLCache(_KEPT, _LOADING_S, timer)
        self._read_bytes: LRUCache[ModelId, int] = LRUCache(_KEPT)
        self._recent: TTLCache[ModelId, None] = TTLCache(_KEPT, _RECENT_S, timer)

    def begin(self, handle: ModelId) -> Release:
        """A file is open until the release, which is called once."""
        with self._lock:
            self._open[handle] += 1
            self._opened[handle] = None

        def release() -> None:
            with self._lock:
                self._open[handle] -= 1
                if not self._open[handle]:
                    del self._open[handle]
                self._recent[handle] = None

        return release

    def read(self, handle: ModelId, size_bytes: int) -> None:
        """A reader got so many bytes of the model."""
        with self._lock:
            self._read_bytes[handle] = self._read_bytes.get(handle, 0) + size_bytes

    def of(self, handle: ModelId) -> Use:
        """How the model is read."""
        with self._lock:
            return Use(self._open.get(handle, 0), self._read_bytes.get(handle, 0))

    def is_loading(self, handle: ModelId) -> bool:
        """Whether a file of the model was opened within the last minute."""
        with self._lock:
            return handle in self._opened

    def current(self) -> list[ModelId]:
        """All of them: those of which a file is open, then the others, of either the last one first."""
        with self._lock:
            return [*dict.fromkeys((*reversed([*self._open]), *reversed([*self._recent])))]
