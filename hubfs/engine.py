"""The engine: everything between the network and the names of several hubs, with or without a mount."""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hubfs import endpoints
from hubfs.blobs.blob import Blob, prefetches
from hubfs.blobs.gcs.client import GcsClient
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.retry import RetryPolicy
from hubfs.cache.ahead import FETCHES, LIMIT_BYTES, ReadAheadBlob, ReadAheadPolicy
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, BlockCache, CacheKey, OverShared, TieredCache
from hubfs.cache.cached_blob import CachedBlob
from hubfs.cache.disk.indexes import Indexes, IndexStore
from hubfs.cache.disk.latest import LatestStore
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.page_cache import DataPages
from hubfs.cache.disk.room import DiskSettings
from hubfs.cache.disk.store import DiskStore
from hubfs.cache.disk.tier import DiskTier
from hubfs.cache.disk.turns import DiskTurns
from hubfs.cache.disk.whole import WholeFiles
from hubfs.cache.memory import MemoryTier
from hubfs.cache.shared.cache import SharedCache
from hubfs.cache.shared.indexes import CombinedIndexes
from hubfs.cache.turns import NoTurns, Turns
from hubfs.hubs.hub import Hub
from hubfs.memory_budget import MemoryBudget
from hubfs.models.answers import ModelsSettings
from hubfs.models.models import Models
from hubfs.models.reachability import Reachability
from hubfs.models.troubles import Troubles
from hubfs.settings.config import Config
from hubfs.sources.archive.passes import ArchiveSettings
from hubfs.sources.kit import Kit
from hubfs.sources.prefetch.completer import Completer
from hubfs.sources.prefetch.prefetcher import Prefetcher
from hubfs.tree.hub_tree import HubTree
from hubfs.waiting import Cancellation

_log = logging.getLogger(__name__)

_RESERVE_BYTES = 1 << 30
_RESERVE_PART = 0.05
"""At most this much of the cache's file system is kept free, and never more than a twentieth of it."""

_REST_S = 10.0
"""A hub that does not answer is left alone for so long, by readers that can be served without it."""


