"""A hub of a kind that hubfs does not know, in one file of the tests, mounts beside another: a hub is one room."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.files import files
from tests.support.mount import Machine, clear, eventually, is_mounted
from tests.support.paths import ROOT

pytestmark = pytest.mark.mounted

_PROGRAM = """
import sys
from hubfs.hubs.about import About
from hubfs.hubs.registry import HUBS
HUBS["zoo"] = About(["zoo"], "tests.contracts.made_up_hub:make")
from hubfs.cli import main
main()
"""
FILES = {"bones": b"b" * 100_000, "teeth/left": b"l", "teeth/right": b""}


def test_it_mounts_beside_another(machine: Machine, tmp_path: Path) -> None:
    for path, data in FILES.items():
        for age in ("a", "aab"):
            place = tmp_path / "zoo" / "ape" / age / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
    mountpoint = tmp_path / "hubs"
    mountpoint.mkdir()
    machine.home.mkdir(parents=True)
    hubs = [f"--hub=zoo=zoo:{tmp_path / 'zoo'}", "--hub=nobody=http://127.0.0.1:9"]
    daemon = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, "mount", mountpoint, "--foreground", *hubs],
        env={**os.environ, "HOME": str(machine.home), "PYTHONPATH": str(ROOT), **machine.environment},
        stdin=subprocess.DEVNULL,
    )
    try:
        assert eventually(lambda: is_mounted(mountpoint))
        assert sorted(os.listdir(mountpoint)) == [".hubfs", "nobody", "zoo"]
        assert os.listdir(mountpoint / "zoo") == ["ape"]
        assert sorted(os.listdir(mountpoint / "zoo/ape")) == ["a", "aab", "oldest"]
        assert (mountpoint / "zoo/ape/oldest").readlink() == Path("aab")
        assert files(mountpoint / "zoo/ape/oldest") == FILES
        assert not (mountpoint / "zoo/yeti/b").exists()
        assert os.getxattr(mountpoint / "zoo/ape/a", "user.hubfs.handle") == b"ape/a"
        assert machine.hubfs("unmount", mountpoint).returncode == 0
        assert daemon.wait(60) == 0
    finally:
        daemon.kill()
        daemon.wait()
        clear(mountpoint)
