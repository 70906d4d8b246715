import http.client
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from scripts._bench.shaping import UNSHAPED, Link, Pace, Shaping, requests_in, shaping
from tests.support.nginx import nginx_hub

HANDLE = "acme/noise/1"
TARGET = f"/{HANDLE}?tf-hub-format=compressed"
SIZE_BYTES = 8_000_000


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "archive"
    path.write_bytes(os.urandom(SIZE_BYTES))
    return path


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory, archive: Path) -> Iterator[Shaping]:
    """The proxy in front of nginx."""
    with nginx_hub(tmp_path_factory.mktemp("nginx") / "hub") as hub, shaping(["hub"]) as link:
        hub.host_archive(HANDLE, archive)
        link.connect("hub", urlsplit(hub.url).port or 0)
        yield link


@pytest.fixture
def connection(link: Shaping) -> Iterator[http.client.HTTPConnection]:
    link.shape(UNSHAPED)
    link.reset()
    connection = http.client.HTTPConnection("127.0.0.1", link.ports["hub"], timeout=60)
    yield connection
    connection.close()


def fetched(link: Shaping, byte_range: str = "") -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", link.ports["hub"], timeout=60)
    try:
        return asked(connection, byte_range)
    finally:
        connection.close()


def asked(connection: http.client.HTTPConnection, byte_range: str = "") -> bytes:
    connection.request("GET", TARGET, headers={"Range": f"bytes={byte_range}"} if byte_range else {})
    return connection.getresponse().read()


def seconds(link: Shaping, byte_range: str) -> float:
    started_s = time.perf_counter()
    fetched(link, byte_range)
    return time.perf_counter() - started_s


def quickest(attempt: Callable[[], float]) -> float:
    """Of five attempts: the machine may stand still in some of them, and makes none quicker than the link."""
    return min(attempt() for _ in range(5))


def test_bytes_pass_unchanged(link: Shaping, archive: Path, connection: http.client.HTTPConnection) -> None:
    assert asked(connection) == archive.read_bytes()


def test_requests_bytes_and_connections_are_counted(link: Shaping, connection: http.client.HTTPConnection) -> None:
    asked(connection, "0-99999")
    asked(connection, "100000-199999")
    counts = link.counts()
    assert (counts.requests, counts.connections) == (2, 1)
    assert 200_000 < counts.sent_bytes < 202_000  # the heads of two answers
    assert counts.log == [f"GET {TARGET} HTTP/1.1 bytes={r}" for r in ("0-99999", "100000-199999")]


@pytest.mark.alone
def test_a_new_connection_costs_two_latencies_and_every_further_request_one(
    link: Shaping, connection: http.client.HTTPConnection
) -> None:
    link.shape(Link(latency_s=0.2))

    def first() -> float:
        connection.close()
        return further()

    def further() -> float:
        started_s = time.perf_counter()
        asked(connection, "0-9")
        return time.perf_counter() - started_s

    first_s, second_s = quickest(first), quickest(further)
    assert 0.4 <= first_s < 0.6
    assert 0.2 <= second_s < 0.4


@pytest.mark.alone
def test_a_connection_is_as_fast_as_it_may_be_and_no_faster(link: Shaping) -> None:
    link.shape(Link(connection_bytes_per_s=10e6))
    took_s = quickest(lambda: seconds(link, "0-4999999"))
    assert 0.45 < took_s < 0.9


@pytest.mark.alone
def test_connections_do_not_slow_each_other_down_but_for_the_total(link: Shaping) -> None:
    def together_s() -> float:
        started_s = time.perf_counter()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: fetched(link, "0-2499999"), range(4)))
        return time.perf_counter() - started_s

    link.shape(Link(connection_bytes_per_s=5e6))
    alone_s = quickest(together_s)
    link.shape(Link(connection_bytes_per_s=5e6, total_bytes_per_s=10e6))
    shared_s = quickest(together_s)
    assert 0.45 < alone_s < 0.95
    assert 0.95 < shared_s < 1.6


def test_a_reader_that_pauses_finds_little_more_than_a_buffer(link: Shaping) -> None:
    link.shape(Link(connection_bytes_per_s=1e6))
    started_s = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", link.ports["hub"], timeout=60)
    connection.request("GET", TARGET, headers={"Range": "bytes=0-999999"})
    time.sleep(0.5)
    connection.getresponse().read()
    connection.close()
    assert time.perf_counter() - started_s > 0.9


def test_a_pace_gives_no_credit_for_a_long_rest() -> None:
    pace = Pace(1000, credit_s=0.02)
    assert pace.reserve(1000, 5.0) == pytest.approx(5.98)
    assert pace.reserve(1000, 5.1) == pytest.approx(6.98)
    assert pace.reserve(1000, 60.0) == pytest.approx(60.98)


def test_a_pace_without_a_bound_is_always_free() -> None:
    assert Pace(0).reserve(1 << 40, 7.0) == 7.0


def test_requests_are_found_wherever_the_pieces_end() -> None:
    sent = b"POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\nHost: x\r\n\r\n"
    for size in (1, 7, 1000):
        pieces = [sent[start : start + size] for start in range(0, len(sent), size)]
        found = list(requests_in(iter([*pieces, b""]).__next__))
        assert b"".join(piece for piece, _ in found) == sent
        assert [piece.split(b" ")[1] for piece, body in found if not body] == [b"/a", b"/b"]
        assert b"".join(piece for piece, body in found if body) == b"hello"
