"""What a daemon is at, told on SIGUSR1: the stacks of all threads, and what they work on; also where threads hang.

A process whose interpreter one thread holds for ever does not answer SIGUSR1. SIGABRT tells its stacks, and ends it.
"""

import faulthandler
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from hubfs import __version__
from hubfs.blobs.http.url import redacted_text
from hubfs.daemon import log_file
from hubfs.errors import cut

_log = logging.getLogger(__name__)

Sections = Mapping[str, Callable[[], Iterable[str]]]
"""Lines, by a title. A section may wait for a lock that nobody gives back, or fail: the others are told all the
same."""

END = "end of the dump"
"""The last line of each."""

SIGNAL = signal.SIGUSR1

_SECTION_S = 2.0
_SECTION_LINES = 2000
_LINE_CHARACTERS = 1000
_FILE_BYTES = 1 << 20
"""A file that has grown so large gets the name with `.1`, of which there is one, before the next dump."""


class Dump:
    """Answers SIGUSR1. To be made, and to `listen`, in the main thread, which the signal's handler runs in.

    The stacks are written by faulthandler, in the main thread, which holds the interpreter's lock meanwhile.
    Without the lock, in a handler of its own, faulthandler follows frames of threads that run and end: one signal in
    10,000 to 100,000 crashed the daemon. The rest is written by a thread. Both go to a file beside the log, or where
    the log itself goes to stderr. There, objects are asked for a line each: `form` makes them, and the stacks take a
    detour through memory.
    """

    def __init__(self, log: Path | None, form: logging.Formatter, *, as_json: bool) -> None:
        self._form = form if as_json and log is None else None
        self._path = None if log is None else log_file.dump_of(log)
        self._sections: Sections = {}
        self._writer: threading.Thread | None = None
        self._stacks = sys.__stderr__.fileno() if sys.__stderr__ is not None else 2

    def listen(self) -> None:
        """From now on the signal is answered. What cannot be opened is stderr's."""
        with suppress(OSError):
            if self._path is not None:
                self._stacks = log_file.opened(self._path)
            elif self._form is not None:
                self._stacks = os.memfd_create("hubfs-stacks", os.MFD_CLOEXEC)
        signal.signal(SIGNAL, self._told)

    def tell_of(self, sections: Sections) -> None:
        """What is to be told besides threads and locks."""
        self._sections = sections

    def _told(self, _number: int, _frame: object) -> None:
        """The signal's handler. While a dump is written, another signal has the stacks alone told once more."""
        is_written = self._writer is not None and self._writer.is_alive()
        with suppress(OSError, RuntimeError):  # the disk is full; no thread is left
            if not is_written:
                self._rotate()
            faulthandler.dump_traceback(self._stacks, all_threads=True)
            if not is_written:
                self._writer = threading.Thread(target=self._write, name="dump", daemon=True)
                self._writer.start()

    def _write(self) -> None:
        try:
            if self._form is not None:
                self._stacks_to_log()
            for line in self._lines():
                self._say(line)
            if self._path is not None:
                _log.warning("SIGUSR1: a dump is in %s (%d bytes)", self._path, os.fstat(self._stacks).st_size)
        except OSError as error:
            _log.warning("The dump cannot be written: %s", error)

    def _say(self, line: str) -> None:
        line = redacted_text(cut(line, _LINE_CHARACTERS))
        target = self._stacks
        if self._form is not None:
            record = logging.LogRecord(__name__, logging.WARNING, "", 0, line, None, None)
            line, target = self._form.format(record), sys.__stderr__.fileno() if sys.__stderr__ is not None else 2
        os.write(target, f"{line}\n".encode(errors="backslashreplace"))

    def _stacks_to_log(self) -> None:
        stacks = os.pread(self._stacks, _FILE_BYTES, 0).decode(errors="replace")
        os.ftruncate(self._stacks, 0)
        os.lseek(self._stacks, 0, os.SEEK_SET)
        for line in stacks.splitlines():
            self._say(line)

    def _lines(self) -> Iterator[str]:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        yield f"dump of hubfs {__version__}, process {os.getpid()}, {now}"
        own: Sections = {"threads": _threads, "descriptors": _descriptors, "locks that are held": _held_locks}
        for title, lines in {**own, **self._sections}.items():
            yield f"== {title}"
            yield from _within(_SECTION_S, lines)
        yield END

    def _rotate(self) -> None:
        """Begins a new file where the last one is long. Nobody writes meanwhile."""
        if self._path is None or os.fstat(self._stacks).st_size < _FILE_BYTES:
            return
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        old, self._stacks = self._stacks, log_file.opened(self._path)
        os.close(old)


def _within(patience_s: float, lines: Callable[[], Iterable[str]]) -> list[str]:
    """The lines that come within so long, from a thread of their own."""
    came: list[str] = []

    def gather() -> None:
        try:
            for line in lines():
                came.append(line)
                if len(came) >= _SECTION_LINES:
                    came.append("(and more)")
                    return
        except Exception as error:  # noqa: BLE001 - the other sections are told all the same
            came.append(f"(failed: {error!r})")

    thread = threading.Thread(target=gather, name="dump-section", daemon=True)
    thread.start()
    thread.join(patience_s)
    found = [*came]
    return [*found, f"(no more within {patience_s:g} s)"] if thread.is_alive() else found


def _threads() -> Iterator[str]:
    """Names for the numbers that the stacks have."""
    for thread in threading.enumerate():
        yield f"0x{thread.ident or 0:016x} {thread.name}"


def _descriptors() -> Iterator[str]:
    yield f"{sum(1 for _ in Path('/proc/self/fd').iterdir())} are open"


def _held_locks() -> Iterator[str]:
    """The locks of hubfs's own objects that are held just now; who holds one, its stack says."""
    for thing in gc.get_objects():
        kind = type(thing)
        if kind.__module__.startswith("hubfs"):
            for name, value in [*getattr(thing, "__dict__", {}).items()]:
                if type(value) in _LOCKS and repr(value).startswith("<locked"):
                    yield f"{kind.__module__}.{kind.__qualname__}.{name}"


_LOCKS = (type(threading.Lock()), type(threading.RLock()))
