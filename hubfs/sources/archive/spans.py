"""Any block of an archive for the price of its spans, once the archive has an index."""

import logging
import threading
from collections.abc import Callable

from hubfs.blobs.blob import Blob
from hubfs.blobs.slice import SliceBlob
from hubfs.blobs.wrapper import WrappedBlob
from hubfs.cache.block_cache import CacheKey
from hubfs.cache.cached_blob import CachedBlob
from hubfs.errors import Damaged
from hubfs.formats.index_file import IndexedMember, IndexFile
from hubfs.sources.archive.recording import placed_entry

_log = logging.getLogger(__name__)

Unpack = Callable[[IndexFile], Blob]
"""Makes the blob of the tar in an archive, whose bytes are fetched and inflated span by span. Fetches nothing."""

Wrap = Callable[[CacheKey, Blob], CachedBlob]
"""Puts the cache around the blob of a file. Fetches nothing."""


Fetched = Callable[[str, int, int], None]
"""Told of bytes that are fetched by spans: the path of the file in the cache, their offset and how many they are."""


class _ToldBlob(WrappedBlob):
    """`blob`, of which `fetched` is told what is read: below the cache that is what is fetched."""

    def __init__(self, blob: Blob, path: str, fetched: Fetched) -> None:
        super().__init__(blob)
        self._path = path
        self._fetched = fetched

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes of the wrapped blob; raises as that does."""
        self._fetched(self._path, offset_bytes, size_bytes)
        return self._blob.read_at(offset_bytes, size_bytes)


class ArchiveSpans:
    """What is stored of the files of an archive, as blobs that can be read anywhere; none before there is an index.

    `load` finds the index file that was kept earlier, if any: it is asked when a block is missing for the first time.
    `save` keeps one. `_lock` guards every field below it in `__init__`; it is held for no I/O.
    """

    def __init__(
        self,
        model: str,
        *,
        unpack: Unpack,
        wrap: Wrap,
        load: Callable[[], bytes | None],
        save: Callable[[bytes], None],
    ) -> None:
        self._model = model
        self._unpack = unpack
        self._wrap = wrap
        self._load = load
        self._save = save

        self._lock = threading.Lock()
        self._looked = False  # whether `load` was asked, or need not be
        self._places: dict[str, IndexedMember] = {}  # every file
        self._tar: Blob | None = None
        self._blobs: dict[str, CachedBlob] = {}

    @property
    def known(self) -> bool:
        """Whether there is an index. May ask `load`."""
        self._look()
        with self._lock:
            return self._tar is not None

    def adopt(self, file: IndexFile) -> None:
        """From now on blocks are read by the spans of `file`, which is kept."""
        self._use(file)
        self._save(file.to_bytes())

    def blob(self, path: str, fetched: Fetched) -> CachedBlob | None:
        """The file at `path`, always the same blob; None where there is no index, or no such file in it.

        `fetched` is told of everything that is fetched of it from then on; the first caller's counts.
        """
        self._look()
        with self._lock:
            if self._tar is None or path not in self._places:
                return None
            if path not in self._blobs:
                place = self._places[path]
                key = CacheKey(self._model, placed_entry(place).entry.kept_path)
                file = SliceBlob(self._tar, place.offset_bytes, place.data_bytes, key=f"{key.model}/{key.path}")
                self._blobs[path] = self._wrap(key, _ToldBlob(file, key.path, fetched))
            return self._blobs[path]

    def look_again(self) -> None:
        """Another daemon may have kept an index since."""
        with self._lock:
            self._looked = self._tar is not None

    def discard(self) -> None:
        """The index is of no use: until there is another, there is none."""
        self._use(None)

    def _look(self) -> None:
        with self._lock:
            looked = self._looked
        if looked:
            return
        # Twice, if two readers come here at once. The first answer counts, also for the second: with a tar each they
        # would fetch each span twice.
        data = self._load()
        file = None
        if data is not None:
            try:
                file = IndexFile.from_bytes(data)
            except Damaged as damage:
                _log.warning("The index of the archive of %s is left aside: %s", self._model, damage)
        self._use(file, found=True)

    def _use(self, file: IndexFile | None, *, found: bool = False) -> None:
        """`found` is what `load` gave: of no use where there is an answer already."""
        tar = self._unpack(file) if file is not None else None
        with self._lock:
            if found and self._looked:
                return
            self._looked = True
            self._tar = tar
            self._places = {
                member.path: member for member in (file.members if file is not None else ()) if not member.is_directory
            }
            self._blobs = {}
