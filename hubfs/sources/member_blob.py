"""The blob of a file in an archive."""

from collections.abc import Callable

from hubfs.cache.block_cache import CacheKey, blocks_of
from hubfs.cache.cached_blob import slice_blocks
from hubfs.sources.source import Entry


class MemberBlob:
    """Reads whole blocks through `read_block`, which waits for the pass where it must."""

    def __init__(self, cache_key: CacheKey, entry: Entry, read_block: Callable[[Entry, int], bytes]) -> None:
        self._key = f"{cache_key.model}/{cache_key.path}"
        self._entry = entry
        self._read_block = read_block

    @property
    def key(self) -> str:
        """Hub, handle, identity of the archive, and path."""
        return self._key

    @property
    def size_bytes(self) -> int:
        """The member's size."""
        return self._entry.size_bytes

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """See `Blob`; raises what ended the pass, if it ended before these bytes."""
        indexes = blocks_of(offset_bytes, size_bytes, self._entry.size_bytes)
        if not indexes:
            return b""
        blocks = [self._read_block(self._entry, index) for index in indexes]
        return slice_blocks(blocks, indexes.start, offset_bytes, size_bytes)
