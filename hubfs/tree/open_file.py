"""A file of a mount that is open."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hubfs.blobs.blob import Blob, MemoryBlob
from hubfs.cache.block_cache import Release
from hubfs.cache.ranges import Read

Backing = Callable[[float], int | None]
"""Opens the local file whose bytes are those of an open file, whole and verified: a descriptor (read-only) for the
caller to close. None where there is no such file, or if that is not known within so many seconds. Raises nothing."""


def _none(*_: object) -> None:
    """No backing file."""


Plan = Callable[[Sequence[range]], Sequence[Read]]
"""Told all ranges that a reader wants, says by which reads of the blob they come."""


def each_by_itself(order: Sequence[range]) -> Sequence[Read]:
    """A read for each range that is not empty."""
    return [Read(one.start, len(one), [number]) for number, one in enumerate(order) if one]


@dataclass(frozen=True)
class OpenFile:
    """An open file; `release` ends the use. `backing` may be called as long as the file is open.

    A reader that names its ranges asks `plan` for the reads to make.

    `pages_of` is the same object for as long as what was read from this path earlier still holds; None if it never
    does.
    """

    blob: Blob
    pages_of: object | None
    release: Release
    backing: Backing = _none
    plan: Plan = each_by_itself


def text_file(path: str, text: bytes) -> OpenFile:
    """An open file whose content was made for it."""
    return OpenFile(MemoryBlob(path, text), None, _nothing)


def _nothing() -> None:
    """Nothing to release."""
