import io
import logging
import os
import re
import shlex
import socket
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from hubfs.errors import InvalidConfig
from hubfs.formats.index_file import SUFFIX
from hubfs.hubs.tfhub.serve.app import HostSettings, make_app
from tests.support.examples import examples
from tests.support.serving import serving, write_model

COMPRESSED = "?tf-hub-format=compressed"
UNCOMPRESSED = "?tf-hub-format=uncompressed"
TIMEOUT_S = 30


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def files(root: Path) -> dict[str, bytes]:
    return write_model(root, "google/spice/2")


@pytest.fixture
def hub(root: Path, files: dict[str, bytes]) -> Iterator[str]:
    with serving(root) as url:
        yield url


def get(url: str, *, redirect: bool = False, **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.get(url, headers=named, allow_redirects=redirect, timeout=TIMEOUT_S)


def head(url: str, **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.head(url, headers=named, allow_redirects=False, timeout=TIMEOUT_S)


def unpacked(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {m.name.removeprefix("./"): tar.extractfile(m).read() for m in tar if m.isfile()}


# The compressed form


def test_the_archive_holds_the_files_of_the_model(hub: str, files: dict[str, bytes]):
    reply = get(f"{hub}/google/spice/2{COMPRESSED}")
    assert reply.status_code == 200
    assert reply.headers["Content-Type"] == "application/x-gzip"
    assert int(reply.headers["Content-Length"]) == len(reply.content)
    assert reply.headers["Accept-Ranges"] == "bytes"
    assert re.fullmatch(r'"[^"]+"', reply.headers["ETag"])
    assert "Content-Encoding" not in reply.headers
    assert unpacked(reply.content) == files


def test_a_trailing_slash_changes_nothing(hub: str):
    assert get(f"{hub}/google/spice/2/{COMPRESSED}").content == get(f"{hub}/google/spice/2{COMPRESSED}").content


def test_head_says_what_get_would(hub: str):
    url = f"{hub}/google/spice/2{COMPRESSED}"
    whole = get(url)
    reply = head(url, Range="bytes=0-9")
    assert (reply.status_code, reply.content) == (200, b"")
    for name in ("Content-Length", "ETag", "Content-Type", "Accept-Ranges", "Last-Modified"):
        assert reply.headers[name] == whole.headers[name]


def test_a_ready_archive_is_sent_as_it_is(root: Path, hub: str):
    (root / "google/ready").mkdir()
    content = os.urandom(100_000)
    (root / "google/ready/1.tar.gz").write_bytes(content)
    (root / "google/ready/1.tar.gz.br").write_bytes(b"something else")
    reply = get(f"{hub}/google/ready/1{COMPRESSED}", Accept_Encoding="br, gzip")
    assert reply.content == content
    assert "Content-Encoding" not in reply.headers


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("0-0", 0, 1), ("100-4999", 100, 5000), ("100-", 100, None), ("-100", -100, None), ("5-99999999", 5, None)],
)
def test_one_range_gets_its_bytes(hub: str, asked: str, start: int, end: int | None):
    url = f"{hub}/google/spice/2{COMPRESSED}"
    whole = get(url)
    part = get(url, Range=f"bytes={asked}")
    expected = whole.content[start:end]
    assert (part.status_code, part.content) == (206, expected)
    first = whole.content.index(expected) if len(expected) > 1 else 0
    size = len(whole.content)
    assert part.headers["Content-Range"] == f"bytes {first}-{first + len(expected) - 1}/{size}"
    assert part.headers["ETag"] == whole.headers["ETag"]


def test_a_range_past_the_end_cannot_be_satisfied(hub: str):
    url = f"{hub}/google/spice/2{COMPRESSED}"
    reply = get(url, Range="bytes=99999999-")
    assert reply.status_code == 416
    assert reply.headers["Content-Range"] == f"bytes */{head(url).headers['Content-Length']}"


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "bytes=x-y", "lines=0-1", "bytes=-", "nonsense"])
def test_what_is_not_one_range_gets_the_whole(hub: str, asked: str):
    url = f"{hub}/google/spice/2{COMPRESSED}"
    reply = get(url, Range=asked)
    assert (reply.status_code, reply.content) == (200, get(url).content)


