"""The headers of a tar: what they say of each member.

The standard library's `tarfile` reads a header block (checksum, number formats). Extended headers are read here: it
takes them of any size into memory.
"""

import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass

from hubfs.blobs.sparse import SparseMap
from hubfs.errors import Damaged
from hubfs.formats.byte_reader import ByteReader
from hubfs.formats.limits import MAX_FILE_SIZE_BYTES
from hubfs.formats.tar.sparse import KEYWORD, NUMBER, STRETCHES, SparseReader

MAX_EXTENDED_HEADER_BYTES = 1 << 20
"""The GNU and PAX headers of one member may not be larger."""

MAX_PAX_RECORDS = 512
"""... nor have more PAX records together: a MiB of small ones takes half a second, and every member may bring one."""

_ZEROS = bytes(tarfile.BLOCKSIZE)
_POSIX_MAGIC = b"ustar\0"  # only then are bytes 345 to 500 a prefix; GNU tar keeps times there
_PAX_RECORD = re.compile(rb"0*([1-9][0-9]{0,6}|0) ([^=\n]+)=")
_FILE_TYPES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_OTHERS = {
    b"\x1f\x8b": "what was compressed twice",
    b"PK\3\4": "a zip file",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"LZIP": "lzip",
    b"\x5d\0\0": "lzma",
    b"\x1f\x9d": "compress (.Z)",
    b"7z\xbc\xaf\x27\x1c": "7-zip",
}
_EXTENDED_TYPES = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_REFUSED_TYPES = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a named pipe",
}


@dataclass(frozen=True)
class Header:
    """What is said of a member. `size_bytes` of data follow, the holes of a sparse file left out."""

    name: bytes
    type: bytes
    size_bytes: int
    sparse: SparseMap | None


