"""The source of a model that a bucket holds uncompressed: every object is a file."""

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hubfs.blobs.blob import Blob
from hubfs.blobs.checksummed import ChecksummedBlob
from hubfs.blobs.gcs import GcsBlob, GcsClient, GcsObject
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey
from hubfs.errors import Damaged, EntryNotFound, HubfsError, IsADirectory, ModelNotFound, NotFound, Stale
from hubfs.hub.handle import Handle
from hubfs.hub.resolver import Form
from hubfs.sources.naming import model_name
from hubfs.sources.source import ROOT, Entry, EntryKind, with_parents

_log = logging.getLogger(__name__)

Wrap = Callable[[CacheKey, Blob], Blob]
"""Puts retries and the cache around the blob of an entry. Fetches nothing."""

OnFailure = Callable[["BucketSource"], None]
"""Told of a source that failed for good."""


class BucketSource:
    """The model `handle` of `hub` at `url` (`gs://bucket/prefix`); see `Source`. Knows every entry from the start.

    `files` are its objects by path. `directories` are the paths that the store lists as directories; those that lead
    to a file need not be among them. Raises `Damaged` when these cannot be one tree.

    An object that is damaged, or no longer the one that was listed, is a failure of the whole model for good:
    `on_failure` is called once, when it is noticed, and should drop what the cache keeps of `model`.

    Every entry has one blob for life, so that all who open it share what `wrap` puts around it. `_lock` guards
    `_blobs` and `_failure`; `wrap` is called under it, `on_failure` is not.
    """

    def __init__(
        self,
        client: GcsClient,
        hub: str,
        handle: Handle,
        url: str,
        *,
        files: Mapping[str, GcsObject],
        directories: Iterable[str],
        wrap: Wrap,
        on_failure: OnFailure | None = None,
    ) -> None:
        self._entries = _tree(url, files, directories)
        self.handle = handle
        self.url = url
        self.form = Form.UNCOMPRESSED
        self.identity = _identity(files.values())
        self.model = model_name(hub, handle, self.identity)
        self.complete = True  # the listing said everything, and blobs verify what they read
        self._client = client
        self._files = files
        self._wrap = wrap
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._blobs: dict[str, Blob] = {}
        self._failure: HubfsError | None = None

    @classmethod
    def list(
        cls,
        client: GcsClient,
        hub: str,
        handle: Handle,
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
        handle: Handle,
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

    @property
    def failure(self) -> HubfsError | None:
        """Why nothing of this source may be served any more; it does not recover."""
        with self._lock:
            return self._failure

    def find(self, path: str) -> Entry:
        """See `Source`; never waits."""
        self.check()
        if not path:
            return ROOT
        try:
            return self._entries[path]
        except KeyError:
            raise EntryNotFound(f"{self.url}/ holds no {path!r}") from None

    def entries(self) -> Sequence[Entry]:
        """See `Source`; never waits."""
        self.check()
        return [*self._entries.values()]

    def open(self, entry: Entry) -> Blob:
        """The blob of a file: the same one every time. Raises `EntryNotFound`, `IsADirectory`."""
        if self.find(entry.path).kind is EntryKind.DIRECTORY:
            raise IsADirectory(f"{self.url}/{entry.path} is a directory")
        with self._lock:
            if entry.path not in self._blobs:
                key = CacheKey(self.model, entry.path)
                self._blobs[entry.path] = self._wrap(key, self._blob(self._files[entry.path]))
            return self._blobs[entry.path]

    def check(self) -> None:
        """Raises the failure, if there is one."""
        failure = self.failure
        if failure is not None:
            raise failure

    def fail(self, failure: HubfsError) -> None:
        """Nothing of this source may be served any more. Only the first failure counts."""
        with self._lock:
            if self._failure is not None:
                return
            self._failure = failure
        _log.error("%s cannot be served any more: %s", self.handle, failure)
        if self._on_failure is not None:
            self._on_failure(self)

    def _blob(self, obj: GcsObject) -> Blob:
        blob: Blob = GcsBlob(self._client, obj)
        if obj.crc32c is not None:
            blob = ChecksummedBlob(blob, obj.crc32c, BLOCK_SIZE_BYTES)
        return _FailingBlob(blob, self)

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
        return item


class _FailingBlob:
    """`blob`, whose damage fails the whole source, and which fails with it."""

    def __init__(self, blob: Blob, source: BucketSource) -> None:
        self._blob = blob
        self._source = source

    @property
    def key(self) -> str:
        return self._blob.key

    @property
    def size_bytes(self) -> int:
        return self._blob.size_bytes

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        self._source.check()
        try:
            data = self._blob.read_at(offset_bytes, size_bytes)
        except (Damaged, Stale) as error:
            self._source.fail(error)
            raise
        self._source.check()  # else the cache, dropped meanwhile, would be given a block of what failed
        return data


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


def _tree(url: str, files: Mapping[str, GcsObject], directories: Iterable[str]) -> dict[str, Entry]:
    """All entries by path, sorted, those of the directories on the way included. Raises `Damaged`."""
    listed = [Entry(path, EntryKind.DIRECTORY) for path in directories]
    listed += [Entry(path, EntryKind.FILE, obj.size_bytes) for path, obj in files.items()]
    entries: dict[str, Entry] = {}
    for listed_entry in listed:
        if not _is_path(listed_entry.path):
            raise Damaged(f"the object {listed_entry.path!r} below {url}/ has a name that is no path: refused")
        for entry in with_parents(listed_entry):
            if entries.setdefault(entry.path, entry).kind is not entry.kind:
                raise Damaged(f"{url}/{entry.path} is a file and a directory at once; no file system can show that")
    return dict(sorted(entries.items()))


def _is_path(name: str) -> bool:
    """Whether an object of this name, relative to the model, can be an entry."""
    return {"", ".", ".."}.isdisjoint(name.split("/")) and "\0" not in name and _is_text(name)


def _is_text(name: str) -> bool:
    """Whether `name` has a spelling in bytes: a JSON text can hold half a surrogate pair."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _from_item(bucket: str, prefix: str, item: Mapping[str, Any]) -> GcsObject:
    """The object that an item of an index describes. Raises `KeyError`, `TypeError`, `ValueError`."""
    obj = GcsObject(
        bucket, item["name"], item["size_bytes"], item["generation"], crc32c=item["crc32c"], md5=item["md5"]
    )
    if obj.name != prefix + item["path"]:
        raise ValueError(f"the object {obj.name!r} cannot be at {item['path']!r}")
    if type(obj.size_bytes) is not int or obj.size_bytes < 0 or type(obj.crc32c) not in (int, type(None)):
        raise TypeError(f"the size or the checksum of {obj.name!r} is not a number")
    if not (obj.generation.isascii() and obj.generation.isdecimal()):  # it becomes part of a query
        raise ValueError(f"the generation of {obj.name!r} is not a number")
    return obj
