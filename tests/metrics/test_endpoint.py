import contextlib
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from hubfs.errors import MountFailed
from hubfs.metrics import endpoint as endpoint_module
from hubfs.metrics.address import Address
from hubfs.metrics.endpoint import Endpoint
from hubfs.waiting import Cancellation
from tests.support.waiting import eventually

ANYWHERE = Address("127.0.0.1", 0)


class Told:
    """Renders, and counts how often."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, accept: str) -> tuple[bytes, str]:
        self.asked.append(accept)
        return b"one 1\n", "text/plain; version=0.0.4"


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def port(told: Told, cancellation: Cancellation) -> Iterator[int]:
    endpoint = Endpoint(ANYWHERE)
    endpoint.open()
    assert endpoint.where is not None
    endpoint.serve(told, cancellation)
    yield int(endpoint.where.rpartition(":")[2])
    cancellation.cancel()
    assert eventually(lambda: not threads())
    assert endpoint.where is None


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name in ("metrics", "scrape")]


def got(port: int, path: str = "/metrics", method: str = "GET", **headers: str) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request(method, path, headers=headers)
        reply = connection.getresponse()
        return reply.status, reply.read()


def said_to(port: int, words: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(words)
        return b"".join(iter(lambda: client.recv(4096), b""))


def test_metrics_are_served_and_nothing_else(port: int) -> None:
    assert got(port) == (200, b"one 1\n")
    assert got(port, "/metrics?x=1") == (200, b"one 1\n")
    assert got(port, method="HEAD") == (200, b"")
    assert got(port, "/")[0] == got(port, "/etc/passwd")[0] == got(port, "//metrics")[0] == 404
    assert got(port, method="POST")[0] == 405


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (b"\r\n\r\n", b" 400 "),
        (b"\x16\x03\x01 hello\r\n\r\n", b" 400 "),
        (b"GET /metrics\n\n", b" 400 "),
        (b"GET /metrics HTTP/1.1\n\n", b" 200 "),
        (b"GET /metrics HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", b" 431 "),
        (b"GET /" + b"m" * 10_000, b" 400 "),
    ],
)
def test_what_is_no_request_is_told_so(port: int, words: bytes, status: bytes) -> None:
    with contextlib.suppress(ConnectionError):  # the rest of a long one is not read
        assert status in said_to(port, words).partition(b"\r\n")[0]
    assert got(port)[0] == 200


def test_a_client_has_no_text_made_by_another_word(port: int, told: Told) -> None:
    asked = {got(port, Accept=f"application/openmetrics-text; version=1.0.0; x={number}") for number in range(3)}
    assert asked == {(200, b"one 1\n")}
    assert {*told.asked} == {"application/openmetrics-text;version=1.0.0"}


def test_clients_that_say_nothing_keep_nobody_out(port: int) -> None:
    with contextlib.ExitStack() as silent:
        clients = [silent.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30)) for _ in range(30)]
        assert got(port) == (200, b"one 1\n")
        assert clients[0].recv(1) == b"", "the one that is there longest goes first"
        assert len(threads()) <= 30


def test_a_client_that_dawdles_is_given_up(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "_CLIENT_S", 0.2)
    cancellation, endpoint = Cancellation(), Endpoint(ANYWHERE)
    endpoint.open()
    endpoint.serve(told, cancellation)
    port = int(str(endpoint.where).rpartition(":")[2])
    try:
        with (
            contextlib.suppress(ConnectionError),  # it may be given up before it says this
            socket.create_connection(("127.0.0.1", port), timeout=30) as client,
        ):
            client.sendall(b"GET /metrics HTTP/1.1\r\n")
            assert client.recv(1) == b""
    finally:
        cancellation.cancel()
    assert eventually(lambda: not threads())


def test_a_client_that_takes_no_reply_is_given_up(cancellation: Cancellation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "_CLIENT_S", 2.0)
    endpoint = Endpoint(ANYWHERE)
    endpoint.open()
    endpoint.serve(lambda _: (bytes(32 << 20), "text/plain"), cancellation)
    port = int(str(endpoint.where).rpartition(":")[2])
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            assert client.recv(1) == b"H"
            assert eventually(lambda: threads() == ["metrics"]), "it waits for its client for ever"
    finally:
        cancellation.cancel()
    assert eventually(lambda: not threads())


def test_it_listens_where_it_is_told_and_nowhere_else(port: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=30)


def test_a_port_that_is_taken_is_one_clear_line(port: int) -> None:
    with pytest.raises(MountFailed, match=rf"^--metrics-addr 127.0.0.1:{port}: .*in use.*another"):
        Endpoint(Address("127.0.0.1", port)).open()


def test_a_host_that_is_none_is_one_clear_line() -> None:
    with pytest.raises(MountFailed, match=r"^--metrics-addr no host:1: "):
        Endpoint(Address("no host", 1)).open()


def test_a_port_that_becomes_free_is_taken_then(
    told: Told, cancellation: Cancellation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_module, "_AGAIN_S", 0.01)
    with socket.create_server(ANYWHERE) as other:
        port = other.getsockname()[1]
        endpoint = Endpoint(Address("127.0.0.1", port))
        endpoint.serve(told, cancellation)
        assert endpoint.where is None
    assert eventually(lambda: endpoint.where is not None)
    assert got(port) == (200, b"one 1\n")
    cancellation.cancel()
    assert eventually(lambda: not threads())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=30)


def test_an_error_of_the_status_ends_one_reply(cancellation: Cancellation) -> None:
    def fails(_accept: str) -> tuple[bytes, str]:
        raise MountFailed("no numbers")

    endpoint = Endpoint(ANYWHERE)
    endpoint.open()
    endpoint.serve(fails, cancellation)
    port = int(str(endpoint.where).rpartition(":")[2])
    try:
        assert said_to(port, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
        assert got(port, "/")[0] == 404
    finally:
        cancellation.cancel()
    assert eventually(lambda: not threads())
