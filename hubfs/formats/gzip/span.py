"""A span: the compressed bytes between two checkpoints, inflated alone.

Deflate data begins at any bit of a byte. Shifting a span so that it begins at bit 0 costs 15 ms per 4 MiB with the
interpreter locked, and is wrong: stored blocks are aligned to bytes, and the shift moves them. Here the bytes stay
where they are, and what comes before the first bit is replaced by *empty deflate blocks*, which have no output, and
together as many bits, modulo 8.
"""

from collections.abc import Iterator

from isal.igzip_lib import DECOMP_DEFLATE, IgzipDecompressor, IsalError

from hubfs.errors import Damaged
from hubfs.formats.byte_reader import ByteReader, Bytes
from hubfs.formats.gzip.stream import inflate

WINDOW_BYTES = 1 << 15
"""How far back deflate data refers."""

_MAX_HIST_BITS = 15
_TRAILER_BYTES = 8
_CHUNK_BYTES = 1 << 20

# Not the last block (0), fixed codes (01), end of block (seven zeros); the lowest bit comes first.
_EMPTY_FIXED, _EMPTY_FIXED_BITS = 0b0000000_01_0, 10

# Fixed blocks leave the odd numbers of bits out; this dynamic block has 91. Field by field, the first at the right:
# end of block (code 1); lengths of the distance code 0 (1), of end of block (1) and of the literal 255 (1), which makes
# the code complete; 255 zeros as runs (code 1) of 117 and 138; the lengths of the code of lengths, 1 for its symbols
# "1" and "run of zeros", 0 for the 16 others; how many of these there are (18 - 4); one distance code (0); 257 literal
# codes (0); dynamic codes (10); not the last block (0).
_EMPTY_DYNAMIC = (
    0b1_000_1101010_1_1111111_1_001_000000000000000000000000000000000000000000001_000000_1110_00000_00000_10_0
)
_EMPTY_DYNAMIC_BITS = 91


def _empty_blocks(first_bit: int) -> tuple[int, int]:
    """The bits of empty blocks, and their number, which is `first_bit` modulo 8."""
    blocks, bits = (_EMPTY_DYNAMIC, _EMPTY_DYNAMIC_BITS) if first_bit % 2 else (0, 0)
    while bits % 8 != first_bit:
        blocks |= _EMPTY_FIXED << bits
        bits += _EMPTY_FIXED_BITS
    return blocks, bits


_EMPTY_BLOCKS = tuple(_empty_blocks(first_bit) for first_bit in range(8))


def inflate_start(compressed: Bytes, size_bytes: int) -> bytes:
    """The first `size_bytes` bytes of the output of a gzip file that begins with `compressed`.

    Raises `Damaged` when they are not there.
    """
    return _joined(inflate([compressed]), size_bytes)


def inflate_span(compressed: Bytes, first_bit: int, window: bytes, size_bytes: int) -> bytes:
    """The `size_bytes` bytes of output that begin with the deflate block at bit `first_bit` of the first byte.

    `window` is the output before it, the last 32 KiB of it or all there is. `compressed` goes at least as far as that
    output needs, over any number of gzip members. Raises `Damaged` for what cannot be inflated to so many bytes.
    """
    return _joined(_outputs(memoryview(compressed), first_bit, window, size_bytes), size_bytes)


def _outputs(compressed: memoryview, first_bit: int, window: bytes, size_bytes: int) -> Iterator[Bytes]:
    """What `compressed` inflates to, and nothing past `size_bytes` of the first gzip member."""
    blocks, bits = _EMPTY_BLOCKS[first_bit]
    first = (compressed[0] if compressed else 0) >> first_bit << bits
    unused: list[Bytes] = [(blocks | first).to_bytes(bits // 8 + 1, "little"), compressed[1:]]
    member = IgzipDecompressor(DECOMP_DEFLATE, _MAX_HIST_BITS, window)
    while unused and not member.eof:
        try:
            output = member.decompress(unused.pop(0), size_bytes)
        except IsalError as error:  # type: ignore[misc]  # its stub declares the class as an instance
            raise Damaged(f"the gzip data of a span is corrupt: {error}") from error
        size_bytes -= len(output)
        yield output
    reader = ByteReader([member.unused_data, *unused])
    reader.exactly(_TRAILER_BYTES)
    reader.pass_zeros()
    yield from inflate(iter(lambda: reader.at_most(_CHUNK_BYTES), b""))


def _joined(outputs: Iterator[Bytes], size_bytes: int) -> bytes:
    """The first `size_bytes` of `outputs`, of which no more is asked for. Raises `Damaged` if there are fewer."""
    parts: list[Bytes] = []
    missing_bytes = size_bytes
    while missing_bytes > 0:
        output = next(outputs, None)
        if output is None:
            raise Damaged(f"the gzip data of a span ended {missing_bytes} bytes early")
        parts.append(output if len(output) <= missing_bytes else output[:missing_bytes])
        missing_bytes -= len(parts[-1])
    return b"".join(part for part in parts if part)  # no copy of one that is bytes
