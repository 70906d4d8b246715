"""What sources have in common whose entries are all known from the start."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from hubfs.blobs.blob import Blob
from hubfs.blobs.stamp import UNDATED, Stamp
from hubfs.blobs.wrapper import WrappedBlob
from hubfs.cache.block_cache import CacheKey
from hubfs.errors import Damaged, EntryNotFound, HubfsError, IsADirectory, Stale, quoted
from hubfs.formats import names
from hubfs.formats.limits import MAX_FILE_SIZE_BYTES
from hubfs.hubs.resolver import Form
from hubfs.model_id import ModelId
from hubfs.sources.naming import model_name
from hubfs.sources.source import ROOT, Entry, EntryKind, Extent

_log = logging.getLogger(__name__)

MAX_ENTRIES = 400_000
"""More files and directories are refused: they are kept in memory. A bucket's listing has at most 200,000 objects."""

MAX_NAMES_BYTES = 64 << 20
"""More bytes in all names together are refused, too."""

Wrap = Callable[[CacheKey, "FailingBlob"], Blob]
"""Puts retries and the cache around the blob of an entry. Fetches nothing."""

OnFailure = Callable[[Any], None]
"""Told of a source that failed for good."""


class ListedSource:
    """The model `handle` of `hub` at `url`, whose entries are `entries`; see `Source`. `blob_of` makes a file's blob.

    `stamp_of` tells a file's.

    A file that is damaged, or no longer the one that was listed, is a failure of the whole model for good:
    `on_failure` is called once, when it is noticed, and should drop what the cache keeps of `model`.

    Every entry has one blob for life, so that all who open it share what `wrap` puts around it. `_lock` guards
    `_blobs` and `_failure`; `wrap` and `blob_of` are called under it and fetch nothing, `on_failure` is not.
    """

    form: ClassVar[Form]
    complete = True  # the listing said everything
    streams = False

    def __init__(
        self,
        hub: str,
        handle: ModelId,
        url: str,
        identity: str,
        *,
        entries: Mapping[str, Entry],
        stamp_of: Callable[[str], Stamp] = lambda _: UNDATED,
        blob_of: Callable[[str], Blob],
        wrap: Wrap,
        on_failure: OnFailure | None,
    ) -> None:
        self.handle = handle
        self.url = url
        self.identity = identity
        self.model = model_name(hub, handle, identity)
        sizes_bytes = [entry.size_bytes for entry in entries.values() if entry.kind is EntryKind.FILE]
        self.extent = Extent(len(sizes_bytes), sum(sizes_bytes))
        self._entries = entries
        self._stamp_of = stamp_of
        stamps = (stamp_of(entry.path) for entry in entries.values() if entry.kind is EntryKind.FILE)
        self._newest = max(stamps, key=lambda stamp: (stamp.made_s or 0, stamp.tag), default=UNDATED)
        self._blob_of = blob_of
        self._wrap = wrap
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._blobs: dict[str, Blob] = {}
        self._failure: HubfsError | None = None

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

    def stamp(self, path: str) -> Stamp:
        """See `Source`: of a directory, the newest of the model's; also of a source that failed."""
        entry = self._entries.get(path, ROOT)
        return self._newest if entry.kind is EntryKind.DIRECTORY else self._stamp_of(path)

    def open(self, entry: Entry) -> Blob:
        """The blob of a file: the same one every time. Raises `EntryNotFound`, `IsADirectory`."""
        if self.find(entry.path).kind is EntryKind.DIRECTORY:
            raise IsADirectory(f"{self.url}/{entry.path} is a directory")
        with self._lock:
            if entry.path not in self._blobs:
                blob = FailingBlob(self._blob_of(entry.path), self)
                self._blobs[entry.path] = self._wrap(CacheKey(self.model, entry.path), blob)
            return self._blobs[entry.path]

    def check(self) -> None:
        """Raises the failure, if there is one."""
        failure = self.failure
        if failure is not None:
            raise failure.with_traceback(None)  # raised again and again, it would keep every frame it passed

    def fail(self, failure: HubfsError) -> None:
        """Nothing of this source may be served any more. Only the first failure counts."""
        with self._lock:
            if self._failure is not None:
                return
            self._failure = failure
        _log.error("%s cannot be served any more: %s", self.handle, failure)
        if self._on_failure is not None:
            self._on_failure(self)


class FailingBlob(WrappedBlob):
    """`blob`, whose damage fails the whole source, and which fails with it."""

    def __init__(self, blob: Blob, source: ListedSource) -> None:
        super().__init__(blob)
        self._source = source

    @property
    def failed(self) -> bool:
        """Whether the source has failed."""
        return self._source.failure is not None

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """See `Blob`. Raises the failure, too."""
        self._source.check()
        try:
            data = self._blob.read_at(offset_bytes, size_bytes)
        except (Damaged, Stale) as error:
            self._source.fail(error)
            raise
        self._source.check()
        return data


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
