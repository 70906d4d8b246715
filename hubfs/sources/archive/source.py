"""The source of a model that is hosted as an archive: extracted lazily, while it streams."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from hubfs.blobs.blob import Blob, ByteStream
from hubfs.blobs.retry import Permanent
from hubfs.blobs.stamp import UNDATED, Stamp
from hubfs.cache.ahead.budget import Ahead
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, BlockCache, CacheKey, block_size_at, blocks_of, cached_block
from hubfs.cache.block_checksums import BlockChecksums
from hubfs.cache.block_run import slice_blocks
from hubfs.cache.turns import NoTurns, Turns
from hubfs.errors import Damaged, HubfsError, IsADirectory, Stale
from hubfs.formats.index_file import IndexFile
from hubfs.formats.inflating.parallel import PLENTY_BYTES
from hubfs.hubs.resolver import Form
from hubfs.memory_budget import MemoryBudget
from hubfs.model_id import ModelId
from hubfs.sources.archive.index import ArchiveIndex
from hubfs.sources.archive.member_blob import MemberBlob
from hubfs.sources.archive.passes import ArchivePasses, ArchiveSettings
from hubfs.sources.archive.spans import ArchiveSpans
from hubfs.sources.source import Entry, EntryKind, Extent, with_holes
from hubfs.waiting import Cancellation

_log = logging.getLogger(__name__)


class ArchiveSource:
    """Entries appear, and bytes can be read, as a pass over the archive goes by them.

    A reader has a block out of the cache, else by the `spans` of the archive's index, else from the pass that goes by:
    the first question that only a pass can answer begins one. The pass hands out its blocks itself, so a cache that
    keeps nothing still makes progress. There is an index once a whole pass has noted it down, or a host has published
    it; there is never one without `spans` (None: the origin answers no ranges).

    `on_complete` is called with this source whenever all of the archive is known and verified, before any reader is
    told so. The other collaborators are for `ArchivePasses`, and mean there what they mean here.

    There is no lock here: `_progress` has its own, and `_blobs` is changed by `dict.setdefault` only, which is atomic.
    """

    def __init__(
        self,
        handle: ModelId,
        url: str,
        model: str,
        identity: str,
        *,
        stamp: Stamp = UNDATED,
        open_stream: Callable[[], ByteStream],
        cache: BlockCache,
        cancellation: Cancellation,
        settings: ArchiveSettings,
        on_complete: Callable[["ArchiveSource"], None],
        spans: ArchiveSpans | None = None,
        checksums: BlockChecksums | None = None,
        ahead: Ahead | None = None,
        turns: Turns | None = None,
    ) -> None:
        self.handle = handle
        self.url = url
        self.form = Form.COMPRESSED
        self.model = model
        self.identity = identity
        self._stamp = stamp
        self._cache = cache
        self._spans = spans
        self._checksums = checksums
        self._ahead = ahead or Ahead(MemoryBudget(PLENTY_BYTES))
        self._passes = ArchivePasses(
            handle,
            url,
            model,
            identity,
            open_stream=open_stream,
            cache=cache,
            cancellation=cancellation,
            settings=settings,
            on_complete=lambda: on_complete(self),
            spans=spans,
            checksums=checksums,
            ahead=self._ahead,
            turns=turns or NoTurns(),
        )
        self._progress = self._passes.progress
        self._blobs: dict[str, Blob] = {}

    @classmethod
    def from_index(cls, model: str, known: ArchiveIndex, **collaborators: Any) -> "ArchiveSource":
        """A source that was complete before, without asking the network."""
        source = cls(known.handle, known.url, model, known.identity, stamp=known.stamp, **collaborators)
        source._progress.adopt(known.entries)
        source._progress.mark_complete()
        return source

    def adopt(self, file: IndexFile) -> None:
        """Becomes complete by an index that was published beside the archive: no pass is needed."""
        self._passes.adopt(file)

    def to_index(self) -> dict[str, Any]:
        """What `ArchiveIndex` needs, for JSON."""
        placed = self._progress.placed()
        checksums = None
        if self._checksums is not None:
            checksums = {
                one.entry.kept_path: self._checksums.of(one.entry.kept_path, one.entry.stored_bytes) for one in placed
            }
        return ArchiveIndex(self.handle, self.url, self.identity, placed, self._stamp, checksums).to_json()

    @property
    def complete(self) -> bool:
        """Whether a whole pass was verified."""
        return self._progress.complete

    @property
    def failure(self) -> HubfsError | None:
        """Why nothing of this source may be served any more; it does not recover."""
        return self._progress.failure

    @property
    def extent(self) -> Extent:
        """See `Source`: of the members that came by."""
        return self._progress.extent

    @property
    def streams(self) -> bool:
        """Whether a pass runs."""
        return self._progress.running

    def find(self, path: str) -> Entry:
        """See `Source`: waits until the member comes by, or the archive ends without it."""
        return self._progress.find(path)

    def stamp(self, path: str) -> Stamp:  # noqa: ARG002 - every entry has the archive's
        """See `Source`."""
        return self._stamp

    def entries(self) -> Sequence[Entry]:
        """See `Source`: waits for the end of the archive."""
        return self._progress.entries()

    def open(self, entry: Entry) -> Blob:
        """See `Source`: the same one every time."""
        found = self.find(entry.path)
        if found.kind is EntryKind.DIRECTORY:
            raise IsADirectory(f"{self.handle}/{entry.path} is a directory")
        blob = with_holes(MemberBlob(self._key(found), found, self), found)
        return self._blobs.setdefault(found.path, blob)

    def read(self, entry: Entry, offset_bytes: int, size_bytes: int) -> bytes:
        """What is stored of a file: out of the cache, else from its spans, else as soon as a pass comes by."""
        self._progress.check()
        indexes = blocks_of(offset_bytes, size_bytes, entry.stored_bytes)
        if not indexes:
            return b""
        key = self._key(entry)
        blocks = []
        for index in indexes:
            block = cached_block(self._cache, key, index, entry.stored_bytes)
            came_by = block is None and self._progress.came_by(entry.kept_path, index)
            lost_bytes = block_size_at(index, entry.stored_bytes) if came_by else 0
            while block is None:
                indexes_made = self._progress.indexes_made
                by_spans = self._read_by_spans(entry, offset_bytes, size_bytes)
                if by_spans is not None:
                    return by_spans
                with self._progress.expecting(entry, index, indexes_made) as awaited:
                    # Again, now that no block can go by unseen: it may have between the first look and this.
                    block = cached_block(self._cache, key, index, entry.stored_bytes)
                    if block is None:
                        block = awaited()
                        self._ahead.lost(lost_bytes if block is not None else 0)
            self._progress.note_read(entry, index)
            self._ahead.read((key, index))
            blocks.append(block)
        return slice_blocks(blocks, indexes.start, offset_bytes, size_bytes)

    def prefetch(self, entry: Entry, offset_bytes: int, size_bytes: int) -> int:
        """See `MemberReader`: what the cache lacks is fetched by its spans. A pass brings everything by itself."""
        end_bytes = min(offset_bytes + size_bytes, entry.stored_bytes)
        key = self._key(entry)
        if self._spans is None or all(
            self._cache.has(key, index) for index in blocks_of(offset_bytes, size_bytes, entry.stored_bytes)
        ):
            return end_bytes  # the index need not be loaded to know that
        by_spans = self._spans.blob(entry.path, self._fetched_by_spans)
        return end_bytes if by_spans is None else by_spans.prefetch(offset_bytes, size_bytes)

    def _fetched_by_spans(self, path: str, offset_bytes: int, size_bytes: int) -> None:
        """Counts what a pass had brought before. `path` is that in the cache; reads are of whole blocks."""
        for begin_bytes in range(offset_bytes, offset_bytes + size_bytes, BLOCK_SIZE_BYTES):
            if self._progress.came_by(path, begin_bytes // BLOCK_SIZE_BYTES):
                self._ahead.lost(min(BLOCK_SIZE_BYTES, offset_bytes + size_bytes - begin_bytes))

    def _key(self, entry: Entry) -> CacheKey:
        return CacheKey(self.model, entry.kept_path)

    def _read_by_spans(self, entry: Entry, offset_bytes: int, size_bytes: int) -> bytes | None:
        """None where there is no index that fits the archive."""
        blob = self._spans.blob(entry.path, self._fetched_by_spans) if self._spans is not None else None
        if self._spans is None or blob is None:
            return None
        try:
            return blob.read_at(offset_bytes, size_bytes)
        except (Damaged, Permanent) as error:
            # The pass that follows tells whether the archive is damaged, or only its index.
            _log.warning("%s: the archive cannot be read by its index: %s", self.handle, error)
            self._spans.discard()
            return None
        except Stale as stale:
            self._passes.fail(stale)
            raise
