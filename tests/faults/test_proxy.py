"""The proxy itself: it changes nothing but what it is told to, where it is told to, and counts that."""

import http.client
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support.fault_proxy import FaultProxy, another_range, for_bytes, ignoring_ranges
from tests.support.http_origin import HttpOrigin, cut, status

BODY = bytes(range(256)) * 100


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    with HttpOrigin() as origin:
        origin.put("/a", BODY, etag='"1"')
        origin.put("/b", BODY, etag='"1"')
        with FaultProxy(origin.url) as proxy:
            yield proxy


def get(proxy: FaultProxy, path: str, byte_range: str | None = None) -> tuple[int, http.client.HTTPMessage, bytes]:
    with closing(http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=10)) as connection:
        connection.request("GET", path, headers={"Range": byte_range} if byte_range else {})
        reply = connection.getresponse()
        return reply.status, reply.headers, reply.read()


def test_what_no_fault_is_for_passes_as_it_is(proxy: FaultProxy) -> None:
    proxy.inject("/b", status(503))
    code, headers, body = get(proxy, "/a", "bytes=10-19")
    assert (code, headers["Content-Range"], headers["ETag"], body) == (206, "bytes 10-19/25600", '"1"', BODY[10:20])
    assert proxy.injected == 0


def test_a_fault_holds_for_so_many_requests_or_until_it_is_lifted(proxy: FaultProxy) -> None:
    twice = proxy.inject("/a", status(503), times=2)
    standing = proxy.inject("/a", status(403), when=for_bytes)
    assert [get(proxy, "/a")[0] for _ in range(4)] == [503, 503, 403, 403]
    assert get(proxy, "/a", "bytes=0-511")[0] == 206
    standing.lift()
    assert get(proxy, "/a")[0] == 200
    assert (twice.injected, standing.injected, proxy.injected) == (2, 2, 4)


def test_a_body_is_cut_where_it_is_told(proxy: FaultProxy) -> None:
    proxy.inject("/a", cut(after=1000))
    with pytest.raises(http.client.IncompleteRead) as caught:
        get(proxy, "/a")
    assert caught.value.partial == BODY[:1000]


def test_ranges_are_ignored_or_moved(proxy: FaultProxy) -> None:
    ignoring = proxy.meddle("/a", ignoring_ranges)
    assert get(proxy, "/a", "bytes=10-19")[::2] == (200, BODY)
    ignoring.lift()
    proxy.meddle("/a", another_range)
    assert get(proxy, "/a", "bytes=10-19")[::2] == (206, BODY[17:27])


def test_connections_are_refused_until_they_are_accepted_again(proxy: FaultProxy) -> None:
    for _ in range(2):
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            get(proxy, "/a")
        proxy.accept()
        assert get(proxy, "/a")[0] == 200
