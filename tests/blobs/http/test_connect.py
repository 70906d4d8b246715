"""How long a connection to a host of several addresses takes, some of which do not answer."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from hubfs.blobs.http import connect as http_connect
from hubfs.blobs.http.connect import alternating
from hubfs.errors import TimedOut, Unavailable
from tests.support.http_clients import http_client
from tests.support.http_origin import DeadPort, HttpOrigin
from tests.support.waiting import Stopwatch

Place = tuple[str, int]
Lead = Callable[..., str]


@pytest.fixture
def swallowing() -> Iterator[Place]:
    """An address where nobody answers, and nobody refuses: its queue is full."""
    with ExitStack() as closing:
        listener = closing.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filling = closing.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(listener.getsockname())
        yield listener.getsockname()


@pytest.fixture
def lead(monkeypatch: pytest.MonkeyPatch) -> Lead:
    """Has a name lead to these places; the URL of the name."""

    def led(*places: Place) -> str:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        return "http://many.example"

    return led


def test_an_address_that_does_not_answer_holds_nobody_up_if_another_does(swallowing: Place, lead: Lead) -> None:
    with HttpOrigin() as origin, DeadPort() as dead, http_client() as client:
        origin.put("/a", b"bytes")
        host, port = origin.host.split(":")
        refusing = int(dead.url.rpartition(":")[2])
        url = lead(swallowing, ("127.0.0.1", refusing), swallowing, (host, int(port))) + "/a"
        watch = Stopwatch()
        with client.open(url) as transfer:
            assert transfer.read_up_to(10) == b"bytes"
        assert watch.took_s() < client.settings.connect_timeout_s, "a silent address got its time-out"


def test_all_addresses_together_get_the_time_of_one(swallowing: Place, lead: Lead) -> None:
    url = lead(*16 * [swallowing])
    with http_client() as client:
        client.settings = replace(client.settings, connect_timeout_s=0.6)
        watch = Stopwatch()
        with pytest.raises(TimedOut, match=r"many\.example/a could not be connected to within 0\.6 s"):
            client.open(url + "/a")
        assert 0.5 < watch.took_s() < 9, "each of the 16 got its 0.6 s"


def test_a_host_that_refuses_at_every_address_does_so_at_once(lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connect, "_STAGGER_S", 5.0)
    with DeadPort() as dead, http_client() as client:
        url = lead(*8 * [("127.0.0.1", int(dead.url.rpartition(":")[2]))])
        watch = Stopwatch()
        with pytest.raises(Unavailable, match="Connection refused"):
            client.open(url + "/a")
        assert watch.took_s() < 5, "another address was only tried after a while"


def test_the_families_are_tried_by_turns() -> None:
    assert alternating([(6, "a"), (6, "b"), (6, "c"), (4, "d")]) == [(6, "a"), (4, "d"), (6, "b"), (6, "c")]
