"""The token of a bucket goes to the endpoint that the user named, and to nobody it redirects to."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hubfs.blobs.gcs import GcsClient, GcsSettings
from hubfs.blobs.retry import RetryPolicy
from hubfs.cancellation import Cancellation
from hubfs.errors import HubfsError
from tests.support.http_origin import HttpOrigin, status
from tests.support.service_account import service_account


@contextmanager
def token_server(token: str) -> Iterator[str]:
    """The URL of a server that gives this token to everybody."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps({"access_token": token, "expires_in": 3600, "token_type": "Bearer"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/token"
        finally:
            server.shutdown()
            thread.join()


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
