"""The stand-in for Kaggle, judged by clients that know nothing of it: kagglehub by RPC, and an old one by REST."""

import random
from collections.abc import Iterator

import pytest
import requests

from tests.support.kaggle import KaggleStandIn
from tests.support.kaggle_replies import error_in_a_200, too_many, zipped
from tests.support.kagglehub_client import DIALECTS, model_download

HANDLE = "google/spice/tensorFlow2/spice/1"
FILES = {
    "saved_model.pb": b"graph " * 500,
    "variables/variables.index": random.Random(1).randbytes(700),
    "assets/a name+é.txt": b"words\n",
}
dialects = pytest.mark.parametrize("dialect", [pytest.param(dialect, marks=pytest.mark.slow) for dialect in DIALECTS])


@pytest.fixture
def kaggle() -> Iterator[KaggleStandIn]:
    with KaggleStandIn() as stand_in:
        stand_in.put(HANDLE, FILES)
        yield stand_in


@dialects
def test_a_versioned_handle_is_one_listing_and_a_download_a_file(kaggle, dialect, tmp_path):
    assert model_download(kaggle, dialect, tmp_path, HANDLE).files == FILES
    assert kaggle.calls == {"ListModelInstanceVersionFiles": 1, "DownloadModelInstanceVersion": len(FILES)}
    assert len(kaggle.stored) == len(FILES)
    assert kaggle.body_bytes == sum(map(len, FILES.values()))


@dialects
def test_an_unversioned_handle_is_the_newest_version(kaggle, dialect, tmp_path):
    kaggle.put(HANDLE.removesuffix("1") + "2", {"saved_model.pb": b"second"})
    found = model_download(kaggle, dialect, tmp_path, HANDLE.removesuffix("/1"))
    assert found.files == {"saved_model.pb": b"second"}
    assert kaggle.calls["GetModelInstance"] == 1


@dialects
def test_one_file(kaggle, dialect, tmp_path):
    name = "variables/variables.index"
    found = model_download(kaggle, dialect, tmp_path, HANDLE, name)
    assert found.path is not None
    assert found.path.read_bytes() == FILES[name]
    assert kaggle.body_bytes == len(FILES[name])


@dialects
def test_many_files_come_as_the_archive(kaggle, dialect, tmp_path):
    many = {f"folder/{n:03}.bin": random.Random(n).randbytes(100) for n in range(64)}
    kaggle.put("google/many/jax/all/3", many)
    assert model_download(kaggle, dialect, tmp_path, "google/many/jax/all/3").files == many
    assert kaggle.calls["DownloadModelInstanceVersion"] == 1
    assert [stored.path.rsplit("/", 1)[1] for stored in kaggle.stored] == ["archive.tar.gz"]


@dialects
def test_a_download_is_resumed_by_a_range(kaggle, dialect, tmp_path):
    whole = random.Random(2).randbytes(300_000)
    kaggle.put("google/big/keras/big/1", {"model.weights.h5": whole})
    first = model_download(kaggle, dialect, tmp_path, "google/big/keras/big/1", "model.weights.h5")
    assert first.path is not None
    first.path.write_bytes(whole[:100_000])
    for marker in tmp_path.rglob("*.h5.complete"):
        marker.unlink()
    kaggle.reset_counts()
    again = model_download(kaggle, dialect, tmp_path, "google/big/keras/big/1", "model.weights.h5")
    assert again.path is not None
    assert again.path.read_bytes() == whole
    assert [stored.range for stored in kaggle.stored][-1] == "bytes=100000-"
    assert kaggle.stored[-1].status == 206


@dialects
def test_what_is_refused_and_what_is_missing(kaggle, dialect, tmp_path):
    kaggle.put("google/gemma/keras/2b/1", {"config.json": b"{}"})
    kaggle.gated.add("google/gemma")
    assert "403" in model_download(kaggle, dialect, tmp_path, "google/gemma/keras/2b/1").message
    assert "404" in model_download(kaggle, dialect, tmp_path, "google/none/keras/2b/1").message
    kaggle.tokens["KGAT_" + "0" * 32] = "reader"
    kaggle.consented.add("reader")
    allowed = model_download(kaggle, dialect, tmp_path, "google/gemma/keras/2b/1", token="KGAT_" + "0" * 32)
    if dialect == "newest":  # 0.3.13 knows no tokens
        assert allowed.files == {"config.json": b"{}"}
        assert not [stored for stored in kaggle.stored if "authorization" in stored.headers]


