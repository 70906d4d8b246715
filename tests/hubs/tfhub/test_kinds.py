"""TF Lite, Coral and TF.js models on a hub."""

import gzip

import pytest

from hubfs.errors import AccessDenied, Damaged, ModelNotFound
from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.hubs.tfhub.resolver import TfhubResolver
from hubfs.model_id import ModelId
from hubfs.sources.source import Form
from tests.support.http_origin import Answer, HttpOrigin, Request, Resource

LITE = parse_handle("google/lite-model/spice/1")
CORAL = parse_handle("google/coral-model/spice/1")
TFJS = parse_handle("google/tfjs-model/spice/2/default/1")
TFLITE = b"\x1c\0\0\0TFL3" + bytes(2000)
PAGE = Answer(200, {"Content-Type": "text/html"}, b"<!DOCTYPE html><html>All models</html>")


@pytest.fixture
def resolver(origin, client) -> TfhubResolver:
    return TfhubResolver(client, origin.url)


def serve(origin: HttpOrigin, path: str, query: str, answer: Answer) -> None:
    """`answer` for this query only, a page for every other."""
    origin.route(path, lambda request: answer if request.query == query else PAGE)


@pytest.mark.parametrize("handle", [LITE, CORAL])
@pytest.mark.parametrize("form", [None, *Form])
class TestLite:
    def test_is_one_file_whatever_is_preferred(self, origin, client, handle: ModelId, form: Form | None) -> None:
        def answer(request: Request) -> Answer:
            return Resource(TFLITE, etag='"1"')(request) if request.query == "lite-format=tflite" else PAGE

        origin.route(f"/{handle}", answer)
        location = TfhubResolver(client, f"http://me:hush@{origin.host}", form).resolve(handle)
        assert (location.url, location.form) == (f"{origin.url}/{handle}?lite-format=tflite", Form.FILE)
        assert location.headers == {"Authorization": "Basic bWU6aHVzaA=="}
        assert (len(origin.requests), origin.body_bytes_sent()) == (1, 512)


@pytest.mark.parametrize("answer", [PAGE, Answer(404), Answer(410), Answer(200, {}, b"  <html>")])
@pytest.mark.parametrize("handle", [LITE, TFJS])
def test_a_page_and_a_no_are_no_model(origin, resolver, answer: Answer, handle: ModelId) -> None:
    origin.route("/google/*", lambda _: answer)
    with pytest.raises(ModelNotFound, match=f"has no model {handle} \\("):
        resolver.resolve(handle)


@pytest.mark.parametrize("body", [b"", b"TFL3", gzip.compress(TFLITE, mtime=0), b"\x1c\0\0\0TFL2" + bytes(99)])
def test_what_is_no_flatbuffer_is_damaged(origin, resolver, body: bytes) -> None:
    serve(origin, f"/{LITE}", "lite-format=tflite", Answer(200, {}, body))
    with pytest.raises(Damaged, match=f"{origin.url}/{LITE} answered with something that is no TF Lite model"):
        resolver.resolve(LITE)


def test_a_refusal_is_not_a_missing_model(origin, resolver) -> None:
    origin.route("/google/*", lambda _: Answer(403))
    with pytest.raises(AccessDenied):
        resolver.resolve(LITE)


class TestTfjs:
    @pytest.fixture
    def files(self, origin) -> None:
        serve(
            origin, f"/{TFJS}/model.json", "tfjs-format=file", Answer(200, {}, b'\xef\xbb\xbf {"weightsManifest": []}')
        )

    @pytest.fixture
    def archive(self, origin) -> None:
        serve(origin, f"/{TFJS}", "tfjs-format=compressed", Answer(200, {}, gzip.compress(b"x")))

    @pytest.mark.parametrize("form", [None, Form.UNCOMPRESSED, Form.FILES])
    def test_is_read_file_by_file_where_the_hub_can(self, origin, client, files, archive, form: Form | None) -> None:
        location = TfhubResolver(client, origin.url, form).resolve(TFJS)
        assert (location.url, location.form) == (f"{origin.url}/{TFJS}", Form.FILES)
        assert len(origin.requests) == 1

    def test_is_an_archive_where_that_is_preferred(self, origin, client, files, archive) -> None:
        location = TfhubResolver(client, origin.url, Form.COMPRESSED).resolve(TFJS)
        assert (location.url, location.form) == (f"{origin.url}/{TFJS}?tfjs-format=compressed", Form.COMPRESSED)
        assert len(origin.requests) == 1

    def test_is_an_archive_where_the_hub_has_nothing_else(self, resolver, archive) -> None:
        assert resolver.resolve(TFJS).form is Form.COMPRESSED

    def test_is_not_an_archive_where_files_are_asked_for(self, resolver, archive) -> None:
        with pytest.raises(ModelNotFound, match=r"\(files: "):
            resolver.resolve(TFJS, Form.UNCOMPRESSED)

    @pytest.mark.parametrize("body", [b"", b"[1]", gzip.compress(b"{}", mtime=0)])
    def test_what_is_no_json_object_is_damaged(self, origin, resolver, body: bytes) -> None:
        serve(origin, f"/{TFJS}/model.json", "tfjs-format=file", Answer(200, {}, body))
        with pytest.raises(Damaged, match=r"something that is no model\.json"):
            resolver.resolve(TFJS)
