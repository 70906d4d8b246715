"""gzip by ISA-L: what it accepts and zlib accepts, too, has the same output; it is given in bounded chunks."""

import zlib

from hubfs.errors import Damaged
from hubfs.formats.gzip.stream import CHUNK_SIZE_BYTES, inflate
from tests.fuzz.cutting import pieces

MAX_BYTES = 8192
WORDS = (b"\x1f\x8b\x08", b"\x1f\x8b\x08\x1e", bytes(8))

_MAX_OUTPUT_BYTES = 32 << 20


def fuzz(data: bytes) -> None:
    output = bytearray()
    try:
        for chunk in inflate(pieces(data)):
            assert len(chunk) <= CHUNK_SIZE_BYTES
            output += chunk
            if len(output) > _MAX_OUTPUT_BYTES:
                return
    except Damaged:
        return
    if not data.startswith(b"\x1f\x8b"):
        assert output == data
        return
    expected = _as_zlib_sees_it(data)
    assert expected is None or output == expected


def _as_zlib_sees_it(data: bytes) -> bytes | None:
    output = b""
    while data:
        member = zlib.decompressobj(31)
        try:
            output += member.decompress(data)
        except zlib.error:
            return None
        if not member.eof:
            return None
        data = member.unused_data.lstrip(b"\0")
    return output


def repair(data: bytes) -> bytes:
    """A right trailer, if there is one member with a plain header."""
    if len(data) < 18 or data[:3] != b"\x1f\x8b\x08" or data[3]:
        return data
    member = zlib.decompressobj(-15)
    try:
        output = member.decompress(data[10:], _MAX_OUTPUT_BYTES)
    except zlib.error:
        return data
    if not member.eof:
        return data
    end = len(data) - len(member.unused_data)
    trailer = zlib.crc32(output).to_bytes(4, "little") + (len(output) & 0xFFFFFFFF).to_bytes(4, "little")
    return data[:end] + trailer + data[end + 8 :]
