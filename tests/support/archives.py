"""Archives of every shape, and ways to damage them."""

import io
import random
import struct
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import cycle

ZEROS = bytes(tarfile.BLOCKSIZE)
END_MARKER = 2 * ZEROS


def model_files(seed: int = 0, variables_bytes: int = 20_000) -> dict[str, bytes]:
    """Something shaped like a SavedModel: text-like and noise-like files, an empty one, in the usual order."""
    noise = random.Random(seed)
    return {
        "assets/vocab.txt": b"".join(b"token %d\n" % noise.randrange(10_000) for _ in range(300)),
        "assets/empty.txt": b"",
        "variables/variables.index": noise.randbytes(777),
        "variables/variables.data-00000-of-00001": noise.randbytes(variables_bytes),
        "fingerprint.pb": noise.randbytes(tarfile.BLOCKSIZE),
        "saved_model.pb": b"graph " * 500,
    }


def directories_of(files: Iterable[str]) -> list[str]:
    """Every directory above `files`, parents first."""
    found = {path.rsplit("/", depth)[0] for path in files for depth in range(1, path.count("/") + 1)}
    return sorted(found)


def tar_of(
    files: Mapping[str, bytes],
    *,
    directories: bool = True,
    prefix: str = "",
    format: int = tarfile.PAX_FORMAT,  # noqa: A002 - the name it has in tarfile
) -> bytes:
    """A tar of `files` in their order. With `prefix` "./", as `tar -C DIR .` makes it: the root is a member, too."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=format) as archive:
        for path in [prefix] * bool(prefix) + [prefix + path for path in directories_of(files)] * directories:
            directory = tarfile.TarInfo(path)
            directory.type = tarfile.DIRTYPE
            directory.mode = 0o755
            archive.addfile(directory)
        for path, data in files.items():
            info = tarfile.TarInfo(prefix + path)
            info.size = len(data)
            info.mtime = 1_700_000_000
            archive.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def header(
    name: bytes,
    *,
    kind: bytes = tarfile.REGTYPE,
    size: int | bytes = 0,
    link: bytes = b"",
    prefix: bytes = b"",
    magic: bytes = b"ustar\x0000",
    sparse: bytes = b"",
    continues: bool = False,
    real_size: int = 0,
) -> bytes:
    """One header block, however wrong its fields are; its checksum is right. `size` as bytes is taken as it stands.

    With `sparse`, or a kind of `S`, it has the fields that old GNU has for files with holes.
    """
    if isinstance(size, int):
        size = b"%011o\0" % size
    fields = (name, b"0000644\0", b"0000000\0", b"0000000\0", size, b"00000000000\0", b" " * 8, kind, link, magic)
    block = struct.pack("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x", *fields, b"", b"", b"", b"", prefix)
    if kind == tarfile.GNUTYPE_SPARSE and magic.startswith(b"ustar "):
        real = b"%011o\0" % real_size if real_size < 1 << 33 else base_256(real_size)
        block = block[:386] + sparse[:96].ljust(96, b"\0") + bytes([continues]) + real + block[495:]
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def base_256(number: int) -> bytes:
    """A size field as GNU tar writes what octal digits cannot hold."""
    return ((1 << 95) | number).to_bytes(12, "big") if number >= 0 else ((1 << 96) + number).to_bytes(12, "big")


def padded(data: bytes) -> bytes:
    """`data` up to the next full block."""
    return data + bytes(-len(data) % tarfile.BLOCKSIZE)


def member(name: bytes, data: bytes = b"", **fields: object) -> bytes:
    """A header made by `header` and its data."""
    return header(name, **{"size": len(data), **fields}) + padded(data)  # type: ignore[arg-type]


def pax_record(keyword: bytes, value: bytes) -> bytes:
    """`LENGTH KEYWORD=VALUE`, where LENGTH counts itself."""
    body = b" %s=%s\n" % (keyword, value)
    length = len(body) + 1
    while len(b"%d" % length) + len(body) != length:
        length += 1
    return b"%d%s" % (length, body)


def pax(records: Mapping[bytes, bytes] | bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    """A PAX extended header."""
    if not isinstance(records, bytes):
        records = b"".join(pax_record(keyword, value) for keyword, value in records.items())
    return member(b"PaxHeader", records, kind=kind)


def gnu_long_name(name: bytes) -> bytes:
    """GNU tar's header for a name that does not fit."""
    return member(b"././@LongLink", name + b"\0", kind=tarfile.GNUTYPE_LONGNAME, magic=b"ustar  \0")


def gzipped(
    data: bytes,
    *,
    level: int = 6,
    extra: bytes | None = None,
    name: bytes | None = None,
    comment: bytes | None = None,
    header_checksum: bool = False,
) -> bytes:
    """One gzip member, with any of the header fields that the format knows."""
    flags = 2 * header_checksum + 4 * (extra is not None) + 8 * (name is not None) + 16 * (comment is not None)
    head = struct.pack("<BBBBIBB", 0x1F, 0x8B, 8, flags, 0, 0, 3)
    if extra is not None:
        head += struct.pack("<H", len(extra)) + extra
    for text in (name, comment):
        head += b"" if text is None else text + b"\0"
    if header_checksum:
        head += struct.pack("<H", zlib.crc32(head) & 0xFFFF)
    deflate = zlib.compressobj(level, zlib.DEFLATED, -15)
    return (
        head + deflate.compress(data) + deflate.flush() + struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)
    )


def flipped(data: bytes, bit: int) -> bytes:
    """`data` with one bit wrong."""
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def without(data: bytes, start: int, count: int) -> bytes:
    """`data` with a range missing."""
    return data[:start] + data[start + count :]


def in_chunks(data: bytes, *sizes: int) -> Iterator[bytes]:
    """`data` in chunks of these sizes, over and over."""
    start = 0
    for size in cycle(sizes):
        if start >= len(data):
            return
        yield data[start : start + size]
        start += size


class Feed:
    """Chunks that know how far they were pulled."""

    def __init__(self, chunks: Sequence[bytes]) -> None:
        self._chunks = chunks
        self.pulled = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.pulled += 1
            yield chunk
