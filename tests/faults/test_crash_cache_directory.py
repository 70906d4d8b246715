"""A cache directory that cannot be used refuses no mount and fails no read; nobody else may look into a good one."""

import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import SMALL, MountHub
from tests.support.disk_cache import file_system, let_others_in
from tests.support.figures import Figures
from tests.support.files import files
from tests.support.mount import Machine, mounted
from tests.support.origin import Origin
from tests.support.programs import ran
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted


def make_full(root: Path) -> None:
    with (root / "ballast").open("wb") as file:
        try:
            while file.write(bytes(1 << 16)):
                file.flush()
        except OSError:
            return


def make_read_only(root: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", root], check=True)


def replace_by_a_file(root: Path) -> None:
    (root / "models").write_text("no directory")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (make_full, "No space left on device"),
        (make_read_only, "Read-only file system"),
        (replace_by_a_file, "File exists"),
    ],
)
def test_what_cannot_be_used_is_said_and_models_are_read_without_it(
    mount: MountHub,
    servers: Origin,
    small: Path,
    tmp_path: Path,
    figures: Figures,
    make: Callable[[Path], None],
    problem: str,
) -> None:
    origin = servers.asked_for("compressed")
    with file_system(tmp_path / "disk") as root:
        make(root)
        with mount(origin, "--cache-dir", root) as hub:
            assert files(hub.path / SMALL) == files(small)
            status = hub.status()
            assert status["cache"]["disk"]["problem"] == problem
            assert any("cannot be used" in message and problem in message for message in status["recent_problems"])
            assert "cannot be used" in hub.log()
            said = hub.machine.hubfs("status", hub.path).stdout
            assert f"keeps nothing just now: {problem}" in said
    figures.add("crashes", broken_cache_directories=1)


def test_a_directory_that_vanishes_under_a_mount_fails_no_read(
    mount: MountHub, servers: Origin, small: Path, tmp_path: Path, figures: Figures
) -> None:
    cache = tmp_path / "cache"
    with mount(servers, "--cache-dir", cache, "--memory-size", "8MiB") as hub:
        assert files(hub.path / SMALL) == files(small)
        with stopped(hub.status()["pid"]):  # or it would write there meanwhile, and no directory could be removed
            shutil.rmtree(cache)
        drop_pages(hub.path)
        assert files(hub.path / SMALL) == files(small)
    figures.add("crashes", broken_cache_directories=1)


@contextmanager
def stopped(process: int) -> Iterator[None]:
    """No thread of the process is in the middle of a system call, either."""

    def stand_still() -> bool:
        states = set()
        for thread in Path(f"/proc/{process}/task").iterdir():
            with suppress(OSError):  # it has ended
                states.add((thread / "stat").read_text().rpartition(") ")[2][0])
        return states == {"T"}

    os.kill(process, signal.SIGSTOP)
    try:
        assert eventually(stand_still)
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def drop_pages(mountpoint: Path) -> None:
    """Has the kernel forget what it read of SMALL, so that the daemon is asked again."""
    for path in (mountpoint / SMALL).rglob("*"):
        if path.is_file():
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def test_two_mounts_share_a_directory_while_one_is_killed_in_mid_write_and_evicts_what_the_other_reads(
    machine: Machine, origin: Origin, small: Path, tmp_path: Path
) -> None:
    user = machine.with_environment(**origin.environment)
    options = ("--format", origin.form, "--cache-dir", tmp_path / "cache", "--cache-size", "6MiB")
    with mounted(user, tmp_path / "one", origin.url, *options) as one:
        assert files(one.path / SMALL) == files(small)
        with mounted(user, tmp_path / "two", origin.url, *options) as two:
            with (two.path / SMALL / "variables/variables.data-00000-of-00001").open("rb") as file:
                assert file.read(1 << 20)
                drop_pages(one.path)
                two.kill()
            assert files(one.path / SMALL) == files(small)
        with mounted(user, tmp_path / "two", origin.url, *options) as two:
            assert files(two.path / SMALL) == files(small)
            drop_pages(one.path)
            assert files(one.path / SMALL) == files(small)


def test_everything_that_a_mount_writes_is_for_who_mounted_alone(
    mount: MountHub, origin: Origin, small: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o755)
    log = tmp_path / "log"
    log.write_bytes(bytes(10 << 20))  # of a mount before, and full: the next line begins a new one
    log.chmod(0o644)
    before = os.umask(0)
    try:
        with mount(origin, "--cache-dir", cache, "--log-file", log) as hub:
            assert files(hub.path / SMALL) == files(small)
            assert eventually(lambda: any(cache.rglob("index.json")))
    finally:
        os.umask(before)
    written = [cache, *cache.rglob("*")]
    assert {stat.S_IMODE(path.lstat().st_mode) for path in written if path.is_dir()} == {0o700}
    assert log.with_name("log.1").stat().st_size == 10 << 20
    logs = log, log.with_name("log.1")
    assert {stat.S_IMODE(path.lstat().st_mode) for path in (*logs, *written) if path.is_file()} == {0o600}
    let_others_in(cache.parent)
    refused = ran(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "ls", cache / "models"])
    assert "Permission denied" in refused.stderr
