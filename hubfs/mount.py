"""The composition root: spells out what a mount is made of, from the network up to the names."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hubfs import __version__
from hubfs.blobs.blob import Blob
from hubfs.blobs.gcs import GcsClient, GcsSettings
from hubfs.blobs.http import HttpClient, HttpSettings
from hubfs.blobs.http_stream import HttpStream
from hubfs.blobs.retry import RetryingBlob, RetryPolicy
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, BlockCache, CacheKey
from hubfs.cache.cached_blob import CachedBlob
from hubfs.cache.disk import DiskSettings, DiskTier
from hubfs.cache.index_store import Index, Indexes, IndexStore, NoIndexes
from hubfs.cache.layout import CacheLayout
from hubfs.cache.memory import MemoryTier
from hubfs.cache.readahead import ReadAheadBlob, ReadAheadPolicy
from hubfs.cache.tiered import TieredCache
from hubfs.cancellation import Cancellation
from hubfs.config import Config
from hubfs.errors import InvalidConfig
from hubfs.hub.handle import Handle
from hubfs.hub.resolver import Form, Location
from hubfs.hub.tfhub import TfhubResolver
from hubfs.sources.archive import ArchiveSettings, ArchiveSource
from hubfs.sources.bucket import BucketSource
from hubfs.sources.models import Models, ModelsSettings
from hubfs.sources.naming import model_name
from hubfs.sources.source import Source
from hubfs.status import RecentProblems, Status
from hubfs.tree.virtual_tree import VirtualTree

_FETCHES = 8
"""Requests of a bucket that may be under way at once."""

_RESERVE_BYTES = 1 << 30
"""At most this much of the cache's file system is kept free, and never more than a twentieth of it."""


@dataclass(frozen=True)
class Mount:
    """A name space that is ready to be served. `close` ends every wait and transfer."""

    tree: VirtualTree
    cancellation: Cancellation
    close: Callable[[], None]


def assemble(config: Config, mountpoint: Path, binding: str, problems: RecentProblems) -> Mount:
    """Builds everything that a config asks for; asks nobody anything. Raises `InvalidConfig`."""
    cancellation = Cancellation()

    # Bytes: the two doors.
    retry = RetryPolicy()
    http = HttpClient(_http_settings(config, retry), cancellation)
    gcs = GcsClient(
        GcsSettings(
            endpoint_url=config.gcs_endpoint_url, token=config.gcs_token, timeout_s=config.stall_timeout_s, retry=retry
        ),
        cancellation,
    )

    # The middle: memory, then disk.
    memory = MemoryTier(config.memory_size_bytes)
    cache: BlockCache = memory
    indexes: Indexes = NoIndexes()
    if config.cache_dir is not None:
        layout = _prepared(config.cache_dir)
        cache = TieredCache(memory, DiskTier(layout, _disk_settings(config, config.cache_dir)))
        indexes = IndexStore(layout)
    fetches = ThreadPoolExecutor(_FETCHES, thread_name_prefix="fetch")

    # Models that a bucket holds: every object a blob, cached block by block.
    def cached(key: CacheKey, blob: Blob) -> Blob:
        return CachedBlob(RetryingBlob(blob, retry, cancellation), cache, key, pool=fetches, cancellation=cancellation)

    def forget(source: Source) -> None:
        cache.drop(source.model)

    def open_bucket(handle: Handle, location: Location) -> Source:
        source = BucketSource.list(gcs, config.hub, handle, location.url, cached, on_failure=forget)
        indexes.save(source.model, source.to_index())
        return source

    def load_bucket(handle: Handle, index: Index) -> Source:
        return BucketSource.from_index(gcs, config.hub, handle, index, cached, on_failure=forget)

    # Models that an archive holds: one pass, which fills the same cache.
    archive_settings = ArchiveSettings(ahead_bytes=config.memory_size_bytes // 2)

    def open_archive(handle: Handle, location: Location) -> Source:
        stream = HttpStream(http, location.url, location.headers)
        return ArchiveSource(
            handle,
            stream.url,
            model_name(config.hub, handle, stream.identity),
            stream.identity,
            open_stream=lambda: stream,
            cache=cache,
            cancellation=cancellation,
            settings=archive_settings,
            on_complete=lambda source: indexes.save(source.model, source.to_index()),
        )

    def load_archive(handle: Handle, index: Index) -> Source:
        def open_stream() -> HttpStream:
            location = resolver.resolve(handle, Form.COMPRESSED)
            return HttpStream(http, location.url, location.headers)

        return ArchiveSource.from_index(
            handle,
            model_name(config.hub, handle, str(index.get("identity"))),
            index,
            open_stream=open_stream,
            cache=cache,
            cancellation=cancellation,
            settings=archive_settings,
            on_complete=lambda source: indexes.save(source.model, source.to_index()),
        )

    # Names.
    resolver = TfhubResolver(http, config.hub, config.form)
    models = Models(
        resolver,
        openers={Form.COMPRESSED: open_archive, Form.UNCOMPRESSED: open_bucket},
        loaders={Form.COMPRESSED: load_archive, Form.UNCOMPRESSED: load_bucket},
        load_index=indexes.load,
        known_on_disk=indexes.known,
        cancellation=cancellation,
        settings=ModelsSettings(fall_back=config.form is None),
    )
    status = Status(
        mountpoint=mountpoint,
        binding=binding,
        cache_dir=config.cache_dir,
        models=models,
        cache=cache,
        http=http,
        problems=problems,
    )
    # A reader's window stays within an eighth of the memory tier: eight readers side by side do not starve each other.
    policy = ReadAheadPolicy(
        limit_bytes=max(BLOCK_SIZE_BYTES, min(32 * BLOCK_SIZE_BYTES, config.memory_size_bytes // 8))
    )
    tree = VirtualTree(
        models,
        cache,
        read_ahead=lambda blob: ReadAheadBlob(blob, policy) if isinstance(blob, CachedBlob) else blob,
        controls={
            "status.json": lambda: json.dumps(status.describe(), indent=2).encode() + b"\n",
            "version": lambda: __version__.encode() + b"\n",
        },
    )

    def close() -> None:
        cancellation.cancel()
        fetches.shutdown(wait=False, cancel_futures=True)
        http.close()
        gcs.close()

    return Mount(tree, cancellation, close)


def _http_settings(config: Config, retry: RetryPolicy) -> HttpSettings:
    headers = dict(config.headers)
    if config.token is not None:
        headers["Authorization"] = f"Bearer {config.token}"
    hub = urlsplit(config.hub)
    return HttpSettings(
        connect_timeout_s=config.connect_timeout_s,
        stall_timeout_s=config.stall_timeout_s,
        retry=retry,
        verify=config.verify_certificates,
        credential_host=hub.netloc.rpartition("@")[2],
        credential_scheme=hub.scheme,
        headers=headers,
    )


def _prepared(cache_dir: Path) -> CacheLayout:
    layout = CacheLayout(cache_dir)
    try:
        layout.prepare()
    except OSError as error:
        raise InvalidConfig(
            f"The cache directory {cache_dir} cannot be used ({error.strerror}); --cache-dir names another, "
            "--no-disk-cache goes without"
        ) from None
    return layout


def _disk_settings(config: Config, cache_dir: Path) -> DiskSettings:
    file_system = os.statvfs(cache_dir)
    total_bytes = file_system.f_blocks * file_system.f_frsize
    return DiskSettings(config.cache_size_bytes, min(_RESERVE_BYTES, total_bytes // 20))
