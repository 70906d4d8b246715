"""Protocol buffers, as far as their fields can be told apart without knowing what they mean."""

from collections.abc import Iterator
from dataclasses import dataclass

from hubfs.blobs.blob import Blob
from hubfs.errors import Damaged

_HEADER_BYTES = 20  # a tag and a length, of at most ten bytes each
_VARINT_BYTES = 10
_FIXED_BYTES = {1: 8, 5: 4}  # wire types 64-bit and 32-bit
_VARINT = 0
_DELIMITED = 2


@dataclass(frozen=True)
class Field:
    """A field of a message, and where in the blob its value is: text, bytes, a message or packed numbers."""

    number: int
    delimited: bool
    start_bytes: int
    end_bytes: int


def fields(blob: Blob, start_bytes: int = 0, end_bytes: int | None = None) -> Iterator[Field]:
    """The fields of the message in this range of `blob`, one after another; only their headers are read.

    Raises `Damaged` unless the fields end where the range ends.
    """
    position = start_bytes
    end = blob.size_bytes if end_bytes is None else end_bytes
    while position < end:
        header = blob.read_at(position, min(_HEADER_BYTES, end - position))
        tag, used = _varint(header, 0)
        wire_type = tag & 7
        if tag >> 3 == 0:
            raise Damaged("not a protocol buffer: a field has number 0")
        value, after = _varint(header, used) if wire_type in (_VARINT, _DELIMITED) else (0, used)
        if wire_type == _VARINT:
            start = position + used
            stop = position + after
        elif wire_type == _DELIMITED:
            start = position + after
            stop = start + value
        elif wire_type in _FIXED_BYTES:
            start = position + used
            stop = start + _FIXED_BYTES[wire_type]
        else:
            raise Damaged(f"not a protocol buffer: a field has wire type {wire_type}")
        if stop > end:
            raise Damaged(f"the protocol buffer ends {stop - end} bytes too early")
        yield Field(tag >> 3, wire_type == _DELIMITED, start, stop)
        position = stop


def _varint(data: bytes, start: int) -> tuple[int, int]:
    """The number at `start`, and where it ends."""
    number = 0
    for place, byte in enumerate(data[start : start + _VARINT_BYTES]):
        number |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return number, start + place + 1
    raise Damaged("the protocol buffer ends in the middle of a number")
