"""The index that a host publishes beside an archive: with it, even the first touch of a model is random access."""

import logging
import re
from collections.abc import Collection, Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from hubfs.blobs.gcs.client import GcsClient
from hubfs.blobs.gcs.object import GcsObject
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.http.object import HttpObject
from hubfs.blobs.http.url import next_hop, redacted
from hubfs.errors import Cancelled, Damaged, HubfsError
from hubfs.formats.index_file import MAX_SIZE_BYTES, SUFFIX, IndexFile, looks_like_index

RELATION = "hubfs-index"
"""The relation of an archive to its index in a `Link` header."""

_LINK = re.compile(r"<([^<>]*)>([^<]*)")
_REL = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]*))', re.IGNORECASE)
_HEAD_BYTES = 8
_NO_HEADERS: Mapping[str, str] = {}

_log = logging.getLogger(__name__)


def find_published_index(
    http: HttpClient,
    seen: HttpObject,
    link: str | None = None,
    headers: Mapping[str, str] = _NO_HEADERS,
    parameters: Collection[str] = (),
) -> IndexFile | None:
    """The index of the archive `seen`, if its host has one that fits.

    `link` is the `Link` header of the archive's reply, `headers` are for the host of the archive's URL only, and
    `parameters` mean what they mean in `index_url`. Costs one request, and where there is an index one more, of a few
    bytes of the archive. Raises `Cancelled`, and nothing else: without an index a model is read all the same.
    """
    try:
        url = index_url(seen.final_url, link, parameters)
        if url is None or not seen.size_bytes or not seen.accepts_ranges:
            return None
        index = _fetched(http, seen, url, headers)
        if index is None:
            return None
        if index.archive_size_bytes == seen.size_bytes and index.fits(
            seen.size_bytes, _proof(http, seen, index, headers)
        ):
            return index
        _log.debug("%s is the index of another archive", redacted(url))
    except Cancelled:
        raise
    except HubfsError as error:
        _log.debug("no index of %s: %s", redacted(seen.final_url), error)
    return None


def index_in_bucket(gcs: GcsClient, archive_url: str, index: GcsObject) -> IndexFile | None:
    """What `index` says of the archive at `archive_url` (`gs://bucket/object`), if it fits.

    Costs three requests. Raises `Cancelled`, and nothing else.
    """
    try:
        if index.size_bytes > MAX_SIZE_BYTES:
            raise Damaged(f"{index.url} has more than {MAX_SIZE_BYTES} bytes")
        found = IndexFile.from_bytes(gcs.blob(index).read_at(0, index.size_bytes))
        archive = gcs.at(archive_url)
        if found.archive_size_bytes == archive.size_bytes and found.fits(
            archive.size_bytes, gcs.blob(archive).read_at(*found.proof_range)
        ):
            return found
        _log.debug("%s is the index of another archive", index.url)
    except Cancelled:
        raise
    except HubfsError as error:
        _log.debug("no index of %s: %s", archive_url, error)
    return None


def index_url(archive_url: str, link: str | None = None, parameters: Collection[str] = ()) -> str | None:
    """Where the index of the archive at `archive_url` is, if there is one; None where asking would be wrong.

    That is the URL in the header `link`, else the archive's URL with a suffix to its path. Of the query of the
    archive's URL, `parameters` are the hub's protocol; a URL with others may be signed, for this very path, and none is
    guessed from it. Raises `Unavailable` for a link that must not be followed.
    """
    for target, rest in _LINK.findall(link or ""):
        named = (quoted or plain for quoted, plain in _REL.findall(rest))
        if any(RELATION in relations.lower().split() for relations in named):
            return next_hop(archive_url, target.strip())
    parts = urlsplit(archive_url)
    names = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    path = parts.path.rstrip("/")
    if not path or not names <= {*parameters}:
        return None
    return urlunsplit(parts._replace(path=path + SUFFIX, fragment=""))


def _fetched(http: HttpClient, seen: HttpObject, url: str, headers: Mapping[str, str]) -> IndexFile | None:
    """The index behind `url`, in one attempt; None for what looks like something else, of which little is read."""
    # A link is the host's word, as a redirect is: it leads no further inside, and takes no credentials along.
    with http.open(seen.url, headers, start=url) as transfer:
        head = transfer.read_up_to(_HEAD_BYTES)
        if transfer.status != HTTPStatus.OK or not looks_like_index(head):
            _log.debug("%s is not an index of an archive", redacted(url))
            return None
        data = head + transfer.read_up_to(MAX_SIZE_BYTES + 1 - len(head))
    if len(data) > MAX_SIZE_BYTES:
        raise Damaged(f"{redacted(url)} has more than {MAX_SIZE_BYTES} bytes")
    return IndexFile.from_bytes(data)


def _proof(http: HttpClient, seen: HttpObject, index: IndexFile, headers: Mapping[str, str]) -> bytes:
    """The bytes of the archive that tell whether the index is its own."""
    offset_bytes, size_bytes = index.proof_range
    extra = {"Range": f"bytes={offset_bytes}-{offset_bytes + size_bytes - 1}"}
    if seen.validator:
        extra["If-Range"] = seen.validator
    with http.open(seen.url, headers, extra=extra, start=seen.final_url) as transfer:
        wanted = transfer.content_range
        if (
            wanted is None
            or wanted.start_bytes != offset_bytes
            or not seen.same_as(transfer.headers, wanted.total_bytes)
        ):
            raise Damaged(f"{redacted(seen.url)} changed, or answered with another range than the one asked for")
        return transfer.read_up_to(size_bytes)
