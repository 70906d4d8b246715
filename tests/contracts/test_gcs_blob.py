from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hubfs.blobs.blob import Blob
from hubfs.blobs.checksums import Checksum, ChecksummedBlob
from tests.contracts.blob_contract import BlobContract
from tests.support.gcs_server import GcsServer, gcs_server
from tests.support.http_clients import gcs_client


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
        with gcs_client(self.server.url) as client:
            (obj,) = client.list("bucket", "a model/1/")
            yield self.wrapped(client.blob(obj), obj.checksum)

    def wrapped(self, blob: Blob, checksum: Checksum | None) -> Blob:
        return blob


class TestChecksummedGcsBlob(TestGcsBlob):
    def wrapped(self, blob: Blob, checksum: Checksum | None) -> Blob:
        assert checksum is not None
        return ChecksummedBlob(blob, checksum, 1 << 20)
