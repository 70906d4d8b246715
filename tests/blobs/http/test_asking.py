"""What a request is made of, and how much is done for a small one: counted, never timed."""

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.http.connections import Target, _parsed
from hubfs.blobs.http.url import Origin, origin_of
from hubfs.blobs.retry import Permanent
from tests.support.calls import calls_of
from tests.support.http_origin import HttpOrigin, Request

MOST_CALLS = 320
"""Of functions in Python, for a question: it takes 295, and took 596 under requests and the parser of mails."""


@pytest.fixture
def origin() -> Iterator[HttpOrigin]:
    with HttpOrigin() as origin:
        origin.put("/a", b"bytes")
        yield origin


def test_a_question_on_a_kept_connection_takes_few_calls(origin: HttpOrigin, client: HttpClient) -> None:
    client.reply(origin.url + "/a")
    assert calls_of(lambda: client.reply(origin.url + "/a?a-question-of-its-own")) <= MOST_CALLS


def test_a_pool_that_gave_way_to_others_is_made_anew(origin: HttpOrigin, client: HttpClient) -> None:
    client.reply(origin.url + "/a")
    for adapter in client._adapters.values():
        adapter.close()
    assert client.reply(origin.url + "/a").body == b"bytes"
    assert origin.connections == 2


def sent(origin: HttpOrigin, method: str) -> Request:
    (request,) = [request for request in origin.requests if request.method == method]
    return request


def test_says_how_long_a_change_is_and_nothing_of_a_body_that_there_is_not(
    origin: HttpOrigin, client: HttpClient
) -> None:
    for method, body in (("POST", b"{}"), ("DELETE", b"")):
        client.change(method, origin.url + "/a", body)
        assert sent(origin, method).headers["content-length"] == str(len(body))
        assert "transfer-encoding" not in sent(origin, method).headers
    client.reply(origin.url + "/a", {"user-agent": "another"})
    asked = sent(origin, "GET").headers
    assert "content-length" not in asked
    assert (asked["user-agent"], asked["accept-encoding"], asked["accept"]) == ("another", "identity", "*/*")


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\n X-Evil: 1", " a", "\N{SNOWMAN}"])
def test_no_header_says_more_than_it_should(origin: HttpOrigin, client: HttpClient, value: str) -> None:
    with pytest.raises(Permanent, match="not well-formed"):
        client.reply(origin.url + "/a", {"X-Name": value})
    assert origin.requests == []


@pytest.mark.parametrize(
    ("url", "root", "path"),
    [
        ("https://tfhub.dev/google/spice/2?a=b#c", "https://tfhub.dev", "/google/spice/2?a=b"),
        ("http://me:hush@hub:8000", "http://hub:8000", "/"),
        ("HTTP://Hub/a b/\u00e9?q=\u00e9 %7e", "http://hub", "/a%20b/%C3%A9?q=%C3%A9%20%7E"),
        ("http://h\u00fcb/", "http://xn--hb-xka", "/"),
        ("http://[::1]:80/a/../b", "http://[::1]:80", "/b"),
    ],
)
def test_a_url_is_asked_for_as_it_is_meant(url: str, root: str, path: str) -> None:
    assert Target.of(url) == Target(root, path)


@pytest.mark.parametrize("url", ["", "hub/a", "ftp://hub/a", "http:///a", "http://hub:port/", "http://hub\\@evil/"])
def test_a_text_that_is_no_url_is_asked_for_nowhere(url: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Target.of(url)


TEXTS = st.text(st.sampled_from("ab:/@?#[]%\\.2e \t\u00e9"), max_size=20)


@given(st.one_of(TEXTS, TEXTS.map("http://{}".format), TEXTS.map("https://a/{}".format)))
def test_a_plain_url_is_read_as_the_parser_reads_it(url: str) -> None:
    def read(reader: Callable[[str], object]) -> object:
        try:
            return reader(url)
        except ValueError:
            return None

    def whole(text: str) -> Origin:
        parts = urlsplit(text)
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)

    assert read(Target.of) == read(_parsed)
    assert read(origin_of) == read(whole)


@given(TEXTS)
def test_a_url_is_read_as_requests_reads_it_or_not_at_all(text: str) -> None:
    url = f"http://{text}"
    try:
        target = Target.of(url)
    except ValueError:
        return
    request = requests.PreparedRequest()
    request.prepare_url(url, None)
    assert origin_of(target.root) == origin_of(request.url or "")
    assert requests.utils.unquote_unreserved(target.path).removesuffix("?") == request.path_url.removesuffix("?")
