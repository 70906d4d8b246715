"""Programs that a test starts and waits for. Nobody types anything to them."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def ran(command: Sequence[str | Path], **options: Any) -> "subprocess.CompletedProcess[str]":
    """A program that has ended, however it did, with what it said."""
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **options)


def output_of(command: Sequence[str | Path], **options: Any) -> str:
    """What a program says that succeeds."""
    done = ran(command, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout
