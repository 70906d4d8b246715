from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from hubfs.blobs.blob import Blob, MemoryBlob
from hubfs.cache.ahead import ReadAheadBlob, ReadAheadPolicy
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, BlockCache, CacheKey
from hubfs.cache.cached_blob import CachedBlob
from hubfs.cache.memory import MemoryTier
from hubfs.memory_budget import MemoryBudget
from hubfs.waiting import Cancellation
from tests.contracts.blob_contract import BlobContract


class TestCachedBlob(BlobContract):
    limit_bytes = 16 * BLOCK_SIZE_BYTES

    @contextmanager
    def blob_of(self, payload: bytes) -> Iterator[Blob]:
        budget = MemoryBudget(self.limit_bytes // 2, idle_s=0.0)
        cache: BlockCache = MemoryTier(self.limit_bytes, budget.beside_cache_bytes)
        with ThreadPoolExecutor(4) as pool:
            cached = CachedBlob(
                *(MemoryBlob("k", payload), cache, CacheKey("hub/a/b/1@x", "f")),
                pool=pool,
                cancellation=Cancellation(),
                budget=budget,
            )
            yield self.wrapped(cached)
        budget.allowance_bytes()  # forgets what nobody read
        assert budget.taken_bytes == 0

    def wrapped(self, blob: CachedBlob) -> Blob:
        return blob


class TestCachedBlobOverACacheThatKeepsNothing(TestCachedBlob):
    limit_bytes = 0


class TestCachedBlobOverACacheOfOneBlock(TestCachedBlob):
    limit_bytes = BLOCK_SIZE_BYTES


class TestReadAheadBlob(TestCachedBlob):
    def wrapped(self, blob: CachedBlob) -> Blob:
        return ReadAheadBlob(blob, ReadAheadPolicy())


class TestReadAheadBlobOverACacheThatKeepsNothing(TestReadAheadBlob):
    limit_bytes = 0
