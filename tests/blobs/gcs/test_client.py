import gzip
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import google_crc32c
import pytest

from hubfs.blobs.checksums import Checksum
from hubfs.blobs.gcs.client import GcsClient, GcsSettings
from hubfs.blobs.gcs.object import GcsFolder, GcsObject
from hubfs.blobs.retry import RetryingBlob, RetryPolicy
from hubfs.errors import (
    AccessDenied,
    Cancelled,
    Damaged,
    InvalidConfig,
    NotFound,
    Stale,
    TimedOut,
    Unavailable,
)
from hubfs.waiting import Cancellation
from tests.support.certificates import self_signed
from tests.support.gcs_server import Fault, GcsServer, gcs_server
from tests.support.http_clients import QUICK, gcs_client
from tests.support.http_origin import HttpOrigin
from tests.support.one_answer import one_answer

DATA = random.Random(11).randbytes(300_000)


@pytest.fixture(scope="module")
def store() -> Iterator[GcsServer]:
    with gcs_server() as server:
        server.create_bucket("bucket")
        server.create_bucket("versions", versioning=True)
        server.upload("bucket", "m/1/data", DATA)
        yield server


def the_object(client: GcsClient, name: str = "m/1/data", bucket: str = "bucket") -> GcsObject:
    (obj,) = client.list(bucket, name)
    return obj


def read(client: GcsClient, obj: GcsObject, offset_bytes: int, size_bytes: int) -> bytes:
    return client.blob(obj).read_at(offset_bytes, size_bytes)


def test_a_listing_says_size_generation_and_checksum(client: GcsClient, server: GcsServer) -> None:
    obj = the_object(client)
    assert (obj.bucket, obj.name, obj.size_bytes) == ("bucket", "m/1/data", len(DATA))
    assert obj.checksum == Checksum("crc32c", f"{google_crc32c.value(DATA):08x}")
    assert obj.generation.isdecimal()
    assert obj.url == "gs://bucket/m/1/data"
    assert obj.key == f"gs://bucket/m/1/data#{obj.generation}"
    assert len(server.requests) == 1


@pytest.mark.slow
def test_a_listing_of_many_objects_is_paged(client: GcsClient, server: GcsServer) -> None:
    names = [f"many/{index:05}" for index in range(1234)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: server.upload("bucket", name, b"x"), names))
    server.reset()
    assert [obj.name for obj in client.list("bucket", "many/")] == names
    assert len(server.listings) == len(server.requests) == 2


def test_a_listing_of_nothing_is_empty(client: GcsClient, server: GcsServer) -> None:
    assert client.list("bucket", "nothing/") == []
    assert len(server.requests) == 1


def test_a_bucket_that_does_not_exist_is_not_found(client: GcsClient) -> None:
    with pytest.raises(NotFound, match=r"gs://nobucket/a/: .* does not exist \(status 404: Not Found\)"):
        client.list("nobucket", "a/")


def test_a_folder_is_what_is_directly_below(client: GcsClient, server: GcsServer) -> None:
    for name in ("f/", "f/a", "f/b/1", "f/b/2/deep", "f/c d?/1", "fa", "f/b.txt"):
        server.upload("bucket", name, b"x")
    server.reset()
    folder = client.folder("bucket", "f/")
    assert [obj.name for obj in folder.objects] == ["f/", "f/a", "f/b.txt"]
    assert folder.prefixes == ["f/b/", "f/c d?/"]
    assert client.folder("bucket", "f/b").prefixes == ["f/b/"]
    assert [obj.name for obj in client.folder("bucket", "f/b").objects] == ["f/b.txt"]
    assert "f/" in client.folder("bucket", "").prefixes
    assert client.folder("bucket", "nothing/") == GcsFolder([], [])
    assert len(server.listings) == len(server.requests) == 5


def test_an_object_is_asked_for_by_name(client: GcsClient, server: GcsServer) -> None:
    listed = the_object(client)
    server.reset()
    assert client.stat("bucket", "m/1/data") == listed
    assert len(server.requests) == 1
    assert not server.downloads
    server.spoil(Fault(status=503))
    assert client.stat("bucket", "m/1/data") == listed
    for bucket, name in (("bucket", "m/1/dat"), ("nobucket", "m/1/data")):
        with pytest.raises(NotFound, match=rf"gs://{bucket}/{name}: .* does not exist \(status 404"):
            client.stat(bucket, name)


