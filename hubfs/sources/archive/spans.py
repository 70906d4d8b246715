"""Any block of an archive: for the price of its spans once the archive has an index, else as a pass comes by."""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

from hubfs.blobs.blob import Blob
from hubfs.blobs.retry import Permanent
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey, block_size_at, blocks_of
from hubfs.cache.block_checksums import BlockChecksums
from hubfs.cache.cached_blob import CannotFetch
from hubfs.errors import Damaged, Stale
from hubfs.formats.index_file import IndexedMember, IndexFile
from hubfs.memory_budget import MemoryBudget
from hubfs.sources.archive.progress import ArchiveProgress

_log = logging.getLogger(__name__)

Unpack = Callable[[IndexFile], Blob]
"""Makes the blob of the tar in an archive, whose bytes are fetched and inflated span by span. Fetches nothing."""


class ArchiveSpans:
    """The tar in the archive of `model`, read anywhere; there is none before there is an index.

    `load` finds the index file that was kept earlier, if any: it is asked when a block is missing for the first time.
    `save` keeps one. `checksums` vouch for blocks where the host names no version of the archive (None: it does).

    `_lock` guards every field below it in `__init__`; it is held for no I/O.
    """

    def __init__(
        self,
        model: str,
        *,
        unpack: Unpack,
        load: Callable[[], bytes | None],
        save: Callable[[bytes], None],
        checksums: BlockChecksums | None = None,
    ) -> None:
        self._model = model
        self._unpack = unpack
        self._load = load
        self._save = save
        self._checksums = checksums

        self._lock = threading.Lock()
        self._looked = False  # whether `load` was asked, or need not be
        self._tar: Blob | None = None

    @property
    def known(self) -> bool:
        """Whether there is an index. May ask `load`."""
        return self._look() is not None

    def adopt(self, file: IndexFile) -> None:
        """From now on blocks are read by the spans of `file`, which is kept without its members.

        The one table of members that the cache keeps is the model's index.
        """
        self._use(file)
        self._save(replace(file, members=()).to_bytes())

    def read(self, kept_path: str, file: IndexedMember, offset_bytes: int, size_bytes: int) -> bytes | None:
        """Whole blocks of a file, from `offset_bytes` on; None where there is no index.

        `kept_path` is the file's name in the cache. Raises `Damaged` where the tar ends before the file does, `Stale`
        for a block that is another one than before, and what the origin raises.
        """
        tar = self._look()
        if tar is None:
            return None
        data = tar.read_at(file.offset_bytes + offset_bytes, size_bytes)
        if len(data) != size_bytes:
            raise Damaged(f"{self._model}/{kept_path}: {size_bytes} bytes asked for, {len(data)} came")
        if self._checksums is not None:
            for place, index in enumerate(blocks_of(offset_bytes, size_bytes, file.data_bytes)):
                block = data[place * BLOCK_SIZE_BYTES : (place + 1) * BLOCK_SIZE_BYTES]
                self._checksums.check(kept_path, index, block)
        return data

    def look_again(self) -> None:
        """Another daemon may have kept an index since."""
        with self._lock:
            self._looked = self._tar is not None

    def discard(self) -> None:
        """The index is of no use: until there is another, there is none."""
        self._use(None)

    def _look(self) -> Blob | None:
        """The tar, if there is an index."""
        with self._lock:
            if self._looked:
                return self._tar
        # Twice, if two readers come here at once. The first answer counts, also for the second: with a tar each they
        # would fetch each span twice.
        data = self._load()
        file = None
        if data is not None:
            try:
                file = IndexFile.from_bytes(data)
            except Damaged as damage:
                _log.warning("The index of the archive of %s is left aside: %s", self._model, damage)
        return self._use(file, found=True)

    def _use(self, file: IndexFile | None, *, found: bool = False) -> Blob | None:
        """Returns the tar that is read from now on. `found`: `load` gave the file, and an earlier answer counts."""
        tar = self._unpack(file) if file is not None else None
        with self._lock:
            if not (found and self._looked):
                self._looked, self._tar = True, tar
            return self._tar


class StoredBlob:
    """The stored bytes of a file in an archive, without its holes; a `Streaming` blob, below the file's `CachedBlob`.

    The spans of the archive's index bring blocks, if there is an index; else the pass that goes by brings them. An
    index that does not fit the archive is discarded: the pass that follows tells whether the archive is damaged, or
    only its index. `on_stale` is told that the origin has another archive by now. No state, so no lock.
    """

    def __init__(
        self,
        key: CacheKey,
        file: IndexedMember,
        progress: ArchiveProgress,
        spans: ArchiveSpans | None,
        *,
        budget: MemoryBudget,
        on_stale: Callable[[Stale], None],
    ) -> None:
        self.key = f"{key.model}/{key.path}"
        self.size_bytes = file.data_bytes
        self._path = key.path
        self._file = file
        self._progress = progress
        self._spans = spans
        self._budget = budget
        self._on_stale = on_stale

    def can_fetch(self) -> bool:
        """Whether there is an index. The first question of this kind loads the index that was kept, if there is one."""
        return self._spans is not None and self._progress.failure is None and self._spans.known

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """Whole blocks, by their spans.

        Raises `CannotFetch` without an index that fits, `Stale` for another archive, and what the origin raises.
        """
        spans = self._spans
        if spans is None or not spans.known:
            raise CannotFetch
        for index in blocks_of(offset_bytes, size_bytes, self.size_bytes):
            self._count_lost(index, came_by=self._progress.came_by(self._file, index))
        try:
            data = spans.read(self._path, self._file, offset_bytes, size_bytes)
        except (Damaged, Permanent) as error:
            _log.warning("%s: the archive cannot be read by its index: %s", self.key, error)
            spans.discard()
            raise CannotFetch from error
        except Stale as stale:
            self._on_stale(stale)
            raise
        if data is None:  # the index was discarded just now
            raise CannotFetch
        return data

    def wait_for(self, index: int, look: Callable[[], bytes | None]) -> bytes | None:
        """Block `index`, as soon as a pass brings it, or None as soon as there is an index.

        Raises what ended the pass, if the pass ended before this block.
        """
        came_by = self._progress.came_by(self._file, index)
        indexes_made = self._progress.indexes_made
        if self.can_fetch():
            return None
        with self._progress.expecting(self._file, index, indexes_made) as awaited:
            block = look()  # from here on no block goes by unseen, but this one may have since the cache was asked
            if block is None:
                block = awaited()
                self._count_lost(index, came_by=came_by and block is not None)
        return block

    def _count_lost(self, index: int, *, came_by: bool) -> None:
        if came_by:
            self._budget.lost(block_size_at(index, self.size_bytes))
