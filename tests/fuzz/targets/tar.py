"""The tar reader: where Python's tarfile accepts the archive, too, both see the same members and bytes."""

import contextlib
import io
import tarfile
from collections.abc import Iterable, Iterator

from hubfs.blobs.blob import MemoryBlob
from hubfs.blobs.sparse import SparseBlob
from hubfs.errors import Damaged
from hubfs.formats.limits import MAX_FILE_SIZE_BYTES
from hubfs.formats.names import decoded
from hubfs.formats.tar.walk import Member, members
from tests.fuzz.cutting import pieces

MAX_BYTES = 8192
WORDS = (
    *(
        b"ustar\x0000",
        b"ustar  \0",
        b"GNU.sparse.major=1",
        b"GNU.sparse.minor=0",
        b"GNU.sparse.realsize=9",
        b"GNU.sparse.size=9",
        b"GNU.sparse.numblocks=1",
        b"GNU.sparse.map=0,4",
        b"GNU.sparse.offset=",
        b"GNU.sparse.numbytes=",
        b"path=",
        b"size=",
        b"././@LongLink",
        b"../",
        b"./",
        b"\x80",
    ),
)

_BLOCK = tarfile.BLOCKSIZE
_EXTENDED_TYPES = (
    tarfile.XHDTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


def fuzz(data: bytes) -> None:
    seen: dict[str, bytes | None] = {}
    contents: dict[int, bytes] = {}
    try:
        for member in members(pieces(data)):
            assert member.path, "the root is no member"
            assert not {"", ".", ".."} & set(member.path.split("/")), f"a path that leads elsewhere: {member.path!r}"
            read = None if member.is_directory else b"".join(member.chunks())
            if read is not None:
                assert read == data[member.offset_bytes : member.offset_bytes + member.data_bytes]
                assert len(read) == member.data_bytes
                read = _with_holes(member, read)
                contents |= {member.offset_bytes: read} if read else {}
            seen[member.path] = read
    except Damaged:
        return
    blocks = [*_headers(data)]
    if not all(one.says_the_same_size for one in blocks):
        return  # tarfile looks for members where none are, and may find anything there, links without a target too
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8", errors="surrogateescape") as archive:
            infos = archive.getmembers()
            known_contents = {info.offset_data: _read(archive, info) for info in infos if info.isfile() and info.size}
            known = dict(_named(data, archive, infos))
    except (tarfile.TarError, OSError, ValueError, IndexError, OverflowError, AttributeError):  # what tarfile raises
        return
    assert contents == known_contents, f"tarfile sees {known_contents!r}, hubfs {contents!r}"
    if all(one.says_the_same_name for one in blocks):
        # A slash at the end of an extended name says that it is a directory; tarfile drops it.
        known = {path: read if read or seen.get(path, b"") is not None else None for path, read in known.items()}
        assert seen == known, f"tarfile sees {known!r}, hubfs {seen!r}"


def _with_holes(member: Member, stored: bytes) -> bytes:
    if member.sparse is None:
        return stored
    blob = SparseBlob(MemoryBlob("stored", stored), member.sparse)
    assert blob.size_bytes == member.size_bytes <= MAX_FILE_SIZE_BYTES
    at = max(0, member.size_bytes - MAX_BYTES)
    assert len(blob.read_at(at, 2 * MAX_BYTES)) == member.size_bytes - at
    return blob.read_at(0, MAX_BYTES)


def _named(
    data: bytes, archive: tarfile.TarFile, infos: Iterable[tarfile.TarInfo]
) -> Iterator[tuple[str, bytes | None]]:
    for info in infos:
        block = data[info.offset_data - _BLOCK : info.offset_data]
        prefix = decoded(block[345:500].partition(b"\0")[0]) + "/"
        name = info.name
        if block[257:263] != b"ustar\0" and prefix != "/" and name.startswith(prefix):
            name = name.removeprefix(prefix)  # GNU tar keeps times there, which tarfile takes for a prefix
        path = "/".join(part for part in name.split("/") if part not in ("", "."))
        if path:
            # A slash says so in archives of any age; tarfile takes it from the oldest only.
            is_directory = info.isdir() or info.name.endswith(("/", "/."))
            yield path, None if is_directory else _read(archive, info)


class _Header:
    """What may be a header, and whether tarfile takes from it what hubfs, GNU tar and bsdtar take.

    It has no holes where the minor number of GNU's sparse format is not said, which is 0 then. It reads PAX records up
    to a NUL, and a long name, too, also beyond the size of their header; takes the first of two extended headers of a
    member where the others take the last; takes a long name before a global `path`, and keeps a
    slash at its end; finds the member that follows one with a global `size` by its own size; takes GNU tar's times for
    a prefix, in front of any name; and an old file for a directory if only the beginning of its name, before the whole
    name in an extended header, ends with a slash.
    """

    def __init__(self, data: bytes, start: int, size_bytes: int) -> None:
        self._type = data[start + 156 : start + 157]
        body_end = start + _BLOCK + size_bytes
        end = body_end + -size_bytes % _BLOCK
        self._body = data[start + _BLOCK : end]
        self._is_alone = not any(data[body_end:end]) and data[end:][156:157] not in (*_EXTENDED_TYPES, b"")
        self._has_odd_name = data[start + 257 : start + 263] != b"ustar\0" and any(data[start + 345 : start + 500])
        name = data[start : start + 100].partition(b"\0")[0]
        self._has_odd_name |= self._type == tarfile.AREGTYPE and name.endswith(b"/")
        self._is_named_elsewhere = b"path=" in data or tarfile.GNUTYPE_LONGNAME in data[156::_BLOCK]
        self._says_path = b"path=" in data

    @property
    def says_the_same_size(self) -> bool:
        if self._type == tarfile.AREGTYPE and self._has_odd_name and self._is_named_elsewhere:
            return False
        is_pax = self._type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE)
        if is_pax and b"GNU.sparse.major=" in self._body and b"GNU.sparse.minor=" not in self._body:
            return False
        return not (is_pax and b"size=" in self._body) or (self._is_alone and self._type != tarfile.XGLTYPE)

    @property
    def says_the_same_name(self) -> bool:
        if self._has_odd_name and self._is_named_elsewhere:
            return False
        if self._type != tarfile.GNUTYPE_LONGNAME:
            return self._type not in _EXTENDED_TYPES or b"path=" not in self._body or self._is_alone
        return self._is_alone and not self._says_path and not self._body.rstrip(b"\0").endswith((b"/", b"/."))


def _headers(data: bytes) -> Iterator[_Header]:
    """What may be one, at any place where one may be."""
    for start in range(0, len(data), _BLOCK):
        with contextlib.suppress(tarfile.HeaderError):
            info = tarfile.TarInfo.frombuf(data[start : start + _BLOCK], "utf-8", "surrogateescape")
            yield _Header(data, start, max(0, info.size))


def _read(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes | None:
    file = archive.extractfile(info)
    return file and file.read(MAX_BYTES)  # of a file with holes; no other is larger


def repair(data: bytes) -> bytes:
    """Right checksums in all headers, as far as sizes lead from one to the next."""
    blocks = bytearray(data)
    start = 0
    while start + _BLOCK <= len(blocks):
        block = blocks[start : start + _BLOCK]
        if any(block):
            block[148:156] = b" " * 8
            blocks[start + 148 : start + 156] = b"%06o\0 " % sum(block)
        start += _BLOCK
        try:
            size = int(bytes(block[124:136]).strip(b" \0") or b"0", 8)
        except ValueError:
            size = 0
        start += size + -size % _BLOCK if 0 < size < len(blocks) else 0
    return bytes(blocks)