def _list_files(kaggle: KaggleStandIn, **body: object) -> requests.Response:
    owner, model, framework, variation, version = HANDLE.split("/")
    asked = {"ownerSlug": owner, "modelSlug": model, "framework": framework, "instanceSlug": variation}
    where = f"{kaggle.url}/api/v1/models.ModelApiService/ListModelInstanceVersionFiles"
    return requests.post(where, json={**asked, "versionNumber": int(version), **body}, timeout=30)


def _signed(kaggle: KaggleStandIn, handle: str, path: str) -> str:
    where = f"{kaggle.url}/api/v1/models/{handle}/download/{path}"
    return requests.get(where, allow_redirects=False, timeout=30).headers["Location"]


def test_pages_go_on_by_token_and_a_token_can_repeat(kaggle):
    kaggle.page_sizes = 2
    first = _list_files(kaggle).json()
    second = _list_files(kaggle, pageToken=first["nextPageToken"]).json()
    assert [file["name"] for page in (first, second) for file in page["files"]] == list(FILES)
    assert second["nextPageToken"] == ""
    kaggle.repeats_token = True
    token = _list_files(kaggle).json()["nextPageToken"]
    assert _list_files(kaggle, pageToken=token).json()["nextPageToken"] == token


def test_a_signed_url_ends_and_can_be_forgotten(kaggle):
    url = _signed(kaggle, HANDLE, "saved_model.pb")
    assert requests.get(url, headers={"Range": "bytes=3-8"}, timeout=30).content == FILES["saved_model.pb"][3:9]
    assert requests.get(url.replace("spice", "x").replace("saved", "other"), timeout=30).status_code == 403
    kaggle.store.forget_urls()
    assert requests.get(url, timeout=30).status_code == 403
    kaggle.store.url_lives_s = 0
    ended = requests.get(_signed(kaggle, HANDLE, "saved_model.pb"), timeout=30)
    assert (ended.status_code, "ExpiredToken" in ended.text) == (400, True)


def test_faults_come_once_and_in_order(kaggle):
    kaggle.script("ListModelInstanceVersionFiles", too_many(retry_after_s=7), error_in_a_200(404, "gone"))
    first, second, third = (_list_files(kaggle) for _ in range(3))
    assert (first.status_code, first.headers["Retry-After"]) == (429, "7")
    assert (second.status_code, second.json()["code"]) == (200, 404)
    assert len(third.json()["files"]) == len(FILES)


def test_a_listing_lies_and_a_file_is_a_zip(kaggle):
    packed = zipped("data.csv", b"a,b\n")
    kaggle.put("google/odd/other/odd/1", {"data.csv": b"a,b\n"}, listed={"data.csv": 99}, stored={"data.csv": packed})
    answer = requests.get(f"{kaggle.url}/api/v1/models/google/odd/other/odd/1/files", timeout=30).json()
    assert [(file["name"], file["size"]) for file in answer["files"]] == [("data.csv", 99)]
    assert requests.get(_signed(kaggle, "google/odd/other/odd/1", "data.csv"), timeout=30).content == packed


def test_anonymous_version_lists_can_be_refused(kaggle):
    kaggle.anonymous_lists = False
    where = f"{kaggle.url}/api/v1/models/google/spice/tensorFlow2/spice/list"
    assert requests.get(where, timeout=30).status_code == 403
    kaggle.keys["me"] = "secret"
    answer = requests.get(where, auth=("me", "secret"), timeout=30).json()
    assert [version["versionNumber"] for version in answer["versionList"]["versions"]] == [1]
    assert requests.get(where, auth=("me", "wrong"), timeout=30).status_code == 401
