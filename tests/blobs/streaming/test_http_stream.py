import random
import threading
import time
from base64 import b64encode

import google_crc32c
import pytest

from hubfs.blobs.http.client import WHOLE_BYTES
from hubfs.blobs.streaming.http_stream import HttpStream
from hubfs.errors import AccessDenied, Cancelled, Damaged, Stale, TimedOut, Unavailable
from hubfs.waiting import Cancellation
from tests.support.http_clients import http_client
from tests.support.http_origin import (
    Answer,
    HttpOrigin,
    Request,
    Resource,
    cut,
    paced,
    redirect,
    stall,
    status,
    well,
)
from tests.support.waiting import Stopwatch

PAYLOAD = random.Random(3).randbytes(3_000_000)
DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.fixture
def origin():
    with HttpOrigin() as origin:
        origin.put("/a", PAYLOAD, etag='"v1"')
        yield origin


@pytest.fixture
def hasty():
    """A client for hosts that are silent for ever."""
    with http_client(stall_timeout_s=1.0) as client:
        yield client


def test_a_stream_says_where_it_is_from_and_how_large_it_is(origin, client) -> None:
    stream = HttpStream(client, origin.url + "/a?hush")
    assert (stream.url, stream.size_bytes) == (origin.url + "/a", len(PAYLOAD))


def test_the_origin_sends_each_byte_once(origin, client) -> None:
    stream = HttpStream(client, origin.url + "/a")
    origin.reset()
    assert b"".join(stream.chunks()) == PAYLOAD
    assert origin.body_bytes_sent() == len(PAYLOAD)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_small_object_comes_with_the_first_reply_once(origin, client, *, ranges: bool) -> None:
    small = PAYLOAD[:WHOLE_BYTES]
    origin.put("/a", small, etag='"v1"', ranges=ranges)
    stream = HttpStream(client, origin.url + "/a")
    assert stream.is_here
    assert b"".join(stream.chunks()) == small
    assert len(origin.requests) == 1
    assert not stream.is_here
    assert b"".join(stream.chunks()) == small
    assert len(origin.requests) == 2


def test_what_came_with_the_first_reply_is_of_the_object_that_was_found_then(origin, client) -> None:
    origin.put("/a", PAYLOAD[:1000], etag='"v1"')
    stream = HttpStream(client, origin.url + "/a")
    origin.put("/a", PAYLOAD[1000:2000], etag='"v2"')
    assert client.probe(origin.url + "/a", fresh=True, first_bytes=WHOLE_BYTES).etag == '"v2"'
    assert not stream.is_here
    with pytest.raises(Stale):
        list(stream.chunks())


def test_a_small_object_that_is_not_what_its_store_announced_is_damaged(origin, client) -> None:
    announced = b64encode(google_crc32c.value(PAYLOAD[:1000]).to_bytes(4, "big")).decode()
    origin.put("/a", PAYLOAD[1000:2000], etag='"v1"', headers={"X-Goog-Hash": f"crc32c={announced}"})
    with pytest.raises(Damaged, match="crc32c"):
        list(HttpStream(client, origin.url + "/a").chunks())


def test_a_larger_object_is_read_from_its_start(origin, client) -> None:
    large = PAYLOAD[: WHOLE_BYTES + 1]
    origin.put("/a", large, etag='"v1"')
    stream = HttpStream(client, origin.url + "/a")
    assert not stream.is_here
    assert b"".join(stream.chunks()) == large
    assert len(origin.requests) == 2


def test_an_empty_stream_has_no_chunks(origin, client) -> None:
    origin.put("/a", b"", etag='"v1"')
    assert list(HttpStream(client, origin.url + "/a").chunks()) == []


def test_chunks_are_worth_handling(origin, client) -> None:
    chunks = list(HttpStream(client, origin.url + "/a").chunks())
    assert max(map(len, chunks)) == 256 * 1024
    assert len(chunks) < 1.5 * len(PAYLOAD) / (256 * 1024)


@pytest.mark.slow
def test_bytes_of_a_slow_line_are_not_held_back(origin, client) -> None:
    stream = HttpStream(client, origin.url + "/a")
    origin.always("/a", paced(16_000))
    watch = Stopwatch()
    chunks = stream.chunks()
    assert PAYLOAD.startswith(next(chunks))
    assert watch.took_s() < 10  # 256 KiB would have taken 16 s
    chunks.close()


def test_closing_the_generator_ends_the_transfer(origin, client) -> None:
    stream = HttpStream(client, origin.url + "/a")
    origin.always("/a", paced(1_000_000))
    chunks = stream.chunks()
    next(chunks)
    chunks.close()
    sent = None
    while sent != (sent := origin.body_bytes_sent("/a")):  # what is on its way comes to an end
        time.sleep(0.3)
    assert sent < len(PAYLOAD)


