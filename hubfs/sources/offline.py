"""What a file is read from where no host may be asked: the cache, and nothing else."""

from collections.abc import Callable
from typing import NoReturn

from hubfs.blobs.blob import Blob
from hubfs.blobs.wrapper import WrappedBlob
from hubfs.cache.block_cache import BlockCache, CacheKey, block_size_at, blocks_of
from hubfs.errors import NotCached


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
        raise NotCached(
            f"{self._key.model}/{self._key.path}: {missing_bytes} of {self.size_bytes} bytes "
            f"({max(1, len(missing))} of {len(every)} blocks) are not cached, and hubfs is mounted with --offline: "
            "read the file once on a mount without it"
        )
