"""Daemons that share a cache directory: what one of them fetches, the others need not."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.files import files
from tests.support.gcs_server import Fault
from tests.support.models import pack
from tests.support.mount import Machine, Mount, mounted
from tests.support.origin import Origin, running_origin
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted

HANDLE = "noise/small/1"
FIRST = "saved_model.pb"
"""What the archive has first."""

STOPPED_S = 40.0
"""A holder that is stopped costs the others 10 seconds at most; the rest is a busy machine's."""


@pytest.fixture
def slow(tmp_path: Path, small: Path) -> Iterator[Origin]:
    """A hub that takes seconds for an archive."""
    home = tmp_path / "origin"
    archive = pack(small, home / "small.tar.gz")
    with running_origin(home, {HANDLE: small}, {HANDLE: archive}, bytes_per_s=4 << 20) as origin:
        yield origin


@contextmanager
def neighbours(tmp_path: Path, origin: Origin, *options: str) -> Iterator[Sequence[Mount]]:
    """Two daemons with one cache directory, and nothing in it."""
    with ExitStack() as mounts:
        found = []
        for number in range(2):
            machine = Machine(tmp_path / f"machine{number}", {"HUBFS_FUSE_LIBRARY": "session", **origin.environment})
            place = "--cache-dir", tmp_path / "cache", "--format", origin.form
            found.append(
                mounts.enter_context(mounted(machine, tmp_path / f"hub{number}", origin.url, *place, *options))
            )
        yield found


def read_all(mount: Mount) -> dict[str, bytes]:
    return files(mount.path / HANDLE)


@pytest.mark.parametrize("form", ["compressed", "uncompressed"])
def test_two_daemons_on_one_cold_directory_fetch_each_byte_once(
    slow: Origin, form: str, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    origin = slow.asked_for(form)
    with neighbours(tmp_path, origin) as mounts, ThreadPoolExecutor(2) as readers:
        assert all(read == files(small) for read in readers.map(read_all, mounts))
    ratio = origin.sent_bytes(HANDLE) / origin.hosted_bytes(small, tmp_path / "origin" / "small.tar.gz")
    with capsys.disabled():
        print(f"\n{form}, 2 daemons on one directory: {ratio:.4f} of the model's bytes were sent")
    assert ratio <= 1.05


def test_the_first_files_are_there_before_the_other_daemons_pass_ends(
    slow: Origin, small: Path, tmp_path: Path
) -> None:
    with neighbours(tmp_path, slow.asked_for("compressed")) as (one, other), ThreadPoolExecutor(1) as readers:
        reading = readers.submit(read_all, one)
        assert (other.path / HANDLE / FIRST).read_bytes() == (small / FIRST).read_bytes()
        assert not reading.done()
        assert reading.result(60) == files(small)


@pytest.mark.parametrize("form", ["compressed", "uncompressed"])
def test_the_other_one_goes_on_when_the_one_that_fetches_is_killed(
    slow: Origin, form: str, small: Path, tmp_path: Path
) -> None:
    origin = slow.asked_for(form)
    with neighbours(tmp_path, origin) as (one, other), ThreadPoolExecutor(2) as readers:
        dying = begun(one, origin, readers)
        waiting = readers.submit(read_all, other)
        time.sleep(0.5)
        one.kill()
        origin.store.reset()
        assert waiting.result(60) == files(small)
        assert dying.exception(30) or dying.result() != files(small)


@pytest.mark.parametrize("form", ["compressed", "uncompressed"])
def test_the_other_one_goes_on_when_the_one_that_fetches_is_stopped(
    slow: Origin, form: str, small: Path, tmp_path: Path
) -> None:
    origin = slow.asked_for(form)
    with neighbours(tmp_path, origin) as (one, other), ThreadPoolExecutor(2) as readers:
        resting = begun(one, origin, readers)
        stopped = one.pids()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        origin.store.reset()
        try:
            assert readers.submit(read_all, other).result(STOPPED_S) == files(small)
            assert not resting.done()
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        assert resting.result(60) == files(small)


def begun(mount: Mount, origin: Origin, readers: ThreadPoolExecutor) -> "Future[dict[str, bytes]]":
    """A reader of everything, once its daemon has begun to fetch and is far from the end."""
    if origin.form == "compressed":
        reading = readers.submit(read_all, mount)
        assert (mount.path / HANDLE / FIRST).read_bytes()  # the archive is paced
        return reading
    list((mount.path / HANDLE).iterdir())
    asked = len(origin.store.downloads)
    origin.store.spoil(*[Fault(stall_s=8)] * 20)
    reading = readers.submit(read_all, mount)
    assert eventually(lambda: len(origin.store.downloads) > asked)
    return reading
