from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hubfs.blobs.blob import Blob
from hubfs.blobs.checksummed import Checksum, ChecksummedBlob
from hubfs.blobs.gcs.client import GcsBlob, GcsClient, GcsSettings
from hubfs.waiting import Cancellation
from tests.contracts.blob_contract import BlobContract
from tests.support.gcs_server import GcsServer, gcs_server


@pytest.fixture(scope="module")
def server() -> Iterator[GcsServer]:
    with gcs_server() as server:
        server.create_bucket("bucket")
        yield server


class TestGcsBlob(BlobContract):
    @pytest.fixture(autouse=True)
    def _server(self, server: GcsServer) -> None:
        self.server = server

    @contextmanager
    def blob_of(self, payload: bytes) -> Iterator[Blob]:
        self.server.upload("bucket", "a model/1/weights #1.bin", payload)
        client = GcsClient(GcsSettings(endpoint_url=self.server.url), Cancellation())
        try:
            (obj,) = client.list("bucket", "a model/1/")
            yield self.wrapped(GcsBlob(client, obj), obj.crc32c)
        finally:
            client.close()

    def wrapped(self, blob: Blob, crc32c: int | None) -> Blob:
        return blob


class TestChecksummedGcsBlob(TestGcsBlob):
    def wrapped(self, blob: Blob, crc32c: int | None) -> Blob:
        assert crc32c is not None
        return ChecksummedBlob(blob, Checksum("crc32c", f"{crc32c:08x}"), 1 << 20)
