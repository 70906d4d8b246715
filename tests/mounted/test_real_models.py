"""Real models of `hf:`, loaded from a mount by the unmodified libraries that people load them with."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.files import files
from tests.support.huggingface import HuggingFaceStandIn
from tests.support.huggingface_client import calls
from tests.support.mount import Machine, Mount, mounted
from tests.support.real_models import MINILM, SILERO, load, make_external, make_gguf, repository

pytestmark = pytest.mark.mounted

SENTENCES = "sentence-transformers/all-MiniLM-L6-v2"
OTHERS = "made/of-minilm-and-silero"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The files of each repository, on the local disk."""
    made = tmp_path_factory.mktemp("made")
    for path, content in repository(SILERO).items():
        (made / path).write_bytes(content)
    make_external(made / "silero_vad_op18_ifless.onnx", made / "apart.onnx")
    make_gguf(MINILM / "model.safetensors", made / "minilm.gguf")
    return {SENTENCES: MINILM, OTHERS: made}


@dataclass(frozen=True)
class Served:
    """The repositories at a stand-in."""

    hub: HuggingFaceStandIn
    local: Mapping[str, Path]


@pytest.fixture
def served(local: Mapping[str, Path]) -> Iterator[Served]:
    with HuggingFaceStandIn() as hub:
        for name, folder in local.items():
            hub.put(name, repository(folder))
        yield Served(hub, local)


@pytest.fixture
def mount(served: Served, machine: Machine, tmp_path: Path) -> Iterator[Mount]:
    with mounted(machine.with_environment(HF_ENDPOINT=served.hub.url), tmp_path / "hf", "hf:") as mount:
        yield mount


@pytest.mark.parametrize(
    ("name", "kind", "file"),
    [
        (SENTENCES, "safetensors", "model.safetensors"),
        (SENTENCES, "tokenizer", "tokenizer.json"),
        (OTHERS, "gguf", "minilm.gguf"),
        (OTHERS, "safetensors", "silero_vad_16k.safetensors"),
        (OTHERS, "onnx", "silero_vad.onnx"),
        (OTHERS, "onnx", "apart.onnx"),
    ],
)
def test_a_library_finds_in_a_mounted_file_what_it_finds_in_the_local_one(
    served: Served, mount: Mount, name: str, kind: str, file: str
) -> None:
    expected = load(kind, served.local[name] / file)
    found = load(kind, mount.path / name / file)
    assert found == expected
    assert load(kind, (mount.path / name).resolve() / file) == expected, "by its commit, and warm"


def test_a_file_that_is_mapped_crosses_the_network_once(served: Served, mount: Mount) -> None:
    """104 tensors of 4 bytes to 47 MB, in the order of their names, which is not the order of the file."""
    model = mount.path / SENTENCES / "model.safetensors"
    load("safetensors", model)
    assert len([path for _, path, _ in served.hub.asked if path.endswith("model.safetensors")]) == 1
    assert served.hub.cdn.body_bytes == model.stat().st_size
    load("safetensors", model)
    assert served.hub.cdn.body_bytes == model.stat().st_size


def test_the_mount_has_what_hf_hub_download_brings(served: Served, mount: Mount, tmp_path: Path) -> None:
    wanted = sorted(repository(MINILM))
    downloaded = calls(served.hub, tmp_path / "client", *(("download", SENTENCES, path) for path in wanted))
    there = files(mount.path / SENTENCES)
    assert sorted(there) == wanted
    assert [hashlib.sha256(there[path]).hexdigest() for path in wanted] == downloaded