@pytest.mark.slow
@pytest.mark.parametrize("breakage", [cut(after=1_000_000), cut(after=1_000_000, reset=True), stall(after=1_000_000)])
def test_a_broken_transfer_goes_on_from_where_it_broke(origin, hasty, breakage) -> None:
    stream = HttpStream(hasty, origin.url + "/a")
    origin.reset()
    origin.script("/a", breakage, breakage)
    assert b"".join(stream.chunks()) == PAYLOAD
    resumed = origin.requests[1].headers
    assert (resumed["range"][:6], resumed["if-range"]) == ("bytes=", '"v1"')
    assert origin.body_bytes_sent() < 1.1 * len(PAYLOAD)


def test_attempts_count_anew_after_progress(origin, client) -> None:
    stream = HttpStream(client, origin.url + "/a")
    origin.reset()
    origin.always("/a", cut(after=100_000))
    assert b"".join(stream.chunks()) == PAYLOAD
    assert 30 <= len(origin.requests) <= 50  # of 12 pieces, and three attempts each


def test_a_stream_that_makes_no_progress_is_given_up(origin, client) -> None:
    stream = HttpStream(client, origin.url + "/a")
    origin.reset()
    origin.script("/a", cut(after=1000))
    origin.always("/a", cut(after=0))
    chunks = stream.chunks()
    assert next(chunks) == PAYLOAD[:1000]
    with pytest.raises(Unavailable, match=rf"{origin.url}/a could not be read"):
        next(chunks)
    assert len(origin.requests) == 3


@pytest.mark.slow
def test_a_stream_that_stays_silent_times_out(origin, hasty) -> None:
    stream = HttpStream(hasty, origin.url + "/a")
    origin.always("/a", stall(after=0))
    with pytest.raises(TimedOut):
        list(stream.chunks())


@pytest.mark.parametrize("code", [429, 503])
def test_a_busy_host_is_asked_again(origin, client, code: int) -> None:
    stream = HttpStream(client, origin.url + "/a")
    origin.script("/a", cut(after=500_000), status(code, {"Retry-After": "0"}))
    assert b"".join(stream.chunks()) == PAYLOAD


@pytest.mark.parametrize("virtues", [{"etag": '"v1"'}, {"last_modified": DATE}, {}])
def test_a_host_without_ranges_is_read_from_the_start_again(origin, client, virtues) -> None:
    origin.put("/a", PAYLOAD, ranges=False, **virtues)
    stream = HttpStream(client, origin.url + "/a")
    origin.script("/a", cut(after=1_500_000), cut(after=1_000), cut(after=2_500_000))
    assert b"".join(stream.chunks()) == PAYLOAD


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"etag": '"v1"'}, {"etag": '"v2"'}),
        ({"last_modified": DATE}, {"last_modified": "Wed, 21 Oct 2015 07:28:09 GMT"}),
        ({"etag": 'W/"v1"'}, {"etag": 'W/"v2"'}),
    ],
)
def test_what_changed_in_mid_stream_is_stale(origin, client, ranges, before, after) -> None:
    origin.put("/a", PAYLOAD, ranges=ranges, **before)
    stream = HttpStream(client, origin.url + "/a")
    origin.script("/a", cut(after=1_000_000))
    chunks = stream.chunks()
    got = [next(chunks)]
    origin.put("/a", PAYLOAD[::-1], ranges=ranges, **after)
    with pytest.raises(Stale, match="changed"):
        got.extend(chunks)
    assert PAYLOAD.startswith(b"".join(got))


@pytest.mark.slow
def test_a_large_archive_comes_over_several_connections_and_each_byte_once(origin, client) -> None:
    payload = random.Random(4).randbytes(24_000_000)
    origin.put("/a", payload, etag='"v1"')
    stream = HttpStream(client, origin.url + "/a")
    origin.reset()
    origin.always("/a", paced(4_000_000))  # which does not take the machine: of that, several take no more than one
    assert b"".join(stream.chunks()) == payload
    assert origin.most_under_way > 3
    assert origin.body_bytes_sent() == len(payload)
    assert 3 < origin.connections <= 17


def test_one_connection_may_be_asked_for(origin, client) -> None:
    stream = HttpStream(client, origin.url + "/a", connections=1)
    origin.reset()
    assert b"".join(stream.chunks()) == PAYLOAD
    assert ["range" in request.headers for request in origin.requests] == [False]


def without_ranges_after(request_count: int, **virtues: object):
    """A host that answers so many requests as it should, and then forgets what a range is."""
    asked: list[Request] = []

    def route(request: Request) -> Answer:
        asked.append(request)
        return Resource(PAYLOAD, ranges=len(asked) <= request_count, **virtues)(request)

    return route


