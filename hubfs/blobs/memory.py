"""A blob that is in memory already: control files, and the reference implementation of the contract."""


class MemoryBlob:
    """`data` under `key`."""

    def __init__(self, key: str, data: bytes) -> None:
        self.key = key
        self.size_bytes = len(data)
        self._data = data

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes at an offset; fewer only at the end. Never raises."""
        return self._data[offset_bytes : offset_bytes + size_bytes]
