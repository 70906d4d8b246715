"""What to evict: a pure policy."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class CachedModel:
    """What the policy knows of a model on disk. `used_at_s` is when it was last used, seconds since the epoch."""

    model: str
    size_bytes: int
    used_at_s: float


def plan_eviction(models: Iterable[CachedModel], free_bytes: int) -> list[CachedModel]:
    """Which models go so that `free_bytes` become free, the least recently used first.

    They may be too few: then all are named.
    """
    plan: list[CachedModel] = []
    freed_bytes = 0
    for model in sorted(models, key=lambda model: (model.used_at_s, model.model)):
        if freed_bytes >= free_bytes:
            break
        plan.append(model)
        freed_bytes += model.size_bytes
    return plan
