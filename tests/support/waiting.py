"""How a test waits: for a condition, with a bound; and for threads that have joined somebody else's work."""

import sys
import time
from collections.abc import Callable
from types import FrameType

from hubfs.waiting import Cancellation, await_result

_WAITS = {Cancellation.wait_for.__code__, await_result.__code__}


def eventually(condition: Callable[[], object], timeout_s: float = 15) -> bool:
    """Whether `condition` comes true in time. It is asked again after a millisecond first, every 50 ms at last."""
    deadline_s = time.monotonic() + timeout_s
    pause_s = 0.001
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.05)
    return True


def waiting_threads() -> int:
    """How many threads are inside of a bounded wait of hubfs just now."""
    return sum(_waits(frame) for frame in sys._current_frames().values())


def _waits(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code in _WAITS:
            return True
        frame = frame.f_back
    return False
