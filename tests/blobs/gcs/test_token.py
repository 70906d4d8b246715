"""A token that the store refuses before its time is renewed, but not over and over."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hubfs.blobs.gcs.client import GcsClient, GcsSettings
from hubfs.errors import AccessDenied
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


def test_credentials_that_are_refused_are_renewed_once(
    origin: HttpOrigin, client_with: Callable[..., GcsClient]
) -> None:
    origin.route("/*", lambda _: REFUSED)
    client = client_with("first", "second", "third")
    for requests in (2, 3):
        with pytest.raises(AccessDenied, match="configure ones"):
            client.list("models", "a/")
        assert len(origin.requests) == requests
    assert [request.headers["authorization"] for request in origin.requests] == [
        "Bearer first",
        "Bearer second",
        "Bearer second",
    ]
