from collections.abc import Iterator
from contextlib import contextmanager

from hubfs.blobs.blob import Blob, MemoryBlob, SliceBlob
from tests.contracts.blob_contract import BlobContract


class TestSliceBlob(BlobContract):
    @contextmanager
    def blob_of(self, payload: bytes) -> Iterator[Blob]:
        yield SliceBlob(MemoryBlob("tar", b"before" + payload + b"after"), 6, len(payload), "member")
