"""A model as a directory of this machine, without a mount: a part of the cache."""

import contextlib
import logging
import os
import shutil
import stat
import uuid
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path

from hubfs.cache.block_cache import Release
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.store import DiskStore
from hubfs.cache.disk.whole import WholeFiles
from hubfs.engine import Engine
from hubfs.errors import InvalidConfig, quoted
from hubfs.library.handles import asked_for
from hubfs.library.model import Model, model_at, side_by_side
from hubfs.settings.config import Config
from hubfs.sources.source import Entry, EntryKind, key_of
from hubfs.waiting import Cancellation

_log = logging.getLogger(__name__)

_VERIFYING_S = 3600.0
"""The bound for the checksums of a file."""

_held: list[Release] = []
"""Of models whose directories this process was told of: none is evicted before the process ends."""


def local_directory(config: Config, handle: str, having: Sequence[str] = ()) -> Path:
    """The directory of the whole model of `handle`: verified, in the cache, and of this process until it ends.

    Its files are the cache's own, by hard links, so that it takes no room of its own; only files with holes, and what
    the cache does not keep as files, are copied. What the cache has is not fetched again. Raises `InvalidHandle`,
    `InvalidConfig` where the cache cannot keep the model, `ValueError` for a model that has none of `having` in its
    root, and what kept it from being read.
    """
    cache_dir = config.cache_dir
    if cache_dir is None:
        raise InvalidConfig("without a disk cache there is no place for models: leave out no_disk_cache, or name one")
    config, (asked,) = asked_for(config, [handle])
    engine = Engine(config)
    try:
        model = model_at(engine.hubs[asked.hub], asked.path)
        if having and not any(name in model.things for name in having):
            there = sorted(model.things)
            raise ValueError(
                f"{handle} has no {' and no '.join(having)} in its root, but {', '.join(map(quoted, there[:8]))}"
                f"{' …' if there[8:] else ''}"
            )
        if model.stored_bytes > config.cache_size_bytes:
            raise InvalidConfig(
                f"{quoted(handle)} has {model.stored_bytes} bytes, and the cache may hold {config.cache_size_bytes}: "
                "set a larger cache_size, or `hubfs fetch` it into a directory"
            )
        store = DiskStore(CacheLayout(cache_dir))
        _held.append(store.hold(model.source.model))
        return _Making(model, store, engine.cancellation).made()
    finally:
        engine.close()


class _Making:
    """Makes the directory of a model."""

    def __init__(self, model: Model, store: DiskStore, cancellation: Cancellation) -> None:
        self._model = model
        self._layout = store.layout
        self._whole = WholeFiles(store, cancellation)
        self._cancellation = cancellation
        self._folder = store.layout.local(model.source.model)
        self._place = self._folder / "model"

    def made(self) -> Path:
        """The directory. Raises `InvalidConfig` where it cannot be written, and what kept a file from being read."""
        entries = self._model.source.entries()
        missing = [entry for entry in entries if not self._is_there(entry)]
        if missing or not _is_directory(self._place):
            files = [entry.path for entry in missing if entry.kind is EntryKind.FILE]
            _log.info("Reading %d files of %s into the cache", len(files), self._model.path)
            side_by_side(self._read, files, self._cancellation)
            self._model.source.find("")  # raises why nothing of it may be served
            try:
                self._put(self._cleared(entries))
            except OSError as error:
                raise InvalidConfig(f"{error.filename or self._place} cannot be written: {error.strerror}") from error
        return self._place

    def _cleared(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """What is to be put: everything, where something that is no directory lies in the way of one. Raises OSError.

        A symlink that an accident put there may lead anywhere. Another process may have put everything meanwhile.
        """
        missing = [entry for entry in entries if not self._is_there(entry)]
        if not _is_directory(self._folder):
            self._layout.discard(self._folder)
        if _is_directory(self._place) and all(entry.kind is EntryKind.FILE for entry in missing):
            return missing
        self._layout.discard(self._place)
        return entries

    def _read(self, path: str) -> None:
        deque(self._model.pieces(path, self._cancellation), maxlen=0)

    def _is_there(self, entry: Entry) -> bool:
        """Whether an entry is in its place, and its bytes are right as far as the cache knows them."""
        try:
            found = (self._place / entry.path).lstat()
        except OSError:
            return False
        if entry.kind is EntryKind.DIRECTORY:
            return stat.S_ISDIR(found.st_mode)
        return stat.S_ISREG(found.st_mode) and found.st_size == entry.size_bytes and self._is_right(entry, found)

    def _is_right(self, entry: Entry, found: os.stat_result) -> bool:
        """Whether a file is whole and verified; a copy was, when it was made."""
        data = self._layout.data(key_of(self._model.source, entry))
        with contextlib.suppress(OSError):
            if os.path.samestat(data.lstat(), found):
                return self._opened(entry)
        return True

    def _opened(self, entry: Entry) -> bool:
        """Whether the cache has all of a file, and it is right."""
        fd = self._whole.opened(key_of(self._model.source, entry), entry.size_bytes, _VERIFYING_S)
        if fd is not None:
            os.close(fd)
        return fd is not None

    def _put(self, missing: Iterable[Entry]) -> None:
        """Puts entries in their place, the whole directory at once where there is none. Raises OSError."""
        stage = self._folder / uuid.uuid4().hex
        stage.mkdir(mode=0o700, parents=True)
        try:
            for entry in missing:  # sorted: a directory comes before what is in it
                if entry.kind is EntryKind.DIRECTORY:
                    (stage / entry.path).mkdir(mode=0o700, parents=True, exist_ok=True)
                else:
                    self._put_file(entry, stage / entry.path)
            with contextlib.suppress(OSError):  # another process was quicker, or some of it is there
                stage.rename(self._place)
                return
            for entry in missing:
                if entry.kind is EntryKind.FILE:
                    (stage / entry.path).replace(self._place / entry.path)
        finally:
            shutil.rmtree(stage, ignore_errors=True)

    def _put_file(self, entry: Entry, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if entry.sparse is None and entry.size_bytes:
            with contextlib.suppress(OSError):  # the cache keeps it elsewhere, or not
                os.link(self._layout.data(key_of(self._model.source, entry)), path, follow_symlinks=False)
                if self._opened(entry):  # after the link, which is a change of the file: its seal is to know of it
                    return
            path.unlink(missing_ok=True)
        with path.open("xb") as file:
            path.chmod(0o600)
            for piece in self._model.pieces(entry.path, self._cancellation):
                file.write(piece)


def _is_directory(path: Path) -> bool:
    """Whether a directory is there, and no symlink to one."""
    return path.is_dir() and not path.is_symlink()
