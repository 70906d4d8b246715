"""A model that is a list of files: a bucket's objects, or files with a URL of their own."""

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from hubfs.blobs.blob import Blob
from hubfs.blobs.checksums import SHA256, Checksum, ChecksummedBlob, Failure
from hubfs.blobs.stamp import UNDATED, Stamp
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, BlockCache, CacheKey, cached_block
from hubfs.cache.memory import MemoryTier
from hubfs.errors import Damaged, EntryNotFound, HubfsError, IsADirectory, quoted
from hubfs.formats import names
from hubfs.formats.limits import MAX_FILE_SIZE_BYTES
from hubfs.model_id import ModelId, blob_name, model_name
from hubfs.sources.shared_files import SharedFile, SharedFiles
from hubfs.sources.source import ROOT, Entry, EntryKind, Extent, Form, key_of

_log = logging.getLogger(__name__)

MAX_ENTRIES = 400_000
"""More files and directories are refused: they are kept in memory. A bucket's listing has at most 200,000 objects."""

MAX_NAMES_BYTES = 64 << 20
"""More bytes in all names together are refused, too."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a model, as its hub describes it.

    `pin` names the bytes: an object's URL with its generation, an ETag, a hash. Where a host names no version of its
    bytes, `lasting` is False and the pin is this reading's own. `open` gives the blob, whose key is the pin; it asks
    nobody before the first read. `checksum` is what the hub tells of the bytes beforehand; a blob that is `Announcing`
    tells it later. `stamp`: replicas may tell other dates of the same bytes.
    """

    size_bytes: int
    pin: str
    open: Callable[[], Blob] = field(repr=False, compare=False)
    checksum: Checksum | None = None
    stamp: Stamp = field(default=UNDATED, compare=False)
    lasting: bool = True