class Engine:
    """One cache, one memory budget and one pool of fetches for every hub of a config; each hub has its own clients.

    Credentials of one hub are sent to no other, and no hub waits for another. Asks nobody anything when it is made.
    Raises `InvalidConfig`. `close` ends every wait and transfer.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self.cancellation = Cancellation()
        # A host that asks for a longer wait than the silence that is borne is a silent one.
        self._retry = RetryPolicy(retry_after_cap_s=config.stall_timeout_s)
        self._doors = {name: self._door(own) for name, own in config.each_hub().items()}

        # Memory: transfers and windows take at most half of it, and the rest is for blocks.
        self.budget = MemoryBudget(config.memory_size_bytes // 2)
        self._open_caches()
        self._pool = ThreadPoolExecutor(FETCHES, thread_name_prefix="fetch")
        # One reader alone may keep all fetches busy; the budget bounds all windows together.
        self._policy = ReadAheadPolicy(limit_bytes=max(BLOCK_SIZE_BYTES, min(LIMIT_BYTES, self.budget.limit_bytes)))
        self._prefetcher = Prefetcher(self.cancellation) if config.prefetch and not config.offline else None
        self._completer = None if self._whole is None or self._prefetcher is None else Completer(self.cancellation)
        self._kit = Kit(
            cached=self._cached,
            cache=self.cache,
            memory=self._memory,
            indexes=self._indexes,
            pool=self._pool,
            retry=self._retry,
            cancellation=self.cancellation,
            archives=ArchiveSettings(
                # Half of the memory for blocks: the other half is for blocks that readers came back for.
                ahead_bytes=config.memory_size_bytes // 4,
                eager=config.prefetch,
                inflate_workers=config.inflate_workers,
                shared_bytes=self.budget.limit_bytes,
            ),
            turns=self._turns,
            budget=self.budget,
            offline=config.offline,
        )
        self.hubs: Mapping[str, HubTree] = {name: self._tree(door) for name, door in self._doors.items()}
        """The names and files of each hub, by the directory that it is in; alone, it has an empty name."""

    @property
    def http(self) -> Sequence[HttpClient]:
        """The clients that ask hubs, for the status."""
        return [door.http for door in self._doors.values()]

    @property
    def buckets(self) -> Sequence[GcsClient]:
        """The clients that ask buckets, for the status."""
        return [door.gcs for door in self._doors.values()]

    def close(self) -> None:
        """Ends every wait and transfer. The shared cache may have half a second for blocks that are being written."""
        if self._shared is not None:
            self._shared.flush()  # before the cancel, which ends what is being written
        self.cancellation.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)
        for door in self._doors.values():
            door.http.close()
            door.gcs.close()
        if self._shared is not None:
            self._shared.close()

    # The pipeline. An open file is Watched(ReadAhead(Cached(Retrying(Checksummed(B))))), where B is the host's blob.
    # `HubTree` puts the first around it, the functions below the next two, `Kit` and `FilesSource` the others.

    def _read_ahead(self, blob: Blob) -> Blob:
        return ReadAheadBlob(blob, self._policy) if prefetches(blob) else blob

    def _cached(self, key: CacheKey, blob: Blob, failed: Callable[[], bool]) -> CachedBlob:
        return CachedBlob(
            blob,
            self.cache,
            key,
            pool=self._pool,
            cancellation=self.cancellation,
            turns=self._turns,
            budget=self.budget,
            failed=failed,
        )

    def _open_caches(self) -> None:
        """The middle: memory, then disk, then the blocks that a fleet shares; and who fetches."""
        config = self._config
        self._layout = CacheLayout(config.cache_dir) if config.cache_dir is not None else None
        self._memory = MemoryTier(config.memory_size_bytes, self.budget.beside_cache_bytes, self.budget)
        self.cache: BlockCache = self._memory
        self._kept = IndexStore(self._layout)
        self._indexes: Indexes = self._kept
        self._turns: Turns = NoTurns()
        self._shared: SharedCache | None = None
        self._whole: WholeFiles | None = None
        disk: DiskTier | None = None
        if self._layout is not None:
            settings = DiskSettings(config.cache_size_bytes, _RESERVE_BYTES, _RESERVE_PART)
            store = DiskStore(self._layout)
            whole = WholeFiles(store, self.cancellation)
            pages = DataPages(self._layout, self.cancellation, served=whole.is_right)
            self._whole = None if config.verify_each_read else whole
            disk = DiskTier(store, settings, pages)
            disk.start()
            self.cache = TieredCache(self._memory, disk)
        shared_cache_url = self._shared_cache_url()
        if shared_cache_url is not None:
            remote = endpoints.store_settings(config)
            self._shared = shared = SharedCache.open(shared_cache_url, remote, self.cancellation, disk)
            if disk is None:
                self.cache = OverShared(self._memory, shared.tier)
            else:
                self.cache = TieredCache(self._memory, OverShared(disk, shared.tier))
            self._indexes, self._turns = CombinedIndexes(self._kept, shared.indexes), shared.turns
        if self._layout is not None and disk is not None:
            self._turns = DiskTurns(self._layout, self._turns, self.cancellation, keeps=disk.keeps)

    def _shared_cache_url(self) -> str | None:
        """The shared cache, if it may be used: bytes that no certificate vouches for are for no other machine."""
        if self._config.shared_cache_url is None or self._config.offline:
            return None
        if not all(door.hub.vouched for door in self._doors.values()):
            _log.warning("The shared cache is not used, for certificates are not verified")
            return None
        return self._config.shared_cache_url

    def _door(self, config: Config) -> "_Door":
        http = HttpClient(endpoints.http_settings(config, self._retry), self.cancellation)
        gcs = GcsClient(endpoints.gcs_settings(config, self._retry), self.cancellation)
        return _Door(endpoints.hub_of(config, http, gcs, config.catalog), http, gcs)

    def _tree(self, door: "_Door") -> HubTree:
        config, troubles = self._config, Troubles()
        reachability = Reachability(
            door.hub.url, self.cancellation, rest_s=min(_REST_S, config.failure_ttl_s), offline=config.offline
        )
        models = Models(
            door.hub,
            self._kit,
            load_index=self._indexes.load,
            known_on_disk=self._kept.known,  # a listing asks no store
            latest_answers=LatestStore(self._layout, door.hub.label),
            reachability=reachability,
            troubles=troubles,
            cancellation=self.cancellation,
            settings=ModelsSettings(negative_ttl_s=config.negative_ttl_s, failure_ttl_s=config.failure_ttl_s),
        )
        return HubTree(
            models,
            self.cache,
            read_ahead=self._read_ahead,
            whole=None if self._whole is None else self._whole.opened,
            completer=self._completer,
            prefetcher=self._prefetcher,
            look_ahead=self._prefetcher is not None,
            troubles=troubles,
        )


@dataclass(frozen=True)
class _Door:
    """A hub, and the clients that ask for it alone."""

    hub: Hub
    http: HttpClient
    gcs: GcsClient
