"""Blocks of data files, and the block map of each: which of its blocks are there, and their checksums.

A map is a header, then one record per block at a fixed place. The record is the commit: it is written after the
block's bytes, and it carries a checksum of its own, so a torn or zero record reads as "not there". The file that it is
of is part of that checksum (`seed`): a map that ends up under another name, or another model, says nothing there.
"""

import contextlib
import errno
import logging
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from hubfs.blobs.checksums import crc32c
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey
from hubfs.cache.disk.block_counts import MOST_MAP_BYTES, BlockCounts
from hubfs.cache.disk.files import open_to_read, open_to_write, pwrite_all, read_whole
from hubfs.cache.disk.layout import CacheLayout

_log = logging.getLogger(__name__)

_HEADER = struct.pack("<8sII", b"HUBFSMAP", 2, BLOCK_SIZE_BYTES)
_RECORD = struct.Struct("<III")  # length of the block, its crc32c, crc32c over (seed, index, length, crc32c)
_CHECKED = struct.Struct("<IQII")

_NOT_THE_FILES_FAULT = (errno.EMFILE, errno.ENFILE)
_NOT_TO_BE_WRITTEN = (errno.EROFS, errno.EACCES, errno.EPERM)


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


class Blocks:
    """The blocks of all files in a cache directory. No file stays open between calls.

    Opening a file and its map costs about 25 us a block of 1 MiB (147 us without, 172 us with, page cache warm).
    """

    def __init__(self, layout: CacheLayout) -> None:
        self.layout = layout
        self._counts = BlockCounts(layout, _committed_bytes)

    def records(self, key: CacheKey) -> list[Record]:
        """The blocks of a file that are there, ascending. Raises OSError."""
        try:
            data = read_whole(self.layout.blocks(key), MOST_MAP_BYTES)
        except FileNotFoundError:
            return []
        return [*records(data, seed_of(key))]

    def read(self, key: CacheKey, index: int) -> bytes | None:
        """A block, verified; None if it is not there. One that is corrupt is taken back. Raises OSError."""
        map_fd = _opened_map(self.layout.blocks(key))
        try:
            record = read_record(map_fd, seed_of(key), index)
            if record is None:
                return None
            length_bytes, checksum = record
            block = self._bytes_of(key, index * BLOCK_SIZE_BYTES, length_bytes)
            if len(block) == length_bytes and crc32c(block) == checksum:
                return block
            _log.warning("Block %d of %s in the disk cache is corrupt; it is fetched again", index, key.path)
            with contextlib.suppress(OSError):  # it may be open for reading only
                clear_record(map_fd, index)
            with contextlib.suppress(OSError):
                self.layout.seal(key).unlink()
            self._counts.doubt(key.model)
            return None
        finally:
            os.close(map_fd)

    def _bytes_of(self, key: CacheKey, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes of the data file that can be read; none if that fails for a reason of the file's own.

        Raises OSError for want of descriptors.
        """
        try:
            data_fd = open_to_read(self.layout.data(key))
            try:
                # POSIX_FADV_WILLNEED for the next 4 MiB cost 30 % of the throughput: reads under way do that already.
                return os.pread(data_fd, size_bytes, offset_bytes)
            finally:
                os.close(data_fd)
        except OSError as error:
            if error.errno in _NOT_THE_FILES_FAULT:
                raise
            return b""

    def has(self, key: CacheKey, index: int) -> bool:
        """What the block's record says; its bytes are verified when they are read."""
        try:
            map_fd = open_to_read(self.layout.blocks(key))
        except OSError:
            return False
        try:
            return read_record(map_fd, seed_of(key), index) is not None
        except OSError:
            return False
        finally:
            os.close(map_fd)

    def write(self, key: CacheKey, index: int, block: bytes) -> bool:
        """Keeps a block: data, then record. False if it was there. Raises OSError."""
        count, more_bytes = self._counts.begin(key, index), 0
        try:
            new, more_bytes = self._write(key, index, block)
        finally:
            self._counts.end(count, key, index, more_bytes)
        return new

    def _write(self, key: CacheKey, index: int, block: bytes) -> tuple[bool, int]:
        """Whether the block is new, and how many more bytes there are with it."""
        checksum, seed = crc32c(block), seed_of(key)
        map_fd = open_to_write(self.layout.blocks(key), self.layout.models_root)
        try:
            before = read_record(map_fd, seed, index)
            if before == (len(block), checksum):
                return False, 0
            data_fd = open_to_write(self.layout.data(key), self.layout.models_root)
            try:
                pwrite_all(data_fd, block, index * BLOCK_SIZE_BYTES)
            finally:
                os.close(data_fd)
            write_record(map_fd, seed, index, len(block), checksum)
        finally:
            os.close(map_fd)
        return True, len(block) - (before[0] if before is not None else 0)


def _committed_bytes(data: bytes, key: CacheKey) -> int:
    return sum(record.length_bytes for record in records(data, seed_of(key)))


def _opened_map(path: Path) -> int:
    """For writing, too, so that what turns out to be corrupt can be taken back; not where nothing can be written."""
    try:
        return open_to_read(path, os.O_RDWR)
    except OSError as error:
        if error.errno not in _NOT_TO_BE_WRITTEN:
            raise
        return open_to_read(path)
