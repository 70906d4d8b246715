"""A pseudo-terminal with a program in it, and the screen that a person would see."""

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyte

from tests.support.waiting import eventually


class Terminal:
    """Runs `command` in a terminal of so many columns and rows. `said` is all that it wrote, escapes included.

    with contextlib.closing(Terminal(["hubfs", "top"], 80, 24, environment)) as terminal:
        terminal.shows("q quits")
        terminal.send("q")
        assert terminal.ended() == 0
    """

    def __init__(
        self, command: Sequence[str | Path], columns: int, rows: int, environment: Mapping[str, str] | None = None
    ) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.said = b""
        self._master, slave = pty.openpty()
        self._size(columns, rows)
        self.before = termios.tcgetattr(slave)
        self._slave = slave
        inherited = os.environ if environment is None else environment
        without_size = {name: value for name, value in inherited.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command],  # which the program takes the place of
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**without_size, "TERM": "xterm-256color"},
        )

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        os.close(self._slave)
        os.close(self._master)

    def send(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        """As a window's edge that is dragged: the foreground process gets SIGWINCH."""
        self._size(columns, rows)
        self._screen.resize(rows, columns)

    def settings(self) -> list[object]:
        """What the terminal does with keys and output now, of `before` and `after`."""
        return list(termios.tcgetattr(self._slave))

    def screen(self) -> pyte.Screen:
        """As it is by now."""
        while select.select([self._master], [], [], 0)[0]:
            self._take()
        return self._screen

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen().display)

    def shows(self, wanted: str | Callable[[str], bool], within_s: float = 60) -> str:
        """Waits until the screen shows it; the screen."""
        is_there = wanted if callable(wanted) else lambda text: wanted in text
        assert eventually(lambda: is_there(self.text()), within_s), f"{wanted!r} did not come:\n{self.text()}"
        return self.text()

    def ended(self, within_s: float = 60) -> int:
        """The exit code, once the program has ended; all that it wrote is read by then."""
        assert eventually(lambda: self._polled() is not None, within_s), self.text()
        self.screen()
        return int(self.process.returncode)

    def _polled(self) -> int | None:
        self.screen()  # a full terminal would keep it from ending
        return self.process.poll()

    def _take(self) -> None:
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # the last one that had the terminal open has gone
            return
        self.said += data
        self._stream.feed(data)

    def _size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
