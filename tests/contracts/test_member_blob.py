from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pytest

from hubfs.blobs.blob import Blob
from hubfs.cache.block_cache import BlockCache
from hubfs.cache.memory import MemoryTier
from tests.contracts.blob_contract import BlobContract
from tests.support.archives import gzipped, tar_of
from tests.support.streams import MIB, Desk, NoCache


@cache
def packed(payload: bytes) -> bytes:
    return gzipped(tar_of({"before": b"x", "file": payload, "after": b"y" * 5000}), level=1)


class TestMemberBlob(BlobContract):
    cache: BlockCache = MemoryTier(16 * MIB)
    ahead_bytes = 8 * MIB

    @contextmanager
    def blob_of(self, payload: bytes) -> Iterator[Blob]:
        desk = Desk()
        stream = desk.stream(packed(payload))
        source = desk.source(stream, self.cache, self.ahead_bytes)
        self.cache.drop(source.model)
        try:
            yield source.open(source.find("file"))
        finally:
            desk.close()


class TestMemberBlobWithLittleMemory(TestMemberBlob):
    cache = MemoryTier(2 * MIB)
    ahead_bytes = MIB


class TestMemberBlobWithoutACache(TestMemberBlob):
    cache = NoCache()
    ahead_bytes = 0

    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("hubfs.sources.archive.progress._STALL_S", 30.0)
