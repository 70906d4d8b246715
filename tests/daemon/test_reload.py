"""A program that takes its own place leaves no child behind."""

import subprocess
import sys

from hubfs.daemon.spawn import without_ready_fd

_ENDS_CHILDREN = """
import os, subprocess, threading
from hubfs.daemon.reload import _end_children
started = [subprocess.Popen(["sleep", "600"])]
thread = threading.Thread(target=lambda: started.append(subprocess.Popen(["sleep", "600"])))
thread.start()
thread.join()
_end_children()
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("none of", len(started))
"""


def test_children_end_and_are_waited_for() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ENDS_CHILDREN], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "none of 2\n"


def test_that_the_mount_answers_is_told_once() -> None:
    assert without_ready_fd(["mount", "hub", "--foreground", "--ready-fd", "7"]) == ["mount", "hub", "--foreground"]
    assert without_ready_fd(["mount", "hub", "--ready-fd", "7", "--", "x"]) == ["mount", "hub", "--", "x"]
    assert without_ready_fd(["mount", "hub"]) == ["mount", "hub"]
