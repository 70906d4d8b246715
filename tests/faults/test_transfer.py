"""A network that misbehaves under a mount: what can be mended is mended, the rest ends in time with the right errno."""

import contextlib
import errno
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support import archives
from tests.support.files import files
from tests.support.http_origin import HttpOrigin, cut, stall, status, well
from tests.support.mount import Machine, Mount, mounted
from tests.support.waiting import Stopwatch, eventually

pytestmark = pytest.mark.mounted

HANDLE = "noise/model/1"
PATH = f"/{HANDLE}"
FILES = archives.model_files(variables_bytes=6_000_000)
ARCHIVE = archives.gzipped(archives.tar_of(FILES), level=1)


@pytest.fixture
def http() -> Iterator[HttpOrigin]:
    with HttpOrigin() as http:
        http.put(PATH, ARCHIVE, etag='"1"')
        yield http


@pytest.fixture
def mount_http(machine: Machine, tmp_path: Path, http: HttpOrigin) -> AbstractContextManager[Mount]:
    return mounted(machine, tmp_path / "hub", http.url, "--format", "compressed")


def test_a_transfer_that_breaks_is_resumed_where_it_broke(
    mount_http: AbstractContextManager[Mount], http: HttpOrigin
) -> None:
    # The first request asks what there is.
    http.script(PATH, well(), cut(after=1_000_000), cut(after=2_000_000, reset=True))
    with mount_http as hub:
        assert files(hub.path / HANDLE) == FILES
    assert http.body_bytes_sent(PATH) <= len(ARCHIVE) * 1.1, "what had come already was sent again"


def test_a_hub_that_is_busy_is_asked_again(mount_http: AbstractContextManager[Mount], http: HttpOrigin) -> None:
    http.script(PATH, status(503, {"Retry-After": "0"}), status(502), well(), status(429, {"Retry-After": "0"}))
    with mount_http as hub:
        assert files(hub.path / HANDLE) == FILES


@pytest.mark.parametrize(("answer", "expected"), [(401, errno.EACCES), (403, errno.EACCES), (404, errno.ENOENT)])
def test_a_refusal_is_told_by_its_errno(
    mount_http: AbstractContextManager[Mount], http: HttpOrigin, answer: int, expected: int
) -> None:
    http.always(PATH, status(answer))
    with mount_http as hub, pytest.raises(OSError, match=os.strerror(expected)):
        (hub.path / HANDLE).stat()


def test_what_is_cached_is_read_after_the_hub_has_gone(machine: Machine, tmp_path: Path) -> None:
    with contextlib.ExitStack() as unmounting:
        with HttpOrigin() as http:
            http.put(PATH, ARCHIVE, etag='"1"')
            hub = unmounting.enter_context(mounted(machine, tmp_path / "hub", http.url, "--format", "compressed"))
            assert files(hub.path / HANDLE) == FILES
        assert files(hub.path / HANDLE) == FILES
        with pytest.raises(OSError, match=os.strerror(errno.EHOSTUNREACH)):
            (hub.path / "noise" / "other" / "1").stat()


def test_a_signal_ends_the_daemon_while_a_read_waits_for_bytes_that_do_not_come(
    mount_http: AbstractContextManager[Mount], http: HttpOrigin
) -> None:
    http.script(PATH, well(), stall(after=100_000))
    with mount_http as hub:
        saved_model = hub.path / HANDLE / "saved_model.pb"
        reader = subprocess.Popen(["sha256sum", saved_model], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert eventually(lambda: http.body_bytes_sent(PATH) >= 100_000)
        time.sleep(0.5)
        assert reader.poll() is None, "the read did not wait"
        watch = Stopwatch()
        (daemon,) = hub.pids()
        os.kill(daemon, signal.SIGTERM)
        output, complaint = reader.communicate(timeout=60)
        assert eventually(lambda: not hub.pids())
        assert watch.took_s() < 8
        assert (reader.returncode, output) == (1, b""), "the reader must be told"
        assert b"saved_model.pb" in complaint
