import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import google_crc32c
import pytest

from hubfs.blobs.checksums import Checksum
from hubfs.blobs.gcs.client import GcsClient, GcsSettings
from hubfs.blobs.gcs.object import GcsObject
from hubfs.blobs.retry import RetryPolicy
from hubfs.errors import AccessDenied, Cancelled, Damaged, NotFound, Stale, TimedOut, Unavailable
from hubfs.waiting import Cancellation
from tests.support.gcs_server import Fault, GcsServer, Passed, gcs_server
from tests.support.http_clients import QUICK, gcs_client
from tests.support.one_answer import one_answer
from tests.support.waiting import eventually

MIB = 1 << 20
FIRST = 256 << 10
DATA = random.Random(5).randbytes(20 * MIB + 12_345)
NAME = "google/spice/2.tar.gz"
URL = f"gs://bucket/{NAME}"


@pytest.fixture(scope="module")
def store() -> Iterator[GcsServer]:
    with gcs_server() as server:
        server.create_bucket("bucket")
        server.upload("bucket", NAME, DATA)
        server.upload("bucket", "empty", b"")
        yield server


def ranges(server: GcsServer) -> list[tuple[int, int]]:
    """Start and end of each range that was asked for, by start."""

    def of(request: Passed) -> tuple[int, int]:
        start, _, last = (request.range or "").removeprefix("bytes=").partition("-")
        return int(start), int(last) + 1

    return sorted(of(request) for request in server.downloads)


def test_a_stream_says_where_it_is_from_and_how_large_it_is(client: GcsClient) -> None:
    stream = client.stream(client.at(URL))
    assert (stream.url, stream.size_bytes) == (URL, len(DATA))


def test_the_store_sends_each_byte_once_in_ranges_that_grow(client: GcsClient, server: GcsServer) -> None:
    stream = client.stream(client.at(URL))
    assert len(server.requests) == 1
    list(stream.chunks())
    asked = ranges(server)
    assert [start for start, _ in asked] == [0, *(end for _, end in asked[:-1])]
    assert server.sent_bytes(f"bucket/{NAME}") == asked[-1][1] == len(DATA)
    assert asked[0][1] == FIRST
    assert FIRST < max(end - start for start, end in asked) <= 4 * MIB
    assert {request.query["generation"] for request in server.downloads} == {stream.identity.rpartition("#")[2]}


def test_a_reader_that_stops_is_not_run_away_from(client: GcsClient, server: GcsServer) -> None:
    chunks = client.stream(client.at(URL)).chunks()
    assert next(chunks) == DATA[:FIRST]
    assert next(chunks) == DATA[FIRST : 2 * FIRST]
    time.sleep(0.5)
    asked = ranges(server)
    assert 2 <= len(asked) <= 8
    assert asked[-1][1] < len(DATA) // 2
    chunks.close()


def test_an_empty_object_has_no_chunks_and_costs_no_read(client: GcsClient, server: GcsServer) -> None:
    assert list(client.stream(client.at("gs://bucket/empty")).chunks()) == []
    assert not server.downloads


def test_a_stream_of_a_listed_object_asks_for_its_bytes_only(client: GcsClient, server: GcsServer) -> None:
    (obj,) = client.list("bucket", NAME)
    server.reset()
    stream = client.stream(obj)
    assert not server.requests
    assert stream.identity == client.stream(client.at(URL)).identity
    assert b"".join(stream.chunks()) == DATA


@pytest.mark.parametrize("name", ["h#sh.tar.gz", "qu?ry=1.tgz", "p%2Fc%.tar", "ü/☃.tar.gz"])
def test_a_name_may_hold_any_character(client: GcsClient, server: GcsServer, name: str) -> None:
    server.upload("bucket", name, name.encode())
    stream = client.stream(client.at(f"gs://bucket/{name}"))
    assert stream.url == f"gs://bucket/{name}"
    assert b"".join(stream.chunks()) == name.encode()


def test_the_identity_is_of_bucket_name_and_generation(client: GcsClient, server: GcsServer) -> None:
    server.upload("bucket", "i/a", b"same")
    server.upload("bucket", "i/b", b"same")
    before = client.stream(client.at("gs://bucket/i/a")).identity
    assert before == client.stream(client.at("gs://bucket/i/a")).identity
    assert before != client.stream(client.at("gs://bucket/i/b")).identity
    server.upload("bucket", "i/a", b"same")
    assert client.stream(client.at("gs://bucket/i/a")).identity != before


