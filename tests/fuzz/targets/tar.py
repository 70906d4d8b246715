"""The tar reader: where Python's tarfile accepts the archive, too, both see the same members and bytes."""

import io
import tarfile
from collections.abc import Iterator

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
    try:
        for member in members(pieces(data)):
            assert member.path, "the root is no member"
            assert not {"", ".", ".."} & set(member.path.split("/")), f"a path that leads elsewhere: {member.path!r}"
            read = None if member.is_directory else b"".join(member.chunks())
            if read is not None:
                assert member.path not in seen, f"{member.path!r} came twice"
                assert read == data[member.offset_bytes : member.offset_bytes + member.size_bytes]
                assert len(read) == member.size_bytes
            seen[member.path] = read
    except Damaged:
        return
    try:
        known = dict(_as_python_sees_it(data))
    except (tarfile.TarError, OSError, ValueError, IndexError, OverflowError, AttributeError):  # what tarfile raises
        return
    if any(data[start + 156 : start + 157] == tarfile.GNUTYPE_LONGNAME for start in range(0, len(data), _BLOCK)):
        # tarfile reads such a name up to a NUL, also beyond its size: it may see another name, or a slash at its end.
        assert [read or b"" for read in seen.values()] == [read or b"" for read in known.values()]
    else:
        # A slash at the end of an extended name says that it is a directory; tarfile drops it.
        known = {path: read if read or seen.get(path, b"") is not None else None for path, read in known.items()}
        assert seen == known, f"tarfile sees {known!r}, hubfs {seen!r}"


def _as_python_sees_it(data: bytes) -> Iterator[tuple[str, bytes | None]]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8", errors="strict") as archive:
        for info in archive:
            block = data[info.offset_data - _BLOCK : info.offset_data]
            prefix = block[345:500].partition(b"\0")[0].decode() + "/"
            name = info.name
            if block[257:263] != b"ustar\0" and prefix != "/" and name.startswith(prefix):
                name = name.removeprefix(prefix)  # GNU tar keeps times there, which tarfile takes for a prefix
            path = "/".join(part for part in name.split("/") if part not in ("", "."))
            if path:
                # A slash says so in archives of any age; tarfile takes it from the oldest only.
                is_directory = info.isdir() or info.name.endswith(("/", "/."))
                file = None if is_directory else archive.extractfile(info)
                yield path, file and file.read()


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