def test_if_range_holds_for_the_same_archive_only(hub: str):
    url = f"{hub}/google/spice/2{COMPRESSED}"
    whole = get(url)
    etag = whole.headers["ETag"]
    assert get(url, Range="bytes=7-9", If_Range=etag).content == whole.content[7:10]
    assert get(url, Range="bytes=7-9", If_Range=whole.headers["Last-Modified"]).content == whole.content[7:10]
    for other in ('"other"', f"W/{etag}", "nonsense", "Mon, 01 Jan 2001 00:00:00 GMT"):
        reply = get(url, Range="bytes=7-9", If_Range=other)
        assert (reply.status_code, reply.content) == (200, whole.content), other


def test_if_none_match_and_if_match_are_conditions(hub: str):
    url = f"{hub}/google/spice/2{COMPRESSED}"
    etag = get(url).headers["ETag"]
    assert get(url, If_None_Match=etag).status_code == 304
    assert get(url, If_None_Match='"other"').status_code == 200
    assert get(url, If_Match='"other"').status_code == 412


def test_the_etag_and_the_bytes_survive_a_restart(root: Path, files: dict[str, bytes]):
    replies = []
    for _ in range(2):
        with serving(root) as url:
            replies.append(get(f"{url}/google/spice/2{COMPRESSED}"))
    assert replies[0].content == replies[1].content
    assert replies[0].headers["ETag"] == replies[1].headers["ETag"]


def test_a_changed_file_makes_another_archive(root: Path, hub: str):
    url = f"{hub}/google/spice/2{COMPRESSED}"
    before = get(url)
    (root / "google/spice/2/assets/vocab.txt").write_bytes(b"z\nb\n")
    after = get(url, Range="bytes=5-", If_Range=before.headers["ETag"])
    assert after.status_code == 200
    assert after.headers["ETag"] != before.headers["ETag"]
    assert unpacked(after.content)["assets/vocab.txt"] == b"z\nb\n"


@pytest.mark.slow
def test_concurrent_requests_wait_for_one_build(
    root: Path, temporary: Path, hub: str, caplog: pytest.LogCaptureFixture
):
    write_model(root, "google/large/1", size_bytes=30 << 20)
    barrier = threading.Barrier(8)

    def fetch(_: int) -> bytes:
        barrier.wait(TIMEOUT_S)
        return get(f"{hub}/google/large/1{COMPRESSED}").content

    with caplog.at_level(logging.INFO, "hubfs.hubs.tfhub.serve"), ThreadPoolExecutor(8) as pool:
        received = set(pool.map(fetch, range(8)))
    assert len(received) == 1
    assert [record.getMessage() for record in caplog.records if "archived" in record.message] == [
        "google/large/1: archived"
    ]
    assert [path.name for path in temporary.glob("*/*.gz")] == ["1.tar.gz"]


@pytest.mark.slow
def test_a_model_that_keeps_changing_is_unavailable_until_that_is_done(root: Path, hub: str):
    write_model(root, "google/large/1", size_bytes=30 << 20)
    done = threading.Event()

    def change() -> None:
        while not done.wait(0.002):
            os.utime(root / "google/large/1/variables/variables.data-00000-of-00001")

    thread = threading.Thread(target=change)
    thread.start()
    try:
        reply = get(f"{hub}/google/large/1{COMPRESSED}")
    finally:
        done.set()
        thread.join()
    assert (reply.status_code, reply.headers["Retry-After"]) == (503, "5")
    assert "google/large/1 is being changed right now" in reply.text
    assert get(f"{hub}/google/large/1{COMPRESSED}").status_code == 200


