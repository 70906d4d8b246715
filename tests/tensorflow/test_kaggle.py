"""Models of Kaggle straight from the mount, by the programs that such models are for: as from the files themselves."""

import hashlib
import json
import pickle
import random
import struct
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.files import files
from tests.support.kaggle import KaggleStandIn
from tests.support.kinds import FACE_DETECTION, tflite_models, tflite_outputs
from tests.support.models import basic_pitch, kept
from tests.support.mount import Machine, Mount, mounted
from tests.support.tensorflow import TensorFlow

pytestmark = [pytest.mark.mounted, pytest.mark.tensorflow, pytest.mark.timeout(600)]

SAVED_MODEL = "spotify/basic-pitch/tensorFlow2/basic-pitch/1"
LITE = "google/face-detection/tfLite/short-range/1"
WEIGHTS = "keras/dense/keras/small/1"
TORCH = "acme/dense/pyTorch/small/1"

KERAS_WEIGHTS = Path(__file__).parents[1] / "support" / "keras_weights.py"
STORAGES = {str(number): random.Random(number).randbytes(size) for number, size in enumerate((400_000, 4096, 12))}


def weights(tensorflow: TensorFlow) -> Path:
    """What Keras saves, in a directory."""

    def save(target: Path) -> None:
        target.mkdir()
        tensorflow.run(KERAS_WEIGHTS, "save", target / "model.weights.h5")

    return kept("keras-weights", save) / "model.weights.h5"


def write_as_torch(target: Path) -> None:
    """A file as `torch.save` lays it out. PyTorch itself is not installed: the pickle holds what torch's would name.

    A zip without compression: `data.pkl`, `byteorder`, the storages as `data/N`, each of which begins at a multiple of
    64 bytes by an extra field "FB" before it, `version`, and `.data/serialization_id`.
    """
    members = {
        "data.pkl": pickle.dumps({f"layer.{number}": len(data) for number, data in STORAGES.items()}, protocol=2),
        "byteorder": b"little",
        **{f"data/{number}": data for number, data in STORAGES.items()},
        "version": b"3\n",
        ".data/serialization_id": b"0" * 40,
    }
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            member = zipfile.ZipInfo(f"model/{name}")
            begins = archive.start_dir + 30 + len(member.filename) + 4
            padding = -begins % 64
            member.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
            archive.writestr(member, data)


def held_by(torch_file: Path) -> dict[str, bytes]:
    """What PyTorch's reader takes from such a file, its checksums verified, and the storages once more by offset."""
    with zipfile.ZipFile(torch_file) as archive:
        assert archive.testzip() is None
        found = {member.filename: archive.read(member) for member in archive.infolist()}
        with torch_file.open("rb") as mapped:  # storages are mapped at their offsets
            for member in archive.infolist():
                if "/data/" in member.filename:
                    mapped.seek(member.header_offset + 26)
                    name_bytes, extra_bytes = struct.unpack("<HH", mapped.read(4))
                    begins = member.header_offset + 30 + name_bytes + extra_bytes
                    assert begins % 64 == 0
                    mapped.seek(begins)
                    assert mapped.read(member.file_size) == found[member.filename]
    return found


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory, tensorflow: TensorFlow) -> dict[str, Path]:
    """Handle → a directory with the files of the model."""
    home = tmp_path_factory.mktemp("originals")
    torch = home / "torch"
    torch.mkdir()
    write_as_torch(torch / "model.pt")
    lite = home / "lite"
    lite.mkdir()
    (lite / "1.tflite").write_bytes(tflite_models()[FACE_DETECTION].read_bytes())
    return {SAVED_MODEL: basic_pitch(), LITE: lite, WEIGHTS: weights(tensorflow).parent, TORCH: torch}


@pytest.fixture(scope="module")
def kaggle(originals: dict[str, Path]) -> Iterator[KaggleStandIn]:
    with KaggleStandIn() as kaggle:
        for handle, original in originals.items():
            kaggle.put(handle, files(original))
        yield kaggle


@pytest.fixture
def hub(machine: Machine, tmp_path: Path, kaggle: KaggleStandIn) -> Iterator[Mount]:
    """Cold."""
    with mounted(machine.with_environment(HUBFS_KAGGLE_ENDPOINT=kaggle.url), tmp_path / "kaggle", "kaggle:") as hub:
        yield hub


def test_cp_and_sha256sum_give_the_files_of_every_model(hub: Mount, originals: dict[str, Path], tmp_path: Path) -> None:
    for number, (handle, original) in enumerate(originals.items()):
        subprocess.run(["cp", "-r", hub.path / handle, tmp_path / f"copy-{number}"], check=True)
        assert files(tmp_path / f"copy-{number}") == files(original)
        listed = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files(original).items())
        checked = ["sha256sum", "--check", "--strict", "--quiet"]
        subprocess.run(checked, input=listed, text=True, cwd=hub.path / handle, check=True)


def test_tensorflow_loads_a_saved_model_and_computes_the_same(
    hub: Mount, originals: dict[str, Path], tensorflow: TensorFlow
) -> None:
    (expected,) = tensorflow.outputs(originals[SAVED_MODEL])
    assert expected
    assert tensorflow.outputs(hub.path / SAVED_MODEL) == [expected]


def test_litert_maps_a_model_and_computes_the_same(
    hub: Mount, originals: dict[str, Path], tensorflow: TensorFlow
) -> None:
    expected = tflite_outputs(tensorflow, [originals[LITE] / "1.tflite"])
    assert tflite_outputs(tensorflow, [hub.path / LITE / "1.tflite"]) == expected


def test_h5py_and_keras_read_weights(hub: Mount, originals: dict[str, Path], tensorflow: TensorFlow) -> None:
    paths = [folder / "model.weights.h5" for folder in (originals[WEIGHTS], hub.path / WEIGHTS)]
    for how in ("read", "load"):
        original, read = json.loads(tensorflow.run(KERAS_WEIGHTS, how, *paths)).values()
        assert len(original) == 6, "three kernels, three biases"
        assert read == original


def test_the_zip_reader_of_a_pytorch_file_finds_its_storages(hub: Mount, originals: dict[str, Path]) -> None:
    held = held_by(hub.path / TORCH / "model.pt")
    assert held == held_by(originals[TORCH] / "model.pt")
    assert {name.rpartition("/")[2]: data for name, data in held.items() if "/data/" in name} == STORAGES
