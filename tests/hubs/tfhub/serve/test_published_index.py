import logging
import re
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from hubfs.blobs.http.blob import HttpBlob
from hubfs.blobs.http.client import HttpClient
from hubfs.commands.indexing import write_index
from hubfs.formats.gzip.blob import GzipBlob
from hubfs.formats.index_file import IndexFile
from hubfs.hubs.tfhub.questions import PARAMETERS
from hubfs.sources.archive.published import find_published_index
from tests.support.models import pack
from tests.support.serving import serving, write_model

COMPRESSED = "tf-hub-format=compressed"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def hub(root: Path) -> Iterator[str]:
    with serving(root) as url:
        yield url


def link_of(url: str) -> str | None:
    return requests.get(url, headers={"Range": "bytes=0-0"}, timeout=30).headers.get("Link")


def test_an_archive_that_was_built_names_its_index_and_has_it(root: Path, hub: str):
    write_model(root, "google/spice/2")
    for slash, place in (("", ""), ("/", "../")):
        assert link_of(f"{hub}/google/spice/2{slash}?{COMPRESSED}") == (
            f'<{place}2.hubfs-index?{COMPRESSED}>; rel="hubfs-index"'
        )
    reply = requests.get(f"{hub}/google/spice/2.hubfs-index?{COMPRESSED}", timeout=30)
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "application/octet-stream")
    assert "saved_model.pb" in {member.path for member in IndexFile.from_bytes(reply.content).members}


def test_a_client_reads_one_file_by_the_published_index(root: Path, hub: str, client: HttpClient):
    files = write_model(root, "google/spice/2", size_bytes=13 << 20)
    url = f"{hub}/google/spice/2?{COMPRESSED}"
    for link in (None, link_of(url)):
        index = find_published_index(client, client.probe(url), link, parameters=PARAMETERS)
        assert index is not None
        before = client.stats().bytes_received
        with ThreadPoolExecutor(1) as pool:
            tar = GzipBlob(HttpBlob(client, url), index.gzip, name=url, pool=pool, cancellation=client.cancellation)
            (member,) = [member for member in index.members if member.path == "saved_model.pb"]
            assert tar.read_at(member.offset_bytes, member.size_bytes) == files["saved_model.pb"]
        assert client.stats().bytes_received - before < 6 << 20


def test_a_changed_model_has_another_index(root: Path, hub: str, client: HttpClient):
    write_model(root, "google/spice/2")
    url = f"{hub}/google/spice/2?{COMPRESSED}"
    before = find_published_index(client, client.probe(url, fresh=True), parameters=PARAMETERS)
    write_model(root, "google/spice/2", seed=8, size_bytes=400_000)
    after = find_published_index(client, client.probe(url, fresh=True), parameters=PARAMETERS)
    assert before != after
    assert after.archive_size_bytes == client.probe(url, fresh=True).size_bytes


def test_a_ready_archive_has_the_index_that_lies_beside_it(root: Path, hub: str, client: HttpClient, small: Path):
    archive = pack(small, root / "noise/small/1.tar.gz")
    url = f"{hub}/noise/small/1?{COMPRESSED}"
    assert link_of(url) is None
    assert find_published_index(client, client.probe(url), parameters=PARAMETERS) is None
    reply = requests.get(f"{hub}/noise/small/1.hubfs-index?{COMPRESSED}", timeout=30)
    assert (reply.status_code, reply.text) == (404, "this hub has no index of noise/small/1: `hubfs index` makes one\n")
    write_index(archive, None, workers=1)
    assert link_of(url) is not None
    index = find_published_index(client, client.probe(url), parameters=PARAMETERS)
    assert {member.path for member in index.members if not member.is_directory} == {
        str(path.relative_to(small)) for path in small.rglob("*") if path.is_file()
    }


def test_an_index_outside_of_the_directory_is_not_served(root: Path, hub: str, tmp_path: Path, small: Path):
    pack(small, root / "noise/small/1.tar.gz")
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "noise/small/1.tar.gz.hubfs-index").symlink_to(tmp_path / "secret")
    assert requests.get(f"{hub}/noise/small/1.hubfs-index?{COMPRESSED}", timeout=30).status_code == 404
    assert link_of(f"{hub}/noise/small/1?{COMPRESSED}") is None


@pytest.mark.parametrize(
    "path",
    [
        f"google/nothing/2.hubfs-index?{COMPRESSED}",
        f"google/spice/3.hubfs-index?{COMPRESSED}",
        f"google/spice.hubfs-index?{COMPRESSED}",
        f".hubfs-index?{COMPRESSED}",
        "google/spice/2.hubfs-index?tf-hub-format=uncompressed",
        "google/spice/2.hubfs-index?lite-format=tflite",
        "google/spice/2.hubfs-index",
    ],
)
def test_there_is_no_index_of_what_is_not_an_archive_here(root: Path, hub: str, path: str):
    write_model(root, "google/spice/2")
    assert requests.get(f"{hub}/{path}", timeout=30).status_code == 404


def test_an_index_of_an_older_archive_is_not_used(
    root: Path, hub: str, client: HttpClient, small: Path, caplog: pytest.LogCaptureFixture
):
    archive = pack(small, root / "noise/small/1.tar.gz")
    write_index(archive, None, workers=1)
    pack(small, archive, saved_model_last=True)
    url = f"{hub}/noise/small/1?{COMPRESSED}"
    with caplog.at_level(logging.DEBUG):
        assert find_published_index(client, client.probe(url), parameters=PARAMETERS) is None
    assert re.search(r"/noise/small/1.hubfs-index is the index of another archive", caplog.text)
