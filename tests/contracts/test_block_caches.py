from pathlib import Path

import pytest

from hubfs.cache.block_cache import BlockCache, TieredCache
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.room import DiskSettings
from hubfs.cache.disk.store import DiskStore
from hubfs.cache.disk.tier import DiskTier
from hubfs.cache.memory import MemoryTier
from tests.contracts.block_cache_contract import KEY, BlockCacheContract, block_of


def _disk(root: Path, limit_bytes: int) -> DiskTier:
    layout = CacheLayout(root)
    layout.prepare()
    return DiskTier(DiskStore(layout), DiskSettings(limit_bytes, reserve_bytes=0))


class TestMemoryTier(BlockCacheContract):
    def cache_of(self, limit_bytes: int) -> BlockCache:
        return MemoryTier(limit_bytes)

    def test_says_that_a_block_will_not_outlive_the_process(self, cache: BlockCache) -> None:
        assert cache.put(KEY, 0, block_of(0)) is False


class TestDiskTier(BlockCacheContract):
    @pytest.fixture(autouse=True)
    def _root(self, tmp_path: Path) -> None:
        self.root = tmp_path / "cache"

    def cache_of(self, limit_bytes: int) -> BlockCache:
        return _disk(self.root, limit_bytes)

    def test_says_that_a_block_will_outlive_the_process(self, cache: BlockCache) -> None:
        assert cache.put(KEY, 0, block_of(0)) is True


class TestTieredCache(TestDiskTier):
    def cache_of(self, limit_bytes: int) -> BlockCache:
        return TieredCache(MemoryTier(limit_bytes), _disk(self.root, limit_bytes))
