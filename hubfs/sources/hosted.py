"""Models of files each of which has an HTTP URL of its own."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from hubfs.blobs.blob import Blob
from hubfs.blobs.http.blob import HttpBlob
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.http.probing import in_parallel, is_page
from hubfs.blobs.http.url import redacted
from hubfs.blobs.lazy import LazyBlob
from hubfs.blobs.retry import Permanent
from hubfs.errors import Damaged, NotFound, Stale
from hubfs.model_id import ModelId
from hubfs.sources.files import Manifest, RemoteFile, tree_of

Urls = Callable[[str], tuple[str, Mapping[str, str]]]
"""The URL of the file at a path, and the headers that go to its host. May ask the hub."""


def probe_files(
    client: HttpClient, model: ModelId, model_url: str, urls: Mapping[str, str], headers: Mapping[str, str]
) -> dict[str, RemoteFile]:
    """The files at `urls`, by path, of the model at `model_url`; asks the host for the start of each, several at once.

    Raises `Damaged` naming a file that is missing, and for names that are no paths or no tree; what
    `HttpClient.probe` raises.
    """
    tree_of(redacted(model_url), dict.fromkeys(urls, 0))  # before anything is asked for by such a name

    def describe(path: str) -> RemoteFile:
        url = urls[path]
        try:
            found = client.probe(url, headers)
            if not is_page(found):  # the blob is made of the same probe, which is remembered
                blob = plain_blob(client, url, headers)
                return RemoteFile(blob.size_bytes, blob.key, lambda: blob, stamp=found.stamp, lasting=found.pinned)
        except NotFound as error:
            raise Damaged(f"{model} lacks its file {path!r}: {error}") from error
        raise Damaged(f"{model} lacks its file {path!r}: {redacted(url)} answered with a page for people")

    return dict(zip(urls, in_parallel(describe, list(urls)), strict=True))


def kept_files(client: HttpClient, model: ModelId, kept: Mapping[str, Any], urls: Urls) -> Manifest:
    """The manifest of `model` out of the cache; asks nobody before a file is read that the cache has lost.

    Such a file is `Stale` if its host describes it otherwise by then. Raises `Damaged` for a manifest that is not as
    written.
    """

    def connect(path: str, pin: str, size_bytes: int) -> Blob:
        url, headers = urls(path)
        try:
            blob = plain_blob(client, url, headers)
        except NotFound as error:
            raise Stale(f"{model} had a file {path!r} that is gone: {error}") from error
        if (blob.key, blob.size_bytes) != (pin, size_bytes):
            raise Stale(f"{model}: {path!r} changed since the model was found; open it again")
        return blob

    def opener(path: str, pin: str, size_bytes: int) -> Callable[[], Blob]:
        return lambda: LazyBlob(pin, size_bytes, partial(connect, path, pin, size_bytes), client.cancellation)

    return Manifest.from_json(model, kept, opener)


def plain_blob(
    client: HttpClient, url: str, headers: Mapping[str, str], locate: Callable[[], str] | None = None
) -> HttpBlob:
    """The file at `url`, or where `locate` says that it is. Raises `Permanent` where the host sends something else.

    Raises as `HttpBlob` does, too.

    Some stores keep files compressed, and send them so to everybody, against the request: browsers unpack that.
    """
    blob = HttpBlob(client, url, headers, locate=locate)
    if blob.encoding:
        raise Permanent(
            f"{redacted(url)} comes encoded as {blob.encoding}, which was not asked for: its real bytes have no size, "
            "and no ranges; ask the hub's operator to store it as it is"
        )
    return blob
