"""The composition root: spells out what a mount is made of, from the network up to the names."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hubfs import __version__
from hubfs.blobs.gcs import GcsClient, GcsSettings
from hubfs.blobs.http import HttpClient, HttpSettings
from hubfs.blobs.object_store import ObjectStoreSettings
from hubfs.blobs.retry import RetryPolicy
from hubfs.cache.ahead import Ahead
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, BlockCache
from hubfs.cache.cached_blob import CachedBlob
from hubfs.cache.disk import DiskSettings, DiskTier
from hubfs.cache.index_store import Indexes, IndexStore, NoIndexes
from hubfs.cache.layout import CacheLayout
from hubfs.cache.memory import MemoryTier
from hubfs.cache.page_cache import DataPages
from hubfs.cache.readahead import FETCHES, LIMIT_BYTES, ReadAheadPolicy
from hubfs.cache.readahead_blob import ReadAheadBlob
from hubfs.cache.shared_cache import SharedCache
from hubfs.cache.shared_indexes import CombinedIndexes
from hubfs.cache.shared_over import OverShared
from hubfs.cache.shared_turns import NoTurns, Turns
from hubfs.cache.tiered import TieredCache
from hubfs.cancellation import Cancellation
from hubfs.config import DEFAULT_HUB, Config
from hubfs.errors import InvalidConfig, InvalidHandle
from hubfs.formats.gzip_blob import KEEP_BYTES
from hubfs.hub import catalog_document
from hubfs.hub.gcs import GcsResolver
from hubfs.hub.handle import Handle
from hubfs.hub.resolver import Form, Resolver
from hubfs.hub.tfhub import TfhubResolver
from hubfs.locate import handle_on, is_versioned
from hubfs.memory_budget import MemoryBudget
from hubfs.sources.archive import ArchiveSettings
from hubfs.sources.factory import SourceFactory
from hubfs.sources.models import Models, ModelsSettings
from hubfs.sources.prefetcher import NoPrefetching, Prefetcher, Prefetching
from hubfs.status import RecentProblems, Status
from hubfs.tree.catalog_provider import CatalogProvider, Fetch
from hubfs.tree.tfhub_modules import TfhubModules
from hubfs.tree.virtual_tree import VirtualTree

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
    gcs = GcsClient(_gcs_settings(config, retry), cancellation)

    # Memory: transfers and windows take at most half of it, and what they do not take is for blocks.
    budget = MemoryBudget(config.memory_size_bytes // 2)
    ahead = Ahead(budget)

    # The middle: memory, then disk, then what a fleet shares.
    memory = MemoryTier(config.memory_size_bytes, lambda: ahead.beside_cache_bytes)
    cache: BlockCache = memory
    disk: DiskTier | None = None
    local_indexes: Indexes = NoIndexes()
    if config.cache_dir is not None:
        layout = _prepared(config.cache_dir)
        disk = DiskTier(layout, _disk_settings(config, config.cache_dir), DataPages(layout, cancellation))
        cache = TieredCache(memory, disk)
        local_indexes = IndexStore(layout)
    indexes: Indexes = local_indexes
    turns: Turns = NoTurns()
    shared = None
    if config.shared_cache_url is not None:
        shared = SharedCache.open(config.shared_cache_url, _store_settings(config, retry), cancellation, disk)
        cache = OverShared(memory, shared.tier) if disk is None else TieredCache(memory, OverShared(disk, shared.tier))
        indexes, turns = CombinedIndexes(local_indexes, shared.indexes), shared.turns
    fetches = ThreadPoolExecutor(FETCHES, thread_name_prefix="fetch")

    # Sources: by form, what wraps what.
    resolver = _resolver(config, http, gcs)
    factory = SourceFactory(
        resolver,
        http=http,
        gcs=gcs,
        cache=cache,
        indexes=indexes,
        pool=fetches,
        retry=retry,
        cancellation=cancellation,
        archive_settings=ArchiveSettings(
            # Half of what blocks may take: the other half is for what readers came back for.
            ahead_bytes=config.memory_size_bytes // 4,
            eager=config.prefetch,
            inflate_workers=config.inflate_workers,
            keep_spans_bytes=min(KEEP_BYTES, config.memory_size_bytes // 8),
        ),
        turns=turns,
        ahead=ahead,
        budget=budget,
        extracted_dir=config.extracted_dir,
    )

    # Names.
    models = Models(
        resolver,
        openers=factory.openers,
        loaders=factory.loaders,
        load_index=indexes.load,
        load_extracted=factory.extracted,
        known_on_disk=local_indexes.known,  # a listing asks no store
        cancellation=cancellation,
        settings=ModelsSettings(fall_back=config.form is None),
    )
    catalog = CatalogProvider(
        cancellation, file=config.catalog, fetch=_document_fetcher(config, http), hub=resolver.hub
    )
    modules = TfhubModules(
        [DEFAULT_HUB, resolver.hub],
        lambda: [*catalog.current(refresh=True).handles(), *(str(handle) for handle in models.known())],
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
    # One reader alone may keep all fetches busy; what all windows together may be, the budget says.
    policy = ReadAheadPolicy(limit_bytes=max(BLOCK_SIZE_BYTES, min(LIMIT_BYTES, budget.limit_bytes)))
    prefetching: Prefetching = Prefetcher(cancellation) if config.prefetch else NoPrefetching()
    tree = VirtualTree(
        models,
        cache,
        read_ahead=lambda blob: ReadAheadBlob(blob, policy) if isinstance(blob, CachedBlob) else blob,
        controls={
            "status.json": lambda: json.dumps(status.describe(), indent=2).encode() + b"\n",
            "version": lambda: __version__.encode() + b"\n",
        },
        catalog=catalog,
        modules=modules,
        prefetching=prefetching,
    )

    def close() -> None:
        if shared is not None:
            shared.flush()  # before the cancel, which ends what is being written
        cancellation.cancel()
        fetches.shutdown(wait=False, cancel_futures=True)
        http.close()
        gcs.close()
        if shared is not None:
            shared.close()

    return Mount(tree, cancellation, close)


def gcs_folder(config: Config, text: str) -> str:
    """The `gs://` folder of a handle, or of a name's latest version, or of the URL of either on the hub.

    Raises `ModelNotFound` where the hub names no bucket, `InvalidHandle`, and what kept the hub from answering.
    """
    cancellation, retry = Cancellation(), RetryPolicy()
    http = HttpClient(_http_settings(config, retry), cancellation)
    gcs = GcsClient(_gcs_settings(config, retry), cancellation)
    try:
        resolver = _resolver(config, http, gcs)
        name = handle_on(resolver.hub, text)
        if name is None:
            raise InvalidHandle(f"{text} is not a handle of {resolver.hub}; --hub names another hub")
        handle = Handle.parse(name if is_versioned(name) else f"{name}/{resolver.latest(name)}")
        return resolver.resolve(handle, Form.UNCOMPRESSED).url
    finally:
        http.close()
        gcs.close()


def _resolver(config: Config, http: HttpClient, gcs: GcsClient) -> Resolver:
    if config.hub.startswith("gs://"):
        return GcsResolver(gcs, config.hub, config.form)
    return TfhubResolver(http, config.hub, config.form)


def _document_fetcher(config: Config, http: HttpClient) -> Fetch | None:
    """Asks for the hub's catalogue document; a bucket lists itself."""
    if config.hub.startswith("gs://"):
        return None
    return lambda etag: catalog_document.fetch(http, config.hub, etag=etag)


def _store_settings(config: Config, retry: RetryPolicy) -> ObjectStoreSettings:
    return ObjectStoreSettings(endpoint_url=config.gcs_endpoint_url, token=config.gcs_token, retry=retry)


def _gcs_settings(config: Config, retry: RetryPolicy) -> GcsSettings:
    return GcsSettings(
        endpoint_url=config.gcs_endpoint_url, token=config.gcs_token, timeout_s=config.stall_timeout_s, retry=retry
    )


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
        credential_host=hub.netloc.rpartition("@")[2] if hub.scheme != "gs" else None,
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
