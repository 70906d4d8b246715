"""The source of a model that is hosted as an archive: extracted lazily, while it streams."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from hubfs.blobs.blob import Blob, Prefetchable, WrappedBlob
from hubfs.blobs.stamp import Stamp
from hubfs.cache.block_cache import CacheKey, blocks_of
from hubfs.cache.cached_blob import CachedBlob
from hubfs.errors import HubfsError, IsADirectory
from hubfs.formats.index_file import IndexedMember, IndexFile
from hubfs.sources.archive.index import ArchiveIndex, entry_of
from hubfs.sources.archive.passes import Archive, ArchivePasses
from hubfs.sources.archive.progress import ArchiveProgress
from hubfs.sources.archive.spans import StoredBlob
from hubfs.sources.source import Entry, Extent, Form, with_holes

Wrap = Callable[[CacheKey, Blob, Callable[[], bool]], CachedBlob]
"""Puts the cache around the blob of a file; the function says whether the model failed for good. Fetches nothing."""


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


class ArchiveSource:
    """Entries appear, and bytes can be read, as a pass over the archive goes by them.

    A file is a `MemberBlob` over a `CachedBlob` (made by `wrap`) over a `StoredBlob`: a block comes out of the cache,
    else by the `spans` of the archive's index, else from the pass that goes by. The first question that only a pass can
    answer begins one. The pass hands out its blocks itself, so a cache that keeps nothing still makes progress. There
    is an index once a whole pass has noted it down, or a host has published it; there is never one without `spans`
    (None: the origin answers no ranges).

    `on_complete` is called with this source whenever all of the archive is known and verified, before any reader is
    told so.

    There is no lock here: `_progress` has its own, and `_blobs` is changed by `dict.setdefault` only, which is atomic.
    """

    shared: Sequence[str] = ()

    def __init__(self, archive: Archive, *, wrap: Wrap, on_complete: Callable[["ArchiveSource"], None]) -> None:
        self.handle = archive.handle
        self.url = archive.url
        self.form = Form.COMPRESSED
        self.model = archive.model
        self.identity = archive.identity
        self._archive = archive
        self._wrap = wrap
        self._passes = ArchivePasses(archive, lambda: on_complete(self))
        self._progress = self._passes.progress
        self._blobs: dict[str, Blob] = {}

    def know(self, members: Sequence[IndexedMember], *, whole: bool = False) -> None:
        """The archive was verified before, and holds `members`: nobody need be asked for them.

        `whole`: the cache keeps the archive itself.
        """
        self._progress.adopt(members)
        self._progress.mark_complete()
        if whole:
            self._passes.know_whole()

    def adopt(self, file: IndexFile) -> None:
        """Becomes complete by an index that was published beside the archive: no pass is needed."""
        self._passes.adopt(file)

    def to_index(self) -> dict[str, Any]:
        """What `ArchiveIndex` needs, for JSON."""
        members, seen = self._progress.known(), self._archive.checksums
        checksums = None
        if seen is not None:
            checksums = {one.kept_path: seen.of(one.kept_path, one.stored_bytes) for one in map(entry_of, members)}
        index = ArchiveIndex(self.handle, self.url, self.identity, members, self._archive.stamp, checksums)
        return replace(index, whole=self._passes.whole).to_json()

    @property
    def complete(self) -> bool:
        """Whether a whole pass was verified."""
        return self._progress.complete

    def await_end(self, patience_s: float) -> None:
        """Waits for the end of a pass that has received all of the archive, at most so many seconds. Never raises."""
        if self._progress.running and self.to_come_bytes == 0:
            self._progress.await_end(patience_s)

    @property
    def failure(self) -> HubfsError | None:
        """Why nothing of this source may be served any more; it does not recover."""
        return self._progress.failure

    @property
    def extent(self) -> Extent:
        """The number and the sizes of the members that came by; of all once `complete`. Never waits."""
        return self._progress.extent

    @property
    def came_bytes(self) -> int:
        """How much of the archive the pass has received; 0 while none runs."""
        return self._progress.came()

    @property
    def to_come_bytes(self) -> int | None:
        """What the pass has yet to receive of the archive, as far as its host tells the size; 0 once it was verified.

        While no pass runs, that is all of it.
        """
        size_bytes, progress = self._archive.size_bytes, self._progress
        if progress.complete or size_bytes is None:
            return 0 if progress.complete else None
        return max(0, size_bytes - progress.came()) if progress.running else size_bytes

    @property
    def streams(self) -> bool:
        """Whether a pass runs."""
        return self._progress.running

    def find(self, path: str) -> Entry:
        """The entry at `path`. Waits until the member comes by, or the archive ends without it (`EntryNotFound`)."""
        return entry_of(self._progress.find(path))

    def stamp(self, path: str) -> Stamp:  # noqa: ARG002 - every entry has the archive's
        """When the archive was made, as far as its origin tells; every entry has this time. Never waits."""
        return self._archive.stamp

    def entries(self) -> Sequence[Entry]:
        """All entries, directories included, without the root; sorted by path. Waits for the end of the archive."""
        return [entry_of(member) for member in self._progress.members()]

    def open(self, entry: Entry) -> Blob:
        """The bytes of a file entry: the same blob every time."""
        file = self._progress.find(entry.path)
        if file.is_directory:
            raise IsADirectory(f"{self.handle}/{entry.path} is a directory")
        return self._blobs.get(file.path) or self._blobs.setdefault(file.path, self._blob(file))

    def _blob(self, file: IndexedMember) -> Blob:
        key = self._archive.key(file)
        stored = StoredBlob(
            key, file, self._progress, self._archive.spans, budget=self._archive.budget, on_stale=self._passes.fail
        )
        cached = self._wrap(key, stored, lambda: self._progress.failure is not None)
        return with_holes(MemberBlob(cached, file, self._progress), entry_of(file))
