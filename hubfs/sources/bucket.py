"""Models that a bucket holds uncompressed: every object is a file."""

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hubfs.blobs.blob import Blob
from hubfs.blobs.checksummed import ChecksummedBlob
from hubfs.blobs.gcs import GcsBlob, GcsClient, GcsObject
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES
from hubfs.errors import Damaged, EntryNotFound, IsADirectory, ModelNotFound, NotFound
from hubfs.hub.handle import Handle
from hubfs.hub.resolver import Form
from hubfs.sources.source import Entry, EntryKind

Wrap = Callable[[str, Blob], Blob]
"""Puts retries and the cache around the blob of the entry at a path. Fetches nothing."""


class BucketSource:
    """The model `handle` at `url` (`gs://bucket/prefix`); see `Source`. Knows every entry from the start.

    `files` are its objects by path. `directories` are the paths that the store lists as directories; those that lead
    to a file need not be among them. Raises `Damaged` when these cannot be one tree.

    Every entry has one blob for life, so that all who open it share what `wrap` puts around it. `_lock` guards
    `_blobs`; `wrap` is called under it, and takes no lock that is held while calling here.
    """

    def __init__(
        self,
        client: GcsClient,
        handle: Handle,
        url: str,
        *,
        files: Mapping[str, GcsObject],
        directories: Iterable[str],
        wrap: Wrap,
    ) -> None:
        self._client = client
        self._handle = handle
        self._url = url
        self._files = files
        self._entries = _tree(url, files, directories)
        self._identity = _identity(files.values())
        self._wrap = wrap
        self._lock = threading.Lock()
        self._blobs: dict[str, Blob] = {}

    @classmethod
    def list(cls, client: GcsClient, handle: Handle, location_url: str, wrap: Wrap) -> "BucketSource":
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
        return cls(client, handle, url, files=files, directories=directories, wrap=wrap)

    @classmethod
    def from_index(cls, client: GcsClient, handle: Handle, index: Mapping[str, Any], wrap: Wrap) -> "BucketSource":
        """The source that `to_index` described; asks nobody. Raises `Damaged` for an index that is not as written."""
        try:
            url, bucket, prefix = _location(index["url"])
            files, directories = {}, []
            for item in index["entries"]:
                if EntryKind(item["kind"]) is EntryKind.FILE:
                    files[item["path"]] = _from_item(bucket, prefix, item)
                else:
                    directories.append(item["path"])
            source = cls(client, handle, url, files=files, directories=directories, wrap=wrap)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Damaged(f"the kept index of {handle} cannot be used: {error!r}") from error
        if any(index.get(key) != value for key, value in source.to_index().items()):
            raise Damaged(f"the kept index of {handle} cannot be used: it contradicts itself")
        return source

    def to_index(self) -> dict[str, Any]:
        """What `from_index` needs, JSON-able."""
        return {
            "url": self.url,
            "form": self.form.value,
            "identity": self.identity,
            "entries": [self._item(entry) for entry in self.entries()],
        }

    @property
    def handle(self) -> Handle:
        """As given."""
        return self._handle

    @property
    def url(self) -> str:
        """`gs://bucket/prefix`, without a slash at the end."""
        return self._url

    @property
    def form(self) -> Form:
        """Always uncompressed."""
        return Form.UNCOMPRESSED

    @property
    def identity(self) -> str:
        """A hash over the name and the generation of every object."""
        return self._identity

    @property
    def complete(self) -> bool:
        """True: the listing said everything, and blobs verify what they read."""
        return True

    def find(self, path: str) -> Entry:
        """See `Source`; never waits."""
        if not path:
            return Entry("", EntryKind.DIRECTORY)
        try:
            return self._entries[path]
        except KeyError:
            raise EntryNotFound(f"{self.url}/ holds no {path!r}") from None

    def entries(self) -> Sequence[Entry]:
        """See `Source`; never waits."""
        return list(self._entries.values())

    def open(self, entry: Entry) -> Blob:
        """The blob of a file: the same one every time. Raises `EntryNotFound`, `IsADirectory`."""
        if self.find(entry.path).kind is EntryKind.DIRECTORY:
            raise IsADirectory(f"{self.url}/{entry.path} is a directory")
        with self._lock:
            if entry.path not in self._blobs:
                self._blobs[entry.path] = self._wrap(entry.path, self._blob(self._files[entry.path]))
            return self._blobs[entry.path]

    def _blob(self, obj: GcsObject) -> Blob:
        blob = GcsBlob(self._client, obj)
        return blob if obj.crc32c is None else ChecksummedBlob(blob, obj.crc32c, BLOCK_SIZE_BYTES)

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
    above: set[str] = set()
    for path in directories:
        above |= {path, *_parents(url, path)}
    for path in files:
        above.update(_parents(url, path))
    for path in sorted(above & files.keys()):
        raise Damaged(f"{url}/{path} is a file and a directory at once; no file system can show that")
    entries = [Entry(path, EntryKind.DIRECTORY) for path in above]
    entries += [Entry(path, EntryKind.FILE, obj.size_bytes) for path, obj in files.items()]
    return {entry.path: entry for entry in sorted(entries, key=lambda entry: entry.path)}


def _parents(url: str, path: str) -> Iterable[str]:
    """The directories that `path` lies in. Raises `Damaged` for what is no relative path."""
    segments = path.split("/")
    if not {"", ".", ".."}.isdisjoint(segments) or "\0" in path or not _is_text(path):
        raise Damaged(f"the object {path!r} below {url}/ has a name that is no path: refused")
    return ["/".join(segments[:depth]) for depth in range(1, len(segments))]


def _is_text(path: str) -> bool:
    """Whether `path` has a spelling in bytes: a JSON text can hold half a surrogate pair."""
    try:
        path.encode()
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
