import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from hubfs.errors import InvalidConfig
from hubfs.hubs.tfhub.serve.app import HostSettings
from hubfs.hubs.tfhub.serve.server import run
from tests.support.serving import write_model

PROGRAM = """
import pathlib, sys
from hubfs.hubs.tfhub.serve.app import HostSettings
from hubfs.hubs.tfhub.serve.server import run
settings = HostSettings(archive_size_bytes=1 << 42)
run(pathlib.Path(sys.argv[1]), settings, host=sys.argv[2], port=0, on_ready=lambda url: print(url, flush=True))
print("ended")
"""


@contextmanager
def process(root: Path, temporary: Path, host: str = "127.0.0.1") -> Iterator[tuple[subprocess.Popen[str], str]]:
    temporary.mkdir(exist_ok=True)
    child = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(root), host],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    try:
        assert child.stdout is not None
        yield child, child.stdout.readline().strip()
    finally:
        child.kill()
        child.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_leaves_nothing(tmp_path: Path, number: signal.Signals):
    write_model(tmp_path / "root", "google/spice/1")
    with process(tmp_path / "root", tmp_path / "temporary") as (child, url):
        reply = requests.get(f"{url}/google/spice/1?tf-hub-format=compressed", timeout=30)
        assert reply.status_code == 200
        assert list((tmp_path / "temporary").glob("*/1.tar.gz"))
        child.send_signal(number)
        output, errors = child.communicate(timeout=60)
        assert (output, errors, child.returncode) == ("ended\n", "", 0)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_signal_gives_up_the_build_that_is_running(tmp_path: Path):
    directory = tmp_path / "root/google/sparse/1"
    directory.mkdir(parents=True)
    (directory / "huge").touch()
    os.truncate(directory / "huge", 1 << 40)  # a hole: hours to archive
    with process(tmp_path / "root", tmp_path / "temporary") as (child, url):
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(b"GET /google/sparse/1?tf-hub-format=compressed HTTP/1.1\r\nHost: h\r\n\r\n")
            deadline_s = time.monotonic() + 20
            while not list((tmp_path / "temporary").glob("*/1.tar.partial")):
                assert time.monotonic() < deadline_s
                time.sleep(0.01)
            child.terminate()
            reply = b"".join(iter(lambda: client.recv(65536), b""))
            assert reply.startswith(b"HTTP/1.1 503 ")
            assert reply.endswith(b"\r\n\r\nthis hub is shutting down\n")
        output, _ = child.communicate(timeout=60)
        assert (output, child.returncode) == ("ended\n", 0)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_every_address_is_shown_as_one_that_opens(tmp_path: Path):
    with process(tmp_path, tmp_path / "temporary", host="0.0.0.0") as (_, url):
        assert url.startswith("http://localhost:")
        assert requests.get(url, timeout=30).status_code == 200


def test_a_port_that_is_taken_is_one_clear_line(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidConfig, match=rf"cannot listen on 127.0.0.1:{port}: .*choose another") as caught:
            run(tmp_path, HostSettings(), host="127.0.0.1", port=port, on_ready=lambda _: None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("host", "port"), [("no-such-host.invalid", 0), ("127.0.0.1", 70_000)])
def test_an_address_that_is_none_is_one_clear_line(tmp_path: Path, host: str, port: int):
    with pytest.raises(InvalidConfig, match="cannot listen on"):
        run(tmp_path, HostSettings(), host=host, port=port, on_ready=lambda _: None)


def test_a_directory_that_is_none_is_one_clear_line(tmp_path: Path):
    with pytest.raises(InvalidConfig, match="missing is not a directory"):
        run(tmp_path / "missing", HostSettings(), host="127.0.0.1", port=0, on_ready=lambda _: None)
