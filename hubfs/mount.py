"""The composition root: spells out what a mount is made of, from the network up to the names."""

import json
import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hubfs import __version__, endpoints
from hubfs.blobs.blob import Blob, Prefetchable
from hubfs.blobs.gcs.client import GcsClient
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.retry import RetryPolicy
from hubfs.cache.ahead.blob import ReadAheadBlob
from hubfs.cache.ahead.policy import FETCHES, LIMIT_BYTES, ReadAheadPolicy
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, BlockCache, CacheKey
from hubfs.cache.cached_blob import CachedBlob
from hubfs.cache.disk.indexes import Indexes, IndexStore
from hubfs.cache.disk.latest import LatestStore
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.page_cache import DataPages
from hubfs.cache.disk.room import DiskSettings
from hubfs.cache.disk.store import DiskStore
from hubfs.cache.disk.tier import DiskTier
from hubfs.cache.disk.turns import DiskTurns
from hubfs.cache.memory import MemoryTier
from hubfs.cache.shared.cache import SharedCache
from hubfs.cache.shared.indexes import CombinedIndexes
from hubfs.cache.shared.over import OverShared
from hubfs.cache.tiered import TieredCache
from hubfs.cache.turns import NoTurns, Turns
from hubfs.catalogue.provider import CatalogProvider, Fetch
from hubfs.hubs.hub import Hub, Means, View, make_hub
from hubfs.memory_budget import MemoryBudget
from hubfs.models.answers import AnswersSettings
from hubfs.models.models import Models, ModelsSettings
from hubfs.models.reachability import Reachability
from hubfs.models.troubles import Troubles
from hubfs.mounts import table as mount_table
from hubfs.settings.config import Config
from hubfs.sources.archive.passes import ArchiveSettings
from hubfs.sources.kit import Kit
from hubfs.sources.prefetch.prefetcher import Prefetcher
from hubfs.status import RecentProblems, Status
from hubfs.tree.control_files import ControlFiles
from hubfs.tree.hub_tree import HubTree
from hubfs.tree.virtual_tree import VirtualTree
from hubfs.waiting import Cancellation

_log = logging.getLogger(__name__)

_RESERVE_BYTES = 1 << 30
_RESERVE_PART = 0.05
"""At most this much of the cache's file system is kept free, and never more than a twentieth of it."""

_REST_S = 10.0
"""A hub that does not answer is left alone for so long, by those who can be served without it."""


@dataclass(frozen=True)
class Mount:
    """A name space that is ready to be served. `close` ends every wait and transfer."""

    tree: VirtualTree
    cancellation: Cancellation
    close: Callable[[], None]


@dataclass(frozen=True)
class _Door:
    """A hub of the mount, and the clients that ask for it alone: credentials of one hub are sent to no other."""

    config: Config
    hub: Hub
    http: HttpClient
    gcs: GcsClient


