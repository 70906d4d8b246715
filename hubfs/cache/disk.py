"""The disk tier: survives restarts and kills, is shared by several mounts, and never fails a read."""

import contextlib
import errno
import logging
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cachetools import TTLCache

from hubfs.blobs.crc32c import crc32c
from hubfs.cache import block_map
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey, Release, TierStats
from hubfs.cache.descriptors import Descriptors
from hubfs.cache.eviction import CachedModel, plan_eviction
from hubfs.cache.in_use import InUse, open_for_writing
from hubfs.cache.layout import CacheLayout
from hubfs.cache.page_cache import DataPages

_log = logging.getLogger(__name__)

_REST_S = 10.0
"""After the disk refused (full, over budget with all models in use), it is not asked again for so long."""

_TOUCH_S = 60.0
"""A model's last use is written down at most this often."""

_COUNTS = 32
"""What is on disk is counted anew each time that the tier kept this fraction of its limit: other mounts keep, too."""

_PAGE_BYTES = 4096
"""What file systems give space out by."""

_OF_THE_FILE = frozenset({errno.ENAMETOOLONG, errno.EINVAL, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EILSEQ})
"""What the disk refuses about one file, and about that file only."""


@dataclass(frozen=True)
class DiskSettings:
    """`limit_bytes` bounds what the tier holds; `reserve_bytes` of the file system stay free whatever the limit."""

    limit_bytes: int
    reserve_bytes: int


