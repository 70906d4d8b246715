"""An archive that has an index, read again by its spans: what of it is asked for is counted."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hubfs.blobs.blob import Blob
from hubfs.cache.block_cache import BlockCache
from hubfs.cache.memory import MemoryTier
from hubfs.formats.gzip.blob import GzipBlob
from hubfs.formats.index_file import IndexFile
from hubfs.hubs.hub import label_of
from hubfs.model_id import model_name
from hubfs.sources.archive.passes import ArchiveSettings
from hubfs.sources.archive.source import ArchiveSource
from hubfs.sources.archive.spans import ArchiveSpans
from hubfs.testing import ScriptedBlob
from hubfs.waiting import Cancellation
from tests.support.streams import HANDLE, HUB, MIB, URL, Desk, ScriptedStream, archive_source, wrap_by
from tests.support.waiting import eventually

MODEL = model_name(label_of(HUB), HANDLE, "v1")


class Bench:
    """Sources of one archive, and what outlives them: the cache, and the index that was kept."""

    def __init__(self, pool: ThreadPoolExecutor, cache: BlockCache, archive: bytes) -> None:
        self.desk = Desk()
        self.cache = cache
        self.stream: ScriptedStream = self.desk.stream(archive, chunk_bytes=1 << 18)
        self.origin = ScriptedBlob(archive, key="archive")
        self.kept: bytes | None = None
        self.memory_of_spans = MemoryTier(32 * MIB)
        self._pool = pool
        self._cancellation = Cancellation()

    def _keep(self, data: bytes) -> None:
        self.kept = data

    def unpack(self, file: IndexFile) -> Blob:
        if file.gzip is None:
            return self.origin
        return GzipBlob(
            self.origin,
            file.gzip,
            name="it",
            pool=self._pool,
            cancellation=self._cancellation,
            recall=lambda number: self.memory_of_spans.span(MODEL, number),
            keep=lambda number, output: self.memory_of_spans.put_span(MODEL, number, output),
        )

    def collaborators(self, workers: int = 2) -> dict[str, Any]:
        return {
            **self.desk.collaborators(self.stream, self.cache),
            "wrap": wrap_by(self.cache, self._pool, self._cancellation),
            "settings": ArchiveSettings(ahead_bytes=8 * MIB, inflate_workers=workers),
            "spans": ArchiveSpans(MODEL, unpack=self.unpack, load=lambda: self.kept, save=self._keep),
        }

    def source(self, workers: int = 2) -> ArchiveSource:
        return archive_source(HANDLE, URL, MODEL, "v1", **self.collaborators(workers))

    def read_once(self, workers: int = 2) -> ArchiveSource:
        """A source that has seen the whole archive, of which the cache has nothing any more."""
        source = self.source(workers)
        source.entries()
        assert eventually(lambda: self.kept is not None or workers == 0)
        self.cache.drop(MODEL)
        return source
