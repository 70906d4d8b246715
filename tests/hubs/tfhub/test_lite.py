import json
import random
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from hubfs.blobs.blob import Blob
from hubfs.blobs.http.client import HttpClient
from hubfs.cache.block_cache import CacheKey
from hubfs.errors import Damaged, EntryNotFound, Stale, Unavailable
from hubfs.hubs.hub import Means
from hubfs.hubs.tfhub.hub import TfHub
from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.hubs.tfhub.questions import Location
from hubfs.hubs.tfhub.resolver import TfhubResolver
from hubfs.sources.files import FilesSource, Manifest
from hubfs.sources.hosted import kept_files
from hubfs.sources.source import ROOT, Entry, EntryKind, Form
from tests.support.hosted import PAGE, put
from tests.support.http_origin import Answer, HttpOrigin, redirect
from tests.support.sources import Told, source_of

HANDLE = parse_handle("google/lite-model/spice/1")
BODY = b"\x1c\0\0\0TFL3" + random.Random(3).randbytes(2_000_000)
FILE = Entry("model.tflite", EntryKind.FILE, len(BODY))


@pytest.fixture
def origin() -> Iterator[HttpOrigin]:
    with HttpOrigin() as origin:
        put(origin, f"/{HANDLE}", "lite-format=tflite", BODY)
        yield origin


@pytest.fixture
def location(origin: HttpOrigin, client: HttpClient) -> Location:
    return TfhubResolver(client, origin.url).resolve(HANDLE)


@pytest.fixture
def hub(origin: HttpOrigin, client: HttpClient) -> TfHub:
    no_gcs: Any = None
    return TfHub(origin.url, Means(client, no_gcs))


@pytest.fixture
def source(hub: TfHub) -> FilesSource:
    return source_of(hub.open(HANDLE, Told()), HANDLE)


def at(location: Location, hub: TfHub) -> Manifest:
    """What the hub opens when it has found the model there."""
    return hub.redirect.at(HANDLE, location, Told())


def test_the_model_is_one_file_with_a_name(source: FilesSource, origin: HttpOrigin) -> None:
    assert source.entries() == [FILE]
    assert (source.find("model.tflite"), source.find("")) == (FILE, ROOT)
    assert source.open(FILE).read_at(0, 1 << 30) == BODY
    assert source.open(FILE).read_at(5, 7) == BODY[5:12]
    assert (source.handle, source.form, source.url) == (HANDLE, Form.FILE, f"{origin.url}/{HANDLE}")
    with pytest.raises(EntryNotFound):
        source.find("spice.tflite")


def test_finding_it_costs_no_request_beside_the_resolvers(source: FilesSource, origin: HttpOrigin) -> None:
    assert len(origin.requests) == 1
    source.open(source.find("model.tflite")).read_at(1000, 1)
    assert (len(origin.requests), origin.body_bytes_sent()) == (2, 513)


def test_its_one_blob_is_wrapped_once(hub: TfHub) -> None:
    wrapped: list[CacheKey] = []

    def wrap(key: CacheKey, blob: Blob) -> Blob:
        wrapped.append(key)
        return blob

    source = source_of(hub.open(HANDLE, Told()), HANDLE, wrap)
    assert source.open(FILE) is source.open(FILE)
    assert wrapped == [CacheKey(source.model, "model.tflite")]


@pytest.mark.parametrize("answer", [Answer(404), PAGE])
def test_a_file_that_is_gone_since_it_was_resolved_is_damage(
    origin: HttpOrigin, client: HttpClient, hub: TfHub, location: Location, answer: Answer
) -> None:
    origin.route(f"/{HANDLE}", lambda _: answer)
    client.forget(location.url)
    with pytest.raises(Damaged, match=r"lacks its file 'model\.tflite'"):
        at(location, hub)


def test_a_host_that_does_not_say_the_size_is_refused(origin: HttpOrigin, hub: TfHub) -> None:
    origin.put("/x", BODY, chunked=True, ranges=False)
    with pytest.raises(Unavailable, match="does not say its size"):
        at(Location(f"{origin.url}/x", Form.FILE), hub)


def test_a_signed_url_that_expired_is_found_anew(
    origin: HttpOrigin, client: HttpClient, hub: TfHub, location: Location
) -> None:
    origin.route(f"/{HANDLE}", redirect("/signed1"))
    origin.put("/signed1", BODY, etag='"1"')
    origin.put("/signed2", BODY, etag='"1"')
    client.forget(location.url)
    source = source_of(at(location, hub), HANDLE)
    origin.route("/signed1", lambda _: Answer(403))
    origin.route(f"/{HANDLE}", redirect("/signed2"))
    assert source.open(FILE).read_at(100, 50) == BODY[100:150]
    assert source.failure is None


@pytest.mark.parametrize("virtues", [{"etag": None}, {"etag": 'W/"7"'}, {"etag": None, "ranges": False}])
def test_where_the_host_names_no_version_a_block_that_comes_again_must_be_the_same(
    origin: HttpOrigin, client: HttpClient, hub: TfHub, location: Location, virtues: dict[str, object]
) -> None:
    put(origin, f"/{HANDLE}", "lite-format=tflite", BODY, **virtues)
    client.forget(location.url)
    manifest = at(location, hub)
    assert not manifest.lasting
    source = source_of(manifest, HANDLE)
    blob = source.open(FILE)
    for _ in range(2):
        assert blob.read_at(0, 1 << 30) == BODY
    put(origin, f"/{HANDLE}", "lite-format=tflite", BODY[:-1] + b"x", **virtues)
    assert blob.read_at(0, 1 << 20) == BODY[: 1 << 20]
    with pytest.raises(Stale, match="MiB 1 of"):
        blob.read_at(1 << 20, 1 << 20)
    assert isinstance(source.failure, Stale)


def test_an_index_gives_the_same_source_without_a_request(
    source: FilesSource, origin: HttpOrigin, client: HttpClient, location: Location
) -> None:
    index = json.loads(json.dumps(source.to_index()))
    assert {"handle": str(HANDLE), "form": "file", "identity": source.identity}.items() <= index.items()
    origin.reset()
    located: list[str] = []

    def urls(path: str) -> tuple[str, Mapping[str, str]]:
        located.append(path)
        return location.url, location.headers

    again = source_of(kept_files(client, HANDLE, index, urls), HANDLE)
    assert (again.entries(), again.model) == ([FILE], source.model)
    blob = again.open(FILE)
    assert not origin.requests
    assert not located
    assert blob.read_at(0, 10) + blob.read_at(10, 1 << 30) == BODY
    assert located == ["model.tflite"]


def test_a_file_that_changed_since_the_index_was_written_is_stale(
    source: FilesSource, origin: HttpOrigin, client: HttpClient, hub: TfHub, location: Location
) -> None:
    index = source.to_index()
    put(origin, f"/{HANDLE}", "lite-format=tflite", BODY + b"more")
    client.forget(location.url)
    failed: list[FilesSource] = []
    kept = kept_files(client, HANDLE, index, lambda _: (location.url, location.headers))
    again = source_of(kept, HANDLE, on_failure=failed.append)
    blob = again.open(FILE)
    for _ in range(2):
        with pytest.raises(Stale):
            blob.read_at(0, 10)
    assert failed == [again]
    fresh = source_of(at(location, hub), HANDLE)
    assert fresh.model != again.model
    assert fresh.open(fresh.find("model.tflite")).read_at(0, 1 << 30) == BODY + b"more"
