from collections.abc import Iterator
from contextlib import contextmanager

from hubfs.blobs.blob import Blob, MemoryBlob
from tests.contracts.blob_contract import BlobContract


class TestMemoryBlob(BlobContract):
    @contextmanager
    def blob_of(self, payload: bytes) -> Iterator[Blob]:
        yield MemoryBlob("k", payload)