def assemble(
    config: Config,
    mountpoint: Path,
    binding: str,
    problems: RecentProblems,
    *,
    restarts: int | None = None,
    unconfined_by: str | None = None,
) -> Mount:
    """Builds everything that a config asks for; asks nobody anything. Raises `InvalidConfig`.

    `restarts`: how often a supervisor started the daemon anew; None without one. `unconfined_by`: what the inflating
    process cannot give up on this machine; None without such a process. Both are for the status.
    """
    cancellation = Cancellation()
    # A host that asks for a longer wait than the silence that is borne is a silent one.
    retry = RetryPolicy(retry_after_cap_s=config.stall_timeout_s)
    doors = {name: _door(own, retry, cancellation) for name, own in config.each_hub().items()}

    # Memory: transfers and windows take at most half of it, and what they do not take is for blocks.
    budget = MemoryBudget(config.memory_size_bytes // 2)
    caches = _caches(config, doors.values(), retry, cancellation, budget)
    cache = caches.cache
    fetches = ThreadPoolExecutor(FETCHES, thread_name_prefix="fetch")

    # The pipeline. A file of a model is ReadAhead(Cached(Retrying(Failing(Checksummed(the host's blob))))).
    def cached(key: CacheKey, blob: Blob, failed: Callable[[], bool]) -> CachedBlob:
        return CachedBlob(
            blob, cache, key, pool=fetches, cancellation=cancellation, turns=caches.turns, budget=budget, failed=failed
        )

    # One reader alone may keep all fetches busy; what all windows together may be, the budget says.
    policy = ReadAheadPolicy(limit_bytes=max(BLOCK_SIZE_BYTES, min(LIMIT_BYTES, budget.limit_bytes)))

    def read_ahead(blob: Blob) -> Blob:
        return ReadAheadBlob(blob, policy) if isinstance(blob, Prefetchable) else blob

    kit = Kit(
        cached=cached,
        cache=cache,
        memory=caches.memory,
        indexes=caches.indexes,
        pool=fetches,
        retry=retry,
        cancellation=cancellation,
        archives=ArchiveSettings(
            # Half of what blocks may take: the other half is for what readers came back for.
            ahead_bytes=config.memory_size_bytes // 4,
            eager=config.prefetch,
            inflate_workers=config.inflate_workers,
            shared_bytes=budget.limit_bytes,
        ),
        turns=caches.turns,
        budget=budget,
        offline=config.offline,
    )
    prefetcher = Prefetcher(cancellation) if config.prefetch and not config.offline else None

    # Names: each hub has its own, and none waits for another.
    def tree_of(door: _Door) -> HubTree:
        reachability = Reachability(
            door.hub.url, cancellation, rest_s=min(_REST_S, config.failure_ttl_s), offline=config.offline
        )
        troubles = Troubles()
        models = Models(
            door.hub,
            kit,
            load_index=caches.indexes.load,
            known_on_disk=caches.local_indexes.known,  # a listing asks no store
            latest_answers=LatestStore(caches.layout, door.hub.label),
            reachability=reachability,
            troubles=troubles,
            cancellation=cancellation,
            settings=ModelsSettings(
                negative_ttl_s=config.negative_ttl_s, failure_ttl_s=config.failure_ttl_s, offline=config.offline
            ),
        )
        catalog = CatalogProvider(
            cancellation,
            file=door.config.catalog,
            fetch=None if config.offline else _patient(door.hub.document(), reachability),
            bundled=door.hub.catalogue() if door.config.catalog is None else None,
            hub=door.hub.url,
        )
        return HubTree(models, cache, read_ahead=read_ahead, catalog=catalog, prefetcher=prefetcher, troubles=troubles)

    trees = {name: tree_of(door) for name, door in doors.items()}
    status = Status(
        mountpoint=mountpoint,
        binding=binding,
        cache_dir=config.cache_dir,
        models={name: tree.models for name, tree in trees.items()},
        cache=cache,
        http=[door.http for door in doors.values()],
        buckets=[door.gcs for door in doors.values()],
        problems=problems,
        restarts=restarts,
        lost_bytes=lambda: budget.lost_bytes,
        unconfined_by=unconfined_by,
        offline=config.offline,
    )
    about = {**status.hubs, "pid": os.getpid(), "version": __version__}
    controls = ControlFiles(
        {
            mount_table.ABOUT: lambda: _json(about),
            mount_table.REPORT: lambda: _json(status.describe()),
            mount_table.MODELS: lambda: json.dumps(status.models(mount_table.MOST_BYTES)).encode() + b"\n",
            "version": lambda: __version__.encode() + b"\n",
        },
        _views(trees),
    )

    def close() -> None:
        if caches.shared is not None:
            caches.shared.flush()  # before the cancel, which ends what is being written
        cancellation.cancel()
        fetches.shutdown(wait=False, cancel_futures=True)
        for door in doors.values():
            door.http.close()
            door.gcs.close()
        if caches.shared is not None:
            caches.shared.close()

    return Mount(VirtualTree(trees, controls, cache), cancellation, close)


@dataclass(frozen=True)
class _Caches:
    """The middle: memory, then disk, then the bytes that a fleet shares."""

    layout: CacheLayout | None
    memory: MemoryTier
    cache: BlockCache
    indexes: Indexes
    local_indexes: IndexStore
    turns: Turns
    shared: SharedCache | None


def _caches(
    config: Config, doors: Collection[_Door], retry: RetryPolicy, cancellation: Cancellation, budget: MemoryBudget
) -> _Caches:
    memory = MemoryTier(config.memory_size_bytes, lambda: budget.beside_cache_bytes, budget)
    cache: BlockCache = memory
    disk: DiskTier | None = None
    layout = CacheLayout(config.cache_dir) if config.cache_dir is not None else None
    local_indexes = IndexStore(layout)
    if layout is not None:
        disk = DiskTier(DiskStore(layout), _disk_settings(config), DataPages(layout, cancellation))
        disk.start()
        cache = TieredCache(memory, disk)
    indexes: Indexes = local_indexes
    turns: Turns = NoTurns()
    shared = None
    shared_cache_url = _shared_cache_url(config, [door.hub for door in doors])
    if shared_cache_url is not None:
        shared = SharedCache.open(shared_cache_url, endpoints.store_settings(config, retry), cancellation, disk)
        cache = OverShared(memory, shared.tier) if disk is None else TieredCache(memory, OverShared(disk, shared.tier))
        indexes, turns = CombinedIndexes(local_indexes, shared.indexes), shared.turns
    if layout is not None and disk is not None:
        turns = DiskTurns(layout, turns, cancellation, keeps=lambda: disk.keeps)
    return _Caches(layout, memory, cache, indexes, local_indexes, turns, shared)


def _door(config: Config, retry: RetryPolicy, cancellation: Cancellation) -> _Door:
    http = HttpClient(endpoints.http_settings(config, retry), cancellation)
    gcs = GcsClient(endpoints.gcs_settings(config, retry), cancellation)
    means = Means(http, gcs, form=config.form, extracted_dir=config.extracted_dir)
    return _Door(config, make_hub(config.hub, means), http, gcs)


def _views(trees: Mapping[str, HubTree]) -> Mapping[str, list[View]]:
    """The caches of client libraries, by name; several hubs may be read through one."""
    found: dict[str, list[View]] = {}
    for name, tree in trees.items():
        for view, made in tree.models.hub.views(tree.handles, f"../../{name}".rstrip("/")).items():
            found.setdefault(view, []).append(made)
    return found


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"


def _shared_cache_url(config: Config, hubs: Sequence[Hub]) -> str | None:
    """The shared cache, if it may be used: a store is asked, too, and what nobody vouches for is for nobody else."""
    if config.shared_cache_url is None or config.offline:
        return None
    if not all(hub.vouched for hub in hubs):
        _log.warning("The shared cache is not used, for certificates are not verified")
        return None
    return config.shared_cache_url


def _patient(fetch: Fetch | None, reachability: Reachability) -> Fetch | None:
    """`fetch`, which does not wait for a hub that is out of reach: a listing has the catalogue of before."""
    if fetch is None:
        return None
    return lambda etag: reachability.ask("catalogue", lambda: fetch(etag), AnswersSettings.listing_patience_s)


def _disk_settings(config: Config) -> DiskSettings:
    return DiskSettings(config.cache_size_bytes, _RESERVE_BYTES, _RESERVE_PART)
