"""The block map: which blocks of a data file are there, and their checksums.

A header, then one record per block at a fixed place. The record is the commit: it is written after the block's bytes,
and it carries a checksum of its own, so a torn or zero record reads as "not there". The file that it is of is part of
that checksum (`seed`): a map that ends up under another name, or another model, says nothing there.
"""

import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

from hubfs.blobs.checksums import crc32c
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey

_HEADER = struct.pack("<8sII", b"HUBFSMAP", 2, BLOCK_SIZE_BYTES)
_RECORD = struct.Struct("<III")  # length of the block, its crc32c, crc32c over (seed, index, length, crc32c)
_CHECKED = struct.Struct("<IQII")

MOST_BYTES = 64 << 20
"""No map is larger: it would be of a file of 5 TB."""


class Record(NamedTuple):
    """A block that is there: its number in the file, its length, and its checksum."""

    block_index: int
    length_bytes: int
    crc32c: int


def seed_of(key: CacheKey) -> int:
    """What stands for the file in the records of its map."""
    return crc32c(os.fsencode(f"{key.model}\0{key.path}"))


def _record(seed: int, index: int, length_bytes: int, checksum: int) -> bytes:
    return _RECORD.pack(length_bytes, checksum, crc32c(_CHECKED.pack(seed, index, length_bytes, checksum)))


def _read(raw: bytes, seed: int, index: int) -> tuple[int, int] | None:
    length_bytes, checksum, _ = _RECORD.unpack(raw)
    # No block is empty, so neither is a record of zeros one.
    is_one = 0 < length_bytes <= BLOCK_SIZE_BYTES and raw == _record(seed, index, length_bytes, checksum)
    return (length_bytes, checksum) if is_one else None


def _place(index: int) -> int:
    return len(_HEADER) + index * _RECORD.size


def has_header(fd: int) -> bool:
    """Whether this is a block map, of this format and block size. May raise OSError."""
    return os.pread(fd, len(_HEADER), 0) == _HEADER


def read_record(fd: int, seed: int, index: int) -> tuple[int, int] | None:
    """The length in bytes and the crc32c of block `index`, or None if the map does not have it. May raise OSError."""
    if not has_header(fd):
        return None
    raw = os.pread(fd, _RECORD.size, _place(index))
    if len(raw) < _RECORD.size:
        return None
    return _read(raw, seed, index)


def write_record(fd: int, seed: int, index: int, length_bytes: int, checksum: int) -> None:
    """Commits block `index`. A map of another format or block size is begun anew. May raise OSError."""
    header = os.pread(fd, len(_HEADER), 0)
    if header != _HEADER:
        if header:  # an empty map is not truncated: another writer may have begun it just now
            os.ftruncate(fd, 0)
        os.pwrite(fd, _HEADER, 0)
    os.pwrite(fd, _record(seed, index, length_bytes, checksum), _place(index))


def clear_record(fd: int, index: int) -> None:
    """Takes block `index` back. May raise OSError."""
    os.pwrite(fd, bytes(_RECORD.size), _place(index))


def records(data: bytes, seed: int) -> Iterator[Record]:
    """The blocks that a whole map, given as its file's content, commits to, ascending."""
    if not data.startswith(_HEADER):
        return
    body = memoryview(data)[len(_HEADER) :]
    for index in range(len(body) // _RECORD.size):
        raw = bytes(body[index * _RECORD.size : (index + 1) * _RECORD.size])
        found = _read(raw, seed, index)
        if found is not None:
            yield Record(index, *found)
