"""The disk tier: survives restarts and kills, is shared by several mounts, and never fails a read."""

import contextlib
import errno
import logging
import os
import threading
import uuid
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from cachetools import TTLCache

from hubfs.blobs.crc32c import crc32c
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey, Release, TierStats, once
from hubfs.cache.disk import block_map
from hubfs.cache.disk.block_counts import BlockCounts
from hubfs.cache.disk.descriptors import Descriptors
from hubfs.cache.disk.evictor import Evictor
from hubfs.cache.disk.files import NO_FILE, delete, make_folder, open_to_read, open_to_write, pwrite_all
from hubfs.cache.disk.in_use import InUse
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.page_cache import DataPages
from hubfs.cache.disk.room import DiskSettings, Room

_log = logging.getLogger(__name__)

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

_SAY_S = 60.0
"""The same trouble is logged at most this often."""


class DiskTier:
    """A BlockCache on disk; see `CacheLayout` for the files.

    Nothing about blocks is kept in memory, so several processes may use one directory: a block is there if its record
    says so and its bytes match. Files stay open between calls only while this process holds their model (see
    `Descriptors`). Eviction takes whole models, never one that any process holds (see `InUse`).

    A directory that cannot be used, from the start or later, is a tier that keeps nothing; it is tried again every ten
    seconds that something is to be kept. One that can only be read is read.

    `_lock` guards every field below it; it is never held across I/O.
    """

    def __init__(self, layout: CacheLayout, settings: DiskSettings, pages: DataPages | None = None) -> None:
        """With `pages`, the page cache's copy of what is read and written here is given back after a while."""
        self._layout = layout
        self._limit_bytes = settings.limit_bytes
        self._pages = pages
        self._in_use = InUse(layout)
        self._descriptors = Descriptors(layout)
        self._counts = BlockCounts(layout)
        self._room = Room(settings, layout.root, layout.models_root)
        self._evictor = Evictor(layout, self._in_use, lambda model, whole: self._take_away(model, whole=whole))
        self._lock = threading.Lock()
        self._prepared = False
        self._said: TTLCache[tuple[str, int | None], bool] = TTLCache(maxsize=100, ttl=_SAY_S)
        self._mended: TTLCache[str, bool] = TTLCache(maxsize=10_000, ttl=_MEND_S)
        self._hits = 0
        self._misses = 0
        self._touched: TTLCache[str, bool] = TTLCache(maxsize=10_000, ttl=_TOUCH_S)

    def start(self) -> None:
        """Makes the directory ready. If that fails it is logged, and tried again when there is something to keep."""
        try:
            self._prepare()
        except OSError as error:
            self._say(
                "The cache directory %s cannot be used (%s); models are read without it", self._layout.root, error
            )
            self._rest(error)

    def _prepare(self) -> None:
        """Raises OSError."""
        with self._lock:
            if self._prepared:
                return
        self._layout.prepare()
        with self._lock:
            self._prepared = True
        self._room.count_anew()

    @property
    def keeps(self) -> bool:
        """Whether the disk keeps what it is given, as far as is known."""
        with self._lock:
            prepared = self._prepared
        return prepared and not self._room.is_resting

    def get(self, key: CacheKey, index: int) -> bytes | None:
        """See `BlockCache`."""
        block = None
        try:
            block = self._read(key, index)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._say("The disk cache cannot read %s: %s", key.path, error)
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
            try:
                record = opened.record(index)
            except OSError:
                self._descriptors.distrust(opened)
                raise
            if record is None:
                return None
            length_bytes, checksum = record
            block = opened.bytes_at(index * BLOCK_SIZE_BYTES, length_bytes)
            if len(block) == length_bytes and crc32c(block) == checksum:
                return block
            _log.warning("Block %d of %s in the disk cache is corrupt; it is fetched again", index, key.path)
            self._descriptors.distrust(opened)
            with contextlib.suppress(OSError):  # it may be open for reading only
                block_map.clear_record(opened.map_fd, index)
            self._counts.doubt(key.model)
            return None
        finally:
            self._descriptors.give_back(opened)

    def has(self, key: CacheKey, index: int) -> bool:
        """See `BlockCache`: what the block's record says; its bytes are verified when they are read."""
        try:
            map_fd = open_to_read(self._layout.blocks(key))
        except OSError:
            return False
        try:
            return block_map.read_record(map_fd, block_map.seed_of(key), index) is not None
        except OSError:
            return False
        finally:
            os.close(map_fd)

    def put(self, key: CacheKey, index: int, block: bytes) -> bool:
        """See `BlockCache`."""
        space_bytes = -(-len(block) // _PAGE_BYTES) * _PAGE_BYTES
        with self._room.coming(space_bytes):
            return self._keep(key, index, block, space_bytes)

    def _keep(self, key: CacheKey, index: int, block: bytes, space_bytes: int) -> bool:
        try:
            if not self._has_room():
                return False
            try:
                new = self._counted(key, index, block)
            except OSError as error:
                if error.errno not in _IN_THE_WAY or not self._mend(key.model):
                    raise
                new = self._counted(key, index, block)
        except OSError as error:
            self._say("The disk cache cannot keep %s (%s); reads go on without it", key.path, error)
            if error.errno not in _OF_THE_FILE:
                self._rest(error)
            return False
        self._used(key)
        self._room.kept(space_bytes if new else 0)
        return True

    def _counted(self, key: CacheKey, index: int, block: bytes) -> bool:
        """As `_write`, and counts it."""
        write, more_bytes = self._counts.begin(key, index), 0
        try:
            new, more_bytes = self._write(key, index, block)
        finally:
            self._counts.end(write, more_bytes)
        return new

    def _write(self, key: CacheKey, index: int, block: bytes) -> tuple[bool, int]:
        """Writes data, then record. False if the block was there, and how many more bytes there are with it."""
        checksum, seed = crc32c(block), block_map.seed_of(key)
        map_fd = open_to_write(self._layout.blocks(key), self._layout.models_root)
        try:
            before = block_map.read_record(map_fd, seed, index)
            if before == (len(block), checksum):
                return False, 0
            data_fd = open_to_write(self._layout.data(key), self._layout.models_root)
            try:
                pwrite_all(data_fd, block, index * BLOCK_SIZE_BYTES)
            finally:
                os.close(data_fd)
            block_map.write_record(map_fd, seed, index, len(block), checksum)
        finally:
            os.close(map_fd)
        return True, len(block) - (before[0] if before is not None else 0)

    def _mend(self, model: str) -> bool:
        """Takes away what lies in the place of the model's files, and all blocks with it. False if that was just done.

        Raises OSError.
        """
        with self._lock:
            if model in self._mended:
                return False
            self._mended[model] = True
        folder = self._layout.model(model)
        for above in (*reversed(folder.parents), folder):
            is_below = above != self._layout.models_root and above.is_relative_to(self._layout.models_root)
            if is_below and (above.is_symlink() or not above.is_dir()):
                self._layout.discard(above)
        self._take_away(model, whole=False)()
        return True

    def hold(self, model: str) -> Release:
        """See `BlockCache`."""
        let_go = self._in_use.hold(model)
        self._descriptors.hold(model)

        def release() -> None:
            # First of all: what is evicted once nobody holds it is not to be open here.
            self._descriptors.release(model)
            let_go()

        return once(release)

    def drop(self, model: str) -> None:
        """See `BlockCache`. The model vanishes at once: it is renamed away, then deleted; else, in place."""
        self._take_away(model, whole=True)()

    def _take_away(self, model: str, *, whole: bool) -> Callable[[], None]:
        """Renames a model away, or its blocks; what is returned deletes them, which takes its time."""
        graves: list[Path] = []
        try:
            folders = [self._layout.model(model)] if whole else [*self._layout.block_folders(model)]
            for folder in folders:
                grave = self._layout.trash / uuid.uuid4().hex
                try:
                    make_folder(self._layout.trash, self._layout.root)  # somebody may have tidied up
                    folder.rename(grave)
                    graves.append(grave)
                except FileNotFoundError:
                    pass
                except OSError as error:  # a full disk may have no room for a name; what may be damaged must go
                    _log.warning("The disk cache cannot drop %s at once: %s", model, error)
                    graves.append(folder)
        except OSError as error:
            _log.warning("The disk cache cannot drop %s: %s", model, error)
        self._descriptors.forget(model)
        self._counts.dropped(model)
        if whole and graves:
            self._in_use.forget(model)
            with contextlib.suppress(OSError):  # up to the first that is not empty
                for folder in self._layout.model(model).parents:
                    if folder == self._layout.models_root:
                        break
                    folder.rmdir()
        return partial(self._delete, graves)

    def _delete(self, graves: Iterable[Path]) -> None:
        for grave in graves:
            delete(grave)
        self._room.count_anew()

    def cached_bytes(self, model: str) -> int | None:
        """See `BlockCache`: the sum of what the block maps commit to, see `BlockCounts`."""
        return self._counts.cached_bytes(model)

    def stats(self) -> dict[str, TierStats]:
        """See `BlockCache`."""
        used_bytes, problem = self._room.known_bytes(), self._room.problem
        with self._lock:
            return {"disk": TierStats(used_bytes, self._limit_bytes, self._hits, self._misses, problem)}

    def _used(self, key: CacheKey) -> None:
        if self._pages is not None:
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
            if not self._evictor.make_room(excess_bytes + self._limit_bytes // 10):
                return False
            excess_bytes = self._room.excess_bytes()
            if excess_bytes > 0:
                self._room.rest()
        return excess_bytes <= 0

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
        _log.log(level, message, what, error)
