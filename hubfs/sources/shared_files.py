"""Files that several versions of a model have: one blob for all of them."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakSet, WeakValueDictionary

from hubfs.blobs.blob import Blob
from hubfs.blobs.checksums import Failure
from hubfs.cache.block_cache import CacheKey
from hubfs.errors import HubfsError


@dataclass(frozen=True, eq=False)
class SharedFile:
    """A file by its content: its `blob`, and the failures of the `models` that have it."""

    blob: Blob
    models: WeakSet[Failure]


class SharedFiles:
    """The files of a mount's models that are kept by content, each as long as a model has it.

    A file that turns out to be damaged fails every model that has it, and `drop` takes what the cache keeps of the file
    alone: it is told the `model` of the file's key.

    `_lock` guards `_files`, and the `models` of each; it is taken after the lock of a `FilesSource`.
    """

    def __init__(self, drop: Callable[[str], None]) -> None:
        self._drop = drop
        self._lock = threading.Lock()
        self._files: WeakValueDictionary[CacheKey, SharedFile] = WeakValueDictionary()

    def join(self, key: CacheKey, make: Callable[[Failure], Blob], model: Failure) -> SharedFile:
        """The file that the cache knows by `key`; the first that asks makes its blob, which fetches nothing.

        `model` fails with the file.
        """
        models: WeakSet[Failure] = WeakSet()

        def failed(error: HubfsError) -> None:
            with self._lock:
                file = self._files.get(key)
                if file is not None and file.models is models:
                    del self._files[key]
                told = [*models]
            self._drop(key.model)
            for each in told:
                each.fail(error)

        with self._lock:
            file = self._files.get(key)
            if file is None:
                self._files[key] = file = SharedFile(make(Failure(failed)), models)
            file.models.add(model)
            return file
