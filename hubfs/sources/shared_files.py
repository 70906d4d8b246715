"""Files that several versions of a model have: one blob for all of them."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakSet, WeakValueDictionary

from hubfs.blobs.blob import Blob, WrappedBlob
from hubfs.blobs.checksums import Failure
from hubfs.blobs.retry import Permanent
from hubfs.cache.block_cache import CacheKey
from hubfs.errors import Stale

Open = Callable[[], Blob]


class _FromAny(WrappedBlob):
    """A file by the address of one version of a model; once that has gone from its hub, by the address of another.

    `openers` are all that are known, by the pin of the file there. `_lock` guards `_blob` and `_tried`; blobs are
    opened under it, and never read.
    """

    def __init__(self, pin: str, openers: dict[str, Open]) -> None:
        super().__init__(openers[pin]())
        self._openers = openers
        self._lock = threading.Lock()
        self._tried = {pin}

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes at an offset. Raises as the blob of the last address does."""
        blob = self._blob
        try:
            return blob.read_at(offset_bytes, size_bytes)
        except (Permanent, Stale):
            if not self._is_elsewhere(blob):
                raise
        return self.read_at(offset_bytes, size_bytes)

    def _is_elsewhere(self, gone: Blob) -> bool:
        """Whether there is another address than the one of the blob `gone`, which is gone."""
        with self._lock:
            if self._blob is gone:
                left = [pin for pin in [*self._openers] if pin not in self._tried]
                if not left:
                    return False
                self._tried.add(left[0])
                self._blob = self._openers[left[0]]()
            return True


@dataclass(frozen=True, eq=False)
class SharedFile:
    """A file by its content: its `blob`, and who has it: the failures of `models`, and the `openers` of the file."""

    blob: Blob
    models: WeakSet[Failure]
    openers: dict[str, Open]


class SharedFiles:
    """The files of a mount's models that are kept by content, each as long as a model has it.

    A file that turns out to be damaged fails every model that has it before a reader is told, and `drop` takes what the
    cache keeps of the file alone: it is told the `model` of the file's key.

    `_lock` guards `_files`, and who has each of them; it is taken after the lock of a `FilesSource`.
    """

    def __init__(self, drop: Callable[[str], None]) -> None:
        self._drop = drop
        self._lock = threading.Lock()
        self._files: WeakValueDictionary[CacheKey, SharedFile] = WeakValueDictionary()

    def join(
        self, key: CacheKey, pin: str, opener: Open, wrap: Callable[[Blob, Failure], Blob], model: Failure
    ) -> SharedFile:
        """The file that the cache knows by `key`, and that `opener` opens where its bytes are named `pin`.

        The first who asks has its blob wrapped, which fetches nothing. `model` fails with the file.
        """
        models: WeakSet[Failure] = WeakSet()

        def holders() -> list[Failure]:
            """The models that have the file; from now on another blob stands for it."""
            with self._lock:
                file = self._files.get(key)
                if file is not None and file.models is models:
                    del self._files[key]
                return [*models]

        with self._lock:
            file = self._files.get(key)
            if file is None:
                openers = {pin: opener}
                failure = Failure(lambda _: self._drop(key.model), holders)
                self._files[key] = file = SharedFile(wrap(_FromAny(pin, openers), failure), models, openers)
            file.models.add(model)
            file.openers[pin] = opener
            return file
