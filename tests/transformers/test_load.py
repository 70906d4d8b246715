"""transformers and PyTorch load from a mount of `hf:` what they load from the local disk, bit for bit.

`scripts/test transformers` runs this alone.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import transformers
from tests.support.huggingface import HuggingFaceStandIn
from tests.support.mount import Machine, Mount, mounted
from tests.support.real_models import MINILM, SILERO, repository

pytestmark = [pytest.mark.mounted, pytest.mark.transformers, pytest.mark.timeout(900)]

NAME = "sentence-transformers/all-MiniLM-L6-v2"
VOICE = "snakers4/silero-vad"
WEIGHTS_BYTES = (MINILM / "model.safetensors").stat().st_size if MINILM.is_dir() else 0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the programs."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def expected(home: Path) -> Mapping[str, Any]:
    """The local model's weights and vectors."""
    return transformers.run(home, "vectors", MINILM)


@pytest.fixture
def hub() -> Iterator[HuggingFaceStandIn]:
    with HuggingFaceStandIn() as hub:
        hub.put(NAME, repository(MINILM))
        yield hub


@pytest.fixture
def mount(hub: HuggingFaceStandIn, machine: Machine, tmp_path: Path) -> Iterator[Mount]:
    with mounted(machine.with_environment(HF_ENDPOINT=hub.url), tmp_path / "hf", "hf:") as mount:
        yield mount


def test_from_pretrained_loads_by_path(
    hub: HuggingFaceStandIn, mount: Mount, home: Path, expected: Mapping[str, Any]
) -> None:
    model = mount.path / NAME
    assert transformers.run(home, "vectors", model) == expected
    assert hub.cdn.body_bytes == WEIGHTS_BYTES, "each byte once"
    hub.reset_counts()
    assert transformers.run(home, "vectors", model.resolve()) == expected
    assert not hub.cdn.asked


def test_libraries_load_by_id_through_the_view(
    hub: HuggingFaceStandIn, mount: Mount, home: Path, expected: Mapping[str, Any]
) -> None:
    view = {"HF_HUB_CACHE": str(mount.path / ".hubfs/huggingface"), "HF_HUB_OFFLINE": "1"}
    assert transformers.run(home, "vectors", NAME, **view) == expected
    locally = transformers.run(home, "sentences", MINILM)
    for model in (NAME, mount.path / NAME):
        assert transformers.run(home, "sentences", model, **view) == locally, "sentence-transformers"
    assert hub.cdn.body_bytes == WEIGHTS_BYTES, "each byte once"


def test_files_of_torch_are_mapped(hub: HuggingFaceStandIn, mount: Mount, home: Path, tmp_path: Path) -> None:
    saved = tmp_path / "pytorch_model.bin"
    transformers.run(home, "save", MINILM / "model.safetensors", saved)
    hub.put(VOICE, {**repository(SILERO), saved.name: saved.read_bytes()})
    mapped = transformers.run(home, "bin", mount.path / VOICE / saved.name)
    assert len(mapped) > 100
    assert mapped == transformers.run(home, "bin", saved)
    detector = "silero_vad.jit"
    assert transformers.run(home, "jit", mount.path / VOICE / detector) == transformers.run(
        home, "jit", SILERO / detector
    )
