"""What a config says of whom to ask: the hub, its bucket, the shared cache, and with which credentials."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from hubfs.blobs.gcs.client import GcsClient, GcsSettings
from hubfs.blobs.http.client import HttpClient, HttpSettings
from hubfs.blobs.retry import RetryPolicy
from hubfs.blobs.store import ObjectStoreSettings
from hubfs.catalogue import document as catalog_document
from hubfs.catalogue.catalogue import Catalog
from hubfs.catalogue.handle import handle_on, is_versioned, parse_handle
from hubfs.catalogue.provider import Fetch
from hubfs.errors import InvalidHandle
from hubfs.hubs.bucket.resolver import GcsResolver
from hubfs.hubs.offline import OfflineResolver
from hubfs.hubs.resolver import Form, Resolver
from hubfs.hubs.tfhub import bundled
from hubfs.hubs.tfhub.resolver import TfhubResolver
from hubfs.settings.config import Config
from hubfs.waiting import Cancellation


@contextmanager
def asking(config: Config, retry: RetryPolicy) -> Iterator[tuple[Resolver, HttpClient]]:
    """The hub, for a command that has a question and ends. Raises `InvalidConfig`."""
    cancellation = Cancellation()
    http = HttpClient(http_settings(config, retry), cancellation)
    gcs = GcsClient(gcs_settings(config, retry), cancellation)
    try:
        yield resolver(config, http, gcs), http
    finally:
        http.close()
        gcs.close()


def gcs_folder(config: Config, text: str) -> str:
    """The `gs://` folder of a handle, or of a name's latest version, or of the URL of either on the hub.

    Raises `ModelNotFound` where the hub names no bucket, `InvalidHandle`, and what kept the hub from answering.
    """
    with asking(config, RetryPolicy()) as (hub, _):
        name = handle_on(hub.hub, text)
        if name is None:
            raise InvalidHandle(f"{text} is not a handle of {hub.hub}; --hub names another hub")
        handle = parse_handle(name if is_versioned(name) else f"{name}/{hub.latest(name)}")
        return hub.resolve(handle, Form.UNCOMPRESSED).url


def resolver(config: Config, http: HttpClient, gcs: GcsClient) -> Resolver:
    """Who knows where models are."""
    asked: Resolver
    if config.hub.startswith("gs://"):
        gcs.load_credentials()  # of no use, they would be found so by the first reader
        asked = GcsResolver(gcs, config.hub, config.form)
    else:
        asked = TfhubResolver(http, config.hub, config.form)
    return OfflineResolver(asked) if config.offline else asked


def document_fetcher(config: Config, http: HttpClient) -> Fetch | None:
    """Asks for the hub's catalogue document; a bucket lists itself."""
    if config.hub.startswith("gs://") or config.offline:
        return None
    return lambda etag: catalog_document.fetch(http, config.hub, etag=etag)


def bundled_catalogue(config: Config) -> Callable[[], Catalog] | None:
    """Reads the catalogue that comes with hubfs; None where there is a file, and for hubs that it is not of."""
    return bundled.bundled_catalogue if config.catalog is None and bundled.is_public_hub(config.hub) else None


def store_settings(config: Config, retry: RetryPolicy) -> ObjectStoreSettings:
    """How to reach the shared cache."""
    return ObjectStoreSettings(endpoint_url=config.gcs_endpoint_url, token=config.gcs_token, retry=retry)


def gcs_settings(config: Config, retry: RetryPolicy) -> GcsSettings:
    """How to reach buckets."""
    return GcsSettings(
        endpoint_url=config.gcs_endpoint_url,
        token="anon" if config.offline else config.gcs_token,
        connect_timeout_s=config.connect_timeout_s,
        timeout_s=config.stall_timeout_s,
        retry=retry,
    )


def http_settings(config: Config, retry: RetryPolicy) -> HttpSettings:
    """How to reach the hub, and where it leads. Credentials go to the hub alone."""
    headers = dict(config.headers)
    if config.token is not None:
        headers["Authorization"] = f"Bearer {config.token}"
    hub = urlsplit(config.hub)
    return HttpSettings(
        connect_timeout_s=config.connect_timeout_s,
        stall_timeout_s=config.stall_timeout_s,
        retry=retry,
        verify=config.verify_certificates,
        private_redirects=config.private_redirects,
        credential_host=hub.netloc.rpartition("@")[2] if hub.scheme != "gs" else None,
        credential_scheme=hub.scheme,
        headers=headers,
    )
