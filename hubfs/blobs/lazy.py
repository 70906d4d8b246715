"""A blob that is opened when the first byte of it is read."""

from collections.abc import Callable

from hubfs.blobs.blob import Blob
from hubfs.blobs.checksums import Checksum, announced_by
from hubfs.errors import Stale
from hubfs.waiting import Cancellation, SingleFlight

_OPENING_S = 300.0
"""The bound for a reader that waits for another one's opening; that gives up much earlier."""


class LazyBlob:
    """What `open_blob` opens, of which `key` and `size_bytes` are known already.

    It is opened once, for all readers; after an error, by the next read anew. Setting `_opened` is atomic, and only
    the reader that opens does it.
    """

    def __init__(self, key: str, size_bytes: int, open_blob: Callable[[], Blob], cancellation: Cancellation) -> None:
        self.key = key
        self.size_bytes = size_bytes
        self._open_blob = open_blob
        self._opening: SingleFlight[str, Blob] = SingleFlight(cancellation, _OPENING_S)
        self._opened: Blob | None = None

    @property
    def checksum(self) -> Checksum | None:
        """What the store of the opened blob announces; None before it is opened."""
        return announced_by(self._opened)

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes at an offset. Raises what opening raised, too, and `Stale` for another size than was known."""
        blob = self._opened or self._opening.run(self.key, self._open)
        return blob.read_at(offset_bytes, size_bytes)

    def _open(self) -> Blob:
        if self._opened is None:
            blob = self._open_blob()
            if blob.size_bytes != self.size_bytes:
                raise Stale(f"{self.key} has {blob.size_bytes} bytes by now, where it had {self.size_bytes}")
            self._opened = blob
        return self._opened
