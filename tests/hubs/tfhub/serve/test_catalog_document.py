from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from hubfs.hubs.tfhub.names.catalogue import Catalog, CatalogKind
from hubfs.hubs.tfhub.names.document import fetch
from hubfs.hubs.tfhub.names.file import parse_catalog
from hubfs.hubs.tfhub.names.provider import CatalogDocument
from tests.support.http_clients import http_client
from tests.support.serving import serving, write_model

TIMEOUT_S = 30


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "models"
    for handle in ("google/spice/2", "google/spice/10", "google/bert/en/1", "deepmind/biggan/7"):
        write_model(root, handle, size_bytes=10)
    return root


@pytest.fixture
def url(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr("hubfs.hubs.tfhub.serve.models._REMEMBERED_S", 0)
    with serving(root) as hub:
        yield f"{hub}/catalog.jsonl"


def get(url: str, **headers: str) -> requests.Response:
    return requests.get(url, headers={k.replace("_", "-"): v for k, v in headers.items()}, timeout=TIMEOUT_S)


def listed(reply: requests.Response) -> list[str]:
    return Catalog(parse_catalog(reply.text, "reply")).handles()


def test_the_document_lists_every_model_of_the_directory(url: str):
    reply = get(url)
    assert reply.status_code == 200
    assert listed(reply) == ["deepmind/biggan/7", "google/bert/en/1", "google/spice/2", "google/spice/10"]
    assert reply.headers["Cache-Control"] == "max-age=10"
    assert reply.headers["Content-Type"].startswith("application/jsonl")


def test_who_has_the_document_is_told_so(url: str):
    etag = get(url).headers["ETag"]
    again = get(url, If_None_Match=f'"other", {etag}')
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
    assert get(url, If_None_Match='"other"').status_code == 200


def test_a_model_that_appears_is_listed_under_another_etag(url: str, root: Path):
    etag = get(url).headers["ETag"]
    write_model(root, "google/spice/11", size_bytes=10)
    reply = get(url, If_None_Match=etag)
    assert reply.status_code == 200
    assert "google/spice/11" in listed(reply)
    assert reply.headers["ETag"] != etag


def test_what_no_handle_can_name_is_left_out(url: str, root: Path):
    before = listed(get(url))
    write_model(root, "google/collection/bert/1", size_bytes=10)
    write_model(root, "google/lite-model/1", size_bytes=10)
    assert listed(get(url)) == before


def test_typed_models_are_listed_by_their_kind(url: str, root: Path):
    for handle, file in (
        ("google/lite-model/spice/1", "model.tflite"),
        ("google/coral-model/yamnet/coral/1", "model.tflite"),
        ("google/tfjs-model/spice/2/default/1", "model.json"),
    ):
        (root / handle).mkdir(parents=True)
        (root / handle / file).write_bytes(b"{}")
    kinds = {entry.handle: entry.kind for entry in parse_catalog(get(url).text, "reply")}
    assert kinds["google/lite-model/spice/1"] is CatalogKind.LITE
    assert kinds["google/coral-model/yamnet/coral/1"] is CatalogKind.CORAL
    assert kinds["google/tfjs-model/spice/2/default/1"] is CatalogKind.TFJS


def test_head_says_what_get_would(url: str):
    reply = requests.head(url, timeout=TIMEOUT_S)
    assert (reply.status_code, reply.content) == (200, b"")
    assert reply.headers["ETag"] == get(url).headers["ETag"]


def test_an_empty_directory_has_an_empty_document(tmp_path: Path):
    with serving(tmp_path) as hub:
        reply = get(f"{hub}/catalog.jsonl")
    assert (reply.status_code, reply.text) == (200, "")


def test_the_mounts_own_reader_reads_it(url: str):
    hub = url.rpartition("/")[0]
    with http_client() as client:
        document = fetch(client, hub)
        assert document is not None
        assert document.text is not None
        assert len(parse_catalog(document.text, url)) == 4
        assert fetch(client, hub, etag=document.etag) == CatalogDocument(None, document.etag)
