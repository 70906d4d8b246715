"""A file with holes, of which only the bytes between them are stored."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from hubfs.blobs.blob import Blob, Prefetchable, WrappedBlob
from hubfs.errors import Damaged


@dataclass(frozen=True)
class SparseMap:
    """Where a file of `size_bytes` bytes has data; everywhere else it has zeros.

    `extents` are the offsets and sizes in bytes of the stretches of data: in order, apart, none empty. Their data are
    stored one after the other, without the holes. Raises `Damaged` for extents that are not so, or leave the file.
    """

    size_bytes: int
    extents: tuple[tuple[int, int], ...] = field(repr=False)
    _stored_at: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        end_bytes = -1
        for offset_bytes, size_bytes in self.extents:
            if offset_bytes <= end_bytes or size_bytes <= 0:
                raise Damaged("a map of holes contradicts itself: its stretches of data overlap, or are out of order")
            end_bytes = offset_bytes + size_bytes
        if max(end_bytes, 0) > self.size_bytes:
            raise Damaged(f"a map of holes contradicts itself: data up to byte {end_bytes} of {self.size_bytes}")
        object.__setattr__(self, "_stored_at", tuple(accumulate((size for _, size in self.extents), initial=0)))

    @classmethod
    def of(cls, size_bytes: int, stretches: Iterable[tuple[int, int]]) -> "SparseMap":
        """A map of stretches as archives have them: in order, but maybe adjacent, or empty. Raises `Damaged`."""
        extents: list[tuple[int, int]] = []
        end_bytes = 0
        for offset_bytes, length_bytes in stretches:
            if offset_bytes < end_bytes or length_bytes < 0 or offset_bytes + length_bytes > size_bytes:
                raise Damaged(
                    f"its map of holes contradicts itself: {length_bytes} bytes of data at {offset_bytes}, behind "
                    f"{end_bytes}, in a file of {size_bytes}"
                )
            if length_bytes and extents and offset_bytes == sum(extents[-1]):
                extents[-1] = (extents[-1][0], extents[-1][1] + length_bytes)
            elif length_bytes:
                extents.append((offset_bytes, length_bytes))
            end_bytes = offset_bytes + length_bytes
        return cls(size_bytes, tuple(extents))

    @property
    def stored_bytes(self) -> int:
        """How many bytes of data there are."""
        return self._stored_at[-1]

    @property
    def is_whole(self) -> bool:
        """Whether there is no hole."""
        return self.stored_bytes == self.size_bytes

    def pieces(self, offset_bytes: int, size_bytes: int) -> Iterator[tuple[int, int, int]]:
        """The data in a range of the file, in order: offset in the file, offset among what is stored, size."""
        end_bytes = offset_bytes + size_bytes
        number = max(0, bisect_right(self.extents, offset_bytes, key=lambda extent: extent[0]) - 1)
        while number < len(self.extents) and (start := self.extents[number][0]) < end_bytes:
            first = max(start, offset_bytes)
            length_bytes = min(start + self.extents[number][1], end_bytes) - first
            if length_bytes > 0:
                yield first, self._stored_at[number] + first - start, length_bytes
            number += 1

    def offset_of(self, stored_bytes: int) -> int:
        """Where in the file the byte lies that is stored at `stored_bytes`; the file's end for the end of the data."""
        if stored_bytes >= self.stored_bytes:
            return self.size_bytes
        number = bisect_right(self._stored_at, stored_bytes) - 1
        return self.extents[number][0] + stored_bytes - self._stored_at[number]


class SparseBlob(WrappedBlob):
    """Wraps `blob`, what is stored of a file: shows the file with its holes, which cost neither a fetch nor room."""

    def __init__(self, blob: Blob, sparse: SparseMap) -> None:
        super().__init__(blob)
        self._map = sparse
        self.size_bytes = sparse.size_bytes

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes at an offset, holes as zeros. The stored bytes of one range are one range of the wrapped blob."""
        size_bytes = min(size_bytes, self.size_bytes - offset_bytes)
        if size_bytes <= 0:
            return b""
        pieces = [*self._map.pieces(offset_bytes, size_bytes)]
        if not pieces:
            return bytes(size_bytes)
        stored_at, wanted_bytes = pieces[0][1], sum(length_bytes for _, _, length_bytes in pieces)
        stored = self._blob.read_at(stored_at, wanted_bytes)
        if len(stored) != wanted_bytes:
            raise Damaged(f"{self.key}: {wanted_bytes} bytes asked for, {len(stored)} came")
        if wanted_bytes == size_bytes:
            return stored
        data, view = bytearray(size_bytes), memoryview(stored)
        for at, stored_offset, length_bytes in pieces:
            start = stored_offset - stored_at
            data[at - offset_bytes : at - offset_bytes + length_bytes] = view[start : start + length_bytes]
        return bytes(data)

    def prefetch(self, offset_bytes: int, size_bytes: int) -> int:
        """Begins to fetch a byte range; returns up to where it is here or on its way."""
        end_bytes = min(offset_bytes + size_bytes, self.size_bytes)
        pieces = [*self._map.pieces(offset_bytes, end_bytes - offset_bytes)]
        if not pieces or not isinstance(self._blob, Prefetchable):
            return end_bytes
        stored_at, wanted_bytes = pieces[0][1], sum(length_bytes for _, _, length_bytes in pieces)
        reached = self._blob.prefetch(stored_at, wanted_bytes)
        if reached >= stored_at + wanted_bytes:
            return end_bytes
        return max(offset_bytes, self._map.offset_of(reached))
