"""Handles: the names of models."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hubfs.errors import InvalidHandle

# The grammar of the protocol's plain names; a leading dot never occurs on a hub, and refusing it spares a request
# for every `.git`, `.Trash-0` and `.hidden` that a file manager asks for.
_PUBLISHER = re.compile(r"[a-z\d-]+", re.ASCII)
_SEGMENT = re.compile(r"(?!\.)[\w.-]+", re.ASCII)
_VERSION = re.compile(r"\d+", re.ASCII)


def is_publisher(text: str) -> bool:
    """Whether `text` could be a publisher on a hub."""
    return _PUBLISHER.fullmatch(text) is not None


def is_name_segment(text: str) -> bool:
    """Whether `text` could be a segment of a model's name."""
    return _SEGMENT.fullmatch(text) is not None


def is_version(text: str) -> bool:
    """Whether `text` is a version."""
    return _VERSION.fullmatch(text) is not None


@dataclass(frozen=True, order=True)
class Handle:
    """A versioned model: `google/spice/2` has publisher `google`, name `spice`, version `2`.

    `name` may have slashes. `version` keeps its text, so that `Handle.parse(str(handle)) == handle`.
    """

    publisher: str
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.publisher}/{self.name}/{self.version}"

    @classmethod
    def parse(cls, text: str) -> "Handle":
        """Reads `publisher/name/version`. Raises `InvalidHandle`."""
        handle, rest = cls.split(text.split("/"))
        if handle is None or rest:
            raise InvalidHandle(
                f"{text!r} is not a versioned handle: it must read PUBLISHER/NAME/VERSION, such as google/spice/2"
            )
        return handle

    @classmethod
    def split(cls, segments: Sequence[str]) -> tuple["Handle | None", Sequence[str]]:
        """Finds the handle at the start of a path: the handle (None while the path is too short) and what follows it.

        The first all-digit segment after a name segment is the version (true of every untyped handle of the public
        catalogue). Raises `InvalidHandle` for a path that cannot lead to a model.
        """
        for position, segment in enumerate(segments):
            if position == 0:
                if not is_publisher(segment):
                    raise InvalidHandle(f"{segment!r} cannot be a publisher: lower-case letters, digits and '-'")
            elif position >= 2 and is_version(segment):  # noqa: PLR2004 - publisher and one name segment come first
                return cls(segments[0], "/".join(segments[1:position]), segment), segments[position + 1 :]
            elif not is_name_segment(segment):
                raise InvalidHandle(f"{segment!r} cannot be part of a model's name: letters, digits, '_', '.', '-'")
        return None, []
