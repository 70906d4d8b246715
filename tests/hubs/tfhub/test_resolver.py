import gzip
import io
import tarfile
from typing import Any

import pytest

from hubfs.blobs.http.client import WHOLE_BYTES
from hubfs.blobs.streaming.http_stream import HttpStream
from hubfs.errors import AccessDenied, Damaged, InvalidConfig, ModelNotFound, TimedOut, Unavailable
from hubfs.hubs.hub import Hub, Means
from hubfs.hubs.tfhub.hub import TfHub
from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.hubs.tfhub.resolver import TfhubResolver
from hubfs.sources.source import Form
from tests.support.http_clients import http_client
from tests.support.http_origin import Answer, DeadPort, HttpOrigin, Request, Resource, redirect, stall_first, status

HANDLE = parse_handle("google/spice/2")
PATH = "/google/spice/2"
NO_PAGE = Answer(404, {"Content-Type": "text/html"}, b"<html>no such model</html>")
PAGE = Answer(200, {"Content-Type": "text/html; charset=utf-8"}, b"<!DOCTYPE html><html>All models</html>")


def tar_bytes(**options: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", **options) as archive:
        member = tarfile.TarInfo("./saved_model.pb")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"abcd"))
    return buffer.getvalue()


TAR = tar_bytes()
TAR_GZ = gzip.compress(TAR)


class OneModel:
    """A hub of one model; each form is answered as the test wants."""

    def __init__(self, origin: HttpOrigin, prefix: str = "") -> None:
        self.uncompressed = NO_PAGE
        self.compressed = NO_PAGE
        origin.route(prefix + PATH, self.answer)

    def answer(self, request: Request) -> Answer:
        return {
            "tf-hub-format=uncompressed": self.uncompressed,
            "tf-hub-format=compressed": self.compressed,
        }.get(request.query, PAGE)

    def has_archive(self, body: bytes, content_type: str = "application/gzip") -> None:
        self.compressed = Answer(200, {"Content-Type": content_type, "ETag": '"v1"'}, body)

    def has_bucket(self, body: bytes = b"gs://models/google/spice/2", **headers: str) -> None:
        self.uncompressed = Answer(303, headers, body)


@pytest.fixture
def hub(origin):
    return OneModel(origin)


@pytest.fixture
def resolver(origin, client) -> TfhubResolver:
    resolver = TfhubResolver(client, origin.url)
    assert resolver.hub == origin.url
    return resolver


def test_a_hub_of_this_protocol_lists_nothing_and_is_asked_nothing_for_that(origin, client) -> None:
    no_gcs: Any = None
    hub: Hub = TfHub(origin.url, Means(client, no_gcs))
    assert (hub.url, hub.lists, [*hub.children("")]) == (origin.url, False, [])
    assert not origin.requests


