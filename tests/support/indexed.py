"""An archive that has an index, read again by its spans: what of it is asked for is counted."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hubfs.blobs.blob import Blob
from hubfs.blobs.memory import MemoryBlob
from hubfs.cache.block_cache import BlockCache
from hubfs.cache.memory import MemoryTier
from hubfs.errors import HubfsError
from hubfs.formats.gzip.blob import GzipBlob
from hubfs.formats.index_file import IndexFile
from hubfs.sources.archive.passes import ArchiveSettings
from hubfs.sources.archive.source import ArchiveSource
from hubfs.sources.archive.spans import ArchiveSpans
from hubfs.sources.naming import model_name
from hubfs.waiting import Cancellation
from tests.support.mount import eventually
from tests.support.streams import HANDLE, HUB, MIB, URL, Desk, ScriptedStream, archive_source, wrap_by

MODEL = model_name(HUB, HANDLE, "v1")


class Origin(MemoryBlob):
    """The archive, read by ranges, which are counted; an error is raised instead, once one is set."""

    def __init__(self, data: bytes) -> None:
        super().__init__("archive", data)
        self.ranges: list[range] = []
        self.error: HubfsError | None = None

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        self.ranges.append(range(offset_bytes, offset_bytes + size_bytes))
        if self.error is not None:
            raise self.error
        return super().read_at(offset_bytes, size_bytes)

    @property
    def asked_bytes(self) -> int:
        return sum(map(len, self.ranges))


class Bench:
    """Sources of one archive, and what outlives them: the cache, and the index that was kept."""

    def __init__(self, pool: ThreadPoolExecutor, cache: BlockCache, archive: bytes) -> None:
        self.desk = Desk()
        self.cache = cache
        self.stream: ScriptedStream = self.desk.stream(archive, chunk_bytes=1 << 18)
        self.origin = Origin(archive)
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
