"""TF Lite, Coral and TF.js models on `hubfs serve`, and what the resolver and the sources make of them."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from hubfs.blobs.http.client import HttpClient
from hubfs.errors import EntryNotFound, ModelNotFound
from hubfs.hubs.hub import Means
from hubfs.hubs.tfhub.hub import TfHub
from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.hubs.tfhub.resolver import TfhubResolver
from hubfs.hubs.tfhub.serve.models import ModelDirectory
from hubfs.sources.source import Form
from tests.support.catalogue import public_handles
from tests.support.hosted import manifest
from tests.support.http_clients import http_client
from tests.support.serving import serving, write_model
from tests.support.sources import Told, contents, source_of

TIMEOUT_S = 30
LITE = "?lite-format=tflite"
TFJS_FILE = "?tfjs-format=file"
TFJS = "google/tfjs-model/spice/2/default"
TFJS_FILES = {"model.json": manifest(["group1-shard1of1.bin", "sub/a b.bin"]), "group1-shard1of1.bin": b"w" * 5000}
TFJS_FILES["sub/a b.bin"] = b"odd"


def tflite(seed: int) -> bytes:
    return b"\x1c\0\0\0TFL3" + bytes([seed]) * 3000


def write(root: Path, path: str, body: bytes) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(body)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for version in ("1", "3"):
        for path, body in TFJS_FILES.items():
            write(root, f"{TFJS}/{version}/{path}", body)
    write(root, "google/lite-model/spice/1/model.tflite", tflite(1))
    write(root, "google/lite-model/spice/2/other-name.tflite", tflite(2))
    write(root, "google/lite-model/spice/3.tflite", tflite(3))
    write(root, "google/lite-model/posenet/float/075/1/default/1.tflite", tflite(4))
    write(root, "google/coral-model/spice/1/model.tflite", tflite(5))
    write(root, "google/coral-model/spice/1/labels.txt", b"a")
    write_model(root, "google/spice/2")
    return root


@pytest.fixture
def hub(root: Path) -> Iterator[str]:
    with serving(root) as url:
        yield url


def hub_at(url: str, client: HttpClient) -> TfHub:
    no_gcs: Any = None
    return TfHub(url, Means(client, no_gcs))


def get(url: str, *, redirect: bool = False, **headers: str) -> requests.Response:
    return requests.get(url, headers=headers, allow_redirects=redirect, timeout=TIMEOUT_S)


@pytest.mark.parametrize(
    ("handle", "seed"),
    [
        ("google/lite-model/spice/1", 1),
        ("google/lite-model/spice/2", 2),
        ("google/lite-model/spice/3", 3),
        ("google/lite-model/posenet/float/075/1/default/1", 4),
        ("google/coral-model/spice/1", 5),
    ],
)
def test_a_tf_lite_model_is_its_file(hub: str, handle: str, seed: int):
    reply = get(f"{hub}/{handle}{LITE}")
    assert (reply.status_code, reply.content) == (200, tflite(seed))
    assert reply.headers["Content-Type"] == "application/octet-stream"
    part = get(f"{hub}/{handle}{LITE}", Range="bytes=4-7", **{"If-Range": reply.headers["ETag"]})
    assert (part.status_code, part.content) == (206, b"TFL3")
    with http_client() as client:
        parsed = parse_handle(handle)
        source = source_of(hub_at(hub, client).open(parsed, Told()), parsed)
        assert source.form is Form.FILE
        assert contents(source) == {"model.tflite": tflite(seed)}


def test_a_tfjs_model_is_its_archive_and_its_files(hub: str):
    with http_client() as client:
        handle = parse_handle(f"{TFJS}/3")
        source = source_of(hub_at(hub, client).open(handle, Told()), handle)
        assert source.form is Form.FILES
        assert contents(source) == TFJS_FILES
        assert TfhubResolver(client, hub, Form.COMPRESSED).resolve(handle).form is Form.COMPRESSED
    reply = get(f"{hub}/{TFJS}/3?tfjs-format=compressed")
    with tarfile.open(fileobj=io.BytesIO(reply.content)) as tar:
        assert {m.name[2:]: tar.extractfile(m).read() for m in tar if m.isfile()} == TFJS_FILES
    assert get(f"{hub}/{TFJS}/3/model.json{TFJS_FILE}").headers["Content-Type"] == "application/json"


def test_a_ready_archive_of_a_tfjs_model_is_sent_as_it_is(root: Path, hub: str):
    write(root, "google/tfjs-model/ready/1.tar.gz", b"\x1f\x8b ready")
    assert get(f"{hub}/google/tfjs-model/ready/1?tfjs-format=compressed").content == b"\x1f\x8b ready"
    assert get(f"{hub}/google/tfjs-model/ready/1/model.json{TFJS_FILE}").status_code == 404


@pytest.mark.parametrize(
    ("asked", "location"),
    [
        (f"google/lite-model/spice{LITE}", f"/google/lite-model/spice/3{LITE}"),
        (
            f"google/lite-model/posenet/float/075/1/default{LITE}",
            f"/google/lite-model/posenet/float/075/1/default/1{LITE}",
        ),
        (f"google/coral-model/spice{LITE}", f"/google/coral-model/spice/1{LITE}"),
        (f"{TFJS}?tfjs-format=compressed", f"/{TFJS}/3?tfjs-format=compressed"),
        (f"{TFJS}/model.json{TFJS_FILE}", f"/{TFJS}/3/model.json{TFJS_FILE}"),
        (f"{TFJS}/sub/a%20b.bin{TFJS_FILE}", f"/{TFJS}/3/sub/a%20b.bin{TFJS_FILE}"),
    ],
)
def test_an_unversioned_url_leads_to_the_latest_version(hub: str, asked: str, location: str):
    reply = get(f"{hub}/{asked}")
    assert (reply.status_code, reply.headers["Location"]) == (302, location)
    assert get(f"{hub}/{asked}", redirect=True).status_code == 200


@pytest.mark.parametrize(
    ("name", "latest", "versions"),
    [
        ("google/lite-model/spice", "3", ["1", "2", "3"]),
        ("google/lite-model/posenet/float/075/1/default", "1", ["1"]),
        (TFJS, "3", ["1", "3"]),
        ("google/spice", "2", ["2"]),
    ],
)
def test_a_resolver_finds_the_latest_and_all_versions(hub: str, name: str, latest: str, versions: list[str]):
    with http_client() as client:
        resolver = TfhubResolver(client, hub)
        assert resolver.latest(name) == latest
        assert [*resolver.versions(name)] == versions


def test_a_name_that_only_leads_to_models_has_no_latest(hub: str):
    with http_client() as client, pytest.raises(ModelNotFound):
        TfhubResolver(client, hub).latest("google/tfjs-model/spice")


@pytest.mark.parametrize(
    "path",
    [
        "google/lite-model/spice/1?tf-hub-format=compressed",
        "google/lite-model/spice/1?tf-hub-format=uncompressed",
        "google/lite-model/spice/4?lite-format=tflite",
        "google/lite-model/spice/1/model.tflite?lite-format=tflite",
        "google/coral-model/spice/1/labels.txt?tfjs-format=file",
        f"{TFJS}/3?tf-hub-format=compressed",
        f"{TFJS}/3?lite-format=tflite",
        f"{TFJS}/3?tfjs-format=file",
        f"{TFJS}/3/nothing.bin?tfjs-format=file",
        f"{TFJS}/3/sub?tfjs-format=file",
        f"{TFJS}/3/model.json?tfjs-format=compressed",
        f"{TFJS}/2/model.json?tfjs-format=file",
        "google/tfjs-model/spice/2?tfjs-format=compressed",
        "google/spice/2/saved_model.pb?tfjs-format=file",
    ],
)
def test_what_is_not_here_is_404_in_plain_text(hub: str, path: str):
    reply = get(f"{hub}/{path}")
    assert (reply.status_code, reply.headers["Content-Type"]) == (404, "text/plain; charset=utf-8")
    assert reply.text.startswith("this hub has ")


def test_no_path_of_a_file_leads_out_of_the_model(root: Path):
    write(root.parent, "secret", b"x")
    (root / TFJS / "3/out").symlink_to(root.parent / "secret")
    models = ModelDirectory(root)
    model = models.find(parse_handle(f"{TFJS}/3"))
    assert models.file(model, ["sub", "a b.bin"]).read_bytes() == b"odd"
    for segments in (["..", "1", "model.json"], [".", "model.json"], ["out"], ["", "etc", "passwd"], ["a\0b"], ["sub"]):
        with pytest.raises(EntryNotFound):
            models.file(model, segments)


def test_every_model_is_listed_once_under_its_whole_name(root: Path):
    assert [str(handle) for handle in ModelDirectory(root).below()] == [
        "google/coral-model/spice/1",
        "google/lite-model/posenet/float/075/1/default/1",
        "google/lite-model/spice/1",
        "google/lite-model/spice/2",
        "google/lite-model/spice/3",
        "google/spice/2",
        "google/tfjs-model/spice/2/default/1",
        "google/tfjs-model/spice/2/default/3",
    ]


def test_a_directory_with_two_tf_lite_files_of_other_names_is_no_model(root: Path):
    write(root, "google/lite-model/spice/2/second.tflite", tflite(9))
    with pytest.raises(ModelNotFound):
        ModelDirectory(root).find(parse_handle("google/lite-model/spice/2"))


@pytest.mark.parametrize(
    ("handle", "shown", "link"),
    [
        ("google/lite-model/spice/1", "/mnt/tfhub/google/lite-model/spice/1/model.tflite", LITE),
        ("google/coral-model/spice/1", "-o model.tflite", LITE),
        (f"{TFJS}/3", "{fromTFHub: true}", "?tfjs-format=compressed"),
    ],
)
def test_the_page_says_how_to_use_the_kind(hub: str, handle: str, shown: str, link: str):
    page = get(f"{hub}/{handle}").text
    assert shown in page
    assert f'href="/{handle}{link}"' in page
    assert "tf-hub-format" not in page


@pytest.mark.slow
def test_every_real_typed_handle_is_found_in_a_directory_of_them_all(tmp_path: Path):
    files = {"Lite": "model.tflite", "Coral": "model.tflite", "Tfjs": "model.json"}
    typed = {text: kind for text, kind in public_handles().models.items() if kind in files}
    handles = sorted(typed)
    for text, kind in typed.items():
        write(tmp_path, f"{text}/{files[kind]}", b"x")
    models = ModelDirectory(tmp_path)
    assert sorted(map(str, models.below())) == handles
    for text in handles:
        model, rest = models.at(text.split("/"))
        assert (str(model.handle), [*rest]) == (text, [])