@pytest.mark.parametrize("virtues", [{"etag": '"v1"'}, {"last_modified": DATE}, {}])
@pytest.mark.parametrize("request_count", [1, 2, 4])
def test_a_host_that_stops_answering_ranges_is_read_over_one_connection(origin, client, virtues, request_count) -> None:
    origin.route("/a", without_ranges_after(request_count, **virtues))
    assert b"".join(HttpStream(client, origin.url + "/a").chunks()) == PAYLOAD


def test_a_host_that_sends_more_than_a_range_is_read_over_one_connection(origin, client) -> None:
    def to_the_end(request: Request) -> Answer:
        wanted = request.headers.get("range", "bytes=0-").removesuffix("-511")
        headers = {**request.headers, "range": wanted.rpartition("-")[0] + "-"}
        return Resource(PAYLOAD, etag='"v1"')(Request(request.path, request.query, headers))

    origin.route("/a", to_the_end)
    assert b"".join(HttpStream(client, origin.url + "/a").chunks()) == PAYLOAD


def test_a_host_that_sends_less_than_a_range_is_asked_for_the_rest(origin, client) -> None:
    def a_little(request: Request) -> Answer:
        start, _, last = request.headers["range"].removeprefix("bytes=").partition("-")
        wanted = f"bytes={start}-{min(int(last), int(start) + 99_999)}"
        return Resource(PAYLOAD, etag='"v1"')(Request(request.path, request.query, {"range": wanted}))

    origin.route("/a", a_little)
    assert b"".join(HttpStream(client, origin.url + "/a").chunks()) == PAYLOAD
    assert origin.body_bytes_sent() == len(PAYLOAD) + WHOLE_BYTES


@pytest.mark.slow
def test_a_signature_that_expires_for_many_ranges_is_renewed_once(origin, client) -> None:
    good = [1]
    payload = random.Random(4).randbytes(20_000_000)
    resource = Resource(payload, etag='"v1"')

    def store(request: Request) -> Answer:
        return resource(request) if request.query == f"signature={good[0]}" else Answer(403)

    def hub(_: Request) -> Answer:
        time.sleep(0.3)
        return Answer(302, {"Location": f"/store?signature={good[0]}"})

    origin.route("/hub", hub)
    origin.route("/store", store)
    stream = HttpStream(client, origin.url + "/hub")
    origin.always("/store", paced(8_000_000))
    chunks = stream.chunks()
    got = [next(chunks)]
    while sum(map(len, got)) < 1_000_000:
        got.append(next(chunks))
    good[0] = 2
    got.extend(chunks)
    assert b"".join(got) == payload
    assert sum(request.path == "/hub" for request in origin.requests) == 2


def test_closing_ends_transfers_that_are_silent_and_their_threads(origin) -> None:
    with http_client(stall_timeout_s=200) as patient:
        stream = HttpStream(patient, origin.url + "/a")
        origin.script("/a", well())
        origin.always("/a", stall(after=100_000))
        chunks = stream.chunks()
        next(chunks)
        while origin.body_bytes_sent() < 300_000:
            time.sleep(0.01)
        began_s = time.monotonic()
        chunks.close()
        while any(thread.name.startswith("hubfs-range") for thread in threading.enumerate()):
            assert time.monotonic() - began_s < 100, "a time-out of 200 s was waited for"
            time.sleep(0.01)


def test_what_changed_before_the_first_byte_is_stale(origin, client) -> None:
    stream = HttpStream(client, origin.url + "/a")
    origin.put("/a", PAYLOAD[::-1], etag='"v2"')
    with pytest.raises(Stale):
        next(stream.chunks())


def test_a_stream_that_says_neither_size_nor_version_is_read_but_not_resumed(origin, client) -> None:
    origin.put("/a", PAYLOAD, ranges=False, chunked=True)
    stream = HttpStream(client, origin.url + "/a")
    assert stream.size_bytes is None
    assert b"".join(stream.chunks()) == PAYLOAD
    origin.script("/a", cut(after=1_000_000))
    with pytest.raises(Unavailable):
        list(stream.chunks())


def test_a_chunked_stream_with_an_etag_is_resumed(origin, client) -> None:
    origin.put("/a", PAYLOAD, ranges=False, chunked=True, etag='"v1"')
    stream = HttpStream(client, origin.url + "/a")
    origin.script("/a", cut(after=1_000_000))
    assert b"".join(stream.chunks()) == PAYLOAD


