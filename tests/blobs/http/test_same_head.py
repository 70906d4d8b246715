"""A head is read as http.client reads it, whatever it says."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from hubfs.blobs.http.reply import BoundedReply

_NAMES = ["Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "content-length", "From ", "", "a b"]
_VALUES = ["", "5", "-5", " 5 ", "5, 5", "chunked", "Chunked ", "gzip, chunked", "close", "keep-alive", "\t\x0b\xe9"]
_ODD_LINES = ["x\r\n", " on\r\n", "\ton\r\n", "a: b\n", "a: b\rc: d\r\n", "From me\r\n", ":\r\n", "\x00:\x00\r\n"]
_LINES = st.one_of(
    st.builds("{}:{}{}\r\n".format, st.sampled_from(_NAMES), st.sampled_from(["", " \t"]), st.sampled_from(_VALUES)),
    st.sampled_from(_ODD_LINES),
    st.text(st.sampled_from("aA1: \t\r\n\x00\x0b\x85\xa0\xe9-,;"), max_size=12).map("{}\r\n".format),
)
_STATUSES = st.sampled_from(
    [
        *("HTTP/1.1 200 OK\r\n", "HTTP/1.0 200 OK\r\n", "HTTP/1.1 204 No\r\n", "HTTP/1.1 304 No \r\n"),
        *("HTTP/1.1 199\r\n", "HTTP/1.1 100 Go on\r\nX: y\r\n\r\nHTTP/1.1 206 Some\r\n", "HTTP/0.9 200 OK\r\n"),
        *("HTTP/2 200 OK\r\n", "HTTP/1.1 1000 OK\r\n", "HTTP/1.1 x\r\n", "ICY 200\r\n", "\r\n", "HTTP/1.17 200 OK\n"),
    ]
)


@contextmanager
def connected(data: bytes) -> Iterator[socket.socket]:
    here, there = socket.socketpair()
    with here, there:
        there.sendall(data)
        there.shutdown(socket.SHUT_WR)
        yield here


def understood(kind: type[http.client.HTTPResponse], data: bytes, method: str) -> Any:
    """All that is told of a reply, and its body; or the kind of error."""
    with connected(data) as here, kind(here, method=method) as reply:
        try:
            reply.begin()
            told = (reply.version, reply.status, reply.reason, reply.chunked, reply.length, reply.will_close)
            fields = [field for field in reply.headers.items() if not field[0].lower().startswith("set-cookie")]
            return told, fields, [reply.headers.get(name) for name in _NAMES], bool(reply.msg.defects)
        except (http.client.HTTPException, ValueError) as error:
            return type(error)


@given(_STATUSES, st.lists(_LINES, max_size=6), st.sampled_from(["GET", "HEAD"]))
@example("HTTP/1.1 200 OK\r\n", ["a: b\r\n"] * 98, "GET")
@example("HTTP/1.1 200 OK\r\n", ["a: b\r\n"] * 99, "GET")
@example("HTTP/1.1 200 OK\r\n", ["a: b\r\n"] * 100, "GET")
@example("HTTP/1.1 200 OK\r\n", ["Set-Cookie: a\r\n", "a: b\r\n", "SET-COOKIE2: c\r\n"], "GET")
def test_whatever_a_head_says(status: str, lines: list[str], method: str) -> None:
    data = "".join((status, *lines, "\r\nbody")).encode("latin-1")
    assert understood(BoundedReply, data, method) == understood(http.client.HTTPResponse, data, method)


def test_a_head_without_cookies_keeps_the_rest() -> None:
    data = b"HTTP/1.1 200 OK\r\nset-cookie: a\r\nX-A: 1\r\n continues\r\nSet-Cookie2: b\r\n\r\n"
    with connected(data) as here, BoundedReply(here) as reply:
        reply.begin()
        assert reply.headers.items() == [("X-A", "1\r\n continues")]
