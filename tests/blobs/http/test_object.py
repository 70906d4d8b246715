"""What a reply says of an object that was seen before: the same, another one, or nothing at all."""

import pytest

from hubfs.blobs.checksums import Checksum
from hubfs.blobs.http.object import HttpObject

URL = "https://hub.example/a"
ETAG = {"ETag": '"v1"', "Content-Type": "application/octet-stream"}
DATE = {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}


def seen(headers: dict[str, str], size_bytes: int | None = 100) -> HttpObject:
    length = {} if size_bytes is None else {"Content-Length": str(size_bytes)}
    return HttpObject.of(URL, URL, 200, {**headers, **length}, b"")


@pytest.mark.parametrize(
    ("headers", "size_bytes"),
    [(ETAG, 100), (ETAG, None), ({}, 100), ({"ETag": '"v2"'}, 7)],
    ids=["all", "no size", "size only", "changed"],
)
def test_a_reply_that_names_anything_known_may_be_about_the_object(
    headers: dict[str, str], size_bytes: int | None
) -> None:
    assert seen(ETAG).misses(headers, size_bytes) is None


def test_an_object_that_is_known_by_nothing_is_missed_by_nothing() -> None:
    assert seen({}, size_bytes=None).misses({}, None) is None


@pytest.mark.parametrize(
    ("known", "headers", "size_bytes", "reason"),
    [
        (ETAG, {"Content-Type": "text/html; charset=utf-8", "ETag": '"v1"'}, 100, "page for people"),
        (ETAG, {**ETAG, "Content-Encoding": "gzip"}, 100, "encoded as gzip, where none"),
        ({**ETAG, "Content-Encoding": "gzip"}, ETAG, 100, "encoded as they are, where gzip"),
        (ETAG, {"Content-Type": "text/plain"}, None, "neither validator nor size"),
        (DATE, {}, None, "neither validator nor size"),
    ],
)
def test_a_reply_that_cannot_be_about_the_object_is_told_from_a_change(
    known: dict[str, str], headers: dict[str, str], size_bytes: int | None, reason: str
) -> None:
    assert reason in (seen(known).misses(headers, size_bytes) or "")


def test_identity_is_no_encoding_and_pages_that_were_pages_are_no_surprise() -> None:
    page = {"Content-Type": "text/html", "ETag": '"v1"'}
    assert seen(page).misses({**page, "Content-Encoding": "Identity"}, 100) is None


def test_the_same_bytes_are_told_by_what_both_name() -> None:
    assert seen(ETAG).same_as({}, 100)
    assert seen(ETAG).same_as(ETAG, None)
    assert not seen(ETAG).same_as({"ETag": '"v2"'}, 100)
    assert not seen(ETAG).same_as(ETAG, 99)
    assert not seen(DATE).same_as({"Last-Modified": "Thu, 22 Oct 2015 07:28:00 GMT"}, 100)


def test_weak_etags_count_where_there_is_nothing_better_and_tell_changes_only() -> None:
    weak, other = {"ETag": 'W/"v1"'}, {"ETag": 'W/"v2"'}
    assert seen(weak).same_as(weak, 100)
    assert seen(weak).same_as({}, 100)
    assert not seen(weak).same_as(other, 100)
    assert seen({**weak, **DATE}).same_as({**other, **DATE}, 100)
    assert (seen(weak).etag, seen(weak).validator, seen(weak).pinned) == (None, None, False)
    assert seen(weak).named != seen(other).named
    assert seen({**weak, **DATE}).named == seen({**other, **DATE}).named


def test_a_host_names_the_version_by_a_strong_etag_or_by_a_date_and_a_size() -> None:
    assert seen(ETAG, size_bytes=None).pinned
    assert seen(DATE).pinned
    assert not seen(DATE, size_bytes=None).pinned
    assert not seen({}).pinned


CRC, MD5 = "crc32c=yZRlqg==", "md5=XrY7u+Ae7tCTyyK7j1rNww=="  # of "hello world"


@pytest.mark.parametrize(
    ("headers", "announced"),
    [
        ({"X-Goog-Hash": f"{CRC},{MD5}"}, Checksum("crc32c", "c99465aa")),
        ({"X-Goog-Hash": f"{MD5}, {CRC}"}, Checksum("crc32c", "c99465aa")),
        ({"X-Goog-Hash": MD5}, Checksum("md5", "5eb63bbbe01eeed093cb22bb8f5acdc3")),
        ({"X-Goog-Hash": f"crc32c=x,{MD5}"}, Checksum("md5", "5eb63bbbe01eeed093cb22bb8f5acdc3")),
        ({"X-Goog-Hash": CRC, "X-Goog-Stored-Content-Encoding": "gzip"}, None),
        ({"X-Goog-Hash": CRC, "X-Goog-Stored-Content-Encoding": "identity"}, Checksum("crc32c", "c99465aa")),
        *(
            ({"X-Goog-Hash": said}, None)
            for said in ("", ",", "crc32c", "crc32c=", "crc32c=AAAA", "md5=é", "x" * 70000)
        ),
        ({}, None),
    ],
)
def test_what_googles_store_says_of_all_bytes_is_their_checksum(
    headers: dict[str, str], announced: Checksum | None
) -> None:
    assert seen(headers).checksum == announced
