"""How long what lies between the bytes of a chunked body is waited for."""

import time
from collections.abc import Iterator

import pytest

from hubfs.errors import TimedOut
from tests.support.http_clients import http_client
from tests.support.http_origin import Answer, HttpOrigin

CHUNK = b"a" * 1000
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + CHUNK + b"\r\n"


def slowly(before: bytes, piece: bytes) -> Iterator[bytes]:
    yield HEAD + before
    for _ in range(4000):
        time.sleep(0.05)
        yield piece
    yield b"\r\n\r\n"


@pytest.mark.parametrize(
    ("before", "piece"), [(b"3e8;", b"x"), (b"0\r\n", b"name: trailer\r\n")], ids=["an extension", "trailers"]
)
def test_what_trickles_between_the_bytes_is_borne_no_longer_than_silence(before: bytes, piece: bytes) -> None:
    with HttpOrigin() as origin, http_client(stall_timeout_s=2.5) as client:
        origin.route("/a", lambda _: Answer(wire=slowly(before, piece)))
        with client.open(origin.url + "/a") as transfer:
            assert transfer.read_up_to(1000) == CHUNK
            began_s = time.monotonic()
            with pytest.raises(TimedOut):
                transfer.read(1)
            assert 2.4 <= time.monotonic() - began_s < 100, "all of it takes 200 s"


@pytest.mark.slow
def test_chunks_that_come_in_the_time_of_a_body_are_read() -> None:
    def paced() -> Iterator[bytes]:
        yield HEAD
        for _ in range(60):
            time.sleep(0.05)
            yield b"3e8;note=x\r\n" + CHUNK + b"\r\n"
        yield b"0\r\nname: trailer\r\n\r\n"

    with HttpOrigin() as origin, http_client(stall_timeout_s=2.5) as client:
        origin.route("/a", lambda _: Answer(wire=paced()))
        with client.open(origin.url + "/a") as transfer:
            assert transfer.read_up_to(70_000) == CHUNK * 61
