"""Disk tiers for tests, here and in other processes."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.room import DiskSettings
from hubfs.cache.disk.store import DiskStore
from hubfs.cache.disk.tier import DiskTier
from tests.support.paths import ROOT

PLENTY_BYTES = 1 << 30
MODEL = "tfhub.dev/google/spice/2@abc"
KEY = CacheKey(MODEL, "variables/variables.data")


def tier(root: Path, limit_bytes: int = PLENTY_BYTES, reserve_bytes: int = 0) -> DiskTier:
    """A tier on `root` as a daemon that starts now would have it."""
    cache = DiskTier(DiskStore(CacheLayout(root)), DiskSettings(limit_bytes, reserve_bytes))
    cache.start()
    return cache


def block_of(seed: int, size_bytes: int = BLOCK_SIZE_BYTES) -> bytes:
    """A block of noise; another seed gives another."""
    return random.Random(seed).randbytes(size_bytes)


def data_file(root: Path, key: CacheKey = KEY) -> Path:
    """Where the file's blocks lie."""
    return CacheLayout(root).data(key)


def map_file(root: Path, key: CacheKey = KEY) -> Path:
    """Where its block map lies."""
    return CacheLayout(root).blocks(key)


_HEAD = """
import sys
from pathlib import Path
from tests.support.disk_cache import *
cache = tier(Path(sys.argv[1]), *map(int, sys.argv[2:]))
"""


def spoil(path: Path, offset_bytes: int = BLOCK_SIZE_BYTES + 100) -> None:
    """Flips a bit, as a disk does: the time of the last write stays what it was."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(offset_bytes)
        byte = file.read(1)[0]
        file.seek(offset_bytes)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@contextmanager
def another_process(root: Path, program: str, limit_bytes: int = PLENTY_BYTES) -> Iterator["subprocess.Popen[str]"]:
    """Runs `program`, which has a tier on the same directory as `cache`; it is killed afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HEAD + program, str(root), str(limit_bytes)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def file_system(path: Path, options: str = "size=8m") -> Iterator[Path]:
    """A tmpfs of its own at `path`; the test is skipped where none can be mounted."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs takes root")
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no tmpfs here: {done.stderr!r}")
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


def let_others_in(path: Path) -> None:
    """Lets everybody search `path` and what is above it: temporary directories are for one user alone."""
    for folder in (path, *path.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(0o755)


@contextmanager
def another_user() -> Iterator[None]:
    """Becomes a user without any rights for a moment."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root")
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
