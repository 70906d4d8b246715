"""What the head of a reply says of the object behind a URL: size, date, and what tells its bytes from all others."""

import email.utils
import hashlib
import re
import time
import uuid
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timezone
from http import HTTPStatus

from hubfs.blobs.checksums import Checksum
from hubfs.blobs.http.url import without_secrets
from hubfs.blobs.stamp import Stamp

_PAGE = "text/html"
_CONTENT_RANGE = re.compile(r"\s*bytes\s+(?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)\s*", re.ASCII | re.IGNORECASE)
_LONGEST_VALIDATOR = 1024
"""A longer ETag or date is as good as none: it is kept with every blob, and sent with every request."""
_LONGEST_NAME = 100
"""Of a type, or an encoding: of others, that is enough to say what came instead."""
_GENERATION = "X-Goog-Generation"
_STORED_ENCODING = "X-Goog-Stored-Content-Encoding"
"""What Google's store says of each object that it sends, whatever proxies do to the body afterwards."""
_HASH = "X-Goog-Hash"
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)  # what has more digits is no number of bytes or seconds


@dataclass(frozen=True)
class ContentRange:
    """Which bytes a reply holds: `[start_bytes, end_bytes)` of `total_bytes` (None where the host does not know)."""

    start_bytes: int
    end_bytes: int
    total_bytes: int | None

    @classmethod
    def parse(cls, headers: Mapping[str, str]) -> "ContentRange | None":
        """Reads `Content-Range`; None if absent or not understood. `bytes */N` is the empty range of N bytes."""
        match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        if match is None:
            return None
        first, last, total = match.groups()
        total_bytes = None if total == "*" else int(total)
        return cls(0, 0, total_bytes) if first is None else cls(int(first), int(last) + 1, total_bytes)


def content_length(headers: Mapping[str, str]) -> int | None:
    """How many bytes the body was announced to have, if it was."""
    text = headers.get("Content-Length", "")
    # A chunked body says its own end; a Content-Length beside it means nothing (RFC 9112, 6.3).
    return int(text) if _NUMBER.fullmatch(text) and "Transfer-Encoding" not in headers else None


def total_bytes(headers: Mapping[str, str]) -> int | None:
    """The size of the object that a ranged reply is about, if the host knows it."""
    content_range = ContentRange.parse(headers)
    return None if content_range is None else content_range.total_bytes


def strong_etag(headers: Mapping[str, str]) -> str | None:
    """The ETag, unless it is weak: a weak one does not promise equal bytes."""
    etag = headers.get("ETag", "").strip()
    return etag if etag.startswith('"') and len(etag) <= _LONGEST_VALIDATOR else None


def last_modified(headers: Mapping[str, str]) -> str | None:
    """The date of the last change, as the host writes it."""
    date = headers.get("Last-Modified")
    return date if date is not None and len(date) <= _LONGEST_VALIDATOR else None


def weak_etag(headers: Mapping[str, str]) -> str | None:
    """A weak ETag: two of them that differ tell that the bytes do; two that are alike promise nothing."""
    etag = headers.get("ETag", "").strip()
    return etag if etag.startswith('W/"') and len(etag) <= _LONGEST_VALIDATOR else None


def content_encoding(headers: Mapping[str, str]) -> str:
    """What was done to the body, in lower case; empty for nothing."""
    text = headers.get("Content-Encoding", "").strip().lower()
    return "" if text == "identity" else text[:_LONGEST_NAME]


def content_type(headers: Mapping[str, str]) -> str:
    """The type of the body without its parameters, in lower case."""
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()


def announced_checksum(headers: Mapping[str, str]) -> Checksum | None:
    """The checksum that Google's store says the object has, the crc32c before the MD5; None if it says none.

    The header reads `crc32c=BASE64,md5=BASE64`, or comes twice. The hashes are of the bytes as they are stored: those
    of an object that is stored encoded are not the hashes of the decoded bytes that the store sends.
    """
    if headers.get(_STORED_ENCODING, "identity").lower() != "identity":
        return None
    said = dict(part.strip().partition("=")[::2] for part in headers.get(_HASH, "").split(","))
    found = (_checksum(algorithm, said.get(algorithm, "")) for algorithm in ("crc32c", "md5"))
    return next(filter(None, found), None)


def _checksum(algorithm: str, text: str) -> Checksum | None:
    """The checksum of which `text` is the base64; None for what is none."""
    try:
        return Checksum(algorithm, b64decode(text, validate=True).hex())
    except ValueError:
        return None


def redirect_target(headers: Mapping[str, str]) -> str | None:
    """`Location`: headers are read as Latin-1, and hosts that put more than ASCII there mean UTF-8."""
    text = headers.get("Location")
    try:
        return text and text.encode("latin-1").decode()
    except UnicodeError:
        return text


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """`Retry-After`, which comes as a number of seconds or as a date, in seconds from now."""
    text = headers.get("Retry-After", "").strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    date_s = http_date_s(text)
    return None if date_s is None else max(0.0, date_s - time.time())


