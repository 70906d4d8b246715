"""How far a fetch is: the rate, the time that is left, and how both are told."""

from collections import deque

_WINDOW_S = 10.0
"""The rate is that of the last seconds: a link changes."""

_MINUTE_S = 60


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


def size(size_bytes: float) -> str:
    """A number of bytes for people: `12 kB`, `3.4 MB`."""
    for unit, digits in (("B", 0), ("kB", 0), ("MB", 1), ("GB", 2)):
        if size_bytes < 1000 or unit == "GB":  # noqa: PLR2004 - as the units have it
            return f"{size_bytes:.{digits}f} {unit}"
        size_bytes /= 1000
    raise AssertionError


def duration(seconds: float) -> str:
    """A time for people: `7 s`, `2:05 min`, `1:02:05 h`."""
    whole = round(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    minutes, rest = divmod(whole, _MINUTE_S)
    if minutes < _MINUTE_S:
        return f"{minutes}:{rest:02} min"
    return f"{minutes // _MINUTE_S}:{minutes % _MINUTE_S:02}:{rest:02} h"


def line(what: str, meter: Meter) -> str:
    """One line that tells how far it is."""
    part = meter.done_bytes / meter.total_bytes if meter.total_bytes else 1.0
    left = "" if meter.left_s is None else f", {duration(meter.left_s)} left"
    came = f"{size(meter.done_bytes)} of {size(meter.total_bytes)} ({part:.0%})"
    return f"{what}: {came}, {size(meter.rate_bytes_per_s)}/s{left}"