@contextmanager
def store_that_says(body: bytes, **how: Any) -> Iterator[GcsClient]:
    with one_answer(body, **how) as address, gcs_client(address) as client:
        yield client


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"name": "o", "size": "1", "generation": "x"}'])
def test_a_description_that_cannot_be_understood_is_damaged(body: bytes) -> None:
    said = "gs://bucket/o: the answer is not the description of an object"
    with store_that_says(body) as client, pytest.raises(Damaged, match=said):
        client.stat("bucket", "o")


STRANGE = [
    "with space",
    "h#sh",
    "h#1234567890123456",
    "qu?ry",
    "qu?generation=1",
    "p%2Fc%",
    "a+b&c=d",
    "ünï/çødé ☃",
    "{}{0}",
]


@pytest.mark.parametrize("name", STRANGE)
def test_a_name_may_hold_any_character(client: GcsClient, server: GcsServer, name: str) -> None:
    data = name.encode() * 3
    server.upload("bucket", f"strange/{name}", data)
    server.reset()
    obj = the_object(client, f"strange/{name}")
    assert obj.name == f"strange/{name}"
    assert read(client, obj, 2, 7) == data[2:9]
    assert client.stat("bucket", obj.name) == obj
    assert server.sent_bytes(f"bucket/strange/{name}") == 7


def test_a_read_asks_for_the_range_and_the_generation_and_nothing_else(client: GcsClient, server: GcsServer) -> None:
    obj = the_object(client)
    server.reset()
    assert read(client, obj, 1000, 500) == DATA[1000:1500]
    (request,) = server.requests
    assert request.range == "bytes=1000-1499"
    assert request.query["generation"] == obj.generation
    assert (request.status, request.body_bytes) == (206, 500)


def test_an_object_that_was_replaced_is_stale(client: GcsClient, server: GcsServer) -> None:
    server.upload("bucket", "replaced", b"first content")
    before = the_object(client, "replaced")
    server.upload("bucket", "replaced", b"other content")
    with pytest.raises(Stale, match=r"gs://bucket/replaced: .* was replaced or deleted while it was being read"):
        read(client, before, 0, 5)
    after = the_object(client, "replaced")
    assert after.generation != before.generation
    assert read(client, after, 0, 5) == b"other"


def test_an_object_that_was_replaced_is_still_read_where_the_bucket_keeps_versions(
    client: GcsClient, server: GcsServer
) -> None:
    server.upload("versions", "kept", b"first content")
    before = the_object(client, "kept", "versions")
    server.upload("versions", "kept", b"other content")
    assert read(client, before, 0, 5) == b"first"


def test_an_object_that_was_stored_compressed_is_read_as_it_is_stored(client: GcsClient, server: GcsServer) -> None:
    stored = gzip.compress(b"hello " * 1000)
    server.upload("bucket", "compressed", stored, content_encoding="gzip")
    obj = the_object(client, "compressed")
    assert obj.size_bytes == len(stored)
    assert read(client, obj, 0, len(stored)) == stored
    assert read(client, obj, 3, 10) == stored[3:13]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_access_denied_and_is_not_asked_again(client: GcsClient, server: GcsServer, status: int) -> None:
    obj = the_object(client)
    for ask in (lambda: read(client, obj, 0, 1), lambda: client.list("bucket", "m/")):
        server.reset()
        server.spoil(Fault(status=status))
        with pytest.raises(
            AccessDenied, match=rf"gs://bucket/m/.*{status}: as the test asked\).*'anon'.*HUBFS_GCS_TOKEN"
        ):
            ask()
        assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_server_error_is_unavailable_after_one_attempt_of_a_read(
    client: GcsClient, server: GcsServer, status: int
) -> None:
    obj = the_object(client)
    server.reset()
    server.spoil(Fault(status=status))
    with pytest.raises(Unavailable, match=f"gs://bucket/m/1/data: .* answered {status}: as the test asked: "):
        read(client, obj, 0, 1)
    assert len(server.requests) == 1
    assert read(client, obj, 0, 3) == DATA[:3]


def test_a_listing_asks_again_after_server_errors(client: GcsClient, server: GcsServer) -> None:
    server.reset()
    server.spoil(Fault(status=503), Fault(status=429))
    assert the_object(client).size_bytes == len(DATA)
    assert len(server.listings) == 3


