"""Kept connections that the server closes: a scripted server, and counts of its requests and connections."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from urllib3.connectionpool import HTTPConnectionPool

from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.retry import RetryPolicy
from hubfs.errors import Cancelled, TimedOut, Unavailable
from hubfs.waiting import Cancellation
from tests.support.certificates import self_signed
from tests.support.http_clients import http_client
from tests.support.http_origin import Answer, DeadPort, HttpOrigin, Request, hang_up, stall_first, wire
from tests.support.waiting import eventually

ONCE = RetryPolicy(attempts=1)
ENDS = pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])


@pytest.fixture
def origin() -> Iterator[HttpOrigin]:
    with HttpOrigin() as origin:
        origin.put("/a", b"bytes")
        yield origin


@pytest.fixture
def client() -> Iterator[HttpClient]:
    with http_client(retry=ONCE) as client:
        yield client


def body(client: HttpClient, origin: HttpOrigin) -> bytes:
    """What one attempt brings."""
    with client.open(origin.url + "/a") as transfer:
        return transfer.read_up_to(99)


def keep(client: HttpClient, origin: HttpOrigin, connections: int) -> None:
    """Leaves so many idle connections behind; they were in use at the same time."""
    together = threading.Barrier(connections)

    def answer(_: Request) -> Answer:
        together.wait(60)
        return Answer(body=b"bytes")

    origin.route("/together", answer)
    threads = [threading.Thread(target=client.reply, args=(origin.url + "/together",)) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert origin.connections == connections
    origin.reset()


@ENDS
def test_a_request_on_a_kept_connection_that_ends_is_sent_again_within_the_attempt(origin, client, reset) -> None:
    keep(client, origin, 1)
    before = client.stats().requests
    origin.script("/a", hang_up(reset=reset))
    assert body(client, origin) == b"bytes"
    assert (len(origin.requests), origin.connections) == (2, 2)
    assert client.stats().requests - before == 2


@ENDS
def test_it_goes_over_a_fresh_connection_though_others_are_kept(origin, client, reset) -> None:
    keep(client, origin, 3)
    origin.script("/a", hang_up(reset=reset))
    assert body(client, origin) == b"bytes"
    assert (len(origin.requests), origin.connections) == (2, 4)


@ENDS
def test_a_fresh_connection_that_ends_is_a_failed_attempt(origin, client, reset) -> None:
    origin.script("/a", hang_up(reset=reset))
    with pytest.raises(Unavailable, match="could not be read"):
        body(client, origin)
    assert (len(origin.requests), origin.connections) == (1, 1)


@ENDS
def test_so_is_the_fresh_one_after_a_kept_one(origin, client, reset) -> None:
    keep(client, origin, 2)
    origin.script("/a", *[hang_up(reset=reset)] * 2)
    with pytest.raises(Unavailable, match="could not be read"):
        body(client, origin)
    assert (len(origin.requests), origin.connections) == (2, 3)


@ENDS
def test_attempts_are_counted_over_fresh_connections_alone(origin, reset) -> None:
    with http_client(retry=RetryPolicy(attempts=3, base_s=0.0)) as client:
        keep(client, origin, 1)
        origin.always("/a", hang_up(reset=reset))
        with pytest.raises(Unavailable):
            client.reply(origin.url + "/a")
    assert (len(origin.requests), origin.connections) == (1 + 3, 1 + 3)


@ENDS
def test_what_ended_within_its_reply_is_not_sent_again(origin, client, reset) -> None:
    keep(client, origin, 1)
    origin.script("/a", wire(b"HTTP/1.", reset=reset))
    with pytest.raises(Unavailable):
        body(client, origin)
    assert (len(origin.requests), origin.connections) == (1, 1)


@pytest.mark.slow
def test_silence_is_no_end(origin) -> None:
    with http_client(retry=ONCE, stall_timeout_s=1.5) as client:
        keep(client, origin, 1)
        origin.script("/a", stall_first())
        with pytest.raises(TimedOut):
            body(client, origin)
        assert (len(origin.requests), origin.connections) == (1, 1)


def test_a_connection_that_a_cancel_ends_is_not_made_again(origin) -> None:
    cancellation = Cancellation()
    with http_client(cancellation, retry=ONCE) as client:
        keep(client, origin, 1)

        def cancelled(_: Request) -> Answer:
            cancellation.cancel()
            return Answer(wire=())

        origin.route("/a", cancelled)
        with pytest.raises(Cancelled):
            body(client, origin)
    assert (len(origin.requests), origin.connections) == (1, 1)


@ENDS
def test_over_tls_it_is_the_same(tmp_path, reset) -> None:
    with HttpOrigin(tls=self_signed(tmp_path)) as origin, http_client(retry=ONCE, verify=False) as client:
        origin.put("/a", b"bytes")
        keep(client, origin, 1)
        origin.script("/a", hang_up(reset=reset))
        assert body(client, origin) == b"bytes"
        assert (len(origin.requests), origin.connections) == (2, 2)


def test_a_server_that_was_started_again_costs_no_attempt(client) -> None:
    """All kept connections are dead at once, as after a deployment."""
    with HttpOrigin() as origin:
        origin.put("/a", b"bytes")
        keep(client, origin, 4)
        port = int(origin.host.rpartition(":")[2])
    with HttpOrigin(port=port) as again:
        again.put("/a", b"bytes")
        assert body(client, again) == b"bytes"
        assert len(again.requests) == 1


def test_a_connection_that_was_made_ahead_serves_the_first_request(origin: HttpOrigin, client: HttpClient) -> None:
    for _ in range(3):
        client.connect_ahead(origin.url)
    assert eventually(lambda: connected(origin) == 1)
    assert origin.requests == []
    assert body(client, origin) == b"bytes"
    assert origin.connections == 1


def test_several_connections_are_made_ahead_beside_one_that_is_idle(origin: HttpOrigin, client: HttpClient) -> None:
    keep(client, origin, 1)
    client.connect_ahead(origin.url, 3)
    assert eventually(lambda: connected(origin) == 4)
    keep(client, origin, 4)
    assert origin.connections == 4


@ENDS
def test_a_connection_that_was_made_ahead_may_have_ended_unused(origin, client, reset) -> None:
    client.connect_ahead(origin.url)
    assert eventually(lambda: connected(origin) == 1)
    origin.script("/a", hang_up(reset=reset))
    assert body(client, origin) == b"bytes"
    assert (len(origin.requests), origin.connections) == (2, 2)


def test_a_connection_that_is_made_while_the_client_ends_is_closed(
    origin: HttpOrigin, client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def put(pool: Any, connection: Any) -> None:
        made.append(connection)
        kept = pool.pool
        client.close()  # by another thread, between two steps of urllib3
        kept.put(connection, block=False)

    monkeypatch.setattr(HTTPConnectionPool, "_put_conn", put)
    client.connect_ahead(origin.url)
    assert eventually(lambda: not is_connecting())
    assert [connection.sock for connection in made] == [None]


def test_connections_that_are_passed_over_while_the_client_ends_are_closed(
    origin: HttpOrigin, client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(client, origin, 2)
    passed_over: list[Any] = []
    get = HTTPConnectionPool._get_conn

    def get_until_the_end(pool: Any, *arguments: Any, **more: Any) -> Any:
        if len(passed_over) == 2:
            client.close()
        passed_over.append(get(pool, *arguments, **more))
        return passed_over[-1]

    monkeypatch.setattr(HTTPConnectionPool, "_get_conn", get_until_the_end)
    client.connect_ahead(origin.url)
    assert eventually(lambda: not is_connecting())
    assert [connection.sock for connection in passed_over] == [None, None]


def test_nobody_is_told_of_a_connection_ahead_that_failed(client: HttpClient) -> None:
    with DeadPort() as dead:
        client.connect_ahead(dead.url)
        assert eventually(lambda: not is_connecting())


def is_connecting() -> bool:
    return any(thread.name == "connect" for thread in threading.enumerate())


def connected(origin: HttpOrigin) -> int:
    """How many connections there were, once nobody makes one any more."""
    return -1 if is_connecting() else origin.connections
