"""How a source of each form is made, at a location or from an index: what wraps what."""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from pathlib import Path

from hubfs.blobs.blob import Blob
from hubfs.blobs.gcs.client import GcsClient
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.retry import RetryingBlob, RetryPolicy
from hubfs.cache.block_cache import BlockCache, CacheKey
from hubfs.cache.cached_blob import CachedBlob
from hubfs.cache.disk.indexes import Index, Indexes
from hubfs.cache.memory import MemoryTier
from hubfs.cache.turns import Turns
from hubfs.hubs.resolver import Form, Location, Resolver
from hubfs.memory_budget import MemoryBudget
from hubfs.model_id import ModelId
from hubfs.sources.archive.opener import ArchiveOpener
from hubfs.sources.archive.passes import ArchiveSettings
from hubfs.sources.bucket import BucketSource
from hubfs.sources.extracted.source import find_extracted, spellings
from hubfs.sources.listed import FailingBlob
from hubfs.sources.locating import located_anew
from hubfs.sources.single_file import FileSource
from hubfs.sources.source import Loader, Opener, Source
from hubfs.sources.tfjs import TfjsSource
from hubfs.waiting import Cancellation


class SourceFactory:
    """Makes sources of the models of `resolver`'s hub. Holds only its collaborators, so it needs no lock.

    `memory` is the tier of `cache` that keeps spans of archives, too.
    `extracted_dir`: where tensorflow_hub keeps what it extracted, None if nowhere.
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        http: HttpClient,
        gcs: GcsClient,
        cache: BlockCache,
        memory: MemoryTier,
        indexes: Indexes,
        pool: Executor,
        retry: RetryPolicy,
        cancellation: Cancellation,
        archive_settings: ArchiveSettings,
        turns: Turns,
        budget: MemoryBudget | None = None,
        extracted_dir: Path | None = None,
    ) -> None:
        self._resolver = resolver
        self._hub = resolver.cached_as
        self._http = http
        self._gcs = gcs
        self._cache = cache
        self._indexes = indexes
        self._pool = pool
        self._retry = retry
        self._cancellation = cancellation
        self._turns = turns
        self._budget = budget
        self._extracted_dir = extracted_dir
        self._archives = ArchiveOpener(
            resolver,
            http=http,
            gcs=gcs,
            cache=cache,
            indexes=indexes,
            pool=pool,
            retry=retry,
            cancellation=cancellation,
            settings=archive_settings,
            turns=turns,
            budget=budget,
            memory=memory,
            wrap=self._cached,
        )

    @property
    def openers(self) -> Mapping[Form, Opener]:
        """By the form of the location."""
        return {
            Form.COMPRESSED: self._archives.open,
            Form.UNCOMPRESSED: self._open_bucket,
            Form.FILE: self._open_file,
            Form.FILES: self._open_tfjs,
        }

    @property
    def loaders(self) -> Mapping[Form, Loader]:
        """By the form that the index speaks of."""
        return {
            Form.COMPRESSED: self._archives.load,
            Form.UNCOMPRESSED: self._load_bucket,
            Form.FILE: self._load_file,
            Form.FILES: self._load_tfjs,
        }

    def extracted(self, handle: ModelId) -> Source | None:
        """The model as tensorflow_hub extracted it on this machine, if it did, and it is whole."""
        if self._extracted_dir is None:
            return None
        return find_extracted(
            self._extracted_dir, self._resolver.hub, handle, spellings([self._resolver.hub], str(handle))
        )

    def _cached(self, key: CacheKey, blob: Blob, failed: Callable[[], bool] = lambda: False) -> CachedBlob:
        return CachedBlob(
            blob,
            self._cache,
            key,
            pool=self._pool,
            cancellation=self._cancellation,
            turns=self._turns,
            budget=self._budget,
            failed=failed,
        )

    def _retried(self, key: CacheKey, blob: FailingBlob) -> CachedBlob:
        return self._cached(key, RetryingBlob(blob, self._retry, self._cancellation), lambda: blob.failed)

    def _forget(self, source: Source) -> None:
        self._cache.drop(source.model)

    def _open_bucket(self, handle: ModelId, location: Location) -> Source:
        source = BucketSource.list(self._gcs, self._hub, handle, location.url, self._retried, on_failure=self._forget)
        self._indexes.save(source.model, source.to_index())
        return source

    def _load_bucket(self, handle: ModelId, index: Index) -> Source:
        return BucketSource.from_index(self._gcs, self._hub, handle, index, self._retried, on_failure=self._forget)

    def _open_file(self, handle: ModelId, location: Location) -> Source:
        source = FileSource.ask(self._http, self._hub, handle, location, self._retried, on_failure=self._forget)
        if source.lasting:
            self._indexes.save(source.model, source.to_index())
        return source

    def _load_file(self, handle: ModelId, index: Index) -> Source:
        return FileSource.from_index(
            self._http,
            self._hub,
            handle,
            index,
            self._retried,
            locate=lambda: located_anew(self._resolver, handle, Form.FILE),
            on_failure=self._forget,
        )

    def _open_tfjs(self, handle: ModelId, location: Location) -> Source:
        source = TfjsSource.ask(self._http, self._hub, handle, location, self._retried, on_failure=self._forget)
        if source.lasting:
            self._indexes.save(source.model, source.to_index())
        return source

    def _load_tfjs(self, handle: ModelId, index: Index) -> Source:
        return TfjsSource.from_index(
            self._http,
            self._hub,
            handle,
            index,
            self._retried,
            locate=lambda: located_anew(self._resolver, handle, Form.FILES),
            on_failure=self._forget,
        )
