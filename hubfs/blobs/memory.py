"""A blob that is in memory already: control files, and the reference implementation of the contract."""


class MemoryBlob:
    """`data` under `key`."""

    def __init__(self, key: str, data: bytes) -> None:
        self._key = key
        self._data = data

    @property
    def key(self) -> str:
        """As given."""
        return self._key

    @property
    def size_bytes(self) -> int:
        """The length of the data."""
        return len(self._data)

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes at an offset; fewer only at the end. Never raises."""
        return self._data[offset_bytes : offset_bytes + size_bytes]
