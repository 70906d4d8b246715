"""Ranges that a reader names all at once: a pure policy, its constants with their reasons, and the blob.

Nothing here asks a network: the blob below has the cache, and knows what comes past it.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeGuard

from hubfs.blobs.blob import Blob, WrappedBlob
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, block_size_at, blocks_of

REQUEST_BYTES = 64 << 10
"""What a request costs, in bytes: about a millisecond of the processor, in which a connection brings 50 KB. Ranges
that lie nearer to each other come in one request."""

DENSE_PART = 4
"""A block is brought and kept whole once its ranges, with their requests, cost a fourth of it: 5 ms of its 20 ms."""

_LONGEST_BYTES = BLOCK_SIZE_BYTES // 2
"""Longer reads are dense in one of their blocks, wherever they begin."""


class Read(NamedTuple):
    """One read, of `size_bytes` from `offset_bytes` on, that brings the `ranges` in it, which are named by their places
    in the order. `past`: it is made past the cache.
    """

    offset_bytes: int
    size_bytes: int
    ranges: Sequence[int]
    past: bool = False


def plan_reads(order: Sequence[range], file_size_bytes: int, by_blocks: Callable[[int], bool]) -> list[Read]:
    """The reads that bring the ranges of `order`, which end at the end of the file at the latest; an empty one, none.

    Ranges that are few in their blocks come past the cache, those that are near to each other in one read. All others
    are read from the cache, each by itself: where a block is wanted in a good part, and where the block has to come
    whole, or is here already (`by_blocks`).
    """
    joined = _joined(order)
    costs_bytes: Counter[int] = Counter()
    for read in joined:
        touched = blocks_of(read.offset_bytes, read.size_bytes, file_size_bytes)
        for index in {touched.start, touched.stop - 1}:  # a long read has others between them, for itself alone
            costs_bytes[index] += _within(read, index) + REQUEST_BYTES
    reads = []
    for read in joined:
        touched = blocks_of(read.offset_bytes, read.size_bytes, file_size_bytes)
        if read.size_bytes > _LONGEST_BYTES or any(
            DENSE_PART * costs_bytes[index] >= block_size_at(index, file_size_bytes) or by_blocks(index)
            for index in touched
        ):
            reads += [_read_of(order, [number]) for number in read.ranges]
        else:
            reads.append(read._replace(past=True))
    return reads


def _joined(order: Sequence[range]) -> list[Read]:
    """Reads of the ranges by their offsets, each with those that begin before it ends, or soon after."""
    groups: list[list[int]] = []
    end_bytes = -1 - REQUEST_BYTES
    for number in sorted((number for number, one in enumerate(order) if one), key=lambda number: order[number].start):
        if order[number].start - end_bytes > REQUEST_BYTES:
            groups.append([])
        groups[-1].append(number)
        end_bytes = max(end_bytes, order[number].stop)
    return [_read_of(order, group) for group in groups]


def _read_of(order: Sequence[range], numbers: Sequence[int]) -> Read:
    """One read of some ranges, of which the first begins first."""
    offset_bytes = order[numbers[0]].start
    return Read(offset_bytes, max(order[number].stop for number in numbers) - offset_bytes, numbers)


def _within(read: Read, index: int) -> int:
    """How many bytes of a read are in a block."""
    start_bytes = index * BLOCK_SIZE_BYTES
    end_bytes = min(read.offset_bytes + read.size_bytes, start_bytes + BLOCK_SIZE_BYTES)
    return end_bytes - max(read.offset_bytes, start_bytes)


class Passable(Blob, Protocol):
    """A blob with a cache, which can be read past it."""

    def by_blocks(self, index: int) -> bool:
        """Whether block `index` is here, on its way, or has to come whole. Looks at no bytes, and raises nothing."""
        ...

    def read_past(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes at an offset, as `read_at` gives them, from below the cache, which does not keep them."""
        ...


def passable(blob: Blob) -> TypeGuard[Passable]:
    """Whether a blob is `Passable`."""
    return hasattr(blob, "read_past")


class RangesBlob(WrappedBlob):
    """The view of one reader that names its ranges, before it reads. Made per open file; nothing is fetched ahead.

    `_past` is only ever replaced.
    """

    _blob: Passable

    def __init__(self, blob: Passable) -> None:
        super().__init__(blob)
        self._past: frozenset[tuple[int, int]] = frozenset()

    def plan(self, order: Sequence[range]) -> list[Read]:
        """The reads that bring the ranges of `order`, for the reader to make, in any order."""
        reads = plan_reads(order, self.size_bytes, self._blob.by_blocks)
        self._past = frozenset((read.offset_bytes, read.size_bytes) for read in reads if read.past)
        return reads

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes at an offset; those that are planned so, from past the cache. Raises as the blob does."""
        if (offset_bytes, size_bytes) in self._past:
            return self._blob.read_past(offset_bytes, size_bytes)
        return self._blob.read_at(offset_bytes, size_bytes)
