"""What tells the bytes behind a URL from all others."""

import hashlib
import uuid

from hubfs.blobs.http.object import HttpObject
from hubfs.blobs.http.url import without_secrets


def identity_of(found: HttpObject) -> str:
    """Says which bytes `found` has: from its ETag, else from date and size. A short hexadecimal text.

    Unique where it is not `pinned`: it then names what somebody read at some time, and no version.
    """
    if not found.pinned:
        return uuid.uuid4().hex
    if found.etag is not None:
        return _digest("etag", found.etag)
    return _digest("modified", str(found.last_modified), str(found.size_bytes))


def key_of(url: str, identity: str) -> str:
    """The key of a blob: readable, and without the secrets that `url` may have, though it tells queries apart."""
    return f"{without_secrets(url)}@{_digest(url, identity)}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
