"""How the source of an archive is made, at a location or from an index: what wraps what."""

from collections.abc import Callable
from concurrent.futures import Executor

from hubfs.blobs.blob import Blob, ByteStream
from hubfs.blobs.gcs.client import GcsBlob, GcsClient
from hubfs.blobs.gcs.stream import GcsStream
from hubfs.blobs.http.blob import HttpBlob
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.lazy import LazyBlob
from hubfs.blobs.retry import Permanent, RetryingBlob, RetryPolicy
from hubfs.blobs.streaming.http_stream import HttpStream
from hubfs.cache.block_cache import BlockCache
from hubfs.cache.block_checksums import BlockChecksums
from hubfs.cache.disk.indexes import Index, Indexes
from hubfs.cache.memory import MemoryTier
from hubfs.cache.turns import Turns
from hubfs.errors import Stale
from hubfs.formats.gzip.blob import GzipBlob
from hubfs.formats.index_file import IndexFile
from hubfs.formats.inflating.parallel import MIN_SIZE_BYTES, PLENTY_BYTES
from hubfs.hubs.resolver import Form, Location, Resolver
from hubfs.memory_budget import MemoryBudget
from hubfs.model_id import ModelId
from hubfs.sources.archive.index import ArchiveIndex
from hubfs.sources.archive.passes import Archive, ArchiveSettings
from hubfs.sources.archive.published import find_published_index
from hubfs.sources.archive.source import ArchiveSource, Wrap
from hubfs.sources.archive.spans import ArchiveSpans
from hubfs.sources.locating import located_anew
from hubfs.sources.naming import model_name
from hubfs.waiting import Cancellation

Locate = Callable[[], Location]


class ArchiveOpener:
    """Makes `ArchiveSource`s of the models of `resolver`'s hub. Holds only its collaborators, so it needs no lock."""

    def __init__(
        self,
        resolver: Resolver,
        *,
        http: HttpClient,
        gcs: GcsClient,
        cache: BlockCache,
        indexes: Indexes,
        pool: Executor,
        retry: RetryPolicy,
        cancellation: Cancellation,
        settings: ArchiveSettings,
        turns: Turns,
        budget: MemoryBudget | None,
        memory: MemoryTier,
        wrap: Wrap,
    ) -> None:
        self._resolver = resolver
        self._http = http
        self._gcs = gcs
        self._cache = cache
        self._indexes = indexes
        self._pool = pool
        self._retry = retry
        self._cancellation = cancellation
        self._settings = settings
        self._turns = turns
        self._budget = budget or MemoryBudget(PLENTY_BYTES)
        self._memory = memory
        self._wrap = wrap

    def open(self, handle: ModelId, location: Location) -> ArchiveSource:
        """The archive at `location`. Raises what the origin raises, when it is asked what it has."""
        stream = self._stream(location)
        seen = ArchiveIndex(handle, stream.url, stream.identity, (), stream.stamp)
        checksums = None if stream.pinned else BlockChecksums(stream.url)
        source = self._source(seen, checksums, lambda: location, lambda: stream)
        published = self._published_index(location, stream) if stream.pinned else None  # which has no checksums
        if published is not None:
            source.adopt(published)
        return source

    def load(self, handle: ModelId, index: Index) -> ArchiveSource:
        """An archive that was complete before. Asks nobody. Raises `Damaged` for a malformed index."""
        known = ArchiveIndex.from_json(handle, index)
        checksums = None
        if known.checksums is not None:
            checksums = BlockChecksums(known.url)
            checksums.adopt(known.checksums)

        def locate() -> Location:
            return located_anew(self._resolver, handle, Form.COMPRESSED)

        source = self._source(known, checksums, locate, lambda: self._stream(locate()))
        source.know(known.members)
        return source

    def _source(
        self,
        known: ArchiveIndex,
        checksums: BlockChecksums | None,
        locate: Locate,
        open_stream: Callable[[], ByteStream],
    ) -> ArchiveSource:
        model = model_name(self._resolver.cached_as, known.handle, known.identity)
        archive = Archive(
            handle=known.handle,
            url=known.url,
            model=model,
            identity=known.identity,
            stamp=known.stamp,
            open_stream=open_stream,
            cache=self._cache,
            cancellation=self._cancellation,
            settings=self._settings,
            budget=self._budget,
            turns=self._turns,
            spans=self._spans(known.handle, model, known.identity, locate, checksums),
            checksums=checksums,
        )
        return ArchiveSource(archive, wrap=self._wrap, on_complete=self._keep_index)

    def _stream(self, location: Location) -> GcsStream | HttpStream:
        if location.url.startswith("gs://"):
            return GcsStream(self._gcs, location.url, allowance=self._budget)
        return HttpStream(self._http, location.url, location.headers, allowance=self._budget)

    def _published_index(self, location: Location, stream: ByteStream) -> IndexFile | None:
        """An archive that inflates in less time than a request takes has no use for one."""
        if location.url.startswith("gs://") or (stream.size_bytes or 0) < MIN_SIZE_BYTES:
            return None
        seen = self._http.probe(location.url, location.headers)  # asked for a moment ago, and remembered
        return find_published_index(self._http, seen, seen.link, location.headers)

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
                recall=lambda start_bytes: self._memory.span(model, start_bytes),
                keep=lambda start_bytes, output: self._memory.put_span(model, start_bytes, output),
            )

        return ArchiveSpans(
            model,
            unpack=unpack,
            load=lambda: self._indexes.load_file(model),
            save=lambda data: self._indexes.save_file(model, data),
            checksums=checksums,
        )

    def _ranged(self, handle: ModelId, identity: str | None, location: Location) -> Blob:
        """The archive by ranges. Raises `Stale` if it is another one by now, `Permanent` if there are no ranges.

        `identity` is None where no host's word says which archive it is.
        """
        stream = self._stream(location)
        if identity not in (None, stream.identity):
            raise Stale(f"{stream.url} is no longer what it was when {handle} was first read; it is fetched anew")
        if isinstance(stream, GcsStream):
            return GcsBlob(self._gcs, stream.object)
        if not self._http.probe(location.url, location.headers).accepts_ranges:
            raise Permanent(f"{stream.url} answers no ranges")
        return HttpBlob(self._http, location.url, location.headers)

    def _keep_index(self, source: ArchiveSource) -> None:
        self._indexes.save(source.model, source.to_index())
