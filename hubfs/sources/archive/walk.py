"""One streaming pass over an archive: what comes by, in the order in which it comes by."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES
from hubfs.formats.byte_reader import Bytes
from hubfs.formats.tar.walk import members
from hubfs.sources.archive.index import PlacedEntry, kept_as
from hubfs.sources.source import Entry, EntryKind


@dataclass(frozen=True)
class MemberSeen:
    """A member begins: it exists, its size is known, and where it lies."""

    placed: PlacedEntry


@dataclass(frozen=True)
class BlockSeen:
    """Block `index` of the file at `path`, or of what is kept under that name, was unpacked.

    `offset_bytes` is where the block begins in the tar.
    """

    path: str
    index: int
    block: bytes
    offset_bytes: int


def walk(
    inflated: Iterable[Bytes],
    archive_size_bytes: int | None = None,
    *,
    is_verified: Callable[[], bool] = lambda: False,
) -> Iterator[MemberSeen | BlockSeen]:
    """Unpacks `inflated`, a tar, out of an archive of that size, if it is known. `is_verified`: as for `members`.

    Ends only once the archive was seen to its end: the tar's end marker, and whatever `inflated` verifies at its own.
    Of files with holes there are blocks of what is stored. Raises `Damaged`, and whatever `inflated` raises.
    """
    for member in members(inflated, archive_size_bytes, is_verified=is_verified):
        kind = EntryKind.DIRECTORY if member.is_directory else EntryKind.FILE
        kept = "" if member.is_directory else kept_as(member.path, member.offset_bytes, replaces=False)
        entry = Entry(member.path, kind, member.size_bytes, member.sparse, kept)
        yield MemberSeen(PlacedEntry(entry, member.offset_bytes))
        offset_bytes = member.offset_bytes
        for index, block in enumerate(_blocks(member.chunks())):
            yield BlockSeen(member.path, index, block, offset_bytes)
            offset_bytes += len(block)


def _blocks(chunks: Iterable[Bytes]) -> Iterator[bytes]:
    """The same bytes, cut at block boundaries; each is copied once, and not at all if it is a chunk as it is."""
    parts: list[Bytes] = []
    gathered_bytes = 0
    for chunk in chunks:
        rest = chunk
        while gathered_bytes + len(rest) >= BLOCK_SIZE_BYTES:
            cut_bytes = BLOCK_SIZE_BYTES - gathered_bytes
            parts.append(rest if cut_bytes == len(rest) else memoryview(rest)[:cut_bytes])
            yield _joined(parts)
            rest = memoryview(rest)[cut_bytes:]
            parts, gathered_bytes = [], 0
        if rest:
            parts.append(rest)
            gathered_bytes += len(rest)
    if parts:
        yield _joined(parts)


def _joined(parts: list[Bytes]) -> bytes:
    return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
