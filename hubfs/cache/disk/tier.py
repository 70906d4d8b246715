"""The disk tier: survives restarts and kills, is shared by several mounts, and never fails a read."""

import errno
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from cachetools import TTLCache

from hubfs.cache.block_cache import CacheKey, Release, TierStats
from hubfs.cache.disk.files import NO_FILE
from hubfs.cache.disk.page_cache import DataPages
from hubfs.cache.disk.room import DiskSettings, Room
from hubfs.cache.disk.store import CachedModel, DiskStore
from hubfs.model_id import BLOBS, name_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Eviction:
    """A model that goes; without `whole`, its blocks alone."""

    model: CachedModel
    whole: bool

    @property
    def freed_bytes(self) -> int:
        """What becomes free."""
        return self.model.size_bytes if self.whole else self.model.size_bytes - self.model.index_bytes


def plan_eviction(models: Iterable[CachedModel], free_bytes: int) -> list[Eviction]:
    """What goes so that `free_bytes` become free, the least recently used first, and indexes of archives last of all.

    An index is a hundredth of its archive, and saves fetching all of it for one byte. All may be too few: then all are
    named. A model that is pinned or in use never goes. Why models go as wholes: docs/decisions/eviction.md.
    """
    idle = (model for model in models if not (model.pinned or model.in_use))
    ordered = sorted(idle, key=lambda model: (model.used_at_s, model.model))
    plan: dict[str, Eviction] = {}
    freed_bytes = 0
    for whole in (False, True):
        for model in ordered:
            if freed_bytes >= free_bytes:
                break
            eviction = Eviction(model, whole or not model.index_bytes)
            before = plan.get(model.model)
            gained_bytes = eviction.freed_bytes - (before.freed_bytes if before else 0)
            if gained_bytes:
                plan[model.model] = eviction
                freed_bytes += gained_bytes
    return list(plan.values())


def protect(models: Sequence[CachedModel], shared_by: Callable[[str], Iterable[str]]) -> list[CachedModel]:
    """The models, of which those that keep files of others are in use, or pinned, when one of the others is.

    `shared_by` tells which ones keep files of a model. It is asked only where that may matter.
    """
    sharing = {name_of(one.model).removeprefix(f"{BLOBS}/") for one in models if one.model.startswith(f"{BLOBS}/")}
    kept = [one for one in models if (one.in_use or one.pinned) and name_of(one.model) in sharing]
    shared = {one.model: {*shared_by(one.model)} for one in kept}
    in_use = set[str]().union(*(shared[one.model] for one in kept if one.in_use))
    pinned = set[str]().union(*(shared[one.model] for one in kept if one.pinned))
    return [
        replace(one, in_use=one.in_use or one.model in in_use, pinned=one.pinned or one.model in pinned)
        for one in models
    ]


_TOUCH_S = 60.0
"""A model's last use is written down at most this often."""

_PAGE_BYTES = 4096
"""What file systems give space out by."""

_OF_THE_FILE = NO_FILE | {errno.ENAMETOOLONG, errno.EILSEQ}
"""What the disk refuses about one file, and about that file only."""

_IN_THE_WAY = NO_FILE | {errno.EACCES, errno.EPERM}
"""What is refused where something else lies in the place of a file, or one that cannot be opened."""

_MEND_S = 60.0
"""What is in the way of a model's files is taken away at most this often."""

_WORTH_GIVING_BACK_BYTES = 64 << 10
"""The pages of a smaller block are left to the kernel: to give them back takes as long as to write them."""

_SAY_S = 60.0
"""The same trouble is logged at most this often."""


