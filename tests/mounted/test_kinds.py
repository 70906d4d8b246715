"""Models of the other kinds in a mount: which files they have, which bytes cross the network, and which do not."""

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.files import files, listed
from tests.support.hosted import manifest, put, put_tfjs
from tests.support.http_origin import HttpOrigin
from tests.support.models import pack
from tests.support.mount import Machine, Mount, mounted

pytestmark = pytest.mark.mounted

LITE = "noise/lite-model/ears/2/default/1"
CORAL = "noise/coral-model/eyes/1"
TFJS = "noise/tfjs-model/ears/2/default/1"
TF1 = "noise/words/3"

NOISE = random.Random(7)
TFLITE = b"\x1c\0\0\0TFL3" + NOISE.randbytes(3_000_000)
SHARDS = {f"group1-shard{n}of3.bin": NOISE.randbytes(size) for n, size in ((1, 2_000_000), (2, 2_000_000), (3, 17))}
TFJS_FILES = {"model.json": manifest([*SHARDS][:2], [*SHARDS][2:], format="graph-model"), **SHARDS}
TF1_FILES = {
    "tfhub_module.pb": b"\x08\x03",
    "saved_model.pb": NOISE.randbytes(10_000),
    "assets/words.txt": b"the\nquick\n",
    "variables/variables.index": NOISE.randbytes(300),
    "variables/variables.data-00000-of-00001": NOISE.randbytes(50_000),
}
MODELS = {LITE: {"model.tflite": TFLITE}, CORAL: {"model.tflite": TFLITE}, TFJS: TFJS_FILES, TF1: TF1_FILES}


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[HttpOrigin]:
    """Hosts MODELS, of TF.js in both forms."""
    with HttpOrigin() as origin:
        for handle in (LITE, CORAL):
            put(origin, f"/{handle}", "lite-format=tflite", TFLITE)
        put_tfjs(origin, f"/{TFJS}", TFJS_FILES)
        for handle, query in ((TFJS, "tfjs-format=compressed"), (TF1, "tf-hub-format=compressed")):
            model = tmp_path / "models" / handle
            for name, data in MODELS[handle].items():
                (model / name).parent.mkdir(parents=True, exist_ok=True)
                (model / name).write_bytes(data)
            put(origin, f"/{handle}", query, pack(model, tmp_path / f"{model.name}.tar.gz").read_bytes())
        yield origin


@pytest.fixture
def hub(machine: Machine, tmp_path: Path, origin: HttpOrigin) -> Iterator[Mount]:
    with mounted(machine, tmp_path / "hub", origin.url) as mount:
        yield mount


@pytest.mark.parametrize("form", ["auto", "compressed", "uncompressed"])
def test_every_kind_has_its_files(machine: Machine, tmp_path: Path, origin: HttpOrigin, form: str) -> None:
    # Of this hub's TF1 module there is but the archive; what is one file is asked for in one way.
    handles = [handle for handle in MODELS if handle != TF1 or form != "uncompressed"]
    with mounted(machine, tmp_path / "hub", origin.url, "--format", form) as mount:
        for handle in handles:
            assert files(mount.path / handle) == MODELS[handle]
            assert listed(mount.path / handle) >= set(MODELS[handle])
        hosting = os.getxattr(mount.path / TFJS, "user.hubfs.form").decode()
        assert hosting == ("compressed" if form == "compressed" else "files")
        assert os.getxattr(mount.path / LITE, "user.hubfs.form") == b"file"


def test_numbers_inside_a_typed_name_are_directories_and_no_models(hub: Mount, origin: HttpOrigin) -> None:
    for handle in (LITE, TFJS):
        root = hub.path / handle
        assert root.is_dir()
        assert root.parent.is_dir()
        assert root.parent.parent.is_dir()
        assert root.parent.name == "default"
        assert os.listdir(root.parent.parent) == ["default"]
        with pytest.raises(FileNotFoundError):
            (root.parent.parent / next(iter(MODELS[handle]))).stat()


def test_sizes_are_known_without_a_download(hub: Mount, origin: HttpOrigin) -> None:
    model = hub.path / LITE / "model.tflite"
    assert model.stat().st_size == len(TFLITE)
    assert origin.body_bytes_sent(f"/{LITE}") < 10_000
    for name, data in TFJS_FILES.items():
        assert (hub.path / TFJS / name).stat().st_size == len(data)
    assert origin.body_bytes_sent() < 20_000 + len(TFJS_FILES["model.json"]) * 3


def test_a_shard_is_read_without_the_others(hub: Mount, origin: HttpOrigin) -> None:
    first, second, _ = SHARDS
    assert (hub.path / TFJS / first).read_bytes() == SHARDS[first]
    assert origin.body_bytes_sent(f"/{TFJS}/{second}") < 10_000


def test_a_tflite_model_is_mapped(hub: Mount) -> None:
    # In a process of its own: a page fault holds the interpreter's lock, which the hub's threads here need to answer.
    program = (
        "import hashlib, mmap, sys; file = open(sys.argv[1], 'rb');"
        "pages = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ);"
        "print(pages[1_500_000:1_500_100].hex(), hashlib.sha256(pages).hexdigest())"
    )
    for handle in (LITE, CORAL):
        command = [sys.executable, "-c", program, hub.path / handle / "model.tflite"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.split() == [TFLITE[1_500_000:1_500_100].hex(), hashlib.sha256(TFLITE).hexdigest()]


def test_a_model_that_was_found_is_looked_at_without_a_request(hub: Mount, origin: HttpOrigin) -> None:
    for handle, model in MODELS.items():
        assert files(hub.path / handle) == model
    asked = len(origin.requests)
    for handle, model in MODELS.items():
        for name in model:
            (hub.path / handle / name).stat()
            with pytest.raises(FileNotFoundError):
                (hub.path / handle / f"{name}.bak").stat()
    assert len(origin.requests) == asked


def test_a_second_mount_reads_every_kind_without_a_request(
    machine: Machine, tmp_path: Path, origin: HttpOrigin
) -> None:
    with mounted(machine, tmp_path / "hub", origin.url) as mount:
        for handle, model in MODELS.items():
            assert files(mount.path / handle) == model
    asked = len(origin.requests)
    with mounted(machine, tmp_path / "hub", origin.url) as mount:
        for handle, model in MODELS.items():
            assert files(mount.path / handle) == model
    assert [request.path for request in origin.requests[asked:]] == []
