from collections.abc import Iterator
from contextlib import contextmanager

from hubfs.blobs.blob import Blob, MemoryBlob
from hubfs.blobs.sparse import SparseBlob, SparseMap
from tests.contracts.blob_contract import BlobContract


class TestSparseBlobWithoutHoles(BlobContract):
    @contextmanager
    def blob_of(self, payload: bytes) -> Iterator[Blob]:
        size = len(payload)
        stretches = [(start, min(70_000, size - start)) for start in range(0, size, 70_000)]
        yield SparseBlob(MemoryBlob("stored", payload), SparseMap.of(size, stretches))
