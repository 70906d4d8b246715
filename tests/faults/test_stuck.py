"""A daemon that is alive and answers nothing."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.mount import Machine, Mount, is_mounted, mounted
from tests.support.origin import Origin
from tests.support.waiting import Stopwatch

pytestmark = pytest.mark.mounted


def assert_told_and_ended_by_force(hub: Mount) -> None:
    os.kill(hub.status()["pid"], signal.SIGSTOP)
    watch = Stopwatch()
    done = hub.machine.hubfs("unmount", hub.path, timeout_s=60)
    assert watch.took_s() < 10
    assert done.returncode == 1
    assert "does not answer within 5 s; `hubfs unmount --force" in done.stderr
    assert is_mounted(hub.path)
    watch = Stopwatch()
    done = hub.machine.hubfs("unmount", "--force", hub.path, timeout_s=60)
    assert done.returncode == 0, done.stderr
    assert watch.took_s() < 4
    assert not is_mounted(hub.path)
    assert not hub.pids()


def test_unmount_says_so_within_a_bound_and_ends_it_by_force(machine: Machine, tmp_path: Path, servers: Origin) -> None:
    with (
        mounted(machine, tmp_path / "alone", servers.url) as alone,
        mounted(machine, tmp_path / "supervised", servers.url, "--supervise") as supervised,
        ThreadPoolExecutor(2) as waiting,
    ):
        assert list(waiting.map(assert_told_and_ended_by_force, (alone, supervised))) == [None, None]
