"""A machine that stands still fails no claim about waits."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.support.waiting import Stopwatch, eventually

PROGRAM = """
from tests.support.waiting import Stopwatch, eventually

watch, looks = Stopwatch(), iter([False] * 30 + [True])
print("begun", flush=True)
came_true = eventually(lambda: next(looks), 2.5)
print(came_true, watch.took_s())
"""


@pytest.mark.slow
def test_a_stall_of_the_machine_counts_for_nothing() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, text=True
    ) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "begun\n"
        time.sleep(0.1)
        waiting.send_signal(signal.SIGSTOP)
        time.sleep(3)
        waiting.send_signal(signal.SIGCONT)
        came_true, took_s = waiting.stdout.read().split()
    assert came_true == "True"
    assert 1 < float(took_s) < 3


def test_what_is_waited_for_counts() -> None:
    watch = Stopwatch()
    assert not eventually(lambda: False, 0.2)
    assert watch.took_s() > 0.2