@pytest.mark.parametrize("url", ["gs://bucket/absent", "gs://nobucket/absent"])
def test_an_object_that_is_not_there_is_not_found(client: GcsClient, url: str) -> None:
    with pytest.raises(NotFound, match=rf"{url}: .* does not exist \(status 404"):
        client.stream(client.at(url))


@pytest.mark.parametrize("url", ["gs://bucket", "gs://bucket/", "https://bucket/x", "gs:///x"])
def test_a_text_that_names_no_object_is_refused(client: GcsClient, url: str) -> None:
    with pytest.raises(Damaged, match=url):
        client.stream(client.at(url))


def test_cuts_and_server_errors_are_asked_again_for_their_range_only(client: GcsClient, server: GcsServer) -> None:
    stream = client.stream(client.at(URL))
    server.spoil(Fault(cut_after_bytes=1000), Fault(status=503))
    assert b"".join(stream.chunks()) == DATA
    assert server.sent_bytes() < len(DATA) + 10_000


def test_a_range_that_keeps_failing_is_given_up(client: GcsClient, server: GcsServer) -> None:
    server.upload("bucket", "failing", DATA)
    # By where it begins, and not by when: it is asked for while the reader still has the first one in hand.
    server.spoil_beyond(FIRST, Fault(status=503))
    chunks = client.stream(client.at("gs://bucket/failing")).chunks()
    assert next(chunks) == DATA[:FIRST]
    with pytest.raises(Unavailable, match=r"gs://bucket/failing: .* answered 503: as the test asked"):
        list(chunks)
    # the second range as often as may be tried, and once more before it was its turn; perhaps others beside it
    asked = [request.range for request in server.downloads if request.object == "bucket/failing"]
    second = f"bytes={FIRST}-"
    assert QUICK.attempts <= sum(str(each).startswith(second) for each in asked) <= QUICK.attempts + 1


def test_a_refusal_is_not_asked_again(client: GcsClient, server: GcsServer) -> None:
    stream = client.stream(client.at(URL))
    server.spoil(Fault(status=403), Fault(status=403))
    with pytest.raises(AccessDenied, match="HUBFS_GCS_TOKEN"):
        next(stream.chunks())


@pytest.mark.parametrize("place", [100, 10 * MIB, len(DATA) - 1])
def test_a_flipped_bit_is_damage_before_the_last_byte_is_yielded(
    client: GcsClient, server: GcsServer, place: int
) -> None:
    server.upload("bucket", "flipped", DATA)
    (obj,) = client.list("bucket", "flipped")
    assert obj.checksum is not None
    spoiled = bytearray(DATA)
    spoiled[place] ^= 1
    # The same generation with other bytes cannot be had of a store; an object that announces another checksum can.
    crc32c = Checksum("crc32c", f"{google_crc32c.value(bytes(spoiled)):08x}")
    announced = replace(obj, checksum=crc32c)
    got = []
    with pytest.raises(Damaged, match=rf"gs://bucket/flipped is damaged: its crc32c is {obj.checksum.value}"):
        got.extend(client.stream(announced).chunks())
    assert sum(map(len, got)) < len(DATA)
    assert DATA.startswith(b"".join(got))


def test_a_bit_that_flips_on_the_way_is_damage(client: GcsClient, server: GcsServer) -> None:
    stream = client.stream(client.at(URL))
    server.spoil(Fault(flip_byte=77_777))
    with pytest.raises(Damaged, match=f"{URL} is damaged"):
        list(stream.chunks())
    assert b"".join(stream.chunks()) == DATA


def test_an_object_without_a_checksum_is_read_unverified(client: GcsClient) -> None:
    (obj,) = client.list("bucket", NAME)
    plain = GcsObject(obj.bucket, obj.name, obj.size_bytes, obj.generation)
    assert b"".join(client.stream(plain).chunks()) == DATA


@pytest.mark.parametrize("body", [b"0123", b"0123456789"])
def test_an_object_of_another_length_is_another_one(cancellation: Cancellation, body: bytes) -> None:
    with one_answer(body) as address, gcs_client(address, cancellation, retry=RetryPolicy(attempts=1)) as client:
        stream = client.stream(GcsObject("bucket", "o", 7, "1"))
        with pytest.raises(Stale, match=r"gs://bucket/o: .* changed"):
            list(stream.chunks())


