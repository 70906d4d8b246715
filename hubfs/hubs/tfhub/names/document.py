"""The document in which a hub lists its models, where it has one."""

from http import HTTPStatus

from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.http.url import redacted, without_userinfo
from hubfs.errors import Damaged
from hubfs.hubs.tfhub.names.provider import CatalogDocument

NAME = "catalog.jsonl"
"""The document's name below the hub's URL; no publisher can have it."""

_MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
_START_BYTES = 512
_BLANK = b"\xef\xbb\xbf \t\r\n"


def fetch(client: HttpClient, hub_url: str, etag: str | None = None) -> CatalogDocument | None:
    """The document of the hub at `hub_url`; None for a hub that has none (404, or a page for people).

    Credentials in `hub_url` go to the hub's host only. `etag` is that of the document which the caller has. Raises
    `Damaged` for a document that is longer than 64 MiB or not UTF-8; `AccessDenied`, `TimedOut`, `Unavailable`,
    `Cancelled`.
    """
    plain_url, userinfo = without_userinfo(hub_url)
    url = f"{plain_url.rstrip('/')}/{NAME}"
    condition = {"If-None-Match": etag} if etag else {}
    limit_bytes = _MAX_DOCUMENT_BYTES + 1
    reply = client.reply(url, {**userinfo, **condition}, max_body_bytes=limit_bytes, follow=lambda _: True)
    if reply.status == HTTPStatus.NOT_MODIFIED and etag:
        return CatalogDocument(None, etag)
    is_page = "html" in reply.headers.get("Content-Type", "").lower()
    if reply.status != HTTPStatus.OK or is_page or reply.body[:_START_BYTES].lstrip(_BLANK).startswith(b"<"):
        return None
    if len(reply.body) > _MAX_DOCUMENT_BYTES:
        raise Damaged(f"{redacted(url)} has more than {_MAX_DOCUMENT_BYTES} bytes: no hub's catalogue is that long")
    try:
        return CatalogDocument(reply.body.decode(), reply.headers.get("ETag"))
    except UnicodeDecodeError:
        raise Damaged(f"{redacted(url)} is not UTF-8 text: report it to the hub's operator") from None
