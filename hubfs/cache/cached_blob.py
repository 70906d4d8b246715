"""A blob read through the block cache."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import partial
from typing import Protocol, runtime_checkable

from cachetools import LRUCache

from hubfs.blobs.blob import Blob, WrappedBlob
from hubfs.cache.ahead import FETCHES, RUN_BLOCKS
from hubfs.cache.block_cache import (
    BLOCK_SIZE_BYTES,
    BlockCache,
    CacheKey,
    block_size_at,
    blocks_of,
    cached_block,
    runs_of,
    slice_blocks,
)
from hubfs.cache.shared.layout import RUN_BLOCKS as SHARED_RUN_BLOCKS
from hubfs.cache.turns import NoTurns, Turns
from hubfs.errors import Cancelled, Damaged
from hubfs.memory_budget import MemoryBudget
from hubfs.waiting import Cancellation, await_result

_WAIT_S = 300.0
"""The bound for a reader that waits for another reader's fetch; the fetch itself gives up much earlier."""

_NO_LIMIT_BYTES = 1 << 62


class CannotFetch(Exception):
    """The blocks cannot be fetched now; they come by."""


@runtime_checkable
class Streaming(Blob, Protocol):
    """A blob whose blocks come by while something larger is read, and are put into the cache as they do.

    Where blocks can be fetched, too, `read_at` does. It raises `CannotFetch` as soon as they can be no longer.
    """

    def can_fetch(self) -> bool:
        """Whether `read_at` fetches. Raises nothing."""
        ...

    def wait_for(self, index: int, look: Callable[[], bytes | None]) -> bytes | None:
        """Block `index`, as soon as it comes by; None as soon as `read_at` fetches.

        `look` looks into the cache; it is called once no block can come by unseen. Raises why the block does not come.
        """
        ...


class _Run:
    """Blocks that one request fetches, and the flights that end when they arrive.

    `ahead`: nobody waits for them yet. `begun` is guarded by the blob's lock: the thread that sets it carries the run
    out.
    """

    __slots__ = ("ahead", "begun", "flights", "indexes")

    def __init__(self, indexes: range, *, ahead: bool) -> None:
        self.indexes = indexes
        self.ahead = ahead
        self.begun = False
        self.flights: dict[int, Future[bytes]] = {index: Future() for index in indexes}


_MOST_PASSED = 4096
"""So many blocks that were passed are remembered, 0.5 MB: a file may be of any size, by the word of its hub."""


