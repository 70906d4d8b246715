"""The tensors of a file, which of them a reader came to, and how many it skips: pure."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass

from hubfs.formats.safetensors import Tensor
from hubfs.sources.prefetch.plan import by_numbers

MANY = 8
"""Who skips more tensors than this reads a part of the model: some experts, some layers."""

_WORTH_BYTES = 64 << 10
"""Smaller tensors (norms, biases, scales) are not told apart: nobody skips them to have less to read."""

_MOST_TENSORS = 16_384
"""Of more in one file the smallest are not told apart. Files of 5 GB with experts have 600."""

_FRONTS = 8
"""So many places at which readers go forward at once: loaders have 4 to 8 threads."""

_PATIENCE = 16
"""Of 8 readers each reads on at its own place before the others came to two tensors each."""

_NEAR_BYTES = 1 << 20
"""A read that begins this near to where another ended goes on with it: the kernel's come slightly out of order."""


class Tensors:
    """The tensors of a file whose data begin at `data_bytes`, in three orders: of their bytes, names, and numbers.

    Loaders read in one of them: by names, or with the numbers in the names as numbers (`layers.2` before `layers.10`).
    """

    def __init__(self, data_bytes: int, tensors: Sequence[Tensor]) -> None:
        self.data_bytes = data_bytes
        sized = sorted(tensors, key=lambda one: one.start_bytes - one.end_bytes)[:_MOST_TENSORS]
        worth = sorted(
            (one for one in sized if one.end_bytes - one.start_bytes >= _WORTH_BYTES), key=lambda one: one.start_bytes
        )
        self.starts_bytes = [one.start_bytes for one in worth]
        self.ends_bytes = [one.end_bytes for one in worth]
        offsets = range(len(worth))
        named = sorted(offsets, key=lambda index: worth[index].name)
        numbered = sorted(offsets, key=lambda index: by_numbers(worth[index].name))
        self._ranks = [_ranks(order) for order in (offsets, named, numbered)]
        self._came: list[list[int]] = [[] for _ in self._ranks]

    def at(self, offset_bytes: int) -> int | None:
        """The tensor that has the byte there."""
        index = bisect_right(self.starts_bytes, offset_bytes) - 1
        return index if index >= 0 and offset_bytes < self.ends_bytes[index] else None

    def begun_in(self, offset_bytes: int, end_bytes: int) -> range:
        """The tensors whose first byte lies there."""
        return range(bisect_left(self.starts_bytes, offset_bytes), bisect_left(self.starts_bytes, end_bytes))

    def was_begun(self, index: int) -> bool:
        """Whether a reader came to the tensor's first byte."""
        rank, came = self._ranks[0][index], self._came[0]
        at = bisect_left(came, rank)
        return at < len(came) and came[at] == rank

    def rank(self, order: int, index: int) -> int:
        """The place of a tensor in an order."""
        return self._ranks[order][index]

    def come(self, index: int) -> tuple[int, int]:
        """A reader comes to the tensor. Returns the order in which the fewest tensors lie between it and the one before
        that a reader came to, and the place of that one, -1 for the start.
        """
        best = (len(self.starts_bytes), 0, -1)
        for order, (ranks, came) in enumerate(zip(self._ranks, self._came, strict=True)):
            at = bisect_left(came, ranks[index])
            before = came[at - 1] if at else -1
            best = min(best, (ranks[index] - before - 1, order, before))
            insort(came, ranks[index])
        return best[1:]


def _ranks(order: Sequence[int]) -> list[int]:
    ranks = [0] * len(order)
    for rank, index in enumerate(order):
        ranks[index] = rank
    return ranks


@dataclass
class _Gap:
    """Tensors between two places of an order, at the first of which a reader may go on. `since`: it did so last."""

    tensors: Tensors
    order: int
    low: int
    high: int
    since: int

    @property
    def size(self) -> int:
        return self.high - self.low - 1


class Skips:
    """Counts the tensors that readers left behind, over all files of a model.

    A reader that jumps leaves a gap. It may be the first of several, each of which goes forward at a place of its own:
    a gap counts as skipped when nobody read at its start, or in it, while readers came to `_PATIENCE` tensors
    elsewhere, or when there are more gaps than readers.
    """

    def __init__(self) -> None:
        self._gaps: list[_Gap] = []
        self._came = 0
        self._skipped = 0

    @property
    def many(self) -> bool:
        """Whether the readers read only a part of the model."""
        return self._skipped > MANY

    def read(self, tensors: Tensors, offset_bytes: int, end_bytes: int) -> None:
        """A reader reads in a tensor, behind which it may go on later, and may come to others."""
        here = tensors.at(offset_bytes)
        for gap in self._gaps:
            if here is not None and gap.tensors is tensors and gap.low == tensors.rank(gap.order, here):
                gap.since = self._came
        for index in tensors.begun_in(offset_bytes, end_bytes):
            if not tensors.was_begun(index):
                self._come(tensors, index)

    def _come(self, tensors: Tensors, index: int) -> None:
        self._came += 1
        for gap in self._gaps:
            if gap.tensors is tensors and gap.low < (rank := tensors.rank(gap.order, index)) < gap.high:
                gap.low, gap.since = rank, self._came
        order, low = tensors.come(index)
        new = _Gap(tensors, order, low, tensors.rank(order, index), self._came)
        self._gaps = [gap for gap in (*self._gaps, new) if gap.size]
        while self._gaps:
            oldest = min(self._gaps, key=lambda gap: gap.since)
            if len(self._gaps) <= _FRONTS and self._came - oldest.since <= _PATIENCE:
                break
            self._gaps.remove(oldest)
            self._skipped += oldest.size


class Fronts:
    """The places in a file at which readers go forward, the one that was read last first."""

    def __init__(self) -> None:
        self._fronts: list[tuple[int, int]] = []  # where each is, and how much was read in order

    def read(self, offset_bytes: int, end_bytes: int) -> int:
        """A reader reads on at one of them, or elsewhere. Returns how much was read in order there, in bytes."""
        read_bytes = 0
        for front in self._fronts:
            if abs(offset_bytes - front[0]) <= _NEAR_BYTES:
                self._fronts.remove(front)
                read_bytes, offset_bytes, end_bytes = front[1], front[0], max(front[0], end_bytes)
                break
        read_bytes += end_bytes - offset_bytes
        self._fronts = [(end_bytes, read_bytes), *self._fronts[: _FRONTS - 1]]
        return read_bytes

    def came_before(self, tensors: Tensors) -> None:
        """Has all tensors count as come to that readers went over before these were known."""
        for end_bytes, read_bytes in self._fronts:
            for index in tensors.begun_in(end_bytes - read_bytes, end_bytes):
                if not tensors.was_begun(index):
                    tensors.come(index)
