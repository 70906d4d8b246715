"""What TF Lite and TF.js models have in common: files, each with an HTTP URL of its own."""

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hubfs.blobs.blob import Blob
from hubfs.blobs.http.blob import HttpBlob
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.http.object import HttpObject
from hubfs.blobs.http.probing import in_parallel, is_page
from hubfs.blobs.http.url import redacted, without_secrets
from hubfs.blobs.retry import Permanent
from hubfs.blobs.stamp import UNDATED, Stamp
from hubfs.cache.block_checksums import BlockChecksums, CheckedBlob
from hubfs.errors import Damaged, NotFound, Stale
from hubfs.hubs.resolver import Location
from hubfs.model_id import ModelId
from hubfs.sources.listed import ListedSource, OnFailure, Wrap, tree_of

Locate = Callable[[], Location]
"""Says where the model is, in the form of the source; may ask the hub."""

S = TypeVar("S", bound="HostedSource")


@dataclass(frozen=True)
class HostedFile:
    """A file as the host described it: `key` is that of its blob, which names its bytes."""

    key: str
    size_bytes: int
    stamp: Stamp = field(default=UNDATED, compare=False)  # replicas may tell other dates of the same bytes


class HostedSource(ListedSource):
    """A model that is `files`, by path, whose URLs a subclass makes of the model's; see `ListedSource`.

    `form` is the form of its location. `locate` is asked when a file is read that was not opened before, and that the
    cache does not have. A file that the host then describes otherwise than `files` do is `Stale`.

    `lasting` says whether the host names its bytes by ETags or dates. Where it does not, nobody can tell later that
    they are still the same: an index of such a source must not be kept beyond the source's life. Meanwhile a block that
    is fetched again must be what it was, and the size is what the host said.
    """

    def __init__(
        self,
        client: HttpClient,
        hub: str,
        handle: ModelId,
        url: str,
        *,
        files: Mapping[str, HostedFile],
        locate: Locate,
        wrap: Wrap,
        blobs: Mapping[str, Blob] | None = None,
        lasting: bool = True,
        on_failure: OnFailure | None = None,
    ) -> None:
        super().__init__(
            hub,
            handle,
            url,
            _identity(files.values()),
            entries=tree_of(url, {path: file.size_bytes for path, file in files.items()}),
            stamp_of=lambda path: files[path].stamp,
            blob_of=self._blob_at,
            wrap=wrap,
            on_failure=on_failure,
        )
        self.lasting = lasting
        self._checksums = BlockChecksums(url)
        self._known_blobs = blobs or {}
        self._client = client
        self._files = files
        self._locate = locate

    @staticmethod
    def url_of(location_url: str, path: str) -> str:
        """The URL of the file at `path` in a model at `location_url`."""
        raise NotImplementedError

    @classmethod
    def probe(  # noqa: PYI019 - Self came with Python 3.11
        cls: type[S],
        client: HttpClient,
        hub: str,
        handle: ModelId,
        location: Location,
        *,
        paths: Iterable[str],
        wrap: Wrap,
        on_failure: OnFailure | None = None,
    ) -> S:
        """The source of the files at `paths`; asks the host for the start of each.

        Raises `Damaged` naming a file that is missing, and for names that are no paths or no tree; what
        `HttpClient.probe` raises.
        """
        paths = list(paths)
        url = without_secrets(location.url)
        tree_of(url, dict.fromkeys(paths, 0))  # before anything is asked for by such a name

        def describe(path: str) -> tuple[HttpBlob, HttpObject]:
            file_url = cls.url_of(location.url, path)
            try:
                found = client.probe(file_url, location.headers)
                if not is_page(found):  # the blob is made of the same probe, which is remembered
                    return plain_blob(client, file_url, location.headers), found
            except NotFound as error:
                raise Damaged(f"{handle} lacks its file {path!r}: {error}") from error
            raise Damaged(f"{handle} lacks its file {path!r}: {redacted(file_url)} answered with a page for people")

        described = in_parallel(describe, paths)
        blobs = {path: blob for path, (blob, _) in zip(paths, described, strict=True)}
        files = {
            path: HostedFile(blob.key, blob.size_bytes, found.stamp)
            for path, (blob, found) in zip(paths, described, strict=True)
        }
        return cls(
            client,
            hub,
            handle,
            url,
            files=files,
            locate=lambda: location,
            wrap=wrap,
            blobs=blobs,
            lasting=all(found.pinned for _, found in described),
            on_failure=on_failure,
        )

    @classmethod
    def from_index(  # noqa: PYI019 - as above
        cls: type[S],
        client: HttpClient,
        hub: str,
        handle: ModelId,
        index: Mapping[str, Any],
        wrap: Wrap,
        *,
        locate: Locate,
        on_failure: OnFailure | None = None,
    ) -> S:
        """The source that `to_index` described; asks nobody. Raises `Damaged` for an index that is not as written."""
        try:
            files = {item["path"]: _from_item(item) for item in index["entries"]}
            if not isinstance(index["url"], str):
                raise TypeError("the URL is not a text")  # noqa: TRY301 - as the other flaws are
            source = cls(
                client, hub, handle, index["url"], files=files, locate=locate, wrap=wrap, on_failure=on_failure
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Damaged(f"the cache's index of {handle} is malformed: {error!r}") from error
        if any(index.get(key) != value for key, value in source.to_index().items()):
            raise Damaged(f"the cache's index of {handle} contradicts itself")
        return source

    def to_index(self) -> dict[str, Any]:
        """What `from_index` needs, for JSON. It says nothing secret."""
        return {
            "handle": str(self.handle),
            "url": self.url,
            "form": self.form.value,
            "identity": self.identity,
            "entries": [
                {"path": path, "size_bytes": file.size_bytes, "key": file.key, **file.stamp.to_json()}
                for path, file in sorted(self._files.items())
            ],
        }

    def _blob_at(self, path: str) -> Blob:
        blob = self._known_blobs.get(path)
        if blob is None:
            return _LaterBlob(self._files[path], lambda: self._connect(path))
        return blob if self.lasting else CheckedBlob(blob, path, self._checksums)

    def _connect(self, path: str) -> Blob:
        """The blob of a file that is not known to be still the one that was listed. Raises `Stale` if it is not."""
        location = self._locate()
        try:
            blob = plain_blob(self._client, self.url_of(location.url, path), location.headers)
        except NotFound as error:
            raise Stale(f"{self.handle} had a file {path!r} that is gone: {error}") from error
        if HostedFile(blob.key, blob.size_bytes) != self._files[path]:
            raise Stale(f"{self.handle}: {path!r} changed since the model was found; open it again")
        return blob


def plain_blob(client: HttpClient, url: str, headers: Mapping[str, str]) -> HttpBlob:
    """The file at `url`. Raises `Permanent` where the host sends something else for it, and as `HttpBlob` does.

    Some stores keep files compressed, and send them so to everybody, whatever was asked for: browsers unpack that.
    """
    blob = HttpBlob(client, url, headers)
    if blob.encoding:
        raise Permanent(
            f"{redacted(url)} comes encoded as {blob.encoding}, which was not asked for: its real bytes have no size, "
            "and no ranges; ask the hub's operator to store it as it is"
        )
    return blob


class _LaterBlob:
    """The blob of `file`, which `connect` makes when somebody reads it.

    `_lock` guards `_blob`; `connect` is called without it, perhaps by several readers at once, and any result will do.
    """

    def __init__(self, file: HostedFile, connect: Callable[[], Blob]) -> None:
        self.key = file.key
        self.size_bytes = file.size_bytes
        self._connect = connect
        self._lock = threading.Lock()
        self._blob: Blob | None = None

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        with self._lock:
            blob = self._blob
        if blob is None:
            blob = self._connect()
            with self._lock:
                self._blob = blob
        return blob.read_at(offset_bytes, size_bytes)


def _identity(files: Iterable[HostedFile]) -> str:
    text = "\0".join(sorted(file.key for file in files))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _from_item(item: Mapping[str, Any]) -> HostedFile:
    """The file that an item of an index describes. Raises `KeyError`, `TypeError`, `ValueError`."""
    key, size_bytes = item["key"], item["size_bytes"]
    if type(key) is not str or type(item["path"]) is not str or type(size_bytes) is not int:
        raise TypeError(f"the key, the path or the size of {item['path']!r} is of the wrong type")
    if size_bytes < 0:
        raise ValueError(f"the size of {item['path']!r} is negative")
    return HostedFile(key, size_bytes, Stamp.from_json(item))
