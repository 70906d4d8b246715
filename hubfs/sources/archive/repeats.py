"""Members of an archive that have the name of an earlier one: which of them counts."""

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Protocol

from hubfs.blobs.crc32c import crc32c
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES
from hubfs.sources.archive.index import PlacedEntry
from hubfs.sources.archive.walk import BlockSeen, MemberSeen
from hubfs.sources.source import Entry, EntryKind


class Ledger(Protocol):
    """Keeps what counts, over all passes over an archive."""

    def add(self, placed: PlacedEntry) -> PlacedEntry | None:
        """A member begins: what counts, None if that is a later one of the same name, as an earlier pass found."""
        ...

    def replace(self, placed: PlacedEntry) -> PlacedEntry:
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
        self._seen: dict[str, tuple[Entry, array[int]]] = {}  # what counts, by its name, as far as it came by
        self._placed: PlacedEntry | None = None  # the member that is passing by
        self._kept_path: str | None = None  # where its blocks are kept; None while they are not
        self._compares = False  # whether it has been, so far, what came before under its name

    def of(self, seen: MemberSeen | BlockSeen) -> Iterable[MemberSeen | BlockSeen]:
        """What counts of it: nothing, itself, or a member that counts from here on and this block of it."""
        return self._member(seen.placed) if isinstance(seen, MemberSeen) else self._block(seen)

    def _member(self, placed: PlacedEntry) -> Iterable[MemberSeen]:
        entry = placed.entry
        self._placed, self._kept_path, self._compares = placed, None, False
        before = self._seen.get(entry.path)
        if before is None or entry.kind is EntryKind.DIRECTORY:
            counts = self._ledger.add(placed)
            return () if counts is None else (self._begin(counts, array("I")),)
        if _is_like(entry, before[0]):
            self._compares = True
            return ()
        return (self._begin(self._ledger.replace(placed), array("I")),)

    def _block(self, seen: BlockSeen) -> Iterable[MemberSeen | BlockSeen]:
        checksum = crc32c(seen.block)
        if self._kept_path is not None:
            self._seen[seen.path][1].append(checksum)
            return (replace(seen, path=self._kept_path),)
        if not self._compares or self._seen[seen.path][1][seen.index] == checksum or self._placed is None:
            return ()
        self._compares = False
        before, checksums = self._seen[seen.path]
        begun = self._begin(self._ledger.replace(self._placed), checksums[: seen.index])
        alike = self._alike(before.kept_path, begun.placed, checksums[: seen.index])
        return chain((begun,), alike, self._block(seen))

    def _alike(self, kept_path: str, placed: PlacedEntry, checksums: "array[int]") -> Iterator[BlockSeen]:
        """The blocks of `placed` that are those of an earlier member, which the cache has under `kept_path`."""
        for index, checksum in enumerate(checksums):
            block = self._recall(kept_path, index)
            if block is not None and crc32c(block) == checksum:
                yield BlockSeen(placed.entry.kept_path, index, block, placed.offset_bytes + index * BLOCK_SIZE_BYTES)

    def _begin(self, counts: PlacedEntry, checksums: "array[int]") -> MemberSeen:
        self._kept_path = counts.entry.kept_path
        if counts.entry.kind is EntryKind.FILE:
            self._seen[counts.entry.path] = counts.entry, checksums
        return MemberSeen(counts)


def _is_like(entry: Entry, before: Entry) -> bool:
    return (entry.size_bytes, entry.sparse) == (before.size_bytes, before.sparse)
