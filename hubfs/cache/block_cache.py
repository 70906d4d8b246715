"""The middle: blocks of files, the cache that keeps them, and two tiers as one cache."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

BLOCK_SIZE_BYTES = 1 << 20
"""The cache unit. The kernel's largest read is 1 MiB, so an aligned read is one block, handed out without a copy.
Why not more, and not less: docs/decisions/blocks.md."""


def block_size_at(index: int, file_size_bytes: int) -> int:
    """How many bytes block `index` of a file has: the last one may be short, and there is none past the end."""
    return max(0, min(BLOCK_SIZE_BYTES, file_size_bytes - index * BLOCK_SIZE_BYTES))


def blocks_of(offset_bytes: int, size_bytes: int, file_size_bytes: int) -> range:
    """The indexes of the blocks that a read touches; empty for a read of nothing or past the end."""
    end_bytes = min(offset_bytes + size_bytes, file_size_bytes)
    if offset_bytes >= end_bytes:
        return range(0)
    return range(offset_bytes // BLOCK_SIZE_BYTES, (end_bytes - 1) // BLOCK_SIZE_BYTES + 1)


class CacheKey(NamedTuple):
    """The file that a block belongs to.

    `model` reads `<hub>/<handle>@<identity>`: another identity is another model, so bytes of different origins are
    never mixed. `path` is the entry's path in it.
    """

    model: str
    path: str


@dataclass(frozen=True)
class TierStats:
    """How full a tier is, and how it served. Bytes and counts since the start of the daemon.

    `used_bytes`: None if that is not counted yet. `problem`: why it keeps nothing just now, if that is so. `evictions`:
    of blocks in memory, of models on disk. `failures`: what the disk refused to read or keep.
    """

    used_bytes: int | None
    limit_bytes: int
    hits: int
    misses: int
    problem: str | None = None
    hit_bytes: int = 0
    evictions: int = 0
    failures: int = 0


Release = Callable[[], None]
"""Ends a hold; calling it again does nothing."""


def once(end: Callable[[], None]) -> Release:
    """Does what `end` does, the first time that it is called, by whichever thread."""
    called = threading.Lock()

    def release() -> None:
        if called.acquire(blocking=False):
            end()

    return release


class BlockCache(Protocol):
    """Keeps blocks by file and index. Bounded in bytes.

    Missing, corrupt and unreadable are all a miss, and no method ever raises for what the disk does.
    """

    def get(self, key: CacheKey, index: int) -> bytes | None:
        """The block, verified, or None."""
        ...

    def has(self, key: CacheKey, index: int) -> bool:
        """Whether `get` would most likely have the block: a cheap look, that reads no block and counts for nothing.

        False where the answer would take a request: what is far away is looked for by `get`.
        """
        ...

    def put(self, key: CacheKey, index: int, block: bytes) -> bool:
        """Keeps the block if there is room. True if it will outlive the process (it is on disk)."""
        ...

    def hold(self, model: str) -> Release:
        """Says that `model` is in use: what a hold protects is not evicted from the disk, by no process."""
        ...

    def drop(self, model: str) -> None:
        """Forgets everything of `model`."""
        ...

    def cached_bytes(self, model: str) -> int | None:
        """How many bytes of `model` a reader would get without the origin (on disk, or in memory if no disk).

        None: that is not counted yet, or not without a request. The cost of asking does not grow with the model.
        """
        ...

    def stats(self) -> dict[str, TierStats]:
        """The tiers by name, the fastest first."""
        ...


class TieredCache:
    """Reads from `fast`, then from `slow`, whose hits move up; writes to both.

    A model that is dropped may be damaged, and a block of it that is on its way up meanwhile would stay there for good:
    the drops are counted, and `get` takes back what it moved if there was one. `_lock` guards `_drops` and `_coming`
    (how often each block is being put just now); it is never held while a tier is asked.
    """

    def __init__(self, fast: BlockCache, slow: BlockCache) -> None:
        self._fast = fast
        self._slow = slow
        self._lock = threading.Lock()
        self._drops: Counter[str] = Counter()  # by model
        self._coming: Counter[tuple[CacheKey, int]] = Counter()

    def get(self, key: CacheKey, index: int) -> bytes | None:
        """The block, verified, or None."""
        block = self._fast.get(key, index)
        if block is None:
            drops = self._drops_of(key.model)
            block = self._slow.get(key, index)
            if block is not None:
                self._fast.put(key, index, block)
                if self._drops_of(key.model) != drops:
                    self._fast.drop(key.model)
        return block

    def has(self, key: CacheKey, index: int) -> bool:
        """Whether `get` would most likely have the block."""
        return self._fast.has(key, index) or self._slow.has(key, index)

    def put(self, key: CacheKey, index: int, block: bytes) -> bool:
        """Keeps the block if there is room; whether it will outlive the process."""
        with self._lock:
            self._coming[key, index] += 1
        try:
            self._fast.put(key, index, block)
            return self._slow.put(key, index, block)
        finally:
            with self._lock:
                self._coming[key, index] -= 1
                if not self._coming[key, index]:
                    del self._coming[key, index]

    def settle(self, key: CacheKey, file_size_bytes: int) -> None:
        """Has the slow tier keep what the fast one alone has of a file: blocks that came when it had no room."""
        drops = self._drops_of(key.model)
        for index in blocks_of(0, file_size_bytes, file_size_bytes):
            stays = self._fast.has(key, index) and (key, index) not in self._coming
            if stays and not self._slow.has(key, index):
                block = self._fast.get(key, index)
                if block is not None:
                    self._slow.put(key, index, block)
        if self._drops_of(key.model) != drops:
            self._slow.drop(key.model)

    def hold(self, model: str) -> Release:
        """Says that `model` is in use, until the release."""
        return self._slow.hold(model)

    def drop(self, model: str) -> None:
        """Forgets everything of `model`."""
        self._slow.drop(model)
        with self._lock:
            self._drops[model] += 1
        self._fast.drop(model)

    def _drops_of(self, model: str) -> int:
        with self._lock:
            return self._drops[model]

    def cached_bytes(self, model: str) -> int | None:
        """How many bytes of `model` the slow tier has, for that is what lasts."""
        return self._slow.cached_bytes(model)

    def stats(self) -> dict[str, TierStats]:
        """The figures of both tiers, by name."""
        return {**self._fast.stats(), **self._slow.stats()}


class OverShared(TieredCache):
    """A local tier (the disk, or memory if there is none) over the shared one; only the local one counts as kept."""

    def __init__(self, local: BlockCache, shared: BlockCache) -> None:
        super().__init__(local, shared)
        self._local = local

    def put(self, key: CacheKey, index: int, block: bytes) -> bool:
        """Keeps the block in both tiers; whether the local one has it now."""
        self._slow.put(key, index, block)
        return self._local.put(key, index, block)

    def hold(self, model: str) -> Release:
        """Says that `model` is in use in the local tier: nothing is evicted from the shared one."""
        return self._local.hold(model)

    def cached_bytes(self, model: str) -> int | None:
        """How many bytes of `model` are local; to look at a status asks no store."""
        return self._local.cached_bytes(model)


def cached_block(cache: BlockCache, key: CacheKey, index: int, file_size_bytes: int) -> bytes | None:
    """Block `index` of a file of that size, verified, or None.

    A block of another length is none of this file: it would move all bytes behind it.
    """
    block = cache.get(key, index)
    return block if block is not None and len(block) == block_size_at(index, file_size_bytes) else None


def runs_of(indexes: Iterable[int], longest: int, *, cut_every: int | None = None) -> Iterator[range]:
    """Groups ascending block indexes into runs of neighbours, none longer than `longest`.

    With `cut_every`, no run crosses a multiple of it.
    """
    start = stop = -1
    for index in indexes:
        if index == stop and stop - start < longest and not (cut_every and index % cut_every == 0):
            stop += 1
            continue
        if stop > start:
            yield range(start, stop)
        start, stop = index, index + 1
    if stop > start:
        yield range(start, stop)


def slice_blocks(blocks: list[bytes], first_index: int, offset_bytes: int, size_bytes: int) -> bytes:
    """The bytes of a read, from the neighbouring blocks that cover it. An aligned read of one block copies nothing."""
    start_bytes = offset_bytes - first_index * BLOCK_SIZE_BYTES
    if len(blocks) == 1:
        block = blocks[0]
        return block if start_bytes == 0 and size_bytes >= len(block) else block[start_bytes : start_bytes + size_bytes]
    views = [memoryview(block) for block in blocks]
    views[0] = views[0][start_bytes:]
    before_bytes = sum(len(view) for view in views[:-1])
    views[-1] = views[-1][: size_bytes - before_bytes]
    return b"".join(views)
