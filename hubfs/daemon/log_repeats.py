"""What may enter the log: of each record a bounded part, and of the same line one a minute, with how often it came.

A reader that tries again and again, and a host that says a megabyte, must not fill it.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cachetools import TTLCache

from hubfs.errors import cut

_RECORD_CHARACTERS = 8192
_LINE_CHARACTERS = 1000
"""Of a line of a traceback."""

_WINDOW_S = 60.0
_KEPT = 1000


_Line = tuple[str, int, str]
"""Logger, level and message."""


@dataclass
class _Seen:
    """How often a line came since it was let through. Guarded by the lock of `Repeats`."""

    more: int = 0


class Repeats(logging.Handler):
    """Hands records on to `targets`, which format them; of warnings and errors that say the same, one in `window_s`.

    Records are cut before anything else looks at them, so that neither memory nor an expression gets more than 8 KiB.

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
        self._seen_lock = threading.Lock()
        self._seen: TTLCache[_Line, _Seen] = TTLCache(_KEPT, window_s, timer)

    def emit(self, record: logging.LogRecord) -> None:
        """Hands on what is due."""
        self._hand_on(self._due(_bounded(record)))

    def flush(self) -> None:
        """Writes out what the targets hold."""
        for target in self._targets:
            target.flush()

    def close(self) -> None:
        """Closes the targets, which hear of the counts before."""
        with self._seen_lock:
            counts = _counts([*self._seen.expire(), *self._seen.items()])
            self._seen.clear()
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
        with self._seen_lock:
            counts = _counts(self._seen.expire())
            if record.levelno < logging.WARNING:
                return [*counts, record]
            line = (record.name, record.levelno, record.getMessage())
            seen = self._seen.get(line)
            if seen is not None:
                seen.more += 1
                return counts
            if len(self._seen) < _KEPT:
                self._seen[line] = _Seen()
        return [*counts, record]


def _counts(ended: Iterable[tuple[_Line, _Seen]]) -> list[logging.LogRecord]:
    return [
        logging.LogRecord(name, level, "", 0, "%s (%d times more)", (message, seen.more), None)
        for (name, level, message), seen in ended
        if seen.more
    ]


def _bounded(record: logging.LogRecord) -> logging.LogRecord:
    """`record` with its arguments put in: message and traceback have at most 8 KiB (characters) together."""
    try:
        message = record.getMessage()
    except Exception as error:  # noqa: BLE001 - a malformed call of a library
        message = f"{record.msg} ({type(error).__name__}: its arguments do not fit)"
    message = cut(message, _RECORD_CHARACTERS)
    text = record.exc_text or (logging.Formatter().formatException(record.exc_info) if record.exc_info else "")
    traceback = _ends_of(text, max(0, _RECORD_CHARACTERS - len(message)))
    said = {"msg": message, "args": None, "exc_info": None, "exc_text": traceback, "stack_info": None}
    return logging.makeLogRecord({**record.__dict__, **said})


def _ends_of(traceback: str, characters: int) -> str:
    """The first and the last lines, which say where it began and what it was; more of the last.

    The last begin with a whole line: half an address would hide from what takes passwords out.
    """
    text = "\n".join(cut(line, _LINE_CHARACTERS) for line in traceback.split("\n"))
    if len(text) <= characters:
        return text
    _, _, last = text[len(text) - characters * 3 // 4 :].partition("\n")
    return f"{cut(text, characters // 4)}\n{last}"
