"""The shared cache as a whole: what a mount needs of it."""

from dataclasses import dataclass

from hubfs.blobs.gcs.client import GcsSettings
from hubfs.blobs.store import open_store
from hubfs.cache.block_cache import BlockCache
from hubfs.cache.shared.indexes import SharedIndexes
from hubfs.cache.shared.store import RestingStore
from hubfs.cache.shared.tier import SharedTier
from hubfs.cache.shared.turns import SharedTurns
from hubfs.waiting import Cancellation

_FLUSH_S = 10.0
"""An unmount waits so long for what is still to be written."""


@dataclass(frozen=True)
class SharedCache:
    """Blocks, indexes and turns on one store."""

    store: RestingStore
    tier: SharedTier
    indexes: SharedIndexes
    turns: SharedTurns

    @classmethod
    def open(
        cls, url: str, settings: GcsSettings, cancellation: Cancellation, local: BlockCache | None
    ) -> "SharedCache":
        """The shared cache at `url`; `local` is the tier that keeps this daemon's blocks, if it has a disk.

        Asks nobody. Raises `InvalidConfig` for a URL that cannot be a store.
        """
        store = RestingStore(open_store(url, settings, cancellation), cancellation)
        tier = SharedTier(store, cancellation, local=local)
        indexes = SharedIndexes(store, tier.afterwards)
        return cls(store, tier, indexes, SharedTurns(store, tier, indexes, cancellation))

    def flush(self) -> None:
        """Writes what is still to be written, within a bound."""
        self.tier.flush(_FLUSH_S)

    def close(self) -> None:
        """Ends the connections."""
        self.store.close()
