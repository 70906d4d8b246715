"""Objects of the shared cache: blocks, as any writer may have left them, and names of objects."""

from hubfs.blobs.checksums import crc32c
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey
from hubfs.cache.shared.layout import (
    HEADER_BYTES,
    RUN_BLOCKS,
    decode,
    encode,
    mask_of,
    parse_run_name,
    place_of,
    run_name,
    verified,
)
from hubfs.errors import Damaged

KEY = CacheKey("hub.example/google/spice/2@0123", "variables/variables.data-00000-of-00001")
MAX_BYTES = 8192
WORDS = (b'"model"', b'"path"', b'"blocks"', b"[[0, 1, 2]]", b"1e999", b"null", b"[" * 60)


def fuzz(data: bytes) -> None:
    _name(data)
    try:
        blocks = decode(KEY, data)
    except Damaged:
        return
    encoded = encode(KEY, blocks)
    assert encoded is not None
    assert decode(KEY, encoded) == blocks
    assert sum(map(len, blocks.values())) == len(data) - HEADER_BYTES
    for index, block in blocks.items():
        assert type(index) is int
        assert index >= 0
        assert 0 < len(block) <= BLOCK_SIZE_BYTES
    place = place_of(KEY, min(blocks, default=0))
    assert blocks, "an object of no blocks"
    assert len({index // RUN_BLOCKS for index in blocks}) == 1, "blocks of two runs"
    assert verified(KEY, run_name(KEY.model, place, mask_of(blocks)), data) == blocks


def _name(data: bytes) -> None:
    name = data[:200].decode(errors="surrogateescape")
    found = parse_run_name(KEY.model, name)
    if found is not None:
        place, mask = found
        assert run_name(KEY.model, place, mask) == name
        assert place.number >= 0
        assert 0 < mask < 1 << RUN_BLOCKS


def repair(data: bytes) -> bytes:
    """A right checksum of the header."""
    said = data[:HEADER_BYTES].partition(b" ")[2].rstrip()
    header = b"%08x %s" % (crc32c(said), said)
    return header[:HEADER_BYTES].ljust(HEADER_BYTES - 1) + b"\n" + data[HEADER_BYTES:]
