"""What is known of models across restarts: their entries, as JSON beside their blocks."""

import contextlib
import logging
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from hubfs.cache.disk.files import NO_FILE, read_whole, write_whole
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.sealed_json import checksum_of, seal, unseal

_log = logging.getLogger(__name__)

_END, _MAGIC = struct.Struct("<8sI"), b"HUBFSFOR"
"""What is behind an archive's index in the cache: that it is this model's."""

MOST_BYTES = 256 << 20
"""No index is larger."""

Index = Mapping[str, Any]


class Indexes(Protocol):
    """Keeps indexes by model; see `IndexStore`."""

    @property
    def keeps(self) -> bool:
        """Whether indexes are kept on a disk."""
        ...

    def save(self, model: str, index: Index) -> None:
        """Keeps the index of `model`."""
        ...

    def load(self, hub_and_handle: str) -> Index | None:
        """The newest index of a model."""
        ...

    def save_file(self, model: str, data: bytes) -> None:
        """Keeps the index file of the archive of `model`."""
        ...

    def load_file(self, model: str) -> bytes | None:
        """The index file of the archive of `model`, as it was kept: its reader checks it."""
        ...


class IndexStore:
    """Loads and saves indexes, each with a checksum that names its model. No state, so no lock.

    A broken or unreadable one is as good as none, and so is one of another model, or of another version of hubfs.
    Without a `layout` there is no disk, and nothing is kept.
    """

    def __init__(self, layout: CacheLayout | None) -> None:
        self._layout = layout

    @property
    def keeps(self) -> bool:
        """Whether there is a disk."""
        return self._layout is not None

    def save(self, model: str, index: Index) -> None:
        """Keeps the index of `model` (`<hub>/<handle>@<identity>`), at once or not at all; a failure is logged."""
        self._write(model, CacheLayout.index, seal("index", model, index))

    def save_file(self, model: str, data: bytes) -> None:
        """Keeps the index file of the archive of `model`. At once or not at all; a failure is logged."""
        self._write(model, CacheLayout.archive_index, data + _END.pack(_MAGIC, checksum_of(model, data)))

    def load_file(self, model: str) -> bytes | None:
        """The index file of the archive of `model`, as it was kept."""
        try:
            whole = self._whole(model, CacheLayout.archive_index)
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("The archive's index of %s is unreadable and is left aside: %s", model, error)
            return None
        data = whole[: -_END.size]
        if whole[len(data) :] == _END.pack(_MAGIC, checksum_of(model, data)):
            return data
        _log.warning("The archive's index of %s is not what was written, and is left aside", model)
        return None

    def _whole(self, model: str, place: Callable[[CacheLayout, str], Path]) -> bytes:
        """Raises OSError."""
        if self._layout is None:
            raise FileNotFoundError
        return read_whole(place(self._layout, model), MOST_BYTES)

    def _write(self, model: str, place: Callable[[CacheLayout, str], Path], data: bytes) -> None:
        if self._layout is None:
            return
        try:
            path = place(self._layout, model)
            try:
                write_whole(path, data, self._layout.models_root)
            except OSError as error:
                if error.errno not in NO_FILE:
                    raise
                self._layout.discard(path)
                write_whole(path, data, self._layout.models_root)
        except OSError as error:
            _log.warning("The disk cache cannot keep the index of %s: %s", model, error)

    def load(self, hub_and_handle: str) -> Index | None:
        """The newest index of a model, whichever its identity."""
        for model in self._candidates(hub_and_handle):
            index = self.of(model)
            if index is not None:
                return index
        return None

    def of(self, model: str) -> Index | None:
        """The index of this very model (`<hub>/<handle>@<identity>`)."""
        try:
            return unseal("index", model, self._whole(model, CacheLayout.index))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _log.warning("The index of %s is left aside: %s", model, error)
            return None

    def _candidates(self, hub_and_handle: str) -> list[str]:
        """The names, with identities, under which the model has an index, the newest first."""
        if self._layout is None:
            return []
        folder, _, version = hub_and_handle.rpartition("/")
        found = []
        with contextlib.suppress(OSError), os.scandir(self._layout.model(folder)) as beside:
            for model in (f"{folder}/{each.name}" for each in beside if each.name.startswith(f"{version}@")):
                with contextlib.suppress(OSError):
                    found.append((self._layout.index(model).lstat().st_mtime, model))
        return [model for _, model in sorted(found, reverse=True)]

    def known(self, hub: str) -> Iterator[str]:
        """The handles of all models of `hub` that have an index."""
        if self._layout is None:
            return
        try:
            for model in self._layout.models(hub):
                if self._layout.has_index(model):
                    yield _without_identity(model).removeprefix(hub + "/")
        except OSError as error:
            _log.warning("Cannot list the disk cache: %s", error)


def _without_identity(model: str) -> str:
    folder, slash, name = model.rpartition("/")
    return folder + slash + name.partition("@")[0]
