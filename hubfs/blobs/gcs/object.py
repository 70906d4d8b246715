"""What a bucket holds, as the store describes it."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hubfs.blobs import json_text
from hubfs.blobs.checksums import CRC32C, Checksum
from hubfs.blobs.stamp import Stamp

NOT_UNDERSTOOD = (ValueError, TypeError, AttributeError, KeyError, OverflowError)
"""What reading an answer raises that is none: JSON may hold infinity."""

_LONGEST_NAME = 1024  # the store's own bound, in bytes

_DATE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?Z", re.ASCII)

OBJECT_FIELDS = "name,size,generation,crc32c,timeCreated"
"""What has to be asked for to know a `GcsObject`."""


@dataclass(frozen=True)
class GcsObject:
    """An object as the store listed it: `generation` pins its bytes, `checksum` is of all of them.

    `made_s` is when this generation was made, Unix time; None where the store does not say. Not `updated`, which moves
    with the object's metadata.
    """

    bucket: str
    name: str
    size_bytes: int
    generation: str
    checksum: Checksum | None = None
    made_s: int | None = None

    @property
    def stamp(self) -> Stamp:
        """When the bytes were made."""
        return Stamp(self.made_s, self.generation)

    @property
    def url(self) -> str:
        """`gs://bucket/name`."""
        return f"gs://{self.bucket}/{self.name}"

    @property
    def key(self) -> str:
        """`gs://bucket/name#generation`: names the bytes, for ever."""
        return f"{self.url}#{self.generation}"


@dataclass(frozen=True)
class GcsFolder:
    """What is directly below a prefix: objects, and the prefixes (ending in '/') that more objects share."""

    objects: Sequence[GcsObject]
    prefixes: Sequence[str]


def bucket_and_name(url: str) -> tuple[str, str]:
    """`gs://bucket/name` → bucket and name, which may be empty. Raises `ValueError`.

    Not read as a URL: '#', '?' and '%' are characters of names.
    """
    bucket, _, name = url.removeprefix("gs://").partition("/")
    if not url.startswith("gs://") or not bucket:
        raise ValueError("not the URL of a bucket: it must read gs://BUCKET/NAME")
    return bucket, name


def object_of(bucket: str, body: bytes) -> GcsObject:
    """Reads the store's description of one object. Raises `NOT_UNDERSTOOD` for what is none."""
    return _object(bucket, json_text.parse(body))


def page_of(bucket: str, body: bytes) -> tuple[GcsFolder, str | None]:
    """Reads a page of a listing, and the token of the next. Raises `NOT_UNDERSTOOD` for what is none."""
    page = json_text.parse(body)
    prefixes, token = page.get("prefixes", ()), page.get("nextPageToken")
    if not all(isinstance(text, str) for text in (*prefixes, token or "")):
        raise TypeError("a prefix is a text, and so is a token")
    if any(len(text) > _LONGEST_NAME for text in prefixes):
        raise ValueError(f"a prefix has at most {_LONGEST_NAME} characters")
    (token or "").encode()  # half a surrogate pair, which a JSON text can hold, fits into no URL: ValueError
    return GcsFolder([_object(bucket, item) for item in page.get("items", ())], prefixes), token


def _object(bucket: str, item: Mapping[str, Any]) -> GcsObject:
    crc32c = item.get("crc32c")
    if not isinstance(item["name"], str) or len(item["name"]) > _LONGEST_NAME:
        raise TypeError(f"a name is a text of at most {_LONGEST_NAME} characters")
    return GcsObject(
        bucket=bucket,
        name=item["name"],
        size_bytes=int(item["size"]),
        generation=str(int(item["generation"])),
        checksum=_checksum(crc32c) if crc32c else None,
        made_s=_seconds(item.get("timeCreated")),
    )


def _checksum(text: Any) -> Checksum:
    return Checksum(CRC32C, base64.b64decode(text, validate=True).hex())


def _seconds(text: Any) -> int | None:
    """Unix time of a date as RFC 3339 has it; None for what is none: a listing is of use without."""
    match = _DATE.fullmatch(text) if isinstance(text, str) else None
    try:
        return int(datetime.fromisoformat(f"{match[1]}+00:00").timestamp()) if match else None
    except (ValueError, OverflowError):
        return None
