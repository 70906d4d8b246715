"""A client of the module's `store`, which forgets between tests what it was told to do."""

from collections.abc import Iterator

import pytest

from hubfs.blobs.gcs.client import GcsClient, GcsSettings
from hubfs.waiting import Cancellation
from tests.support.gcs_server import GcsServer
from tests.support.http_clients import QUICK


@pytest.fixture
def server(store: GcsServer) -> GcsServer:
    store.reset()
    return store


@pytest.fixture
def client(server: GcsServer, cancellation: Cancellation) -> Iterator[GcsClient]:
    client = GcsClient(GcsSettings(endpoint_url=server.url, timeout_s=200, retry=QUICK), cancellation)
    yield client
    client.close()
