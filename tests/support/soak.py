"""Readers of the soak test (C programs, see c/soak_reader.c), what they count, and what the daemon takes meanwhile."""

import json
import mmap
import os
import random
import re
import signal
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.programs import output_of, ran

_SOURCE = Path(__file__).parent / "c" / "soak_reader.c"
_PAGE_BYTES = 4096
_BUCKETS = 512
_SLOT = struct.Struct(f"=4Q256s256s{_BUCKETS}I1024s")


@dataclass(frozen=True)
class SoakFile:
    """A file of computable noise; `model` is the place of its model among all."""

    model: int
    seed: int
    size_bytes: int
    path: str


@dataclass(frozen=True)
class Counted:
    """What one reader, or all, did so far. `under_way_s`: for how long the call has been that is under way."""

    calls: int
    bytes: int
    under_way_s: float
    call: str
    longest_s: float
    longest: str
    histogram: tuple[int, ...]
    failure: str

    def quantile_ms(self, share: float) -> float:
        """Of how long calls took: the upper end of the bucket, an eighth more than the lower."""
        wanted = share * sum(self.histogram)
        seen = 0
        for bucket, count in enumerate(self.histogram):
            seen += count
            if seen >= wanted:
                return _upper_us(bucket) / 1000
        return 0.0


def _upper_us(bucket: int) -> int:
    if bucket < 16:
        return bucket + 1
    power = bucket // 8 - 1
    return (bucket % 8 + 9) << power


def build(target: Path) -> Path:
    """Compiles the reader."""
    command = ("gcc", "-O2", "-Wall", "-Wextra", "-Werror", _SOURCE, "-o", target)
    output_of(command, timeout=120)
    return target


def make_model(program: Path, root: Path, model: int, data_bytes: int) -> list[SoakFile]:
    """A directory shaped like a SavedModel, below `root`; the paths are relative to it."""
    sizes = {
        "saved_model.pb": 300_000 + model,
        "empty": 0,
        "assets/vocab.txt": 5_000 + model,
        "variables/variables.index": 4_097,
        "variables/variables.data-00000-of-00001": data_bytes,
    }
    made = []
    for number, (path, size_bytes) in enumerate(sizes.items()):
        file = SoakFile(model, 100 * model + number, size_bytes, path)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([program, "make", str(file.seed), str(size_bytes), root / path], check=True, timeout=60)
        made.append(file)
    return made