def http_date_s(text: str) -> float | None:
    """The date of a header, as Unix time; None for what is none."""
    try:
        date = email.utils.parsedate_to_datetime(text)
        # RFC 9110: dates are in GMT, also where a "-0000" leaves that open
        return (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        return None


@dataclass(frozen=True)
class HttpObject:
    """The bytes behind a URL, as a reply described them.

    `url` as asked, `final_url` after redirects (signed URLs appear here). `size_bytes` is None where the host does
    not say. `etag` is a strong one or None, `weak_etag` a weak one or None. `head` holds the first 512 bytes, fewer
    only if there are no more. `link` is the header that names what else belongs to the object. `checksum` is what the
    host announces of all bytes. `generation` is the number that Google's store gives these bytes, where the URL asks
    for this generation and no other: `name` (`gs://bucket/object`) is then what messages and keys call the object, and
    `made_s` is when the generation was made (Unix time), if the store says so.
    """

    url: str = field(repr=False)
    final_url: str = field(repr=False)
    size_bytes: int | None
    etag: str | None
    last_modified: str | None
    accepts_ranges: bool
    content_type: str
    head: bytes
    link: str | None = field(default=None, repr=False)
    encoding: str = ""
    weak_etag: str | None = None
    generation: str | None = None
    checksum: Checksum | None = None
    name: str = ""
    made_s: int | None = None

    @classmethod
    def of(cls, url: str, final_url: str, status: int, headers: Mapping[str, str], head: bytes) -> "HttpObject":
        """Reads the reply to a ranged request from the first byte on."""
        ranged = status != HTTPStatus.OK
        return cls(
            url=url,
            final_url=final_url,
            size_bytes=total_bytes(headers) if ranged else content_length(headers),
            etag=strong_etag(headers),
            last_modified=last_modified(headers),
            accepts_ranges=ranged,
            content_type=headers.get("Content-Type", "")[:_LONGEST_NAME],
            head=head,
            link=headers.get("Link"),
            encoding=content_encoding(headers),
            weak_etag=weak_etag(headers),
            checksum=announced_checksum(headers),
        )

    @property
    def pinned(self) -> bool:
        """Whether the host names the version of these bytes: a generation, an ETag, or a date and a size."""
        return (
            self.generation is not None
            or self.etag is not None
            or (self.last_modified is not None and self.size_bytes is not None)
        )

    @property
    def validator(self) -> str | None:
        """What `If-Range` may carry: the ETag, else the date of the last change."""
        return self.etag or self.last_modified

    @property
    def stamp(self) -> Stamp:
        """When the host says that the bytes were changed last."""
        if self.generation is not None:
            return Stamp(self.made_s, self.generation)
        made_s = http_date_s(self.last_modified or "")
        return Stamp(None if made_s is None else int(made_s), self.validator or "")

    @property
    def named(self) -> tuple[object, ...]:
        """All that the object is known by, to compare to the letter: what is looked up anew is what later replies are
        compared with, unlike the headers that `same_as` is given.
        """
        return tuple(ours for ours, _ in self._compared({}, None))

    def same_as(self, headers: Mapping[str, str], size_bytes: int | None) -> bool:
        """Whether a reply with these headers, of an object of `size_bytes`, is about these very bytes.

        A name that only one of the two gives proves nothing and is passed over: some hosts name the ETag only now and
        then.
        """
        return all(
            ours == theirs
            for ours, theirs in self._compared(headers, size_bytes)
            if ours is not None and theirs is not None
        )

    def differs_in_kind(self, headers: Mapping[str, str]) -> str | None:
        """Why a reply with these headers cannot be about this object; None if it may be.

        Somebody else answers, or garbles it. A reply that names the generation may be a page, or encoded, as it was
        stored.
        """
        named = self.generation is not None and headers.get(_GENERATION) == self.generation
        if not named and content_type(headers) == _PAGE and content_type({"Content-Type": self.content_type}) != _PAGE:
            return "a page for people"
        encoding = content_encoding(headers)
        if named and encoding == headers.get(_STORED_ENCODING, "").lower():
            return None
        if encoding != self.encoding:
            return f"bytes encoded as {encoding or 'they are'}, where {self.encoding or 'none'} was before"
        return None

    def misses(self, headers: Mapping[str, str], size_bytes: int | None) -> str | None:
        """As `differs_in_kind`; and a reply about this object names at least one thing that it is known by."""
        if different := self.differs_in_kind(headers):
            return different
        known = [theirs for ours, theirs in self._compared(headers, size_bytes) if ours is not None]
        return "neither validator nor size" if known and not any(theirs is not None for theirs in known) else None

    def _compared(
        self, headers: Mapping[str, str], size_bytes: int | None
    ) -> Sequence[tuple[str | int | None, str | int | None]]:
        """What this object is known by, and what a reply says of it."""
        return (
            (self.etag, strong_etag(headers)),
            (None if self.etag else self.last_modified, last_modified(headers)),
            (None if self.validator else self.weak_etag, weak_etag(headers)),
            (self.generation, headers.get(_GENERATION)),
            (self.size_bytes, size_bytes),
        )


def identity_of(found: HttpObject) -> str:
    """Says which bytes `found` has: `NAME#GENERATION`, else a short hexadecimal text, from the ETag, or date and size.

    Unique where it is not `pinned`: it then names what somebody read at some time, and no version.
    """
    if not found.pinned:
        return uuid.uuid4().hex
    if found.generation is not None:
        return f"{found.name}#{found.generation}"
    if found.etag is not None:
        return _digest("etag", found.etag)
    return _digest("modified", str(found.last_modified), str(found.size_bytes))


def key_of(found: HttpObject, url: str) -> str:
    """The key of a blob: readable, and without the secrets that `url` may have, though it tells queries apart."""
    identity = identity_of(found)
    return identity if found.generation is not None else f"{without_secrets(url)}@{_digest(url, identity)}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
