"""Rounds of mounting, verifying, loading and kill -9, always on the same cache directory and mount point."""

import contextlib
import errno
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.mount import Machine, clear, processes_naming
from tests.support.waiting import eventually

_GONE = {errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.ENODEV, errno.EINTR}
"""What reads get whose daemon is killed."""

_READERS = 3
_PATIENCE_S = 30.0

INSTANTS_S = {
    "start": (0.0, 1.5),
    "resolve": (0.0, 0.05),
    "transfer": (0.0, 0.8),
    "end": (0.5, 1.5),
    "idle": (0.0, 0.3),
}
"""When the kill comes: after the command, after the first reader, or (idle) after the last."""

_FORGOTTEN = 0.3
"""How often a model is not cached at all when it is loaded."""

VICTIMS = ("daemon", "daemon", "inflating", "inflating, then daemon", "both at once")


@dataclass
class Tally:
    """What happened. Everything but `rounds`, `short` (reads) and `kills` must stay empty."""

    rounds: int = 0
    short: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    hanging: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def killed(self, what: str) -> None:
        """Counts a kill."""
        self.kills[what] = self.kills.get(what, 0) + 1

    @property
    def troubles(self) -> list[str]:
        """What must not have happened."""
        return [*self.wrong, *self.refused, *self.left, *self.hanging, *self.failed]


