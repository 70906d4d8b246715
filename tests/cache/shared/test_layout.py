import json
from typing import Any

import pytest

from hubfs.blobs.checksums import crc32c
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey
from hubfs.cache.shared.layout import (
    HEADER_BYTES,
    RUN_BLOCKS,
    Place,
    decode,
    encode,
    parse_run_lease_name,
    parse_run_name,
    run_lease_name,
    run_name,
)
from hubfs.errors import Damaged

KEY = CacheKey("hub.example/google/spice/2@0123", "variables/variables.data-00000-of-00001")


def made_of(table: object, data: bytes = b"") -> bytes:
    """An object whose header is right but for the blocks it names."""
    said = json.dumps({"model": KEY.model, "path": KEY.path, "blocks": table}).encode()
    return (b"%08x %s" % (crc32c(said), said)).ljust(HEADER_BYTES - 1) + b"\n" + data


def block(index: Any, data: bytes = b"data") -> list[Any]:
    return [index, len(data), crc32c(data)]


def test_what_was_written_is_read():
    blocks = {0: b"a" * BLOCK_SIZE_BYTES, 3: b"last"}
    data = encode(KEY, blocks)
    assert data is not None
    assert decode(KEY, data) == blocks
    assert decode(KEY, made_of([block(0)], b"data")) == {0: b"data"}


@pytest.mark.parametrize(
    ("table", "data"),
    [
        ([], b""),
        ([block(-1)], b"data"),
        ([block(True)], b"data"),
        ([block(0.0)], b"data"),
        ([block("0")], b"data"),
        ([block(0, b"")], b""),
        ([[0, -4, crc32c(b"data")]], b"data"),
        ([block(0, bytes(BLOCK_SIZE_BYTES + 1))], bytes(BLOCK_SIZE_BYTES + 1)),
        ([block(0), block(0)], b"datadata"),
        ([block(0), block(RUN_BLOCKS)], b"datadata"),
        ([block(1e999)], b"data"),
        ([None], b""),
        (None, b""),
        ([block(0)], b"data and more"),
    ],
)
def test_blocks_that_no_writer_makes_are_damaged_though_every_checksum_is_right(table: object, data: bytes):
    with pytest.raises(Damaged):
        decode(KEY, made_of(table, data))


def test_a_header_nested_without_end_is_damaged():
    said = b"[" * (HEADER_BYTES - 10)
    with pytest.raises(Damaged):
        decode(KEY, (b"%08x %s" % (crc32c(said), said)).ljust(HEADER_BYTES - 1) + b"\n")


@pytest.mark.parametrize("number", [0, 7, 999_999, 2_097_151])
def test_a_lease_of_a_run_is_no_object_of_blocks_and_the_other_way_round(number: int):
    """Daemons that know no leases among the blocks leave them aside: their parser of names is the same one."""
    place = Place("0123456789abcdef01234567", number)
    lease, run = run_lease_name(KEY.model, place), run_name(KEY.model, place, 0xFF)
    assert parse_run_lease_name(KEY.model, lease) == place
    assert parse_run_name(KEY.model, run) == (place, 0xFF)
    assert parse_run_name(KEY.model, lease) is None
    assert parse_run_lease_name(KEY.model, run) is None
