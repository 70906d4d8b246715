"""How long the head of a reply is waited for, and what ends the wait."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hubfs.blobs.http.blob import PinnedObject
from hubfs.blobs.streaming.ranges import Ranges
from hubfs.errors import TimedOut
from hubfs.waiting import Cancellation
from tests.support.certificates import self_signed
from tests.support.fault_proxy import slow_header
from tests.support.http_clients import http_client
from tests.support.http_origin import HttpOrigin, stall_first
from tests.support.tunnel import tunnel

DATA = bytes(range(256)) * 400


@pytest.fixture
def origin() -> Iterator[HttpOrigin]:
    with HttpOrigin() as origin:
        origin.put("/a", DATA, etag='"v1"')
        yield origin


def test_a_head_that_comes_a_byte_at_a_time_is_borne_no_longer_than_silence(origin: HttpOrigin) -> None:
    origin.always("/a", lambda answer: replace(answer, wire=slow_header(every_s=0.05, bytes_in_all=4000)))
    with http_client(stall_timeout_s=0.4) as client:
        began_s = time.monotonic()
        with pytest.raises(TimedOut, match=r"sent nothing for 0\.4 s"):
            client.open(origin.url + "/a")
        assert 0.4 <= time.monotonic() - began_s < 100, "the whole head takes 200 s"


@pytest.mark.parametrize("way", ["", "http", "https"])
def test_nor_over_tls_and_through_a_proxy(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS through a TLS proxy is no socket of Python's: nothing but the reply itself can bound its head."""
    certificate = self_signed(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    with HttpOrigin(certificate) as origin, tunnel(certificate if way == "https" else None) as proxy:
        if way:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        origin.put("/a", DATA, etag='"v1"')
        with http_client() as client, client.open(origin.url + "/a") as transfer:
            assert transfer.read_up_to(len(DATA) + 1) == DATA
        origin.always("/a", lambda answer: replace(answer, wire=slow_header(every_s=0.05, bytes_in_all=4000)))
        with http_client(stall_timeout_s=0.4) as client:
            began_s = time.monotonic()
            with pytest.raises(TimedOut):
                client.open(origin.url + "/a")
            assert 0.4 <= time.monotonic() - began_s < 100, "the whole head takes 200 s"
        assert bool(proxy.tunnels) == bool(way)


def test_no_thread_is_begun_for_a_head(origin: HttpOrigin, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, begin, begun = threading.current_thread(), threading.Thread.start, []

    def noted(thread: threading.Thread) -> None:
        if threading.current_thread() is reader:
            begun.append(thread)
        begin(thread)

    with http_client() as client:
        monkeypatch.setattr(threading.Thread, "start", noted)
        with client.open(origin.url + "/a") as transfer:
            assert transfer.read_up_to(len(DATA) + 1) == DATA
    assert begun == []


@pytest.mark.slow
def test_a_body_is_waited_for_as_long_as_ever_after_a_slow_head(origin: HttpOrigin) -> None:
    def paced() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n"
        time.sleep(2.7)
        yield b"Content-Length: 4\r\n\r\n"
        time.sleep(2.7)
        yield b"body"

    origin.always("/a", lambda answer: replace(answer, wire=paced()))
    with http_client(stall_timeout_s=5.0) as client, client.open(origin.url + "/a") as transfer:
        assert transfer.read_up_to(5) == b"body"


def test_a_range_whose_reply_does_not_begin_ends_with_its_reading(origin: HttpOrigin) -> None:
    with http_client(stall_timeout_s=200) as patient:
        url = origin.url + "/a"
        ranges = Ranges(PinnedObject(patient, url, {}), url, len(DATA))
        origin.always("/a", stall_first())
        stop = Cancellation()
        timer = threading.Timer(0.3, stop.cancel)
        timer.start()
        began_s = time.monotonic()
        with pytest.raises(TimedOut):
            ranges.begin(0, 1000, stop)
        assert 0.2 < time.monotonic() - began_s < 100, "a time-out of 200 s was waited for"
        timer.join()
        origin.always("/a", lambda answer: answer)
        assert b"".join(ranges.begin(0, 1000, Cancellation()).chunks()) == DATA[:1000]
