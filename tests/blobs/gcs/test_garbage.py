"""What a store is called that answers with no HTTP, or not with what GCS says: never a foreign exception."""

import email.utils
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import pytest

from hubfs.blobs.gcs.client import GcsClient
from hubfs.blobs.gcs.object import GcsObject
from hubfs.blobs.retry import Busy, Permanent, RetryPolicy
from hubfs.errors import HubfsError, TimedOut, Unavailable
from tests.support.fault_proxy import garbage, slow_header
from tests.support.http_clients import gcs_client
from tests.support.http_origin import Answer, HttpOrigin, Request

OBJECT = GcsObject("models", "a", 10, "1")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n"


@contextmanager
def store(answer: Answer, *, timeout_s: float = 20.0) -> Iterator[GcsClient]:
    """A client of a store that answers so, whatever it is asked."""
    with HttpOrigin() as origin:
        origin.route("/*", lambda _: answer)
        with gcs_client(origin.url, timeout_s=timeout_s, retry=RetryPolicy(attempts=1)) as client:
            yield client


@pytest.mark.parametrize(
    "answer",
    [
        Answer(wire=[garbage(1)]),
        Answer(wire=[b"HTTP/1.1 200 OK\r\n", garbage(2)]),
        Answer(wire=[CHUNKED, garbage(3, 100_000)]),
        Answer(wire=[b""]),
    ],
    ids=["no status line", "no headers", "no chunks", "nothing"],
)
def test_what_is_no_http_is_unavailable_and_may_pass(answer: Answer) -> None:
    with store(answer) as client, pytest.raises(Unavailable, match="gs://models/a: ") as raised:
        client.blob(OBJECT).read_at(0, 10)
    assert not isinstance(raised.value, Permanent)


def test_chunks_that_are_none_are_noticed_at_once_wherever_the_network_cuts_them() -> None:
    with store(Answer(wire=[CHUNKED, garbage(4, 100_000)])) as client:
        for _ in range(30):
            with pytest.raises(Unavailable):
                client.blob(OBJECT).read_at(0, 10)


def test_headers_that_come_a_byte_at_a_time_time_out() -> None:
    slow = Answer(wire=slow_header(every_s=0.05, bytes_in_all=200))
    said = r"gs://models/a: .* sent nothing for 0\.5 s"
    with store(slow, timeout_s=0.5) as client, pytest.raises(TimedOut, match=said):
        client.blob(OBJECT).read_at(0, 10)


def test_a_listing_that_trickles_is_given_up_though_bytes_come() -> None:
    def slow() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
        for _ in range(40):
            time.sleep(0.1)
            yield bytes(2000)  # faster than what counts as silence

    with (
        store(Answer(wire=slow()), timeout_s=0.5) as client,
        pytest.raises(TimedOut, match=r"gs://models/a/: .*no end"),
    ):
        client.list("models", "a/")


def test_redirects_in_a_circle_are_not_asked_again() -> None:
    def circle(request: Request) -> Answer:
        return Answer(302, {"Location": f"{request.path}?{request.query}"})

    with HttpOrigin() as origin:
        origin.route("/*", circle)
        with gcs_client(origin.url) as client, pytest.raises(Permanent, match="redirects more than 10 times"):
            client.blob(OBJECT).read_at(0, 10)


@pytest.mark.parametrize("status_line", [b"206 Partial Content", b"503 Busy"])
def test_a_body_without_an_end_is_not_taken_into_memory(status_line: bytes) -> None:
    sent = count()

    def endless() -> Iterator[bytes]:
        yield b"HTTP/1.1 %s\r\nContent-Range: bytes 0-9/10\r\nTransfer-Encoding: chunked\r\n\r\n" % status_line
        while next(sent) < 1000:
            yield b"100000\r\n" + bytes(1 << 20) + b"\r\n"

    with store(Answer(wire=endless())) as client:
        if b"206" in status_line:
            assert client.blob(OBJECT).read_at(0, 10) == bytes(10)  # and what follows is given up
        else:
            with pytest.raises(Unavailable):
                client.blob(OBJECT).read_at(0, 10)
    assert next(sent) < 100


def test_a_busy_store_may_name_a_date() -> None:
    date = email.utils.formatdate(time.time() + 20, usegmt=True)
    with store(Answer(503, {"Retry-After": date})) as client, pytest.raises(Busy) as raised:
        client.blob(OBJECT).read_at(0, 10)
    assert raised.value.retry_after_s is not None
    assert 15 < raised.value.retry_after_s <= 20


@pytest.mark.parametrize(("code", "wish", "wait_s"), [(429, "7", 7.0), (503, "soon", None), (500, "", None)])
def test_a_store_that_is_busy_says_for_how_long(code: int, wish: str, wait_s: float | None) -> None:
    with store(Answer(code, {"Retry-After": wish})) as client, pytest.raises(HubfsError) as raised:
        client.blob(OBJECT).read_at(0, 10)
    assert getattr(raised.value, "retry_after_s", "no Busy") == wait_s
