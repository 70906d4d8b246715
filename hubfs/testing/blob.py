"""A blob that answers as a test says, and notes how it was read."""

import threading
import time
from collections import deque
from collections.abc import Callable

from hubfs.blobs.blob import MemoryBlob

PAUSED_AT_MOST_S = 60.0
"""A reader that waits longer for `resume` fails: the test forgot it."""


class ScriptedBlob:
    """`data` under `key`, as a `Blob`. Every read waits for `resume` if the blob is paused, takes `delay_s` seconds,
    raises the next error of `fail`, else `error`, and else returns what `answer` says: the bytes of `data`.

    A test sets `answer`, `error` and `delay_s` whenever it likes. `reads` are the ranges that were asked for (offset
    and size in bytes), in their order, those that failed included; `read_bytes` counts the bytes that were given.

    `_changed` guards `reads`, `read_bytes`, `_errors` and `_paused`.
    """

    def __init__(self, data: bytes, *, key: str = "scripted", delay_s: float = 0.0) -> None:
        self.key = key
        self.size_bytes = len(data)
        self.answer: Callable[[int, int], bytes] = MemoryBlob(key, data).read_at
        self.error: Exception | None = None
        self.delay_s = delay_s
        self.reads: list[tuple[int, int]] = []
        self.read_bytes = 0
        self._changed = threading.Condition()
        self._errors: deque[Exception | None] = deque()
        self._paused = False

    @property
    def asked_bytes(self) -> int:
        """The sizes of all reads together."""
        with self._changed:
            return sum(size_bytes for _, size_bytes in self.reads)

    def fail(self, *errors: Exception | None) -> None:
        """The next reads raise `errors`, one each; for None, the read is answered."""
        with self._changed:
            self._errors.extend(errors)

    def heal(self) -> None:
        """No read raises from now on."""
        with self._changed:
            self._errors.clear()
            self.error = None

    def pause(self) -> None:
        """No read that comes from now on is answered before `resume`."""
        with self._changed:
            self._paused = True

    def resume(self) -> None:
        """All reads are answered, those that wait and those to come."""
        with self._changed:
            self._paused = False
            self._changed.notify_all()

    def wait_for_reads(self, count: int, timeout_s: float = 10.0) -> bool:
        """Whether at least `count` reads have come, within `timeout_s` seconds; the reads need not be answered."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.reads) >= count, timeout_s)

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """What the test says. Raises `AssertionError` when the blob stays paused for `PAUSED_AT_MOST_S`."""
        with self._changed:
            self.reads.append((offset_bytes, size_bytes))
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: not self._paused, PAUSED_AT_MOST_S):
                raise AssertionError(f"{self.key}: nobody called resume")
            error = self._errors.popleft() if self._errors else self.error
        if self.delay_s:
            time.sleep(self.delay_s)
        if error is not None:
            raise error
        data = self.answer(offset_bytes, size_bytes)
        with self._changed:
            self.read_bytes += len(data)
        return data
