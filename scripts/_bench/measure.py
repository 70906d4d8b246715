"""Programs that are timed, and what daemons used."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import tensorflow

_PROGRAMS = Path(__file__).with_name("programs")
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_TIMEOUT_S = 300.0


class Failed(Exception):
    """A run that came to nothing; says why."""


@dataclass(frozen=True)
class Usage:
    """Of processes and their children, so far: CPU seconds, and the sum of their peaks of resident memory."""

    cpu_s: float = 0.0
    peak_rss_bytes: int = 0
    peak_rss_of_each_bytes: dict[str, int] = field(default_factory=dict)


def usage(pids: Iterable[int]) -> Usage:
    """Reads /proc."""
    cpu_s, peaks = 0.0, {}
    for pid in _with_children(pids):
        with contextlib.suppress(OSError):  # it has just ended
            # Only what follows the name, which may hold anything: utime, stime, and those of children that ended.
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            cpu_s += sum(map(int, fields[11:15])) / _CLOCK_TICKS
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
            lines = dict(line.split(":", 1) for line in status.splitlines())
            if "VmHWM" in lines:  # of a process that has ended, and that nobody waited for yet, it is not known
                peaks[f"{lines['Name'].strip()} {pid}"] = int(lines["VmHWM"].split()[0]) * 1024
    return Usage(cpu_s, sum(peaks.values()), peaks)


def _with_children(pids: Iterable[int]) -> Iterator[int]:
    for pid in pids:
        yield pid
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                yield from _with_children(map(int, (task / "children").read_text(encoding="utf-8").split()))


def seconds(action: Callable[[], object]) -> float:
    """How long it takes."""
    started_s = time.perf_counter()
    action()
    return time.perf_counter() - started_s


class Program:
    """A program that was started, and waits for its order: imports are over when the clock starts."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path, deadline_s: float) -> None:
        self._process = process
        self._log = log
        self._deadline_s = deadline_s

    def wait_until_ready(self) -> None:
        """Returns once it has imported everything. Raises `Failed`."""
        self._answer()

    def order(self, **order: Any) -> None:
        """Says go."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """What it measured. Raises `Failed`."""
        return self._answer()

    def run(self, **order: Any) -> dict[str, Any]:
        """Both."""
        self.order(**order)
        return self.result()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait(10)
            if time.monotonic() >= self._deadline_s:
                raise Failed(f"{self._log.stem} was stopped, for it took too long")
            raise Failed(f"{self._log.stem} ended with status {status}: {last_line(self._log)}")
        return dict(json.loads(line))


def last_line(log: Path) -> str:
    """Of a log, or a word that there is none."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return lines[-1][:400] if lines else "it said nothing"


@contextlib.contextmanager
def program(
    work: Path,
    command: Sequence[str | Path],
    *,
    environment: dict[str, str] | None = None,
    name: str = "program",
    timeout_s: float = _TIMEOUT_S,
) -> Iterator[Program]:
    """Starts it; kills it in the end, and when it takes too long."""
    log = work / f"{name}.log"
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            command,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=work,
            start_new_session=True,
        ) as process,
    ):
        watchdog = threading.Timer(timeout_s, process.kill)
        watchdog.start()
        try:
            yield Program(process, log, time.monotonic() + timeout_s - 1)
        finally:
            watchdog.cancel()
            process.kill()


def reader(*, mapped: bool = False) -> list[str | Path]:
    """Reads every file; `mapped`: by touching every page of a mapping."""
    return [sys.executable, _PROGRAMS / "read.py", *(["mmap"] if mapped else [])]


def loader(how: str = "saved_model") -> list[str | Path]:
    """Loads; `how` as load.py has it."""
    return [tensorflow.python(), "-I", _PROGRAMS / "load.py", how]


def safetensors_loader() -> list[str | Path]:
    """Loads shards of safetensors."""
    return [sys.executable, _PROGRAMS / "load_safetensors.py"]


def downloader(client: str) -> list[str | Path]:
    """Downloads a model by the client of its hub."""
    return [sys.executable, _PROGRAMS / "download.py", client]


def range_reader(protocol: str) -> list[str | Path]:
    """Reads ranges by a file system of fsspec."""
    return [sys.executable, _PROGRAMS / "cat_ranges.py", protocol]
