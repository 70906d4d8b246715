"""A token that the store refuses before its time is renewed, but not over and over."""

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from hubfs.blobs.gcs.client import GcsClient, GcsSettings
from hubfs.blobs.retry import RetryPolicy
from hubfs.blobs.store import STORE_SETTINGS, open_store
from hubfs.errors import AccessDenied, Cancelled, NotInstalled, TimedOut
from hubfs.waiting import Cancellation
from tests.support.http_clients import QUICK
from tests.support.http_origin import Answer, HttpOrigin
from tests.support.service_account import service_account, token_server

EMPTY = Answer(body=b'{"items": []}')
REFUSED = Answer(401, body=b'{"error": {"message": "Invalid Credentials"}}')


@pytest.fixture
def origin() -> Iterator[HttpOrigin]:
    with HttpOrigin() as origin:
        yield origin


@pytest.fixture
def client_with(tmp_path: Path, origin: HttpOrigin) -> Iterator[Callable[..., GcsClient]]:
    with ExitStack() as closing:

        def make(*tokens: str) -> GcsClient:
            credentials = tmp_path / "account.json"
            credentials.write_text(service_account(closing.enter_context(token_server(*tokens))))
            settings = GcsSettings(endpoint_url=origin.url, token=str(credentials), retry=QUICK)
            client = GcsClient(settings, Cancellation())
            closing.callback(client.close)
            return client

        yield make


def test_a_token_that_was_revoked_is_renewed(origin: HttpOrigin, client_with: Callable[..., GcsClient]) -> None:
    taken = "Bearer first"
    origin.route("/*", lambda request: EMPTY if request.headers["authorization"] == taken else REFUSED)
    client = client_with("first", "second")
    assert client.list("models", "a/") == []
    taken = "Bearer second"
    assert client.list("models", "a/") == []
    assert len(origin.requests) == 3


def test_a_renewed_token_is_for_what_is_written_too(origin: HttpOrigin, tmp_path: Path) -> None:
    origin.route("/*", lambda request: EMPTY if request.headers["authorization"] == "Bearer second" else REFUSED)
    with token_server("first", "second") as token_url:
        credentials = tmp_path / "account.json"
        credentials.write_text(service_account(token_url))
        settings = replace(
            STORE_SETTINGS, endpoint_url=origin.url, token=str(credentials), retry=RetryPolicy(attempts=1)
        )
        store = open_store("gs://models/p", settings, Cancellation())
        assert store.put("name", b"data")
        store.close()
    assert len(origin.requests) == 2


def test_a_reader_whose_token_needs_a_package_that_is_missing_is_denied_access_and_told_how_to_get_it(
    client_with: Callable[..., GcsClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("gcsfs", "gcsfs.credentials"):
        monkeypatch.setitem(sys.modules, module, None)
    client = client_with("first")
    with pytest.raises(NotInstalled):  # as a mount of a bucket meets it before anybody reads
        client.load_credentials()
    with pytest.raises(AccessDenied, match=r"needs gcsfs, which is not installed.*: pip install gcsfs"):
        client.list("models", "a/")


def test_a_token_that_does_not_come_is_waited_for_no_longer_than_a_bound(origin: HttpOrigin, tmp_path: Path) -> None:
    origin.route("/*", lambda _: EMPTY)
    credentials = tmp_path / "account.json"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        credentials.write_text(service_account(f"http://127.0.0.1:{silent.getsockname()[1]}/token"))
        for cancelled, error in ((False, TimedOut), (True, Cancelled)):
            cancellation = Cancellation()
            timeout_s = 30.0 if cancelled else 0.2
            settings = GcsSettings(
                endpoint_url=origin.url, token=str(credentials), timeout_s=timeout_s, retry=RetryPolicy(attempts=1)
            )
            client = GcsClient(settings, cancellation)
            timer = threading.Timer(0.3 if cancelled else 60, cancellation.cancel)
            timer.start()
            with pytest.raises(error):
                client.list("models", "a/")
            timer.cancel()
            client.close()
        silent.close()  # ends what still waits for it
    assert not origin.requests


def test_credentials_that_are_refused_are_renewed_once(
    origin: HttpOrigin, client_with: Callable[..., GcsClient]
) -> None:
    origin.route("/*", lambda _: REFUSED)
    client = client_with("first", "second", "third")
    for requests in (2, 3):
        with pytest.raises(AccessDenied, match="HUBFS_GCS_TOKEN"):
            client.list("models", "a/")
        assert len(origin.requests) == requests
    assert [request.headers["authorization"] for request in origin.requests] == [
        "Bearer first",
        "Bearer second",
        "Bearer second",
    ]
