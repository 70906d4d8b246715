"""A directory of models, read as a hub: which handles it has, and where their files are."""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hubfs.errors import ModelNotFound
from hubfs.hub.handle import Handle, is_name_segment, is_publisher, is_version

_log = logging.getLogger(__name__)
_ARCHIVE_SUFFIX = ".tar.gz"
_SHORTEST_NAME = 2  # publisher and one name segment


@dataclass(frozen=True)
class Model:
    """A model of the directory. `path` is the directory of its files, or its archive when `packed`."""

    handle: Handle
    path: Path
    packed: bool


class ModelDirectory:
    """`<publisher>/<name…>/<version>/` directories and `<publisher>/<name…>/<version>.tar.gz` archives below `root`.

    A directory that holds nothing is no model; where both exist, the directory is served. Nothing is remembered
    between calls, so what appears while serving is seen at once (rename a version into place: half of one is served
    as half). What a symlink leads to outside of `root` does not exist here. All methods read the disk.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def holds(self, path: Path) -> bool:
        """Whether `path`, every symlink followed, is inside of `root`."""
        # The root is resolved each time: it may be a symlink that a deployment switches.
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.root))

    def find(self, handle: Handle) -> Model:
        """The model. Raises `ModelNotFound`, which says what there is instead."""
        model = self._model(handle)
        if model is None:
            versions = ", ".join(other.version for other in self.versions(handle.publisher, handle.name))
            hint = f"it has version {versions}" if versions else "it has no version of it"
            raise ModelNotFound(f"this hub has no model {handle}: {hint}")
        return model

    def versions(self, publisher: str, name: str) -> list[Handle]:
        """The model's versions, oldest first, by number."""
        texts = {entry.removesuffix(_ARCHIVE_SUFFIX) for entry in _names(self.root / publisher / name)}
        handles = (Handle(publisher, name, text) for text in texts if is_version(text))
        return sorted(filter(self._model, handles), key=_age)

    def below(self, segments: Sequence[str] = ()) -> list[Handle]:
        """All models whose names begin with `segments`, by name, oldest version first."""
        return sorted(self._walk(tuple(segments), frozenset()), key=_age)

    def _model(self, handle: Handle) -> Model | None:
        path = self.root / str(handle)
        if self.holds(path) and _names(path):
            return Model(handle, path, packed=False)
        archive = path.with_name(handle.version + _ARCHIVE_SUFFIX)
        if self.holds(archive) and os.path.isfile(archive):  # noqa: PTH113 - false for over-long names; Path raises
            return Model(handle, archive, packed=True)
        return None

    def _walk(self, segments: tuple[str, ...], ancestors: frozenset[str]) -> Iterator[Handle]:
        directory = self.root.joinpath(*segments)
        real = os.path.realpath(directory)
        if real in ancestors or not self.holds(directory):  # a symlink to where we came from, or out of here
            return
        named = len(segments) >= _SHORTEST_NAME
        if named:
            yield from self.versions(segments[0], "/".join(segments[1:]))
        for name in _names(directory):
            if (is_name_segment(name) if segments else is_publisher(name)) and not (named and is_version(name)):
                yield from self._walk((*segments, name), ancestors | {real})


def _age(handle: Handle) -> tuple[str, str, int, str]:
    return handle.publisher, handle.name, int(handle.version), handle.version


def _names(directory: Path) -> list[str]:
    """What is in the directory; nothing, where there is no directory that we may read."""
    try:
        return [path.name for path in directory.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        _log.warning("%s is left out: %s", directory, error.strerror)
        return []