class DiskTier:
    """A BlockCache on disk; see `CacheLayout` for the files.

    Nothing about blocks is kept in memory, so several processes may use one directory: a block is there if its record
    says so and its bytes match. Files stay open between calls only while this process holds their model (see
    `Descriptors`). Eviction takes whole models, never one that any process holds (see `InUse`).

    `_lock` guards every field below it; it is never held across I/O. `_evicting` is held by the one thread that makes
    room, over I/O, and only ever tried, never waited for.
    """

    def __init__(self, layout: CacheLayout, settings: DiskSettings, pages: DataPages | None = None) -> None:
        """With `pages`, the page cache's copy of what is read and written here is given back after a while."""
        self._layout = layout
        self._settings = settings
        self._pages = pages
        self._in_use = InUse(layout)
        self._descriptors = Descriptors(layout)
        self._evicting = threading.Lock()
        self._lock = threading.Lock()
        self._used_bytes: int | None = None  # None: to be counted
        self._kept_bytes = 0  # since that was counted
        self._coming_bytes = 0  # of blocks that are being kept just now
        self._resting_until_s = 0.0
        self._hits = 0
        self._misses = 0
        self._touched: TTLCache[str, bool] = TTLCache(maxsize=10_000, ttl=_TOUCH_S)

    def get(self, key: CacheKey, index: int) -> bytes | None:
        """See `BlockCache`."""
        block = None
        try:
            block = self._read(key, index)
        except FileNotFoundError:
            pass
        except OSError as error:
            _log.warning("The disk cache cannot read %s: %s", key.path, error)
        if block is not None:
            self._used(key)
        with self._lock:
            if block is None:
                self._misses += 1
            else:
                self._hits += 1
            touch = block is not None and key.model not in self._touched
            if touch:
                self._touched[key.model] = True
        if touch:
            with contextlib.suppress(OSError):
                os.utime(self._layout.in_use(key.model))
        return block

    def _read(self, key: CacheKey, index: int) -> bytes | None:
        opened = self._descriptors.borrow(key)
        try:
            record = opened.record(index)
            if record is None:
                return None
            length_bytes, checksum = record
            block = opened.bytes_at(index * BLOCK_SIZE_BYTES, length_bytes)
            if len(block) == length_bytes and crc32c(block) == checksum:
                return block
            _log.warning("Block %d of %s in the disk cache is corrupt; it is fetched again", index, key.path)
            block_map.clear_record(opened.map_fd, index)
            return None
        finally:
            self._descriptors.give_back(opened)

    def has(self, key: CacheKey, index: int) -> bool:
        """See `BlockCache`: what the block's record says; its bytes are verified when they are read."""
        try:
            map_fd = os.open(self._layout.blocks(key), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return block_map.read_record(map_fd, index) is not None
        except OSError:
            return False
        finally:
            os.close(map_fd)

    def put(self, key: CacheKey, index: int, block: bytes) -> bool:
        """See `BlockCache`."""
        space_bytes = -(-len(block) // _PAGE_BYTES) * _PAGE_BYTES
        with self._lock:
            self._coming_bytes += space_bytes
        try:
            return self._keep(key, index, block, space_bytes)
        finally:
            with self._lock:
                self._coming_bytes -= space_bytes

    def _keep(self, key: CacheKey, index: int, block: bytes, space_bytes: int) -> bool:
        try:
            if not self._has_room():
                return False
            new = self._write(key, index, block)
        except OSError as error:
            _log.warning("The disk cache cannot keep %s (%s); reads go on without it", key.path, error)
            if error.errno not in _OF_THE_FILE:
                self._rest()
            return False
        self._used(key)
        with self._lock:
            if new:
                self._kept_bytes += space_bytes
            if new and self._used_bytes is not None:
                self._used_bytes += space_bytes
        return True

    def _write(self, key: CacheKey, index: int, block: bytes) -> bool:
        """Writes data, then record. False if the block was there."""
        checksum = crc32c(block)
        map_fd = open_for_writing(self._layout.blocks(key))
        try:
            if block_map.read_record(map_fd, index) == (len(block), checksum):
                return False
            data_fd = open_for_writing(self._layout.data(key))
            try:
                _pwrite_all(data_fd, block, index * BLOCK_SIZE_BYTES)
            finally:
                os.close(data_fd)
            block_map.write_record(map_fd, index, len(block), checksum)
        finally:
            os.close(map_fd)
        return True

    def hold(self, model: str) -> Release:
        """See `BlockCache`."""
        let_go = self._in_use.hold(model)
        self._descriptors.hold(model)
        released = threading.Lock()

        def release() -> None:
            if released.acquire(blocking=False):
                # First of all: what is evicted once nobody holds it is not to be open here.
                self._descriptors.release(model)
                let_go()

        return release

    def drop(self, model: str) -> None:
        """See `BlockCache`. The model vanishes at once: it is renamed away, then deleted."""
        if self._bury(model, lambda: [self._layout.model(model)]):
            self._in_use.forget(model)
            with contextlib.suppress(OSError):
                os.removedirs(self._layout.model(model).parent)

    def _bury(self, model: str, folders: Callable[[], Iterable[Path]]) -> bool:
        """Renames directories of a model away, then deletes them; False where there was nothing to rename."""
        graves = []
        try:
            self._layout.trash.mkdir(exist_ok=True)  # somebody may have tidied up
            for folder in folders():
                grave = self._layout.trash / uuid.uuid4().hex
                with contextlib.suppress(FileNotFoundError):
                    folder.rename(grave)
                    graves.append(grave)
        except OSError as error:
            _log.warning("The disk cache cannot drop %s: %s", model, error)
        self._descriptors.forget(model)
        for grave in graves:
            shutil.rmtree(grave, ignore_errors=True)
        with self._lock:
            self._used_bytes = None
        return bool(graves)

    def cached_bytes(self, model: str) -> int:
        """See `BlockCache`: the sum of what the block maps commit to."""
        total_bytes = 0
        try:
            for folder, _, names in os.walk(self._layout.model(model) / "blocks"):
                for name in names:
                    total_bytes += block_map.recorded_bytes((Path(folder) / name).read_bytes())
        except OSError as error:
            _log.debug("Cannot count what is cached of %s: %s", model, error)
        return total_bytes

    def stats(self) -> dict[str, TierStats]:
        """See `BlockCache`."""
        used_bytes = self._count_used_bytes()
        with self._lock:
            return {"disk": TierStats(used_bytes, self._settings.limit_bytes, self._hits, self._misses)}

    def _used(self, key: CacheKey) -> None:
        if self._pages is not None:
            self._pages.used(key)

    def _has_room(self) -> bool:
        """Whether what is coming fits, after an eviction if need be. Raises OSError."""
        with self._lock:
            if time.monotonic() < self._resting_until_s:
                return False
        excess_bytes = self._excess_bytes()
        if excess_bytes > 0:
            # Other mounts may have evicted or added meanwhile: count anew before anything is thrown away.
            with self._lock:
                self._used_bytes = None
            excess_bytes = self._excess_bytes()
        if excess_bytes > 0:
            if not self._evicting.acquire(blocking=False):
                return False  # there will be room soon
            try:
                self._make_room(excess_bytes)
            finally:
                self._evicting.release()
            excess_bytes = self._excess_bytes()
            if excess_bytes > 0:
                self._rest()
        return excess_bytes <= 0

    def _excess_bytes(self) -> int:
        """How many bytes are too many once what is coming is kept: by the limit, or by what must stay free.

        Raises OSError.
        """
        used_bytes = self._count_used_bytes()
        with self._lock:
            coming_bytes = self._coming_bytes
        free = os.statvfs(self._layout.root)
        over_limit_bytes = used_bytes + coming_bytes - self._settings.limit_bytes
        over_reserve_bytes = self._settings.reserve_bytes + coming_bytes - free.f_bavail * free.f_frsize
        return max(over_limit_bytes, over_reserve_bytes)

    def _make_room(self, excess_bytes: int) -> None:
        """Held: `_evicting`."""
        # A tenth more than is needed: eviction scans the directory, and is not to run for every block.
        wanted_bytes = excess_bytes + self._settings.limit_bytes // 10
        for eviction in plan_eviction(self._idle_models(), wanted_bytes):
            model = eviction.model.model
            with self._in_use.idle(model) as idle:
                if idle:
                    _log.info("Evicting %s (%d bytes) from the disk cache", model, eviction.freed_bytes)
                    if eviction.whole:
                        self.drop(model)
                    else:
                        self._bury(model, partial(self._layout.block_folders, model))

    def _idle_models(self) -> list[CachedModel]:
        models = []
        for model in self._layout.models():
            with self._in_use.idle(model) as idle:
                pass  # not longer than to look: who wants to hold it meanwhile has to wait
            with contextlib.suppress(OSError):
                if idle:
                    used_at_s = self._layout.in_use(model).stat().st_mtime
                    size_bytes = _disk_usage_bytes(self._layout.model(model))
                    models.append(CachedModel(model, size_bytes, used_at_s, self._index_bytes(model)))
        return models

    def _index_bytes(self, model: str) -> int:
        try:
            return sum(
                path.stat().st_blocks * 512 for path in (self._layout.archive_index(model), self._layout.index(model))
            )
        except FileNotFoundError:
            return 0  # one without the other is of no use

    def _count_used_bytes(self) -> int:
        with self._lock:
            if self._used_bytes is not None and self._kept_bytes <= self._settings.limit_bytes // _COUNTS:
                return self._used_bytes
            self._kept_bytes = 0
        used_bytes = _disk_usage_bytes(self._layout.models_root)
        with self._lock:
            self._used_bytes = used_bytes
        return used_bytes

    def _rest(self) -> None:
        with self._lock:
            self._resting_until_s = time.monotonic() + _REST_S


def _pwrite_all(fd: int, data: bytes, offset_bytes: int) -> None:
    view = memoryview(data)
    while view:
        written_bytes = os.pwrite(fd, view, offset_bytes)
        view = view[written_bytes:]
        offset_bytes += written_bytes


def _disk_usage_bytes(root: Path) -> int:
    """What the files below `root` take on disk; holes in sparse files take nothing."""
    total_bytes = 0
    for folder, _, names in os.walk(root):
        for name in names:
            with contextlib.suppress(OSError):
                total_bytes += os.lstat(os.path.join(folder, name)).st_blocks * 512  # noqa: PTH118 - half the time of Path
    return total_bytes
