"""What a hub answers: where a model's bytes are, and in which form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from hubfs.model_id import ModelId


class Form(Enum):
    """How a hub hosts a model."""

    COMPRESSED = "compressed"
    UNCOMPRESSED = "uncompressed"
    FILE = "file"  # the model is one file
    FILES = "files"  # every file has a URL of its own


@dataclass(frozen=True)
class Location:
    """Where a model's bytes are, and in which form; holding one fetches nothing.

    By form, `url` is: COMPRESSED, the URL of the archive; UNCOMPRESSED, `gs://bucket/prefix`; FILE, the URL of the
    file; FILES, the model's URL, to which `/<path>?tfjs-format=file` is added. HTTP URLs are the hub's own, not yet
    redirected, so that a signed URL which expired is found anew; an archive's may be `gs://bucket/object`, too.
    `headers` are needed to fetch it; they may be secret and are never part of a message.
    """

    url: str
    form: Form
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class Resolver(Protocol):
    """ModelId → Location."""

    @property
    def hub(self) -> str:
        """The hub's URL, as the user named it, without credentials."""
        ...

    @property
    def cached_as(self) -> str:
        """`hub` as the cache has it: with `unverified+` before it, if anybody on the way can answer for the hub."""
        ...

    @property
    def lists(self) -> bool:
        """Whether the hub has listings. Known without asking."""
        ...

    def resolve(self, handle: ModelId, form: Form | None = None) -> Location:
        """Where `handle` is. `form` overrides the configured preference.

        Raises `ModelNotFound` when the hub says so (the message says what was tried), `AccessDenied`, `TimedOut`,
        `Unavailable`.
        """
        ...

    def latest(self, name: str) -> str:
        """The version that the unversioned `name` (`google/spice`) stands for now. Remembers nothing.

        Raises `ModelNotFound` when the hub has no version of it, and what `resolve` raises.
        """
        ...

    def versions(self, name: str) -> Sequence[str]:
        """The versions of `name` that the hub is known to have, ascending; perhaps not all, perhaps none."""
        ...

    def children(self, folder: str) -> Sequence[str]:
        """The names directly below `folder` ("" for the root) that a hub with listings has; of another one, none."""
        ...
