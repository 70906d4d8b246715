"""The index of an archive as one file: what is in it, and how any of it is read without the rest."""

import struct
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field

from hubfs.blobs.sparse import SparseMap
from hubfs.errors import Damaged, quoted
from hubfs.formats.gzip.index import TRAILER_BYTES, GzipIndex
from hubfs.formats.limits import MAX_FILE_SIZE_BYTES
from hubfs.formats.names import MAX_MEMBERS, Names, decoded, encoded, is_path
from hubfs.formats.sealed import seal, unseal
from hubfs.formats.tar.sparse import MAX_EXTENTS

SUFFIX = ".hubfs-index"
"""The index of an archive lies beside it, under the archive's name with this suffix."""

MAX_SIZE_BYTES = 64 << 20
"""A larger index file is not fetched. One of an archive of 8 GB has about this size."""

_MAGIC, _VERSION = b"hubfsIDX", 2

_WHAT = "an index of an archive"
_HEAD = struct.Struct("<QIQ")  # size of the archive, how many members, size of the gzip index (0: a plain tar)
_MEMBER = struct.Struct("<BQQH")  # kind, size, offset, size of the path
_DIRECTORY, _SPARSE, _REPLACES = 1, 2, 4  # of the kind; 0: a file
_KINDS = (_DIRECTORY, 0, _SPARSE, _REPLACES, _SPARSE | _REPLACES)
_COUNT, _EXTENT = struct.Struct("<I"), struct.Struct("<QQ")  # behind the path of a file with holes


@dataclass(frozen=True)
class IndexedMember:
    """A member of a tar. `offset_bytes` is where the bytes of the file begin in the tar; a directory has none.

    Of a file with holes the tar has what `sparse` says, and no more. A file that `replaces` others comes behind others
    of the same name, which have other bytes.
    """

    path: str
    is_directory: bool
    size_bytes: int
    offset_bytes: int
    sparse: SparseMap | None = field(default=None, repr=False)
    replaces: bool = False

    @property
    def data_bytes(self) -> int:
        """How many bytes of the file the tar has."""
        return self.size_bytes if self.sparse is None else self.sparse.stored_bytes