@pytest.mark.parametrize(("size", "reason"), [(2_000_000, "ended after 2000000 of 3000000"), (3_000_001, "more bytes")])
def test_a_body_of_another_length_than_announced_is_damaged(origin, client, size: int, reason: str) -> None:
    body = (PAYLOAD + b"!")[:size]

    def lying(request: Request) -> Answer:
        if request.headers.get("range") == f"bytes=0-{WHOLE_BYTES - 1}":
            return Resource(PAYLOAD, etag='"v1"')(request)
        start = int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        headers = {"ETag": '"v1"'}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(PAYLOAD) - 1}/{len(PAYLOAD)}"
        return Answer(206 if start else 200, headers, body[start:], chunked=True)

    origin.route("/a", lying)
    got: list[bytes] = []
    with pytest.raises(Damaged, match=reason):
        got.extend(HttpStream(client, origin.url + "/a").chunks())
    assert got
    assert PAYLOAD.startswith(b"".join(got))


def test_a_signature_that_expires_in_mid_stream_is_renewed(origin, client) -> None:
    good = [1]
    resource = Resource(PAYLOAD, etag='"v1"')

    def store(request: Request) -> Answer:
        return resource(request) if request.query == f"signature={good[0]}" else Answer(403)

    origin.route("/hub", lambda _: Answer(302, {"Location": f"/store?signature={good[0]}"}))
    origin.route("/store", store)
    stream = HttpStream(client, origin.url + "/hub")
    origin.script("/store", cut(after=1_000_000))
    chunks = stream.chunks()
    got = next(chunks)
    good[0] = 2
    got += b"".join(chunks)
    assert got == PAYLOAD
    assert stream.url == origin.url + "/hub"
    assert sum(request.path == "/hub" for request in origin.requests) == 2


def test_a_refusal_in_mid_stream_is_access_denied(origin, client) -> None:
    origin.route("/hub", redirect("/a"))
    stream = HttpStream(client, origin.url + "/hub")
    origin.script("/a", cut(after=1_000_000))
    origin.always("/a", status(403))
    with pytest.raises(AccessDenied):
        list(stream.chunks())


def test_opening_right_after_resolving_costs_no_second_probe(origin, client) -> None:
    client.probe(origin.url + "/a")
    HttpStream(client, origin.url + "/a")
    assert len(origin.requests) == 1


def test_a_cancel_ends_a_stalled_stream_at_once(origin) -> None:
    cancellation = Cancellation()
    with http_client(cancellation, stall_timeout_s=200) as client:
        stream = HttpStream(client, origin.url + "/a")
        origin.always("/a", stall(after=1_000_000))
        timer = threading.Timer(0.3, cancellation.cancel)
        timer.start()
        started_s = time.monotonic()
        with pytest.raises(Cancelled):
            list(stream.chunks())
        assert time.monotonic() - started_s < 100, "a time-out of 200 s was waited for"
        timer.join()


class TestIdentity:
    def test_is_the_same_for_the_same_etag_wherever_it_is(self, origin, client) -> None:
        origin.put("/b", PAYLOAD[:9], etag='"v1"')
        origin.put("/c", PAYLOAD[:9], etag='"v2"')
        a, b, c = (HttpStream(client, f"{origin.url}/{name}").identity for name in "abc")
        assert a == b != c

    def test_is_made_of_date_and_size_where_there_is_no_strong_etag(self, origin, client) -> None:
        origin.put("/a", PAYLOAD, last_modified=DATE, etag='W/"v1"')
        origin.put("/b", PAYLOAD, last_modified=DATE)
        origin.put("/c", PAYLOAD[:9], last_modified=DATE)
        a, b, c = (HttpStream(client, f"{origin.url}/{name}").identity for name in "abc")
        assert a == b != c

    def test_is_unique_where_the_host_names_no_version(self, origin, client) -> None:
        origin.put("/a", PAYLOAD)
        one, other = HttpStream(client, origin.url + "/a"), HttpStream(client, origin.url + "/a")
        assert one.identity == one.identity != other.identity


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("place", [0, len(PAYLOAD) - 1])
def test_bytes_that_are_not_what_the_store_announced_are_damage_before_the_last_is_yielded(
    origin, client, place: int, ranges
) -> None:
    crc = b64encode(google_crc32c.value(PAYLOAD).to_bytes(4, "big")).decode()
    spoiled = bytearray(PAYLOAD)
    spoiled[place] ^= 1
    virtues = {"etag": '"v1"', "ranges": ranges, "headers": {"X-Goog-Hash": f"crc32c={crc}"}}
    origin.put("/b", PAYLOAD, **virtues)
    stream = HttpStream(client, origin.url + "/b")
    assert b"".join(stream.chunks()) == PAYLOAD
    origin.put("/b", bytes(spoiled), **virtues)
    got = []
    with pytest.raises(Damaged, match=f"{origin.url}/b is damaged: its crc32c is"):
        got.extend(stream.chunks())
    assert sum(map(len, got)) < len(PAYLOAD)
