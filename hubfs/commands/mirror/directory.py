"""A directory that `hubfs serve` hosts, as a place for models."""

import fcntl
import filecmp
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from hubfs.commands.mirror.place import Found, Product
from hubfs.commands.mirror.provenance import MAX_SIZE_BYTES, SUFFIX, Provenance
from hubfs.errors import Damaged, InvalidConfig
from hubfs.formats.index_file import SUFFIX as INDEX_SUFFIX
from hubfs.hubs.hosted import FOLDER, Hosted
from hubfs.model_id import ModelId

_MARK = ".hubfs-mirror"
"""The folder that makes a directory a mirror: what is not whole yet is below it. No host serves what is there."""


class DirectoryPlace:
    """The directory `root`, in which nothing but a mirror's own may lie: it is empty, or has the mark of a mirror.

    A version appears by one rename.
    """

    takes_archives_alone = False

    def __init__(self, root: Path) -> None:
        self._root = root

    def shown(self, handle: ModelId) -> str:
        """Its path without an ending."""
        return str(self._root / str(handle))

    @contextmanager
    def held(self) -> Iterator[Path]:
        """The mark, which lies on the file system of the models. A directory in which nothing was begun goes again."""
        root, mark = self._root, self._root / _MARK
        if root.is_symlink() and not root.exists():
            raise InvalidConfig(f"{root} is a symlink that leads nowhere: name another directory")
        if root.exists() and not root.is_dir():
            raise InvalidConfig(f"{root} is no directory: name another one")
        made = [folder for folder in (mark, *mark.parents) if not folder.exists()]
        with _told(root):
            if mark in made and root.is_dir() and any(root.iterdir()):
                raise InvalidConfig(f"{root} is not empty, and is no mirror: name another directory")
            mark.mkdir(parents=True, exist_ok=True)
            held = os.open(mark, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InvalidConfig(f"another process is mirroring to {root} just now") from None
            try:
                yield mark
            finally:
                with suppress(OSError):  # something is in it
                    if mark in made and not any(path != mark for path in root.iterdir()):
                        for folder in made:
                            folder.rmdir()
        finally:
            os.close(held)

    def versions(self, name: str) -> Mapping[str, Provenance | None]:
        """The numbers with which names in the folder begin."""
        folder = self._root / name
        with _told(folder):
            found = {entry.partition(".")[0] for entry in _names(folder)}
        return {number: self._provenance(ModelId(name, number)) for number in found if number.isdecimal()}

    def find(self, handle: ModelId) -> Found:
        """What lies there under the name of the version, with whatever ending."""
        folder = (self._root / str(handle)).parent
        with _told(folder):
            names = [name for name in _names(folder) if name.partition(".")[0] == handle.version]
            models = sorted(name for name in names if not name.endswith((SUFFIX, INDEX_SUFFIX)))
            size_bytes = sum(_size_bytes(folder / name) for name in models)
        return Found(tuple(models), size_bytes, self._provenance(handle))

    def is_same(self, handle: ModelId, found: Found, product: Product) -> bool:
        """Reads both."""
        there = (self._root / str(handle)).parent / found.names[0]
        with _told(there):
            return len(found.names) == 1 and _are_same(there, product.path)

    def tell(self, handle: ModelId, provenance: Provenance) -> None:
        """By a rename, too."""
        path = self._file_of(handle)
        aside = self._root / _MARK / path.name
        with _told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            aside.write_bytes(provenance.to_bytes())
            _synced(aside)
            aside.replace(path)

    def put(self, hosted: Hosted, product: Product, sent: Callable[[int], None]) -> None:
        """By a rename of what lies on the same file system; the index before the archive."""
        target = self._root / f"{hosted.handle}{hosted.ending}"
        with _told(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if product.index is not None:
                _synced(product.index)
                product.index.replace(target.with_name(target.name + INDEX_SUFFIX))
            if hosted.ending != FOLDER:
                _synced(product.path)
            product.path.rename(target)
            _synced(target.parent)
        sent(product.size_bytes)

    def _file_of(self, handle: ModelId) -> Path:
        return self._root / f"{handle}{SUFFIX}"

    def _provenance(self, handle: ModelId) -> Provenance | None:
        path = self._file_of(handle)
        with _told(path):
            try:
                with path.open("rb") as file:
                    data = file.read(MAX_SIZE_BYTES + 1)
            except (FileNotFoundError, NotADirectoryError):
                return None
        if len(data) > MAX_SIZE_BYTES:
            raise Damaged(f"{path} has more than {MAX_SIZE_BYTES} bytes, and is no provenance of a model")
        return Provenance.from_bytes(data, str(path))


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidConfig(f"{error.filename or path} cannot be used: {error.strerror}") from error


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except FileNotFoundError:
        return []


def _size_bytes(path: Path) -> int:
    files = [path] if not path.is_dir() else [one for one in path.rglob("*") if not one.is_dir()]
    return sum(one.lstat().st_size for one in files)


def _are_same(one: Path, other: Path) -> bool:
    if one.is_dir() and other.is_dir():
        names = sorted(entry.name for entry in one.iterdir())
        return names == sorted(entry.name for entry in other.iterdir()) and all(
            _are_same(one / name, other / name) for name in names
        )
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


def _synced(path: Path) -> None:
    """Has the disk keep a file, or the names in a directory, before others are told of it."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
