"""Makes a directory of this machine a model, file by file, through a stage beside it."""

import fcntl
import hashlib
import os
import shutil
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from hubfs.commands.fetch.plan import Plan, plan
from hubfs.errors import InvalidConfig, quoted
from hubfs.library.model import Model, Thing, side_by_side
from hubfs.waiting import Cancellation

_STAGE = ".hubfs-fetch-"
"""What is not whole yet is in a directory of such a name: a later fetch finds there what an earlier one finished."""


class Copying:
    """Makes `directory` the files of `model`. `cancellation` ends what waits.

    Files are written below a stage in `directory`, moved out of their parts there once they are whole, and to their
    places at the end: a program sees the whole model, or none. What an earlier fetch of the same bytes finished is not
    asked for again. `copied_bytes` counts what was written, by any thread, under `_lock`.
    """

    def __init__(self, model: Model, directory: Path, cancellation: Cancellation) -> None:
        self._model = model
        self._directory = directory
        self._cancellation = cancellation
        self._stage = directory / f"{_STAGE}{hashlib.sha256(model.source.model.encode()).hexdigest()[:16]}"
        self._whole, self._parts = self._stage / "whole", self._stage / "parts"
        self._lock = threading.Lock()
        self.copied_bytes = 0

    def plan(self) -> Plan:
        """What is missing. Raises `InvalidConfig` for a directory that is something else, or has no room for it."""
        where, model = self._directory, self._model
        if any(path.split("/")[0].startswith(_STAGE) for path in model.things):
            raise InvalidConfig(f"{quoted(model.path.strip('/'))} has a file whose name begins with {_STAGE}: refused")
        if where.is_symlink() or (where.exists() and not where.is_dir()):
            raise InvalidConfig(f"{where} is no directory: name another one")
        staged = _on_disk(self._whole) if self._whole.is_dir() else None
        made = plan(str(where), model.things, _on_disk(where), staged)
        there = next(folder for folder in (where, *where.absolute().parents) if folder.exists())
        free_bytes = shutil.disk_usage(there).free
        if made.size_bytes > free_bytes:
            raise InvalidConfig(
                f"{where} has no room: {made.size_bytes} bytes are missing, and {free_bytes} are free there"
            )
        return made

    def carry_out(self, made: Plan) -> None:
        """Does it. Raises `InvalidConfig`, and what kept a file from being read: what was finished stays for later."""
        with self._staged():
            for path in made.compare:
                self._compare(path)
            shutil.rmtree(self._parts, ignore_errors=True)  # of a fetch that was killed
            self._parts.mkdir()
            numbers = {path: str(at) for at, path in enumerate(made.write)}
            side_by_side(lambda path: self._copy(self._parts / numbers[path], path), made.write, self._cancellation)
            self._model.source.find("")  # raises why nothing of it may be served
            self._move()

    @contextmanager
    def _staged(self) -> Iterator[None]:
        """The stage, for this process alone. One in which nothing was finished goes, and the directories above."""
        above = [folder for folder in (self._directory, *self._directory.parents) if not folder.exists()]
        self._whole.mkdir(parents=True, exist_ok=True)
        held = os.open(self._stage, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InvalidConfig(f"{self._directory} is being fetched by another process just now") from None
            try:
                yield
            finally:
                shutil.rmtree(self._parts, ignore_errors=True)
                with suppress(OSError):
                    if not any(found.is_file() for found in self._whole.rglob("*")):
                        shutil.rmtree(self._stage, ignore_errors=True)
                        for folder in above:
                            folder.rmdir()
        finally:
            os.close(held)

    def _copy(self, part: Path, path: str) -> None:
        """Copies one file, which is whole once it has its name."""
        thing = self._model.things[path]
        with part.open("xb") as file:
            for piece in self._model.pieces(path, self._cancellation):
                with self._writing(path):
                    file.write(piece)
                with self._lock:
                    self.copied_bytes += len(piece)
            with self._writing(path):
                file.flush()
                os.fsync(file.fileno())
        os.utime(part, ns=(thing.time_ns, thing.time_ns))
        (self._whole / path).parent.mkdir(parents=True, exist_ok=True)
        part.rename(self._whole / path)

    @contextmanager
    def _writing(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # no space, by now; a quota; a disk that fails
            raise InvalidConfig(f"{self._directory}/{path} cannot be written: {error.strerror}") from error

    def _compare(self, path: str) -> None:
        """Gives a file that is there the model's time, if it has the model's bytes."""
        time_ns = self._model.things[path].time_ns
        with (self._directory / path).open("rb") as file:
            for piece in self._model.pieces(path, self._cancellation):
                if file.read(len(piece)) != piece:
                    raise InvalidConfig(
                        f"{self._directory} exists, and its '{quoted(path)}' is not the model's: name another "
                        "directory, or delete it"
                    )
        os.utime(self._directory / path, ns=(time_ns, time_ns))

    def _move(self) -> None:
        """Puts everything in its place: a directory of which nothing is there yet, as a whole."""
        for path, thing in self._model.things.items():
            if thing.size_bytes is None:
                (self._whole / path).mkdir(parents=True, exist_ok=True)
        _merge(self._whole, self._directory)
        shutil.rmtree(self._stage)


def _merge(source: Path, target: Path) -> None:
    for found in [*source.iterdir()]:
        there = target / found.name
        if found.is_dir() and there.is_dir():
            _merge(found, there)
        else:
            found.rename(there)


def _on_disk(root: Path) -> Mapping[str, Thing]:
    """What is below a directory, but for stages. Anything that is neither file nor directory has a size of -1."""
    found: dict[str, Thing] = {}
    folders = [root] if root.is_dir() else []
    while folders:
        for one in os.scandir(folders.pop()):
            status, path = one.stat(follow_symlinks=False), Path(one.path)
            inner = str(path.relative_to(root))
            if stat.S_ISDIR(status.st_mode):
                if not inner.startswith(_STAGE):
                    found[inner] = Thing(None)
                    folders.append(path)
            else:
                found[inner] = Thing(status.st_size if stat.S_ISREG(status.st_mode) else -1, status.st_mtime_ns)
    return found
