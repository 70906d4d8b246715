"""What a hub answers: where a model's bytes are, and in which form."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from hubfs.hub.handle import Handle


class Form(Enum):
    """How a hub hosts a model."""

    COMPRESSED = "compressed"
    UNCOMPRESSED = "uncompressed"


@dataclass(frozen=True)
class Location:
    """Where a model's bytes are, and in which form; holding one fetches nothing.

    `url` is an `http(s)` URL that answers with the archive (the hub's own, redirects not yet followed, so that a
    signed URL which expired is found anew), or `gs://bucket/prefix`. `headers` are needed to fetch it; they may be
    secret and are never part of a message.
    """

    url: str
    form: Form
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class Resolver(Protocol):
    """Handle → Location."""

    @property
    def hub(self) -> str:
        """The hub's URL, as the user named it, without credentials."""
        ...

    def resolve(self, handle: Handle, form: Form | None = None) -> Location:
        """Where `handle` is. `form` overrides the configured preference.

        Raises `ModelNotFound` when the hub says so (the message says what was tried), `AccessDenied`, `TimedOut`,
        `Unavailable`.
        """
        ...
