"""What reading takes, by the length of what is read: a letter for who reads, a start, what is repeated, an end.

An input is pumped: of the same text, eight times as long, the reader may take three times as much as eight times the
time. Only what can be felt counts. A quadratic reader takes 64 times as much; a few bytes are enough to find it, if it
begins anew at each of them.
"""

import http.client
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hubfs.blobs.blob import Blob, MemoryBlob
from hubfs.blobs.gcs.object import NOT_UNDERSTOOD, page_of
from hubfs.blobs.http.object import HttpObject, redirect_target, retry_after_s
from hubfs.blobs.http.reply import BoundedReply
from hubfs.blobs.http.transfer import HttpReply
from hubfs.blobs.http.url import next_hop, redacted, redacted_text, without_userinfo
from hubfs.daemon.log_repeats import Repeats
from hubfs.errors import HubfsError, printable, quoted
from hubfs.formats.index_file import IndexFile
from hubfs.formats.tar.walk import members
from hubfs.hubs.tfhub.extracted.protobuf import fields
from hubfs.hubs.tfhub.names import documentation
from hubfs.hubs.tfhub.names.catalogue import Catalog
from hubfs.hubs.tfhub.names.file import parse_catalog
from hubfs.hubs.tfhub.names.handle import parse_handle, possible_models
from hubfs.hubs.tfhub.questions import bucket_in
from hubfs.hubs.tfhub.tfjs import _shards
from hubfs.hubs.tfhub.versions import shown_in
from hubfs.sources.archive.published import index_url
from hubfs.sources.files import tree_of
from hubfs.status import RecentProblems
from tests.fuzz.targets.hub_answer import _Wire

MAX_BYTES = 256
END = b"\n%%\n"
WORDS = (
    *(
        END,
        b"://",
        b"?",
        b"=",
        b"@",
        b" ",
        b"\n",
        b'"',
        b"a-",
        b"a.",
        b"[",
        b"{",
        b"[],",
        b'{"a":',
        b"\\",
        b"\x1b",
        b"../",
    ),
    *(
        b";rel=",
        b" hubfs-index",
        b"gs://",
        b"](",
        b"&zwnj;",
        b"```",
        b"Module\ta/b/1\n",
        b"\r\nA: ",
        b"\xcc\x81\xcc\x96",
        b"\0",
    ),
)

SHORT_BYTES, LONG_BYTES = 1024, 8192
MORE = 3 * LONG_BYTES // SHORT_BYTES
FELT_S = 0.015
"""Less is not looked into: it may be chance. A quadratic reader of 8 KiB takes 3e7 steps."""


def _text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: read(data.decode("latin-1"))


def _log(text: str) -> None:
    problems = RecentProblems()
    Repeats([problems]).emit(logging.LogRecord("hubfs", logging.WARNING, "", 0, "%s: %s", (text, text), None))
    problems.messages()


class _Connected(_Wire):
    """A socket as `BoundedReply` takes it: with a time-out, and with a file that shows what is there."""

    def gettimeout(self) -> float:
        return 60.0

    def settimeout(self, timeout_s: float) -> None:
        """Nothing is waited for."""

    def peek(self, _size_bytes: int) -> bytes:
        return bytes(self.getbuffer()[self.tell() :])


def _head(data: bytes) -> None:
    reply = BoundedReply(_Connected(b"HTTP/1.1 200 OK\r\n" + data + b"\r\n\r\n"))  # type: ignore[arg-type]
    reply.begin()
    HttpObject.of("http://hub.test/a", "http://hub.test/a", 200, dict(reply.headers), b"")


def _header(text: str) -> None:
    names = ("Content-Type", "Content-Range", "ETag", "Last-Modified", "Retry-After", "Location", "Content-Encoding")
    headers = dict.fromkeys(names, text)
    HttpObject.of("http://hub.test/a", "http://hub.test/a", 206, headers, b"")
    redirect_target(headers)
    retry_after_s(headers)
    without_userinfo(f"http://hub.test/{text}")
    reply = HttpReply(302, headers, text.encode(), "http://hub.test/a")
    bucket_in(reply)
    shown_in(reply, "google/spice")


def _hop(data: bytes) -> None:
    location = data.decode(errors="replace")
    next_hop("http://hub.test/a", location)


def _document(text: str) -> None:
    kind, _ = documentation._title(text.partition("\n")[0])
    assert kind


def _tar(data: bytes) -> None:
    for member in members([data]):
        for _ in member.chunks():
            pass


def _protobuf(data: bytes) -> None:
    blob: Blob = MemoryBlob("a", data)
    for _ in fields(blob):
        pass


READERS: dict[bytes, Callable[[bytes], object]] = {
    b"r": _text(redacted_text),
    b"u": _text(lambda text: redacted(f"http://{text}")),
    b"e": _text(lambda text: str(HubfsError(text))),
    b"q": _text(lambda text: (quoted(text), printable(text))),
    b"l": _text(_log),
    b"i": _text(lambda text: index_url("http://hub.test/a", text)),
    b"H": _head,
    b"h": _text(_header),
    b"w": _hop,
    b"c": lambda data: Catalog(parse_catalog(data.decode(errors="replace"), "hub.test")),
    b"t": _text(_document),
    b"m": _text(lambda text: [*documentation._members(text, "a.md", {})]),
    b"j": lambda data: _shards(data, "http://hub.test/a"),
    b"g": lambda data: page_of("bucket", data),
    b"p": _text(lambda text: possible_models(text.split("/"))),
    b"n": _text(parse_handle),
    b"f": _text(lambda text: tree_of("http://hub.test", dict.fromkeys(text.split(","), 1))),
    b"T": _tar,
    b"P": _protobuf,
    b"x": IndexFile.from_bytes,
}
REFUSED: tuple[type[Exception], ...] = (HubfsError, *NOT_UNDERSTOOD, http.client.HTTPException)


def fuzz(data: bytes) -> None:
    read = READERS.get(data[:1])
    start, unit, end = (*data[1:].split(END), b"", b"", b"")[:3]
    if read is None or not unit:
        return
    long = start + unit * (LONG_BYTES // len(unit) + 1) + end
    if (took_s := _took_s(read, long)) <= FELT_S:
        return
    short = start + unit * (SHORT_BYTES // len(unit) + 1) + end
    allowed_s = max(FELT_S, MORE * min(_took_s(read, short) for _ in range(3)))
    took_s = min([took_s, *(_took_s(read, long) for _ in range(2))])  # what else is done here meanwhile takes its time
    assert took_s <= allowed_s, f"{len(long)} bytes take {took_s:.2f} s, and {len(short)} of the same much less"


def _took_s(read: Callable[[bytes], Any], data: bytes) -> float:
    began_s = time.thread_time()
    with suppress(*REFUSED):
        read(data)
    return time.thread_time() - began_s