@dataclass(frozen=True)
class IndexFile:
    """The members of an archive of `archive_size_bytes`, in its order, and the index of its gzip data.

    `gzip` is None for a tar that is not compressed: its members are slices of the archive itself. Raises `Damaged` for
    what no archive could have.
    """

    archive_size_bytes: int
    members: tuple[IndexedMember, ...] = field(repr=False)
    gzip: GzipIndex | None

    def __post_init__(self) -> None:
        if self.gzip is not None and self.gzip.compressed_size_bytes != self.archive_size_bytes:
            raise Damaged("an index of an archive contradicts itself: it is of gzip data of another size")
        check_members(self.members, self.tar_size_bytes)

    @property
    def tar_size_bytes(self) -> int:
        """The size of the tar, inflated."""
        return self.archive_size_bytes if self.gzip is None else self.gzip.output_size_bytes

    @property
    def proof_range(self) -> tuple[int, int]:
        """Offset and size of the few bytes of the archive that `fits` asks for."""
        if self.gzip is not None:
            return self.archive_size_bytes - TRAILER_BYTES, TRAILER_BYTES
        last = self._last
        return max(0, (last.offset_bytes if last else 0) - tarfile.BLOCKSIZE), tarfile.BLOCKSIZE

    @property
    def _last(self) -> IndexedMember | None:
        """The last file right behind its header: that of a file with holes may be further in front."""
        files = (member for member in self.members if not member.is_directory and member.sparse is None)
        return max(files, key=lambda member: member.offset_bytes, default=None)

    def fits(self, archive_size_bytes: int, proof: bytes) -> bool:
        """Whether this is the index of an archive of that size, which has the bytes `proof` at `proof_range`.

        Of gzip data these are the CRC and the length; of a tar, the header of its last file: each file is read from
        the archive itself, and only where it lies is taken from here.
        """
        if archive_size_bytes != self.archive_size_bytes:
            return False
        if self.gzip is not None:
            return proof == self.gzip.trailer
        try:
            header = tarfile.TarInfo.frombuf(proof, tarfile.ENCODING, "surrogateescape")
        except tarfile.HeaderError:
            return False
        last = self._last
        return last is not None and header.isfile() and header.size == last.size_bytes

    def to_bytes(self) -> bytes:
        """For `from_bytes`: versioned, with a checksum over everything."""
        gzip = b"" if self.gzip is None else self.gzip.to_bytes()
        parts = [_HEAD.pack(self.archive_size_bytes, len(self.members), len(gzip))]
        for member in self.members:
            path = encoded(member.path)
            kind = (
                _DIRECTORY * member.is_directory + _SPARSE * (member.sparse is not None) + _REPLACES * member.replaces
            )
            parts += _MEMBER.pack(kind, member.size_bytes, member.offset_bytes, len(path)), path
            if member.sparse is not None:
                parts.append(_COUNT.pack(len(member.sparse.extents)))
                parts += (_EXTENT.pack(*extent) for extent in member.sparse.extents)
        return seal(_MAGIC, _VERSION, b"".join([*parts, gzip]))

    @classmethod
    def from_bytes(cls, data: bytes) -> "IndexFile":
        """Raises `Damaged` for anything that `to_bytes` would not have made."""
        body = unseal(_MAGIC, _VERSION, data, _WHAT)
        try:
            archive_size_bytes, count, gzip_bytes = _HEAD.unpack_from(body)
            if count > MAX_MEMBERS:
                raise Damaged(f"this was {_WHAT}: it claims {count} members")
            members, end = [], _HEAD.size
            for _ in range(count):
                kind, size_bytes, offset_bytes, path_bytes = _MEMBER.unpack_from(body, end)
                if kind not in _KINDS:
                    raise Damaged(f"this was {_WHAT}: it has a member of kind {kind}")
                start = end + _MEMBER.size
                end = start + path_bytes
                path, sparse = decoded(body[start:end]), None
                if kind & _SPARSE:
                    sparse, end = _sparse_map(size_bytes, body, end)
                replaces = bool(kind & _REPLACES)
                members.append(IndexedMember(path, kind == _DIRECTORY, size_bytes, offset_bytes, sparse, replaces))
        except struct.error as error:
            raise Damaged(f"this was {_WHAT}: its members cannot be read") from error
        if len(body) - end != gzip_bytes:
            raise Damaged(f"this was {_WHAT}: its end is missing, or something follows it")
        return cls(archive_size_bytes, tuple(members), GzipIndex.from_bytes(body[end:]) if gzip_bytes else None)


def looks_like_index(head: bytes) -> bool:
    """Whether a file that begins with `head`, 8 bytes or more, may be an index of an archive."""
    return head.startswith(_MAGIC)


def _sparse_map(size_bytes: int, body: bytes, start: int) -> tuple[SparseMap, int]:
    """The map at `start` of `body`, and where it ends. Raises `Damaged`, `struct.error`."""
    (count,) = _COUNT.unpack_from(body, start)
    start += _COUNT.size
    if count > MAX_EXTENTS:
        raise Damaged(f"this was {_WHAT}: it claims {count} stretches of data")
    end = start + count * _EXTENT.size
    if end > len(body):
        raise Damaged(f"this was {_WHAT}: it ends in a map of holes")
    return SparseMap(size_bytes, tuple(_EXTENT.iter_unpack(body[start:end]))), end


def check_members(members: Iterable[IndexedMember], tar_size_bytes: int | None = None) -> None:
    """Raises `Damaged` for members that no archive has, as far as that is known without the size of its tar."""
    seen, names, extents = set(), Names(), 0
    for member in members:
        if member.path in seen or not _possible(member, tar_size_bytes):
            raise Damaged(f"{_WHAT} has an impossible member: '{quoted(member.path)}'")
        seen.add(member.path)
        names.add(member.path, is_directory=member.is_directory)
        extents += 0 if member.sparse is None else len(member.sparse.extents)
    if extents > MAX_EXTENTS:
        raise Damaged(f"{_WHAT} has files with too many holes: at most {MAX_EXTENTS}")


def _possible(member: IndexedMember, tar_size_bytes: int | None) -> bool:
    return (
        is_path(member.path)
        and 0 <= member.size_bytes <= (0 if member.is_directory else MAX_FILE_SIZE_BYTES)
        and member.offset_bytes >= (0 if member.is_directory else tarfile.BLOCKSIZE)
        and not (member.is_directory and (member.replaces or member.sparse is not None))
        and (member.sparse is None or member.sparse.size_bytes == member.size_bytes)
        and (tar_size_bytes is None or member.offset_bytes + member.data_bytes <= tar_size_bytes)
    )
