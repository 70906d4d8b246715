"""What models are called in the cache."""

from hashlib import blake2b
from urllib.parse import quote, urlsplit

from hubfs.model_id import ModelId


def hub_label(hub: str) -> str:
    """The hub's name in the cache: `tfhub.dev`, `example.com%2Fprefix`. One path segment, without '@'.

    The scheme is part of it, but for https: what came unprotected (`http`), or from whoever said to be the hub
    (`unverified+https`), is not taken for what came protected.
    """
    if hub.startswith("gs://"):  # '?' and '#' are characters of its prefix
        return quote(hub.rstrip("/"), safe=":")
    parts = urlsplit(hub)
    name = parts.netloc.rpartition("@")[2] + parts.path.rstrip("/")
    return quote(name if parts.scheme == "https" else f"{parts.scheme}://{name}", safe=":")


def model_name(hub: str, handle: ModelId, identity: str) -> str:
    """The model's name in the cache, for `hub` as `Resolver.cached_as` has it; another identity gives another name."""
    return f"{hub_label(hub)}/{handle}@{blake2b(identity.encode(), digest_size=6).hexdigest()}"
