"""An object in memory as `Ranges`, whose ranges come when a test lets them, and fail as it says."""

import threading
from collections.abc import Callable, Iterator

from hubfs.errors import Unavailable
from hubfs.waiting import Cancellation

Fault = Callable[[int], None]
"""Called with the offset at which a range begins; raises what happens instead."""


class ScriptedRanges:
    """`data`, in chunks of `chunk_bytes`. `_condition` guards every field.

    `pause_from`: ranges that begin there or behind send nothing until `resume`. `fault`: asked when a range begins.
    """

    url = "https://hub.example/a"

    def __init__(self, data: bytes, *, chunk_bytes: int = 1 << 16) -> None:
        self.data = data
        self.size_bytes = len(data)
        self.fault: Fault = lambda _: None
        self._chunk_bytes = chunk_bytes
        self._condition = threading.Condition()
        self._gate_bytes = len(data)
        self._under_way = 0
        self.begun: list[tuple[int, int]] = []
        self.most_under_way = 0
        self.given_up = 0

    @property
    def under_way(self) -> int:
        with self._condition:
            return self._under_way

    def pause_from(self, offset_bytes: int) -> None:
        with self._condition:
            self._gate_bytes = offset_bytes
            self._condition.notify_all()

    def resume(self) -> None:
        self.pause_from(len(self.data))

    def begin(self, offset_bytes: int, end_bytes: int, _: Cancellation) -> "_Read":
        with self._condition:
            self.begun.append((offset_bytes, end_bytes))
        self.fault(offset_bytes)
        return _Read(self, offset_bytes, end_bytes)


class _Read:
    def __init__(self, ranges: ScriptedRanges, offset_bytes: int, end_bytes: int) -> None:
        self._ranges = ranges
        self._offset_bytes = offset_bytes
        self._end_bytes = end_bytes
        self._given_up = False
        with ranges._condition:
            ranges._under_way += 1
            ranges.most_under_way = max(ranges.most_under_way, ranges._under_way)

    def chunks(self) -> Iterator[bytes]:
        ranges = self._ranges
        end_bytes = min(self._end_bytes, len(ranges.data))
        while self._offset_bytes < end_bytes:
            with ranges._condition:
                moved_on = ranges._condition.wait_for(
                    lambda: self._given_up or ranges._gate_bytes > self._offset_bytes, 60
                )
                assert moved_on, "the test left the ranges paused"
                if self._given_up:
                    raise Unavailable("given up")
            stop_bytes = min(self._offset_bytes + ranges._chunk_bytes, end_bytes)
            chunk, self._offset_bytes = ranges.data[self._offset_bytes : stop_bytes], stop_bytes
            yield chunk

    def give_up(self) -> None:
        with self._ranges._condition:
            self._given_up = True
            self._ranges.given_up += 1
            self._ranges._condition.notify_all()

    def close(self) -> None:
        with self._ranges._condition:
            self._ranges._under_way -= 1
