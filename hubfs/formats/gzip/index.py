"""Where inflating a gzip file may start, so that any range of its output costs the spans it lies in."""

import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from isal import isal_zlib

from hubfs.errors import Damaged
from hubfs.formats.gzip.span import WINDOW_BYTES
from hubfs.formats.sealed import seal, unseal

TRAILER_BYTES = 8
"""The end of a gzip file: CRC and length of its last member, which tell it from other files of its size."""

MAX_SPAN_OUTPUT_BYTES = 64 << 20
"""A span is decoded in memory: an index with a larger one is not made, and not taken."""

_MAX_SPAN_BYTES, _MAX_SPAN_RATIO = 16 << 20, 2
"""... nor one of more compressed bytes than these and twice its output: it is fetched into memory, too, and a host may
publish an index of a huge archive that says of all of it that it inflates to nothing."""

_MOST_SPANS, _THEIR_OUTPUT_BYTES = 64, 1 << 20
"""... nor one with more spans than these in so much output: each costs a request, and any byte of a model may be asked
for. What is recorded is 4 MiB apart or more."""

_MAGIC, _VERSION = b"hubfsGZI", 1
_WHAT = "an index of gzip data"
_FILE = struct.Struct("<QQ8sI")  # compressed size, output size, trailer, how many checkpoints
_CHECKPOINT = struct.Struct("<QQIH")  # bit offset, output offset, crc32c, size of the packed window
_MAX_CHECKPOINTS = 1 << 17  # 512 GiB, 4 MiB apart
_MAX_COMPRESSED_BYTES, _MAX_OUTPUT_BYTES = 1 << 56, 1 << 60
_RAW_DEFLATE = -15


@dataclass(frozen=True)
class Checkpoint:
    """Where inflating may start: at the deflate block at `bit_offset` of the file, whose output is at `output_offset`.

    The first one of a file is the start of the file, where a gzip header is. `crc32c` is of the output from here to
    the next checkpoint. The window, the output before this place, is kept deflated.
    """

    bit_offset: int
    output_offset_bytes: int
    crc32c: int
    packed_window: bytes = field(repr=False, default=b"")

    def window(self) -> bytes:
        """The output before this place that the span needs, at most 32 KiB. Raises `Damaged` for what is none."""
        return unpack_window(self.packed_window)


@dataclass(frozen=True)
class Span:
    """Bytes `start_bytes` to `end_bytes` of the file: the output from `output_start_bytes` to `output_end_bytes`.

    The first deflate block begins at bit `first_bit` of the first byte. The last byte may be the next span's first.
    """

    checkpoint: Checkpoint = field(repr=False)
    start_bytes: int
    end_bytes: int
    output_start_bytes: int
    output_end_bytes: int

    @property
    def first_bit(self) -> int:
        """Where in the first byte the span begins: 0 to 7."""
        return self.checkpoint.bit_offset % 8

    @property
    def output_bytes(self) -> int:
        """How many bytes the span inflates to."""
        return self.output_end_bytes - self.output_start_bytes


