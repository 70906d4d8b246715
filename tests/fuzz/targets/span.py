"""A span: first bit, size of the output, size of the window, the window, deflate data."""

import struct
import zlib

from hubfs.errors import Damaged
from hubfs.formats.gzip.span import WINDOW_BYTES, inflate_span, inflate_start

_HEAD = struct.Struct("<BHH")
MAX_BYTES = 8192


def fuzz(data: bytes) -> None:
    if len(data) < _HEAD.size:
        return
    first_bit, size_bytes, window_bytes = _HEAD.unpack_from(data)
    window = data[_HEAD.size :][: min(window_bytes, WINDOW_BYTES)]
    compressed = data[_HEAD.size + len(window) :]
    _first_bytes(compressed, size_bytes)
    try:
        output = inflate_span(compressed, first_bit % 8, window, size_bytes)
    except Damaged:
        return
    assert len(output) == size_bytes
    if first_bit % 8 == 0 and size_bytes:
        known = _as_zlib_sees_it(compressed, window, size_bytes)
        assert known is None or known == output


def _first_bytes(compressed: bytes, size_bytes: int) -> None:
    try:
        assert len(inflate_start(compressed, size_bytes)) == size_bytes
    except Damaged:
        return


def _as_zlib_sees_it(compressed: bytes, window: bytes, size_bytes: int) -> bytes | None:
    """None where zlib does not come so far in the first member."""
    member = zlib.decompressobj(-15, zdict=window) if window else zlib.decompressobj(-15)
    try:
        output = member.decompress(compressed, size_bytes)
    except zlib.error:
        return None
    return output if len(output) == size_bytes else None
