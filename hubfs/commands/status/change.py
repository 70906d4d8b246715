"""What happened between two looks at a mount (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Status = Mapping[str, Any]
"""What `status.json` says."""


@dataclass(frozen=True)
class Transfer:
    """A model that is coming: how fast, and how much is here and to come, as far as that is known."""

    handle: str
    rate_bytes_per_s: float
    done_bytes: int
    to_come_bytes: int | None

    @property
    def part(self) -> float | None:
        """How much of the whole is here."""
        if self.to_come_bytes is None:
            return None
        whole_bytes = self.done_bytes + self.to_come_bytes
        return self.done_bytes / whole_bytes if whole_bytes else 1.0

    @property
    def left_s(self) -> float | None:
        """How long the rest takes at this rate."""
        if self.to_come_bytes is None or self.rate_bytes_per_s <= 0:
            return None
        return self.to_come_bytes / self.rate_bytes_per_s


@dataclass(frozen=True)
class Operation:
    """Requests of the kernel of one kind: how many a second, how long one took, and how many a second failed."""

    kind: str
    per_s: float
    mean_s: float
    errors_per_s: float


class Change:
    """`now` beside what the same daemon said `before`: without that, nothing is known of rates."""

    def __init__(self, before: Status | None, now: Status) -> None:
        is_same = before is not None and before["pid"] == now["pid"] and before["uptime_s"] < now["uptime_s"]
        self.now = now
        self._before = before if is_same else None
        self.over_s: float | None = None if self._before is None else now["uptime_s"] - self._before["uptime_s"]
        self._models = {} if self._before is None else {model["handle"]: model for model in self._before["models"]}

    def per_s(self, *path: str) -> float | None:
        """How much more there was of a figure, a second; None if that is not known. A figure is 0 until it is told."""
        if self._before is None or self.over_s is None:
            return None
        return max(0.0, _figure(self.now, path) - _figure(self._before, path)) / self.over_s

    def hit_rate(self, tier: str) -> float | None:
        """How many of the looks into a tier found something; None if nobody looked."""
        hits, misses = (self.per_s("cache", tier, name) or 0.0 for name in ("hits", "misses"))
        return hits / (hits + misses) if hits + misses else None

    def from_cache(self) -> float | None:
        """Bytes that all tiers of the cache had, a second."""
        rates = [self.per_s("cache", tier, "hit_bytes") for tier in self.now["cache"]]
        return None if None in rates else sum(filter(None, rates))

    def read_rate(self, model: Status) -> float:
        """Bytes of a model that readers got through the daemon, a second."""
        return max(0.0, self._grown(model, "read_bytes", new=0))

    def activity(self, model: Status) -> tuple[float, int]:
        """Orders models by what happens to them: bytes that were read or came, then how many files are open."""
        return self.read_rate(model) + abs(self._grown(model, "cached_bytes")), model.get("open_files") or 0

    def transfers(self) -> list[Transfer]:
        """The models that are coming, the fastest first: those that stream, and those of which more is cached now."""
        found = []
        for model in self.now["models"]:
            if "form" not in model:
                continue
            cached_bytes, to_come_bytes = model["cached_bytes"], model["to_come_bytes"]
            if model["streaming"]:  # of an archive, its own bytes count
                rate = max(0.0, self._grown(model, "came_bytes"))
                found.append(Transfer(model["handle"], rate, model["came_bytes"], to_come_bytes))
            elif (rate := self._grown(model, "cached_bytes")) > 0:
                left_bytes = None if model["size_bytes"] is None else max(0, model["size_bytes"] - cached_bytes)
                found.append(Transfer(model["handle"], rate, cached_bytes, left_bytes))
        return sorted(found, key=lambda one: -one.rate_bytes_per_s)

    def operations(self) -> list[Operation]:
        """The kinds of requests that there were, the most frequent first."""
        found = []
        for kind, told in self.now.get("operations", {}).items():
            calls = self.per_s("operations", kind, "count")
            took_s = self.per_s("operations", kind, "duration", "sum_s") or 0.0
            failed = sum(self.per_s("operations", kind, "errors", name) or 0.0 for name in told["errors"])
            if calls:
                found.append(Operation(kind, calls, took_s / calls, failed))
        return sorted(found, key=lambda one: -one.per_s)

    def _grown(self, model: Status, name: str, *, new: int | None = None) -> float:
        """How much a figure of a model grew, a second; 0 if that is not known. `new`: what it was of a new model."""
        now, before = model.get(name), self._models.get(model["handle"], {}).get(name, new)
        return 0.0 if not self.over_s or now is None or before is None else float(now - before) / self.over_s


def _figure(status: Status, path: tuple[str, ...]) -> float:
    value: Any = status
    for name in path:
        value = value.get(name)
        if value is None:
            return 0
    return float(value)
