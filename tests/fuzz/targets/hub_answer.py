"""What hosts answer, as bytes on the wire: a letter for what is asked, then replies, separated by lines of `%%`.

The replies go through http.client, urllib3 and requests, as those of a connection do, into what asks: the resolver,
the catalogue's document, blobs, TF.js models, published indexes. Only errors of ours come out, and no secret in them.
"""

import http.client
import io
import logging
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from unittest import mock

import requests
import requests.adapters
import urllib3

from hubfs.blobs.http.blob import HttpBlob
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.http.connections import WatchedAdapter
from hubfs.blobs.http.settings import HttpSettings
from hubfs.blobs.http.url import origin_of
from hubfs.blobs.retry import RetryPolicy
from hubfs.blobs.streaming.http_stream import HttpStream
from hubfs.errors import HubfsError
from hubfs.hubs.tfhub import versions as tfhub_versions
from hubfs.hubs.tfhub.names import document as catalog_document
from hubfs.hubs.tfhub.questions import PARAMETERS, Location
from hubfs.hubs.tfhub.resolver import TfhubResolver
from hubfs.hubs.tfhub.tfjs import ask_tfjs
from hubfs.model_id import ModelId
from hubfs.sources.archive.published import find_published_index
from hubfs.sources.files import FilesSource
from hubfs.sources.source import Form
from hubfs.waiting import Cancellation

MAX_BYTES = 8192
_HEADERS = (
    *("Content-Length", "Content-Range", "Content-Type", "ETag", "Last-Modified"),
    *("Retry-After", "Location", "Link", "Transfer-Encoding", "Set-Cookie"),
)
WORDS = (
    *(f"\r\n{name}: ".encode() for name in _HEADERS),
    *(b"HTTP/1.1 303 See Other", b"HTTP/1.1 206 Partial Content", b"HTTP/1.1 503 x", b"HTTP/1.1 416 x"),
    *(b"gs://bucket/a", b"bytes 0-511/1000", b"bytes */0", b"\n%%\n", b"</x>; rel=hubfs-index", b"9" * 60, b"chunked"),
    *(b"\x1f\x8b\x08", b"/google/spice/3.tar.gz", b"http://", b"//", b"TFL3", b"<!doctype html"),
    b"Mon, 01 Jan 99999999999 00:00:00 GMT",
)
SECRET = "s3cr3t"
SIGNATURE = "s1gn4tur3"
HUB = f"http://user:{SECRET}@hub.test"
HANDLES = (
    ModelId("google/spice", "2"),
    ModelId("google/tfjs-model/spice", "2"),
    ModelId("g/lite-model/a", "1"),
)


class _Wire(io.BytesIO):
    """A socket that was sent a reply."""

    def makefile(self, *_: Any, **__: Any) -> "_Wire":
        return self


class _Fed(requests.adapters.HTTPAdapter):
    """Answers with `replies`, one after another, the last one again and again."""

    def __init__(self, replies: list[bytes]) -> None:
        super().__init__()
        self._replies = replies
        self._asked = 0

    def answer(self, request: requests.PreparedRequest) -> requests.Response:
        host_is_ours = origin_of(request.url or "") == origin_of(HUB)
        assert host_is_ours or SECRET not in (request.url or ""), "credentials for another host"
        assert host_is_ours or SECRET not in str(request.headers), "credentials for another host"
        assert host_is_ours or "Authorization" not in request.headers, "credentials for another host"
        self._asked += 1
        reply = http.client.HTTPResponse(_Wire(self._replies[min(self._asked, len(self._replies)) - 1]))  # type: ignore[arg-type]
        try:
            reply.begin()
        except (http.client.HTTPException, OSError) as error:  # as urllib3 and requests do together
            raise requests.ConnectionError(urllib3.exceptions.ProtocolError("aborted", error)) from error
        raw = urllib3.HTTPResponse(
            reply,
            urllib3.HTTPHeaderDict(reply.msg.items()),
            reply.status,
            reason=reply.reason,
            preload_content=False,
            decode_content=False,
            original_response=reply,
            request_method="GET",
        )
        return self.build_response(request, raw)


@lru_cache(1)
def _client() -> HttpClient:
    return HttpClient(HttpSettings(retry=RetryPolicy(attempts=1)), Cancellation())


def _blob(client: HttpClient) -> None:
    blob = HttpBlob(client, f"{HUB}/file?sig={SIGNATURE}")
    data = blob.read_at(0, 2000)
    assert len(data) == min(2000, blob.size_bytes)
    assert SECRET not in blob.key
    assert SIGNATURE not in blob.key


def _stream(client: HttpClient) -> None:
    stream = HttpStream(client, f"{HUB}/file?sig={SIGNATURE}", connections=1)
    received_bytes = sum(map(len, stream.chunks()))
    assert stream.size_bytes in (None, received_bytes)


def _published(client: HttpClient) -> None:
    seen = client.probe(f"{HUB}/archive")
    find_published_index(client, seen, seen.link, {"Authorization": SECRET}, parameters=PARAMETERS)


def _resolve(client: HttpClient, handle: ModelId, form: Form | None) -> None:
    location = TfhubResolver(client, HUB).resolve(handle, form)
    assert location.url.startswith("gs://" if location.form is Form.UNCOMPRESSED else "http://hub.test/")
    assert not re.search(r"[\0-\x20\x7f]", location.url)


def _tfjs(client: HttpClient) -> None:
    location = Location("http://hub.test/google/tfjs-model/spice/2", Form.FILES)
    source = FilesSource("hub.test", HANDLES[1], ask_tfjs(client, HANDLES[1], location), lambda _, blob: blob)
    assert all(entry.size_bytes < 1 << 63 for entry in source.entries())


QUESTIONS: dict[bytes, Callable[[HttpClient], object]] = {
    b"r": lambda client: _resolve(client, HANDLES[0], None),
    b"c": lambda client: _resolve(client, HANDLES[0], Form.COMPRESSED),
    b"j": lambda client: _resolve(client, HANDLES[1], None),
    b"t": lambda client: _resolve(client, HANDLES[2], None),
    b"l": lambda client: TfhubResolver(client, HUB).latest("google/spice"),
    b"v": lambda client: TfhubResolver(client, HUB).versions("google/spice"),
    b"d": lambda client: catalog_document.fetch(client, HUB, etag='"1"'),
    b"b": _blob,
    b"s": _stream,
    b"p": _published,
    b"m": _tfjs,
}


def fuzz(data: bytes) -> None:
    ask = QUESTIONS.get(data[:1])
    if ask is None or any(secret.encode() in data for secret in (SECRET, SIGNATURE)):
        return  # what a host knows already, it may send: the engine takes words from comparisons that it sees
    logging.disable()
    client = _client()
    client._probes._answers.clear()
    adapter = _Fed(data[1:].split(b"\n%%\n"))
    answer = mock.patch.object(WatchedAdapter, "send", lambda _, request, **__: adapter.answer(request))
    try:
        with answer, mock.patch.object(tfhub_versions, "MOST", 12):  # 256 questions would take long
            ask(client)
        return
    except HubfsError as error:
        message = str(error)
    finally:
        logging.disable(logging.NOTSET)
    assert SECRET not in message, "a secret in a message"
    assert SIGNATURE not in message, "a signature in a message"
    message.encode(errors="surrogateescape")
