"""What to evict: a pure policy."""

from collections.abc import Iterable
from dataclasses import dataclass


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
