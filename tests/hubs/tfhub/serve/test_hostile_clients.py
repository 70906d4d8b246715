"""What one client can take from the others: connections, files, disk, and what is nobody's business."""

import fcntl
import io
import os
import resource
import socket
import tarfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from hubfs.hubs.tfhub.serve.connections import ConnectionLimits
from tests.hubs.tfhub.serve.test_server import process
from tests.support.serving import serving, write_model
from tests.support.waiting import eventually

COMPRESSED = "?tf-hub-format=compressed"
TIMEOUT_S = 30
PATIENT = {"head_s": 600.0, "look_s": 600.0}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_model(tmp_path / "root", "google/spice/1")
    return tmp_path / "root"


def connect(url: str, source: str = "127.0.0.1", *, receive_bytes: int = 0) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    client = socket.socket()
    if receive_bytes:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.settimeout(TIMEOUT_S)
    client.bind((source, 0))
    client.connect((host, int(port)))
    return client


def ask(client: socket.socket, target: str = "/google/spice/1") -> bytes:
    """The status line of the reply."""
    client.sendall(f"GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
    return client.recv(100).partition(b"\r\n")[0]


def is_ended(client: socket.socket) -> bool:
    try:
        return client.recv(1 << 16) == b""
    except ConnectionError:
        return True


# Connections


def test_half_sent_heads_do_not_stop_the_service(root: Path, tmp_path: Path):
    """260 of them did, with as many descriptors as most systems give a process: 256 in this one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as opened:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        try:
            _, url = opened.enter_context(process(root, tmp_path / "temporary"))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(260):
            client = opened.enter_context(connect(url))
            client.sendall(b"GET /google/spice/1 HTTP/1.1\r\nHost:")
        with connect(url, "127.0.0.2") as other:
            assert ask(other, f"/google/spice/1{COMPRESSED}") == b"HTTP/1.1 200 OK"


def test_one_address_gets_its_share_and_no_more(root: Path):
    with ExitStack() as opened:
        url = opened.enter_context(serving(root, ConnectionLimits(10, 5, **PATIENT)))
        taken = [opened.enter_context(connect(url)) for _ in range(5)]
        for client in taken:
            client.sendall(b"GET /google/spice/1 HTTP/1.1\r\nHost: h\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 200"
        with connect(url) as refused:
            assert refused.recv(1000).startswith(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n")
            assert is_ended(refused)
        with connect(url, "127.0.0.2") as other:
            assert ask(other) == b"HTTP/1.1 200 OK"
        taken[0].close()

        def let_in() -> bool:
            with connect(url) as again:
                return ask(again) == b"HTTP/1.1 200 OK"

        assert eventually(let_in)


@pytest.mark.parametrize("blank", [b"\r\n\r\n", b"\n\n", b"\r\n" * 100])
def test_blank_lines_are_no_head(root: Path, blank: bytes):
    limits = ConnectionLimits(10, 5, head_s=0.3, look_s=600)
    with serving(root, limits) as url, connect(url) as client:
        client.sendall(blank)
        assert is_ended(client)


def test_all_addresses_together_get_no_more_than_there_is(root: Path):
    with ExitStack() as opened:
        url = opened.enter_context(serving(root, ConnectionLimits(6, 2, **PATIENT)))
        for n in range(6):
            client = opened.enter_context(connect(url, f"127.0.0.{2 + n // 2}"))
            assert ask(client) == b"HTTP/1.1 200 OK" or n
        with ExitStack() as held:
            for n in range(6):
                client = held.enter_context(connect(url, f"127.0.0.{2 + n // 2}"))
                client.sendall(b"GET /")
            with connect(url, "127.0.0.9") as late:
                late.settimeout(TIMEOUT_S)
                assert late.recv(12) == b"HTTP/1.1 503"


def test_a_head_that_does_not_end_is_given_up(root: Path):
    with serving(root, ConnectionLimits(10, 10, head_s=0.3)) as url, ExitStack() as opened:
        silent, half, trickling, later = (opened.enter_context(connect(url)) for _ in range(4))
        half.sendall(b"GET /google/spice/1 HTTP/1.1\r\nHost: h\r\n")
        later.sendall(b"GET /google/spice/1 HTTP/1.1\r\nHost: h\r\n\r\n")
        assert later.recv(12) == b"HTTP/1.1 200"
        later.sendall(b"GET /google/spice/1 HTTP/1.1\r\n")  # the second request of a kept connection
        for client in (silent, half):
            assert is_ended(client)

        def trickle() -> bool:
            try:
                trickling.sendall(b"X")
            except ConnectionError:
                return True
            return False

        assert eventually(trickle, TIMEOUT_S)
        while not is_ended(later):
            pass  # the rest of the first reply


def test_a_body_is_not_waited_for(root: Path):
    with serving(root, ConnectionLimits(10, 10, head_s=0.3)) as url, connect(url) as client:
        client.sendall(b"POST /google/spice/1 HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nx")
        while not is_ended(client):
            pass


def test_pipelined_requests_are_all_answered(root: Path):
    with serving(root, ConnectionLimits(10, 10, head_s=0.5)) as url, connect(url) as client:
        one = b"HEAD /google/spice/1 HTTP/1.1\r\nHost: h\r\n"
        client.sendall((one + b"\r\n") * 3 + one)
        client.sendall(b"Connection: close\r\n\r\n")
        replies = b"".join(iter(lambda: client.recv(1 << 16), b""))
        assert replies.count(b"HTTP/1.1 200 OK") == 4


# Replies


@pytest.fixture
def large(root: Path) -> bytes:
    content = os.urandom(24 << 20)
    (root / "google/large").mkdir()
    (root / "google/large/1.tar.gz").write_bytes(content)
    return content


def test_a_reader_that_does_not_read_is_given_up(root: Path, large: bytes):
    limits = ConnectionLimits(10, 10, look_s=0.3)
    with serving(root, limits) as url, connect(url, receive_bytes=4096) as stuck:
        stuck.sendall(f"GET /google/large/1{COMPRESSED} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        assert stuck.recv(12) == b"HTTP/1.1 200"
        # Nothing more is read; what the host did with the connection, the kernel tells.
        assert eventually(lambda: _state(stuck) != _ESTABLISHED, TIMEOUT_S)


_ESTABLISHED = 1


def _state(client: socket.socket) -> int:
    return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def test_a_reader_that_reads_slowly_gets_everything(root: Path, large: bytes):
    limits = ConnectionLimits(10, 10, look_s=0.2, floor_bytes_per_s=64 << 10)
    with serving(root, limits) as url, connect(url, receive_bytes=64 << 10) as slow:
        slow.sendall(f"GET /google/large/1{COMPRESSED} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        received = bytearray()
        for _ in range(20):
            received += slow.recv(256 << 10)
            time.sleep(0.05)
        while part := slow.recv(1 << 20):
            received += part
    is_whole = received.partition(b"\r\n\r\n")[2] == large
    assert is_whole


@pytest.mark.parametrize("asked", ["0-0," * 1500 + "1-1", ",".join(f"0-{n}" for n in range(1000)), "0-99,50-149"])
def test_many_and_overlapping_ranges_get_the_whole_once(root: Path, large: bytes, asked: str):
    with serving(root) as url:
        reply = requests.get(
            f"{url}/google/large/1{COMPRESSED}", headers={"Range": f"bytes={asked}"}, timeout=TIMEOUT_S
        )
    is_whole = reply.content == large
    assert (reply.status_code, is_whole) == (200, True)


@pytest.mark.parametrize(
    "head",
    [b"X: " + b"y" * 20_000, b"".join(b"X-%d: y\r\n" % n for n in range(2000)), b"X: " + b"y" * (64 << 20)],
    ids=["long", "many", "endless"],
)
def test_huge_heads_are_refused(root: Path, head: bytes, caplog: pytest.LogCaptureFixture):
    with serving(root) as url, connect(url) as client:
        try:
            client.sendall(b"GET /google/spice/1 HTTP/1.1\r\nHost: h\r\n" + head + b"\r\n\r\n")
            status = client.recv(12)
        except ConnectionError:  # it did not listen to the end
            status = b"a reset, which is as good as 400"
        assert status.endswith(b" 400")
        assert requests.get(f"{url}/google/spice/1", timeout=TIMEOUT_S).status_code == 200
    assert not caplog.records, "a client that sends nonsense fills no log"


# Archives


def used_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@pytest.fixture
def models(root: Path) -> list[str]:
    handles = [f"google/model-{n}/1" for n in range(6)]
    for n, handle in enumerate(handles):
        write_model(root, handle, seed=n, size_bytes=1 << 20)
    return handles


@pytest.fixture
def host(root: Path, models: list[str], tmp_path: Path) -> Iterator[str]:
    with serving(root, archive_dir=tmp_path / "archives", archive_size_bytes=5 << 19) as url:
        yield url


def archive(url: str, handle: str) -> requests.Response:
    return requests.get(f"{url}/{handle}{COMPRESSED}", timeout=TIMEOUT_S)


def test_archives_take_no_more_than_they_may(host: str, models: list[str], tmp_path: Path):
    first = {}
    for handle in models:
        reply = archive(host, handle)
        assert reply.status_code == 200
        first[handle] = reply.content
        assert used_bytes(tmp_path / "archives") <= 5 << 19
    for handle in models:  # built anew, and the same
        assert archive(host, handle).content == first[handle]


def test_what_was_asked_for_last_is_kept(host: str, models: list[str], tmp_path: Path):
    one, two, three = models[:3]

    def built() -> set[str]:
        return {file.name for file in (tmp_path / "archives").glob("*/*.tar.gz")}

    archive(host, one)
    archive(host, two)
    assert built() == {"1.tar.gz", "2.tar.gz"}
    archive(host, one)
    archive(host, three)
    assert built() == {"1.tar.gz", "3.tar.gz"}
    archive(host, one)
    assert built() == {"1.tar.gz", "3.tar.gz"}


@pytest.mark.slow
def test_an_archive_that_is_being_sent_stays(root: Path, tmp_path: Path):
    one, two, three = (f"google/heavy-{n}/1" for n in range(3))
    for n, handle in enumerate((one, two, three)):
        write_model(root, handle, seed=n, size_bytes=16 << 20)
    with ExitStack() as opened:
        host = opened.enter_context(serving(root, archive_dir=tmp_path / "archives", archive_size_bytes=40 << 20))
        expected = archive(host, one).content
        slow = []
        for handle in (one, two):
            client = opened.enter_context(connect(host, receive_bytes=4096))
            client.sendall(f"GET /{handle}{COMPRESSED} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
            assert client.recv(12) == b"HTTP/1.1 200"
            slow.append(client)
        refused = archive(host, three)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        assert "all room for archives is in use" in refused.text
        rest = b"".join(iter(lambda: slow[0].recv(1 << 16), b""))
        is_whole = rest.partition(b"\r\n\r\n")[2] == expected
        assert is_whole
        assert eventually(lambda: archive(host, three).status_code == 200)


def test_a_model_that_is_too_large_says_so(root: Path, tmp_path: Path):
    write_model(root, "google/large/1", size_bytes=1 << 20)
    with serving(root, archive_dir=tmp_path / "archives", archive_size_bytes=1 << 20) as url:
        reply = archive(url, "google/large/1")
    assert reply.status_code == 503
    assert "--archive-size" in reply.text


def test_what_a_killed_process_left_is_deleted(root: Path, tmp_path: Path):
    archives = tmp_path / "archives"
    killed, other, young = (archives / f"hubfs-serve-{name}" for name in ("killed", "other", "young"))
    for folder in (killed, other, young):
        folder.mkdir(parents=True)
        (folder / "1.tar.gz").write_bytes(b"x")
    (archives / "mine").mkdir()
    for folder in (killed, other, archives / "mine"):
        os.utime(folder, (1, 1))
    lock = os.open(other, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with serving(root, archive_dir=archives) as url:
            assert archive(url, "google/spice/1").status_code == 200
            assert not killed.exists()
    finally:
        os.close(lock)
    assert {path.name for path in archives.iterdir()} == {other.name, young.name, "mine"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_another_user_has_there_is_left_alone(root: Path, tmp_path: Path):
    others = tmp_path / "archives/hubfs-serve-others"
    others.mkdir(parents=True)
    os.chown(others, 65534, 65534)
    os.utime(others, (1, 1))
    with serving(root, archive_dir=tmp_path / "archives"):
        assert others.exists()


@pytest.mark.parametrize("by", ["directory", "symlink", "nothing"])
def test_what_is_put_in_the_place_of_the_folder_is_not_served(root: Path, tmp_path: Path, by: str):
    """Its name can be seen in /tmp, and is anybody's once a program that cleans /tmp has deleted it."""
    archives, planted = tmp_path / "archives", tmp_path / "planted"
    planted.mkdir()
    for n in range(1, 4):
        (planted / f"{n}.tar.gz").write_bytes(b"planted")
    with serving(root, archive_dir=archives) as url:
        expected = archive(url, "google/spice/1").content
        (folder,) = archives.iterdir()
        folder.rename(tmp_path / "deleted")
        if by == "directory":
            planted.rename(folder)
        elif by == "symlink":
            folder.symlink_to(planted)
        assert archive(url, "google/spice/1").content == expected
        assert archive(url, "google/spice/1").content == expected
    left = [*(folder if by == "directory" else planted).iterdir()]
    assert [path.read_bytes() for path in left] == [b"planted"] * 3


# What is nobody's business


def members(reply: requests.Response) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(reply.content)) as tar:
        return {name.removeprefix("./") for name in tar.getnames()}


def test_hidden_files_are_served_only_if_asked_for(root: Path):
    secret, git = root / "google/spice/1/.env", root / "google/spice/1/.git/config"
    git.parent.mkdir()
    for file in (secret, git, root / "google/spice/1/assets/.netrc"):
        file.write_text("password")
    page = root / "google/tfjs-model/web/1"
    page.mkdir(parents=True)
    (page / "model.json").write_text("{}")
    (page / ".env").write_text("password")
    hidden = {".env", ".git", ".git/config", "assets/.netrc"}
    for asked_for in (False, True):
        with serving(root, hidden=asked_for) as url:
            names = members(archive(url, "google/spice/1"))
            assert (names & hidden) == (hidden if asked_for else set())
            assert "saved_model.pb" in names
            assert (".env" in requests.get(f"{url}/google/spice/1", timeout=TIMEOUT_S).text) is asked_for
            file = requests.get(f"{url}/google/tfjs-model/web/1/.env?tfjs-format=file", timeout=TIMEOUT_S)
            assert file.status_code == (200 if asked_for else 404)