def test_a_full_disk_is_unavailable_until_there_is_space(temporary: Path, hub: str):
    (folder,) = temporary.iterdir()
    (folder / "1.tar.partial").symlink_to("/dev/full")  # the name of the first archive while it is written
    reply = get(f"{hub}/google/spice/2{COMPRESSED}")
    assert (reply.status_code, reply.headers["Retry-After"]) == (503, "5")
    assert "No space left on device" in reply.text
    assert get(f"{hub}/google/spice/2{COMPRESSED}").status_code == 200


def test_an_archive_that_was_cleaned_away_is_built_again(temporary: Path, hub: str):
    url = f"{hub}/google/spice/2{COMPRESSED}"
    before = get(url).content
    (archive,) = temporary.glob("*/*.gz")
    archive.unlink()
    archive.with_name(archive.name + SUFFIX).unlink()
    archive.parent.rmdir()
    assert get(url).content == before


def test_a_superseded_archive_is_deleted(root: Path, temporary: Path, hub: str):
    get(f"{hub}/google/spice/2{COMPRESSED}")
    os.utime(root / "google/spice/2/saved_model.pb")
    get(f"{hub}/google/spice/2{COMPRESSED}")
    deadline_s = time.monotonic() + TIMEOUT_S
    while (kept := [path.name for path in sorted(temporary.glob("*/*"))]) != [
        "2.tar.gz",
        "2.tar.gz.hubfs-index",
    ]:
        assert time.monotonic() < deadline_s, kept
        time.sleep(0.01)


def test_the_temporary_folder_is_removed_at_the_end(root: Path, temporary: Path, files: dict[str, bytes]):
    with serving(root) as url:
        get(f"{url}/google/spice/2{COMPRESSED}")
        assert list(temporary.iterdir())
    assert list(temporary.iterdir()) == []


# Versions


def test_an_unversioned_url_leads_to_the_latest_version(root: Path, hub: str):
    newest = write_model(root, "google/spice/10", seed=5)
    reply = get(f"{hub}/google/spice{COMPRESSED}")
    assert (reply.status_code, reply.headers["Location"]) == (302, f"/google/spice/10{COMPRESSED}")
    followed = get(f"{hub}/google/spice{COMPRESSED}", redirect=True)
    assert followed.url == f"{hub}/google/spice/10{COMPRESSED}"
    assert unpacked(followed.content) == newest
    assert get(f"{hub}/google/spice").headers["Location"] == "/google/spice/10"
    assert head(f"{hub}/google/spice{COMPRESSED}").status_code == 302


# The uncompressed form


def test_a_bucket_is_named_for_the_uncompressed_form(root: Path, files: dict[str, bytes]):
    with serving(root, bucket="gs://models/prefix/") as url:
        reply = get(f"{url}/google/spice/2{UNCOMPRESSED}")
        assert (reply.status_code, reply.text) == (303, "gs://models/prefix/google/spice/2")
        assert reply.headers["Location"] == "gs://models/prefix/google/spice/2"
        assert get(f"{url}/google/spice/3{UNCOMPRESSED}").status_code == 404
        assert get(f"{url}/google/spice/2{COMPRESSED}").status_code == 200


def test_without_a_bucket_there_is_no_uncompressed_form(hub: str):
    reply = get(f"{hub}/google/spice/2{UNCOMPRESSED}")
    assert reply.status_code == 404
    assert reply.headers["Content-Type"].startswith("text/plain")
    assert "ask for tf-hub-format=compressed" in reply.text


@pytest.mark.parametrize("bucket", ["", "gs://", "models", "s3://models", "gs://models?x", "gs:///x"])
def test_what_is_not_a_bucket_is_refused(tmp_path: Path, bucket: str):
    with pytest.raises(InvalidConfig, match="must read gs://BUCKET"):
        make_app(tmp_path, HostSettings(bucket))


# What there is not