def test_a_listing_gives_up_after_its_attempts(client: GcsClient, server: GcsServer) -> None:
    server.spoil(*[Fault(status=503)] * 10)
    with pytest.raises(Unavailable, match="503"):
        client.list("bucket", "m/")
    assert len(server.listings) == QUICK.attempts


def test_a_transfer_that_was_cut_is_unavailable(client: GcsClient, server: GcsServer) -> None:
    obj = the_object(client)
    server.spoil(Fault(cut_after_bytes=1000))
    with pytest.raises(Unavailable, match="gs://bucket/m/1/data"):
        read(client, obj, 0, 200_000)


def test_a_read_with_retries_outlives_cuts_and_server_errors(
    client: GcsClient, server: GcsServer, cancellation: Cancellation
) -> None:
    blob = RetryingBlob(client.blob(the_object(client)), QUICK, cancellation)
    server.spoil(Fault(cut_after_bytes=1000), Fault(status=502))
    assert blob.read_at(0, len(DATA)) == DATA


def test_a_store_that_is_silent_times_out(client: GcsClient, server: GcsServer, cancellation: Cancellation) -> None:
    with gcs_client(server.url, cancellation, timeout_s=0.4) as hasty:
        obj = the_object(client)
        server.spoil(Fault(stall_s=300))
        began_s = time.monotonic()
        with pytest.raises(TimedOut, match=r"gs://bucket/m/1/data: .*0\.4 s"):
            read(hasty, obj, 0, 100)
        assert time.monotonic() - began_s < 100
        server.reset()  # the request may not have come as far as to the fault
        assert read(client, obj, 0, 3) == DATA[:3]


def test_cancelling_ends_the_reads_in_flight(client: GcsClient, server: GcsServer, cancellation: Cancellation) -> None:
    obj = the_object(client)
    server.spoil(*[Fault(stall_s=300)] * 3)
    ended: list[BaseException] = []

    def wait() -> None:
        try:
            read(client, obj, 0, 100)
        except Cancelled as error:
            ended.append(error)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    assert not ended
    began_s = time.monotonic()
    cancellation.cancel()
    for thread in threads:
        thread.join(150)
    assert time.monotonic() - began_s < 100, "the time-out of 200 s was waited for"
    assert len(ended) == 3
    with pytest.raises(Cancelled):
        read(client, obj, 0, 100)


