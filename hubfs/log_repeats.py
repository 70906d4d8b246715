"""A reader that tries again and again must not fill the log: the same line once a minute, with how often it came."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

_WINDOW_S = 60.0
_KEPT = 1000


_Line = tuple[str, int, str]
"""Logger, level and message."""


@dataclass
class _Seen:
    """When a line was last let through, and how often it came since. Guarded by the lock of `Repeats`."""

    at_s: float
    more: int = 0


class Repeats(logging.Handler):
    """Hands records on to `targets`, which format them; of warnings and errors that say the same, one in `window_s`.

    How many were left out, "… (37 times more)", follows when the window is over and something is logged, or at the
    end. `_seen_lock` guards `_seen`; nothing is emitted under it.
    """

    def __init__(
        self,
        targets: Sequence[logging.Handler],
        *,
        window_s: float = _WINDOW_S,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._targets = targets
        self._window_s = window_s
        self._timer = timer
        self._seen_lock = threading.Lock()
        self._seen: dict[_Line, _Seen] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Hands on what is due."""
        self._hand_on(self._due(record))

    def flush(self) -> None:
        """Writes out what the targets hold."""
        for target in self._targets:
            target.flush()

    def close(self) -> None:
        """Closes the targets, which hear of the counts before."""
        with self._seen_lock:
            counts, self._seen = _counts(self._seen.items()), {}
        self._hand_on(counts)
        for target in self._targets:
            target.close()
        super().close()

    def _hand_on(self, records: Iterable[logging.LogRecord]) -> None:
        for record in records:
            for target in self._targets:
                if record.levelno >= target.level:
                    target.handle(record)

    def _due(self, record: logging.LogRecord) -> list[logging.LogRecord]:
        now_s = self._timer()
        with self._seen_lock:
            counts = _counts(self._ended(now_s))
            if record.levelno < logging.WARNING:
                return [*counts, record]
            try:
                line = (record.name, record.levelno, record.getMessage())
            except Exception:  # noqa: BLE001 - a malformed call of a library: the targets say so
                return [*counts, record]
            seen = self._seen.get(line)
            if seen is not None:
                seen.more += 1
                return counts
            if len(self._seen) < _KEPT:
                self._seen[line] = _Seen(now_s)
        return [*counts, record]

    def _ended(self, now_s: float) -> list[tuple[_Line, _Seen]]:
        """Those whose window is over, which are forgotten. Held: `_seen_lock`."""
        ended = []
        for line, seen in list(self._seen.items()):  # in the order in which they came
            if now_s - seen.at_s < self._window_s:
                break
            ended.append((line, self._seen.pop(line)))
        return ended


def _counts(ended: Iterable[tuple[_Line, _Seen]]) -> list[logging.LogRecord]:
    return [
        logging.LogRecord(name, level, "", 0, "%s (%d times more)", (message, seen.more), None)
        for (name, level, message), seen in ended
        if seen.more
    ]
