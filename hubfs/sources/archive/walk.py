"""One streaming pass over an archive: what comes by, in its order, and which of several members of one name counts."""

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Protocol

from hubfs.blobs.checksums import crc32c
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES
from hubfs.formats.byte_reader import Bytes, Wanted
from hubfs.formats.index_file import IndexedMember
from hubfs.formats.tar.walk import members
from hubfs.sources.archive.index import entry_of


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
    wanted: Wanted | None = None,
) -> Iterator[IndexedMember | BlockSeen]:
    """Unpacks `inflated`, a tar, out of an archive of that size, if it is known.

    `is_verified` and `wanted`: as for `members`.

    A member is yielded when it begins. Ends only once the archive was seen to its end: the tar's end marker, and
    whatever `inflated` verifies at its own. Of files with holes there are blocks of the stored bytes. Raises `Damaged`,
    and raises as `inflated` does.
    """
    for member in members(inflated, archive_size_bytes, is_verified=is_verified, wanted=wanted):
        offset_bytes = 0 if member.is_directory else member.offset_bytes
        yield IndexedMember(member.path, member.is_directory, member.size_bytes, offset_bytes, member.sparse)
        for index, block in enumerate(_blocks(member.chunks())):
            yield BlockSeen(member.path, index, block, offset_bytes)
            offset_bytes += len(block)


def _blocks(chunks: Iterable[Bytes]) -> Iterator[bytes]:
    """The same bytes, cut at block boundaries; each is copied once, and not at all if it is a chunk as it is.

    `join` gives back an only part that is bytes.
    """
    parts: list[Bytes] = []
    gathered_bytes = 0
    for chunk in chunks:
        rest = chunk
        while gathered_bytes + len(rest) >= BLOCK_SIZE_BYTES:
            cut_bytes = BLOCK_SIZE_BYTES - gathered_bytes
            parts.append(rest if cut_bytes == len(rest) else memoryview(rest)[:cut_bytes])
            yield b"".join(parts)
            rest = memoryview(rest)[cut_bytes:]
            parts, gathered_bytes = [], 0
        if rest:
            parts.append(rest)
            gathered_bytes += len(rest)
    if parts:
        yield b"".join(parts)


class Ledger(Protocol):
    """Keeps what counts, over all passes over an archive."""

    def add(self, member: IndexedMember) -> IndexedMember | None:
        """A member begins: what counts, None if that is a later one of the same name, as an earlier pass found."""
        ...

    def replace(self, member: IndexedMember) -> IndexedMember:
        """A later member of the same name has other bytes: from now on it counts, under another name in the cache."""
        ...


class Repeats:
    """Tells, for one pass, what of it counts: of members with one name and the same bytes the first, else the last.

    The bytes are compared block by block, by their checksums, of which all are kept: 4 bytes a MiB, and some hundred
    bytes a file. A member that turns out to be another one in mid-file counts from its beginning: `recall` gives the
    blocks that both begin with, by the earlier one's name in the cache, as far as they were kept. Raises what the
    ledger raises, for what must not be replaced any more.
    """

    def __init__(self, ledger: Ledger, recall: Callable[[str, int], bytes | None] = lambda _path, _index: None) -> None:
        self._ledger = ledger
        self._recall = recall
        self._seen: dict[str, tuple[IndexedMember, array[int]]] = {}  # what counts, by its name, as far as it came by
        self._passing: IndexedMember | None = None  # the member that is passing by
        self._kept_path: str | None = None  # where its blocks are kept; None while they are not
        self._compares = False  # whether it has been, so far, what came before under its name

    def of(self, seen: IndexedMember | BlockSeen) -> Iterable[IndexedMember | BlockSeen]:
        """What counts of it: nothing, itself, or a member that counts from here on and this block of it."""
        return self._member(seen) if isinstance(seen, IndexedMember) else self._block(seen)

    def _member(self, member: IndexedMember) -> Iterable[IndexedMember]:
        self._passing, self._kept_path, self._compares = member, None, False
        before = self._seen.get(member.path)
        if before is None or member.is_directory:
            counts = self._ledger.add(member)
            return () if counts is None else (self._begin(counts, array("I")),)
        if (member.size_bytes, member.sparse) == (before[0].size_bytes, before[0].sparse):
            self._compares = True
            return ()
        return (self._begin(self._ledger.replace(member), array("I")),)

    def _block(self, seen: BlockSeen) -> Iterable[IndexedMember | BlockSeen]:
        checksum = crc32c(seen.block)
        if self._kept_path is not None:
            self._seen[seen.path][1].append(checksum)
            return (replace(seen, path=self._kept_path),)
        if not self._compares or self._seen[seen.path][1][seen.index] == checksum or self._passing is None:
            return ()
        self._compares = False
        before, checksums = self._seen[seen.path]
        begun = self._begin(self._ledger.replace(self._passing), checksums[: seen.index])
        alike = self._alike(entry_of(before).kept_path, begun, checksums[: seen.index])
        return chain((begun,), alike, self._block(seen))

    def _alike(self, kept_path: str, member: IndexedMember, checksums: "array[int]") -> Iterator[BlockSeen]:
        """The blocks of `member` that are those of an earlier member, which the cache has under `kept_path`."""
        for index, checksum in enumerate(checksums):
            block = self._recall(kept_path, index)
            if block is not None and crc32c(block) == checksum:
                offset_bytes = member.offset_bytes + index * BLOCK_SIZE_BYTES
                yield BlockSeen(entry_of(member).kept_path, index, block, offset_bytes)

    def _begin(self, counts: IndexedMember, checksums: "array[int]") -> IndexedMember:
        self._kept_path = entry_of(counts).kept_path
        if not counts.is_directory:
            self._seen[counts.path] = counts, checksums
        return counts
