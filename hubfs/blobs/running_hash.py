"""The hash of a file, which goes on as the file's blocks come, in any order."""

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

GIT_SHA1 = "git-sha1"

_BESIDE = 8
"""Blocks that a read adds from the cache to the hash, beside those that it brought."""

_BEHIND = 16
"""Blocks that are added behind the readers' backs before other tasks of the pool have their turn."""


def new_hash(algorithm: str, size_bytes: int) -> Any:
    """The hash of a file of `size_bytes`, of which no byte came yet."""
    if algorithm == GIT_SHA1:
        return hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)
    return hashlib.new(algorithm, usedforsecurity=False)


@dataclass(frozen=True)
class Hashed:
    """The hash of the first `blocks` blocks of a file. `summed` is only ever copied."""

    blocks: int
    summed: Any

    def with_block(self, block: bytes) -> "Hashed":
        """The hash that has the next block, too. hashlib gives up the GIL meanwhile."""
        summed = self.summed.copy()
        summed.update(block)
        return Hashed(self.blocks + 1, summed)


class RunningHash:
    """The hash of the blocks of a file, as far as they are here in their order.

    One thread at a time goes on with it: one that brings blocks, and where more of them are here already, a task that
    `behind` carries out later. So the read that brings the last block finds little left, unless that block closes a
    gap. `here` gives a block that came before, or None.

    `is_over`: nothing is added any more, since somebody goes on alone from `so_far`. `_lock` guards `_so_far`, which
    any thread may copy, and `_is_going_on`. It is never held while reading or summing.
    """

    def __init__(
        self, begun: Any, here: Callable[[int], bytes | None], behind: Callable[[Callable[[], None]], None] | None
    ) -> None:
        self._here = here
        self._behind = behind
        self._lock = threading.Lock()
        self._so_far = Hashed(0, begun)
        self._is_going_on = False
        self.is_over = False

    @property
    def so_far(self) -> Hashed:
        """The hash of the blocks that were added."""
        with self._lock:
            return self._so_far

    def go_on(self, in_hand: Mapping[int, bytes]) -> None:
        """Adds the blocks whose turn it is: those `in_hand`, and those that are here already."""
        with self._lock:
            if self._is_going_on or self.is_over:
                return
            self._is_going_on = True
        self._add(in_hand, len(in_hand) + _BESIDE)

    def _catch_up(self) -> None:
        self._add({}, _BEHIND)

    def _add(self, in_hand: Mapping[int, bytes], most: int) -> None:
        """Adds at most so many blocks; more of them that may be here are left to a task."""
        hashed, more = self.so_far, self._behind
        for _ in range(most):
            block = None if self.is_over else in_hand.get(hashed.blocks) or self._here(hashed.blocks)
            if block is None:
                more = None
                break
            hashed = hashed.with_block(block)
            with self._lock:
                self._so_far = hashed
        if more is not None:
            more(self._catch_up)
            return
        with self._lock:
            self._is_going_on = False
