"""What is loaded: two models with seeded random weights, made once, and their archives."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.support import models, tensorflow

_PROGRAM = Path(__file__).with_name("bert.py")


@dataclass(frozen=True)
class Model:
    """What to make: a directory, and an archive of it. Both are made when they are first asked for."""

    name: str
    handle: str
    make: Callable[[], Path]
    pack: Callable[[Path], Path]

    @property
    def kaggle(self) -> str:
        """Its handle at Kaggle."""
        publisher, name, version = self.handle.split("/")
        return f"{publisher}/{name}/tensorFlow2/{name}/{version}"

    @cached_property
    def directory(self) -> Path:
        """Its files."""
        return self.make()

    @cached_property
    def archive(self) -> Path:
        """The same as a .tar.gz."""
        return self.pack(self.directory)

    @property
    def files(self) -> list[str]:
        """Paths below `directory`, in the order of their names."""
        return sorted(str(path.relative_to(self.directory)) for path in self.directory.rglob("*") if path.is_file())

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum((self.directory / name).stat().st_size for name in self.files)

    @property
    def archive_bytes(self) -> int:
        """Of the archive."""
        return self.archive.stat().st_size


BERT = Model(
    "BERT base",
    "bench/bert/1",
    lambda: models.kept("bench-bert", _save_bert),
    lambda directory: _archive(directory, saved_model_last=True),
)
"""438 MB of variables, one of them 94 MB. Its archive has saved_model.pb last: nothing can begin before the end."""

RESNET50 = Model(
    "ResNet50", "bench/resnet50/1", models.resnet50, lambda directory: _archive(directory, saved_model_last=False)
)
"""104 MB. Its archive has saved_model.pb first."""


def tiny(place: Path) -> Model:
    """A few KB of files shaped like a SavedModel, for listings; made below `place`."""

    def make() -> Path:
        model = place / "model"
        (model / "variables").mkdir(parents=True)
        for name in ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"):
            (model / name).write_bytes(name.encode() * 50)
        return model

    return Model("tiny", "bench/tiny/1", make, lambda directory: models.pack(directory, place / "tiny.tar.gz"))


def _save_bert(target: Path) -> None:
    tensorflow.TensorFlow(target.parent).run(_PROGRAM, target)


def _archive(directory: Path, *, saved_model_last: bool) -> Path:
    """Packed by tar and gzip -6, as people publish models: matches and Huffman blocks as they meet them there."""

    def pack(target: Path) -> None:
        members = [path.relative_to(directory) for path in directory.rglob("*")]
        members.sort(key=lambda path: ((path.name == "saved_model.pb") == saved_model_last, str(path)))
        plain: list[str | Path] = [
            "tar",
            "-C",
            directory,
            "--no-recursion",
            "--owner=0",
            "--group=0",
            "--mtime=@0",
            "-cf",
            "-",
            ".",
        ]
        with target.open("wb") as archive, subprocess.Popen([*plain, *members], stdout=subprocess.PIPE) as tar:
            subprocess.run(["gzip", "-6", "-n"], stdin=tar.stdout, stdout=archive, check=True)
        if tar.returncode:
            raise RuntimeError(f"tar ended with status {tar.returncode}")

    return models.kept(f"{directory.name.removeprefix('bench-')}-gzip6.tar.gz", pack)