def test_cancelling_ends_the_waits_between_the_attempts_of_a_listing(
    server: GcsServer, cancellation: Cancellation
) -> None:
    slow = RetryPolicy(attempts=5, base_s=60, cap_s=60)
    client = GcsClient(GcsSettings(endpoint_url=server.url, retry=slow), cancellation)
    server.spoil(*[Fault(status=503)] * 5)
    timer = threading.Timer(0.3, cancellation.cancel)
    timer.start()
    try:
        with pytest.raises(Cancelled):
            client.list("bucket", "m/")
    finally:
        timer.join()
        client.close()


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_a_dead_store_is_unavailable_soon(cancellation: Cancellation, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    client = GcsClient(GcsSettings(endpoint_url=f"{scheme}{address}", timeout_s=200, retry=QUICK), cancellation)
    began_s = time.monotonic()
    with pytest.raises(Unavailable, match=f"gs://bucket/a/: http://{address}/.* Connection refused"):
        client.list("bucket", "a/")
    with pytest.raises(Unavailable):
        read(client, GcsObject("bucket", "a", 5, "1"), 0, 5)
    assert time.monotonic() - began_s < 100, "a time-out of 200 s was waited for"
    client.close()


@pytest.mark.parametrize(
    "body",
    [
        b"<html>welcome to the airport</html>",
        b'{"nextPageToken": "a\\ud800"}',  # no URL can ask for it
        b'{"items": [{}]}',
        b'{"items": [{"name": 5, "size": "1", "generation": "1"}]}',
        b'{"items": [{"name": "a/x", "size": "many", "generation": "1"}]}',
        b'{"items": [{"name": "a/x", "size": "1"}]}',
        b'{"items": [{"name": "a/x", "size": "1", "generation": "1", "crc32c": "?"}]}',
        b'{"items": [{"name": "a/x", "size": "1", "generation": "1", "crc32c": "AAAAAAAA"}]}',
    ],
)
def test_a_listing_that_cannot_be_understood_is_damaged(body: bytes) -> None:
    with store_that_says(body) as client, pytest.raises(Damaged, match="not a listing"):
        client.list("bucket", "a/")


def test_a_listing_without_end_is_given_up() -> None:
    endless = b'{"nextPageToken": "again"}'
    with store_that_says(endless, times=300) as client, pytest.raises(Damaged, match="not a model"):
        client.list("bucket", "a/")


def test_a_listing_of_prefixes_that_are_no_texts_is_damaged() -> None:
    with store_that_says(b'{"prefixes": [5]}') as client, pytest.raises(Damaged, match="not a listing"):
        client.folder("bucket", "a/")


def test_a_store_that_ignores_the_range_is_read_behind_what_it_sends() -> None:
    with store_that_says(b"0123456789") as client:
        assert read(client, GcsObject("bucket", "o", 10, "1"), 2, 3) == b"234"


def test_an_answer_of_another_generation_is_stale(cancellation: Cancellation) -> None:
    with (
        one_answer(b"0123456789", headers="X-Goog-Generation: 2\r\n") as address,
        gcs_client(address, cancellation) as client,
        pytest.raises(Stale),
    ):
        read(client, GcsObject("bucket", "o", 10, "1"), 0, 3)


def test_requests_and_bytes_are_counted(client: GcsClient, server: GcsServer) -> None:
    obj = the_object(client)
    before = client.stats()
    read(client, obj, 0, 1000)
    assert client.stats().bytes_received - before.bytes_received == 1000
    server.spoil(Fault(status=500))
    with pytest.raises(Unavailable):
        read(client, obj, 0, 1000)
    assert client.stats().requests - before.requests == 2


def test_a_client_may_be_closed_again(client: GcsClient) -> None:
    client.close()
    client.close()


def test_credentials_that_cannot_be_used_are_refused_without_being_shown(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig) as caught:
        GcsClient(GcsSettings(token="ya29.secret"), Cancellation())
    assert "ya29" not in str(caught.value)
    broken = tmp_path / "credentials.json"
    broken.write_text('{"type": "service_account"}')
    with pytest.raises(InvalidConfig, match=r"credentials\.json"):
        GcsClient(GcsSettings(token=str(broken)), Cancellation())
    broken.write_text('{"client_email": "me", "token_uri": "http://127.0.0.1:9", "private_key": "ya29"}')
    client = GcsClient(GcsSettings(token=str(broken)), Cancellation())
    with pytest.raises(InvalidConfig, match=r"credentials\.json"):
        client.load_credentials()
    with pytest.raises(AccessDenied, match=r"gs://bucket/a/: .*credentials\.json"):
        client.list("bucket", "a/")


def test_a_password_in_the_endpoint_is_not_shown(cancellation: Cancellation) -> None:
    with gcs_client("http://user:secret@127.0.0.1:1", cancellation) as client, pytest.raises(Unavailable) as caught:
        client.list("bucket", "a/")
    assert "secret" not in str(caught.value)


@pytest.mark.slow
def test_a_new_process_needs_no_second_to_list(server: GcsServer) -> None:
    # The default class of gcsfs asks over gRPC first, and waits for a minute when nobody answers there.
    script = (
        "import sys, time; from hubfs.blobs.gcs.client import *; from hubfs.waiting import Cancellation\n"
        "began_s = time.monotonic(); client = GcsClient(GcsSettings(endpoint_url=sys.argv[1]), Cancellation())\n"
        "client.list('bucket', 'm/'); client.close(); print(time.monotonic() - began_s)"
    )
    run = subprocess.run(
        # Google's libraries warn of every Python that is about to lose their support.
        [sys.executable, "-W", "error::ResourceWarning", "-W", "ignore::FutureWarning", "-c", script, server.url],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ),
    )
    assert float(run.stdout) < 5
    assert run.stderr == ""


def test_the_authorities_of_a_ca_bundle_in_the_environment_are_trusted(
    tmp_path: Path, cancellation: Cancellation, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = self_signed(tmp_path)
    with HttpOrigin((certificate, key)) as secure:
        for bundle, error, said in (
            (None, Unavailable, "certificate that is not trusted"),
            (certificate, NotFound, "404"),
            (tmp_path / "missing", Unavailable, r"missing \(REQUESTS_CA_BUNDLE, .*does not exist"),
        ):
            if bundle is not None:
                monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
            with gcs_client(secure.url, cancellation) as client, pytest.raises(error, match=said):
                client.stat("bucket", "name")
