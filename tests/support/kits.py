"""The kit of a mount, over a real cache directory, without a mount."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hubfs.cache.block_cache import TieredCache
from hubfs.cache.disk.indexes import Index, IndexStore
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.store import DiskStore
from hubfs.cache.disk.tier import DiskSettings, DiskTier
from hubfs.cache.memory import MemoryTier
from hubfs.hubs.hub import Hub, Means, make_hub
from hubfs.sources.kit import Kit
from hubfs.sources.source import Form
from hubfs.waiting import Cancellation
from tests.support.http_clients import gcs_client, http_client
from tests.support.sources import kit_of


@dataclass(frozen=True)
class Workshop:
    """A kit, and what it keeps things in."""

    kit: Kit
    indexes: IndexStore
    cache: TieredCache
    cancellation: Cancellation

    def kept(self, model: str) -> Index:
        """What the cache has kept of the model's entries."""
        found = self.indexes.of(model)
        assert found is not None
        return found


@contextmanager
def workshop(directory: Path, *, offline: bool = False) -> Iterator[Workshop]:
    """A kit whose cache is in `directory`."""
    cancellation = Cancellation()
    layout = CacheLayout(directory)
    layout.prepare()
    indexes = IndexStore(layout)
    memory = MemoryTier(8 << 20)
    cache = TieredCache(memory, DiskTier(DiskStore(layout), DiskSettings(64 << 20, 0)))
    with ThreadPoolExecutor(2) as pool:
        kit = kit_of(pool, cancellation, cache=cache, memory=memory, indexes=indexes, offline=offline)
        try:
            yield Workshop(kit, indexes, cache, cancellation)
        finally:
            cancellation.cancel()


@contextmanager
def made_hub(
    url: str, tools: Workshop, endpoints: Mapping[str, str], form: Form | None = None, **environ: str
) -> Iterator[Hub]:
    """The hub at `url`, with stand-ins at `endpoints`. There is no store."""
    with gcs_client(cancellation=tools.cancellation) as gcs, http_client(tools.cancellation) as http:
        yield make_hub(url, Means(http, gcs, form, endpoints=endpoints, environ=environ))
