"""tar: bytes → members, as they pass.

The standard library's `tarfile` reads a header block (checksum, number formats). Walking from header to header is done
here, because its walker takes a damaged header, and an end between two members, for the end of the archive; reads
extended headers of any size into memory; and decodes names that are not UTF-8 to something that is not the name.
"""

import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from hubfs.errors import Damaged
from hubfs.formats.byte_reader import ByteReader, Bytes
from hubfs.formats.limits import most_output_bytes, too_large
from hubfs.formats.names import MAX_DEPTH, MAX_NAME_BYTES, MAX_PATH_BYTES, Names, is_nameable

CHUNK_SIZE_BYTES = 1 << 20
"""No chunk of a member is larger."""

MAX_EXTENDED_HEADER_BYTES = 1 << 20
"""The GNU and PAX headers of one member may not be larger."""

MAX_PAX_RECORDS = 512
"""... nor have more PAX records together: a MiB of small ones takes half a second, and every member may bring one."""

MAX_FILE_SIZE_BYTES = 1 << 44
"""16 TiB, the largest file of ext4: a size beyond it is an attack or an accident."""

MAX_TRAILING_BYTES = 1 << 30
"""What follows the end marker is ignored, but it is read: for ever, where a host sends it for ever."""

_ZEROS = bytes(tarfile.BLOCKSIZE)
_POSIX_MAGIC = b"ustar\0"  # only then are bytes 345 to 500 a prefix; GNU tar keeps times there
_PAX_RECORD = re.compile(rb"([0-9]{1,7}) ([^=\n]+)=")
_PAX_SIZE = re.compile(rb"[0-9]{1,20}")
_SPARSE = b"GNU.sparse."
_FILE_TYPES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_OTHERS = {
    b"\x1f\x8b": "what was compressed twice",
    b"PK\3\4": "a zip file",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
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
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


class _Data:
    """The bytes of one member that have not passed yet."""

    def __init__(self, reader: ByteReader, path: str, size_bytes: int) -> None:
        self._reader = reader
        self._path = path
        self._left_bytes = size_bytes
        self._padding_bytes = -size_bytes % tarfile.BLOCKSIZE
        self._passed = False

    def chunks(self) -> Iterator[Bytes]:
        while not self._passed:
            if not self._left_bytes:
                return
            chunk = self._reader.at_most(min(self._left_bytes, CHUNK_SIZE_BYTES))
            if not chunk:
                raise Damaged(f"the archive ended early: {self._left_bytes} bytes of member {self._path!r} are missing")
            self._left_bytes -= len(chunk)
            yield chunk
        # Ending quietly here would pass a part of the file off as the whole.
        raise RuntimeError(f"the bytes of member {self._path!r} have passed")

    def finish(self) -> None:
        for _ in self.chunks():
            pass
        self._reader.exactly(self._padding_bytes)
        self._passed = True


@dataclass(frozen=True, eq=False)
class Member:
    """A file or a directory in a tar.

    `path` is relative and POSIX: no `.`, no `..`, no empty component, no slash at the end. A directory has no bytes.
    `offset_bytes` is where the bytes of the file begin in the tar.
    """

    path: str
    is_directory: bool
    size_bytes: int
    offset_bytes: int
    _data: _Data = field(repr=False)

    def chunks(self) -> Iterator[Bytes]:
        """Yields the bytes of the file as they pass, at most 1 MiB each; called again, what has not passed yet.

        Only good until the next member is asked for: `RuntimeError` after that. Raises `Damaged` when the archive
        ends before the file does. Errors of the archive's own chunks pass through.
        """
        return self._data.chunks()


def members(chunks: Iterable[Bytes], archive_size_bytes: int | None = None) -> Iterator[Member]:
    """Yields the members of the tar archive in `chunks`, each as soon as its header is there.

    Bytes of a member that nobody read are skipped. The root (`./`) is not a member; a directory may come twice, or
    never, although files lie in it. The archive is whole only if the iteration ended: it reads `chunks` to their end,
    past the end marker, so that checks which wait there (the gzip CRC) are made.

    `archive_size_bytes`: of the archive as it is hosted, if that is known: what cannot be in it is refused unread.

    Raises `Damaged` for headers that are corrupt, for an end that comes too early, and for what a model may not hold:
    absolute names, `..`, names that are not UTF-8, contain NUL or are too long, links, devices, pipes, sparse files,
    a name that comes twice (the first may have been read already) or is both file and directory, and hostile sizes
    and numbers. Errors of `chunks` pass through. Messages give the reason; the caller, who knows the URL, adds it.
    """
    reader = ByteReader(chunks)
    headers = _Headers(reader)
    names = Names()
    while header := headers.read():
        path = _normalised(header.name)
        # Old archives, and some newer ones, know a directory only by the slash at the end of its name.
        is_directory = header.type == tarfile.DIRTYPE or not path or header.name.endswith((b"/", b"/."))
        if is_directory and header.size_bytes:
            raise Damaged(f"member {_shown(header.name)} is a directory, but has {header.size_bytes} bytes of data")
        names.add(path, is_directory=is_directory)
        end_bytes = reader.offset_bytes + header.size_bytes
        if archive_size_bytes is not None and end_bytes > most_output_bytes(archive_size_bytes):
            raise too_large(end_bytes, archive_size_bytes)
        if path:
            data = _Data(reader, path, header.size_bytes)
            yield Member(path, is_directory, header.size_bytes, reader.offset_bytes, data)
            data.finish()
    end_bytes = reader.offset_bytes
    while reader.at_most(CHUNK_SIZE_BYTES):
        if reader.offset_bytes - end_bytes > MAX_TRAILING_BYTES:
            raise Damaged(f"the archive is hostile: more than {MAX_TRAILING_BYTES} bytes follow its end")


@dataclass(frozen=True)
class _Header:
    name: bytes
    type: bytes
    size_bytes: int


class _Headers:
    """Reads one member's header: any number of extended ones (GNU long names, PAX records), then its own."""

    def __init__(self, reader: ByteReader) -> None:
        self._reader = reader
        self._global_records: dict[bytes, bytes] = {}

    def read(self) -> _Header | None:
        """The next member's header, or None at the end marker. Raises `Damaged`."""
        records: dict[bytes, bytes] = {}
        long_name: bytes | None = None
        budget_bytes, budget_records = MAX_EXTENDED_HEADER_BYTES, MAX_PAX_RECORDS
        while block := self._read_block():
            info = _parsed(block, self._reader.offset_bytes - tarfile.BLOCKSIZE)
            if info.type not in _EXTENDED_TYPES:
                return self._member_header(block, info, long_name, self._global_records | records)
            budget_bytes -= max(info.size, 0) + tarfile.BLOCKSIZE
            if info.size < 0 or budget_bytes < 0:
                raise Damaged(
                    f"an extended header has {info.size} bytes; at most {MAX_EXTENDED_HEADER_BYTES} are taken"
                )
            data = self._read_extended(info.size)
            if info.type == tarfile.GNUTYPE_LONGNAME:
                long_name = data.rstrip(b"\0")
            elif info.type != tarfile.GNUTYPE_LONGLINK:
                said, count = _pax_records(data, budget_records)
                budget_records -= count
                if info.type == tarfile.XGLTYPE:
                    self._global_records |= said
                else:
                    records |= said
        if long_name is not None or records:
            raise Damaged("the archive ends after an extended header, before the member it belongs to")
        return None

    def _read_block(self) -> bytes:
        """The next header block; empty at the end marker."""
        offset_bytes = self._reader.offset_bytes
        block = self._reader.exactly(tarfile.BLOCKSIZE)
        if not block:
            raise Damaged(f"the archive ended early: after {offset_bytes} bytes, without an end marker")
        if len(block) < tarfile.BLOCKSIZE:
            or_none = "" if offset_bytes else f"; or it is no archive at all: it begins with {block[:16]!r}"
            offset_bytes = self._reader.offset_bytes
            raise Damaged(f"the archive ended early: after {offset_bytes} bytes, inside a header{or_none}")
        if block != _ZEROS:
            return block
        if not offset_bytes:
            raise Damaged("the archive has no members: it begins with zeros")
        return b""

    def _read_extended(self, size_bytes: int) -> bytes:
        data = self._reader.exactly(size_bytes + -size_bytes % tarfile.BLOCKSIZE)[:size_bytes]
        if len(data) < size_bytes:
            raise Damaged(f"the archive ended early: after {self._reader.offset_bytes} bytes, inside a header")
        return data

    @staticmethod
    def _member_header(
        block: bytes, info: tarfile.TarInfo, long_name: bytes | None, records: dict[bytes, bytes]
    ) -> _Header:
        name = _text(block[:100]) if long_name is None else long_name
        prefix = _text(block[345:500])
        if long_name is None and prefix and block[257:263] == _POSIX_MAGIC:
            name = prefix + b"/" + name
        name = records.get(b"path", name)
        if any(keyword.startswith(_SPARSE) for keyword in records):
            raise _refused(name, "a sparse file")
        if info.type not in (*_FILE_TYPES, tarfile.DIRTYPE):
            raise _refused(name, _REFUSED_TYPES.get(info.type, f"of the unknown type {info.type!r}"))
        size_bytes = info.size
        if (size := records.get(b"size")) is not None:
            if not _PAX_SIZE.fullmatch(size):
                raise Damaged(f"member {_shown(name)} has a size that is not a number: {size[:40]!r}")
            size_bytes = int(size)
        if not 0 <= size_bytes <= MAX_FILE_SIZE_BYTES:
            raise Damaged(f"member {_shown(name)} has an impossible size: {size_bytes} bytes")
        return _Header(name, info.type, size_bytes)


def _parsed(block: bytes, offset_bytes: int) -> tarfile.TarInfo:
    """The fields of a header block, its checksum verified."""
    try:
        # Names are taken from the block itself: of the text fields nothing is used, so nothing is refused here.
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        if not offset_bytes:
            found = next((f", as {name} does" for magic, name in _OTHERS.items() if block.startswith(magic)), "")
            raise Damaged(f"this is no archive, neither gzip nor tar: it begins with {block[:16]!r}{found}") from error
        raise Damaged(f"the header at byte {offset_bytes} of the archive is corrupt: {error}") from error
    # `frombuf` makes a directory of an old file whose name, as far as the block has it, ends with a slash; the whole
    # name, in an extended header before it, may go on.
    info.type = block[156:157]
    return info


def _pax_records(data: bytes, most: int) -> tuple[dict[bytes, bytes], int]:
    """The records of a PAX header that say something about the bytes of a member; and how many there were in all."""
    records = {}
    data = data.rstrip(b"\0")
    offset = count = 0
    while offset < len(data):
        found = _PAX_RECORD.match(data, offset)
        end = offset + int(found[1]) if found else 0
        if not found or found.end() >= end or data[end - 1 : end] != b"\n":
            raise Damaged(f"a PAX header is corrupt: no record in {data[offset : offset + 40]!r}")
        keyword = found[2]
        if keyword in (b"path", b"size") or keyword.startswith(_SPARSE):
            records[keyword] = data[found.end() : end - 1]
        offset = end
        count += 1
        if count > most:
            raise Damaged(f"the PAX headers of a member have too many records: at most {MAX_PAX_RECORDS} are taken")
    return records, count


def _normalised(name: bytes) -> str:
    """The path that `name` means; empty for the root. Raises `Damaged` for a name that must not be."""
    if not name:
        raise Damaged("a member has an empty name")
    if b"\0" in name:
        raise _refused(name, "named with a NUL byte")
    if name.startswith(b"/"):
        raise _refused(name, "named absolutely")
    try:
        parts = [part for part in name.decode().split("/") if part not in ("", ".")]
    except UnicodeDecodeError as error:
        raise _refused(name, "named in something else than UTF-8") from error
    if ".." in parts:
        raise _refused(name, "named with '..'")
    path = "/".join(parts)
    if not is_nameable(path):
        raise _refused(
            name,
            f"named with more than {MAX_NAME_BYTES} bytes ({MAX_PATH_BYTES} for the whole path), or lies deeper than "
            f"{MAX_DEPTH} directories",
        )
    return path


def _refused(name: bytes, what: str) -> Damaged:
    return Damaged(f"member {_shown(name)} is {what}; a model holds files and directories with plain relative names")


def _shown(name: bytes) -> str:
    """A name for a message, however long and broken it is."""
    return repr(name[:200].decode(errors="backslashreplace"))


def _text(field_bytes: bytes) -> bytes:
    """A text field of a header: what comes before the first NUL."""
    return field_bytes.partition(b"\0")[0]
