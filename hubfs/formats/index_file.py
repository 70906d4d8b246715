"""The index of an archive as one file: what is in it, and how any of it is read without the rest."""

import struct
import tarfile
from dataclasses import dataclass, field

from hubfs.errors import Damaged, quoted
from hubfs.formats.gzip_index import TRAILER_BYTES, GzipIndex
from hubfs.formats.names import MAX_MEMBERS, Names, is_nameable
from hubfs.formats.sealed import seal, unseal
from hubfs.formats.tar import MAX_FILE_SIZE_BYTES

SUFFIX = ".hubfs-index"
"""The index of an archive lies beside it, under the archive's name with this suffix."""

MAX_SIZE_BYTES = 64 << 20
"""A larger index file is not fetched. One of an archive of 8 GB has about this size."""

_MAGIC, _VERSION = b"hubfsIDX", 1
_WHAT = "an index of an archive"
_HEAD = struct.Struct("<QIQ")  # size of the archive, how many members, size of the gzip index (0: a plain tar)
_MEMBER = struct.Struct("<BQQH")  # is a directory (0 or 1), size, offset, size of the path


@dataclass(frozen=True)
class IndexedMember:
    """A member of a tar. `offset_bytes` is where the bytes of the file begin in the tar; a directory has none."""

    path: str
    is_directory: bool
    size_bytes: int
    offset_bytes: int


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
        seen, names = set(), Names()
        for member in self.members:
            if member.path in seen or not _possible(member, self.tar_size_bytes):
                raise Damaged(f"an index of an archive has an impossible member: '{quoted(member.path)}'")
            seen.add(member.path)
            names.add(member.path, is_directory=member.is_directory)

    @property
    def tar_size_bytes(self) -> int:
        """The size of the tar, inflated."""
        return self.archive_size_bytes if self.gzip is None else self.gzip.output_size_bytes

    @property
    def proof_range(self) -> tuple[int, int]:
        """Offset and size of the few bytes of the archive that `fits` asks for."""
        if self.gzip is not None:
            return self.archive_size_bytes - TRAILER_BYTES, TRAILER_BYTES
        last = max((member.offset_bytes for member in self.members), default=tarfile.BLOCKSIZE)
        return max(0, last - tarfile.BLOCKSIZE), tarfile.BLOCKSIZE

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
        last = max(self.members, key=lambda member: member.offset_bytes, default=None)
        return last is not None and header.isfile() and header.size == last.size_bytes

    def to_bytes(self) -> bytes:
        """For `from_bytes`: versioned, with a checksum over everything."""
        gzip = b"" if self.gzip is None else self.gzip.to_bytes()
        parts = [_HEAD.pack(self.archive_size_bytes, len(self.members), len(gzip))]
        for member in self.members:
            path = member.path.encode()
            parts += _MEMBER.pack(member.is_directory, member.size_bytes, member.offset_bytes, len(path)), path
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
                if kind > 1:
                    raise Damaged(f"this was {_WHAT}: it has a member of kind {kind}")
                start = end + _MEMBER.size
                end = start + path_bytes
                members.append(IndexedMember(body[start:end].decode(), bool(kind), size_bytes, offset_bytes))
        except (struct.error, UnicodeDecodeError) as error:
            raise Damaged(f"this was {_WHAT}: its members cannot be read") from error
        if len(body) - end != gzip_bytes:
            raise Damaged(f"this was {_WHAT}: its end is missing, or something follows it")
        return cls(archive_size_bytes, tuple(members), GzipIndex.from_bytes(body[end:]) if gzip_bytes else None)


def looks_like_index(head: bytes) -> bool:
    """Whether a file that begins with `head`, 8 bytes or more, may be an index of an archive."""
    return head.startswith(_MAGIC)


def _possible(member: IndexedMember, tar_size_bytes: int) -> bool:
    return (
        _is_text(member.path)
        and {"", ".", ".."}.isdisjoint(member.path.split("/"))
        and is_nameable(member.path)
        and 0 <= member.size_bytes <= (0 if member.is_directory else MAX_FILE_SIZE_BYTES)
        and (member.is_directory or member.offset_bytes >= tarfile.BLOCKSIZE)
        and member.offset_bytes + member.size_bytes <= tar_size_bytes
    )


def _is_text(path: str) -> bool:
    try:
        return "\0" not in path and len(path.encode()) < 1 << 16
    except UnicodeEncodeError:
        return False
