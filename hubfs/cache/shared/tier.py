"""The shared tier: what one daemon of a fleet fetched, the others read from an object store."""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from cachetools import LRUCache

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, BlockCache, CacheKey, Release, TierStats
from hubfs.cache.shared.layout import (
    MOST_BYTES,
    Place,
    bit_of,
    blocks_folder,
    encode,
    index_name,
    is_whole,
    mask_of,
    parse_run_name,
    place_of,
    run_name,
    verified,
)
from hubfs.cache.shared.listings import WAIT_S, Listings
from hubfs.cache.shared.store import RestingStore
from hubfs.cache.shared.writes import WriteBehind
from hubfs.errors import Damaged, HubfsError
from hubfs.waiting import Cancellation, SingleFlight

_log = logging.getLogger(__name__)

_DROP_S = 10.0


@dataclass(frozen=True)
class SharedSettings:
    """`queue_bytes` bounds the blocks that wait to be written: those that find no room are not written.

    `neighbours_bytes` bounds the blocks that came along with one that was read. `writers`: requests that write at
    once. `listing_s`: for how long a block that was not listed is believed to be missing. `gather_s`: for how long a
    run of blocks that is not whole waits for more.
    """

    queue_bytes: int = 64 * BLOCK_SIZE_BYTES
    neighbours_bytes: int = 64 * BLOCK_SIZE_BYTES
    writers: int = 4
    listing_s: float = 1.0
    gather_s: float = 2.0


@dataclass
class _Gathering:
    """Blocks of one run that wait for more. Guarded by the tier's lock."""

    key: CacheKey
    epoch: int
    touched_s: float
    blocks: dict[int, bytes] = field(default_factory=dict)


