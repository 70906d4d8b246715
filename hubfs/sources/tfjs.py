"""The source of a TF.js model that a hub hosts file by file: `model.json`, and the shards that it names."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from hubfs.blobs import json_text
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.http.url import redacted
from hubfs.blobs.retry import RetryingBlob
from hubfs.errors import Damaged, ModelNotFound, NotFound, quoted
from hubfs.hubs.resolver import Form, Location
from hubfs.model_id import ModelId
from hubfs.sources.hosted import HostedSource, plain_blob
from hubfs.sources.listed import OnFailure, Wrap, is_path

MANIFEST_NAME = "model.json"
"""The file that names the others."""

MANIFEST_LIMIT_BYTES = 64 << 20
"""A larger model.json is refused: it is read into memory."""

SHARDS_LIMIT = 10_000
"""A model of more shards is refused: each costs a request."""


class TfjsSource(HostedSource):
    """The model whose files are at `<location's URL>/<path>?tfjs-format=file`; see `HostedSource`."""

    form = Form.FILES

    @staticmethod
    def url_of(location_url: str, path: str) -> str:
        """See `HostedSource`: the protocol's query follows the path."""
        return f"{location_url}/{quote(path)}?tfjs-format=file"

    @classmethod
    def ask(
        cls,
        client: HttpClient,
        hub: str,
        handle: ModelId,
        location: Location,
        wrap: Wrap,
        *,
        on_failure: OnFailure | None = None,
    ) -> "TfjsSource":
        """Reads `model.json`, and asks the host for the start of each shard, several at once.

        Raises `ModelNotFound` without a `model.json`, `Damaged` for one that cannot be used or whose shards are
        missing, and what `HttpClient.probe` raises.
        """
        shards = _shards(cls._manifest(client, handle, location), cls.url_of(location.url, MANIFEST_NAME))
        paths = [MANIFEST_NAME, *shards]
        return cls.probe(client, hub, handle, location, paths=paths, wrap=wrap, on_failure=on_failure)

    @classmethod
    def _manifest(cls, client: HttpClient, handle: ModelId, location: Location) -> bytes:
        url = cls.url_of(location.url, MANIFEST_NAME)
        try:
            blob = plain_blob(client, url, location.headers)
            if blob.size_bytes > MANIFEST_LIMIT_BYTES:
                raise Damaged(f"{redacted(url)} has {blob.size_bytes} bytes, more than any model.json needs: refused")
            return RetryingBlob(blob, client.settings.retry, client.cancellation).read_at(0, blob.size_bytes)
        except NotFound as error:
            raise ModelNotFound(f"{handle}: {error}") from error


def _shards(manifest: bytes, url: str) -> list[str]:
    """The paths of the shards, each once, as `model.json` names them. Raises `Damaged`."""
    try:
        shards = list(dict.fromkeys(_paths(json_text.parse(manifest))))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise Damaged(
            f"{redacted(url)} is not a model.json of TF.js ({type(error).__name__}: {quoted(error)}): report it to the "
            "hub's operator"
        ) from error
    if len(shards) > SHARDS_LIMIT:
        raise Damaged(f"{redacted(url)} names {len(shards)} shards, more than {SHARDS_LIMIT}: refused")
    for path in shards:
        if not is_path(path) or "\\" in path:
            raise Damaged(
                f"{redacted(url)} names a shard '{quoted(path)}', which is no path inside of the model: refused"
            )
    return shards


def _paths(model: Any) -> Iterator[str]:
    for group in model.get("weightsManifest") or ():  # a model without weights need not have one
        for path in group["paths"]:
            if not isinstance(path, str):
                raise TypeError("a path is a text")
            yield path
