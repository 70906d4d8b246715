import pytest

from hubfs.errors import AccessDenied, Damaged, Unavailable
from hubfs.hubs.tfhub.names import document as catalog_document
from hubfs.hubs.tfhub.names.document import fetch
from hubfs.hubs.tfhub.names.provider import CatalogDocument
from tests.support.http_origin import Answer, HttpOrigin, cut, redirect, status

PATH = "/catalog.jsonl"
BODY = b'{"kind": "Module", "handle": "google/spice/2"}\n'


def test_the_document_comes_with_its_etag(origin, client):
    origin.put(PATH, BODY, etag='"v1"', content_type="application/jsonl")
    assert fetch(client, origin.url) == CatalogDocument(BODY.decode(), '"v1"')
    assert fetch(client, f"{origin.url}/") == CatalogDocument(BODY.decode(), '"v1"')


def test_a_document_that_has_not_changed_is_not_sent_again(origin, client):
    origin.route(PATH, lambda request: Answer(304 if request.headers.get("if-none-match") == '"v1"' else 200))
    assert fetch(client, origin.url, etag='"v1"') == CatalogDocument(None, '"v1"')
    assert fetch(client, origin.url, etag='"v0"') == CatalogDocument("", None)


def test_a_hub_without_a_document_has_none(origin, client):
    assert fetch(client, origin.url) is None
    for answer in (
        Answer(200, {"Content-Type": "text/html; charset=utf-8"}, b"all models"),
        Answer(200, {}, b"\n <!DOCTYPE html><html>all models</html>"),
        Answer(405),
        Answer(304),
    ):
        origin.route(PATH, lambda _, answer=answer: answer)
        assert fetch(client, origin.url) is None


def test_redirects_are_followed_and_one_to_a_page_is_no_document(origin, client):
    origin.route(PATH, redirect("/models"))
    origin.put("/models", b"<html></html>", content_type="text/html")
    assert fetch(client, origin.url) is None
    origin.put("/models", BODY, content_type="text/plain")
    found = fetch(client, origin.url)
    assert found is not None
    assert found.text == BODY.decode()


def test_credentials_go_to_the_hub_and_to_nobody_else(origin, client):
    with HttpOrigin() as other:
        origin.route(PATH, redirect(f"{other.url}/elsewhere"))
        other.put("/elsewhere", BODY)
        assert fetch(client, origin.url.replace("//", "//me:secret@")) is not None
        (asked,) = origin.requests
        assert asked.headers["authorization"].startswith("Basic ")
        (elsewhere,) = other.requests
        assert "authorization" not in elsewhere.headers


def test_a_document_beyond_the_bound_is_refused(origin, client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(catalog_document, "_MAX_DOCUMENT_BYTES", 1000)
    origin.put(PATH, b"#" * 1000)
    assert fetch(client, origin.url) is not None
    origin.put(PATH, b"#" * 1_000_000)
    with pytest.raises(Damaged, match=r"/catalog\.jsonl has more than 1000 bytes"):
        fetch(client, origin.url)


def test_bytes_that_are_no_text_are_refused(origin, client):
    origin.put(PATH, b"\xff\xfe")
    with pytest.raises(Damaged, match="not UTF-8"):
        fetch(client, origin.url)


def test_a_refusal_and_a_failing_hub_are_no_missing_document(origin, client):
    origin.put(PATH, BODY)
    origin.script(PATH, status(403))
    with pytest.raises(AccessDenied):
        fetch(client, origin.url)
    origin.always(PATH, status(503))
    with pytest.raises(Unavailable):
        fetch(client, origin.url)


def test_a_document_that_was_cut_is_asked_for_again(origin, client):
    origin.put(PATH, BODY * 1000)
    origin.script(PATH, cut(after=10_000))
    found = fetch(client, origin.url)
    assert found is not None
    assert found.text == BODY.decode() * 1000
    assert len(origin.requests) == 2