@pytest.mark.parametrize(
    "path",
    [
        f"google/spice/3{COMPRESSED}",
        f"google/nothing{COMPRESSED}",
        f"google{COMPRESSED}",
        COMPRESSED,
        "google/spice/2?tf-hub-format=zip",
        "google/spice/2?tfjs-format=compressed",
        "google/spice/2/model.json?tfjs-format=file",
        "google/spice/2?lite-format=tflite",
        f"google/spice/2/saved_model.pb{COMPRESSED}",
        f"google/tfjs-model/spice/2/default/1{COMPRESSED}",
    ],
)
def test_a_protocol_query_for_what_is_not_here_is_404_in_plain_text(hub: str, path: str):
    reply = get(f"{hub}/{path}")
    assert (reply.status_code, reply.headers["Content-Type"]) == (404, "text/plain; charset=utf-8")
    assert reply.text.startswith("this hub has ")
    assert head(f"{hub}/{path}").status_code == 404


def test_a_person_gets_a_page_for_what_is_not_here(hub: str):
    reply = get(f"{hub}/google/spice/9")
    assert (reply.status_code, reply.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert "it has version 2" in Page.of(reply.text).text


def raw_request(hub: str, target: bytes, headers: bytes = b"") -> bytes:
    host, port = hub.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as connection:
        connection.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + headers + b"\r\n")
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    "path",
    [
        b"/../secret/1",
        b"/../../../../etc/passwd",
        b"/%2e%2e/secret/m/1",
        b"/google/../../secret/m/1",
        b"/google/%2e%2e/%2e%2e/secret/m/1",
        b"/google/..%2f..%2fsecret%2fm/1",
        b"/google/spice/2/../../../../secret/m/1",
        b"/google/..\\..\\secret/1",
        b"//secret/m/1",
        b"/google/spice%00/2",
        b"/google/.hidden/1",
        b"/\xff\xfe/x/1",
        b"/%ff/x/1",
    ],
)
@pytest.mark.parametrize("query", [b"", COMPRESSED.encode()])
def test_no_path_leads_out_of_the_directory(root: Path, hub: str, path: bytes, query: bytes):
    write_model(root.parent, "secret/m/1")
    write_model(root, "google/.hidden/1")
    status = raw_request(hub, path + query).split(b" ", 2)[1]
    assert status in (b"404", b"400")


def test_headers_that_are_not_utf8_do_no_harm(hub: str):
    reply = raw_request(hub, b"/google/spice/2" + COMPRESSED.encode(), b"X-Any: \xff\r\nIf-None-Match: \xff\r\n")
    assert reply.startswith(b"HTTP/1.1 200 ")


@given(path=st.text(max_size=60), asked=st.sampled_from(["", COMPRESSED, UNCOMPRESSED]))
@examples(150)
def test_no_path_is_an_error_of_the_host(host_of_nothing: str, path: str, asked: str):
    assert get(f"{host_of_nothing}/{requests.utils.quote(path)}{asked}").status_code in (200, 404)


@pytest.fixture(scope="module")
def host_of_nothing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("empty")) as url:
        yield url


def test_nothing_can_be_written(hub: str):
    for method in ("POST", "PUT", "DELETE"):
        assert requests.request(method, f"{hub}/google/spice/2", timeout=TIMEOUT_S).status_code == 405


# Pages for people


class Page(HTMLParser):
    """Reads a page, and insists that every element is closed."""

    VOID = ("meta", "br", "link", "img")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    @classmethod
    def of(cls, text: str) -> "Page":
        page = cls()
        page.feed(text)
        page.close()
        assert page.open == []
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def links(self) -> list[str]:
        return [attrs["href"] or "" for tag, attrs in self.tags if tag == "a"]


