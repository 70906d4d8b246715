"""What objects of the shared store are called, and how blocks lie in them.

blocks/<model>/<file>/<run>.<mask>    up to eight neighbouring blocks of a file; `mask` says which of the run (hex)
blocks/<model>/<file>/<run>.lease     who is fetching blocks of the run just now: one listing tells of both
indexes/<model>.json                  the model's entries; there only when they are known and verified
indexes/<model>.hubfs-index           of an archive: where inflating may start (checkpoints)
leases/<model>/pass                   who is fetching an archive just now

`<model>` is `<hub>/<handle>@<identity>`. A name says exactly which bytes are in an object, so objects of blocks never
change, and every writer would write the same.
"""

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import NamedTuple

from hubfs.blobs.checksums import crc32c
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey
from hubfs.errors import Damaged

RUN_BLOCKS = 8
"""8 MiB are worth a request: the round trip of 20 to 50 ms is a small part of it."""

_MAX_INDEX = (1 << 24) - 1  # of the last block of a file of 16 TiB, and none is larger

_RUN_DIGITS = 7  # of the number of its last run

HEADER_BYTES = 4096
"""Of a fixed size: blocks begin at the same place in every object."""

MOST_BYTES = HEADER_BYTES + RUN_BLOCKS * BLOCK_SIZE_BYTES
"""No object of blocks is larger."""


class Place(NamedTuple):
    """Where a run of blocks belongs: its file (by a hash of the path), and the how-manieth run of the file it is."""

    file: str
    number: int


def place_of(key: CacheKey, index: int) -> Place:
    """The run that block `index` of a file is in."""
    return Place(blake2b(key.path.encode(errors="surrogateescape"), digest_size=12).hexdigest(), index // RUN_BLOCKS)


def bit_of(index: int) -> int:
    """The bit of block `index` in the mask of its run."""
    return 1 << index % RUN_BLOCKS


def mask_of(blocks: Mapping[int, bytes]) -> int:
    """The mask of these blocks of one run."""
    return sum(bit_of(index) for index in blocks)


def is_whole(blocks: Mapping[int, bytes]) -> bool:
    """Whether a run can have no more blocks: it is full, or full up to the last, short block of its file."""
    mask = mask_of(blocks)
    return mask & (mask + 1) == 0 and (len(blocks) == RUN_BLOCKS or len(blocks[max(blocks)]) < BLOCK_SIZE_BYTES)


def blocks_folder(model: str) -> str:
    """The prefix of all blocks of a model."""
    return f"blocks/{model}/"


def run_name(model: str, place: Place, mask: int) -> str:
    """The name of an object of blocks."""
    return f"{blocks_folder(model)}{place.file}/{place.number:06d}.{mask:02x}"


def parse_run_name(model: str, name: str) -> tuple[Place, int] | None:
    """What `run_name` said; None for what it did not say."""
    file, _, rest = name.removeprefix(blocks_folder(model)).partition("/")
    number, _, mask = rest.partition(".")
    try:
        parsed = Place(file, int(number)), int(mask, 16)
    except ValueError:
        return None
    is_one = 0 <= parsed[0].number <= _MAX_INDEX // RUN_BLOCKS and 0 < parsed[1] < 1 << RUN_BLOCKS
    return parsed if is_one and run_name(model, *parsed) == name else None


def run_lease_name(model: str, place: Place) -> str:
    """The name of the lease of a run. It lies among the blocks, where older daemons leave it aside."""
    return f"{blocks_folder(model)}{place.file}/{place.number:06d}.lease"


def parse_run_lease_name(model: str, name: str) -> Place | None:
    """What `run_lease_name` said; None for what it did not say."""
    file, _, rest = name.removeprefix(blocks_folder(model)).partition("/")
    number = rest.removesuffix(".lease")
    if not (number.isascii() and number.isdecimal() and len(number) <= _RUN_DIGITS):
        return None
    place = Place(file, int(number))
    return place if run_lease_name(model, place) == name else None


def part_of(place: Place) -> str:
    """How the names of a hundred neighbouring runs begin, below the folder of the model."""
    return f"{place.file}/{place.number:06d}"[:-2]


def index_name(model: str) -> str:
    """The name of a model's index."""
    return f"indexes/{model}.json"


def archive_index_name(model: str) -> str:
    """The name of the index file of a model's archive."""
    return f"indexes/{model}.hubfs-index"


def pass_lease_name(model: str) -> str:
    """The name of the lease of a pass over the archive of a model."""
    return f"leases/{model}/pass"


def encode(key: CacheKey, blocks: Mapping[int, bytes]) -> bytes | None:
    """An object of blocks: a header that says whose they are, with checksums, then the blocks. None if it has no room.

    The header is one line: its own crc32c, JSON, and spaces.
    """
    table = [[index, len(block), crc32c(block)] for index, block in sorted(blocks.items())]
    said = json.dumps({"model": key.model, "path": key.path, "blocks": table}).encode()
    header = b"%08x %s" % (crc32c(said), said)
    if len(header) >= HEADER_BYTES:
        return None  # a path of kilobytes
    return b"".join([header.ljust(HEADER_BYTES - 1), b"\n", *(block for _, block in sorted(blocks.items()))])


def decode(key: CacheKey, data: bytes) -> dict[int, bytes]:
    """The blocks of an object, by index, each verified. Raises `Damaged` if anything is not as `encode` made it."""
    try:
        checksum, _, said = data[:HEADER_BYTES].partition(b" ")
        said = said.rstrip()
        if int(checksum, 16) != crc32c(said):
            raise Damaged("its header is corrupt")
        header = json.loads(said)
        if (header["model"], header["path"]) != key:
            raise Damaged(f"it holds blocks of {header['path']!r} of {header['model']}")
        blocks = {}
        offset_bytes = HEADER_BYTES
        for index, size_bytes, expected in header["blocks"]:
            if type(index) is not int or not 0 <= index <= _MAX_INDEX or not 0 < size_bytes <= BLOCK_SIZE_BYTES:
                raise Damaged("its header names an impossible block")
            block = data[offset_bytes : offset_bytes + size_bytes]
            if len(block) != size_bytes or crc32c(block) != expected:
                raise Damaged(f"block {index} is corrupt")
            blocks[index] = block
            offset_bytes += size_bytes
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged("it is no object of blocks") from error
    if len({index // RUN_BLOCKS for index in blocks}) != 1 or len(blocks) != len(header["blocks"]):
        raise Damaged("its blocks are not those of one run")
    if offset_bytes != len(data):
        raise Damaged("it is longer than its header says")
    return blocks


def verified(key: CacheKey, name: str, data: bytes | None) -> dict[int, bytes]:
    """The blocks of an object. Raises `Damaged` if they are not those of its name."""
    if data is None:
        raise Damaged("it is gone")
    blocks = decode(key, data)
    if run_name(key.model, place_of(key, min(blocks, default=0)), mask_of(blocks)) != name:
        raise Damaged("it holds other blocks than its name says")
    return blocks
