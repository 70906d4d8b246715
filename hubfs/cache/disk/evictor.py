"""Eviction: the policy (pure), and its execution."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from hubfs.cache.disk.in_use import InUse
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.room import disk_usage_bytes


@dataclass(frozen=True)
class CachedModel:
    """What the policy knows of a model on disk. `used_at_s` is when it was last used, seconds since the epoch.

    `index_bytes` of `size_bytes` are what makes an archive cheap to read again without its blocks; 0 if nothing does.
    """

    model: str
    size_bytes: int
    used_at_s: float
    index_bytes: int = 0


@dataclass(frozen=True)
class Eviction:
    """A model that goes; without `whole`, its blocks alone."""

    model: CachedModel
    whole: bool

    @property
    def freed_bytes(self) -> int:
        """What becomes free."""
        return self.model.size_bytes if self.whole else self.model.size_bytes - self.model.index_bytes


def plan_eviction(models: Iterable[CachedModel], free_bytes: int) -> list[Eviction]:
    """What goes so that `free_bytes` become free, the least recently used first, and indexes of archives last of all.

    An index is a hundredth of its archive, and saves fetching all of it for one byte. All may be too few: then all are
    named.
    """
    ordered = sorted(models, key=lambda model: (model.used_at_s, model.model))
    plan: dict[str, Eviction] = {}
    freed_bytes = 0
    for whole in (False, True):
        for model in ordered:
            if freed_bytes >= free_bytes:
                break
            eviction = Eviction(model, whole or not model.index_bytes)
            before = plan.get(model.model)
            gained_bytes = eviction.freed_bytes - (before.freed_bytes if before else 0)
            if gained_bytes:
                plan[model.model] = eviction
                freed_bytes += gained_bytes
    return list(plan.values())


_log = logging.getLogger(__name__)


TakeAway = Callable[[str, bool], Callable[[], None]]
"""Makes a model (True: the whole of it) vanish at once, and returns what frees its room."""


class Evictor:
    """Evicts models that no process holds: `take_away` is called while nobody can begin to hold the model.

    `_evicting` is held by the one thread that makes room, over I/O, and only ever tried, never waited for.
    """

    def __init__(self, layout: CacheLayout, in_use: InUse, take_away: TakeAway) -> None:
        self._layout = layout
        self._in_use = in_use
        self._take_away = take_away
        self._evicting = threading.Lock()

    def make_room(self, wanted_bytes: int) -> bool:
        """Frees `wanted_bytes`, or as much as there is to free.

        False if another thread does just that: there will be room soon. Raises OSError.
        """
        if not self._evicting.acquire(blocking=False):
            return False
        try:
            for eviction in plan_eviction(self._idle_models(), wanted_bytes):
                model = eviction.model.model
                with self._in_use.idle(model) as idle:
                    if not idle:
                        continue
                    _log.info("Evicting %s (%d bytes) from the disk cache", model, eviction.freed_bytes)
                    free = self._take_away(model, eviction.whole)
                free()  # may take seconds: who wants to hold the model meanwhile is not to wait
        finally:
            self._evicting.release()
        return True

    def _idle_models(self) -> Iterator[CachedModel]:
        """Held: `_evicting`."""
        for model in self._layout.models():
            with self._in_use.idle(model) as idle:
                pass  # not longer than to look: who wants to hold it meanwhile has to wait
            with contextlib.suppress(OSError):
                if idle:
                    used_at_s = self._layout.in_use(model).stat().st_mtime
                    size_bytes = disk_usage_bytes(self._layout.model(model))
                    yield CachedModel(model, size_bytes, used_at_s, self._index_bytes(model))

    def _index_bytes(self, model: str) -> int:
        try:
            return sum(
                path.stat().st_blocks * 512 for path in (self._layout.archive_index(model), self._layout.index(model))
            )
        except FileNotFoundError:
            return 0  # one without the other is of no use
