"""Files of a model whose way goes away while somebody reads: another way may have the model."""

from collections.abc import Callable
from dataclasses import replace

from hubfs.blobs.blob import Blob, WrappedBlob
from hubfs.blobs.checksums import Checksum, announced_by
from hubfs.errors import AccessDenied, Stale, TimedOut, Unavailable
from hubfs.sources.files import Manifest, RemoteFile

Elsewhere = Callable[[], str]
"""Asks which other way has a model that its own does not give any more; "" for none, and where its own answers."""


def moving(manifest: Manifest, elsewhere: Elsewhere) -> Manifest:
    """The same files. A read that fails is `Stale` if the model is elsewhere: what opens it again finds it there."""
    files = {path: _moving(file, elsewhere) for path, file in manifest.files.items()}
    return replace(manifest, files=files)


def _moving(file: RemoteFile, elsewhere: Elsewhere) -> RemoteFile:
    return replace(file, open=lambda: MovingBlob(file.open(), elsewhere))


class MovingBlob(WrappedBlob):
    """`blob`, of a model that may be elsewhere by the time of a read. Asks only after a read that failed."""

    def __init__(self, blob: Blob, elsewhere: Elsewhere) -> None:
        super().__init__(blob)
        self._elsewhere = elsewhere

    @property
    def checksum(self) -> Checksum | None:
        """The checksum that the store has announced; None before its first reply, and where it says none."""
        return announced_by(self._blob)

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """At most `size_bytes` bytes from `offset_bytes` on. Raises `Stale` where another way has the model."""
        try:
            return self._blob.read_at(offset_bytes, size_bytes)
        except (AccessDenied, TimedOut, Unavailable) as error:
            way = self._elsewhere()
            if not way:
                raise
            raise Stale(f"{error}; the model is read by {way} from now on: open the file again") from error
