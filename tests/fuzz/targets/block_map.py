"""The block map: whatever a disk made of the file, a record is one that was written for its place, or none."""

import os

from hubfs.cache.block_cache import CacheKey
from hubfs.cache.disk import blocks
from hubfs.cache.disk.blocks import clear_record, has_header, read_record, seed_of, write_record

MAX_BYTES = 1024  # every record is read twice
WORDS = (b"HUBFSMAP", blocks._HEADER, bytes(12))
SEED = seed_of(CacheKey("hub.example/google/spice/2@0123", "saved_model.pb"))


def fuzz(data: bytes) -> None:
    descriptor = os.memfd_create("map")
    try:
        os.write(descriptor, data)
        count = len(data) // blocks._RECORD.size + 2
        records = [read_record(descriptor, SEED, index) for index in range(count)]
        listed = {record.block_index: (record.length_bytes, record.crc32c) for record in blocks.records(data, SEED)}
        assert listed == {index: record for index, record in enumerate(records) if record}
        assert any(records) <= has_header(descriptor)
        # It heals: what is written now is read, and what was there before stays.
        write_record(descriptor, SEED, count // 2, 1000, 77)
        assert read_record(descriptor, SEED, count // 2) == (1000, 77)
        for index, record in enumerate(records):
            assert index == count // 2 or read_record(descriptor, SEED, index) == record
        clear_record(descriptor, count // 2)
        assert read_record(descriptor, SEED, count // 2) is None
    finally:
        os.close(descriptor)


def repair(data: bytes) -> bytes:
    """With the header, and every second record with a right checksum."""
    whole = bytearray(blocks._HEADER + data[len(blocks._HEADER) :])
    for index in range(0, (len(whole) - len(blocks._HEADER)) // blocks._RECORD.size, 2):
        place = blocks._place(index)
        length_bytes, checksum, _ = blocks._RECORD.unpack_from(whole, place)
        whole[place : place + blocks._RECORD.size] = blocks._record(SEED, index, length_bytes, checksum)
    return bytes(whole)