class CrashLoop:
    """A mount of the `models` (by handle: their files) of `hub`, which is killed again and again.

    Those in `packed` are inflated. `command` follows every `hubfs mount`. The readers' threads only append to the lists
    of `tally`.
    """

    def __init__(
        self,
        machine: Machine,
        mountpoint: Path,
        models: Mapping[str, Mapping[str, bytes]],
        packed: Sequence[str],
        command: tuple[str | Path, ...],
        cache: Path,
        chance: random.Random,
    ) -> None:
        self._machine = machine
        self._mountpoint = mountpoint
        self._models = models
        self._packed = packed
        self._cache = cache
        self._command = ("mount", mountpoint, *command, "--cache-dir", cache)
        self._chance = chance
        self._last = next(iter(models))
        self.tally = Tally()

    def round(self) -> None:
        """Mounts over the dead mount of the last round, verifies what was loaded then, loads, and kills."""
        self.tally.rounds += 1
        instant = self._chance.choice(list(INSTANTS_S))
        user = self._machine.with_environment(
            HUBFS_FUSE_LIBRARY=self._chance.choice(("session", "libfuse3", "libfuse2"))
        )
        if instant == "start":
            starting = threading.Thread(target=user.hubfs, args=self._command)
            starting.start()
            time.sleep(self._chance.uniform(*INSTANTS_S[instant]))
            self._kill_all("daemon that starts")
            starting.join(_PATIENCE_S)
            self._kill_all("daemon that starts")  # the command may have started it just when it was looked for
            return
        victim = self._chance.choice(VICTIMS)
        handle = self._chance.choice(self._packed if "inflating" in victim else list(self._models))
        if "inflating" in victim or self._chance.random() < _FORGOTTEN:
            for folder in self._cache.glob(f"models/*/{handle}@*"):
                shutil.rmtree(folder)
        done = user.hubfs(*self._command)
        if done.returncode:
            self.tally.refused.append(f"round {self.tally.rounds}: {done.stderr}")
            return
        self._read(self._last, lambda: False)
        self._last = handle
        dying = threading.Event()
        readers = [threading.Thread(target=self._read, args=(handle, dying.is_set)) for _ in range(_READERS)]
        for reader in readers:
            reader.start()
        self._wait(instant, victim, readers)
        dying.set()
        self._kill_all("daemon", also_children=victim == "both at once")
        self._join(readers)

    def _wait(self, instant: str, victim: str, readers: list[threading.Thread]) -> None:
        """For the instant to kill the daemon; the inflating process is killed before, if it is to be."""
        after_s = self._chance.uniform(*INSTANTS_S[instant])
        if "inflating" not in victim:
            if instant == "idle":
                self._join(readers)
            time.sleep(after_s)
            return
        eventually(lambda: bool(self._children()), 1)
        time.sleep(after_s / 4)
        for pid in self._children():
            self._kill(pid, "inflating process")
        # The daemon inflates by itself what is still wanted: nobody notices.
        if victim == "inflating":
            self._join(readers)
        else:
            time.sleep(self._chance.uniform(0, 0.05))

    def verify(self) -> None:
        """Mounts once more, and reads every byte of every model."""
        done = self._machine.hubfs(*self._command)
        if done.returncode:
            self.tally.refused.append(done.stderr)
        for handle in self._models:
            self._read(handle, lambda: False)

    def _join(self, readers: list[threading.Thread]) -> None:
        for reader in readers:
            reader.join(_PATIENCE_S)
            if reader.is_alive():
                self.tally.hanging.append(f"round {self.tally.rounds}: a reader")

    def _read(self, handle: str, dying: Callable[[], bool]) -> None:
        """Reads every file of a model, in any order; an error is one if the daemon is alive."""
        chance = random.Random(threading.get_ident())
        files = list(self._models[handle].items())
        chance.shuffle(files)
        for name, expected in files:
            try:
                with (self._mountpoint / handle / name).open("rb", buffering=0) as file:
                    for offset in _offsets(len(expected), chance):
                        self._compare(file.fileno(), expected, offset, f"{handle}/{name}", dying)
            except OSError as error:  # noqa: PERF203 - a file that cannot be read ends the reader
                if not dying() or error.errno not in _GONE:
                    self.tally.failed.append(f"round {self.tally.rounds}: {handle}/{name}: {error}")
                return

    def _compare(self, fd: int, expected: bytes, offset: int, name: str, dying: Callable[[], bool]) -> None:
        """Reads a mebibyte. The kernel hands out what it has got when the daemon dies: a short read, then an error."""
        end = min(len(expected), offset + (1 << 20))
        while offset < end:
            got = os.pread(fd, end - offset, offset)
            where = f"round {self.tally.rounds}: {name} at {offset}, {len(got)} of {end - offset} bytes"
            if got != expected[offset : offset + len(got)]:
                self.tally.wrong.append(f"{where}, {_difference(got, expected[offset : offset + len(got)])}")
            if not got or (len(got) < end - offset and not dying()):
                self.tally.failed.append(f"{where}: it ends early")
            if not got:
                return
            self.tally.short += len(got) < end - offset
            offset += len(got)

    def _kill_all(self, what: str, *, also_children: bool = False) -> None:
        """Kills whatever names the mount point; nothing that it started may stay."""
        children: list[int] = []
        for pid in processes_naming(self._mountpoint):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)  # that it starts nothing while its children are looked for
                children += _children(pid)
                if also_children:
                    for child in children:
                        self._kill(child, "inflating process")
                self._kill(pid, what)
        if not eventually(lambda: not any(map(_is_alive, children)), 5):
            self.tally.left.append(f"round {self.tally.rounds}: {list(filter(_is_alive, children))} after {what}")

    def _kill(self, pid: int, what: str) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.tally.killed(what)

    def _children(self) -> list[int]:
        return [child for pid in processes_naming(self._mountpoint) for child in _children(pid)]


@contextlib.contextmanager
def crash_loop(loop: CrashLoop, mountpoint: Path) -> Iterator[CrashLoop]:
    """Takes away what the last round leaves."""
    mountpoint.mkdir(parents=True, exist_ok=True)
    try:
        yield loop
    finally:
        clear(mountpoint)


def _offsets(size_bytes: int, chance: random.Random) -> list[int]:
    offsets = list(range(0, size_bytes, 1 << 20))
    if chance.random() < 0.5:
        chance.shuffle(offsets)
    return offsets


def _difference(got: bytes, expected: bytes) -> str:
    """Where and how bytes differ: what to look for."""
    differing = [place for place, (one, other) in enumerate(zip(got, expected, strict=True)) if one != other]
    zeros = sum(not got[place] for place in differing)
    return f"{len(differing)} wrong from {differing[0]} to {differing[-1]}, {zeros} of them zeros"


def _children(pid: int) -> list[int]:
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
