"""Stores of named objects: the same behaviour on a real bucket's server, on a disk and in memory."""

import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from hubfs.blobs.retry import Permanent, RetryPolicy
from hubfs.blobs.store import STORE_SETTINGS, GcsStore, ObjectStore, StoredObject, open_store
from hubfs.errors import Cancelled, HubfsError, InvalidConfig, NotFound, TimedOut, Unavailable
from hubfs.waiting import Cancellation
from tests.support.gcs_server import Fault, GcsServer, gcs_server
from tests.support.http_origin import Answer, HttpOrigin, hang_up
from tests.support.seaweedfs import BUCKET, SeaweedFs

NAME = "blocks/127.0.0.1:8080%2Fhub/google/my.model/2@0a1b/f00/000001.ff"


@pytest.fixture(scope="module")
def server() -> Iterator[GcsServer]:
    with gcs_server() as server:
        server.create_bucket("fleet")
        yield server


@pytest.fixture
def bucket(server: GcsServer, cancellation: Cancellation) -> Iterator[ObjectStore]:
    server.reset()
    yield from opened(server, cancellation, timeout_s=200.0)


@pytest.fixture
def hasty(server: GcsServer, cancellation: Cancellation) -> Iterator[ObjectStore]:
    """The same, for a server that is silent for ever."""
    server.reset()
    yield from opened(server, cancellation, timeout_s=1.0)


def opened(server: GcsServer, cancellation: Cancellation, timeout_s: float) -> Iterator[ObjectStore]:
    settings = replace(STORE_SETTINGS, endpoint_url=server.url, timeout_s=timeout_s)
    store = open_store(f"gs://fleet/{uuid.uuid4().hex}/", settings, cancellation)
    assert isinstance(store, GcsStore)
    yield store
    store.close()


@pytest.fixture
def s3(seaweed: SeaweedFs, monkeypatch: pytest.MonkeyPatch, cancellation: Cancellation) -> Iterator[ObjectStore]:
    """A store in a bucket of SeaweedFS, found as botocore finds it."""
    for name, value in seaweed.environment.items():
        monkeypatch.setenv(name, value)
    store = open_store(f"s3://{BUCKET}/{uuid.uuid4().hex}/", replace(STORE_SETTINGS, timeout_s=200.0), cancellation)
    yield store
    store.close()


