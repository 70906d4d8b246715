"""A blob read through the block cache."""

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import ExitStack

from hubfs.blobs.blob import Blob
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, BlockCache, CacheKey, block_size_at, blocks_of
from hubfs.cache.shared_layout import place_of
from hubfs.cache.shared_turns import NoTurns, Turns
from hubfs.cancellation import Cancellation
from hubfs.errors import Cancelled, Damaged
from hubfs.single_flight import await_result

_RUN_BLOCKS = 8
"""At most this many neighbouring blocks are fetched in one request: 8 MiB keep a fast connection busy over a round
trip, and several such requests run side by side (gcsfs: 1.6 GB/s one at a time, 2.2 GB/s four at a time)."""

_WAIT_S = 300.0
"""The bound for a reader that waits for another reader's fetch; the fetch itself gives up much earlier."""


def runs_of(indexes: Iterable[int], longest: int = _RUN_BLOCKS) -> Iterator[range]:
    """Groups ascending block indexes into runs of neighbours, none longer than `longest`."""
    start = stop = -1
    for index in indexes:
        if index == stop and stop - start < longest:
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


class CachedBlob:
    """Wraps `blob`: reads come from `cache`; what is missing is fetched once, whoever asks, and kept.

    Reads of the wrapped blob begin at block boundaries and cover whole blocks. With `turns`, one daemon of a fleet
    fetches a block and the others find it in the shared cache. `_lock` guards `_flights` (the fetches
    under way, by block); it is never held across I/O or a wait.
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
    ) -> None:
        self._blob = blob
        self._cache = cache
        self._cache_key = cache_key
        self._pool = pool
        self._cancellation = cancellation
        self._turns = turns or NoTurns()
        self._lock = threading.Lock()
        self._flights: dict[int, Future[bytes]] = {}

    @property
    def key(self) -> str:
        """The wrapped blob's: what is cached are its bytes."""
        return self._blob.key

    @property
    def size_bytes(self) -> int:
        """The wrapped blob's."""
        return self._blob.size_bytes

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """See `Blob`. Also raises `TimedOut` when another reader's fetch does not end, and `Cancelled`."""
        indexes = blocks_of(offset_bytes, size_bytes, self.size_bytes)
        if not indexes:
            return b""
        found = {index: block for index in indexes if (block := self._cache.get(self._cache_key, index)) is not None}
        if len(found) < len(indexes):
            found.update(self._obtain([index for index in indexes if index not in found]))
        return slice_blocks([found[index] for index in indexes], indexes.start, offset_bytes, size_bytes)

    def prefetch(self, offset_bytes: int, size_bytes: int) -> None:
        """Begins to fetch the blocks of a byte range that are neither here nor on their way; returns at once."""
        indexes = blocks_of(offset_bytes, size_bytes, self.size_bytes)
        claimed, _ = self._claim(indexes)
        for run in runs_of(claimed):
            self._start(run, claimed)

    def _obtain(self, missing: list[int]) -> dict[int, bytes]:
        claimed, flights = self._claim(missing)
        *others, mine = [*runs_of(claimed)] or [range(0)]
        for run in others:
            self._start(run, claimed)
        self._fetch(mine, claimed)
        return {
            index: await_result(flight, self._cancellation, _WAIT_S, f"bytes of {self.key}")
            for index, flight in flights.items()
        }

    def _claim(self, indexes: Iterable[int]) -> tuple[dict[int, Future[bytes]], dict[int, Future[bytes]]]:
        """The flights that the caller must now carry out, and all flights of `indexes`."""
        claimed: dict[int, Future[bytes]] = {}
        flights: dict[int, Future[bytes]] = {}
        with self._lock:
            for index in indexes:
                flight = self._flights.get(index)
                if flight is None:
                    flight = claimed[index] = self._flights[index] = Future()
                flights[index] = flight
        return claimed, flights

    def _start(self, run: range, claimed: dict[int, Future[bytes]]) -> None:
        try:
            task = self._pool.submit(self._fetch, run, claimed)
        except RuntimeError:  # the pool is shut down: the mount goes away, and the flights end with `Cancelled`
            self._fetch(run, claimed)
            return
        gone = Cancelled("the hub is being unmounted")
        task.add_done_callback(lambda task: self._end(run, claimed, gone) if task.cancelled() else None)

    def _end(self, run: range, claimed: dict[int, Future[bytes]], error: BaseException | None = None) -> None:
        """Forgets the flights of a run; those that did not land end with `error`. Called once a run."""
        with self._lock:  # first of all, so that whoever tries again after `error` begins anew
            for index in run:
                del self._flights[index]
        for index in run:
            if not claimed[index].done():
                claimed[index].set_exception(error)

    def _fetch(self, run: range, claimed: dict[int, Future[bytes]]) -> None:
        """Carries out the flights of a run. Never raises: what happened is in the flights."""
        try:
            # Between the look into the cache and the claim another reader's fetch may have ended.
            missing = self._hand_out(run, claimed)
            for part in runs_of(missing):
                self._fetch_in_turn(part, claimed)
            self._end(run, claimed)
        except BaseException as error:  # noqa: BLE001 - whatever happened belongs to the readers who wait
            self._end(run, claimed, error)

    def _hand_out(self, indexes: Iterable[int], claimed: dict[int, Future[bytes]]) -> list[int]:
        """Gives the flights what the cache has by now; returns the blocks that it has not."""
        missing = []
        for index in indexes:
            if claimed[index].done():
                continue
            block = self._cache.get(self._cache_key, index)
            if block is None:
                missing.append(index)
            else:
                claimed[index].set_result(block)
        return missing

    def _fetch_in_turn(self, run: range, claimed: dict[int, Future[bytes]]) -> None:
        """Fetches what another daemon is not fetching already, and waits for the rest."""
        with ExitStack() as turns:
            # In ascending order, so that no two daemons wait for each other.
            for file, number in sorted({place_of(self._cache_key, index) for index in (run.start, run.stop - 1)}):
                turns.enter_context(
                    self._turns.turn(
                        self._cache_key.model, f"{file}.{number}", lambda: not self._hand_out(run, claimed)
                    )
                )
            for part in runs_of(index for index in run if not claimed[index].done()):
                self._fetch_from_origin(part, claimed)

    def _fetch_from_origin(self, run: range, claimed: dict[int, Future[bytes]]) -> None:
        self._cancellation.check()
        size_bytes = sum(block_size_at(index, self.size_bytes) for index in run)
        data = self._blob.read_at(run.start * BLOCK_SIZE_BYTES, size_bytes)
        if len(data) != size_bytes:
            raise Damaged(f"{self.key}: {size_bytes} bytes asked for, {len(data)} came")
        for place, index in enumerate(run):
            block = data[place * BLOCK_SIZE_BYTES : (place + 1) * BLOCK_SIZE_BYTES]
            self._cache.put(self._cache_key, index, block)
            claimed[index].set_result(block)
