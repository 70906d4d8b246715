"""What a config says of whom to ask: the hub, its bucket, the shared cache, and with which credentials."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from hubfs.blobs.gcs.client import GcsClient, GcsSettings
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.http.settings import HttpSettings
from hubfs.blobs.http.url import redacted
from hubfs.blobs.retry import RetryPolicy
from hubfs.blobs.store import STORE_SETTINGS
from hubfs.errors import InvalidHandle, ModelNotFound
from hubfs.hubs.hub import Hub, Means, make_hub
from hubfs.hubs.registry import SHORT, is_default, spelled_out
from hubfs.model_id import ModelId
from hubfs.settings.config import Config
from hubfs.waiting import Cancellation


@contextmanager
def asking(config: Config, retry: RetryPolicy) -> Iterator[Hub]:
    """The hub, for a command that has a question and ends. Raises `InvalidConfig`."""
    cancellation = Cancellation()
    http = HttpClient(http_settings(config, retry), cancellation)
    gcs = GcsClient(gcs_settings(config, retry), cancellation)
    try:
        yield hub_of(config, http, gcs)
    finally:
        http.close()
        gcs.close()


def hub_of(config: Config, http: HttpClient, gcs: GcsClient, catalog: Path | None = None) -> Hub:
    """The hub that `config` names, asked through `http` and `gcs`; `catalog` is a file in which its models are written
    down. Asks nobody. Raises `InvalidConfig`.
    """
    means = Means(
        http,
        gcs,
        form=config.form,
        extracted_dir=config.extracted_dir,
        catalog=catalog,
        endpoints=config.endpoints,
        environ=os.environ,
        headers=http.settings.headers,
    )
    return make_hub(config.hub, means)


def gcs_folder(config: Config, text: str) -> str:
    """The `gs://` folder of a handle, or of a name's latest version, or of the URL of either on the hub.

    Raises `ModelNotFound` where the hub names no bucket, `InvalidHandle`, and what kept the hub from answering.
    """
    text = spelled_out(text)
    hubs = config.each_hub().values()
    without: ModelNotFound | None = None
    for own in hubs:
        with asking(own, RetryPolicy()) as hub:
            found = hub.names.find(text)
            if found is not None:
                name, version = found
                try:
                    return hub.folder(ModelId(name, version or hub.alias(name)))
                except ModelNotFound as here:
                    without = without or here
    if without is not None:
        raise without
    asked = ", ".join(redacted(own.hub) for own in hubs)
    raise InvalidHandle(f"{text} is not a handle of {asked}; --hub names another hub")


def store_settings(config: Config, retry: RetryPolicy = STORE_SETTINGS.retry) -> GcsSettings:
    """How to reach the shared cache; not as patiently as a hub, for a reader waits, and the hub has the same bytes."""
    return replace(STORE_SETTINGS, endpoint_url=config.gcs_endpoint_url, token=config.gcs_token, retry=retry)


def gcs_settings(config: Config, retry: RetryPolicy) -> GcsSettings:
    """How to reach buckets."""
    return GcsSettings(
        endpoint_url=config.gcs_endpoint_url,
        token="anon" if config.offline else config.gcs_token,
        connect_timeout_s=config.connect_timeout_s,
        timeout_s=config.stall_timeout_s,
        retry=retry,
        proxy_headers=config.proxy_headers,
    )


def http_settings(config: Config, retry: RetryPolicy) -> HttpSettings:
    """How to reach the hub, and where it leads. Credentials go to the hub alone."""
    headers = dict(config.headers)
    if config.token is not None:
        headers["Authorization"] = f"Bearer {config.token}"
    moved = config.endpoints.get(SHORT) if is_default(config.hub) else None
    hub = urlsplit(moved or config.hub)
    return HttpSettings(
        connect_timeout_s=config.connect_timeout_s,
        stall_timeout_s=config.stall_timeout_s,
        retry=retry,
        verify=config.verify_certificates,
        private_redirects=config.private_redirects,
        credential_host=hub.netloc.rpartition("@")[2] if hub.scheme != "gs" else None,
        credential_scheme=hub.scheme,
        headers=headers,
        proxy_headers=config.proxy_headers,
    )
