"""The TF-Hub protocol: one question per hosting form, asked of an HTTP host."""

import re
import tarfile
from collections.abc import Mapping

from hubfs.blobs.http import HttpClient, HttpReply
from hubfs.blobs.http_object import HttpObject
from hubfs.blobs.url import origin_of, redacted, without_userinfo
from hubfs.errors import Damaged, InvalidConfig, ModelNotFound, NotFound
from hubfs.hub.handle import Handle
from hubfs.hub.resolver import Form, Location

_REDIRECTS = range(300, 400)
_GZIP_MAGIC = b"\x1f\x8b"
_HTML_TYPES = ("text/html", "application/xhtml+xml")
_HTML_STARTS = (b"<!doctype html", b"<html", b"<head")
_GS_URL = re.compile(r"""gs://[^\s"'<>/]+[^\s"'<>]*""")


class TfhubResolver:
    """Asks the hub at `hub_url` where a handle's bytes are. Remembers nothing.

    `form` is the hosting form to ask for; None asks for uncompressed hosting first. `headers` go to the hub's host
    only, and credentials in `hub_url` become one of them. Raises `InvalidConfig` for a URL that no hub can have.
    """

    def __init__(
        self, client: HttpClient, hub_url: str, form: Form | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        if not _is_hub_url(hub_url):
            raise InvalidConfig(f"{redacted(hub_url)!r} is not a hub: give an address such as https://tfhub.dev")
        plain_url, userinfo = without_userinfo(hub_url)
        self._client = client
        self._hub_url = plain_url.rstrip("/")
        self._form = form
        self._headers = {**userinfo, **(headers or {})}

    @property
    def hub(self) -> str:
        """See `Resolver`."""
        return redacted(self._hub_url)

    def resolve(self, handle: Handle, form: Form | None = None) -> Location:
        """See `Resolver`. Raises `Damaged`, too, when the hub sends something that is neither archive nor HTML."""
        wanted = form or self._form
        tried = []
        for candidate, ask in ((Form.UNCOMPRESSED, self._uncompressed), (Form.COMPRESSED, self._compressed)):
            if wanted in (None, candidate):
                answer = ask(f"{self._hub_url}/{handle}?tf-hub-format={candidate.value}")
                if isinstance(answer, Location):
                    return answer
                tried.append(f"{candidate.value}: {answer}")
        raise ModelNotFound(f"{self.hub} has no model {handle} ({'; '.join(tried)})")

    def _uncompressed(self, url: str) -> Location | str:
        """The bucket that the hub names, or why it names none."""
        reply = self._client.reply(url, self._headers, follow=lambda reply: _bucket_in(reply) is None)
        bucket_url = _bucket_in(reply)
        if bucket_url is None:
            return f"{redacted(reply.url)} answered {reply.status} without naming a gs:// address"
        return Location(bucket_url, Form.UNCOMPRESSED)

    def _compressed(self, url: str) -> Location | str:
        """Where the archive is, or why there is none."""
        try:
            found = self._client.probe(url, self._headers)
        except NotFound as error:
            return str(error)
        if _is_html(found):
            return f"{redacted(found.final_url)} answered with a page for people"
        if not _is_archive(found.head):
            raise Damaged(
                f"{redacted(found.final_url)} answered with something that is neither a tar.gz nor a tar archive "
                f"(type {found.content_type or 'unknown'}, size {found.size_bytes}): report it to the hub's operator"
            )
        return Location(url, Form.COMPRESSED, self._headers)


def _is_hub_url(url: str) -> bool:
    try:
        scheme, host, _ = origin_of(url)
    except ValueError:
        return False
    return scheme in ("http", "https") and bool(host) and not re.search(r"[?#\s]", url)


def _bucket_in(reply: HttpReply) -> str | None:
    """The gs:// address in a redirect; the body is what the protocol speaks of, so it counts before `Location`."""
    if reply.status not in _REDIRECTS:
        return None
    for text in (reply.body.decode("utf-8", "replace"), reply.headers.get("Location", "")):
        if match := _GS_URL.search(text):
            return match.group().rstrip("/")
    return None


def _is_html(found: HttpObject) -> bool:
    media_type = found.content_type.partition(";")[0].strip().lower()
    start = found.head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return media_type in _HTML_TYPES or start.startswith(_HTML_STARTS)


def _is_archive(head: bytes) -> bool:
    if head.startswith(_GZIP_MAGIC):
        return True
    try:
        # checks the header's checksum, which every tar has, of whichever age
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True
