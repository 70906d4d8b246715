"""What is known of models across restarts: their entries, as JSON beside their blocks."""

import contextlib
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from hubfs.cache.layout import CacheLayout

_log = logging.getLogger(__name__)

Index = Mapping[str, Any]


class Indexes(Protocol):
    """Keeps indexes by model; see `IndexStore`."""

    def save(self, model: str, index: Index) -> None:
        """Keeps the index of `model`."""
        ...

    def load(self, hub_and_handle: str) -> Index | None:
        """The newest index of a model."""
        ...

    def known(self, hub: str) -> Iterator[str]:
        """The handles of all models of `hub` that have an index."""
        ...

    def save_file(self, model: str, data: bytes) -> None:
        """Keeps the index file of the archive of `model`."""
        ...

    def load_file(self, model: str) -> bytes | None:
        """The index file of the archive of `model`, as it was kept: whoever reads it checks it."""
        ...


class NoIndexes:
    """What there is without a disk: nothing is kept."""

    def save(self, model: str, index: Index) -> None:
        """See `Indexes`."""

    def load(self, hub_and_handle: str) -> Index | None:  # noqa: ARG002 - the protocol's signature
        """See `Indexes`."""
        return None

    def known(self, hub: str) -> Iterator[str]:  # noqa: ARG002 - the protocol's signature
        """See `Indexes`."""
        return iter(())

    def save_file(self, model: str, data: bytes) -> None:
        """See `Indexes`."""

    def load_file(self, model: str) -> bytes | None:  # noqa: ARG002 - the protocol's signature
        """See `Indexes`."""
        return None


class IndexStore:
    """Loads and saves indexes; a broken or unreadable one is as good as none. No state, so no lock."""

    def __init__(self, layout: CacheLayout) -> None:
        self._layout = layout

    def save(self, model: str, index: Index) -> None:
        """Keeps the index of `model` (`<hub>/<handle>@<identity>`), at once or not at all; a failure is logged."""
        self._write(model, self._layout.index(model), json.dumps(index).encode())

    def save_file(self, model: str, data: bytes) -> None:
        """See `Indexes`; at once or not at all; a failure is logged."""
        self._write(model, self._layout.archive_index(model), data)

    def load_file(self, model: str) -> bytes | None:
        """See `Indexes`."""
        try:
            return self._layout.archive_index(model).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("The archive's index of %s is unreadable and is left aside: %s", model, error)
            return None

    def _write(self, model: str, path: Path, data: bytes) -> None:
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            temporary.replace(path)
        except OSError as error:
            _log.warning("The disk cache cannot keep the index of %s: %s", model, error)
            with contextlib.suppress(OSError):
                temporary.unlink()

    def load(self, hub_and_handle: str) -> Index | None:
        """The newest index of a model, whichever its identity."""
        folder, _, version = hub_and_handle.rpartition("/")
        try:
            candidates = sorted(
                self._layout.model(folder).glob(f"{version}@*/index.json"),
                key=lambda path: path.stat().st_mtime,
                reverse=True,
            )
        except OSError:
            return None
        for path in candidates:
            try:
                index = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                _log.warning("The index %s is unreadable and is left aside: %s", path, error)
                continue
            if isinstance(index, dict):
                return index
        return None

    def known(self, hub: str) -> Iterator[str]:
        """The handles of all models of `hub` that have an index."""
        try:
            for model in self._layout.models(hub):
                if self._layout.index(model).exists():
                    yield re.sub(r"@[^/]*$", "", model).removeprefix(hub + "/")
        except OSError as error:
            _log.warning("Cannot list the disk cache: %s", error)