class SharedTier:
    """A BlockCache on an object store; the lowest tier. Reads whole runs of blocks, and writes behind.

    It is safe with any number of writers: objects never change, and their names say which bytes they hold. Objects that
    are not what they should be are a miss, and deleted. A block that waits to be written is read from here already.
    `local` is the tier that keeps this daemon's blocks, if it has a disk.

    `_lock` guards every field below it, and is held across no I/O. It is taken before that of `WriteBehind`'s.
    """

    def __init__(
        self,
        store: RestingStore,
        cancellation: Cancellation,
        settings: SharedSettings | None = None,
        *,
        local: BlockCache | None = None,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._settings = settings or SharedSettings()
        self._local = local
        self._timer = timer
        self._listings = Listings(store, cancellation, self._settings.listing_s, timer)
        self._objects_asked: SingleFlight[str, dict[int, bytes]] = SingleFlight(cancellation, WAIT_S)
        self._writes = WriteBehind(cancellation, threads=self._settings.writers, tick=self._seal_old)
        self._lock = threading.Lock()
        self._epochs: defaultdict[str, int] = defaultdict(int)  # by model: how often it was dropped
        self._unsaved: dict[tuple[CacheKey, int], tuple[int, bytes]] = {}  # with the epoch
        self._unsaved_bytes = 0
        self._skipped: dict[tuple[str, Place], _Gathering] = {}  # runs that found no room, without their blocks
        self._gathering: dict[tuple[str, Place], _Gathering] = {}
        self._neighbours: LRUCache[tuple[CacheKey, int], bytes] = LRUCache(
            maxsize=self._settings.neighbours_bytes, getsizeof=len
        )
        self._hits = 0
        self._misses = 0
        self._hit_bytes = 0

    def get(self, key: CacheKey, index: int) -> bytes | None:
        """The block, verified, or None. The blocks around it come along, and take no request of their own then."""
        block = self._at_hand(key, index)
        if block is None:
            try:
                block = self._fetch(key, index)
            except HubfsError as error:
                _log.debug("Not read from the shared cache: %s", error)
        with self._lock:
            if block is None:
                self._misses += 1
            else:
                self._hits += 1
                self._hit_bytes += len(block)
        return block

    def has(self, key: CacheKey, index: int) -> bool:  # noqa: ARG002 - the protocol's signature
        """False, always: to know whether the block is there takes a request."""
        return False

    def put(self, key: CacheKey, index: int, block: bytes) -> bool:
        """Has the block written later, if at all; so False, always."""
        if self._store.resting or len(block) > BLOCK_SIZE_BYTES:
            return False
        with self._lock:
            epoch = self._epochs[key.model]
            run = key.model, place_of(key, index)
            if (key, index) in self._unsaved:
                return False
            if self._unsaved_bytes + len(block) > self._settings.queue_bytes:
                if self._local is not None:
                    self._skipped.setdefault(run, _Gathering(key, epoch, 0.0)).blocks[index] = b""
                return False
            self._unsaved[key, index] = epoch, block
            self._unsaved_bytes += len(block)
            gathering = self._gathering.setdefault(run, _Gathering(key, epoch, 0.0))
            gathering.blocks[index] = block
            gathering.touched_s = self._timer()
            if is_whole(gathering.blocks):
                self._seal(run)
            else:
                self._writes.begin()
        return False

    def hold(self, model: str) -> Release:  # noqa: ARG002 - the protocol's signature
        """Nothing to do: nothing is evicted from here; the bucket's lifecycle rules bound it."""
        return lambda: None

    def drop(self, model: str) -> None:
        """Forgets everything of `model`, its index too. Waits a while for what is being written."""
        with self._lock:
            self._epochs[model] += 1
            for place in [place for place in self._unsaved if place[0].model == model]:
                self._unsaved_bytes -= len(self._unsaved.pop(place)[1])
            for runs in (self._gathering, self._skipped):
                for run in [run for run in runs if run[0] == model]:
                    del runs[run]
            for place in [place for place in self._neighbours if place[0].model == model]:
                del self._neighbours[place]
            self._listings.forget(model)
        self._writes.flush(_DROP_S, model)
        try:
            self._store.delete(index_name(model))
            for obj in self._store.list(blocks_folder(model)):
                self._store.delete(obj.name)
        except HubfsError as error:
            _log.warning("The shared cache cannot drop %s: %s", model, error)
        self._listings.forget(model)

    def cached_bytes(self, model: str) -> None:
        """None, always: to count takes a request, and a look at a status asks no store."""

    def stats(self) -> dict[str, TierStats]:
        """How it served, and how many bytes wait to be written."""
        with self._lock:
            served = (self._hits, self._misses, None, self._hit_bytes)
            return {"shared": TierStats(self._unsaved_bytes, self._settings.queue_bytes, *served)}

    def seal(self, model: str | None = None) -> None:
        """Has everything (of `model`) written that waits for more blocks of its run."""
        with self._lock:
            for run in [run for run in self._gathering if model in (None, run[0])]:
                self._seal(run)

    def look_again(self, model: str, place: Place | None = None, within_s: float = 0.0) -> None:
        """Finds what others have stored of `model`, or around `place`, up to now, or up to `within_s` ago."""
        try:
            self._listings.look_again(model, place, within_s)
        except HubfsError as error:
            _log.debug("Not listed in the shared cache: %s", error)

    def leased(self, model: str, place: Place) -> bool:
        """Whether a daemon fetches blocks of a run, as far as was found. Asks nobody."""
        return self._listings.leased(model, place)

    def afterwards(self, model: str, action: Callable[[], None]) -> None:
        """Has `action` run, behind the readers' backs, once all blocks of `model` that were put before are written.

        Blocks that found no room in the queue are written first, from the local tier.
        """

        def last() -> None:
            self._catch_up(model)
            action()

        self.seal(model)
        self._writes.submit(model, last, in_order=True)

    def flush(self, timeout_s: float) -> bool:
        """Writes what is to be written. False if that did not end in `timeout_s` seconds. Call it before the cancel."""
        self.seal()
        return self._writes.flush(timeout_s)

    def _at_hand(self, key: CacheKey, index: int) -> bytes | None:
        with self._lock:
            _, block = self._unsaved.get((key, index), (0, None))
            # Given away: the tier above keeps it from now on.
            return block if block is not None else self._neighbours.pop((key, index), None)

    def _fetch(self, key: CacheKey, index: int) -> bytes | None:
        place, bit = place_of(key, index), bit_of(index)
        for _ in range(3):
            found = self._listings.of(
                key.model, place, lambda found: any(mask & bit for mask in found.objects.get(place, ()))
            )
            sizes_bytes = {mask: size for mask, size in found.objects.get(place, {}).items() if mask & bit}
            if not sizes_bytes:
                return None
            mask = max(sizes_bytes, key=int.bit_count)
            name = run_name(key.model, place, mask)
            if sizes_bytes[mask] > MOST_BYTES:  # all of it would have to be in memory
                self._refuse(key, name, Damaged(f"it has {sizes_bytes[mask]} bytes"))
                continue
            blocks = self._objects_asked.run(name, lambda name=name: self._read(key, index, name))  # type: ignore[misc]
            if index in blocks:
                with self._lock:
                    self._neighbours.pop((key, index), None)
                return blocks[index]
        return None

    def _read(self, key: CacheKey, index: int, name: str) -> dict[int, bytes]:
        """The blocks of an object, none if it is of no use."""
        block = self._at_hand(key, index)
        if block is not None:
            return {index: block}  # it came along since the caller looked
        with self._lock:
            epoch = self._epochs[key.model]
        data = self._store.get(name)
        try:
            blocks = verified(key, name, data)
        except Damaged as damage:
            self._refuse(key, name, damage)
            return {}
        with self._lock:
            if self._epochs[key.model] == epoch:
                for other, block in blocks.items():
                    if len(block) <= self._neighbours.maxsize:
                        self._neighbours[key, other] = block
        return blocks

    def _refuse(self, key: CacheKey, name: str, damage: Damaged) -> None:
        """Deletes an object, so that a good one can take its place."""
        _log.warning("%s in the shared cache is left aside (%s): %s", name, key.path, damage)
        parsed = parse_run_name(key.model, name)
        if parsed is not None:
            self._listings.note(key.model, *parsed, None)
        self._store.delete(name)

    def _seal_old(self) -> None:
        with self._lock:
            until_s = self._timer() - self._settings.gather_s
            for run in [run for run, gathering in self._gathering.items() if gathering.touched_s < until_s]:
                self._seal(run)

    def _seal(self, run: tuple[str, Place]) -> None:
        """Held: `_lock`."""
        gathering = self._gathering.pop(run)
        self._writes.submit(run[0], lambda: self._write(run[1], gathering))

    def _catch_up(self, model: str) -> None:
        with self._lock:
            runs = [run for run in self._skipped if run[0] == model]
            skipped = [(run[1], self._skipped.pop(run)) for run in runs]
        for place, missed in skipped:
            if self._local is None or self._store.resting:
                return
            found = {index: self._local.get(missed.key, index) for index in missed.blocks}
            blocks = {index: block for index, block in found.items() if block is not None}
            if blocks:
                try:
                    self._write(place, _Gathering(missed.key, missed.epoch, 0.0, blocks))
                except HubfsError as error:
                    _log.debug("Not written to the shared cache: %s", error)

    def _write(self, place: Place, gathering: _Gathering) -> None:
        key, blocks = gathering.key, gathering.blocks
        mask = mask_of(blocks)
        try:
            found = self._listings.of(key.model, place)
            there = any(mask | other == other for other in found.objects.get(place, ()))
            with self._lock:
                dropped = self._epochs[key.model] != gathering.epoch
            data = None if dropped or there else encode(key, blocks)
            if data is not None:
                self._store.put(run_name(key.model, place, mask), data, if_absent=True)
                with self._lock:
                    if self._epochs[key.model] == gathering.epoch:
                        self._listings.note(key.model, place, mask, len(data))
        finally:
            with self._lock:
                for index, block in blocks.items():
                    if self._unsaved.get((key, index)) == (gathering.epoch, block):
                        del self._unsaved[key, index]
                        self._unsaved_bytes -= len(block)
