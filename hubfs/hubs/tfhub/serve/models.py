"""A directory of models, read as a hub: which handles it has, and where their files are."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hubfs.errors import EntryNotFound, ModelNotFound
from hubfs.formats.packing.listing import Listing, is_hidden, list_members
from hubfs.hubs.tfhub.names.handle import (
    Kind,
    is_name,
    is_name_segment,
    is_publisher,
    is_typed,
    is_version,
    kind_of,
    possible_models,
)
from hubfs.model_id import ModelId
from hubfs.waiting import Cancellation, Remembered

_log = logging.getLogger(__name__)
_ARCHIVE_SUFFIX = ".tar.gz"
_LITE_SUFFIX = ".tflite"
_LITE_KINDS = (Kind.LITE, Kind.CORAL)
_TFJS_MANIFEST = "model.json"
_REMEMBERED_S = 3.0
_FOLDERS_REMEMBERED = 1000
_WALK_TIMEOUT_S = 60.0

WHOLE = {
    Kind.MODEL: "tf-hub-format=compressed",
    Kind.TFJS: "tfjs-format=compressed",
    Kind.LITE: "lite-format=tflite",
    Kind.CORAL: "lite-format=tflite",
}
"""The query that the protocol downloads a whole model by."""


@dataclass(frozen=True)
class Model:
    """A model of the directory. `path` is the directory of its files; when `packed`, its archive or its one file."""

    handle: ModelId
    path: Path
    packed: bool


class ModelDirectory:
    """`<publisher>/<name…>/<version>/` directories and `<publisher>/<name…>/<version>.tar.gz` archives below `root`.

    A directory that holds nothing is no model; where both exist, the directory is served. A TF Lite or Coral model is
    `<version>/model.tflite`, or the only other `.tflite` file there, or `<version>.tflite`. The directory of a TF.js
    model holds `model.json`; one with a number for a name that does not is a part of a longer name.

    A model that appears while serving is seen at once (rename a version into place: half of one is served as half), but
    for `below`, which walks the whole directory, and remembers what it found for a few seconds. The target of a symlink
    outside of `root` does not exist here, nor do hidden files of a model, unless `hidden`. All methods read the disk. A
    caller that comes while the directory is walked waits for that walk.
    """

    def __init__(self, root: Path, *, hidden: bool = False, timer: Callable[[], float] = time.monotonic) -> None:
        self.root = root
        self._hidden = hidden
        self._found: Remembered[tuple[str, ...], list[ModelId]] = Remembered(
            Cancellation(), ttl_s=_REMEMBERED_S, timeout_s=_WALK_TIMEOUT_S, most=_FOLDERS_REMEMBERED, timer=timer
        )

    def holds(self, path: Path) -> bool:
        """Whether `path`, every symlink followed, is inside of `root`."""
        # The root is resolved each time: it may be a symlink that a deployment switches.
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.root))

    def find(self, handle: ModelId) -> Model:
        """The model. Raises `ModelNotFound`, which says what there is instead."""
        model = self._model(handle)
        if model is None:
            versions = ", ".join(other.version for other in self.versions(handle.name))
            hint = f"it has version {versions}" if versions else "it has no version of it"
            raise ModelNotFound(f"this hub has no model {handle}: {hint}")
        return model

    def at(self, segments: Sequence[str]) -> tuple[Model, Sequence[str]] | None:
        """The model that a path begins with, and what follows; None if it may be a model's name without a version.

        Raises `InvalidHandle` for what cannot be either, and `ModelNotFound` as `find` does.
        """
        candidates = possible_models(segments)
        for handle, rest in candidates:
            if kind_of(handle.name) is Kind.MODEL:
                return self.find(handle), rest
            model = self._model(handle)
            if model is not None:
                return model, rest
        return None

    def file(self, model: Model, segments: Sequence[str]) -> Path:
        """The file at a path in a model's directory. Raises `EntryNotFound`."""
        path = model.path.joinpath(*segments)
        inside = not model.packed and {"", ".", ".."}.isdisjoint(segments) and "\0" not in "".join(segments)
        inside = inside and (self._hidden or not any(map(is_hidden, segments)))
        if inside and self.holds(path) and _is_file(path):
            return path
        raise EntryNotFound(f"this hub has no file {'/'.join(segments)} in {model.handle}")

    def versions(self, name: str) -> list[ModelId]:
        """The versions of the model `name` (`google/spice`), oldest first, by number."""
        suffix = _LITE_SUFFIX if kind_of(name) in _LITE_KINDS else _ARCHIVE_SUFFIX
        texts = {entry.removesuffix(suffix) for entry in _names(self.root / name)}
        handles = (ModelId(name, text) for text in texts if is_version(text))
        return sorted(filter(self._model, handles), key=_age)

    def below(self, segments: Sequence[str] = ()) -> list[ModelId]:
        """All models whose names begin with `segments`, by name, oldest version first; as a few seconds ago.

        Raises `TimedOut` if the directory takes too long to walk.
        """
        folder = tuple(segments)
        return self._found.get(folder, lambda: sorted(self._walk(folder, frozenset()), key=_age))

    def listing(self, model: Model) -> Listing:
        """What a model's directory holds. Raises `Stale`, `Unavailable`."""
        return list_members(model.path, self.holds, hidden=self._hidden)

    def _model(self, handle: ModelId) -> Model | None:
        path = self.root / str(handle)
        names = _names(path) if self.holds(path) else []
        packed = path.with_name(handle.version + _ARCHIVE_SUFFIX)
        if kind_of(handle.name) in _LITE_KINDS:
            lite = [name for name in names if name.endswith(_LITE_SUFFIX)]
            if f"model{_LITE_SUFFIX}" in lite:
                packed = path / f"model{_LITE_SUFFIX}"
            else:
                packed = path / lite[0] if len(lite) == 1 else path.with_name(handle.version + _LITE_SUFFIX)
        elif names and (kind_of(handle.name) is Kind.MODEL or _TFJS_MANIFEST in names):
            return Model(handle, path, packed=False)
        return Model(handle, packed, packed=True) if self.holds(packed) and _is_file(packed) else None

    def _walk(self, segments: tuple[str, ...], ancestors: frozenset[str]) -> Iterator[ModelId]:
        directory = self.root.joinpath(*segments)
        real = os.path.realpath(directory)
        if real in ancestors or not self.holds(directory):  # a symlink to where we came from, or out of here
            return
        named = is_name(segments)
        versions = self.versions("/".join(segments)) if named else []
        yield from versions
        roots = {handle.version for handle in versions}
        for name in _names(directory):
            ends = named and is_version(name) and (name in roots or not is_typed(segments))
            if (is_name_segment(name) if segments else is_publisher(name)) and not ends:
                yield from self._walk((*segments, name), ancestors | {real})


def _age(handle: ModelId) -> tuple[str, int, str]:
    return handle.name, int(handle.version), handle.version


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 - false for over-long names; Path raises


def _names(directory: Path) -> list[str]:
    """What is in the directory; nothing, where there is no directory that we may read."""
    try:
        return [path.name for path in directory.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        _log.warning("%s is left out: %s", directory, error.strerror)
        return []