class DiskTier:
    """A `BlockCache` on `store`. Nothing about blocks is kept in memory: a block is there if its record says so.

    A directory that cannot be used, from the start or later, is a tier that keeps nothing; it is tried again every ten
    seconds that something is to be kept. One that can only be read is read. Eviction takes whole models, never one that
    is pinned or that any process holds.

    `_lock` guards every field below it; it is never held across I/O. `_evicting` is held by the one thread that makes
    room, over I/O, and only ever tried, never waited for.
    """

    def __init__(self, store: DiskStore, settings: DiskSettings, pages: DataPages | None = None) -> None:
        """With `pages`, the page cache's copy of what is read and written here is given back after a while."""
        self._store = store
        self._limit_bytes = settings.limit_bytes
        self._pages = pages
        self._room = Room(settings, store.layout.root, store.layout.models_root)
        self._evicting = threading.Lock()
        self._lock = threading.Lock()
        self._prepared = False
        self._said: TTLCache[tuple[str, int | None], bool] = TTLCache(maxsize=100, ttl=_SAY_S)
        self._mended: TTLCache[str, bool] = TTLCache(maxsize=10_000, ttl=_MEND_S)
        self._hits = 0
        self._misses = 0
        self._hit_bytes = 0
        self._evictions = 0
        self._failures = 0
        self._touched: TTLCache[str, bool] = TTLCache(maxsize=10_000, ttl=_TOUCH_S)

    def start(self) -> None:
        """Makes the directory ready. If that fails it is logged, and tried again when there is something to keep."""
        try:
            self._prepare()
        except OSError as error:
            self._say(
                "The cache directory %s cannot be used (%s); models are read without it", self._store.layout.root, error
            )
            self._rest(error)

    def _prepare(self) -> None:
        """Raises OSError."""
        with self._lock:
            if self._prepared:
                return
        self._store.layout.prepare()
        with self._lock:
            self._prepared = True
        self._room.count_anew()

    def keeps(self) -> bool:
        """Whether the disk keeps what it is given, as far as is known."""
        with self._lock:
            prepared = self._prepared
        return prepared and not self._room.is_resting

    def get(self, key: CacheKey, index: int) -> bytes | None:
        """The block, verified, or None."""
        block = None
        try:
            block = self._store.read(key, index)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._say("The disk cache cannot read %s: %s", key.path, error)
        if block is not None:
            self._used(key, block)
        with self._lock:
            if block is None:
                self._misses += 1
            else:
                self._hits += 1
                self._hit_bytes += len(block)
            touch = block is not None and key.model not in self._touched
            if touch:
                self._touched[key.model] = True
        if touch:
            self._store.touch(key.model)
        return block

    def has(self, key: CacheKey, index: int) -> bool:
        """Whether the block has a record; its bytes are verified when they are read."""
        return self._store.has(key, index)

    def put(self, key: CacheKey, index: int, block: bytes) -> bool:
        """Keeps the block if there is room; whether it will outlive the process."""
        space_bytes = -(-len(block) // _PAGE_BYTES) * _PAGE_BYTES
        with self._room.coming(space_bytes):
            return self._keep(key, index, block, space_bytes)

    def _keep(self, key: CacheKey, index: int, block: bytes, space_bytes: int) -> bool:
        try:
            if not self._has_room():
                return False
            try:
                new = self._store.write(key, index, block)
            except OSError as error:
                if error.errno not in _IN_THE_WAY or not self._mend(key.model):
                    raise
                new = self._store.write(key, index, block)
        except OSError as error:
            self._say("The disk cache cannot keep %s (%s); reads go on without it", key.path, error)
            if error.errno not in _OF_THE_FILE:
                self._rest(error)
            return False
        self._used(key, block)
        self._room.kept(space_bytes if new else 0)
        return True

    def _mend(self, model: str) -> bool:
        """Takes away what lies in the place of the model's files, and all blocks with it. False if that was just done.

        Raises OSError.
        """
        with self._lock:
            if model in self._mended:
                return False
            self._mended[model] = True
        self._store.clear_the_way(model)
        self._room.count_anew()
        return True

    def hold(self, model: str) -> Release:
        """Says that `model` is in use, until the release."""
        return self._store.hold(model)

    def drop(self, model: str) -> None:
        """Has everything of `model` vanish at once: it is renamed away, then deleted; else, in place."""
        self._store.drop(model)
        self._room.count_anew()

    def cached_bytes(self, model: str) -> int | None:
        """The sum of what the block maps of `model` commit to; None if that is not counted yet."""
        return self._store.cached_bytes(model)

    def stats(self) -> dict[str, TierStats]:
        """How full it is, and how it served."""
        used_bytes, problem = self._room.known_bytes(), self._room.problem
        with self._lock:
            served = (self._hits, self._misses, problem, self._hit_bytes, self._evictions, self._failures)
            return {"disk": TierStats(used_bytes, self._limit_bytes, *served)}

    def _used(self, key: CacheKey, block: bytes) -> None:
        if self._pages is not None and len(block) >= _WORTH_GIVING_BACK_BYTES:
            self._pages.used(key)

    def _has_room(self) -> bool:
        """Whether what is coming fits, after an eviction if need be. Raises OSError."""
        if self._room.is_resting:
            return False
        self._prepare()
        excess_bytes = self._room.excess_bytes()
        if excess_bytes > 0:
            # Other mounts may have evicted or added meanwhile: count anew before anything is thrown away.
            self._room.count_anew()
            excess_bytes = self._room.excess_bytes()
        if excess_bytes > 0:
            # A tenth more than is needed: eviction scans the directory, and is not to run for every block.
            if not self._make_room(excess_bytes + self._limit_bytes // 10):
                return False
            self._room.count_anew()
            excess_bytes = self._room.excess_bytes()
            if excess_bytes > 0:
                self._room.rest()
        return excess_bytes <= 0

    def _make_room(self, wanted_bytes: int) -> bool:
        """Frees `wanted_bytes`, or as much as there is to free.

        False if another thread does just that: there will be room soon. Raises OSError.
        """
        if not self._evicting.acquire(blocking=False):
            return False
        try:
            found = [*filter(None, map(self._store.facts, self._store.models()))]
            for eviction in plan_eviction(protect(found, self._store.shared_by), wanted_bytes):
                model = eviction.model.model
                if self._store.remove(model, blocks_only=not eviction.whole):
                    _log.info("Evicted %s (%d bytes) from the disk cache", model, eviction.freed_bytes)
                    with self._lock:
                        self._evictions += 1
        finally:
            self._evicting.release()
        return True

    def _rest(self, error: OSError) -> None:
        """After an error the directory is made ready again before anything else is kept."""
        with self._lock:
            self._prepared = False
        self._room.rest(error)

    def _say(self, message: str, what: object, error: OSError) -> None:
        """Warns, but not of the same thing for each block."""
        with self._lock:
            level = logging.DEBUG if (message, error.errno) in self._said else logging.WARNING
            self._said[message, error.errno] = True
            self._failures += 1
        _log.log(level, message, what, error)
