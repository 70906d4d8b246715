"""A client of the module's `store`, which forgets between tests what it was told to do."""

from collections.abc import Iterator

import pytest

from hubfs.blobs.gcs.client import GcsClient
from hubfs.waiting import Cancellation
from tests.support.gcs_server import GcsServer
from tests.support.http_clients import gcs_client


@pytest.fixture
def server(store: GcsServer) -> GcsServer:
    store.reset()
    return store


@pytest.fixture
def client(server: GcsServer, cancellation: Cancellation) -> Iterator[GcsClient]:
    with gcs_client(server.url, cancellation, timeout_s=200) as client:
        yield client
