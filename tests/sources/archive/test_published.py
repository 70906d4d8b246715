import dataclasses
import gzip
import logging
from collections.abc import Iterator

import pytest

from hubfs.blobs.http.client import HttpClient
from hubfs.errors import Cancelled, Unavailable
from hubfs.formats.index_file import IndexedMember, IndexFile
from hubfs.hubs.tfhub.questions import PARAMETERS
from hubfs.sources.archive import published as published_index
from hubfs.sources.archive.published import find_published_index, index_url
from hubfs.waiting import Cancellation
from tests.support.archives import model_files, tar_of
from tests.support.checkpoints import index_of
from tests.support.http_clients import http_client
from tests.support.http_origin import Answer, HttpOrigin, redirect, stall

TAR = tar_of(model_files())
ARCHIVE = gzip.compress(TAR)
MEMBERS = (IndexedMember("assets/vocab.txt", is_directory=False, size_bytes=4000, offset_bytes=1024),)
INDEX = IndexFile(len(ARCHIVE), MEMBERS, index_of(ARCHIVE))
QUERY = "?tf-hub-format=compressed"


@pytest.fixture
def origin() -> Iterator[HttpOrigin]:
    with HttpOrigin() as origin:
        origin.put("/google/spice/2", ARCHIVE, etag='"v1"')
        yield origin


def find(origin: HttpOrigin, client: HttpClient, path: str = f"/google/spice/2{QUERY}", **options) -> IndexFile | None:
    seen = client.probe(origin.url + path)
    origin.reset()
    return find_published_index(client, seen, parameters=PARAMETERS, **options)


def test_the_index_beside_an_archive_is_found_with_two_small_requests(origin: HttpOrigin, client: HttpClient):
    origin.put("/google/spice/2.hubfs-index", INDEX.to_bytes())
    assert find(origin, client) == INDEX
    assert [(request.path, request.query, request.headers.get("range")) for request in origin.requests] == [
        ("/google/spice/2.hubfs-index", QUERY[1:], None),
        ("/google/spice/2", QUERY[1:], f"bytes={len(ARCHIVE) - 8}-{len(ARCHIVE) - 1}"),
    ]


def test_it_lies_beside_where_the_redirects_led(origin: HttpOrigin, client: HttpClient):
    origin.route("/google/spice", redirect(f"/google/spice/2{QUERY}"))
    origin.put("/google/spice/2.hubfs-index", INDEX.to_bytes())
    assert find(origin, client, f"/google/spice{QUERY}") == INDEX
    assert {request.path for request in origin.requests} == {"/google/spice/2.hubfs-index", "/google/spice/2"}


def test_a_link_says_where_it_is(origin: HttpOrigin, client: HttpClient):
    origin.put("/elsewhere", INDEX.to_bytes())
    assert find(origin, client, link='</next>; rel="next", </elsewhere?x=1>; rel="hubfs-index"') == INDEX
    assert origin.requests[0].path == "/elsewhere"


def test_a_tar_that_is_not_compressed_is_known_by_the_header_of_its_last_file(origin: HttpOrigin, client: HttpClient):
    origin.put("/plain", TAR, etag='"t"')
    last = TAR.index(b"graph graph")
    members = (*MEMBERS, IndexedMember("saved_model.pb", is_directory=False, size_bytes=3000, offset_bytes=last))
    index = IndexFile(len(TAR), members, None)
    origin.put("/plain.hubfs-index", index.to_bytes())
    assert find(origin, client, "/plain") == index
    members = (*MEMBERS, IndexedMember("saved_model.pb", is_directory=False, size_bytes=3001, offset_bytes=last))
    origin.put("/plain.hubfs-index", IndexFile(len(TAR), members, None).to_bytes())
    assert find(origin, client, "/plain") is None


@pytest.mark.parametrize("code", [404, 403, 410, 429, 500, 503])
def test_without_an_index_one_request_was_made(
    origin: HttpOrigin, client: HttpClient, caplog: pytest.LogCaptureFixture, code: int
):
    origin.route("/google/spice/2.hubfs-index", lambda _: Answer(code, {}, b"no"))
    with caplog.at_level(logging.DEBUG, "hubfs"):
        assert find(origin, client) is None
    assert len(origin.requests) == 1
    assert [record.levelname for record in caplog.records if "hubfs-index" in record.getMessage()] == ["DEBUG"]


def test_a_page_is_not_read_to_its_end(origin: HttpOrigin, client: HttpClient):
    origin.put("/google/spice/2.hubfs-index", b"<html>" + bytes(30 << 20), content_type="text/html")
    assert find(origin, client) is None
    assert client.stats().bytes_received < 2000
    assert len(origin.requests) == 1


OTHER = gzip.compress(TAR[:-512] + b"x" * 512)


@pytest.mark.parametrize(
    "data",
    [
        INDEX.to_bytes()[:-1],
        INDEX.to_bytes() + b"x",
        b"hubfsIDX" + bytes(1000),
        IndexFile(len(OTHER), MEMBERS, index_of(OTHER)).to_bytes(),
        IndexFile(len(ARCHIVE), MEMBERS, dataclasses.replace(INDEX.gzip, trailer=b"anything")).to_bytes(),
    ],
)
def test_an_index_that_is_damaged_or_of_another_archive_is_none(origin: HttpOrigin, client: HttpClient, data: bytes):
    origin.put("/google/spice/2.hubfs-index", data)
    assert find(origin, client) is None


