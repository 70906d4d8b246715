"""Clients of HTTP and of stores for tests: quick to try again and quick to give up."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from hubfs.blobs.gcs.client import GcsClient, GcsSettings
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.http.settings import HttpSettings
from hubfs.blobs.retry import RetryPolicy
from hubfs.waiting import Cancellation

QUICK = RetryPolicy(attempts=3, base_s=0.01, cap_s=0.02, retry_after_cap_s=0.2)
NOWHERE = "http://127.0.0.1:9"
NO_HEADERS: Mapping[str, str] = {}


@contextmanager
def http_client(
    cancellation: Cancellation | None = None,
    *,
    stall_timeout_s: float = 5.0,
    retry: RetryPolicy = QUICK,
    verify: bool = True,
    private_redirects: bool = False,
    credential_host: str | None = None,
    credential_scheme: str = "https",
    headers: Mapping[str, str] = NO_HEADERS,
    proxy_headers: Mapping[str, str] = NO_HEADERS,
) -> Iterator[HttpClient]:
    settings = HttpSettings(
        stall_timeout_s=stall_timeout_s,
        retry=retry,
        verify=verify,
        private_redirects=private_redirects,
        credential_host=credential_host,
        credential_scheme=credential_scheme,
        headers=headers,
        proxy_headers=proxy_headers,
    )
    client = HttpClient(settings, cancellation or Cancellation())
    try:
        yield client
    finally:
        client.cancellation.cancel()  # what still runs in the background has nobody to run for
        client.close()


@contextmanager
def gcs_client(url: str = NOWHERE, cancellation: Cancellation | None = None, **options: Any) -> Iterator[GcsClient]:
    client = GcsClient(GcsSettings(endpoint_url=url, **{"retry": QUICK, **options}), cancellation or Cancellation())
    try:
        yield client
    finally:
        client.close()
