"""What tells the bytes behind a URL from all others."""

import hashlib
import uuid

from hubfs.blobs.http_object import HttpObject
from hubfs.blobs.url import without_secrets


def identity_of(found: HttpObject) -> str:
    """Says which bytes `found` has: from its ETag, else from date and size, else unique. A short hexadecimal text."""
    if found.etag is not None:
        return _digest("etag", found.etag)
    if found.last_modified is not None and found.size_bytes is not None:
        return _digest("modified", found.last_modified, str(found.size_bytes))
    return uuid.uuid4().hex


def key_of(url: str, identity: str) -> str:
    """The key of a blob: readable, and without the secrets that `url` may have, though it tells queries apart."""
    return f"{without_secrets(url)}@{_digest(url, identity)}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
