"""The source of a model that is hosted as an archive: extracted lazily, while it streams."""

from collections.abc import Callable, Sequence
from typing import Any

from hubfs.blobs.blob import Blob, ByteStream
from hubfs.blobs.stamp import UNDATED, Stamp
from hubfs.cache.ahead.budget import Ahead
from hubfs.cache.block_cache import BlockCache, CacheKey
from hubfs.cache.block_checksums import BlockChecksums
from hubfs.cache.cached_blob import CachedBlob
from hubfs.cache.turns import NoTurns, Turns
from hubfs.errors import HubfsError, IsADirectory
from hubfs.formats.index_file import IndexedMember, IndexFile
from hubfs.formats.inflating.parallel import PLENTY_BYTES
from hubfs.hubs.resolver import Form
from hubfs.memory_budget import MemoryBudget
from hubfs.model_id import ModelId
from hubfs.sources.archive.index import ArchiveIndex, entry_of
from hubfs.sources.archive.member_blob import MemberBlob, StoredBlob
from hubfs.sources.archive.passes import ArchivePasses, ArchiveSettings
from hubfs.sources.archive.spans import ArchiveSpans
from hubfs.sources.source import Entry, Extent, with_holes
from hubfs.waiting import Cancellation

Wrap = Callable[[CacheKey, Blob, Callable[[], bool]], CachedBlob]
"""Puts the cache around the blob of a file; the function says whether the model failed for good. Fetches nothing."""


class ArchiveSource:
    """Entries appear, and bytes can be read, as a pass over the archive goes by them.

    A file is a `MemberBlob` over a `CachedBlob` (made by `wrap`) over a `StoredBlob`: a block comes out of the cache,
    else by the `spans` of the archive's index, else from the pass that goes by. The first question that only a pass can
    answer begins one. The pass hands out its blocks itself, so a cache that keeps nothing still makes progress. There
    is an index once a whole pass has noted it down, or a host has published it; there is never one without `spans`
    (None: the origin answers no ranges).

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
        wrap: Wrap,
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
        self._wrap = wrap
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
        source._progress.adopt(known.members)
        source._progress.mark_complete()
        return source

    def adopt(self, file: IndexFile) -> None:
        """Becomes complete by an index that was published beside the archive: no pass is needed."""
        self._passes.adopt(file)

    def to_index(self) -> dict[str, Any]:
        """What `ArchiveIndex` needs, for JSON."""
        members = self._progress.known()
        checksums = None
        if self._checksums is not None:
            entries = map(entry_of, members)
            checksums = {one.kept_path: self._checksums.of(one.kept_path, one.stored_bytes) for one in entries}
        return ArchiveIndex(self.handle, self.url, self.identity, members, self._stamp, checksums).to_json()

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
        return entry_of(self._progress.find(path))

    def stamp(self, path: str) -> Stamp:  # noqa: ARG002 - every entry has the archive's
        """See `Source`."""
        return self._stamp

    def entries(self) -> Sequence[Entry]:
        """See `Source`: waits for the end of the archive."""
        return [entry_of(member) for member in self._progress.members()]

    def open(self, entry: Entry) -> Blob:
        """See `Source`: the same one every time."""
        file = self._progress.find(entry.path)
        if file.is_directory:
            raise IsADirectory(f"{self.handle}/{entry.path} is a directory")
        return self._blobs.get(file.path) or self._blobs.setdefault(file.path, self._blob(file))

    def _blob(self, file: IndexedMember) -> Blob:
        entry = entry_of(file)
        key = CacheKey(self.model, entry.kept_path)
        stored = StoredBlob(key, file, self._progress, self._spans, ahead=self._ahead, on_stale=self._passes.fail)
        cached = self._wrap(key, stored, lambda: self._progress.failure is not None)
        return with_holes(MemberBlob(cached, file, self._progress), entry)
