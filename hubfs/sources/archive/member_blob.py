"""The blobs of a file in an archive: below its `CachedBlob`, and above it."""

import logging
from collections.abc import Callable

from hubfs.blobs.blob import Blob, Prefetchable
from hubfs.blobs.retry import Permanent
from hubfs.blobs.wrapper import WrappedBlob
from hubfs.cache.block_cache import block_size_at, blocks_of
from hubfs.cache.cached_blob import CannotFetch
from hubfs.errors import Damaged, Stale
from hubfs.formats.index_file import IndexedMember
from hubfs.sources.archive.passes import Archive
from hubfs.sources.archive.progress import ArchiveProgress

_log = logging.getLogger(__name__)


class StoredBlob:
    """The stored bytes of a file in an archive, without its holes; a `Streaming` blob, below the file's `CachedBlob`.

    The spans of the archive's index bring blocks, if there is an index; else the pass that goes by brings them. An
    index that does not fit the archive is discarded: the pass that follows tells whether the archive is damaged, or
    only its index. `on_stale` is told that the origin has another archive by now. No state, so no lock.
    """

    def __init__(
        self, archive: Archive, file: IndexedMember, progress: ArchiveProgress, on_stale: Callable[[Stale], None]
    ) -> None:
        key = archive.key(file)
        self.key = f"{key.model}/{key.path}"
        self.size_bytes = file.data_bytes
        self._path = key.path
        self._file = file
        self._progress = progress
        self._spans = archive.spans
        self._budget = archive.budget
        self._on_stale = on_stale

    def can_fetch(self) -> bool:
        """Whether there is an index. The first question of this kind loads the index that was kept, if there is one."""
        return self._spans is not None and self._progress.failure is None and self._spans.known

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """Whole blocks, by their spans.

        Raises `CannotFetch` without an index that fits, `Stale` for another archive, and what the origin raises.
        """
        spans = self._spans
        stored = spans.blob(self._path, self._file.offset_bytes, self.size_bytes) if spans is not None else None
        if spans is None or stored is None:
            raise CannotFetch
        for index in blocks_of(offset_bytes, size_bytes, self.size_bytes):
            self._count_lost(index, came_by=self._progress.came_by(self._file, index))
        try:
            return self._read_whole(stored, offset_bytes, size_bytes)
        except (Damaged, Permanent) as error:
            _log.warning("%s: the archive cannot be read by its index: %s", self.key, error)
            spans.discard()
            raise CannotFetch from error
        except Stale as stale:
            self._on_stale(stale)
            raise

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

    def _read_whole(self, stored: Blob, offset_bytes: int, size_bytes: int) -> bytes:
        """Raises `Damaged` where an index says that the tar ends before the file does."""
        data = stored.read_at(offset_bytes, size_bytes)
        if len(data) != size_bytes:
            raise Damaged(f"{self.key}: {size_bytes} bytes asked for, {len(data)} came")
        return data

    def _count_lost(self, index: int, *, came_by: bool) -> None:
        if came_by:
            self._budget.lost(block_size_at(index, self.size_bytes))


class MemberBlob(WrappedBlob):
    """Wraps the `CachedBlob` of a file in an archive: a pass that is ahead of its readers hears how far they are."""

    _blob: Prefetchable

    def __init__(self, blob: Prefetchable, file: IndexedMember, progress: ArchiveProgress) -> None:
        super().__init__(blob)
        self._file = file
        self._progress = progress

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """Raises the failure of the archive, if it failed for good, and raises as the wrapped blob does."""
        self._progress.check()
        data = self._blob.read_at(offset_bytes, size_bytes)
        self._progress.note_read(self._file, blocks_of(offset_bytes, size_bytes, self.size_bytes))
        return data

    def prefetch(self, offset_bytes: int, size_bytes: int) -> int:
        """As `CachedBlob.prefetch` does: what only a pass brings needs no beginning, for the pass brings everything."""
        return self._blob.prefetch(offset_bytes, size_bytes)
