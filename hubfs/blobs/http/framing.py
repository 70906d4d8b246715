"""Bounds the time that what lies between the bytes of a chunked body may take."""

import time
from collections.abc import Callable
from io import BufferedReader
from typing import Any


class BoundedLines:
    """The file that http.client reads a chunked body from: the lines between two pieces of it take `timeout_s` at most.

    A size may be followed by 64 KiB of extensions, and the last chunk by any number of trailers. A byte of them now and
    then is no silence, and no body that `PaceFloor` would see, and would hold its readers for days. For one thread.
    """

    def __init__(self, file: BufferedReader, timeout_s: float, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._timeout_s = timeout_s
        self._timer = timer
        self._until_s: float | None = None

    def __getattr__(self, name: str) -> Any:
        """Everything but what is here is as the file does it."""
        return getattr(self._file, name)

    def read1(self, size_bytes: int = -1) -> bytes:
        """Bytes of the body: whatever was before them has ended."""
        self._until_s = None
        return self._file.read1(size_bytes)

    def readline(self, limit_bytes: int) -> bytes:
        """As of a file. Raises `TimeoutError` when this line, and those just before it, take too long."""
        if self._until_s is None:
            self._until_s = self._timer() + self._timeout_s
        line = b""
        while len(line) < limit_bytes and not line.endswith(b"\n") and (there := self._file.peek(1)):
            if self._timer() > self._until_s:
                raise TimeoutError
            rest_bytes = min(limit_bytes - len(line), there.find(b"\n") + 1 or len(there))
            line += self._file.read(rest_bytes)  # these are there: it does not wait
        return line