def test_an_archive_that_changed_since_it_was_seen_has_no_index(origin: HttpOrigin, client: HttpClient):
    origin.put("/google/spice/2.hubfs-index", INDEX.to_bytes())
    seen = client.probe(f"{origin.url}/google/spice/2{QUERY}")
    origin.put("/google/spice/2", ARCHIVE, etag='"v2"')
    assert find_published_index(client, seen, parameters=PARAMETERS) is None


def test_an_index_that_stalls_costs_one_time_out(origin: HttpOrigin, client: HttpClient):
    origin.put("/google/spice/2.hubfs-index", INDEX.to_bytes())
    seen = client.probe(f"{origin.url}/google/spice/2{QUERY}")
    origin.reset()
    origin.always("/google/spice/2.hubfs-index", stall(20))
    with http_client(stall_timeout_s=0.5) as hasty:
        assert find_published_index(hasty, seen, parameters=PARAMETERS) is None
    assert len(origin.requests) == 1


def test_one_that_is_too_large_is_not_taken(
    origin: HttpOrigin, client: HttpClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    origin.put("/google/spice/2.hubfs-index", INDEX.to_bytes())
    monkeypatch.setattr(published_index, "MAX_SIZE_BYTES", len(INDEX.to_bytes()))
    assert find(origin, client) == INDEX
    monkeypatch.setattr(published_index, "MAX_SIZE_BYTES", len(INDEX.to_bytes()) - 1)
    with caplog.at_level(logging.DEBUG, "hubfs"):
        assert find(origin, client) is None
    assert "has more than" in caplog.text


def test_a_host_without_ranges_or_sizes_is_not_asked(origin: HttpOrigin, client: HttpClient):
    origin.put("/google/spice/2", ARCHIVE, ranges=False)
    assert find(origin, client) is None
    origin.put("/google/spice/2", ARCHIVE, chunked=True, ranges=False)
    assert find(origin, client, "/google/spice/2?tfjs-format=compressed") is None
    assert origin.requests == []


def test_secret_headers_go_to_the_host_of_the_archive_only(origin: HttpOrigin, client: HttpClient):
    with HttpOrigin() as store:
        store.put("/bytes", ARCHIVE)
        store.put("/bytes.hubfs-index", INDEX.to_bytes())
        origin.route("/google/spice/2", redirect(f"{store.url}/bytes"))
        assert find(origin, client, headers={"Authorization": "secret"}) == INDEX
        assert all("authorization" not in request.headers for request in store.requests)
    origin.put("/google/spice/2", ARCHIVE, etag='"v1"')
    origin.put("/google/spice/2.hubfs-index", INDEX.to_bytes())
    client.forget(f"{origin.url}/google/spice/2{QUERY}")
    assert find(origin, client, headers={"Authorization": "secret"}) == INDEX
    assert all(request.headers["authorization"] == "secret" for request in origin.requests)


def test_a_cancel_is_no_missing_index(origin: HttpOrigin):
    cancellation = Cancellation()
    with http_client(cancellation) as client:
        seen = client.probe(f"{origin.url}/google/spice/2{QUERY}")
        cancellation.cancel()
        with pytest.raises(Cancelled):
            find_published_index(client, seen, parameters=PARAMETERS)


@pytest.mark.parametrize(
    ("archive", "index"),
    [
        ("https://hub/a/1", "https://hub/a/1.hubfs-index"),
        ("https://hub/a/1/", "https://hub/a/1.hubfs-index"),
        (
            "https://hub/a/1.tar.gz?tf-hub-format=compressed",
            "https://hub/a/1.tar.gz.hubfs-index?tf-hub-format=compressed",
        ),
        ("https://hub/a/1?tfjs-format=compressed#x", "https://hub/a/1.hubfs-index?tfjs-format=compressed"),
        ("https://hub/a/1?X-Goog-Signature=abc", None),
        ("https://hub/a/1?tf-hub-format=compressed&token=", None),
        ("https://hub/a/1?token", None),
        ("https://hub", None),
        ("https://hub/?tf-hub-format=compressed", None),
    ],
)
def test_the_index_lies_beside_the_archive_unless_its_url_may_be_signed(archive: str, index: str | None):
    assert index_url(archive, parameters=PARAMETERS) == index


@pytest.mark.parametrize(
    ("link", "index"),
    [
        ('<b.idx>; rel="hubfs-index"', "https://hub/a/b.idx"),
        ("<b.idx>; rel=hubfs-index", "https://hub/a/b.idx"),
        ('<b.idx>;title="x";rel="next Hubfs-Index prev"', "https://hub/a/b.idx"),
        ('<x>; rel="next", <https://cdn/i?sig=1>; rel="hubfs-index"', "https://cdn/i?sig=1"),
        ('<b.idx>; rel="hubfs-index-2"', None),
        ('<b.idx>; rel="x"; title="hubfs-index"', None),
        ("nonsense", None),
        ("", None),
    ],
)
def test_a_link_is_read_as_rfc_8288_says(link: str, index: str | None):
    assert index_url("https://hub/a/1?signature=x", link) == index


@pytest.mark.parametrize("target", ["http://hub/a", "file:///etc/passwd", "https://["])
def test_a_link_leads_to_no_less_safe_place(target: str):
    with pytest.raises(Unavailable, match="redirects"):
        index_url("https://hub/a/1", f'<{target}>; rel="hubfs-index"')
