"""Threads that wait for somebody else's work: a test knows that all have joined, and need not sleep and hope."""

import sys
from types import FrameType

from hubfs.waiting import Cancellation, await_result

_WAITS = {Cancellation.wait_for.__code__, await_result.__code__}


def waiting_threads() -> int:
    """How many threads are inside of a bounded wait of hubfs just now."""
    return sum(_waits(frame) for frame in sys._current_frames().values())


def _waits(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code in _WAITS:
            return True
        frame = frame.f_back
    return False
