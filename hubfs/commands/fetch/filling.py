"""Fills the cache with models, or says what it lacks of them."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from hubfs.commands.fetch.mounted import MountedPath, is_below_a_mount
from hubfs.commands.fetch.session import Session, session
from hubfs.commands.fetch.telling import Teller
from hubfs.commands.units import size
from hubfs.errors import InvalidConfig, NoSuchAttribute, NotCached, quoted
from hubfs.library.handles import asked_for
from hubfs.library.model import Model, side_by_side
from hubfs.settings.config import Config
from hubfs.tree.extended_attributes import ATTRIBUTES
from hubfs.waiting import Cancellation

_LOOK_S, _LOOKS = 0.05, 1200
"""The cache counts what it has of a model behind the back of the first that asks: that is waited for up to a minute."""


class Readable(Protocol):
    """Something of a model, to be read whole."""

    @property
    def files(self) -> Sequence[str]:
        """Names for `pieces`."""
        ...

    def pieces(self, path: str, cancellation: Cancellation) -> Iterator[bytes]:
        """The bytes of a file. Raises why they do not come."""
        ...


class Filling:
    """Reads all files of `model` into the cache. `read_bytes` counts them, by any thread, under `_lock`."""

    def __init__(self, model: Readable, cancellation: Cancellation) -> None:
        self._model = model
        self._cancellation = cancellation
        self._lock = threading.Lock()
        self.read_bytes = 0

    def carry_out(self) -> None:
        """Does it. Raises what kept a file from being read."""
        side_by_side(self._read, self._model.files, self._cancellation)

    def _read(self, path: str) -> None:
        for piece in self._model.pieces(path, self._cancellation):
            with self._lock:
                self.read_bytes += len(piece)


def fill_all(config: Config, texts: Sequence[str], tell: Teller) -> None:
    """Has the cache hold everything of these models: handles, and paths below mounts, which the mount fetches.

    A reader of a mount that needs a block first gets it first. Raises `InvalidHandle`, `InvalidConfig` where the cache
    has no room for a model, and what kept one from being read.
    """
    paths, handles = _sorted(texts)
    config, asked = asked_for(config, handles)
    with session(config, tell) as running:
        for path in paths:
            began_s, below = time.monotonic(), MountedPath(path)
            missing_bytes = below.size_bytes - (below.cached_bytes or 0)
            if missing_bytes > 0:
                _fill(running, str(path), below, below.size_bytes)
            tell.done(str(path), str(path), below.size_bytes, missing_bytes, time.monotonic() - began_s)
        for one in asked:
            began_s, model = time.monotonic(), _with_room(config, running.model(one), one.text)
            missing_bytes = model.stored_bytes - cached_bytes(model, running.engine.cancellation)
            if missing_bytes > 0:
                _fill(running, one.text, model, model.size_bytes)
                model.source.find("")  # raises why nothing of it may be served
            tell.done(one.text, str(config.cache_dir), model.size_bytes, missing_bytes, time.monotonic() - began_s)


def _fill(running: Session, what: str, model: Readable, size_bytes: int) -> None:
    filling = Filling(model, running.engine.cancellation)
    running.work(what, filling.carry_out, lambda: filling.read_bytes, size_bytes)


def _with_room(config: Config, model: Model, text: str) -> Model:
    """The model, if the cache can keep all of it. Raises `InvalidConfig`."""
    if config.cache_dir is None:
        raise InvalidConfig("without a disk cache nothing would be kept: leave out --no-disk-cache")
    if model.stored_bytes > config.cache_size_bytes:
        raise InvalidConfig(
            f"{quoted(text)} has {size(model.stored_bytes)}, and the cache may hold {size(config.cache_size_bytes)}: "
            "name a larger --cache-size"
        )
    return model


def check_all(config: Config, texts: Sequence[str], tell: Teller) -> bool:
    """Tells how much of each model is cached; returns whether everything is. Asks no hub. Raises `InvalidHandle`."""
    paths, handles = _sorted(texts)
    config, asked = asked_for(replace(config, offline=True), handles)
    found: list[tuple[str, tuple[int, int] | None]] = []
    with session(config, tell) as running:
        for path in paths:
            below = MountedPath(path)
            there_bytes = below.cached_bytes
            if there_bytes is None:
                raise InvalidConfig(f"--check {path}: this is not the directory of one model")
            found.append((str(path), (there_bytes, below.size_bytes)))
        for one in asked:
            known: tuple[int, int] | None = None
            with suppress(NotCached):
                model = running.model(one)
                known = cached_bytes(model, running.engine.cancellation), model.stored_bytes
            found.append((one.text, known))
        for what, known in found:
            tell.checked(what, known)
    return all(known is not None and known[0] >= known[1] for _, known in found)


def _sorted(texts: Sequence[str]) -> tuple[Sequence[Path], Sequence[str]]:
    """Paths below mounts, and handles. Raises `InvalidConfig` for a path that is neither."""
    paths = {text: Path(text) for text in texts if is_below_a_mount(Path(text))}
    for text in texts:
        if text not in paths and text.startswith(("/", "./", "../")):
            raise InvalidConfig(f"{quoted(text)} is not below a mount of hubfs")
    return [*paths.values()], [text for text in texts if text not in paths]


def cached_bytes(model: Model, cancellation: Cancellation) -> int:
    """How many bytes of a model the cache has. Raises `Cancelled`, and `InvalidConfig` for one that is not counted."""
    for _ in range(_LOOKS):
        with suppress(NoSuchAttribute):  # not counted yet
            return int(model.tree.attribute(model.path, f"{ATTRIBUTES}cached_bytes"))
        cancellation.sleep(_LOOK_S)
    raise InvalidConfig(f"what the cache has of {quoted(model.path.strip('/'))} is still being counted: try again")
