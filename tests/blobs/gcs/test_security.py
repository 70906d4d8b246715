"""The token of a bucket goes to the endpoint that the user named, and to nobody it redirects to."""

from pathlib import Path

import pytest

from hubfs.blobs.gcs.client import GcsClient, GcsSettings
from hubfs.blobs.retry import RetryPolicy
from hubfs.errors import HubfsError
from hubfs.waiting import Cancellation
from tests.support.http_origin import HttpOrigin, status
from tests.support.service_account import service_account, token_server


def test_the_token_goes_to_the_endpoint_and_to_nobody_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="hubfs")
    with token_server("hush") as token_url, HttpOrigin() as endpoint, HttpOrigin() as stranger:
        credentials = tmp_path / "account.json"
        credentials.write_text(service_account(token_url))
        endpoint.always("/storage/v1/b/models/o", status(307, {"Location": stranger.url + "/storage/v1/b/models/o"}))
        settings = GcsSettings(endpoint_url=endpoint.url, token=str(credentials), retry=RetryPolicy(attempts=1))
        client = GcsClient(settings, Cancellation())
        try:
            with pytest.raises(HubfsError) as caught:
                client.list("models", "a/")
        finally:
            client.close()
    assert [request.headers.get("authorization") for request in endpoint.requests] == ["Bearer hush"]
    assert len(stranger.requests) == 1
    assert "hush" not in str([dict(request.headers) for request in stranger.requests])
    assert "hush" not in str(caught.value) + caplog.text


def test_what_netrc_has_goes_to_no_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("default login me password hush\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    credentials = tmp_path / "account.json"
    with token_server("token") as token_url, HttpOrigin() as endpoint:
        credentials.write_text(service_account(token_url))
        endpoint.always("/storage/v1/b/models/o", status(200, body=b"{}"))
        for token in ("anon", str(credentials)):
            settings = GcsSettings(endpoint_url=endpoint.url, token=token, retry=RetryPolicy(attempts=1))
            client = GcsClient(settings, Cancellation())
            try:
                assert not client.list("models", "a/")
            finally:
                client.close()
    assert [request.headers.get("authorization") for request in endpoint.requests] == [None, "Bearer token"]
