"""One streaming pass over an archive: what comes by, in the order in which it comes by."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES
from hubfs.formats.gzip import inflate
from hubfs.formats.tar import members
from hubfs.sources.source import Entry, EntryKind


@dataclass(frozen=True)
class MemberSeen:
    """A member begins: it exists, and its size is known."""

    entry: Entry


@dataclass(frozen=True)
class BlockSeen:
    """Block `index` of the file at `path` was inflated."""

    path: str
    index: int
    block: bytes


def walk(chunks: Iterable[bytes]) -> Iterator[MemberSeen | BlockSeen]:
    """Inflates and unpacks `chunks` (a tar, compressed or not).

    Ends only once the archive was verified: gzip's checksum, the tar's end marker. Raises `Damaged`, and whatever
    `chunks` raises.
    """
    for member in members(inflate(chunks)):
        kind = EntryKind.DIRECTORY if member.is_directory else EntryKind.FILE
        yield MemberSeen(Entry(member.path, kind, member.size_bytes))
        for index, block in enumerate(_blocks(member.chunks())):
            yield BlockSeen(member.path, index, block)


def _blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, cut at block boundaries."""
    parts: list[bytes] = []
    gathered_bytes = 0
    for chunk in chunks:
        rest = chunk
        while gathered_bytes + len(rest) >= BLOCK_SIZE_BYTES:
            cut_bytes = BLOCK_SIZE_BYTES - gathered_bytes
            parts.append(rest[:cut_bytes])
            yield parts[0] if len(parts) == 1 else b"".join(parts)
            rest = rest[cut_bytes:]
            parts, gathered_bytes = [], 0
        if rest:
            parts.append(rest)
            gathered_bytes += len(rest)
    if parts:
        yield b"".join(parts)
