"""Models that a bucket holds uncompressed: every object is a file."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from hubfs.blobs.blob import Blob
from hubfs.blobs.gcs.client import GcsClient
from hubfs.blobs.gcs.object import GcsObject
from hubfs.errors import Damaged, ModelNotFound, NotFound
from hubfs.model_id import ModelId
from hubfs.sources.files import Manifest, RemoteFile
from hubfs.sources.source import Form


def list_bucket(client: GcsClient, model: ModelId, location_url: str) -> Manifest:
    """The files of `model` at `location_url` (`gs://bucket/prefix`), by one listing.

    Raises `ModelNotFound` when no file is there, and what `GcsClient.list` raises.
    """
    url, bucket, prefix = _location(location_url)
    try:
        objects = client.list(bucket, prefix)
    except NotFound as error:
        raise ModelNotFound(f"{model}: {error}") from error
    paths = {obj.name.removeprefix(prefix): obj for obj in objects}
    files = {path: _described(client, obj) for path, obj in paths.items() if path and not path.endswith("/")}
    if not files:
        raise ModelNotFound(f"{model}: nothing is stored below {url}/")
    # Consoles and copying tools mark a directory by an object whose name ends in '/'; the root's has no path left.
    directories = [path[:-1] for path in paths if path.endswith("/")]
    return Manifest(url, Form.UNCOMPRESSED, files, directories)


def kept_bucket(client: GcsClient, model: ModelId, kept: Mapping[str, Any]) -> Manifest:
    """The manifest of `model` out of the cache; asks nobody. Raises `Damaged` for one that is not as written."""
    if kept.get("form") != Form.UNCOMPRESSED.value:
        raise Damaged(f"the cache's index of {model} is of no model that a bucket holds uncompressed")

    def opener(path: str, pin: str, size_bytes: int) -> Callable[[], Blob]:
        url, bucket, prefix = _location(kept["url"])
        name, _, generation = pin.removeprefix(f"gs://{bucket}/").rpartition("#")
        if name != prefix + path:
            raise ValueError(f"{pin!r} cannot be at {path!r} below {url}")
        if not (generation.isascii() and generation.isdecimal()):  # it becomes part of a query
            raise ValueError(f"{pin!r} has no generation")
        return partial(client.blob, GcsObject(bucket, name, size_bytes, generation))

    return Manifest.from_json(model, kept, opener)


def _described(client: GcsClient, obj: GcsObject) -> RemoteFile:
    return RemoteFile(obj.size_bytes, obj.key, partial(client.blob, obj), obj.checksum, obj.stamp)


def _location(url: str) -> tuple[str, str, str]:
    """`gs://bucket/prefix` → itself without a slash at the end, the bucket, and the start of its objects' names.

    The slash after the prefix keeps `a/bc` out of the listing of `a/b`. Not read as a URL: '#', '?' and '%' are
    characters of names here. Raises `Damaged`.
    """
    bucket, _, prefix = url.removeprefix("gs://").rstrip("/").partition("/")
    if not url.startswith("gs://") or not bucket:
        raise Damaged(f"{url!r} is not the URL of a bucket: it must read gs://BUCKET/PREFIX")
    return f"gs://{bucket}/{prefix}".rstrip("/"), bucket, f"{prefix}/" if prefix else ""
