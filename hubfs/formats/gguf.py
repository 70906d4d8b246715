"""The headers of GGUF files: what is skipped before the tensors begin.

A file is a magic, a version, two counts, keys with values, a description of each tensor, and the tensors' bytes, which
begin at a multiple of the alignment. Versions 1 to 3; of version 3 some files are big endian.
Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, and what the library `gguf` 0.19 writes and reads.
"""

import struct
from dataclasses import dataclass

from hubfs.blobs.blob import Blob
from hubfs.errors import Damaged

MAX_HEADER_BYTES = 64 << 20
"""A longer header is not read. A vocabulary of 262,000 tokens takes about 16 MB."""

MAX_ITEMS = 1_500_000
"""A header with more keys, texts, nested arrays and tensors together is not read: each takes about a microsecond of the
processor. A vocabulary of 262,000 tokens has 580,000 merges besides."""

MAX_DEPTH = 4
"""Arrays that are nested more deeply are not read; no known model has any."""

_MAGIC = b"GGUF"
_DEFAULT_ALIGNMENT_BYTES = 32
_SIZES_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Of the values by their types: numbers and booleans."""
_UINT32, _TEXT, _ARRAY = 4, 8, 9
_MAX_DIMENSIONS = 8
_MAX_NAME_BYTES = 1 << 16
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Header:
    """How many tensors the file has; their bytes begin at `data_bytes`."""

    version: int
    tensors: int
    alignment_bytes: int
    data_bytes: int


def read_header(blob: Blob) -> Header:
    """The header of a file. Reads it in pieces of 1 MiB, and at most `MAX_HEADER_BYTES`.

    Raises `Damaged` for what is no GGUF, contradicts its own size, or exceeds a bound; and as the blob does.
    """
    reader = _Reader(blob)
    version = _version(reader)
    tensors, keys = reader.count(), reader.count()
    alignment_bytes = _DEFAULT_ALIGNMENT_BYTES
    for _ in range(keys):
        key, kind = reader.name(), reader.number("I")
        if key == b"general.alignment":
            if kind != _UINT32:
                raise _damaged("its alignment is no number")
            alignment_bytes = reader.number("I")
        else:
            reader.skip(kind, 0)
    if alignment_bytes.bit_count() != 1:
        raise _damaged(f"its alignment is {alignment_bytes}")
    furthest_bytes = 0
    for _ in range(tensors):
        reader.name()
        dimensions = reader.number("I")
        if dimensions > _MAX_DIMENSIONS:
            raise _damaged(f"a tensor has {dimensions} dimensions")
        reader.pass_over(dimensions * struct.calcsize(f"={reader.long}") + 4)
        furthest_bytes = max(furthest_bytes, reader.number("Q"))
    data_bytes = -(-reader.offset_bytes // alignment_bytes) * alignment_bytes
    if tensors and data_bytes + furthest_bytes > blob.size_bytes:
        raise _damaged("a tensor lies behind its end")
    return Header(version, tensors, alignment_bytes, data_bytes)


def _version(reader: "_Reader") -> int:
    """Of the file, which says how the reader goes on."""
    if reader.take(4) != _MAGIC:
        raise _damaged("it does not begin with its magic")
    version = reader.number("I")
    if version & 0xFFFF == 0:
        reader.order = ">"
        version = int.from_bytes(version.to_bytes(4, "little"), "big")
    if version not in (1, 2, 3):
        raise _damaged(f"its version is {version}")
    reader.long = "I" if version == 1 else "Q"
    return version


class _Reader:
    """Reads a header from its start on. `order` and `long` say how its numbers are written."""

    def __init__(self, blob: Blob) -> None:
        self._blob = blob
        self._end_bytes = min(blob.size_bytes, MAX_HEADER_BYTES)
        self._piece = b""
        self._piece_bytes = 0  # where the piece begins
        self._items = 0
        self.offset_bytes = 0
        self.order = "<"
        self.long = "Q"

    def take(self, size_bytes: int) -> bytes:
        start = self.pass_over(size_bytes)
        at = start - self._piece_bytes
        if at < 0 or at + size_bytes > len(self._piece):
            self._piece = self._blob.read_at(start, min(_PIECE_BYTES, self._end_bytes - start))
            self._piece_bytes, at = start, 0
        return self._piece[at : at + size_bytes]

    def number(self, code: str) -> int:
        size_bytes = struct.calcsize(f"={code}")
        return int.from_bytes(self.take(size_bytes), "big" if self.order == ">" else "little")

    def count(self) -> int:
        """How many items follow."""
        count = self.number(self.long)
        self._items += count
        if self._items > MAX_ITEMS:
            raise _damaged(f"it has {self._items} keys, texts and tensors, or more: at most {MAX_ITEMS} are read")
        return count

    def name(self) -> bytes:
        size_bytes = self.number(self.long)
        if size_bytes > _MAX_NAME_BYTES:
            raise _damaged(f"a name has {size_bytes} bytes")
        return self.take(size_bytes)

    def skip(self, kind: int, depth: int) -> None:
        """Passes over a value of that type."""
        size_bytes = _SIZES_BYTES.get(kind)
        if size_bytes is not None:
            self.pass_over(size_bytes)
        elif kind == _TEXT:
            self.pass_over(self.number(self.long))
        elif kind == _ARRAY and depth < MAX_DEPTH:
            inner = self.number("I")
            if inner in _SIZES_BYTES:
                self.pass_over(self.number(self.long) * _SIZES_BYTES[inner])
                return
            for _ in range(self.count()):
                self.skip(inner, depth + 1)
        else:
            raise _damaged(f"it has a value of type {kind} in {depth} arrays")

    def pass_over(self, size_bytes: int) -> int:
        """Returns where these bytes begin."""
        start = self.offset_bytes
        self.offset_bytes = start + size_bytes
        if self.offset_bytes > self._end_bytes:
            raise _damaged(f"its header does not end within {self._end_bytes} bytes")
        return start


def _damaged(why: str) -> Damaged:
    return Damaged(f"this is no GGUF file: {why}")
