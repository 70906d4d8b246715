"""A model that is served out of the cache, and from nowhere else."""

from collections.abc import Sequence

from hubfs.blobs.blob import Blob
from hubfs.blobs.stamp import Stamp
from hubfs.cache.block_cache import BlockCache, CacheKey, block_size_at, blocks_of, slice_blocks
from hubfs.errors import HubfsError, IsADirectory, NotCached
from hubfs.model_id import ModelId
from hubfs.sources.source import Entry, EntryKind, Extent, Form, Source, with_holes


class CachedOnlyBlob:
    """The file `key` of `size_bytes` bytes, as far as `cache` has it. Asks nobody; holds no state."""

    def __init__(self, cache: BlockCache, key: CacheKey, size_bytes: int) -> None:
        self._cache = cache
        self._key = key
        self._size_bytes = size_bytes

    @property
    def key(self) -> str:
        """The model and the path: blocks of another identity are another model's."""
        return f"{self._key.model}/{self._key.path}"

    @property
    def size_bytes(self) -> int:
        """As the model's index says."""
        return self._size_bytes

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """See `Blob`. Raises `NotCached`, which says how much of the file is missing."""
        indexes = blocks_of(offset_bytes, size_bytes, self._size_bytes)
        if not indexes:
            return b""
        blocks = []
        for index in indexes:
            block = self._cache.get(self._key, index)
            if block is None:
                raise self._missing()
            blocks.append(block)
        return slice_blocks(blocks, indexes.start, offset_bytes, size_bytes)

    def _missing(self) -> NotCached:
        every = blocks_of(0, self._size_bytes, self._size_bytes)
        missing = [index for index in every if not self._cache.has(self._key, index)]
        missing_bytes = sum(block_size_at(index, self._size_bytes) for index in missing)
        # None is missing where a block was there and turned out to be damaged: it is gone from now on.
        return NotCached(
            f"{self.key}: {missing_bytes} of {self._size_bytes} bytes ({max(1, len(missing))} of {len(every)} blocks) "
            "are not cached, and hubfs is mounted with --offline: read the file once on a mount without it"
        )


class OfflineSource:
    """The model of `source`, all of whose entries are known, with files out of `cache` alone; see `Source`."""

    def __init__(self, source: Source, cache: BlockCache) -> None:
        self._source = source
        self._cache = cache

    @property
    def handle(self) -> ModelId:
        """See `Source`."""
        return self._source.handle

    @property
    def url(self) -> str:
        """See `Source`."""
        return self._source.url

    @property
    def form(self) -> Form:
        """See `Source`."""
        return self._source.form

    @property
    def identity(self) -> str:
        """See `Source`."""
        return self._source.identity

    @property
    def model(self) -> str:
        """See `Source`."""
        return self._source.model

    @property
    def failure(self) -> HubfsError | None:
        """See `Source`."""
        return self._source.failure

    @property
    def complete(self) -> bool:
        """See `Source`."""
        return self._source.complete

    @property
    def extent(self) -> Extent:
        """See `Source`."""
        return self._source.extent

    @property
    def streams(self) -> bool:
        """See `Source`."""
        return self._source.streams

    def find(self, path: str) -> Entry:
        """See `Source`; never waits."""
        return self._source.find(path)

    def stamp(self, path: str) -> Stamp:
        """See `Source`."""
        return self._source.stamp(path)

    def entries(self) -> Sequence[Entry]:
        """See `Source`; never waits."""
        return self._source.entries()

    def open(self, entry: Entry) -> Blob:
        """See `Source`."""
        found = self.find(entry.path)
        if found.kind is EntryKind.DIRECTORY:
            raise IsADirectory(f"{self.handle}/{entry.path} is a directory")
        stored = CachedOnlyBlob(self._cache, CacheKey(self.model, found.kept_path), found.stored_bytes)
        return with_holes(stored, found)
