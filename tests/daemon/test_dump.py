"""SIGUSR1: what a process is at, also where its threads hang."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hubfs.daemon.dump import END
from hubfs.daemon.log_file import dump_of
from tests.support.paths import ROOT
from tests.support.waiting import eventually

PROCESS = """
import logging, re, sys, threading, time
from pathlib import Path
from hubfs.cache.memory import MemoryTier
from hubfs.daemon.dump import Dump
from hubfs.daemon.log import set_up
from hubfs.daemon.log_format import formatter
from hubfs.settings.config import Config
from hubfs.status import RecentProblems

log = Path(sys.argv[1]) if sys.argv[1] else None
form = formatter(as_json=sys.argv[2] == "json", mountpoint=Path("/mnt"))
set_up(Config(log_file=None), Path("/mnt"), RecentProblems())
logging.getLogger("hubfs").setLevel(logging.ERROR)
tier = MemoryTier(1 << 20)

def stuck():
    with tier._lock:
        threading.Event().wait()

def hog():
    print("ready", flush=True)
    re.match("(a+)+$", "a" * 40 + "b")  # for hours, without giving the interpreter's lock back

def fails():
    yield "before"
    raise ValueError("https://me:secret@host/x?sig=secret is wrong")

dump = Dump(log, form, as_json=sys.argv[2] == "json")
dump.listen()
dump.tell_of({"cache": lambda: [str(tier.stats())], "failing": fails, "last": lambda: ["last line", "x" * 5000]})
thread = threading.Thread(target={"stuck": stuck, "hog": hog}[sys.argv[3]], name="the-one", daemon=True)
thread.start()
# A stack that changes while it is told may be told in part.
while sys.argv[3] == "stuck" and sys._current_frames()[thread.ident].f_code.co_name != "wait":
    time.sleep(0.01)
if sys.argv[3] == "stuck":
    print("ready", flush=True)
threading.Event().wait()
"""


@contextmanager
def process(log: str, form: str, how: str) -> "Iterator[subprocess.Popen[str]]":
    arguments = [sys.executable, "-c", PROCESS, log, form, how]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as started:
        try:
            assert started.stdout is not None
            assert started.stdout.readline() == "ready\n"
            yield started
        finally:
            started.kill()


def told(path: Path, times: int = 1) -> str:
    assert eventually(lambda: path.read_text().count(f"{END}\n") == times)
    return path.read_text()


@pytest.mark.slow
def test_stacks_locks_and_all_sections_are_told_though_a_lock_is_never_given_back(tmp_path: Path) -> None:
    log = tmp_path / "hub.log"
    with process(str(log), "text", "stuck") as running:
        running.send_signal(signal.SIGUSR1)
        text = told(dump_of(log))
        assert "in stuck" in text, "the stack of the thread that hangs"
        assert " the-one\n" in text
        assert "hubfs.cache.memory.MemoryTier._lock" in text
        assert "== cache\n(no more within 2 s)\n== failing\nbefore\n(failed: ValueError(" in text
        assert "secret" not in text
        assert "== last\nlast line\n" in text
        assert max(map(len, text.splitlines())) < 1100
        assert dump_of(log).stat().st_mode & 0o777 == 0o600
        running.send_signal(signal.SIGUSR1)
        assert told(dump_of(log), 2).count("in stuck") >= 2
        assert running.poll() is None


@pytest.mark.slow
def test_nothing_is_told_while_other_threads_may_run_but_at_the_end(tmp_path: Path) -> None:
    """Stacks that change while they are told crashed daemons. SIGABRT ends the process, so they are told then."""
    log = tmp_path / "hub.log"
    with process(str(log), "text", "hog") as running:
        running.send_signal(signal.SIGUSR1)
        running.send_signal(signal.SIGABRT)
        assert running.stderr is not None
        assert "in hog" in running.stderr.read()
        assert running.wait() == -signal.SIGABRT
        assert dump_of(log).read_text() == ""


@pytest.mark.slow
@pytest.mark.parametrize("form", ["text", "json"])
def test_without_a_file_it_is_told_where_the_log_goes(form: str) -> None:
    with process("", form, "stuck") as running:
        running.send_signal(signal.SIGUSR1)
        assert running.stderr is not None
        lines = []
        for line in running.stderr:
            lines.append(json.loads(line)["message"] if form == "json" else line.rstrip("\n"))
            if lines[-1] == END:
                break
        text = "\n".join(lines)
        assert "in stuck" in text
        assert "last line" in text
        assert "secret" not in text


@pytest.mark.slow
def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    log = tmp_path / "hub.log"
    dump_of(log).write_text("x" * (1 << 20))
    with process(str(log), "text", "stuck") as running:
        running.send_signal(signal.SIGUSR1)
        assert "in stuck" in told(dump_of(log))
        assert (tmp_path / "hub.log.dump.1").read_text() == "x" * (1 << 20)
