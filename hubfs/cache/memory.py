"""The memory tier: least recently used blocks give way, bounded in bytes."""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Container

from hubfs.cache.block_cache import CacheKey, Release, TierStats

Place = tuple[CacheKey, int]

_SPANS = ""
"""The path under which spans are kept: no file has it."""


class MemoryTier:
    """A BlockCache of its own, and the upper half of the two tiers. Beside blocks it keeps spans of archives.

    `limit_bytes` is for these and for what `beside_bytes` says is taken elsewhere, together: as transfers take more,
    the next block that is put makes more blocks give way. Blocks in `awaited` give way last. `_lock` guards every
    field; `beside_bytes` and `awaited`, asked under it, take no lock.
    """

    def __init__(
        self, limit_bytes: int, beside_bytes: Callable[[], int] = lambda: 0, awaited: Container[Place] = ()
    ) -> None:
        self._limit_bytes = limit_bytes
        self._beside_bytes = beside_bytes
        self._awaited = awaited
        self._lock = threading.Lock()
        self._blocks: OrderedDict[Place, bytes] = OrderedDict()  # the least recently used one first
        self._used_bytes = 0
        self._cached_bytes: Counter[str] = Counter()  # by model, without spans
        self._hits = 0
        self._misses = 0
        self._hit_bytes = 0
        self._evictions = 0

    def get(self, key: CacheKey, index: int) -> bytes | None:
        """The block, verified, or None."""
        with self._lock:
            block = self._used((key, index))
            if block is None:
                self._misses += 1
            else:
                self._hits += 1
                self._hit_bytes += len(block)
            return block

    def has(self, key: CacheKey, index: int) -> bool:
        """Whether `get` would most likely have the block."""
        with self._lock:
            return (key, index) in self._blocks

    def put(self, key: CacheKey, index: int, block: bytes) -> bool:
        """Keeps the block if there is room. False, always: memory does not outlive the process."""
        if len(block) > self._limit_bytes:
            return False
        with self._lock:
            self._forget((key, index))
            room_bytes = self._limit_bytes - self._beside_bytes() - len(block)
            self._give_way(room_bytes)
            if room_bytes >= 0:
                self._keep((key, index), block)
        return False

    def span(self, model: str, start_bytes: int) -> bytes | None:
        """A span of the model's archive, inflated, by where it begins in the tar, if it is here."""
        with self._lock:
            return self._used((CacheKey(model, _SPANS), start_bytes))

    def put_span(self, model: str, start_bytes: int, output: bytes) -> None:
        """Keeps a span of the model's archive, for the next read of it, where it leaves room for the blocks in it."""
        with self._lock:
            self._forget((CacheKey(model, _SPANS), start_bytes))
            room_bytes = self._limit_bytes - self._beside_bytes() - len(output)
            if room_bytes >= len(output) // 3:
                self._give_way(room_bytes)
                self._keep((CacheKey(model, _SPANS), start_bytes), output)

    def hold(self, model: str) -> Release:  # noqa: ARG002 - the protocol's signature
        """Nothing to do: memory gives way by recency alone."""
        return lambda: None

    def drop(self, model: str) -> None:
        """Forgets everything of `model`."""
        with self._lock:
            for place in [place for place in self._blocks if place[0].model == model]:
                self._forget(place)

    def cached_bytes(self, model: str) -> int:
        """How many bytes of `model` a reader would get from here."""
        with self._lock:
            return self._cached_bytes[model]

    def stats(self) -> dict[str, TierStats]:
        """How full it is, and how it served."""
        with self._lock:
            served = (self._hits, self._misses, None, self._hit_bytes, self._evictions)
            return {"memory": TierStats(self._used_bytes, self._limit_bytes, *served)}

    def _used(self, place: Place) -> bytes | None:
        """Held, as for all below: `_lock`."""
        block = self._blocks.get(place)
        if block is not None:
            self._blocks.move_to_end(place)
        return block

    def _keep(self, place: Place, block: bytes) -> None:
        self._blocks[place] = block
        self._changed(place[0], len(block))

    def _forget(self, place: Place) -> None:
        self._changed(place[0], -len(self._blocks.pop(place, b"")))

    def _changed(self, key: CacheKey, more_bytes: int) -> None:
        self._used_bytes += more_bytes
        if key.path != _SPANS:
            self._cached_bytes[key.model] += more_bytes
            if not self._cached_bytes[key.model]:
                del self._cached_bytes[key.model]

    def _give_way(self, room_bytes: int) -> None:
        """Makes what is kept no larger than `room_bytes`."""
        if self._used_bytes <= room_bytes:
            return
        excess_bytes = self._used_bytes - room_bytes
        for awaited in (False, True):
            leaving = []
            for place, block in self._blocks.items():
                if excess_bytes <= 0:
                    break
                if awaited or place not in self._awaited:
                    leaving.append(place)
                    excess_bytes -= len(block)
            self._evictions += len(leaving)
            for place in leaving:
                self._forget(place)
