"""How long things took, by class: cheap to add to, and the same for all that is timed."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

BOUNDS_S = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0)
"""What memory has, what the disk has, what a host nearby has, and what is waited for."""

_NONE = (0,) * (len(BOUNDS_S) + 1)


@dataclass(frozen=True)
class Durations:
    """How many took at most `bounds_s`, each counted in the first class that it fits, the last class
    without a bound.
    """

    bounds_s: Sequence[float] = BOUNDS_S
    counts: Sequence[int] = _NONE
    sum_s: float = 0.0

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.counts)

    def __add__(self, other: "Durations") -> "Durations":
        counts = tuple(map(int.__add__, self.counts, other.counts))
        return Durations(self.bounds_s, counts, self.sum_s + other.sum_s)


class Timings:
    """Counts durations. It has no lock: its owner adds to it under a lock of its own."""

    __slots__ = ("_counts", "_sum_s")

    def __init__(self) -> None:
        self._counts = [*_NONE]
        self._sum_s = 0.0

    def add(self, took_s: float) -> None:
        """Something took so long."""
        self._counts[bisect_left(BOUNDS_S, took_s)] += 1
        self._sum_s += took_s

    def so_far(self) -> Durations:
        """What was counted."""
        return Durations(BOUNDS_S, tuple(self._counts), self._sum_s)
