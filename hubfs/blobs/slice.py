"""A part of a blob as a blob: a file in a tar."""

from hubfs.blobs.blob import Blob


class SliceBlob:
    """`size_bytes` bytes of `blob`, from `offset_bytes` on, under `key`."""

    def __init__(self, blob: Blob, offset_bytes: int, size_bytes: int, key: str) -> None:
        self._blob = blob
        self._offset_bytes = offset_bytes
        self.size_bytes = size_bytes
        self.key = key

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes at an offset; fewer only at the end. Raises as the blob does."""
        size_bytes = min(size_bytes, self.size_bytes - offset_bytes)
        return self._blob.read_at(self._offset_bytes + offset_bytes, size_bytes) if size_bytes > 0 else b""