class Readers:
    """Processes that read at random; some are killed and begin anew, and go on counting where they stopped."""

    def __init__(self, program: Path, home: Path, files: Sequence[SoakFile], *, count: int, pause_ms: int) -> None:
        self._command = [program, "read", home / "board"]
        self._rest = [str(pause_ms), home / "files"]
        lines = (f"{file.model} {file.seed} {file.size_bytes} {file.path}\n" for file in files)
        (home / "files").write_text("".join(lines))
        with (home / "board").open("wb+") as board:
            board.truncate((1 + count) * _PAGE_BYTES)
            self._board = mmap.mmap(board.fileno(), 0)
        self._chance = random.Random(1)
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * count
        self.killed = 0

    def may_read(self, models: Sequence[int]) -> None:
        """From now on files of these models are read, and no others are opened."""
        self._board[:4] = struct.pack("=I", sum(1 << model for model in models))

    def start(self) -> None:
        for slot in range(len(self._processes)):
            self._start(slot)

    def _start(self, slot: int) -> None:
        seed = str(self._chance.randrange(1 << 60))
        self._processes[slot] = subprocess.Popen(
            [*self._command, str(slot), seed, *self._rest], stdin=subprocess.DEVNULL
        )

    def kill_one(self) -> None:
        """SIGKILL, whatever it is doing, and another in its place."""
        slot = self._chance.randrange(len(self._processes))
        process = self._processes[slot]
        assert process is not None
        process.kill()
        # Whoever waits for a page or a reply is gone once it has come, or was interrupted.
        assert process.wait(60) in (-signal.SIGKILL, 1)
        self.killed += 1
        if not self._slot(slot).failure:
            place = (1 + slot) * _PAGE_BYTES + 16
            self._board[place : place + 8] = bytes(8)  # the call under way ended with it
            self._start(slot)

    def ended(self) -> list[int]:
        """The codes of readers that ended, which they only do for a fault."""
        codes = (process.poll() for process in self._processes if process is not None)
        return [code for code in codes if code is not None]

    def counted(self) -> Counted:
        """All readers together: sums; and the longest call, the longest under way, the failures."""
        slots = [self._slot(slot) for slot in range(len(self._processes))]
        waiting = max(slots, key=lambda slot: slot.under_way_s)
        longest = max(slots, key=lambda slot: slot.longest_s)
        return Counted(
            sum(slot.calls for slot in slots),
            sum(slot.bytes for slot in slots),
            waiting.under_way_s,
            waiting.call,
            longest.longest_s,
            longest.longest,
            tuple(map(sum, zip(*(slot.histogram for slot in slots), strict=True))),
            "; ".join(slot.failure for slot in slots if slot.failure),
        )

    def _slot(self, slot: int) -> Counted:
        fields = _SLOT.unpack_from(self._board, (1 + slot) * _PAGE_BYTES)
        calls, passed_bytes, began_ns, longest_ns, longest, call, *histogram, failure = fields
        under_way_s = max(0, time.monotonic_ns() - began_ns) / 1e9 if began_ns else 0.0
        texts = [text.split(b"\0")[0].decode(errors="replace") for text in (call, longest, failure)]
        return Counted(
            calls, passed_bytes, under_way_s, texts[0], longest_ns / 1e9, texts[1], tuple(histogram), texts[2]
        )

    def stop(self) -> None:
        """Ends them all."""
        for process in self._processes:
            if process is not None:
                process.kill()
        for process in self._processes:
            if process is not None:
                process.wait(60)


@contextmanager
def reading(readers: Readers) -> Iterator[None]:
    """The readers run, and are gone in the end."""
    try:
        readers.start()
        yield
    finally:
        readers.stop()


@dataclass(frozen=True)
class Taken:
    """What a process holds: memory in MiB, descriptors, threads, child processes; and the time it has computed."""

    rss_mb: float
    fds: int
    threads: int
    helpers: int
    cpu_s: float


def taken_by(pid: int) -> Taken:
    status = dict(re.findall(r"^(\w+):\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))
    helpers = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # a thread that has just ended
            helpers += len((task / "children").read_text().split())
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    cpu_s = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    return Taken(
        int(status["VmRSS"]) / 1024, len(os.listdir(f"/proc/{pid}/fd")), int(status["Threads"]), helpers, cpu_s
    )


def open_by(pid: int) -> dict[str, int]:
    """What a process has open, by kind, and how often."""
    found: Counter[str] = Counter()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found[re.sub(r":\[\d+\]", "", str(descriptor.readlink()))] += 1
    return dict(found)


class Evictions:
    """Counts, from outside, how often the cache gave up the files of a model."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._before: set[tuple[Path, int]] = set()
        self.count = 0

    def look(self) -> None:
        now = set()
        for folder, _, names in os.walk(self._cache):
            for name in names:
                path = Path(folder, name)
                with suppress(OSError):  # evicted just now
                    if path.stat().st_blocks >= 1024:  # half a MiB at least: blocks, and no index
                        now.add((path, path.stat().st_ino))
        self.count += len({path.parent for path, _ in self._before - now})
        self._before = now


def dump(pid: int, log: str) -> str:
    """What a daemon is doing that does not answer: its threads, where py-spy is there, and the end of its log."""
    spied = ""
    with suppress(OSError, subprocess.TimeoutExpired):
        spied = ran(["py-spy", "dump", "--pid", str(pid)], timeout=30).stdout
    waits = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            waits[task.name] = (task / "wchan").read_text()
    return f"{spied}\n{json.dumps(waits)}\n{log[-10_000:]}"
