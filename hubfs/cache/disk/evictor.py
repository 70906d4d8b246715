"""Eviction: the policy (pure), and its execution. Why models go as wholes: docs/decisions/eviction.md."""

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from hubfs.cache.disk.store import CachedModel, DiskStore

_log = logging.getLogger(__name__)


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
    named. A model that is pinned or in use never goes.
    """
    idle = (model for model in models if not (model.pinned or model.in_use))
    ordered = sorted(idle, key=lambda model: (model.used_at_s, model.model))
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


class Evictor:
    """Evicts models of `store` that no process holds.

    `_evicting` is held by the one thread that makes room, over I/O, and only ever tried, never waited for.
    """

    def __init__(self, store: DiskStore) -> None:
        self._store = store
        self._evicting = threading.Lock()

    def make_room(self, wanted_bytes: int) -> bool:
        """Frees `wanted_bytes`, or as much as there is to free.

        False if another thread does just that: there will be room soon. Raises OSError.
        """
        if not self._evicting.acquire(blocking=False):
            return False
        try:
            found = filter(None, map(self._store.facts, self._store.models()))
            for eviction in plan_eviction(found, wanted_bytes):
                model = eviction.model.model
                if self._store.remove(model, blocks_only=not eviction.whole):
                    _log.info("Evicted %s (%d bytes) from the disk cache", model, eviction.freed_bytes)
        finally:
            self._evicting.release()
        return True
