"""Any block of an archive for the price of its spans, once the archive has an index."""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

from hubfs.blobs.blob import Blob
from hubfs.blobs.slice import SliceBlob
from hubfs.cache.block_checksums import BlockChecksums, CheckedBlob
from hubfs.errors import Damaged
from hubfs.formats.index_file import IndexFile

_log = logging.getLogger(__name__)

Unpack = Callable[[IndexFile], Blob]
"""Makes the blob of the tar in an archive, whose bytes are fetched and inflated span by span. Fetches nothing."""


class ArchiveSpans:
    """The tar in the archive of `model`, read anywhere; there is none before there is an index.

    `load` finds the index file that was kept earlier, if any: it is asked when a block is missing for the first time.
    `save` keeps one. `checksums` vouch for blocks where the host names no version of the archive (None: it does).

    `_lock` guards every field below it in `__init__`; it is held for no I/O.
    """

    def __init__(
        self,
        model: str,
        *,
        unpack: Unpack,
        load: Callable[[], bytes | None],
        save: Callable[[bytes], None],
        checksums: BlockChecksums | None = None,
    ) -> None:
        self._model = model
        self._unpack = unpack
        self._load = load
        self._save = save
        self._checksums = checksums

        self._lock = threading.Lock()
        self._looked = False  # whether `load` was asked, or need not be
        self._tar: Blob | None = None

    @property
    def known(self) -> bool:
        """Whether there is an index. May ask `load`."""
        return self._look() is not None

    def adopt(self, file: IndexFile) -> None:
        """From now on blocks are read by the spans of `file`, which is kept without its members.

        The one table of members that the cache keeps is the model's index.
        """
        self._use(file)
        self._save(replace(file, members=()).to_bytes())

    def blob(self, kept_path: str, offset_bytes: int, size_bytes: int) -> Blob | None:
        """The file that lies at `offset_bytes` of the tar; None where there is no index.

        `kept_path` is the file's name in the cache. Where there are checksums, the blob is read in whole blocks.
        """
        tar = self._look()
        if tar is None:
            return None
        file = SliceBlob(tar, offset_bytes, size_bytes, key=f"{self._model}/{kept_path}")
        return file if self._checksums is None else CheckedBlob(file, kept_path, self._checksums)

    def look_again(self) -> None:
        """Another daemon may have kept an index since."""
        with self._lock:
            self._looked = self._tar is not None

    def discard(self) -> None:
        """The index is of no use: until there is another, there is none."""
        self._use(None)

    def _look(self) -> Blob | None:
        """The tar, if there is an index."""
        with self._lock:
            if self._looked:
                return self._tar
        # Twice, if two readers come here at once. The first answer counts, also for the second: with a tar each they
        # would fetch each span twice.
        data = self._load()
        file = None
        if data is not None:
            try:
                file = IndexFile.from_bytes(data)
            except Damaged as damage:
                _log.warning("The index of the archive of %s is left aside: %s", self._model, damage)
        return self._use(file, found=True)

    def _use(self, file: IndexFile | None, *, found: bool = False) -> Blob | None:
        """Returns the tar that is read from now on. `found`: `load` gave the file, and an earlier answer counts."""
        tar = self._unpack(file) if file is not None else None
        with self._lock:
            if not (found and self._looked):
                self._looked, self._tar = True, tar
            return self._tar
