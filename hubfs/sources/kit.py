"""How sources are made: a hub says where its models are, and the kit does the rest."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import NoReturn

from hubfs.blobs.blob import Blob, WrappedBlob
from hubfs.blobs.checksums import ChecksummedBlob
from hubfs.blobs.lazy import LazyBlob
from hubfs.blobs.retry import RetryingBlob, RetryPolicy
from hubfs.blobs.streaming.http_stream import HttpStream
from hubfs.cache.block_cache import BlockCache, CacheKey, block_size_at, blocks_of
from hubfs.cache.block_checksums import BlockChecksums
from hubfs.cache.cached_blob import CachedBlob
from hubfs.cache.disk.indexes import Index, Indexes
from hubfs.cache.memory import MemoryTier
from hubfs.cache.turns import Turns
from hubfs.errors import NotCached, Stale
from hubfs.formats.gzip.blob import GzipBlob
from hubfs.formats.index_file import IndexFile
from hubfs.memory_budget import MemoryBudget
from hubfs.model_id import BLOBS, ModelId, model_name
from hubfs.sources.archive.index import ArchiveIndex, whole_of
from hubfs.sources.archive.origin import ArchiveOrigin
from hubfs.sources.archive.passes import Archive, ArchiveSettings
from hubfs.sources.archive.source import ArchiveSource, Wrap
from hubfs.sources.archive.spans import ArchiveSpans
from hubfs.sources.files import FilesSource, Manifest
from hubfs.sources.shared_files import SharedFiles
from hubfs.sources.source import Source
from hubfs.waiting import Cancellation


class OfflineBlob(WrappedBlob):
    """Stands in the place of `blob`, which is never read, below the `CachedBlob` of the file `key`.

    A `Streaming` blob of which no block ever comes by, and none can be fetched. No state, so no lock.
    """

    def __init__(self, blob: Blob, cache: BlockCache, key: CacheKey) -> None:
        super().__init__(blob)
        self._cache = cache
        self._key = key

    def can_fetch(self) -> bool:
        """False: nothing is begun ahead of readers either."""
        return False

    def wait_for(self, index: int, look: Callable[[], bytes | None]) -> bytes | None:  # noqa: ARG002 - as the protocol has it
        """Block `index`, if it came into the cache just now. Raises `NotCached`, never waits."""
        return look() or self._refuse()

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:  # noqa: ARG002 - as the protocol has it
        """Raises `NotCached`."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        """Says how much of the file is missing."""
        every = blocks_of(0, self.size_bytes, self.size_bytes)
        missing = [index for index in every if not self._cache.has(self._key, index)]
        missing_bytes = sum(block_size_at(index, self.size_bytes) for index in missing)
        # None is missing where a block was there and turned out to be damaged: it is gone from now on.
        # The name of a shared file in the cache tells no reader which one it is.
        name = self.key if self._key.model.startswith(BLOBS) else f"{self._key.model}/{self._key.path}"
        raise NotCached(
            f"{name}: {missing_bytes} of {self.size_bytes} bytes "
            f"({max(1, len(missing))} of {len(every)} blocks) are not cached, and hubfs is mounted with --offline: "
            "read the file once on a mount without it"
        )


Locate = Callable[[], ArchiveOrigin]
"""Where an archive is by now; may ask the hub, and raises what it answers, but for `NotFound`."""


@dataclass(frozen=True)
class Guest:
    """A model that a hub has at another one: `model` of `hub` (its name in the cache), at the hub with the URL `at`."""

    hub: str
    model: ModelId
    at: str


Show = Callable[[Manifest], Manifest]
"""Makes of a hub's manifest the one that is shown. Asks nobody."""


