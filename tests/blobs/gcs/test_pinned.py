"""What a reply must say to be about the generation that was listed, and what it may say beside."""

from collections.abc import Callable, Iterator, Mapping

import pytest

from hubfs.blobs.gcs.object import GcsObject
from hubfs.errors import Stale, Unavailable
from tests.support.http_clients import gcs_client
from tests.support.http_origin import Answer, HttpOrigin

OBJECT = GcsObject("models", "a b/index.html", 10, "7")
PATH = "/storage/v1/b/models/o/a%20b%2Findex.html"
RANGE = {"Content-Range": "bytes 0-9/10"}
NAMED = {"X-Goog-Generation": "7", "X-Goog-Stored-Content-Encoding": "identity"}

Read = Callable[[], bytes]


@pytest.fixture
def origin() -> Iterator[HttpOrigin]:
    with HttpOrigin() as origin:
        yield origin


@pytest.fixture(params=["blob", "stream"])
def read(request: pytest.FixtureRequest, origin: HttpOrigin) -> Iterator[Read]:
    with gcs_client(origin.url) as client:
        if request.param == "blob":
            yield lambda: client.blob(OBJECT).read_at(0, 10)
        else:
            yield lambda: b"".join(client.stream(OBJECT).chunks())


def test_the_first_request_is_for_the_bytes_of_that_generation(origin: HttpOrigin, read: Read) -> None:
    origin.route("/*", lambda _: Answer(206, {**RANGE, **NAMED}, b"0123456789"))
    assert read() == b"0123456789"
    (request,) = origin.requests
    assert (request.path, request.query) == (PATH, "alt=media&generation=7")
    assert request.headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/html"},
        {"Content-Encoding": "gzip", "X-Goog-Stored-Content-Encoding": "gzip"},
        {"X-Goog-Stored-Content-Encoding": ""},
        {"ETag": '"whatever"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"},
    ],
    ids=["a page", "compressed", "plain", "validators"],
)
def test_an_object_may_be_whatever_was_stored(origin: HttpOrigin, read: Read, headers: Mapping[str, str]) -> None:
    origin.route("/*", lambda _: Answer(206, {**RANGE, **NAMED, **headers}, b"0123456789"))
    assert read() == b"0123456789"


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Content-Type": "text/html"}, "a page for people"),
        ({**NAMED, "Content-Encoding": "gzip"}, "bytes encoded as gzip"),
        ({"Content-Encoding": "br"}, "bytes encoded as br"),
    ],
)
def test_what_somebody_else_made_of_it_is_not_taken(
    origin: HttpOrigin, read: Read, headers: Mapping[str, str], said: str
) -> None:
    origin.route("/*", lambda _: Answer(206, {**RANGE, **headers}, b"0123456789"))
    with pytest.raises(Unavailable, match=f"gs://models/a b/index.html: .* answered with {said}"):
        read()


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404),
        Answer(206, {**RANGE, "X-Goog-Generation": "8"}, b"0123456789"),
        Answer(206, {"Content-Range": "bytes 0-9/11"}, b"0123456789"),
        Answer(416),
    ],
    ids=["gone", "another generation", "another size", "shorter"],
)
def test_another_generation_is_stale_at_once(origin: HttpOrigin, read: Read, answer: Answer) -> None:
    origin.route("/*", lambda _: answer)
    with pytest.raises(Stale, match=r"gs://models/a b/index\.html: "):
        read()
    assert len(origin.requests) == 1
