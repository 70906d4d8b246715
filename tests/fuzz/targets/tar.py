"""The tar reader: where Python's tarfile accepts the archive, too, both see the same members and bytes."""

import io
import tarfile
from collections.abc import Iterable, Iterator

from hubfs.errors import Damaged
from hubfs.formats.tar import members
from tests.fuzz.cutting import pieces

MAX_BYTES = 8192
WORDS = (
    *(
        b"ustar\x0000",
        b"ustar  \0",
        b"GNU.sparse.major=1",
        b"path=",
        b"size=",
        b"././@LongLink",
        b"../",
        b"./",
        b"\x80",
    ),
)

_BLOCK = tarfile.BLOCKSIZE


def fuzz(data: bytes) -> None:
    seen: dict[str, bytes | None] = {}
    contents: dict[int, bytes] = {}
    try:
        for member in members(pieces(data)):
            assert member.path, "the root is no member"
            assert not {"", ".", ".."} & set(member.path.split("/")), f"a path that leads elsewhere: {member.path!r}"
            read = None if member.is_directory else b"".join(member.chunks())
            if read is not None:
                assert member.path not in seen, f"{member.path!r} came twice"
                assert read == data[member.offset_bytes : member.offset_bytes + member.size_bytes]
                assert len(read) == member.size_bytes
                contents |= {member.offset_bytes: read} if read else {}
            seen[member.path] = read
    except Damaged:
        return
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8", errors="strict") as archive:
            infos = archive.getmembers()
            known_contents = {info.offset_data: _read(archive, info) for info in infos if info.isfile() and info.size}
            known = dict(_named(data, archive, infos))
    except (tarfile.TarError, OSError, ValueError, IndexError, OverflowError, AttributeError):  # what tarfile raises
        return
    assert contents == known_contents, f"tarfile sees {known_contents!r}, hubfs {contents!r}"
    if not all(_is_read_alike(data, start) for start in range(0, len(data), _BLOCK)):
        return
    # A slash at the end of an extended name says that it is a directory; tarfile drops it.
    known = {path: read if read or seen.get(path, b"") is not None else None for path, read in known.items()}
    assert seen == known, f"tarfile sees {known!r}, hubfs {seen!r}"


def _named(
    data: bytes, archive: tarfile.TarFile, infos: Iterable[tarfile.TarInfo]
) -> Iterator[tuple[str, bytes | None]]:
    for info in infos:
        block = data[info.offset_data - _BLOCK : info.offset_data]
        prefix = block[345:500].partition(b"\0")[0].decode() + "/"
        name = info.name
        if block[257:263] != b"ustar\0" and prefix != "/" and name.startswith(prefix):
            name = name.removeprefix(prefix)  # GNU tar keeps times there, which tarfile takes for a prefix
        path = "/".join(part for part in name.split("/") if part not in ("", "."))
        if path:
            # A slash says so in archives of any age; tarfile takes it from the oldest only.
            is_directory = info.isdir() or info.name.endswith(("/", "/."))
            yield path, None if is_directory else _read(archive, info)


def _is_read_alike(data: bytes, start: int) -> bool:
    """Whether tarfile reads the same long name from the header at `start`, if there is one.

    It reads up to a NUL, also beyond the name's size, keeps a slash at the end, takes the first of two long names where
    GNU tar takes the last, and takes it before a global `path`.
    """
    if data[start + 156 : start + 157] != tarfile.GNUTYPE_LONGNAME:
        return True
    try:
        size = tarfile.TarInfo.frombuf(data[start : start + _BLOCK], "utf-8", "surrogateescape").size
    except tarfile.HeaderError:
        return True
    body = data[start + _BLOCK : start + _BLOCK + size + -size % _BLOCK]
    following = data[start + _BLOCK + len(body) :][156:157]
    name = body.partition(b"\0")[0]
    alone = following not in b"LKxgX" and b"path=" not in data
    return alone and name == body[:size].rstrip(b"\0") and not name.endswith((b"/", b"/."))


def _read(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes | None:
    file = archive.extractfile(info)
    return file and file.read()


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