class Kit:
    """Makes the sources of every hub of a mount; `hub` is the hub's name in the cache. Holds only its collaborators.

    `cached` puts the block cache around a blob; `memory` is the tier that keeps spans of archives, too. `offline`:
    whatever the cache lacks is `NotCached`, and no host is asked for bytes.
    """

    def __init__(
        self,
        *,
        cached: Wrap,
        cache: BlockCache,
        memory: MemoryTier,
        indexes: Indexes,
        pool: Executor,
        retry: RetryPolicy,
        cancellation: Cancellation,
        archives: ArchiveSettings,
        turns: Turns,
        budget: MemoryBudget,
        offline: bool = False,
    ) -> None:

        def out_of_cache(key: CacheKey, blob: Blob, failed: Callable[[], bool]) -> CachedBlob:
            return cached(key, OfflineBlob(blob, cache, key), failed)

        self._cached: Wrap = out_of_cache if offline else cached
        self._cached_whole = cached  # for an archive that the index holds whole: it needs no network
        self._offline = offline
        self._cache = cache
        self._memory = memory
        self._indexes = indexes
        self._pool = pool
        self._retry = retry
        self._cancellation = cancellation
        self._archives = archives
        self._turns = turns
        self._budget = budget
        self._guest: Guest | None = None
        self._shows: Sequence[Show] = ()
        self._shared_files = SharedFiles(cache.drop)

    def showing(self, show: Show) -> "Kit":
        """A kit like this one, whose models of files are shown so. The cache keeps what the hub told."""
        kit = copy(self)
        kit._shows = (show, *self._shows)  # noqa: SLF001 - of this class
        return kit

    def for_guest(self, guest: Guest) -> "Kit":
        """A kit like this one, for the hub where `guest` is: what that hub has made is the guest.

        The index that the cache keeps is the one of the other hub, with the handle there, and the URL of that hub as
        `at`: its `load` reads the index, with such a kit again.
        """
        kit = copy(self)
        kit._guest = guest  # noqa: SLF001 - of this class
        return kit

    def files(self, hub: str, model: ModelId, manifest: Manifest) -> FilesSource:
        """A model of the files that its hub has just told of. The cache keeps the manifest, if its pins last."""
        source = self.kept_files(hub, model, manifest)
        if manifest.lasting:
            self._save(source, manifest.to_json(model))
        return source

    def kept_files(self, hub: str, model: ModelId, manifest: Manifest) -> FilesSource:
        """A model of the files that the cache has kept the manifest of. Asks nobody."""
        if self._guest is not None:
            hub, model = self._guest.hub, self._guest.model
        for show in self._shows:
            manifest = show(manifest)
        return FilesSource(
            *(hub, model, manifest, self._file, self._forget),
            cache=self._cache,
            shared_files=self._shared_files,
            behind=self._later,
        )

    def archive(self, hub: str, model: ModelId, origin: ArchiveOrigin) -> ArchiveSource:
        """The model in an archive that its hub has just named. Raises what the host answers."""
        stream = origin.stream(self._budget)
        seen = ArchiveIndex(model, stream.url, stream.identity, (), stream.stamp)
        checksums = None if stream.pinned else BlockChecksums(stream.url)
        source = self._archive(hub, seen, checksums, lambda: origin, lambda: stream, first=stream)
        published = origin.published_index(stream) if stream.pinned else None  # which has no checksums
        if published is not None:
            source.adopt(published)
        return source

    def kept_archive(self, hub: str, model: ModelId, kept: Index, locate: Locate) -> ArchiveSource:
        """The model in an archive that was complete before. Asks nobody. Raises `Damaged` for a malformed index."""
        known = ArchiveIndex.from_json(model, kept)
        checksums = None
        if known.checksums is not None:
            checksums = BlockChecksums(known.url)
            checksums.adopt(known.checksums)

        def open_stream() -> HttpStream:
            if self._offline:
                raise NotCached(f"{known.url} is not cached any more, and hubfs is mounted with --offline")
            return locate().stream(self._budget)

        source = self._archive(hub, known, checksums, locate, open_stream)
        source.know(known.members, whole=known.whole is not None)
        return source

    def _archive(
        self,
        hub: str,
        known: ArchiveIndex,
        checksums: BlockChecksums | None,
        locate: Locate,
        open_stream: Callable[[], HttpStream],
        *,
        first: HttpStream | None = None,
    ) -> ArchiveSource:
        there = str(known.handle)
        if self._guest is not None:
            hub, known = self._guest.hub, replace(known, handle=self._guest.model)
        name = model_name(hub, known.handle, known.identity)

        def load_whole() -> bytes | None:
            kept = self._indexes.load(f"{hub}/{known.handle}")
            try:
                return whole_of(kept) if kept is not None and kept.get("identity") == known.identity else None
            except (TypeError, ValueError):
                return None

        archive = Archive(
            handle=known.handle,
            url=known.url,
            model=name,
            identity=known.identity,
            stamp=known.stamp,
            size_bytes=None if first is None else first.size_bytes,
            is_here=lambda: first is not None and first.is_here,
            load_whole=load_whole,
            keeps_whole=self._indexes.keeps,
            open_stream=open_stream,
            cache=self._cache,
            cancellation=self._cancellation,
            settings=self._archives,
            budget=self._budget,
            turns=self._turns,
            spans=None if known.whole else self._spans(known.handle, name, known.identity, locate, checksums),
            checksums=checksums,
        )

        def keep_index(source: ArchiveSource) -> None:
            self._save(source, {**source.to_index(), "handle": there})

        wrap = self._cached if known.whole is None else self._cached_whole
        return ArchiveSource(archive, wrap=wrap, on_complete=keep_index)

    def _file(self, key: CacheKey, blob: ChecksummedBlob) -> CachedBlob:
        cached = self._cached(key, RetryingBlob(blob, self._retry, self._cancellation), blob.failed)
        cached.needs_block = blob.needs_block
        return cached

    def _later(self, task: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the mount goes away, and nobody waits for the task
            self._pool.submit(task)

    def _forget(self, source: Source) -> None:
        self._cache.drop(source.model)

    def _save(self, source: Source, index: Index) -> None:
        self._indexes.save(source.model, index if self._guest is None else {**index, "at": self._guest.at})

    def _spans(
        self, handle: ModelId, model: str, identity: str, locate: Locate, checksums: BlockChecksums | None
    ) -> ArchiveSpans:
        pinned_by = identity if checksums is None else None

        def unpack(file: IndexFile) -> Blob:
            archive = LazyBlob(
                f"{model}#archive",
                file.archive_size_bytes,
                lambda: RetryingBlob(self._ranged(handle, pinned_by, locate()), self._retry, self._cancellation),
                self._cancellation,
            )
            if file.gzip is None:
                return archive
            name = f"the archive of {handle}"
            return GzipBlob(
                archive,
                file.gzip,
                name=name,
                pool=self._pool,
                cancellation=self._cancellation,
                recall=partial(self._memory.span, model),
                keep=partial(self._memory.put_span, model),
                budget=self._budget,
            )

        return ArchiveSpans(
            model,
            unpack=unpack,
            load=partial(self._indexes.load_file, model),
            save=partial(self._indexes.save_file, model),
            checksums=checksums,
        )

    def _ranged(self, handle: ModelId, identity: str | None, origin: ArchiveOrigin) -> Blob:
        """The archive by ranges. Raises `Stale` if it is another one by now, `Permanent` if there are no ranges.

        `identity` is None where no host's word says which archive it is.
        """
        stream = origin.stream(self._budget)
        if identity not in (None, stream.identity):
            raise Stale(f"{stream.url} is no longer what it was when {handle} was first read; it is fetched anew")
        return stream.ranged()
