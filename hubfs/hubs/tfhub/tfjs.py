"""TF.js models that a hub hosts file by file: `model.json`, and the shards that it names."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from hubfs.blobs import json_text
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.http.url import redacted, without_secrets
from hubfs.blobs.retry import RetryingBlob
from hubfs.errors import Damaged, ModelNotFound, NotFound, quoted
from hubfs.hubs.tfhub.questions import Location
from hubfs.model_id import ModelId
from hubfs.sources.files import Manifest, is_path
from hubfs.sources.hosted import plain_blob, probe_files
from hubfs.sources.source import Form

MANIFEST_NAME = "model.json"
"""The file that names the others."""

MANIFEST_LIMIT_BYTES = 64 << 20
"""A larger model.json is refused: it is read into memory."""

SHARDS_LIMIT = 10_000
"""A model of more shards is refused: each costs a request."""


def url_of(model_url: str, path: str) -> str:
    """The URL of the file at `path` of the model at `model_url`: the protocol's query follows the path."""
    return f"{model_url}/{quote(path)}?tfjs-format=file"


def ask_tfjs(client: HttpClient, model: ModelId, location: Location) -> Manifest:
    """The files of `model` at `location`: reads `model.json`, and asks the host for the start of each shard.

    Raises `ModelNotFound` without a `model.json`, `Damaged` for one that cannot be used or whose shards are missing,
    and what `HttpClient.probe` raises.
    """
    shards = _shards(_model_json(client, model, location), url_of(location.url, MANIFEST_NAME))
    urls = {path: url_of(location.url, path) for path in (MANIFEST_NAME, *shards)}
    return Manifest(
        without_secrets(location.url), Form.FILES, probe_files(client, model, location.url, urls, location.headers)
    )


def _model_json(client: HttpClient, model: ModelId, location: Location) -> bytes:
    url = url_of(location.url, MANIFEST_NAME)
    try:
        blob = plain_blob(client, url, location.headers)
        if blob.size_bytes > MANIFEST_LIMIT_BYTES:
            raise Damaged(f"{redacted(url)} has {blob.size_bytes} bytes, more than any model.json needs: refused")
        return RetryingBlob(blob, client.settings.retry, client.cancellation).read_at(0, blob.size_bytes)
    except NotFound as error:
        raise ModelNotFound(f"{model}: {error}") from error


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