class TestUncompressed:
    @pytest.mark.parametrize(
        ("body", "headers"),
        [
            (b"gs://models/google/spice/2", {}),
            (b"gs://models/google/spice/2/\n", {}),
            (b"\xef\xbb\xbf  gs://models/google/spice/2\r\n", {}),
            (b'<a href="gs://models/google/spice/2">See other</a>', {}),
            (b"", {"Location": "gs://models/google/spice/2"}),
            (b"see other", {"Location": "gs://models/google/spice/2/"}),
            (b"gs://models/google/spice/2", {"Location": "https://storage.invalid/models"}),
            (b"gs://models/google/spice/2", {"Location": "gs://elsewhere/x"}),
        ],
    )
    def test_a_303_names_the_bucket(self, hub, resolver, body: bytes, headers: dict[str, str]) -> None:
        hub.has_bucket(body, **headers)
        location = resolver.resolve(HANDLE)
        assert (location.url, location.form, dict(location.headers)) == (
            "gs://models/google/spice/2",
            Form.UNCOMPRESSED,
            {},
        )

    def test_redirects_that_name_no_bucket_are_followed(self, origin, hub, resolver) -> None:
        origin.route("/new", lambda _: Answer(303, {}, b"gs://models/new"))
        hub.uncompressed = Answer(301, {"Location": "/new?tf-hub-format=uncompressed"}, b"moved")
        assert resolver.resolve(HANDLE).url == "gs://models/new"

    @pytest.mark.parametrize(
        "answer",
        [
            NO_PAGE,
            PAGE,
            Answer(400, {}, b"unknown format"),
            Answer(200, {}, TAR_GZ),
            Answer(200, {}, b"gs://not/a/redirect"),
            Answer(303, {}, b"gs://"),
            Answer(303, {}, b""),
            Answer(302, {"Location": PATH}),
        ],
    )
    def test_anything_else_means_that_the_archive_is_asked_for(self, origin, hub, resolver, answer: Answer) -> None:
        hub.uncompressed = answer
        hub.has_archive(TAR_GZ)
        assert resolver.resolve(HANDLE).form is Form.COMPRESSED

    def test_a_hub_that_has_no_bucket_says_so_when_nothing_else_will_do(self, origin, hub, resolver) -> None:
        hub.has_archive(TAR_GZ)
        with pytest.raises(ModelNotFound, match=r"no model google/spice/2 \(uncompressed: .*answered 404"):
            resolver.resolve(HANDLE, Form.UNCOMPRESSED)
        assert [request.query for request in origin.requests] == ["tf-hub-format=uncompressed"]

    @pytest.mark.parametrize(
        ("fault", "error"),
        [(status(503), Unavailable), (stall_first(), TimedOut)],
    )
    def test_a_failure_is_not_taken_for_a_no(self, origin, hub, fault, error) -> None:
        hub.has_archive(TAR_GZ)
        origin.always(PATH, fault)
        with http_client(stall_timeout_s=0.3) as hasty, pytest.raises(error):
            TfhubResolver(hasty, origin.url).resolve(HANDLE)
        assert {request.query for request in origin.requests} == {"tf-hub-format=uncompressed"}

    def test_a_loop_of_redirects_is_not_taken_for_a_no(self, hub, resolver) -> None:
        hub.has_archive(TAR_GZ)
        hub.uncompressed = Answer(302, {"Location": PATH + "?tf-hub-format=uncompressed"})
        with pytest.raises(Unavailable, match="redirects more than"):
            resolver.resolve(HANDLE)

    def test_a_hub_that_is_down_is_unavailable(self, client) -> None:
        with DeadPort() as dead, pytest.raises(Unavailable, match="refused"):
            TfhubResolver(client, dead.url).resolve(HANDLE)


class TestCompressed:
    @pytest.mark.parametrize("body", [TAR_GZ, TAR, tar_bytes(format=tarfile.GNU_FORMAT)])
    @pytest.mark.parametrize("content_type", ["application/gzip", "application/octet-stream", ""])
    def test_an_archive_is_where_the_hub_says(self, origin, hub, resolver, body: bytes, content_type: str) -> None:
        hub.has_archive(body, content_type)
        location = resolver.resolve(HANDLE)
        assert (location.url, location.form) == (
            f"{origin.url}{PATH}?tf-hub-format=compressed",
            Form.COMPRESSED,
        )

    def test_the_location_is_the_hubs_own_behind_redirects(self, origin, hub, resolver) -> None:
        origin.route("/signed", Resource(TAR_GZ))
        hub.compressed = Answer(302, {"Location": "/signed?signature=hush"})
        assert resolver.resolve(HANDLE).url == f"{origin.url}{PATH}?tf-hub-format=compressed"

    @pytest.mark.parametrize(
        "answer",
        [
            NO_PAGE,
            PAGE,
            Answer(410),
            Answer(200, {"Content-Type": "application/xhtml+xml"}, b"<?xml version='1.0'?>"),
            Answer(200, {}, b"\n  <HTML lang=en>"),
            Answer(200, {}, b"\xef\xbb\xbf<!doctype html>"),
            Answer(302, {"Location": PATH}),
        ],
    )
    def test_no_page_and_a_page_are_both_no_such_model(self, origin, hub, resolver, answer: Answer) -> None:
        hub.compressed = answer
        with pytest.raises(ModelNotFound) as caught:
            resolver.resolve(HANDLE)
        said = str(caught.value)
        assert said.startswith(f"{origin.url} has no model google/spice/2 (uncompressed: ")
        assert "; compressed: " in said

    @pytest.mark.parametrize("body", [b"", b"PK\x03\x04 a zip", bytes(1024), TAR[:100], b"x" * 600])
    def test_what_is_neither_archive_nor_page_is_damaged(self, origin, hub, resolver, body: bytes) -> None:
        hub.has_archive(body)
        with pytest.raises(Damaged, match=rf"{origin.url}{PATH} answered with something that is neither"):
            resolver.resolve(HANDLE)

    @pytest.mark.parametrize(("code", "error"), [(403, AccessDenied), (401, AccessDenied), (500, Unavailable)])
    def test_a_failure_is_not_a_missing_model(self, hub, resolver, code: int, error) -> None:
        hub.compressed = Answer(code)
        with pytest.raises(error):
            resolver.resolve(HANDLE)

    def test_only_the_start_of_the_archive_is_fetched(self, origin, hub, resolver) -> None:
        origin.route(PATH, Resource(TAR_GZ + bytes(1_000_000)))
        resolver.resolve(HANDLE, Form.COMPRESSED)
        assert origin.body_bytes_sent() == WHOLE_BYTES


