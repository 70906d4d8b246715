"""The block map: which blocks of a data file are there, and their checksums.

A header, then one record per block at a fixed place. The record is the commit: it is written after the block's bytes,
and it carries a checksum of its own, so a torn or zero record reads as "not there".
"""

import os
import struct

from hubfs.blobs.crc32c import crc32c
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES

_HEADER = struct.pack("<8sII", b"HUBFSMAP", 1, BLOCK_SIZE_BYTES)
_RECORD = struct.Struct("<III")  # length of the block, its crc32c, crc32c over (index, length, crc32c)
_CHECKED = struct.Struct("<QII")


def _record(index: int, length_bytes: int, checksum: int) -> bytes:
    return _RECORD.pack(length_bytes, checksum, crc32c(_CHECKED.pack(index, length_bytes, checksum)))


def _place(index: int) -> int:
    return len(_HEADER) + index * _RECORD.size


def has_header(fd: int) -> bool:
    """Whether this is a block map, of this format and block size. May raise OSError."""
    return os.pread(fd, len(_HEADER), 0) == _HEADER


def read_record(fd: int, index: int, *, header_known: bool = False) -> tuple[int, int] | None:
    """The length in bytes and the crc32c of block `index`, or None if the map does not have it. May raise OSError.

    With `header_known` nobody looks again: a record has a checksum of its own.
    """
    if not header_known and not has_header(fd):
        return None
    raw = os.pread(fd, _RECORD.size, _place(index))
    if len(raw) < _RECORD.size:
        return None
    length_bytes, checksum, _ = _RECORD.unpack(raw)
    # A record of zeros fails here: crc32c of sixteen zero bytes is not zero.
    return (length_bytes, checksum) if raw == _record(index, length_bytes, checksum) else None


def write_record(fd: int, index: int, length_bytes: int, checksum: int) -> None:
    """Commits block `index`. A map of another format or block size is begun anew. May raise OSError."""
    header = os.pread(fd, len(_HEADER), 0)
    if header != _HEADER:
        if header:  # an empty map is not truncated: another writer may have begun it just now
            os.ftruncate(fd, 0)
        os.pwrite(fd, _HEADER, 0)
    os.pwrite(fd, _record(index, length_bytes, checksum), _place(index))


def clear_record(fd: int, index: int) -> None:
    """Takes block `index` back. May raise OSError."""
    os.pwrite(fd, bytes(_RECORD.size), _place(index))


def recorded_bytes(data: bytes) -> int:
    """How many bytes the blocks of a whole map, given as its file's content, sum up to."""
    if not data.startswith(_HEADER):
        return 0
    total_bytes = 0
    body = memoryview(data)[len(_HEADER) :]
    for index in range(len(body) // _RECORD.size):
        raw = bytes(body[index * _RECORD.size : (index + 1) * _RECORD.size])
        length_bytes, checksum, _ = _RECORD.unpack(raw)
        if raw == _record(index, length_bytes, checksum):
            total_bytes += length_bytes
    return total_bytes
