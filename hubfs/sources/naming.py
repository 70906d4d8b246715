"""What models are called in the cache."""

from hashlib import blake2b
from urllib.parse import quote, urlsplit

from hubfs.hub.handle import Handle


def hub_label(hub: str) -> str:
    """The hub's name in the cache: `tfhub.dev`, `127.0.0.1:8080%2Fprefix`. One path segment, without '@'."""
    parts = urlsplit(hub)
    name = parts.netloc.rpartition("@")[2] + parts.path.rstrip("/")
    return quote(name if parts.scheme in ("http", "https") else f"{parts.scheme}://{name}", safe=":")


def model_name(hub: str, handle: Handle, identity: str) -> str:
    """The model's name in the cache; another identity gives another name."""
    return f"{hub_label(hub)}/{handle}@{blake2b(identity.encode(), digest_size=6).hexdigest()}"
