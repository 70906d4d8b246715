"""The index of an archive: what must be known to read it again without asking the network."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hubfs.blobs.sparse import SparseMap
from hubfs.blobs.stamp import UNDATED, Stamp
from hubfs.errors import Damaged
from hubfs.formats.limits import MAX_FILE_SIZE_BYTES
from hubfs.formats.names import Names, is_path
from hubfs.formats.tar_sparse import MAX_EXTENTS
from hubfs.hub.handle import Handle
from hubfs.hub.resolver import Form
from hubfs.sources.source import Entry, EntryKind


@dataclass(frozen=True)
class PlacedEntry:
    """An entry, and where the bytes of its file begin in the tar (0 for a directory: it has none)."""

    entry: Entry
    offset_bytes: int


@dataclass(frozen=True)
class ArchiveIndex:
    """All entries of the archive at `url`, in the order in which they came by, without the root.

    `stamp` is the archive's; indexes of before have none.
    """

    handle: Handle
    url: str
    identity: str
    entries: tuple[PlacedEntry, ...]
    stamp: Stamp = UNDATED

    def to_json(self) -> dict[str, Any]:
        """For `from_json`."""
        return {
            "handle": str(self.handle),
            "form": Form.COMPRESSED.value,
            "url": self.url,
            "identity": self.identity,
            **self.stamp.to_json(),
            "entries": [
                {
                    "path": placed.entry.path,
                    "kind": placed.entry.kind.value,
                    "size_bytes": placed.entry.size_bytes,
                    "offset_bytes": placed.offset_bytes,
                    **_extents(placed.entry),
                }
                for placed in self.entries
            ],
        }

    @classmethod
    def from_json(cls, handle: Handle, json: Mapping[str, Any]) -> "ArchiveIndex":
        """Raises `Damaged` for what `to_json` would not have written for `handle`."""
        try:
            url, identity, entries = str(json["url"]), str(json["identity"]), tuple(_placed(json["entries"]))
            index = cls(handle, url, identity, entries, Stamp.from_json(json))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise Damaged(f"The cache's index of {handle} is malformed: {error!r}") from error
        if any(json.get(key) != value for key, value in index.to_json().items()):
            raise Damaged(f"The cache's index of {handle} contradicts itself")
        return index


def _extents(entry: Entry) -> dict[str, list[list[int]]]:
    return {} if entry.sparse is None else {"extents": [[*extent] for extent in entry.sparse.extents]}


def _sparse_map(item: Mapping[str, Any], size_bytes: int) -> SparseMap | None:
    if "extents" not in item:
        return None
    return SparseMap(size_bytes, tuple((int(offset), int(length)) for offset, length in item["extents"]))


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
        yield PlacedEntry(Entry(path, kind, size_bytes, sparse), offset_bytes)
