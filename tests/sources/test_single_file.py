import json
import random
from collections.abc import Iterator

import pytest

from hubfs.blobs.blob import Blob
from hubfs.blobs.http.client import HttpClient
from hubfs.cache.block_cache import CacheKey
from hubfs.catalogue.handle import parse_handle
from hubfs.errors import Damaged, EntryNotFound, Stale, Unavailable
from hubfs.hubs.resolver import Form, Location
from hubfs.hubs.tfhub.resolver import TfhubResolver
from hubfs.sources.single_file import FileSource
from hubfs.sources.source import ROOT, Entry, EntryKind, Source
from tests.support.hosted import PAGE, put
from tests.support.http_clients import http_client
from tests.support.http_origin import Answer, HttpOrigin, redirect

HANDLE = parse_handle("google/lite-model/spice/1")
BODY = b"\x1c\0\0\0TFL3" + random.Random(3).randbytes(2_000_000)
FILE = Entry("model.tflite", EntryKind.FILE, len(BODY))


def plain(_: CacheKey, blob: Blob) -> Blob:
    return blob


@pytest.fixture
def origin() -> Iterator[HttpOrigin]:
    with HttpOrigin() as origin:
        put(origin, f"/{HANDLE}", "lite-format=tflite", BODY)
        yield origin


@pytest.fixture
def client() -> Iterator[HttpClient]:
    with http_client() as client:
        yield client


@pytest.fixture
def location(origin: HttpOrigin, client: HttpClient) -> Location:
    return TfhubResolver(client, origin.url).resolve(HANDLE)


@pytest.fixture
def source(origin: HttpOrigin, client: HttpClient, location: Location) -> Source:
    return FileSource.ask(client, origin.url, HANDLE, location, plain)


def test_the_model_is_one_file_with_a_name(source: Source, origin: HttpOrigin) -> None:
    assert source.entries() == [FILE]
    assert (source.find("model.tflite"), source.find("")) == (FILE, ROOT)
    assert source.open(FILE).read_at(0, 1 << 30) == BODY
    assert source.open(FILE).read_at(5, 7) == BODY[5:12]
    assert (source.handle, source.form, source.url) == (HANDLE, Form.FILE, f"{origin.url}/{HANDLE}")
    with pytest.raises(EntryNotFound):
        source.find("spice.tflite")


def test_finding_it_costs_no_request_beside_the_resolvers(source: Source, origin: HttpOrigin) -> None:
    assert len(origin.requests) == 1
    source.open(source.find("model.tflite")).read_at(1000, 1)
    assert (len(origin.requests), origin.body_bytes_sent()) == (2, 513)


def test_its_one_blob_is_wrapped_once(origin: HttpOrigin, client: HttpClient, location: Location) -> None:
    wrapped: list[CacheKey] = []

    def wrap(key: CacheKey, blob: Blob) -> Blob:
        wrapped.append(key)
        return blob

    source = FileSource.ask(client, origin.url, HANDLE, location, wrap)
    assert source.open(FILE) is source.open(FILE)
    assert wrapped == [CacheKey(source.model, "model.tflite")]


@pytest.mark.parametrize("answer", [Answer(404), PAGE])
def test_a_file_that_is_gone_since_it_was_resolved_is_damage(
    origin: HttpOrigin, client: HttpClient, location: Location, answer: Answer
) -> None:
    origin.route(f"/{HANDLE}", lambda _: answer)
    client.forget(location.url)
    with pytest.raises(Damaged, match=r"lacks its file 'model\.tflite'"):
        FileSource.ask(client, origin.url, HANDLE, location, plain)


def test_a_host_that_does_not_say_the_size_is_refused(origin: HttpOrigin, client: HttpClient) -> None:
    origin.put("/x", BODY, chunked=True, ranges=False)
    with pytest.raises(Unavailable, match="does not say its size"):
        FileSource.ask(client, origin.url, HANDLE, Location(f"{origin.url}/x", Form.FILE), plain)


def test_a_signed_url_that_expired_is_found_anew(origin: HttpOrigin, client: HttpClient, location: Location) -> None:
    origin.route(f"/{HANDLE}", redirect("/signed1"))
    origin.put("/signed1", BODY, etag='"1"')
    origin.put("/signed2", BODY, etag='"1"')
    client.forget(location.url)
    source = FileSource.ask(client, origin.url, HANDLE, location, plain)
    origin.route("/signed1", lambda _: Answer(403))
    origin.route(f"/{HANDLE}", redirect("/signed2"))
    assert source.open(FILE).read_at(100, 50) == BODY[100:150]
    assert source.failure is None


@pytest.mark.parametrize("virtues", [{"etag": None}, {"etag": 'W/"7"'}, {"etag": None, "ranges": False}])
def test_where_the_host_names_no_version_a_block_that_comes_again_must_be_the_same(
    origin: HttpOrigin, client: HttpClient, location: Location, virtues: dict[str, object]
) -> None:
    put(origin, f"/{HANDLE}", "lite-format=tflite", BODY, **virtues)
    client.forget(location.url)
    source = FileSource.ask(client, origin.url, HANDLE, location, plain)
    assert not source.lasting
    blob = source.open(FILE)
    for _ in range(2):
        assert blob.read_at(0, 1 << 30) == BODY
    put(origin, f"/{HANDLE}", "lite-format=tflite", BODY[:-1] + b"x", **virtues)
    assert blob.read_at(0, 1 << 20) == BODY[: 1 << 20]
    with pytest.raises(Stale, match="MiB 1 of"):
        blob.read_at(1 << 20, 1 << 20)
    assert isinstance(source.failure, Stale)


def test_an_index_gives_the_same_source_without_a_request(
    source: Source, origin: HttpOrigin, client: HttpClient, location: Location
) -> None:
    index = json.loads(json.dumps(source.to_index()))  # type: ignore[attr-defined]  # every source has it
    assert {"handle": str(HANDLE), "form": "file", "identity": source.identity}.items() <= index.items()
    origin.reset()
    located: list[Location] = []

    def locate() -> Location:
        located.append(location)
        return location

    again = FileSource.from_index(client, origin.url, HANDLE, index, plain, locate=locate)
    assert (again.entries(), again.model) == ([FILE], source.model)
    blob = again.open(FILE)
    assert not origin.requests
    assert not located
    assert blob.read_at(0, 10) + blob.read_at(10, 1 << 30) == BODY
    assert len(located) == 1


def test_a_file_that_changed_since_the_index_was_written_is_stale(
    source: Source, origin: HttpOrigin, client: HttpClient, location: Location
) -> None:
    index = source.to_index()  # type: ignore[attr-defined]  # as above
    put(origin, f"/{HANDLE}", "lite-format=tflite", BODY + b"more")
    client.forget(location.url)
    failed: list[FileSource] = []
    again = FileSource.from_index(
        client, origin.url, HANDLE, index, plain, locate=lambda: location, on_failure=failed.append
    )
    blob = again.open(FILE)
    for _ in range(2):
        with pytest.raises(Stale):
            blob.read_at(0, 10)
    assert failed == [again]
    fresh = FileSource.ask(client, origin.url, HANDLE, location, plain)
    assert fresh.model != again.model
    assert fresh.open(fresh.find("model.tflite")).read_at(0, 1 << 30) == BODY + b"more"
