"""The index of an archive: what must be known to read it again without asking the network."""

import tarfile
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hubfs.blobs.http.client import WHOLE_BYTES
from hubfs.blobs.sparse import SparseMap
from hubfs.blobs.stamp import UNDATED, Stamp
from hubfs.cache.block_cache import blocks_of
from hubfs.cache.block_checksums import Checksums
from hubfs.errors import Damaged
from hubfs.formats.index_file import IndexedMember, check_members
from hubfs.model_id import ModelId
from hubfs.sources.source import Entry, EntryKind, Form

_REPLACED = ".hubfs-replaced"

_MALFORMED = (KeyError, TypeError, ValueError, OverflowError)


def entry_of(member: IndexedMember) -> Entry:
    """The entry of a model that a member of its archive is.

    A file that `replaces` an earlier file of the same name has a name of its own in the cache, so that the blocks of
    the two are never mixed: other daemons that share the cache may be serving the earlier file. The name is made of
    where the bytes lie in the tar, which tells the file from all others. Files of the archive whose own names begin
    like these names are kept under such names, too.
    """
    if member.is_directory:
        return Entry(member.path, EntryKind.DIRECTORY)
    renamed = member.replaces or member.path.partition("/")[0] == _REPLACED
    kept_as = f"{_REPLACED}/{member.offset_bytes}" if renamed else ""
    place = member.offset_bytes // tarfile.BLOCKSIZE
    return Entry(member.path, EntryKind.FILE, member.size_bytes, member.sparse, kept_as, place)


def to_json(member: IndexedMember) -> dict[str, Any]:
    """A member as JSON, for `members_of`."""
    entry = entry_of(member)
    return {
        "path": member.path,
        "kind": entry.kind.value,
        "size_bytes": member.size_bytes,
        "offset_bytes": member.offset_bytes,
        **({} if member.sparse is None else {"extents": [[*extent] for extent in member.sparse.extents]}),
        **({"replaces": True} if entry.kept_as else {}),
    }


def members_of(handle: ModelId, items: Iterable[Mapping[str, Any]]) -> tuple[IndexedMember, ...]:
    """Members of the archive of `handle` out of JSON. Raises `Damaged` for what `to_json` would not have written."""
    try:
        members = tuple(map(_member, items))
        check_members(members)
    except (*_MALFORMED, Damaged) as error:
        raise _malformed(handle, error) from error
    return members


@dataclass(frozen=True)
class ArchiveIndex:
    """All members of the archive at `url`, in the order in which they came by, without the root.

    This is the one table of members that the cache keeps. `stamp` is the archive's; indexes of before have none.
    `checksums` are those of the blocks of each file, where the host names no version of the archive: they tell whether
    it is still the same. None where the identity does. `whole` are the bytes of an archive that is small: with them
    the index takes the place of the files, of which each would take two more files of the cache.
    """

    handle: ModelId
    url: str
    identity: str
    members: tuple[IndexedMember, ...]
    stamp: Stamp = UNDATED
    checksums: Checksums | None = None
    whole: bytes | None = field(default=None, repr=False)

    def to_json(self) -> dict[str, Any]:
        """For `from_json`."""
        return {
            "handle": str(self.handle),
            "form": Form.COMPRESSED.value,
            "url": self.url,
            "identity": self.identity,
            **self.stamp.to_json(),
            "entries": [to_json(member) | self._checksums_of(member) for member in self.members],
            **({} if self.whole is None else {"archive": b64encode(self.whole).decode()}),
        }

    def _checksums_of(self, member: IndexedMember) -> dict[str, list[int | None]]:
        if self.checksums is None or member.is_directory:
            return {}
        return {"crc32c": [*self.checksums[entry_of(member).kept_path]]}

    @classmethod
    def from_json(cls, handle: ModelId, json: Mapping[str, Any]) -> "ArchiveIndex":
        """Raises `Damaged` for what `to_json` would not have written for `handle`."""
        try:
            url, identity, entries = str(json["url"]), str(json["identity"]), json["entries"]
            stamp = Stamp.from_json(json)
            members = members_of(handle, entries)
            checksums = _checksums(entries, members)
            whole = whole_of(json)
        except _MALFORMED as error:
            raise _malformed(handle, error) from error
        index = cls(handle, url, identity, members, stamp, checksums, whole)
        if any(json.get(key) != value for key, value in index.to_json().items()):
            raise Damaged(f"The cache's index of {handle} contradicts itself")
        return index


def whole_of(json: Mapping[str, Any]) -> bytes | None:
    """The bytes of the archive, if its index has them. Raises `TypeError`, `ValueError`."""
    if "archive" not in json:
        return None
    whole = b64decode(json["archive"], validate=True)
    if len(whole) > WHOLE_BYTES:
        raise ValueError(f"it has an archive of {len(whole)} bytes")
    return whole


def _malformed(handle: ModelId, error: Exception) -> Damaged:
    return Damaged(f"The cache's index of {handle} is malformed: {error!r}")


def _member(item: Mapping[str, Any]) -> IndexedMember:
    path, size_bytes = str(item["path"]), int(item["size_bytes"])
    is_directory = EntryKind(item["kind"]) is EntryKind.DIRECTORY
    sparse = None
    if "extents" in item:
        sparse = SparseMap(size_bytes, tuple((int(offset), int(length)) for offset, length in item["extents"]))
    return IndexedMember(
        path, is_directory, size_bytes, int(item["offset_bytes"]), sparse, replaces=item.get("replaces") is True
    )


def _checksums(items: Sequence[Mapping[str, Any]], members: Sequence[IndexedMember]) -> Checksums | None:
    """Of the blocks of all files, or of none. Raises `KeyError`, `TypeError`, `ValueError`."""
    if not any("crc32c" in item for item in items):
        return None
    found = {}
    for item, member in zip(items, members, strict=True):
        if member.is_directory:
            continue
        crcs, stored_bytes = item["crc32c"], member.data_bytes
        if len(crcs) != len(blocks_of(0, stored_bytes, stored_bytes)):
            raise ValueError(f"{member.path!r} has another number of blocks than of checksums")
        if not all(crc is None or (type(crc) is int and 0 <= crc < 1 << 32) for crc in crcs):
            raise ValueError(f"{member.path!r} has a checksum that is none")
        found[entry_of(member).kept_path] = crcs
    return found
