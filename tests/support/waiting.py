"""How a test waits: for a condition, with a bound; and for threads that have joined somebody else's work."""

import sys
import threading
import time
import weakref
from collections.abc import Callable
from types import FrameType

from hubfs.waiting import Cancellation, await_result

_WAITS = {Cancellation.wait_for.__code__, await_result.__code__}


_STALL_S = 0.25
"""A sleep that lasts so much longer than it should says that the machine stood still."""


def eventually(condition: Callable[[], object], timeout_s: float = 60) -> bool:
    """Whether `condition` comes true in time. It is asked again after a millisecond first, every 50 ms at last.

    Seconds in which the machine stood still between two looks do not count.
    """
    deadline_s = time.monotonic() + timeout_s
    pause_s = 0.001
    while not condition():
        if time.monotonic() > deadline_s:
            return bool(condition())
        deadline_s += _stalled_s(pause_s)
        pause_s = min(2 * pause_s, 0.05)
    return True


def _stalled_s(pause_s: float) -> float:
    """Sleeps; returns for how long the machine stood still meanwhile."""
    began_s = time.monotonic()
    time.sleep(pause_s)
    late_s = time.monotonic() - began_s - pause_s
    return late_s if late_s > _STALL_S else 0.0


class Stopwatch:
    """Seconds since it was made, without those in which the machine stood still: for claims about waits.

    A machine of many tests stops for 20 s at times, and no product can do anything about that. A thread that does
    nothing but sleep notices. Work in this process counts as a stall where it keeps the interpreter's lock:
    `time.process_time` is for claims about work.
    """

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._stalls = _Stalls()
        weakref.finalize(self, self._stalls.over.set)

    def took_s(self) -> float:
        """The seconds until now."""
        now_s = time.monotonic()
        return now_s - self._began_s - self._stalls.before_s(now_s)


class _Stalls:
    """Counts stalls in a thread until `over`. `_looked` guards the other fields."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._looked = threading.Condition()
        self._stalled_s, self._looked_s = 0.0, 0.0
        threading.Thread(target=self._count, name="stopwatch", daemon=True).start()

    def before_s(self, now_s: float) -> float:
        """How long the machine stood still until `now_s`."""
        with self._looked:
            self._looked.wait_for(lambda: self._looked_s >= now_s)
            return self._stalled_s

    def _count(self) -> None:
        while not self.over.is_set():
            stalled_s = _stalled_s(0.02)
            with self._looked:
                self._stalled_s += stalled_s
                self._looked_s = time.monotonic()
                self._looked.notify_all()


def waiting_threads() -> int:
    """How many threads are inside of a bounded wait of hubfs just now."""
    return sum(_waits(frame) for frame in sys._current_frames().values())


def _waits(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code in _WAITS:
            return True
        frame = frame.f_back
    return False