@pytest.fixture(params=["gs", "file", "memory", pytest.param("s3", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path, cancellation: Cancellation) -> ObjectStore:
    if request.param in ("gs", "s3"):
        found: ObjectStore = request.getfixturevalue({"gs": "bucket", "s3": "s3"}[request.param])
        return found
    root = str(tmp_path / "store") if request.param == "file" else f"/{uuid.uuid4().hex}"
    return open_store(f"{request.param}://{root}", STORE_SETTINGS, cancellation)


def test_what_was_put_is_got_byte_for_byte(store: ObjectStore) -> None:
    data = bytes(range(256)) * 5000
    assert store.put(NAME, data) is True
    assert store.get(NAME) == data
    assert store.put(NAME, b"") is True
    assert store.get(NAME) == b""


def test_an_object_that_is_not_there_is_none_and_may_be_deleted(store: ObjectStore) -> None:
    assert store.get(NAME) is None
    store.delete(NAME)
    store.put(NAME, b"x")
    store.delete(NAME)
    assert store.get(NAME) is None


def test_if_absent_leaves_alone_what_is_there(store: ObjectStore) -> None:
    assert store.put(NAME, b"first", if_absent=True) is True
    assert store.put(NAME, b"second", if_absent=True) is False
    assert store.get(NAME) == b"first"
    store.delete(NAME)
    assert store.put(NAME, b"third", if_absent=True) is True


def test_of_many_who_create_at_once_one_succeeds(store: ObjectStore) -> None:
    start = threading.Barrier(8)

    def create(number: int) -> bool:
        start.wait(60)
        return store.put("lease", b"owner %d" % number, if_absent=True)

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    assert won.count(True) == 1
    assert store.get("lease") == b"owner %d" % won.index(True)


def test_a_listing_has_the_names_that_begin_so_and_their_sizes(store: ObjectStore) -> None:
    for name, size in {"a/m/1@x/f": 3, "a/m/1@y": 0, "a/m/12@x": 5, "a/n": 1, "b": 2}.items():
        store.put(name, bytes(size))
    assert store.list("a/m/1@") == [StoredObject("a/m/1@x/f", 3), StoredObject("a/m/1@y", 0)]
    assert [obj.name for obj in store.list("a/m/")] == ["a/m/12@x", "a/m/1@x/f", "a/m/1@y"]
    assert store.list("nothing/here") == []


def test_names_with_every_kind_of_character_stay_apart(store: ObjectStore) -> None:
    names = ["blocks/hub%2Fx/a b/1@y/f", "blocks/hub%252Fx/a b/1@y/f", "blocks/hub+x/ä世/1@y", "a=b&c/?x#y"]
    for name in names:
        store.put(name, name.encode())
    assert [store.get(name) for name in names] == [name.encode() for name in names]
    assert [obj.name for obj in store.list("")] == sorted(names)


def test_two_roots_of_one_store_do_not_see_each_other(tmp_path: Path, cancellation: Cancellation) -> None:
    one, two = (open_store(f"file://{tmp_path}/{n}", STORE_SETTINGS, cancellation) for n in ("one", "two"))
    one.put("name", b"1")
    assert two.get("name") is None
    assert two.list("") == []


def test_a_file_is_never_seen_half_written(tmp_path: Path, cancellation: Cancellation) -> None:
    store = open_store(f"file://{tmp_path}", STORE_SETTINGS, cancellation)
    sizes = (1, 8 << 20)
    store.put("object", bytes(sizes[0]))
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lambda: [store.put("object", bytes(sizes[n % 2])) for n in range(20)])
        seen = set()
        while not writing.done():
            found = store.get("object")
            seen.add(None if found is None else len(found))
    assert seen <= set(sizes)
    assert [path.name for path in tmp_path.iterdir()] == ["object"]


def test_a_bucket_that_does_not_exist_is_said_so(server: GcsServer, cancellation: Cancellation) -> None:
    store = open_store("gs://nobodys/x", replace(STORE_SETTINGS, endpoint_url=server.url), cancellation)
    with pytest.raises(NotFound, match="gs://nobodys/x/name"):
        store.put("name", b"data")
    store.close()


def test_a_passing_failure_of_the_server_is_asked_again(bucket: ObjectStore, server: GcsServer) -> None:
    bucket.put("name", b"data")
    server.spoil(Fault(status=503))
    assert bucket.get("name") == b"data"


def test_a_server_that_keeps_failing_is_unavailable(bucket: ObjectStore, server: GcsServer) -> None:
    server.spoil(*[Fault(status=503)] * 2)
    with pytest.raises(Unavailable, match="503"):
        bucket.get("name")


def test_what_is_written_is_not_sent_again(cancellation: Cancellation) -> None:
    """A store may have done what it was asked for before its connection ended."""
    with HttpOrigin() as origin:
        settings = replace(STORE_SETTINGS, endpoint_url=origin.url, retry=RetryPolicy(attempts=1))
        store = open_store("gs://bucket/p", settings, cancellation)
        origin.route("/*", lambda _: Answer(body=b"bytes"))
        assert store.get("kept") == b"bytes"
        path = "/upload/storage/v1/b/bucket/o"
        origin.script(path, hang_up())
        with pytest.raises(Unavailable, match="gs://bucket/p/name"):
            store.put("name", b"data")
        assert [request.path for request in origin.requests].count(path) == 1
        store.close()


@pytest.mark.parametrize("status", [307, 400])
def test_what_is_not_done_is_told_and_followed_nowhere(cancellation: Cancellation, status: int) -> None:
    with HttpOrigin() as origin:
        settings = replace(STORE_SETTINGS, endpoint_url=origin.url, retry=RetryPolicy(attempts=1))
        store = open_store("gs://bucket/p", settings, cancellation)
        origin.route("/*", lambda _: Answer(status, {"Location": origin.url + "/elsewhere"}, b"no"))
        for change in (lambda: store.put("name", b"data"), lambda: store.delete("name")):
            with pytest.raises(Permanent, match=f"gs://bucket/p/name: .* answered {status}"):
                change()
        assert len(origin.requests) == 2
        store.close()


def test_a_cut_answer_is_no_object(bucket: ObjectStore, server: GcsServer) -> None:
    bucket.put("name", bytes(1 << 20))
    server.spoil(*[Fault(cut_after_bytes=1000)] * 2)
    with pytest.raises(HubfsError):
        bucket.get("name")


@pytest.mark.slow
def test_silence_is_borne_no_longer_than_the_time_out(hasty: ObjectStore, server: GcsServer) -> None:
    server.spoil(*[Fault(stall_s=200)] * 2)
    began_s = time.monotonic()
    with pytest.raises(TimedOut):
        hasty.get("name")
    assert time.monotonic() - began_s < 100


def test_a_cancel_ends_a_wait(bucket: ObjectStore, server: GcsServer, cancellation: Cancellation) -> None:
    server.spoil(Fault(stall_s=300))
    began_s = time.monotonic()
    threading.Timer(0.2, cancellation.cancel).start()
    with pytest.raises(Cancelled):
        bucket.get("name")
    assert time.monotonic() - began_s < 100  # before the time-out


def test_a_server_that_is_gone_is_unavailable(cancellation: Cancellation) -> None:
    with gcs_server() as server:
        url = server.url
    store = open_store("gs://fleet", replace(STORE_SETTINGS, endpoint_url=url), cancellation)
    for call in (lambda: store.get("x"), lambda: store.put("x", b""), lambda: store.list("")):
        with pytest.raises(Unavailable, match="gs://fleet"):
            call()
    store.close()


def test_a_directory_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path, cancellation: Cancellation) -> None:
    (tmp_path / "file").write_text("")
    store = open_store(f"file://{tmp_path}/file", STORE_SETTINGS, cancellation)
    with pytest.raises(HubfsError):
        store.put("below/name", b"data")
    assert store.get("below/name") is None


@pytest.mark.parametrize("url", ["gs://", "nonsense://x/y"])
def test_a_url_that_nobody_understands_is_refused_at_once(url: str, cancellation: Cancellation) -> None:
    with pytest.raises(InvalidConfig):
        open_store(url, STORE_SETTINGS, cancellation)