def test_the_page_of_a_model_shows_how_to_load_it_and_its_files(root: Path, hub: str):
    write_model(root, "google/spice/10")
    reply = get(f"{hub}/google/spice/2")
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    page = Page.of(reply.text)
    assert f">>> model = hub.load('{hub}/google/spice/2')" in page.text
    assert f">>> model = hubfs.load('{hub}/google/spice/2')" in page.text
    assert f"hubfs mount /mnt/tfhub --hub {hub}" in page.text
    assert "tf.saved_model.load('/mnt/tfhub/google/spice/2')" in page.text
    assert f"hubfs fetch google/spice/2 --hub {hub} --to spice" in page.text
    assert "variables/variables.data-00000-of-00001300 kB" in page.text
    assert "There is a newer version" in page.text
    assert set(page.links) >= {"/", "/google", "/google/spice", "/google/spice/10", f"/google/spice/2{COMPRESSED}"}
    for link in page.links:
        assert get(hub + link, redirect=True).status_code == 200
    assert int(head(f"{hub}/google/spice/2").headers["Content-Length"]) == len(reply.content)


def test_pages_load_nothing_and_can_be_read_by_everybody(hub: str):
    for path in ("/", "/google", "/google/spice/2", "/google/spice/9"):
        reply = get(hub + path)
        page = Page.of(reply.text)
        names = [tag for tag, _ in page.tags]
        assert not {"script", "link", "img", "iframe"} & set(names)
        assert "url(" not in reply.text
        assert names.count("h1") == names.count("main") == names.count("title") == 1
        assert ("html", {"lang": "en"}) in page.tags
        assert ("nav", {"aria-label": "Breadcrumb"}) in page.tags
        assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_the_first_page_lists_every_model(root: Path, hub: str):
    write_model(root, "deepmind/deep/name/1")
    page = Page.of(get(f"{hub}/").text)
    assert {"/google/spice/2", "/deepmind/deep/name/1"} <= set(page.links)
    assert "/google/spice/2" not in Page.of(get(f"{hub}/deepmind").text).links


def test_the_page_of_a_ready_archive_shows_the_archive(root: Path, hub: str):
    (root / "google/ready").mkdir()
    (root / "google/ready/1.tar.gz").write_bytes(b"x" * 2500)
    assert "1.tar.gz2.5 kB" in Page.of(get(f"{hub}/google/ready/1").text).text


def test_names_of_files_are_escaped(root: Path, hub: str):
    evil = "<script>alert('1')<|script>&amp;\"\n.txt"
    (root / "google/spice/2" / evil).write_bytes(b"x")
    (root / "google/spice/2" / os.fsdecode(b"\xff")).write_bytes(b"x")
    page = Page.of(get(f"{hub}/google/spice/2").text)
    assert "script" not in [tag for tag, _ in page.tags]
    assert evil in page.text


@pytest.mark.parametrize(
    "host",
    [
        "x\"><script>alert('2')</script>",
        "x'; rm -rf ~; '",
        "$(reboot)",
        "a`id`",
        "h x",
        "h;id",
        "user@h",
        "h/path",
        "[::1",
        "h:port",
        "h" * 254,
    ],
)
def test_a_host_that_is_none_is_refused(hub: str, host: str):
    """Pages have commands for people to copy, with the name of the host in them."""
    reply = get(f"{hub}/google/spice/2", Host=host)
    assert reply.status_code == 400
    assert host not in reply.text


@pytest.mark.parametrize("host", ["models.example.com", "10.0.0.1:8000", "[::1]:8000", "team_hub"])
def test_a_host_that_is_one_is_in_the_commands(hub: str, host: str):
    text = Page.of(get(f"{hub}/google/spice/2", Host=host).text).text
    assert f"--hub {shlex.quote(f'http://{host}')}\n" in text
    assert f"curl -fL {shlex.quote(f'http://{host}/google/spice/2{COMPRESSED}')} | tar xz" in text


def test_a_client_that_names_no_host_gets_the_address(hub: str):
    host, port = hub.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as connection:
        connection.sendall(b"GET /google/spice/2 HTTP/1.0\r\n\r\n")
        reply = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    assert f"--hub {hub}\n" in reply


def test_an_empty_directory_says_what_to_put_there(host_of_nothing: str):
    assert "PUBLISHER/NAME/VERSION" in Page.of(get(f"{host_of_nothing}/").text).text
