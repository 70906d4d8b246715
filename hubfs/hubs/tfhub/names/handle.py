"""Handles: the names of models."""

import re
from collections.abc import Sequence
from enum import Enum

from hubfs.errors import InvalidHandle, quoted
from hubfs.model_id import ModelId

# The grammar of the protocol's plain names; a leading dot never occurs on a hub, and refusing it spares a request
# for every `.git`, `.Trash-0` and `.hidden` that a file manager asks for.
MAX_SEGMENT_CHARACTERS = 255
"""No segment is longer than a file's name may be (NAME_MAX): nobody could ask for it."""

_LENGTHS = f"{{1,{MAX_SEGMENT_CHARACTERS}}}"
_PUBLISHER = re.compile(rf"[a-z\d-]{_LENGTHS}", re.ASCII)
_SEGMENT = re.compile(rf"(?!\.)[\w.-]{_LENGTHS}", re.ASCII)
_VERSION = re.compile(rf"\d{_LENGTHS}", re.ASCII)

MAX_SEGMENTS = 32
"""No handle has more; the longest of the public catalogue has 10. A hub is asked about each of a typed path's numbers,
and a catalogue keeps each directory above a model: without a limit one line could name thousands of either."""


def is_publisher(text: str) -> bool:
    """Whether `text` could be a publisher on a hub."""
    return _PUBLISHER.fullmatch(text) is not None


def is_name_segment(text: str) -> bool:
    """Whether `text` could be a segment of a model's name."""
    return _SEGMENT.fullmatch(text) is not None


def is_version(text: str) -> bool:
    """Whether `text` is a version."""
    return _VERSION.fullmatch(text) is not None


def version_age(text: str) -> tuple[int, str, str]:
    """Sorts versions as numbers, of whatever length."""
    digits = text.lstrip("0")
    return len(digits), digits, text


COLLECTION = "collection"
"""The segment after the publisher that makes a path one of a collection, which is no model."""


class Kind(Enum):
    """What a model is; the value is the segment after the publisher that says so."""

    MODEL = ""  # a SavedModel or a TF1 Hub module: the hub tells them apart by their files alone
    LITE = "lite-model"
    TFJS = "tfjs-model"
    CORAL = "coral-model"


def is_name(segments: Sequence[str]) -> bool:
    """Whether `segments` could be a model's name: a publisher, the kind's segment if there is one, and a name."""
    first_name = 2 if is_typed(segments) else 1
    return (
        first_name < len(segments) <= MAX_SEGMENTS
        and is_publisher(segments[0])
        and all(map(_SEGMENT.fullmatch, segments[1:]))
    )


def is_typed(segments: Sequence[str]) -> bool:
    """Whether the names that begin with `segments` may have numbers in them that are no versions."""
    return _kind_of(segments) is not Kind.MODEL


def parse_handle(text: str) -> ModelId:
    """Reads `PUBLISHER/NAME/VERSION`, whose last segment is the version. Raises `InvalidHandle`.

    The name may have slashes, and begins with the kind's segment if it has one: `google/lite-model/spice/1`. The
    version keeps its text, so that `parse_handle(str(model)) == model`.
    """
    publisher, *name, version = text.split("/") if text.count("/") > 1 else ("", "", "")
    named = name[1:] if _kind_of([publisher, *name]) is not Kind.MODEL else name
    if (
        len(name) <= MAX_SEGMENTS - 2
        and is_publisher(publisher)
        and named
        and all(map(_SEGMENT.fullmatch, name))
        and is_version(version)
    ):
        return ModelId("/".join((publisher, *name)), version)
    if max(map(len, text.split("/"))) > MAX_SEGMENT_CHARACTERS:
        reason = f"cannot be a handle: no part of one is longer than {MAX_SEGMENT_CHARACTERS} characters"
    else:
        reason = "is not a versioned handle: it must read PUBLISHER/NAME/VERSION, such as google/spice/2"
    raise InvalidHandle(f"'{quoted(text)}' {reason}")


def possible_models(segments: Sequence[str]) -> list[tuple[ModelId, Sequence[str]]]:
    """The models that the start of a path may be, the shortest first, each with what follows it.

    Empty while the path is too short to reach a version. An untyped path has at most one: its first all-digit segment
    after a name segment is the version (true of every untyped handle of the public catalogue). A typed one
    (`lite-model`, …) may have numbers inside its name; since no versioned URL is an ancestor of another, at most one of
    its candidates is a model. Raises `InvalidHandle` for a path that cannot lead to a model.
    """
    found: list[tuple[ModelId, Sequence[str]]] = []
    kind = _kind_of(segments)
    first_name = 1 if kind is Kind.MODEL else 2
    for position, segment in enumerate(segments):
        if position == MAX_SEGMENTS:
            if found:
                break
            raise InvalidHandle(f"a model's handle has at most {MAX_SEGMENTS} segments")
        if position == 0:
            if not _PUBLISHER.fullmatch(segment):
                raise InvalidHandle(f"'{quoted(segment)}' cannot be a publisher: lower-case letters, digits and '-'")
        elif position > first_name and _VERSION.fullmatch(segment):
            rest = segments[position + 1 :]
            found.append((ModelId("/".join(segments[:position]), segment), rest))
            if kind is Kind.MODEL:
                break
        elif not _SEGMENT.fullmatch(segment):
            if found:
                break  # a file's name in a model, and no part of a longer name
            raise InvalidHandle(f"'{quoted(segment)}' cannot be part of a model's name: letters, digits, '_', '.', '-'")
    return found


def kind_of(name: str) -> Kind:
    """What the model `name` (`google/spice`) is."""
    return _kind_of(name.split("/", 2))


def _kind_of(segments: Sequence[str]) -> Kind:
    return _KINDS.get(segments[1], Kind.MODEL) if len(segments) > 1 else Kind.MODEL


_KINDS = {kind.value: kind for kind in Kind}
"""By the segment that names them. A look into a dictionary, for every stat of a file comes by: `Kind(text)` of a text
that names none costs 4 µs, of 24 that a stat takes."""
