"""Files of the disk tier that stay open while their model is in use."""

import errno
import os
import resource
import threading
from dataclasses import dataclass, field

from hubfs.cache.block_cache import CacheKey
from hubfs.cache.disk import block_map
from hubfs.cache.disk.files import open_to_read
from hubfs.cache.disk.layout import CacheLayout

_KEPT_FILES = 128
"""Two descriptors each: a quarter of what a process may usually have."""

_PART = 8
"""No more files than the process may have descriptors, divided by this: where that is little, connections need it."""

_NOT_THE_FILES_FAULT = (errno.EMFILE, errno.ENFILE)
_NOT_TO_BE_WRITTEN = (errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(eq=False)
class OpenBlocks:
    """A file's block map and data file, open. `data_fd` is None if the data file cannot be opened."""

    key: CacheKey
    seed: int
    map_path: str
    map_fd: int
    data_fd: int | None
    is_map: bool
    identity: os.stat_result
    users: int = field(default=1, compare=False)  # guarded by Descriptors' lock, as the next
    kept: bool = False

    def record(self, index: int) -> tuple[int, int] | None:
        """The length in bytes and the crc32c of block `index`, or None."""
        return block_map.read_record(self.map_fd, self.seed, index, header_known=True) if self.is_map else None

    def bytes_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """What can be read of these bytes of the data file: none if that fails for a reason of the file's own."""
        if self.data_fd is None:
            return b""
        try:
            # POSIX_FADV_WILLNEED for the next 4 MiB cost 30 % of the throughput: the reads under way do that already.
            return os.pread(self.data_fd, size_bytes, offset_bytes)
        except OSError as error:
            if error.errno in _NOT_THE_FILES_FAULT:
                raise
            return b""


class Descriptors:
    """Opens files; keeps them open between calls while their model is held, but not more than `limit`.

    Opening and closing two files for each block took a third of the disk tier's time with several readers (5.7 GB/s
    without, 8 GB/s with this, page cache warm). Whether a file is still the one that is open is asked of the file
    system each time: another process may have dropped the model.

    `_lock` guards every field below it, and `users` and `kept` of what is in them; it is never held across I/O.
    """

    def __init__(self, layout: CacheLayout, limit: int = _KEPT_FILES) -> None:
        may_have, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._layout = layout
        self._limit = limit if may_have == resource.RLIM_INFINITY else min(limit, may_have // _PART)
        self._lock = threading.Lock()
        self._held: dict[str, int] = {}  # how often, by model
        self._kept: dict[CacheKey, OpenBlocks] = {}  # the least recently used first

    def __len__(self) -> int:
        return len(self._kept)

    def hold(self, model: str) -> None:
        """From now on files of `model` stay open; each call wants its `release`."""
        with self._lock:
            self._held[model] = self._held.get(model, 0) + 1

    def release(self, model: str) -> None:
        """After the last one the files of `model` are closed."""
        with self._lock:
            self._held[model] -= 1
            unused = [] if self._held[model] else self._forget_model(model)
            if not self._held[model]:
                del self._held[model]
        _close(unused)

    def forget(self, model: str) -> None:
        """The files of `model` were taken away."""
        with self._lock:
            unused = self._forget_model(model)
        _close(unused)

    def borrow(self, key: CacheKey) -> OpenBlocks:
        """The files of `key`, to be given back.

        Raises OSError if the map cannot be opened, and for want of descriptors.
        """
        with self._lock:
            opened = self._kept.pop(key, None)
            if opened is not None:
                self._kept[key] = opened  # to the end: used last
                opened.users += 1
        if opened is None:
            return self._keep(_open(self._layout, key))
        try:
            if os.path.samestat(os.stat(opened.map_path), opened.identity):  # noqa: PTH116 - a str, thousands of times a second
                return opened
        except OSError:
            pass
        with self._lock:
            unused = self._forget(opened)
        _close(unused)
        self.give_back(opened)
        return self._keep(_open(self._layout, key))

    def distrust(self, opened: OpenBlocks) -> None:
        """Opens the files anew next time: what is open fails, or may be a data file that is no longer there.

        Who borrowed them gives them back all the same.
        """
        with self._lock:
            unused = self._forget(opened)
        _close(unused)

    def give_back(self, opened: OpenBlocks) -> None:
        """Ends a use."""
        with self._lock:
            opened.users -= 1
            unused = [] if opened.users or opened.kept else [opened]
        _close(unused)

    def _keep(self, opened: OpenBlocks) -> OpenBlocks:
        with self._lock:
            unused: list[OpenBlocks] = []
            complete = opened.is_map and opened.data_fd is not None
            if complete and opened.key.model in self._held and opened.key not in self._kept:
                opened.kept = True
                self._kept[opened.key] = opened
                if len(self._kept) > self._limit:
                    unused = self._forget(next(iter(self._kept.values())))
        _close(unused)
        return opened

    def _forget_model(self, model: str) -> list[OpenBlocks]:
        """Held: `_lock`. Returns what is to be closed, as the next does."""
        files = [opened for key, opened in self._kept.items() if key.model == model]
        return [unused for opened in files for unused in self._forget(opened)]

    def _forget(self, opened: OpenBlocks) -> list[OpenBlocks]:
        """Held: `_lock`."""
        if not opened.kept:
            return []
        opened.kept = False
        del self._kept[opened.key]
        return [] if opened.users else [opened]


def _open(layout: CacheLayout, key: CacheKey) -> OpenBlocks:
    map_path = str(layout.blocks(key))
    map_fd = _opened_map(map_path)
    try:
        is_map, identity = block_map.has_header(map_fd), os.fstat(map_fd)
        data_fd = None
        try:
            data_fd = open_to_read(layout.data(key))
        except OSError as error:
            if error.errno in _NOT_THE_FILES_FAULT:
                raise
    except OSError:
        os.close(map_fd)
        raise
    return OpenBlocks(key, block_map.seed_of(key), map_path, map_fd, data_fd, is_map, identity)


def _opened_map(path: str) -> int:
    """For writing, too, so that what turns out to be corrupt can be taken back; not where nothing can be written."""
    try:
        return open_to_read(path, os.O_RDWR)
    except OSError as error:
        if error.errno not in _NOT_TO_BE_WRITTEN:
            raise
        return open_to_read(path)


def _close(unused: list[OpenBlocks]) -> None:
    for opened in unused:
        os.close(opened.map_fd)
        if opened.data_fd is not None:
            os.close(opened.data_fd)
