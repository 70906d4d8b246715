import pytest

from hubfs.blobs.http.url import expiry_of, next_hop, origin_of, redacted, redacted_text, without_userinfo
from hubfs.blobs.retry import Permanent


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://me:hush@hub.example:8443/a/b/1?signature=hush#hush", "https://hub.example:8443/a/b/1"),
        ("https://hush@hub.example/a", "https://hub.example/a"),
        ("gs://bucket/a/b", "gs://bucket/a/b"),
        ("http://[hush", "(a text that is not a URL)"),
    ],
)
def test_what_may_be_said_of_a_url_holds_no_secret(url: str, said: str) -> None:
    assert redacted(url) == said


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://hub.example/a", "https://HUB.example:443/b", True),
        ("http://hub.example", "http://me@hub.example:80", True),
        ("https://hub.example", "http://hub.example", False),
        ("https://hub.example", "https://hub.example:444", False),
        ("https://hub.example", "https://hub.example.evil.example", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(one: str, other: str, same) -> None:
    assert (origin_of(one) == origin_of(other)) is same


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("https://h.example/a/b?c", "/d?e", "https://h.example/d?e"),
        ("https://h.example/a/b", "d", "https://h.example/a/d"),
        ("http://h.example/a", "https://g.example/b#page", "https://g.example/b"),
        ("http://h.example/a", "//g.example/b", "http://g.example/b"),
    ],
)
def test_a_redirect_leads_to_what_its_location_says(url: str, location: str, target: str) -> None:
    assert next_hop(url, location) == target


@pytest.mark.parametrize(
    ("url", "location", "reason"),
    [
        ("https://h.example/a?hush", "http://h.example/a?hush", "from https to http"),
        ("https://h.example/a?hush", "ftp://h.example/a?hush", "not an http"),
        ("https://h.example/a?hush", "file:///etc/passwd", "not an http"),
        ("https://h.example/a?hush", "http://[hush", "not a URL"),
        ("https://h.example/a?hush", "https://h.example:port/hush?", "not a URL"),
        ("http://h.example/a?hush", "\0https://h.example/hush", "not a URL"),
    ],
)
def test_a_redirect_that_must_not_be_followed_says_why(url: str, location: str, reason: str) -> None:
    with pytest.raises(Permanent, match=reason) as caught:
        next_hop(url, location)
    assert "hush" not in str(caught.value)


def test_userinfo_becomes_a_header() -> None:
    assert without_userinfo("https://me:p%40ss@h.example/a?b") == (
        "https://h.example/a?b",
        {"Authorization": "Basic bWU6cEBzcw=="},
    )
    assert without_userinfo("https://h.example/a") == ("https://h.example/a", {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("GET https://me:hush@h.example/a?sig=hush: no", "GET https://h.example/a no"),
        ("(url=http://h.example:80/a?sig=hush&x=hush)", "(url=http://h.example:80/a"),
        ('"GET /a?sig=hush HTTP/1.1" 200', '"GET /a HTTP/1.1" 200'),
        ("may you use it? is it there?", "may you use it? is it there?"),
        ("proxy http://me:hu@sh@proxy:3128", "proxy http://proxy:3128"),
    ],
)
def test_a_text_of_a_stranger_is_shown_without_the_secrets_of_its_urls(text: str, said: str) -> None:
    assert "hush" not in redacted_text(text)
    assert redacted_text(text).replace(":", "") == said.replace(":", "")


def test_a_redirect_takes_no_credentials_along() -> None:
    assert next_hop("https://me:hush@h.example/a", "/b") == "https://h.example/b"
    assert next_hop("https://h.example/a", "https://me:hush@g.example/b") == "https://g.example/b"


def test_a_token_of_kaggle_is_not_said():
    token = "KGAT_0123456789abcdef0123456789abcdef"
    said = redacted_text(f"Authorization: Bearer {token}, and again '{token}'")
    assert said == "Authorization: Bearer KGAT_..., and again 'KGAT_...'"


@pytest.mark.parametrize(
    ("query", "expires_s"),
    [
        ("X-Goog-Date=20240601T120000Z&X-Goog-Expires=259200&X-Goog-Signature=ab", 1717502400.0),
        ("GoogleAccessId=web-data@kaggle&Expires=1717502400&Signature=a%2Bb", 1717502400.0),
        ("X-Goog-Date=20240601T120000Z&X-Goog-Expires=0", 1717243200.0),
        ("X-Goog-Date=20240601T120000Z", None),
        ("X-Goog-Date=yesterday&X-Goog-Expires=1", None),
        ("X-Goog-Date=20240601T120000Z&X-Goog-Expires=-1", None),
        ("X-Amz-Date=20240601T120000Z&X-Amz-Expires=3600&X-Amz-Signature=ab", 1717246800.0),
        ("X-Amz-Date=20240601T120000Z&X-Amz-Expires=3600&Expires=1717502400", 1717502400.0),
        ("Expires=1717502400&Policy=e30&Signature=ab&Key-Pair-Id=K2", 1717502400.0),
        ("X-Amz-Date=20240601T120000Z", None),
        ("Expires=never", None),
        ("Expires=" + "9" * 4000, None),
        ("expires=1717502400", None),
        ("", None),
    ],
)
def test_a_signed_url_says_until_when_it_holds(query: str, expires_s: float | None) -> None:
    assert expiry_of(f"https://storage.googleapis.com/bucket/a%20b?{query}") == expires_s


def test_what_is_no_url_says_nothing_of_a_time() -> None:
    assert expiry_of("http://[") is None
