"""The source of a model that a bucket holds uncompressed: every object is a file."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from hubfs.blobs.blob import Blob
from hubfs.blobs.checksummed import ChecksummedBlob
from hubfs.blobs.gcs.client import GcsBlob, GcsClient, GcsObject
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES
from hubfs.errors import Damaged, ModelNotFound, NotFound
from hubfs.hubs.resolver import Form
from hubfs.model_id import ModelId
from hubfs.sources.listed import ListedSource, OnFailure, Wrap, tree_of
from hubfs.sources.source import Entry, EntryKind


class BucketSource(ListedSource):
    """The model `handle` of `hub` at `url` (`gs://bucket/prefix`); see `ListedSource`.

    `files` are its objects by path. `directories` are the paths that the store lists as directories; those that lead
    to a file need not be among them. Raises `Damaged` when these cannot be one tree.

    Objects' checksums are verified, and an object that is damaged, or no longer the one that was listed, fails the
    model, as `ListedSource` says.
    """

    form = Form.UNCOMPRESSED

    def __init__(
        self,
        client: GcsClient,
        hub: str,
        handle: ModelId,
        url: str,
        *,
        files: Mapping[str, GcsObject],
        directories: Iterable[str],
        wrap: Wrap,
        on_failure: OnFailure | None = None,
    ) -> None:
        entries = tree_of(url, {path: obj.size_bytes for path, obj in files.items()}, directories)
        super().__init__(
            hub,
            handle,
            url,
            _identity(files.values()),
            entries=entries,
            stamp_of=lambda path: files[path].stamp,
            blob_of=lambda path: self._blob(self._files[path]),
            wrap=wrap,
            on_failure=on_failure,
        )
        self._client = client
        self._files = files

    @classmethod
    def list(
        cls,
        client: GcsClient,
        hub: str,
        handle: ModelId,
        location_url: str,
        wrap: Wrap,
        *,
        on_failure: OnFailure | None = None,
    ) -> "BucketSource":
        """Asks for the one listing.

        Raises `ModelNotFound` when no file is there, `Damaged` for names that are no paths, and what
        `GcsClient.list` raises.
        """
        url, bucket, prefix = _location(location_url)
        try:
            objects = client.list(bucket, prefix)
        except NotFound as error:
            raise ModelNotFound(f"{handle}: {error}") from error
        paths = {obj.name.removeprefix(prefix): obj for obj in objects}
        files = {path: obj for path, obj in paths.items() if path and not path.endswith("/")}
        if not files:
            raise ModelNotFound(f"{handle}: nothing is stored below {url}/")
        # Consoles and copying tools mark a directory by an object whose name ends in '/'; the root's has no path left.
        directories = [path[:-1] for path in paths if path.endswith("/")]
        return cls(client, hub, handle, url, files=files, directories=directories, wrap=wrap, on_failure=on_failure)

    @classmethod
    def from_index(
        cls,
        client: GcsClient,
        hub: str,
        handle: ModelId,
        index: Mapping[str, Any],
        wrap: Wrap,
        *,
        on_failure: OnFailure | None = None,
    ) -> "BucketSource":
        """The source that `to_index` described; asks nobody. Raises `Damaged` for an index that is not as written."""
        try:
            url, bucket, prefix = _location(index["url"])
            files, directories = {}, []
            for item in index["entries"]:
                if EntryKind(item["kind"]) is EntryKind.FILE:
                    files[item["path"]] = _from_item(bucket, prefix, item)
                else:
                    directories.append(item["path"])
            source = cls(
                client, hub, handle, url, files=files, directories=directories, wrap=wrap, on_failure=on_failure
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Damaged(f"the cache's index of {handle} is malformed: {error!r}") from error
        if any(index.get(key) != value for key, value in source.to_index().items()):
            raise Damaged(f"the cache's index of {handle} contradicts itself")
        return source

    def to_index(self) -> dict[str, Any]:
        """What `from_index` needs, for JSON."""
        return {
            "handle": str(self.handle),
            "url": self.url,
            "form": self.form.value,
            "identity": self.identity,
            "entries": [self._item(entry) for entry in self._entries.values()],
        }

    def _blob(self, obj: GcsObject) -> Blob:
        blob: Blob = GcsBlob(self._client, obj)
        if obj.crc32c is not None:
            blob = ChecksummedBlob(blob, obj.crc32c, BLOCK_SIZE_BYTES)
        return blob

    def _item(self, entry: Entry) -> dict[str, Any]:
        item: dict[str, Any] = {"path": entry.path, "kind": entry.kind.value}
        if entry.kind is EntryKind.FILE:
            obj = self._files[entry.path]
            item |= {
                "name": obj.name,
                "size_bytes": obj.size_bytes,
                "generation": obj.generation,
                "crc32c": obj.crc32c,
                "md5": obj.md5,
            }
            if obj.made_s is not None:  # indexes had none before
                item["made_s"] = obj.made_s
        return item


def _location(url: str) -> tuple[str, str, str]:
    """`gs://bucket/prefix` → itself without a slash at the end, the bucket, and what its objects' names start with.

    The slash after the prefix keeps `a/bc` out of the listing of `a/b`. Not read as a URL: '#', '?' and '%' are
    characters of names here. Raises `Damaged`.
    """
    bucket, _, prefix = url.removeprefix("gs://").rstrip("/").partition("/")
    if not url.startswith("gs://") or not bucket:
        raise Damaged(f"{url!r} is not the URL of a bucket: it must read gs://BUCKET/PREFIX")
    return f"gs://{bucket}/{prefix}".rstrip("/"), bucket, f"{prefix}/" if prefix else ""


def _identity(objects: Iterable[GcsObject]) -> str:
    text = "\0".join(sorted(obj.key for obj in objects))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _from_item(bucket: str, prefix: str, item: Mapping[str, Any]) -> GcsObject:
    """The object that an item of an index describes. Raises `KeyError`, `TypeError`, `ValueError`."""
    obj = GcsObject(
        bucket,
        item["name"],
        item["size_bytes"],
        item["generation"],
        crc32c=item["crc32c"],
        md5=item["md5"],
        made_s=item.get("made_s"),
    )
    if obj.name != prefix + item["path"]:
        raise ValueError(f"the object {obj.name!r} cannot be at {item['path']!r}")
    if (
        type(obj.size_bytes) is not int
        or obj.size_bytes < 0
        or {type(obj.crc32c), type(obj.made_s)} - {int, type(None)}
    ):
        raise TypeError(f"the size, the checksum or the date of {obj.name!r} is not a number")
    if not (obj.generation.isascii() and obj.generation.isdecimal()):  # it becomes part of a query
        raise ValueError(f"the generation of {obj.name!r} is not a number")
    return obj
