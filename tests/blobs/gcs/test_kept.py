"""Kept connections to a store that the store closes: a scripted server, and counts of its requests and connections."""

import threading
from collections.abc import Iterator

import pytest

from hubfs.blobs.gcs.client import GcsClient, GcsObject, GcsSettings
from hubfs.blobs.retry import RetryPolicy
from hubfs.blobs.store import ObjectStoreSettings, open_store
from hubfs.errors import Unavailable
from hubfs.waiting import Cancellation
from tests.support.http_origin import Answer, HttpOrigin, Request, hang_up

ONCE = RetryPolicy(attempts=1)
OBJECT = GcsObject("bucket", "object", 5, "1")
ENDS = pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])


@pytest.fixture
def origin() -> Iterator[HttpOrigin]:
    with HttpOrigin() as origin:
        yield origin


@pytest.fixture
def client(origin: HttpOrigin) -> Iterator[GcsClient]:
    client = GcsClient(GcsSettings(endpoint_url=origin.url, retry=ONCE), Cancellation())
    yield client
    client.close()


def keep(client: GcsClient, origin: HttpOrigin, connections: int) -> str:
    """Leaves so many idle connections behind, which were in use at the same time; returns the path of `OBJECT`."""
    together = threading.Barrier(connections)

    def answer(_: Request) -> Answer:
        together.wait(10)
        return well(_)

    origin.route("/*", answer)
    for read in [client.begin_read(OBJECT, 0, 5) for _ in range(connections)]:
        assert read.result() == b"bytes"
    origin.route("/*", well)
    assert origin.connections == connections
    path = origin.requests[0].path
    origin.reset()
    return path


def well(_: Request) -> Answer:
    return Answer(206, {"Content-Range": "bytes 0-4/5"}, b"bytes")


@ENDS
@pytest.mark.parametrize("kept", [1, 2, 5])
def test_kept_connections_that_end_cost_no_attempt(origin, client, kept, reset) -> None:
    path = keep(client, origin, kept)
    origin.script(path, *[hang_up(reset=reset)] * kept)
    assert client.read(OBJECT, 0, 5) == b"bytes"
    assert (len(origin.requests), origin.connections) == (kept + 1, kept + 1)


@ENDS
def test_fresh_connections_that_end_are_a_failed_attempt(origin, client, reset) -> None:
    path = keep(client, origin, 3)
    origin.always(path, hang_up(reset=reset))
    with pytest.raises(Unavailable):
        client.read(OBJECT, 0, 5)
    # aiohttp sends a request twice, over whatever connection
    assert 3 + 1 <= len(origin.requests) <= 3 + 2


def test_what_is_written_is_not_sent_again(origin) -> None:
    """A store may have done what it was asked for before its connection ended."""
    store = open_store("gs://bucket/p", ObjectStoreSettings(endpoint_url=origin.url, retry=ONCE), Cancellation())
    origin.route("/*", well)
    assert store.get("kept") == b"bytes"
    path = "/upload/storage/v1/b/bucket/o"
    origin.script(path, hang_up())
    with pytest.raises(Unavailable):
        store.put("name", b"data")
    assert [request.path for request in origin.requests].count(path) == 1
    store.close()