class CachedBlob(WrappedBlob):
    """Wraps `blob`: reads come from `cache`; what is missing is fetched once, for all readers, and kept.

    Reads of the wrapped blob begin at block boundaries and cover whole blocks. Blocks that are fetched ahead stand in
    line in `pool`, within the bounds of `budget`; blocks that a reader wants never wait in that line: the reader
    fetches them itself. With `turns`, one daemon of several fetches a block, and the others find it in the cache that
    they share.

    Blocks of a `Streaming` blob that only come by are waited for: they take no turn, no place in line and no memory,
    and the pass that brings them keeps them.

    `failed` says that nothing of the model is to be served any more. The caller that has it say so drops the model
    after that; what a fetch brings that was under way meanwhile, and may be as damaged, is dropped here.

    A reader that names ranges may read few of them past the cache where `needs_block` is set: it tells whether a block
    has to come whole, to be verified. A block that was passed once comes whole the next time.

    `_lock` guards `_flights` (the fetches under way, by block), every run's `begun` and `_passed` (the blocks that were
    passed last); it is never held across I/O or a wait, and taken before the lock of `budget`.
    """

    def __init__(
        self,
        blob: Blob,
        cache: BlockCache,
        cache_key: CacheKey,
        *,
        pool: Executor,
        cancellation: Cancellation,
        turns: Turns | None = None,
        budget: MemoryBudget | None = None,
        failed: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(blob)
        self._cache = cache
        self._cache_key = cache_key
        self._pool = pool
        self._cancellation = cancellation
        self._turns = turns or NoTurns()
        self._budget = budget or MemoryBudget(_NO_LIMIT_BYTES)
        self._failed = failed
        self._streaming = blob if isinstance(blob, Streaming) else None
        # A file that fits one request comes in one: a model's graph costs a round trip, and no second connection.
        whole = blocks_of(0, self.size_bytes, self.size_bytes)
        self._together = whole if len(whole) <= RUN_BLOCKS else range(0)
        self._lock = threading.Lock()
        self._flights: dict[int, _Run] = {}
        self._passed: LRUCache[int, None] = LRUCache(_MOST_PASSED)
        self.needs_block: Callable[[int], bool] | None = None

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes from `offset_bytes` on: exactly `size_bytes`, fewer only at the end of the blob.

        Raises as the blob below does, `TimedOut` when another reader's fetch does not end, and `Cancelled`.
        """
        indexes = blocks_of(offset_bytes, size_bytes, self.size_bytes)
        if len(indexes) == 1:  # most reads, most of them from memory
            block = self._cached(indexes.start)
            if block is not None:
                self._budget.read((self._cache_key, indexes.start))
                return slice_blocks([block], indexes.start, offset_bytes, size_bytes)
            found: list[bytes | None] = [None]
        elif indexes:
            found = [self._cached(index) for index in indexes]
        else:
            return b""
        missing = [index for index, block in zip(indexes, found, strict=True) if block is None]
        arrived = self._obtain(missing) if missing else {}
        for index in indexes:
            self._budget.read((self._cache_key, index))
        blocks = [arrived[index] if block is None else block for index, block in zip(indexes, found, strict=True)]
        return slice_blocks(blocks, indexes.start, offset_bytes, size_bytes)

    def by_blocks(self, index: int) -> bool:
        """Whether block `index` is here, on its way, or has to come whole: a look that costs little.

        Blocks of a file that one request brings come whole, and those that other machines may wait for.
        """
        return (
            self.needs_block is None
            or self._streaming is not None
            or bool(self._together)
            or index in self._passed
            or index in self._flights
            or self._turns.others_wait
            or self.needs_block(index)
            or self._cache.has(self._cache_key, index)
        )

    def read_past(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes from `offset_bytes` on, from the blob below, for this reader alone: exactly `size_bytes`.

        Raises as `read_at` does.
        """
        self._cancellation.check()
        with self._budget.taken(size_bytes):
            data = self._below(offset_bytes, size_bytes)
        with self._lock:
            for index in blocks_of(offset_bytes, size_bytes, self.size_bytes):
                self._passed[index] = None
        return data

    def prefetch(self, offset_bytes: int, size_bytes: int) -> int:
        """Begins to fetch the blocks of a byte range that are neither here nor on their way; returns at once.

        Begins no more than the memory for it allows; returns up to where everything is here or on its way (in bytes,
        `offset_bytes` if nothing is). Who wants the rest asks again, from there on, when some of this has been read.
        """
        indexes = self._together or blocks_of(offset_bytes, size_bytes, self.size_bytes)
        allowance_bytes = self._budget.allowance_bytes()
        wanted: list[int] = []
        stop = indexes.stop
        for index in indexes:
            if index in self._flights or self._cache.has(self._cache_key, index):
                continue
            if not wanted and self._streaming is not None and not self._streaming.can_fetch():
                break  # everything comes by
            block_bytes = self._size_of(index)
            allowance_bytes -= block_bytes
            if allowance_bytes < 0 or not self._budget.try_take(block_bytes):
                stop = index
                break
            wanted.append(index)
        with self._lock:
            runs = self._claim(wanted, ahead=True)
        for run in runs:
            self._start(run)
        return max(offset_bytes, min(offset_bytes + size_bytes, stop * BLOCK_SIZE_BYTES, self.size_bytes))

    def _obtain(self, missing: list[int]) -> dict[int, bytes]:
        if self._streaming is None:
            return self._fetched(missing)
        arrived: dict[int, bytes] = {}
        for index in missing:
            while index not in arrived:
                block = self._streaming.wait_for(index, partial(self._came, index))
                if block is not None:
                    arrived[index] = block
                    continue
                with suppress(CannotFetch):
                    arrived |= self._fetched([one for one in missing if one not in arrived])
        return arrived

    def _came(self, index: int) -> bytes | None:
        """A block that was missing a moment ago: a look that costs little, and counts as no miss, if it still is."""
        return self._cached(index) if self._cache.has(self._cache_key, index) else None

    def _fetched(self, missing: list[int]) -> dict[int, bytes]:
        beside = [index for index in self._together if index not in missing]
        absent = [index for index in beside if not self._cache.has(self._cache_key, index)]
        with self._lock:
            new = self._claim(sorted([*missing, *absent]), ahead=False)
            runs = {index: self._flights[index] for index in missing}
        wanted = list(dict.fromkeys(runs.values()))
        for run in new:  # of which none may be wanted: what is, may be on its way, and not what is beside it
            if run is not wanted[0]:
                self._start(run)
        for run in wanted:
            self._carry_out(run)  # unless somebody does already
        what = f"bytes of {self.key}"
        return {
            index: await_result(run.flights[index], self._cancellation, _WAIT_S, what) for index, run in runs.items()
        }

    def _claim(self, indexes: list[int], *, ahead: bool) -> list[_Run]:
        """New runs, to be carried out by the caller, of those blocks that are not on their way. Held: `_lock`.

        As long as it takes to have everything that is under way, of all files, in `FETCHES` requests: short ones first,
        so that the first bytes come soon, and long ones when there is much to do.
        """
        new = []
        for index in indexes:
            if index not in self._flights:
                new.append(index)
                if not ahead:
                    self._budget.take(self._size_of(index))
            elif ahead:  # a reader came first, and began it for itself
                self._budget.give_back(self._size_of(index))
        if self._turns.others_wait:  # one lease a request
            cut = runs_of(new, SHARED_RUN_BLOCKS, cut_every=SHARED_RUN_BLOCKS)
        else:
            under_way = max(len(self._flights) + len(new), self._budget.beside_cache_bytes() // BLOCK_SIZE_BYTES)
            longest = -(-under_way // FETCHES)
            cut = runs_of(new, RUN_BLOCKS if self._together else min(RUN_BLOCKS, longest))
        runs = [_Run(part, ahead=ahead) for part in cut]
        for run in runs:
            self._flights.update(dict.fromkeys(run.indexes, run))
        return runs

    def _cached(self, index: int) -> bytes | None:
        return cached_block(self._cache, self._cache_key, index, self.size_bytes)

    def _size_of(self, index: int) -> int:
        return block_size_at(index, self.size_bytes)

    def _start(self, run: _Run) -> None:
        try:
            task = self._pool.submit(self._carry_out, run)
        except RuntimeError:  # the pool is shut down: the mount goes away, and the flights end with `Cancelled`
            self._carry_out(run)
            return
        task.add_done_callback(lambda task: self._call_off(run) if task.cancelled() else None)

    def _begin(self, run: _Run) -> bool:
        with self._lock:
            mine, run.begun = not run.begun, True
        return mine

    def _call_off(self, run: _Run) -> None:
        if self._begin(run):
            self._end(run, Cancelled("the hub is being unmounted"))

    def _carry_out(self, run: _Run) -> None:
        """Fetches a run that nobody has begun. Never raises: what happened is in the flights."""
        if not self._begin(run):
            return
        try:
            # With one more look at least: since the one before the claim another reader's fetch may have ended.
            with self._turns.run_turn(self._cache_key, run.indexes, lambda: self._hand_out(run)):
                missing = [index for index in run.indexes if not run.flights[index].done()]
                for part in runs_of(missing, len(run.indexes)):
                    self._fetch(run, part)
            self._end(run)
        except BaseException as error:  # noqa: BLE001 - whatever happened belongs to the readers who wait
            self._end(run, error)

    def _end(self, run: _Run, error: BaseException | None = None) -> None:
        """Forgets the flights of a run; those that did not land end with `error`. Called once a run."""
        with self._lock:  # first of all, so that a reader that tries again after `error` begins anew
            for index in run.indexes:
                del self._flights[index]
        for index, flight in run.flights.items():
            if not flight.done():
                self._budget.give_back(self._size_of(index))
                flight.set_exception(error)

    def _below(self, offset_bytes: int, size_bytes: int) -> bytes:
        data = self._blob.read_at(offset_bytes, size_bytes)
        if len(data) != size_bytes:
            raise Damaged(f"{self.key}: {size_bytes} bytes asked for, {len(data)} came")
        return data

    def _hand_out(self, run: _Run) -> bool:
        """Gives the flights what the cache has by now; returns whether that was all."""
        arrived = True
        for index in run.indexes:
            if run.flights[index].done():
                continue
            block = self._cached(index)
            if block is None:
                arrived = False
            else:
                self._budget.give_back(self._size_of(index))
                run.flights[index].set_result(block)
        return arrived

    def _fetch(self, run: _Run, part: range) -> None:
        self._cancellation.check()
        data = self._below(part.start * BLOCK_SIZE_BYTES, sum(self._size_of(index) for index in part))
        for place, index in enumerate(part):
            block = data[place * BLOCK_SIZE_BYTES : (place + 1) * BLOCK_SIZE_BYTES]
            lasting = self._cache.put(self._cache_key, index, block)
            if run.ahead and not lasting:
                self._budget.arrived((self._cache_key, index), len(block))
            else:
                self._budget.give_back(len(block))
            run.flights[index].set_result(block)
        if self._failed():
            self._cache.drop(self._cache_key.model)