def test_what_is_replaced_in_mid_stream_is_stale(client: GcsClient, server: GcsServer) -> None:
    server.upload("bucket", "replaced", DATA)
    chunks = client.stream(client.at("gs://bucket/replaced")).chunks()
    got = [next(chunks)]
    server.upload("bucket", "replaced", DATA[::-1])
    with pytest.raises(Stale, match=r"gs://bucket/replaced: .* was replaced"):
        got.extend(chunks)
    assert DATA.startswith(b"".join(got))


# The tests above count requests. Those below leave some behind, which the server may count only in the next test.


@pytest.mark.slow
def test_ranges_stay_small_on_a_slow_line_so_that_bytes_are_not_held_back(client: GcsClient, server: GcsServer) -> None:
    stream = client.stream(client.at(URL))
    server.spoil_beyond(0, Fault(stall_s=0.6))  # late requests of an earlier test take none of these
    chunks = stream.chunks()
    got = b"".join(next(chunks) for _ in range(3))
    chunks.close()
    assert got == DATA[: 3 * FIRST]


def test_closing_the_generator_gives_what_is_under_way_up_at_once(client: GcsClient, server: GcsServer) -> None:
    def reading() -> bool:
        return any(thread.name.startswith("hubfs-range") for thread in threading.enumerate())

    server.spoil_beyond(FIRST, Fault(stall_s=300))
    chunks = client.stream(client.at(URL)).chunks()
    assert next(chunks) == DATA[:FIRST]
    assert eventually(reading)  # further ranges are asked for, and the store is silent
    began_s = time.monotonic()
    chunks.close()
    assert time.monotonic() - began_s < 100, "the time-out of 200 s was waited for"
    while reading():
        assert time.monotonic() - began_s < 100, "the time-out of 200 s was waited for"
        time.sleep(0.01)
    server.reset()
    (obj,) = client.list("bucket", NAME)
    assert client.blob(obj).read_at(0, 5) == DATA[:5]


def test_a_store_that_falls_silent_times_out(client: GcsClient, server: GcsServer, cancellation: Cancellation) -> None:
    once = RetryPolicy(attempts=1)
    (obj,) = client.list("bucket", NAME)
    with gcs_client(server.url, cancellation, timeout_s=0.4, retry=once) as hasty:
        stream = hasty.stream(obj)
        server.spoil(*[Fault(stall_s=300)] * 2)
        began_s = time.monotonic()
        with pytest.raises(TimedOut, match=URL):
            list(stream.chunks())
        assert time.monotonic() - began_s < 100


def test_a_cancel_ends_a_stalled_stream_at_once(
    client: GcsClient, server: GcsServer, cancellation: Cancellation
) -> None:
    stream = client.stream(client.at(URL))
    server.spoil(*[Fault(stall_s=300)] * 2)
    timer = threading.Timer(0.4, cancellation.cancel)
    timer.start()
    began_s = time.monotonic()
    with pytest.raises(Cancelled):
        list(stream.chunks())
    assert time.monotonic() - began_s < 100, "the time-out of 200 s was waited for"
    timer.join()


def test_a_store_that_dies_in_mid_stream_is_unavailable_soon(cancellation: Cancellation) -> None:
    with ExitStack() as alive:
        server = alive.enter_context(gcs_server())
        server.create_bucket("bucket")
        server.upload("bucket", NAME, DATA)
        client = GcsClient(GcsSettings(endpoint_url=server.url, timeout_s=200, retry=QUICK), cancellation)
        chunks = client.stream(client.at(URL)).chunks()
        got = [next(chunks)]
        alive.close()
        began_s = time.monotonic()
        with pytest.raises(Unavailable, match=f"{URL}: "):
            got.extend(chunks)
        assert time.monotonic() - began_s < 100, "the time-out of 200 s was waited for"
        assert DATA.startswith(b"".join(got))
        client.close()


def test_two_streams_side_by_side_do_not_disturb_each_other(client: GcsClient) -> None:
    stream = client.stream(client.at(URL))
    one, other = stream.chunks(), stream.chunks()
    head = next(other)
    assert b"".join(one) == DATA
    assert head + b"".join(other) == DATA
