"""Where a tar says which parts of a file are holes: in the header (old GNU), in PAX records (0.0, 0.1), in front of the
file's data (PAX 1.0). https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html
"""

import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from itertools import chain

from hubfs.blobs.sparse import SparseMap
from hubfs.errors import Damaged

MAX_EXTENTS = 100_000
"""The stretches of data of all files with holes in one archive, together: they are kept in memory."""

KEYWORD = b"GNU.sparse."
STRETCHES = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
"""The records of PAX 0.0 that come once for each stretch of data."""

NUMBER = re.compile(rb"0*([1-9][0-9]{0,19}|0)")
"""A number in PAX: decimal, with zeros in front if a program likes them."""

_OCTAL = re.compile(rb"[0-7]{0,12}")
_GNU_MAGIC = b"ustar  \0"
_IN_HEADER, _IN_EXTENSION = (386, 4), (0, 21)  # where the stretches begin, and how many there may be
_CONTINUES, _REAL_SIZE, _EXTENSION_CONTINUES = 482, slice(483, 495), 504
_STRETCH, _FIELD = 24, 12
_LONGEST_LINE_BYTES = 64

_Read = Callable[[int], bytes]
_Stretches = Iterator[tuple[int, int]]


class SparseReader:
    """Reads the maps of the files with holes of one archive. `read` gives the next bytes of the archive.

    Every method raises `Damaged`, whose text goes behind the member's name: for a map that contradicts itself, and once
    there were more than `MAX_EXTENTS` stretches of data in all.
    """

    def __init__(self, read: _Read) -> None:
        self._read = read
        self._left = MAX_EXTENTS

    def old_gnu(self, block: bytes) -> SparseMap:
        """The map in the header `block` of type 'S', and in the blocks that follow it."""
        if block[257:265] != _GNU_MAGIC:
            raise Damaged("is a sparse file in another format than GNU tar's")
        size_bytes = _number(block[_REAL_SIZE])
        return self._map(size_bytes, chain(_stretches(block, *_IN_HEADER), self._extensions(block[_CONTINUES])))

    def _extensions(self, continues: int) -> _Stretches:
        while continues:
            block = self._read(tarfile.BLOCKSIZE)
            if len(block) < tarfile.BLOCKSIZE:
                raise Damaged("ends early, inside its map of holes")
            continues = block[_EXTENSION_CONTINUES]
            yield from _stretches(block, *_IN_EXTENSION)

    def pax(self, records: Mapping[bytes, bytes], data_bytes: int) -> tuple[SparseMap, int]:
        """The map that PAX records tell of a member with `data_bytes` bytes of data; how many of them are the map."""
        version = records.get(b"GNU.sparse.major", b"0"), records.get(b"GNU.sparse.minor", b"0")
        if version == (b"1", b"0"):
            size_bytes = _decimal(records.get(b"GNU.sparse.realsize", b""))
            before_bytes = _Lines(self._read, data_bytes)
            count = before_bytes.number()
            if count > self._left:
                raise _too_many()
            made = self._map(size_bytes, ((before_bytes.number(), before_bytes.number()) for _ in range(count)))
            return made, before_bytes.read_bytes
        if any(_decimal(number) for number in version):
            raise Damaged(f"is a sparse file of a version that is not known: {version[0][:20]!r}.{version[1][:20]!r}")
        numbers = [*map(_decimal, filter(None, records.get(b"GNU.sparse.map", b"").split(b",")))]
        if len(numbers) % 2 or len(numbers) != 2 * _decimal(records.get(b"GNU.sparse.numblocks", b"")):
            raise Damaged("has a map of holes with another number of stretches than it says")
        size_bytes = _decimal(records.get(b"GNU.sparse.size", b""))
        return self._map(size_bytes, zip(numbers[::2], numbers[1::2], strict=True)), 0

    def _map(self, size_bytes: int, stretches: _Stretches) -> SparseMap:
        return SparseMap.of(size_bytes, self._counted(stretches))

    def _counted(self, stretches: _Stretches) -> _Stretches:
        ragged = False
        for stretch in stretches:
            self._left -= 1
            if self._left < 0:
                raise _too_many()
            if ragged and stretch[1]:
                raise Damaged(
                    "has stretches of data that are no whole blocks: tar programs disagree about where the next begins"
                )
            ragged |= stretch[1] % tarfile.BLOCKSIZE != 0
            yield stretch


class _Lines:
    """The numbers in front of a file's data, one a line, in blocks of 512 bytes."""

    def __init__(self, read: _Read, most_bytes: int) -> None:
        self._read = read
        self._most_bytes = most_bytes
        self._text = b""
        self.read_bytes = 0

    def number(self) -> int:
        while b"\n" not in self._text:
            block = b""
            if self.read_bytes + tarfile.BLOCKSIZE <= self._most_bytes and len(self._text) <= _LONGEST_LINE_BYTES:
                block = self._read(tarfile.BLOCKSIZE)
            if len(block) < tarfile.BLOCKSIZE:
                raise Damaged("ends early, inside its map of holes")
            self.read_bytes += len(block)
            self._text += block
        line, _, self._text = self._text.partition(b"\n")
        return _decimal(line)


def _stretches(block: bytes, start: int, most: int) -> _Stretches:
    """Up to the first without a number of bytes."""
    for place in range(start, start + most * _STRETCH, _STRETCH):
        offset, length = block[place : place + _FIELD], block[place + _FIELD : place + _STRETCH]
        if not length.strip(b" \0"):
            return
        yield _number(offset), _number(length)


def _number(field: bytes) -> int:
    """A number in a header: octal digits, or binary if the first bit says so."""
    if field[0] == 0x80:  # noqa: PLR2004 - and 0xFF would be a negative one
        return int.from_bytes(field[1:], "big")
    digits = field.partition(b"\0")[0].strip()
    if not _OCTAL.fullmatch(digits):
        raise Damaged(f"has a map of holes with something that is no number: {field!r}")
    return int(digits or b"0", 8)


def _decimal(text: bytes) -> int:
    found = NUMBER.fullmatch(text)
    if not found:
        raise Damaged(f"has a map of holes with something that is no number: {text[:40]!r}")
    return int(found[1])


def _too_many() -> Damaged:
    return Damaged(f"has too many holes: at most {MAX_EXTENTS} stretches of data are taken in an archive")
