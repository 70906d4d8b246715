"""Sources without a mount: of a manifest, of bytes in memory, and of whatever a hub opens."""

from concurrent.futures import Executor
from typing import Any

from hubfs.blobs.blob import Blob
from hubfs.blobs.gcs.client import GcsClient
from hubfs.cache.block_cache import BlockCache, CacheKey
from hubfs.cache.cached_blob import CachedBlob
from hubfs.cache.disk.indexes import Index, Indexes, IndexStore
from hubfs.cache.memory import MemoryTier
from hubfs.cache.turns import NoTurns
from hubfs.hubs.hub import label_of
from hubfs.memory_budget import MemoryBudget
from hubfs.model_id import ModelId
from hubfs.sources.archive.origin import ArchiveOrigin
from hubfs.sources.archive.passes import ArchiveSettings
from hubfs.sources.bucket import kept_bucket, list_bucket
from hubfs.sources.files import FilesSource, Manifest, OnFailure, Wrap
from hubfs.sources.kit import Kit
from hubfs.sources.source import EntryKind, Source
from hubfs.waiting import Cancellation
from tests.support.http_clients import QUICK

HUB = "https://hub.example"


def plain(_: CacheKey, blob: Blob) -> Blob:
    """Puts nothing around a blob."""
    return blob


def source_of(
    manifest: Manifest, model: ModelId, wrap: Wrap = plain, on_failure: OnFailure | None = None
) -> FilesSource:
    """The source of these files, as `HUB` has them."""
    return FilesSource(label_of(HUB), model, manifest, wrap, on_failure)


def bucket_source(
    client: GcsClient, model: ModelId, url: str, wrap: Wrap = plain, on_failure: OnFailure | None = None
) -> FilesSource:
    """The source of the objects below `url`, which are listed."""
    return source_of(list_bucket(client, model, url), model, wrap, on_failure)


def kept_bucket_source(client: GcsClient, model: ModelId, index: Index, wrap: Wrap = plain) -> FilesSource:
    """The source that the index of a `bucket_source` describes. Raises `Damaged`."""
    return source_of(kept_bucket(client, model, index), model, wrap)


def contents(source: Source) -> dict[str, bytes]:
    """All files of a source, by path."""
    entries = [entry for entry in source.entries() if entry.kind is EntryKind.FILE]
    return {entry.path: source.open(entry).read_at(0, entry.size_bytes) for entry in entries}


def kit_of(
    pool: Executor,
    cancellation: Cancellation,
    *,
    cache: BlockCache,
    memory: MemoryTier,
    indexes: Indexes | None = None,
    offline: bool = False,
) -> Kit:
    """The kit of a mount that asks again quickly, and reads 4 MiB of an archive ahead."""

    def cached(key: CacheKey, blob: Blob, failed: Any) -> CachedBlob:
        return CachedBlob(blob, cache, key, pool=pool, cancellation=cancellation, turns=NoTurns(), failed=failed)

    return Kit(
        cached=cached,
        cache=cache,
        memory=memory,
        indexes=indexes or IndexStore(None),
        pool=pool,
        retry=QUICK,
        cancellation=cancellation,
        archives=ArchiveSettings(ahead_bytes=4 << 20),
        turns=NoTurns(),
        budget=MemoryBudget(64 << 20),
        offline=offline,
    )


class Told(Kit):
    """A kit that opens nothing: it gives back the manifest or the archive's origin that the hub told it of."""

    def __init__(self) -> None:
        pass

    def files(self, hub: str, model: ModelId, manifest: Manifest) -> Any:
        return manifest

    def kept_files(self, hub: str, model: ModelId, manifest: Manifest) -> Any:
        return manifest

    def archive(self, hub: str, model: ModelId, origin: ArchiveOrigin) -> Any:
        return origin

    def kept_archive(self, hub: str, model: ModelId, kept: Index, locate: Any) -> Any:
        return locate()
