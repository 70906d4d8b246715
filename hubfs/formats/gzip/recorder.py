"""Makes the index of a gzip file while the file streams by."""

from collections import deque
from dataclasses import dataclass

from google_crc32c import extend

from hubfs.formats.byte_reader import Bytes
from hubfs.formats.gzip.index import Checkpoint, GzipIndex, are_readable, pack_window
from hubfs.formats.gzip.span import WINDOW_BYTES

SPACING_BYTES = 4 << 20
"""Checkpoints are so far apart in the compressed file: windows then cost at most 0.8 % of it."""

SPACING_OUTPUT_BYTES = 16 << 20
"""... or so far apart in the output, where it was compressed well: a span is decoded whole, whatever is read of it."""

LARGEST_SINGLE_BYTES = 8 << 20
"""A file no larger than this is one span if no checkpoint came."""

_LAG_BYTES = 4 << 20
"""So much output is kept, by reference, because checkpoints may come after the output at their place."""


@dataclass(frozen=True)
class _Announced:
    bit_offset: int
    output_offset_bytes: int
    needs_window: bool


class IndexRecorder:
    """Takes the output of a gzip file in order, and checkpoints, of which it keeps as many as are needed.

    A checkpoint may come before the output at its place, or up to 4 MiB after it. Keeps at most those 4 MiB, by
    reference, one window, and what goes into the index. For one thread.
    """

    def __init__(self) -> None:
        self._checkpoints: list[Checkpoint] = []
        self._announced: deque[_Announced] = deque()
        self._last = self._begun = _Announced(0, 0, needs_window=False)
        self._packed_window = b""  # of the span that has begun
        self._crc32c = 0
        self._kept: deque[Bytes] = deque()
        self._kept_bytes = 0
        self._summed_bytes = 0
        self._before = b""  # the last 32 KiB that were summed

    def output(self, chunk: Bytes) -> None:
        """The next bytes of output; their owner changes them no more."""
        self._kept.append(chunk)
        self._kept_bytes += len(chunk)
        while self._kept_bytes - len(self._kept[0]) > _LAG_BYTES:
            self._sum(self._kept.popleft())

    def checkpoint(self, bit_offset: int, output_offset_bytes: int, *, needs_window: bool = True) -> None:
        """A deflate block begins at `bit_offset` of the file, and its output at `output_offset_bytes`.

        `needs_window` is False where nothing refers back beyond this place. A checkpoint that is not needed, out of
        order, or too late is passed over: its span becomes a part of the one before.
        """
        far = (
            bit_offset - self._last.bit_offset >= 8 * SPACING_BYTES
            or output_offset_bytes - self._last.output_offset_bytes >= SPACING_OUTPUT_BYTES
        )
        ascends = bit_offset > self._last.bit_offset and output_offset_bytes > self._last.output_offset_bytes
        if far and ascends and output_offset_bytes >= self._summed_bytes:
            self._last = _Announced(bit_offset, output_offset_bytes, needs_window)
            self._announced.append(self._last)

    def finish(self, compressed_size_bytes: int, trailer: bytes) -> GzipIndex | None:
        """The index, once all output came; `trailer` is the last 8 bytes of the file.

        None where reading by spans would not be worth it: too few checkpoints came, too far apart, or too near. Raises
        `Damaged` for a file that could not be one. Nothing may be recorded afterwards.
        """
        while self._kept:
            self._sum(self._kept.popleft())
        self._close_span()
        bits = [*(one.bit_offset for one in self._checkpoints), 8 * compressed_size_bytes]
        outputs = [*(one.output_offset_bytes for one in self._checkpoints), self._summed_bytes]
        readable = are_readable(bits, outputs)
        single = len(self._checkpoints) == 1
        if not readable or (single and compressed_size_bytes > LARGEST_SINGLE_BYTES):
            return None
        return GzipIndex(compressed_size_bytes, self._summed_bytes, trailer, tuple(self._checkpoints))

    def _sum(self, chunk: Bytes) -> None:
        """Takes `chunk` into the checksum, and cuts where a checkpoint is."""
        self._kept_bytes -= len(chunk)
        # One at the very end of the chunk waits for the next: where none comes, the file ends, and so no span begins.
        while self._announced and self._announced[0].output_offset_bytes < self._summed_bytes + len(chunk):
            begun = self._announced.popleft()
            cut = begun.output_offset_bytes - self._summed_bytes
            self._extend(chunk[:cut])
            self._close_span()
            self._begun = begun
            self._packed_window = pack_window(self._before) if begun.needs_window else b""
            chunk = memoryview(chunk)[cut:]
        self._extend(chunk)

    def _extend(self, chunk: Bytes) -> None:
        data = bytes(chunk)  # no copy of bytes
        self._crc32c = extend(self._crc32c, data)
        self._before = data[-WINDOW_BYTES:] if len(data) >= WINDOW_BYTES else (self._before + data)[-WINDOW_BYTES:]
        self._summed_bytes += len(data)

    def _close_span(self) -> None:
        begun = self._begun
        self._checkpoints.append(
            Checkpoint(begun.bit_offset, begun.output_offset_bytes, self._crc32c, self._packed_window)
        )
        self._crc32c = 0
