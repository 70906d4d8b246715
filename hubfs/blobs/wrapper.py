"""What blobs have in common that show another blob's bytes."""

from hubfs.blobs.blob import Blob


class WrappedBlob:
    """The base of what wraps a blob: `key` and `size_bytes` are those of `blob`, whose bytes it shows by `read_at`."""

    def __init__(self, blob: Blob) -> None:
        self._blob = blob
        self.key = blob.key
        self.size_bytes = blob.size_bytes
