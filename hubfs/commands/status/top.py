"""What `hubfs top` does: it looks at a mount every so often, and draws the screen anew."""

import os
import select
import signal
import sys
import termios
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, ConsoleDimensions, Group, RenderableType

from hubfs.commands.status.change import Change, Status
from hubfs.commands.status.command import without_status
from hubfs.commands.status.drawing import line, short
from hubfs.commands.status.report import BAD, as_text
from hubfs.commands.status.screen import Flow, screen
from hubfs.commands.units import duration
from hubfs.errors import MountFailed
from hubfs.mounts import table as mount_table

_TICK_S = 0.1
"""So often keys and the size of the terminal are looked at."""

_COLUMNS, _ROWS = 80, 24
"""Of a terminal that does not know its size."""

_LOOKS_KEPT = 300
_NEW_DAEMON_S = 60.0
"""For so long the screen says that another daemon serves the mount."""

_NEXT, _QUIT = "\t", ("q", "Q", "\x03", "")
_LOCAL = 3
"""Where termios(3) has its local modes: who handles keys."""

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


Look = tuple[mount_table.State | None, Status | None]
"""How a mount is, and what it says, if it does. No state: nothing is mounted there."""


class Watch:
    """One mount: what it said last, and how its figures went since the watch began, over daemons that come and go."""

    def __init__(self, mountpoint: Path) -> None:
        self.mountpoint = mountpoint
        self._change: Change | None = None
        self._pid: int | None = None
        self._notice = f"{mountpoint} is being asked"
        self._from_hubs, self._from_cache, self._to_readers, self._operations = (
            deque[float](maxlen=_LOOKS_KEPT) for _ in range(4)
        )

    def look(self) -> Look:
        """The only question that `hubfs top` asks."""
        try:
            return mount_table.state_of(self.mountpoint)
        except MountFailed:
            return None, None

    def saw(self, state: mount_table.State | None, told: Status | None) -> None:
        """Takes what a look brought. What no daemon of this version tells is `STRANGE`."""
        self._notice = ""
        if told is not None:
            try:
                self._take(told)
            except BAD:
                state, told = mount_table.State.STRANGE, None
        if told is None:
            self._change = None
            gone = f"{self.mountpoint}: no hub is mounted there just now; it is shown again when one is"
            self._notice = gone if state is None else as_text(without_status(self.mountpoint, state))

    def _take(self, told: Status) -> None:
        change = Change(None if self._change is None else self._change.now, told)
        if self._pid not in (None, told["pid"]) and told["uptime_s"] < _NEW_DAEMON_S:
            self._notice = (
                f"another daemon serves the mount since {duration(told['uptime_s'])}; process {self._pid} ended"
            )
        else:
            self._pid = told["pid"]
        self._change = change
        if change.over_s is not None:
            self._from_hubs.append(change.per_s("http", "bytes_received") or 0.0)
            self._from_cache.append(change.from_cache() or 0.0)
            self._to_readers.append(change.per_s("read_bytes") or 0.0)
            self._operations.append(sum(one.per_s for one in change.operations()))

    def drawn(self, keys: str, width: int, height: int) -> RenderableType:
        """The screen as it is to be."""
        if self._change is not None:
            flows = (
                Flow("from hubs", [*self._from_hubs], "cyan"),
                Flow("from the cache", [*self._from_cache], "green"),
                Flow("to readers", [*self._to_readers], "blue"),
                Flow("operations", [*self._operations], "magenta", in_bytes=False),
            )
            try:
                return screen(self._change, flows, notice=self._notice, keys=keys, width=width, height=height)
            except BAD:
                self.saw(mount_table.State.STRANGE, None)
        return Group(short(keys, "dim"), line(self._notice, "yellow"))


def run(mountpoint: Path | None, interval_s: float) -> None:
    """Shows one mount after the other until `q` or Ctrl-C. Raises `MountFailed` where no hub is mounted."""
    if mountpoint is not None:
        mount_table.must_be_mounted(mountpoint)
    mounts = [mountpoint] if mountpoint is not None else mount_table.mountpoints()
    if not mounts:
        raise MountFailed("No hub is mounted; `hubfs mount` mounts one")
    console = Console(highlight=False, markup=False, emoji=False)
    with ThreadPoolExecutor(1) as pool, _keys() as next_key, console.screen():
        number = 0
        while True:
            told = f"q quits; every {interval_s:g} s"
            if len(mounts) > 1:
                told += f"; mount {number + 1} of {len(mounts)}, Tab shows the next"
            show = Shown(Watch(mounts[number]), told, console)
            if show.until_key(pool, interval_s, next_key) in _QUIT:
                return
            mounts = [mountpoint] if mountpoint is not None else mount_table.mountpoints() or mounts
            number = (number + 1) % len(mounts)


@dataclass(frozen=True)
class Shown:
    """A watch on the screen of a terminal; `told` says which keys there are."""

    watch: Watch
    told: str
    console: Console

    def until_key(self, pool: Executor, interval_s: float, next_key: Callable[[], str | None]) -> str:
        """Looks at the mount every so often, and draws what it says, until a key says that this is over."""
        flight: Future[Look] | None = None
        looks_at_s, drawn = time.monotonic(), None
        while True:
            if flight is None and time.monotonic() >= looks_at_s:
                flight, looks_at_s = pool.submit(self.watch.look), time.monotonic() + interval_s
            if flight is not None and flight.done():
                self.watch.saw(*flight.result())
                flight, drawn = None, None
            size = os.get_terminal_size(sys.stdout.fileno())
            if drawn != size:
                drawn = size
                self.console.size = ConsoleDimensions(size.columns or _COLUMNS, size.lines or _ROWS)
                self.console.update_screen(self.watch.drawn(self.told, *self.console.size))
            key = next_key()
            if key in _QUIT or key == _NEXT:
                return key


@contextmanager
def _keys() -> Iterator[Callable[[], str | None]]:
    """A function that waits a moment for a key: None where there is none, and empty once the terminal is gone.

    Ctrl-C is a key, too, and Ctrl-Z is none: a stopped program would leave the terminal without its screen. SIGTERM
    and SIGHUP end it as a key does. The terminal is left as it was.
    """
    ended: list[int] = []
    terminal, before = sys.stdin.fileno(), termios.tcgetattr(sys.stdin)
    handlers = {number: signal.signal(number, lambda got, _: ended.append(got)) for number in _ENDING}

    def next_key() -> str | None:
        if not ended and not select.select([terminal], [], [], _TICK_S)[0]:
            return None
        try:
            return "" if ended else os.read(terminal, 1).decode("ascii", "replace")
        except OSError:  # the terminal is gone
            return ""

    try:
        mode = termios.tcgetattr(terminal)
        mode[_LOCAL] &= ~(termios.ECHO | termios.ICANON | termios.ISIG)
        termios.tcsetattr(terminal, termios.TCSANOW, mode)
        yield next_key
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
