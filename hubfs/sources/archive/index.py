"""The index of an archive: what must be known to read it again without asking the network."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hubfs.blobs.sparse import SparseMap
from hubfs.blobs.stamp import UNDATED, Stamp
from hubfs.cache.block_cache import blocks_of
from hubfs.cache.block_checksums import Checksums
from hubfs.errors import Damaged
from hubfs.formats.limits import MAX_FILE_SIZE_BYTES
from hubfs.formats.names import Names, is_path
from hubfs.formats.tar.sparse import MAX_EXTENTS
from hubfs.hubs.resolver import Form
from hubfs.model_id import ModelId
from hubfs.sources.source import Entry, EntryKind


@dataclass(frozen=True)
class PlacedEntry:
    """An entry, and where the bytes of its file begin in the tar (0 for a directory: it has none)."""

    entry: Entry
    offset_bytes: int

    def to_json(self) -> dict[str, Any]:
        """For `placed_entries`."""
        return {
            "path": self.entry.path,
            "kind": self.entry.kind.value,
            "size_bytes": self.entry.size_bytes,
            "offset_bytes": self.offset_bytes,
            **_extents(self.entry),
            **({"replaces": True} if self.entry.kept_as else {}),
        }


_REPLACED = ".hubfs-replaced"


def kept_as(path: str, offset_bytes: int, *, replaces: bool) -> str:
    """The name in the cache of the file at `path`, if that is not its path.

    A file that `replaces` an earlier one of the same name has a name of its own, so that the blocks of the two are
    never mixed, whoever shares the cache: others may be serving the earlier one. Where its bytes lie in the tar tells
    it from all others. What an archive has under the names that these have is kept under such names, too.
    """
    return f"{_REPLACED}/{offset_bytes}" if replaces or path.partition("/")[0] == _REPLACED else ""


@dataclass(frozen=True)
class ArchiveIndex:
    """All entries of the archive at `url`, in the order in which they came by, without the root.

    `stamp` is the archive's; indexes of before have none. `checksums` are those of the blocks of each file, where the
    host names no version of the archive: they are what tells that it is still the same. None where the identity does.
    """

    handle: ModelId
    url: str
    identity: str
    entries: tuple[PlacedEntry, ...]
    stamp: Stamp = UNDATED
    checksums: Checksums | None = None

    def to_json(self) -> dict[str, Any]:
        """For `from_json`."""
        return {
            "handle": str(self.handle),
            "form": Form.COMPRESSED.value,
            "url": self.url,
            "identity": self.identity,
            **self.stamp.to_json(),
            "entries": [placed.to_json() | self._checksums_of(placed.entry) for placed in self.entries],
        }

    def _checksums_of(self, entry: Entry) -> dict[str, list[int | None]]:
        if self.checksums is None or entry.kind is EntryKind.DIRECTORY:
            return {}
        return {"crc32c": [*self.checksums[entry.kept_path]]}

    @classmethod
    def from_json(cls, handle: ModelId, json: Mapping[str, Any]) -> "ArchiveIndex":
        """Raises `Damaged` for what `to_json` would not have written for `handle`."""
        try:
            url, identity, entries = str(json["url"]), str(json["identity"]), json["entries"]
            stamp = Stamp.from_json(json)
            placed = placed_entries(handle, entries)
            checksums = _checksums(entries, placed)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise Damaged(f"The cache's index of {handle} is malformed: {error!r}") from error
        index = cls(handle, url, identity, placed, stamp, checksums)
        if any(json.get(key) != value for key, value in index.to_json().items()):
            raise Damaged(f"The cache's index of {handle} contradicts itself")
        return index


def placed_entries(handle: ModelId, items: Iterable[Mapping[str, Any]]) -> tuple[PlacedEntry, ...]:
    """Entries of `handle` out of JSON. Raises `Damaged` for what `PlacedEntry.to_json` would not have written."""
    try:
        return tuple(_placed(items))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Damaged(f"The cache's index of {handle} is malformed: {error!r}") from error


def _extents(entry: Entry) -> dict[str, list[list[int]]]:
    return {} if entry.sparse is None else {"extents": [[*extent] for extent in entry.sparse.extents]}


def _sparse_map(item: Mapping[str, Any], size_bytes: int) -> SparseMap | None:
    if "extents" not in item:
        return None
    return SparseMap(size_bytes, tuple((int(offset), int(length)) for offset, length in item["extents"]))


def _checksums(items: Sequence[Mapping[str, Any]], placed: Sequence[PlacedEntry]) -> Checksums | None:
    """Of the blocks of all files, or of none. Raises `KeyError`, `TypeError`, `ValueError`."""
    if not any("crc32c" in item for item in items):
        return None
    found = {}
    for item, one in zip(items, placed, strict=True):
        if one.entry.kind is EntryKind.DIRECTORY:
            continue
        crcs, stored_bytes = item["crc32c"], one.entry.stored_bytes
        if len(crcs) != len(blocks_of(0, stored_bytes, stored_bytes)):
            raise ValueError(f"{one.entry.path!r} has another number of blocks than of checksums")
        if not all(crc is None or (type(crc) is int and 0 <= crc < 1 << 32) for crc in crcs):
            raise ValueError(f"{one.entry.path!r} has a checksum that is none")
        found[one.entry.kept_path] = crcs
    return found


def _placed(items: Iterable[Mapping[str, Any]]) -> Iterable[PlacedEntry]:
    seen, names, extents = set(), Names(), 0
    for item in items:
        path, size_bytes, offset_bytes = str(item["path"]), int(item["size_bytes"]), int(item["offset_bytes"])
        possible = is_path(path) and 0 <= size_bytes <= MAX_FILE_SIZE_BYTES and offset_bytes >= 0
        if not possible or path in seen:
            raise ValueError(f"an impossible entry {path!r}")
        kind = EntryKind(item["kind"])
        seen.add(path)
        names.add(path, is_directory=kind is EntryKind.DIRECTORY)
        sparse = _sparse_map(item, size_bytes)
        extents += len(sparse.extents) if sparse is not None else 0
        if extents > MAX_EXTENTS:
            raise ValueError("too many holes")
        kept = kept_as(path, offset_bytes, replaces=item.get("replaces") is True)
        if kept and kind is EntryKind.DIRECTORY:
            kept = ""
        yield PlacedEntry(Entry(path, kind, size_bytes, sparse, kept), offset_bytes)
