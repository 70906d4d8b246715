"""The models in a cache directory: the door of this room."""

import contextlib
import logging
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hubfs.cache.block_cache import CacheKey, Release
from hubfs.cache.disk.blocks import Blocks
from hubfs.cache.disk.files import delete, make_folder, write_whole
from hubfs.cache.disk.in_use import InUse
from hubfs.cache.disk.indexes import IndexStore
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.room import disk_usage_bytes
from hubfs.model_id import blob_name

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedModel:
    """What is known of a model on disk. `used_at_s` is when it was last used, seconds since the epoch.

    `index_bytes` of `size_bytes` are what makes an archive cheap to read again without its blocks; 0 if nothing does.
    `in_use`: a process holds it. `pinned`: it is never evicted.
    """

    model: str
    size_bytes: int
    used_at_s: float
    index_bytes: int = 0
    in_use: bool = False
    pinned: bool = False


@dataclass(frozen=True)
class Verified:
    """How many blocks of a file are right, and how many were not: these are gone, and are fetched again."""

    key: CacheKey
    right: int
    damaged: int


class DiskStore(Blocks):
    """What a cache directory has of models, for all who work on it: the disk tier, commands.

    A model is named `<hub>/<handle>@<identity>`. Any number of processes may work on one directory: the block maps say
    which blocks there are, and locks on files say which models are in use.
    """

    def __init__(self, layout: CacheLayout) -> None:
        super().__init__(layout)
        self._in_use = InUse(layout)

    def models(self) -> Iterator[str]:
        """All models that have a directory. Raises OSError."""
        return self.layout.models()

    def facts(self, model: str) -> CachedModel | None:
        """What is known of a model; None if it is not there. Its cost grows with the model's files."""
        try:
            in_use, used_at_s = self._in_use.look(model)
            size_bytes = disk_usage_bytes(self.layout.model(model))
            return CachedModel(model, size_bytes, used_at_s, self._index_bytes(model), in_use, self._is_pinned(model))
        except OSError:
            return None

    def _index_bytes(self, model: str) -> int:
        try:
            paths = self.layout.archive_index(model), self.layout.index(model)
            return sum(path.stat().st_blocks * 512 for path in paths)
        except FileNotFoundError:
            return 0  # one without the other is of no use

    def shared_by(self, model: str) -> Iterator[str]:
        """What keeps files of a model by their content, beside the model, as far as its index tells."""
        index = IndexStore(self.layout).of(model) or {}
        for entry in index.get("entries", ()):
            match entry:
                case {"checksum": ["sha256", str(sha256)], "size_bytes": int(size_bytes)}:
                    yield blob_name(model, sha256, size_bytes)

    def cached_bytes(self, model: str) -> int | None:
        """The sum of the model's blocks; None if that is not counted yet. Asking never reads more than a few files."""
        return self._counts.cached_bytes(model)

    def verify(self, model: str) -> Iterator[Verified]:
        """Reads every block of a model, file by file; what is corrupt is taken back. Is no use of the model.

        Raises OSError.
        """
        for key in self.layout.files(model):
            indexes = [record.block_index for record in self.records(key)]
            right = sum(self.read(key, index) is not None for index in indexes)
            yield Verified(key, right, len(indexes) - right)

    def hold(self, model: str) -> Release:
        """Keeps every process from evicting or removing `model`, until the release."""
        return self._in_use.hold(model)

    def touch(self, model: str) -> None:
        """The model was used just now."""
        with contextlib.suppress(OSError):
            os.utime(self.layout.in_use(model))

    def pin(self, model: str) -> None:
        """From now on no process evicts the model, of whatever identity, whether or not it is there yet.

        Raises OSError.
        """
        write_whole(self.layout.pin(model), b"", self.layout.root)

    def unpin(self, model: str) -> None:
        """Ends a pin. Raises OSError."""
        self.layout.pin(model).unlink(missing_ok=True)

    def _is_pinned(self, model: str) -> bool:
        try:
            return self.layout.pin(model).exists()
        except OSError:
            return False

    def remove(self, model: str, *, blocks_only: bool = False) -> bool:
        """Takes a model away, or its blocks, pinned or not. False if a process holds it: then nothing is taken."""
        with self._in_use.idle(model) as idle:
            if not idle:
                return False
            free = self._take_away(model, whole=not blocks_only)
        free()  # may take seconds: who wants to hold the model meanwhile is not to wait
        return True

    def drop(self, model: str, *, blocks_only: bool = False) -> None:
        """Takes a model away, or its blocks, though others hold it: they are damaged."""
        self._take_away(model, whole=not blocks_only)()

    def clear_the_way(self, model: str) -> None:
        """Takes away what lies in the place of the model's directories and files. Raises OSError."""
        folder = self.layout.model(model)
        for above in (*reversed(folder.parents), folder):
            is_below = above != self.layout.models_root and above.is_relative_to(self.layout.models_root)
            if is_below and (above.is_symlink() or not above.is_dir()):
                self.layout.discard(above)
        self.drop(model, blocks_only=True)

    def _take_away(self, model: str, *, whole: bool) -> Callable[[], None]:
        """Renames a model away, or its blocks, so that they vanish at once; what is returned deletes them."""
        graves: list[Path] = []
        try:
            folders = [self.layout.model(model)] if whole else [*self.layout.block_folders(model)]
            for folder in folders:
                grave = self.layout.trash / uuid.uuid4().hex
                try:
                    make_folder(self.layout.trash, self.layout.root)  # somebody may have tidied up
                    folder.rename(grave)
                    graves.append(grave)
                except FileNotFoundError:
                    pass
                except OSError as error:  # a full disk may have no room for a name; what may be damaged must go
                    _log.warning("The disk cache cannot drop %s at once: %s", model, error)
                    graves.append(folder)
        except OSError as error:
            _log.warning("The disk cache cannot drop %s: %s", model, error)
        self._counts.dropped(model)
        if whole and graves:
            self._in_use.forget(model)
            with contextlib.suppress(OSError):  # up to the first that is not empty
                for folder in self.layout.model(model).parents:
                    if folder == self.layout.models_root:
                        break
                    folder.rmdir()

        def free() -> None:
            for grave in graves:
                delete(grave)

        return free
