"""What loaders want of a file that is a zip: pure policy."""

from collections.abc import Sequence

from hubfs.blobs.blob import Blob
from hubfs.sources.prefetch.plan import Look, Plan, Stage, Want, Wants, name_of, tail_of
from hubfs.sources.source import Entry

_ENDINGS = (".pt", ".pth", ".ckpt", ".keras", ".npz")
_MAGIC = b"PK\3\4"


class Zip(Plan):
    """A checkpoint of PyTorch, Keras or NumPy was opened: its end, which says what is in it, and then the whole file.

    Not every file of such a name is a zip, and not every reader of the end reads the rest: the rest is wanted once a
    reader went on elsewhere after the end, and the first bytes are a zip's.
    """

    def __init__(self, begun_by: str) -> None:
        super().__init__(begun_by)
        self._tail = range(0)
        self._tail_was_read = False
        self._looked = False

    @classmethod
    def begins(cls, path: str, *, read: bool) -> bool:
        """At its opening."""
        name = name_of(path)
        return not read and (name.endswith(_ENDINGS) or (name.endswith(".bin") and "model" in name))

    def _learn(self, entries: Sequence[Entry]) -> None:
        size_bytes = next(entry.size_bytes for entry in entries if entry.path == self.begun_by)
        self._tail = tail = tail_of(size_bytes)
        wanted = [
            Want(self.begun_by, tail.start, len(tail), Stage.CERTAIN),
            Want(self.begun_by, 0, tail.start, Stage.FOLLOWED),
        ]
        self.wants = Wants(want for want in wanted if want.size_bytes)

    def read(self, path: str, offset_bytes: int, end_bytes: int) -> None:
        """A read elsewhere after one of the end shows that a loader is at work."""
        del path
        if self._tail and end_bytes == self._tail.stop:
            self._tail_was_read = True
        elif self._tail_was_read and offset_bytes < self._tail.start and not self._looked:
            self._looked = True
            self.looks.append(Look(self.begun_by, _is_zip))

    def saw(self, look: Look, seen: object) -> None:
        """Whether the file is a zip."""
        del look
        if seen is True:
            self.stage = Stage.FOLLOWED


def _is_zip(blob: Blob) -> bool:
    return blob.read_at(0, len(_MAGIC)) == _MAGIC
