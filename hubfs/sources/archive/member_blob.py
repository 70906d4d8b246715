"""The blob of a file in an archive."""

from typing import Protocol

from hubfs.cache.block_cache import CacheKey
from hubfs.sources.source import Entry


class MemberReader(Protocol):
    """Where the bytes come from that are stored of an archive's files."""

    def read(self, entry: Entry, offset_bytes: int, size_bytes: int) -> bytes:
        """Some of what is stored of a file; waits for it where it must."""
        ...

    def prefetch(self, entry: Entry, offset_bytes: int, size_bytes: int) -> int:
        """Begins to fetch what is missing of a byte range; see `Prefetchable`."""
        ...


class MemberBlob:
    """What is stored of a file: `reader` finds it in the cache, in the pass that goes by, or in its spans."""

    def __init__(self, cache_key: CacheKey, entry: Entry, reader: MemberReader) -> None:
        self._key = f"{cache_key.model}/{cache_key.path}"
        self._entry = entry
        self._reader = reader

    @property
    def key(self) -> str:
        """Hub, handle, identity of the archive, and path."""
        return self._key

    @property
    def size_bytes(self) -> int:
        """Without holes."""
        return self._entry.stored_bytes

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """See `Blob`; raises what ended the pass, if it ended before these bytes."""
        return self._reader.read(self._entry, offset_bytes, size_bytes)

    def prefetch(self, offset_bytes: int, size_bytes: int) -> int:
        """See `Prefetchable`. While a pass goes by there is nothing to begin: everything is on its way."""
        return self._reader.prefetch(self._entry, offset_bytes, size_bytes)