@dataclass(frozen=True)
class Manifest:
    """All files of a model at `url`, by path, and the `directories` that the hub lists besides those on the way."""

    url: str
    form: Form
    files: Mapping[str, RemoteFile]
    directories: Sequence[str] = ()

    @property
    def identity(self) -> str:
        """Names the bytes of the model: equal for equal pins."""
        text = "\0".join(sorted(file.pin for file in self.files.values()))
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]

    @property
    def lasting(self) -> bool:
        """Whether the pins say later that the bytes are still the same: else nothing is kept beyond this reading."""
        return all(file.lasting for file in self.files.values())

    def to_json(self, model: ModelId) -> dict[str, Any]:
        """What the cache keeps of the model's files, for `from_json`. It says nothing secret."""
        entries = [{"path": path, "kind": EntryKind.DIRECTORY.value} for path in self.directories]
        entries += [_item(path, file) for path, file in self.files.items()]
        return {
            "handle": str(model),
            "url": self.url,
            "form": self.form.value,
            "identity": self.identity,
            "entries": sorted(entries, key=lambda item: str(item["path"])),
        }

    @classmethod
    def from_json(
        cls, model: ModelId, kept: Mapping[str, Any], opener: Callable[[str, str, int], Callable[[], Blob]]
    ) -> "Manifest":
        """The manifest that `to_json` described. `opener` gives `RemoteFile.open` for a path, a pin and a size.

        Raises `Damaged` for what `to_json` would not have written for `model`. `opener` may raise `ValueError`.
        """
        try:
            items = kept["entries"]
            manifest = cls(
                _text(kept["url"]),
                Form(kept["form"]),
                {item["path"]: _file(item, opener) for item in items if item["kind"] == EntryKind.FILE.value},
                [_text(item["path"]) for item in items if item["kind"] != EntryKind.FILE.value],
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Damaged(f"the cache's index of {model} is malformed: {error!r}") from error
        if any(kept.get(key) != value for key, value in manifest.to_json(model).items()):
            raise Damaged(f"the cache's index of {model} contradicts itself")
        return manifest


def _item(path: str, file: RemoteFile) -> dict[str, Any]:
    checksum = None if file.checksum is None else [file.checksum.algorithm, file.checksum.value]
    item = {"path": path, "kind": EntryKind.FILE.value, "size_bytes": file.size_bytes, "pin": file.pin}
    return item | {"checksum": checksum} | file.stamp.to_json()


def _file(item: Mapping[str, Any], opener: Callable[[str, str, int], Callable[[], Blob]]) -> RemoteFile:
    """The file that an item describes. Raises `KeyError`, `TypeError`, `ValueError`."""
    path, pin, size_bytes = _text(item["path"]), _text(item["pin"]), item["size_bytes"]
    if type(size_bytes) is not int or size_bytes < 0:
        raise ValueError(f"the size of {path!r} is none")
    checksum = None if item["checksum"] is None else Checksum(*map(_text, item["checksum"]))
    return RemoteFile(size_bytes, pin, opener(path, pin, size_bytes), checksum, Stamp.from_json(item))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    value.encode()  # a JSON text can hold half a surrogate pair: ValueError
    return value


Wrap = Callable[[CacheKey, ChecksummedBlob], Blob]
"""Puts retries and the cache around the blob of a file. Fetches nothing."""

OnFailure = Callable[["FilesSource"], None]
"""Told of a source that failed for good."""


class FilesSource:
    """The model whose files are those of `manifest`; `hub` is the hub's name in the cache.

    A file that is damaged, or no longer the one that was listed, is a failure of the whole model for good:
    `on_failure` is called once, when it is noticed, and should drop what the cache keeps of `model`. Checksums are
    verified, with those blocks that `cache` has already; `behind` carries out later what need not be done by a reader.
    Where the host names no version of its bytes, a block that is fetched again must be what it was.

    Every file has one blob for life, so that all who open it share what `wrap` puts around it. A file whose sha256 the
    hub lists has one blob in `shared_files` for all versions of the model that are there, and one place in the cache
    for all that ever are: docs/decisions/shared-blobs.md. `_lock` guards `_blobs` and `_joined`; `wrap` and
    `RemoteFile.open` are called under it and fetch nothing. Raises `Damaged` when the files cannot be one tree.
    """

    complete = True  # the manifest said everything
    came_bytes = to_come_bytes = 0
    streams = False

    def __init__(
        self,
        hub: str,
        model: ModelId,
        manifest: Manifest,
        wrap: Wrap,
        on_failure: OnFailure | None = None,
        *,
        cache: BlockCache | None = None,
        shared_files: SharedFiles | None = None,
        behind: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self.handle = model
        self.url = manifest.url
        self.form = manifest.form
        self.identity = manifest.identity
        self.model = model_name(hub, model, self.identity)
        self._manifest = manifest
        self._files = manifest.files
        sizes_bytes = {path: file.size_bytes for path, file in self._files.items()}
        self.extent = Extent(len(sizes_bytes), sum(sizes_bytes.values()))
        self._entries = tree_of(self.url, sizes_bytes, manifest.directories)
        kept_in: dict[str, None] = {}
        for path, file in self._files.items():
            if file.checksum is not None and file.checksum.algorithm == SHA256:
                name = blob_name(self.model, file.checksum.value, file.size_bytes)
                self._entries[path] = replace(self._entries[path], kept_in=name, kept_as=file.checksum.value)
                kept_in[name] = None
        self.shared: Sequence[str] = [*kept_in]
        stamps = (file.stamp for file in self._files.values())
        self._newest = max(stamps, key=lambda stamp: (stamp.made_s or 0, stamp.tag), default=UNDATED)
        self._wrap = wrap
        self._on_failure = on_failure
        self._cache: BlockCache = cache or MemoryTier(0)
        self._behind = behind
        self._shared_files = shared_files or SharedFiles(self._cache.drop)
        self._lock = threading.Lock()
        self._blobs: dict[str, Blob] = {}
        self._joined: dict[str, SharedFile] = {}
        self._failure = Failure(self._failed)

    def to_index(self) -> dict[str, Any]:
        """What the cache keeps of the model, for `Manifest.from_json`."""
        return self._manifest.to_json(self.handle)

    def _blob(self, entry: Entry) -> Blob:
        file, key = self._files[entry.path], key_of(self, entry)

        def wrapped(blob: Blob, failure: Failure) -> Blob:
            checksummed = ChecksummedBlob(
                blob,
                file.checksum,
                BLOCK_SIZE_BYTES,
                failure=failure,
                pinned=self._manifest.lasting,
                has=partial(self._cache.has, key),
                recall=lambda index: cached_block(self._cache, key, index, file.size_bytes),
                behind=self._behind,
            )
            return self._wrap(key, checksummed)

        if not entry.kept_in:
            return wrapped(file.open(), self._failure)
        shared = self._shared_files.join(key, file.pin, file.open, wrapped, self._failure)
        self._joined[entry.path] = shared
        return shared.blob

    @property
    def failure(self) -> HubfsError | None:
        """Why nothing of this source may be served any more; it does not recover."""
        return self._failure.error

    def await_end(self, patience_s: float) -> None:
        """Waits for nothing, since it is complete."""

    def find(self, path: str) -> Entry:
        """The entry at `path`. Never waits. Raises `EntryNotFound`, and the failure of the source."""
        self._failure.check()
        if not path:
            return ROOT
        try:
            return self._entries[path]
        except KeyError:
            raise EntryNotFound(f"{self.url}/ holds no {path!r}") from None

    def entries(self) -> Sequence[Entry]:
        """All entries, directories included, without the root; sorted by path. Never waits."""
        self._failure.check()
        return [*self._entries.values()]

    def stamp(self, path: str) -> Stamp:
        """When the entry at `path` was made, by its origin: of a directory, the newest of the model's. Never raises."""
        entry = self._entries.get(path, ROOT)
        return self._newest if entry.kind is EntryKind.DIRECTORY else self._files[path].stamp

    def open(self, entry: Entry) -> Blob:
        """The blob of a file: the same one every time. Raises `EntryNotFound`, `IsADirectory`."""
        if self.find(entry.path).kind is EntryKind.DIRECTORY:
            raise IsADirectory(f"{self.url}/{entry.path} is a directory")
        with self._lock:
            if entry.path not in self._blobs:
                self._blobs[entry.path] = self._blob(self._entries[entry.path])
            return self._blobs[entry.path]

    def _failed(self, failure: HubfsError) -> None:
        _log.error("%s cannot be served any more: %s", self.handle, failure)
        if self._on_failure is not None:
            self._on_failure(self)


def tree_of(url: str, sizes_bytes: Mapping[str, int], directories: Iterable[str] = ()) -> dict[str, Entry]:
    """All entries by path, sorted: files with their sizes, and the directories named or on the way to them.

    Raises `Damaged` for names that are no paths, sizes that are none, what is a file and a directory at once, and more
    than `MAX_ENTRIES`, or `MAX_NAMES_BYTES`: a few thousand deep names make millions of directories.
    """
    listed = [Entry(path, EntryKind.DIRECTORY) for path in directories]
    listed += [Entry(path, EntryKind.FILE, size_bytes) for path, size_bytes in sizes_bytes.items()]
    entries: dict[str, Entry] = {}
    names_bytes = 0
    for entry in listed:
        if not is_path(entry.path):
            raise Damaged(f"'{quoted(entry.path)}' below {url}/ is a name that is no path: refused")
        if not 0 <= entry.size_bytes <= MAX_FILE_SIZE_BYTES:
            raise Damaged(f"{url}/{entry.path} has an impossible size: {entry.size_bytes} bytes")
        new = entry
        while new.path and new.path not in entries:
            entries[new.path] = new
            names_bytes += len(new.path)
            new = Entry(new.path.rpartition("/")[0], EntryKind.DIRECTORY)
        for one in (entry, new):  # what is above the first that was known was looked at before
            if one.path and entries[one.path].kind is not one.kind:
                raise Damaged(f"{url}/{one.path} is a file and a directory at once; no file system can show that")
        if len(entries) > MAX_ENTRIES or names_bytes > MAX_NAMES_BYTES:
            raise Damaged(
                f"{url}/ has too many files and directories, or too long names: at most {MAX_ENTRIES}, and "
                f"{MAX_NAMES_BYTES} bytes of names, are taken"
            )
    return {path: entries[path] for path in sorted(entries)}  # a third of the time of sorting both


def is_path(name: str) -> bool:
    """Whether a file of this name, relative to the model, can be an entry, and has a URL, which is UTF-8."""
    return names.is_path(name) and _is_text(name)


def _is_text(name: str) -> bool:
    """Whether `name` is UTF-8: a JSON text can hold half a surrogate pair."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