class TestForms:
    @pytest.fixture(autouse=True)
    def both(self, hub) -> None:
        hub.has_archive(TAR_GZ)
        hub.has_bucket()

    @pytest.mark.parametrize(
        ("configured", "asked", "answer"),
        [
            (None, None, Form.UNCOMPRESSED),
            (Form.COMPRESSED, None, Form.COMPRESSED),
            (Form.UNCOMPRESSED, None, Form.UNCOMPRESSED),
            (Form.UNCOMPRESSED, Form.COMPRESSED, Form.COMPRESSED),
            (Form.COMPRESSED, Form.UNCOMPRESSED, Form.UNCOMPRESSED),
        ],
    )
    def test_the_one_asked_for_counts_before_the_one_configured(
        self, origin, client, configured: Form | None, asked: Form | None, answer: Form
    ) -> None:
        assert TfhubResolver(client, origin.url, configured).resolve(HANDLE, asked).form is answer
        assert len(origin.requests) == 1


class TestHubUrl:
    @pytest.mark.parametrize("slashes", ["", "/", "//"])
    def test_may_have_a_prefix_and_a_slash_at_its_end(self, origin, client, slashes: str) -> None:
        OneModel(origin, "/hubs/ours").has_archive(TAR_GZ)
        resolver = TfhubResolver(client, f"{origin.url}/hubs/ours{slashes}")
        assert resolver.hub == origin.url + "/hubs/ours"
        assert resolver.resolve(HANDLE).url == f"{origin.url}/hubs/ours{PATH}?tf-hub-format=compressed"

    def test_credentials_are_sent_and_never_said(self, origin, client) -> None:
        hub = OneModel(origin)
        resolver = TfhubResolver(client, f"http://me:hush@{origin.host}/")
        with pytest.raises(ModelNotFound) as caught:
            resolver.resolve(HANDLE)
        hub.has_archive(TAR_GZ)
        location = resolver.resolve(HANDLE)
        assert "hush" not in str(caught.value) + resolver.hub + repr(location) + location.url
        assert location.headers == {"Authorization": "Basic bWU6aHVzaA=="}
        assert {request.headers["authorization"] for request in origin.requests} == {"Basic bWU6aHVzaA=="}

    def test_credentials_go_to_the_hub_only(self, origin, hub, client) -> None:
        with HttpOrigin() as store:
            store.put("/a", TAR_GZ)
            hub.compressed = redirect(store.url + "/a")(Request("", "", {}))
            location = TfhubResolver(client, f"http://me:hush@{origin.host}").resolve(HANDLE)
            assert location.headers == {"Authorization": "Basic bWU6aHVzaA=="}
            assert all(request.headers["authorization"] == "Basic bWU6aHVzaA==" for request in origin.requests)
            assert store.requests
            assert all("authorization" not in request.headers for request in store.requests)

    @pytest.mark.parametrize(
        "url",
        ["tfhub.dev", "gs://bucket", "http://", "https://h/?a=hush", "http://h/#hush", "http://[hush", "http://h h/"],
    )
    def test_that_no_hub_can_have_is_refused(self, client, url: str) -> None:
        with pytest.raises(InvalidConfig) as caught:
            TfhubResolver(client, url)
        assert "hush" not in str(caught.value)


def test_an_archive_that_was_replaced_a_moment_ago_is_the_one_that_is_opened(resolver, hub, client) -> None:
    hub.has_archive(TAR_GZ[:-4])
    resolver.resolve(HANDLE)
    hub.compressed = Answer(200, {"Content-Type": "application/gzip", "ETag": '"v2"'}, TAR_GZ)
    location = resolver.resolve(HANDLE)
    # What the hub said a minute ago would be waited for in vain, and then be stale, for another half minute.
    assert b"".join(HttpStream(client, location.url).chunks()) == TAR_GZ


def test_a_hub_that_forbids_one_form_may_still_have_the_other(resolver, hub) -> None:
    # As hosts do that let no request pass which they do not know, and stores that must not say what is not there.
    hub.uncompressed = Answer(403)
    with pytest.raises(AccessDenied):  # which is no "no"
        resolver.resolve(HANDLE)
    hub.has_archive(TAR_GZ)
    assert resolver.resolve(HANDLE).form is Form.COMPRESSED
