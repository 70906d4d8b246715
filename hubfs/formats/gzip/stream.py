"""gzip: compressed chunks → output chunks, every checksum verified.

ISA-L inflates twice as fast as zlib and reports truncation, corruption and wrong checksums. Its own reader of gzip
headers, however, fails when a header is cut between two calls (it rejects good header checksums, and takes header
fields for data), so the header is read here, and ISA-L is given what follows: deflate data and the trailer.
"""

import zlib
from collections.abc import Iterable, Iterator

from isal.igzip_lib import DECOMP_GZIP_NO_HDR_VER, IgzipDecompressor, IsalError

from hubfs.errors import Damaged
from hubfs.formats.byte_reader import ByteReader, Bytes

CHUNK_SIZE_BYTES = 1 << 20
"""No output chunk is larger, however well its input was compressed."""

_MAGIC = b"\x1f\x8b"
_DEFLATE = 8
_HEADER_CHECKSUM, _EXTRA, _NAME, _COMMENT, _RESERVED = 0x02, 0x04, 0x08, 0x10, 0xE0
_MAX_HEADER_BYTES = 1 << 18

# ISA-L copies what it was fed and did not need. Starting small and doubling keeps that linear for an archive of many
# tiny members, and hands out the first bytes of a model early.
_FIRST_FEED_BYTES, _MAX_FEED_BYTES = 1 << 12, 1 << 19


def inflate(chunks: Iterable[Bytes]) -> Iterator[Bytes]:
    """Yields what `chunks` inflate to, in chunks of at most 1 MiB, as soon as their input is there.

    Input that does not begin as gzip does passes through unchanged. Several gzip members are one output; zeros may
    follow them. Raises `Damaged` for input that is empty, ends early, is corrupt, or has a wrong checksum or length;
    output that was yielded before is unverified until the end was reached. Errors of `chunks` pass through.

    Messages give the reason; the caller, who knows the URL, adds it.
    """
    reader = ByteReader(chunks)
    magic = reader.exactly(len(_MAGIC))
    if not magic:
        raise Damaged("the archive is empty")
    if not _MAGIC.startswith(magic):
        yield magic
        while chunk := reader.at_most(CHUNK_SIZE_BYTES):
            yield chunk
        return
    while magic:
        if not _MAGIC.startswith(magic):
            raise Damaged(
                f"the gzip data is followed by something else, from byte {reader.offset_bytes - len(magic)} on"
            )
        _pass_header(reader)
        yield from _inflate_member(reader)
        reader.pass_zeros()
        magic = reader.exactly(len(_MAGIC))


def _pass_header(reader: ByteReader) -> None:
    """Reads the header from behind the magic to the deflate data (RFC 1952, section 2.3)."""
    header = bytearray(_MAGIC)
    method, flags = _take(reader, 8, header)[:2]
    if method != _DEFLATE:
        raise Damaged(f"the gzip header names compression method {method}, which does not exist")
    if flags & _RESERVED:
        raise Damaged(f"the gzip header has reserved flags set ({flags:#04x})")
    if flags & _EXTRA:
        _take(reader, int.from_bytes(_take(reader, 2, header), "little"), header)
    for text in (_NAME, _COMMENT):
        while flags & text and _take(reader, 1, header) != b"\0":
            pass
    checksum = zlib.crc32(header) & 0xFFFF
    if flags & _HEADER_CHECKSUM and _take(reader, 2, header) != checksum.to_bytes(2, "little"):
        raise Damaged("the gzip header is corrupt: wrong header checksum")


def _take(reader: ByteReader, size_bytes: int, header: bytearray) -> bytes:
    """Moves bytes from `reader` to the end of `header`, and returns them."""
    data = reader.exactly(size_bytes)
    header += data
    if len(data) < size_bytes:
        raise _ended_early(reader)
    if len(header) > _MAX_HEADER_BYTES:
        raise Damaged(f"the gzip header does not end within {_MAX_HEADER_BYTES} bytes")
    return data


def _inflate_member(reader: ByteReader) -> Iterator[bytes]:
    """Yields the output of one gzip member and verifies its CRC and length."""
    member = IgzipDecompressor(flag=DECOMP_GZIP_NO_HDR_VER)
    feed_bytes = _FIRST_FEED_BYTES
    while not member.eof:
        compressed: Bytes = b""
        if member.needs_input:
            compressed = reader.at_most(feed_bytes)
            feed_bytes = min(2 * feed_bytes, _MAX_FEED_BYTES)
            if not compressed:
                raise _ended_early(reader)
        try:
            output = member.decompress(compressed, CHUNK_SIZE_BYTES)
        except IsalError as error:  # type: ignore[misc]  # its stub declares the class as an instance
            raise Damaged(f"the gzip data is corrupt before byte {reader.offset_bytes}: {error}") from error
        if output:
            yield output
    reader.give_back(len(member.unused_data))


def _ended_early(reader: ByteReader) -> Damaged:
    return Damaged(f"the gzip data ended early, after {reader.offset_bytes} bytes")