@dataclass(frozen=True)
class GzipIndex:
    """The checkpoints of a gzip file of `compressed_size_bytes`, in order, the first at its start.

    `trailer` is the last 8 bytes of the file. Raises `Damaged` for what no gzip file could have.
    """

    compressed_size_bytes: int
    output_size_bytes: int
    trailer: bytes
    checkpoints: tuple[Checkpoint, ...] = field(repr=False)

    def __post_init__(self) -> None:
        first = self.checkpoints[0] if self.checkpoints else None
        if (
            first is None
            or (first.bit_offset, first.output_offset_bytes) != (0, 0)
            or len(self.trailer) != TRAILER_BYTES
            or not TRAILER_BYTES < self.compressed_size_bytes <= _MAX_COMPRESSED_BYTES
            or not 0 <= self.output_size_bytes <= _MAX_OUTPUT_BYTES
        ):
            raise Damaged("an index of gzip data contradicts itself: it does not begin or end as a gzip file does")
        bits = [*(checkpoint.bit_offset for checkpoint in self.checkpoints), self.compressed_size_bytes * 8]
        outputs = [*(checkpoint.output_offset_bytes for checkpoint in self.checkpoints), self.output_size_bytes]
        if not _ascends(bits) or not (_ascends(outputs) or outputs == [0, 0]) or not are_readable(bits, outputs):
            raise Damaged(
                "an index of gzip data contradicts itself: its checkpoints are not in order, too far apart, or too near"
            )

    def __len__(self) -> int:
        """How many spans there are."""
        return len(self.checkpoints)

    def span(self, number: int) -> Span:
        """The span that begins at checkpoint `number`."""
        here = self.checkpoints[number]
        end_bytes, output_end_bytes = self.compressed_size_bytes, self.output_size_bytes
        if number + 1 < len(self.checkpoints):
            after = self.checkpoints[number + 1]
            end_bytes, output_end_bytes = -(-after.bit_offset // 8), after.output_offset_bytes
        return Span(here, here.bit_offset // 8, end_bytes, here.output_offset_bytes, output_end_bytes)

    def spans_of(self, offset_bytes: int, size_bytes: int) -> range:
        """The numbers of the spans that hold `size_bytes` of output from `offset_bytes` on."""
        end_bytes = min(offset_bytes + size_bytes, self.output_size_bytes)
        if offset_bytes >= end_bytes:
            return range(0)
        return range(self._holding(offset_bytes), self._holding(end_bytes - 1) + 1)

    def _holding(self, output_offset_bytes: int) -> int:
        return bisect_right(self.checkpoints, output_offset_bytes, key=lambda found: found.output_offset_bytes) - 1

    def to_bytes(self) -> bytes:
        """For `from_bytes`: versioned, with a checksum over everything."""
        parts = [
            _FILE.pack(self.compressed_size_bytes, self.output_size_bytes, self.trailer, len(self.checkpoints)),
            *(
                _CHECKPOINT.pack(one.bit_offset, one.output_offset_bytes, one.crc32c, len(one.packed_window))
                + one.packed_window
                for one in self.checkpoints
            ),
        ]
        return seal(_MAGIC, _VERSION, b"".join(parts))

    @classmethod
    def from_bytes(cls, data: bytes) -> "GzipIndex":
        """Raises `Damaged` for anything that `to_bytes` would not have made.

        Takes little more memory than `data` has: windows stay deflated until they are used.
        """
        body = unseal(_MAGIC, _VERSION, data, _WHAT)
        try:
            compressed_size_bytes, output_size_bytes, trailer, count = _FILE.unpack_from(body)
            if count > _MAX_CHECKPOINTS:
                raise Damaged(f"this was {_WHAT}: it claims {count} checkpoints")
            checkpoints, end = [], _FILE.size
            for _ in range(count):
                bit_offset, output_offset_bytes, crc, window_bytes = _CHECKPOINT.unpack_from(body, end)
                start = end + _CHECKPOINT.size
                end = start + window_bytes
                checkpoints.append(Checkpoint(bit_offset, output_offset_bytes, crc, body[start:end]))
        except struct.error as error:
            raise Damaged(f"this was {_WHAT}: it ends early") from error
        if end != len(body):
            raise Damaged(f"this was {_WHAT}: its end is missing, or something follows it")
        return cls(compressed_size_bytes, output_size_bytes, trailer, tuple(checkpoints))


def pack_window(window: bytes) -> bytes:
    """`window` for `Checkpoint`; the empty one as nothing."""
    return isal_zlib.compress(window, 1, _RAW_DEFLATE) if window else b""


def unpack_window(packed: bytes) -> bytes:
    """What was packed. Raises `Damaged` for anything else, or if it would have more than 32 KiB."""
    if not packed:
        return b""
    inflater = isal_zlib.decompressobj(_RAW_DEFLATE)
    try:
        window = inflater.decompress(packed, WINDOW_BYTES + 1)
    except isal_zlib.error as error:  # type: ignore[misc]  # its stub declares the class as an instance
        raise Damaged(f"a window of an index is corrupt: {error}") from error
    if not inflater.eof or len(window) > WINDOW_BYTES:
        raise Damaged("a window of an index is too large, or ends early")
    return window


def are_readable(bits: Sequence[int], outputs: Sequence[int]) -> bool:
    """Whether the spans between these places may be in an index: reading there takes bounded memory and few requests.

    The places are bits of the file and bytes of its output, from its start to its end.
    """
    steps = zip(pairwise(bits), pairwise(outputs), strict=True)
    return all(_is_small(bit_end - bit, end - start) for (bit, bit_end), (start, end) in steps) and all(
        end - start >= _THEIR_OUTPUT_BYTES for start, end in zip(outputs, outputs[_MOST_SPANS:], strict=False)
    )


def _is_small(compressed_bits: int, output_bytes: int) -> bool:
    return (
        output_bytes <= MAX_SPAN_OUTPUT_BYTES
        and compressed_bits <= (_MAX_SPAN_BYTES + _MAX_SPAN_RATIO * output_bytes) * 8
    )


def _ascends(numbers: Sequence[int]) -> bool:
    return all(before < after for before, after in pairwise(numbers))
