"""How far a fetch is: the rate, the time that is left, and the line that tells both."""

from collections import deque

from hubfs.commands.units import duration, size

_WINDOW_S = 10.0
"""The rate is that of the last seconds: a link changes."""


class Meter:
    """Counts bytes of `total_bytes` that came, at times that the caller tells in seconds. Not thread-safe."""

    def __init__(self, total_bytes: int, now_s: float) -> None:
        self.total_bytes = total_bytes
        self.done_bytes = 0
        self._began_s = now_s
        self._marks: deque[tuple[float, int]] = deque([(now_s, 0)])

    def reached(self, done_bytes: int, now_s: float) -> None:
        """So many bytes are here by now."""
        self.done_bytes = done_bytes
        self._marks.append((now_s, done_bytes))
        while len(self._marks) > 2 and now_s - self._marks[1][0] >= _WINDOW_S:  # noqa: PLR2004 - a rate is of two marks
            self._marks.popleft()

    @property
    def rate_bytes_per_s(self) -> float:
        """How fast they come; 0 where none came."""
        (since_s, first_bytes), (now_s, last_bytes) = self._marks[0], self._marks[-1]
        return (last_bytes - first_bytes) / (now_s - since_s) if now_s > since_s else 0.0

    @property
    def left_s(self) -> float | None:
        """How long the rest takes at this rate; None while nothing comes."""
        rate = self.rate_bytes_per_s
        return (self.total_bytes - self.done_bytes) / rate if rate else None


def line(what: str, meter: Meter) -> str:
    """One line that tells how far it is."""
    part = meter.done_bytes / meter.total_bytes if meter.total_bytes else 1.0
    left = "" if meter.left_s is None else f", {duration(meter.left_s)} left"
    came = f"{size(meter.done_bytes)} of {size(meter.total_bytes)} ({part:.0%})"
    return f"{what}: {came}, {size(meter.rate_bytes_per_s)}/s{left}"