class Headers:
    """Reads one member's header: any number of extended ones (GNU long names, PAX records), then its own.

    An end between two members is the end of the archive only where `is_verified` says that something else than the tar
    vouches for the end of `reader`'s bytes, once they have ended: the checksum and the length of gzip.
    """

    def __init__(self, reader: ByteReader, is_verified: Callable[[], bool]) -> None:
        self._reader = reader
        self._is_verified = is_verified
        self._sparse = SparseReader(reader.exactly)
        self._global_records: dict[bytes, bytes] = {}
        self._behind = ""  # where in the archive this is, for messages

    def read(self) -> Header | None:
        """The next member's header, or None at the end of the archive. Raises `Damaged`."""
        records: dict[bytes, bytes] = {}
        long_name: bytes | None = None
        budget_bytes, budget_records = MAX_EXTENDED_HEADER_BYTES, MAX_PAX_RECORDS
        while block := self._read_block():
            info = self._parsed(block)
            if info.type not in _EXTENDED_TYPES:
                header = self._member_header(block, info, long_name, records)
                self._behind = f", behind member {shown(header.name)}"
                return header
            budget_bytes -= max(info.size, 0) + tarfile.BLOCKSIZE
            if info.size < 0 or budget_bytes < 0:
                raise Damaged(
                    f"an extended header{self._behind} has {info.size} bytes; at most {MAX_EXTENDED_HEADER_BYTES} are "
                    "taken for a member"
                )
            data = self._read_extended(info.size)
            if info.type == tarfile.GNUTYPE_LONGNAME:
                long_name = data.rstrip(b"\0")
            elif info.type != tarfile.GNUTYPE_LONGLINK:
                said, count = self._pax_records(data, budget_records)
                budget_records -= count
                if info.type == tarfile.XGLTYPE:
                    self._global_records |= said
                else:
                    records |= said
        if long_name is not None or records:
            raise Damaged(f"the archive ends after an extended header{self._behind}, before the member it belongs to")
        return None

    def _read_block(self) -> bytes:
        """The next header block; empty at the end marker."""
        offset_bytes = self._reader.offset_bytes
        block = self._reader.exactly(tarfile.BLOCKSIZE)
        if not block:
            if offset_bytes and self._is_verified():
                return b""
            raise Damaged(f"the archive ended early: after {offset_bytes} bytes, without an end marker{self._behind}")
        if len(block) < tarfile.BLOCKSIZE:
            or_none = ""
            if not offset_bytes:
                or_none = f"; or it is no archive at all: it begins with {block[:16]!r}{_as_others_do(block)}"
            offset_bytes = self._reader.offset_bytes
            raise Damaged(
                f"the archive ended early: after {offset_bytes} bytes, inside a header{self._behind}{or_none}"
            )
        if block != _ZEROS:
            return block
        if not offset_bytes:
            raise Damaged("the archive has no members: it begins with zeros")
        return b""

    def _read_extended(self, size_bytes: int) -> bytes:
        data = self._reader.exactly(size_bytes + -size_bytes % tarfile.BLOCKSIZE)[:size_bytes]
        if len(data) < size_bytes:
            offset_bytes = self._reader.offset_bytes
            raise Damaged(f"the archive ended early: after {offset_bytes} bytes, inside a header{self._behind}")
        return data

    def _parsed(self, block: bytes) -> tarfile.TarInfo:
        """The fields of a header block, its checksum verified."""
        offset_bytes = self._reader.offset_bytes - tarfile.BLOCKSIZE
        try:
            # Names are taken from the block itself: of the text fields nothing is used, so nothing is refused here.
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            if not offset_bytes:
                raise Damaged(
                    f"this is no archive, neither gzip nor tar: it begins with {block[:16]!r}{_as_others_do(block)}"
                ) from error
            raise Damaged(
                f"the header at byte {offset_bytes} of the archive{self._behind} is corrupt: {error}"
            ) from error
        # `frombuf` makes a directory of an old file whose name, as far as the block has it, ends with a slash; the
        # whole name, in an extended header before it, may go on.
        info.type = block[156:157]
        return info

    def _member_header(
        self, block: bytes, info: tarfile.TarInfo, long_name: bytes | None, own_records: dict[bytes, bytes]
    ) -> Header:
        records = self._global_records | own_records
        name = _text(block[:100]) if long_name is None else long_name
        prefix = _text(block[345:500])
        if long_name is None and prefix and block[257:263] == _POSIX_MAGIC:
            name = prefix + b"/" + name
        name = records.get(b"path", name)
        name = own_records.get(b"GNU.sparse.name", name)
        if info.type not in (*_FILE_TYPES, tarfile.DIRTYPE, tarfile.GNUTYPE_SPARSE):
            raise refused(name, _REFUSED_TYPES.get(info.type, f"of the unknown type {info.type!r}"))
        size_bytes = info.size
        if (size := records.get(b"size")) is not None:
            number = NUMBER.fullmatch(size)
            if not number:
                raise Damaged(f"member {shown(name)} has a size that is not a number: {size[:40]!r}")
            size_bytes = int(number[1])
        _check_size(name, size_bytes)
        sparse = None
        if info.type == tarfile.GNUTYPE_SPARSE or any(keyword.startswith(KEYWORD) for keyword in records):
            if any(keyword.startswith(KEYWORD) for keyword in self._global_records):
                raise refused(name, "a sparse file, as are all that follow it")
            if info.type == tarfile.DIRTYPE:
                raise Damaged(f"member {shown(name)} is a directory, but has a map of holes")
            sparse, map_bytes = self._map(name, block, info, own_records, size_bytes)
            size_bytes -= map_bytes
        kind = info.type if info.type != tarfile.GNUTYPE_SPARSE else tarfile.REGTYPE
        return Header(name, kind, size_bytes, sparse)

    def _map(
        self, name: bytes, block: bytes, info: tarfile.TarInfo, records: dict[bytes, bytes], size_bytes: int
    ) -> tuple[SparseMap | None, int]:
        """The map of a sparse file, None if it has no holes; and how many of its bytes of data were the map."""
        try:
            if info.type == tarfile.GNUTYPE_SPARSE:
                sparse, map_bytes = self._sparse.old_gnu(block), 0
            else:
                sparse, map_bytes = self._sparse.pax(records, size_bytes)
        except Damaged as error:
            raise Damaged(f"member {shown(name)} {error}") from error
        _check_size(name, sparse.size_bytes)
        if sparse.stored_bytes != size_bytes - map_bytes:
            raise Damaged(
                f"member {shown(name)} has a map of {sparse.stored_bytes} bytes of data, and {size_bytes - map_bytes} "
                "bytes of data"
            )
        return (None if sparse.is_whole else sparse), map_bytes

    def _pax_records(self, data: bytes, most: int) -> tuple[dict[bytes, bytes], int]:
        """The records of a PAX header that say something about the bytes of a member; and how many there were in all.

        The stretches of data of a sparse file, a record for each number in PAX 0.0, become one record, as in 0.1.
        """
        records: dict[bytes, bytes] = {}
        stretches: list[bytes] = []
        data = data.rstrip(b"\0")
        offset = count = 0
        while offset < len(data):
            found = _PAX_RECORD.match(data, offset)
            end = offset + int(found[1]) if found else 0
            if not found or found.end() >= end or data[end - 1 : end] != b"\n":
                raise Damaged(f"a PAX header{self._behind} is corrupt: no record in {data[offset : offset + 40]!r}")
            keyword, value = found[2], data[found.end() : end - 1]
            if keyword in STRETCHES:
                if keyword != STRETCHES[len(stretches) % 2]:
                    raise Damaged(f"a PAX header{self._behind} is corrupt: its map of holes has half a stretch of data")
                stretches.append(value)
            elif keyword in (b"path", b"size") or keyword.startswith(KEYWORD):
                records[keyword] = value
            offset = end
            count += 1
            if count > most:
                raise Damaged(
                    f"the PAX headers of a member{self._behind} have too many records: at most {MAX_PAX_RECORDS} are "
                    "taken"
                )
        if stretches:
            records[b"GNU.sparse.map"] = b",".join(stretches)
        return records, count


def _check_size(name: bytes, size_bytes: int) -> None:
    if not 0 <= size_bytes <= MAX_FILE_SIZE_BYTES:
        raise Damaged(f"member {shown(name)} has an impossible size: {size_bytes} bytes")


def _as_others_do(block: bytes) -> str:
    found = next((name for magic, name in _OTHERS.items() if block.startswith(magic)), None)
    return f", as {found} does; pack it with `tar -cz`" if found else ""


def refused(name: bytes, what: str) -> Damaged:
    """What is raised for a member that no model may have."""
    return Damaged(f"member {shown(name)} is {what}; a model holds files and directories with plain relative names")


def shown(name: bytes) -> str:
    """A name for a message, however long and broken it is."""
    return repr(name[:200].decode(errors="backslashreplace"))


def _text(field_bytes: bytes) -> bytes:
    """A text field of a header: what comes before the first NUL."""
    return field_bytes.partition(b"\0")[0]
