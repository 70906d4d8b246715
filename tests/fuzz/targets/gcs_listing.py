"""What a store of objects answers to listings: pages, separated by lines of `%%`; only our errors come out."""

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from hubfs.blobs.gcs.client import GcsClient, GcsSettings
from hubfs.blobs.retry import RetryPolicy
from hubfs.errors import HubfsError, InvalidHandle
from hubfs.hubs.bucket.hub import Bucket
from hubfs.model_id import ModelId
from hubfs.sources.bucket import kept_bucket, list_bucket
from hubfs.sources.files import FilesSource
from hubfs.waiting import Cancellation
from tests.support.sources import Told, plain

MAX_BYTES = 8192
WORDS = (
    *(f'"{word}":'.encode() for word in ("items", "prefixes", "nextPageToken", "name", "size", "generation", "crc32c")),
    *(b"hub/google/spice/2/", b"saved_model.pb", b"uncompressed/", b".tar.gz", b"[" * 60, b"1e999"),
    *(b"\\ud800", b"9" * 60, b"-1", b"\n%%\n", b"../"),
)
HANDLE = ModelId("google/spice", "2")


class _Fed(GcsClient):
    """A client whose store answers with `pages`, one after another, the last one again and again."""

    pages: list[bytes]
    asked = 0

    def answer(self, url: str, shown: str, expected_bytes: int = 0) -> bytes:
        self.asked += 1
        return self.pages[min(self.asked, len(self.pages)) - 1]


@lru_cache(1)
def _client() -> _Fed:
    return _Fed(GcsSettings("http://store.test", retry=RetryPolicy(attempts=1)), Cancellation())


def fuzz(data: bytes) -> None:
    logging.disable()
    client, hub = _client(), Bucket("gs://bucket/hub", gcs=_client())
    client.pages = data.split(b"\n%%\n")
    for question in (
        lambda: hub.open(HANDLE, Told()),
        lambda: hub.load(HANDLE, {"form": "compressed"}, Told()),
        lambda: hub.folder(HANDLE),
        lambda: hub.alias("google/spice"),
        lambda: hub.versions("google/tfjs-model/spice"),
        lambda: hub.children("google"),
        lambda: hub.children(""),
        lambda: client.stat("bucket", "hub/object"),
        lambda: _model(client),
    ):
        client.asked = 0
        _answered(question)
    logging.disable(logging.NOTSET)


def _answered(question: Callable[[], Any]) -> None:
    try:
        answer = question()
    except InvalidHandle as error:
        raise AssertionError("a store's answer passed for a mistake of the user") from error
    except HubfsError as error:
        str(error).encode(errors="surrogatepass")
        return
    if isinstance(answer, list):
        assert len(set(answer)) == len(answer)
        assert all("/" not in name and name for name in answer)


def _model(client: GcsClient) -> None:
    manifest = list_bucket(client, HANDLE, "gs://bucket/hub/google/spice/2")
    source = FilesSource("hub.example", HANDLE, manifest, plain)
    entries = {entry.path: entry for entry in source.entries()}
    for path, entry in entries.items():
        above = path.rpartition("/")[0]
        assert not above or entries[above].kind.value == "directory"
        assert 0 <= entry.size_bytes < 1 << 63
        assert all(0 < len(part.encode()) <= 255 and part not in (".", "..") for part in path.split("/"))
    again = FilesSource("hub.example", HANDLE, kept_bucket(client, HANDLE, source.to_index()), plain)
    assert again.identity == source.identity
    assert again.entries() == source.entries()
