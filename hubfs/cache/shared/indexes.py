"""Indexes on an object store, so that a daemon that never saw a model knows its entries."""

import logging
import time
from collections.abc import Callable

from hubfs.cache.disk.indexes import MOST_BYTES, Index, Indexes
from hubfs.cache.sealed_json import seal, unseal
from hubfs.cache.shared.layout import archive_index_name, index_name
from hubfs.cache.shared.store import RestingStore
from hubfs.errors import HubfsError

_log = logging.getLogger(__name__)

Later = Callable[[str, Callable[[], None]], None]
"""Has something done for a model, once all its blocks that are on their way are stored."""


class SharedIndexes:
    """Indexes on `store`, each checksummed; a broken or unreadable one is as good as none. No state, so no lock.

    With `later` an index is written behind the model's blocks, so that who finds the index finds them, too.
    """

    def __init__(
        self,
        store: RestingStore,
        later: Later = lambda _, action: action(),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._later = later
        self._clock = clock

    def save(self, model: str, index: Index) -> None:
        """Keeps the index of `model`. A failure is logged."""
        self._write(model, index_name(model), seal("shared", model, {"saved_s": self._clock(), "index": index}))

    def newest(self, hub_and_handle: str) -> tuple[str, Index] | None:
        """The newest index of a model, whichever its identity, and the model's whole name."""
        try:
            found = self._store.list(f"indexes/{hub_and_handle}@")
            names = [obj.name for obj in found if obj.size_bytes <= MOST_BYTES]
        except HubfsError as error:
            _log.debug("The shared cache cannot be asked for %s: %s", hub_and_handle, error)
            return None
        models = [name.removeprefix("indexes/").removesuffix(".json") for name in names if name.endswith(".json")]
        indexes = [
            (*read, model)
            for model in models
            if "/" not in model[len(hub_and_handle) :] and (read := self._read(model))
        ]
        if not indexes:
            return None
        _, index, model = max(indexes, key=lambda one: one[0])
        return model, index

    def of(self, model: str) -> Index | None:
        """The index of this very model (`<hub>/<handle>@<identity>`)."""
        read = self._read(model)
        return read and read[1]

    def save_file(self, model: str, data: bytes) -> None:
        """Keeps the index file of the archive of `model`. A failure is logged."""
        self._write(model, archive_index_name(model), data)

    def _write(self, model: str, name: str, data: bytes) -> None:
        def write() -> None:
            try:
                self._store.put(name, data)
            except HubfsError as error:
                _log.debug("The shared cache cannot keep %s: %s", name, error)

        self._later(model, write)

    def load_file(self, model: str) -> bytes | None:
        """The index file of the archive of `model`, as it was kept."""
        try:
            return self._bounded(archive_index_name(model))
        except HubfsError as error:
            _log.debug("The shared cache's archive index of %s cannot be read: %s", model, error)
            return None

    def _bounded(self, name: str) -> bytes | None:
        """The object, unless it is larger than an index: not every store tells before it sends. Raises `HubfsError`."""
        sizes_bytes = [obj.size_bytes for obj in self._store.list(name) if obj.name == name]
        if sizes_bytes and sizes_bytes[0] > MOST_BYTES:
            _log.warning("The shared cache's %s is left aside: it has %d bytes", name, sizes_bytes[0])
        return self._store.get(name) if sizes_bytes and sizes_bytes[0] <= MOST_BYTES else None

    def _read(self, model: str) -> tuple[float, Index] | None:
        """When it was saved, and the index. None for one that is not as it was written."""
        try:
            data = self._bounded(index_name(model))
            if data is None:
                return None
            return _verified(model, data)
        except HubfsError as error:
            _log.debug("The shared cache's index of %s cannot be read: %s", model, error)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            _log.warning("The shared cache's index of %s is left aside: %s", model, error)
        return None


def _verified(model: str, data: bytes) -> tuple[float, Index]:
    """For what `SharedIndexes.save` did not write: what is caught above."""
    whole = unseal("shared", model, data)
    index = whole["index"]
    if not isinstance(index, dict):
        raise ValueError("it is no index")  # noqa: TRY004 - as everything else that is wrong with it
    return float(whole["saved_s"]), index


class CombinedIndexes:
    """`Indexes` here and on the shared store: the local one is asked first, and keeps what the other knew."""

    def __init__(self, local: Indexes, shared: SharedIndexes) -> None:
        self._local = local
        self._shared = shared

    @property
    def keeps(self) -> bool:
        """Whether the local one does."""
        return self._local.keeps

    def save(self, model: str, index: Index) -> None:
        """Keeps the index of `model`."""
        self._local.save(model, index)
        self._shared.save(model, index)

    def load(self, hub_and_handle: str) -> Index | None:
        """The newest index of a model."""
        index = self._local.load(hub_and_handle)
        if index is not None:
            return index
        found = self._shared.newest(hub_and_handle)
        if found is None:
            return None
        self._local.save(*found)
        return found[1]

    def save_file(self, model: str, data: bytes) -> None:
        """Keeps the index file of the archive of `model`."""
        self._local.save_file(model, data)
        self._shared.save_file(model, data)

    def load_file(self, model: str) -> bytes | None:
        """The index file of the archive of `model`, as it was kept."""
        data = self._local.load_file(model)
        if data is None:
            data = self._shared.load_file(model)
            if data is not None:
                self._local.save_file(model, data)
        return data
