"""Runs in TensorFlow's interpreter: TF Lite models on fixed inputs, by LiteRT, which maps their files.

    run_tflite.py MODEL…

Prints a JSON object: path → a list with [output, dtype, shape, sha256 of the bytes of all runs], one for each output.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

RUNS = 12
"""One after the other, on other noise each: a model that listens has heard enough then to say something."""


def example(detail: dict[str, Any], noise: np.random.Generator) -> Any:
    """Noise for an input; what a quantized one may hold, if it is one."""
    if np.issubdtype(detail["dtype"], np.integer):
        limits = np.iinfo(detail["dtype"])
        return noise.integers(limits.min, limits.max, detail["shape"], detail["dtype"], endpoint=True)
    return noise.uniform(-1, 1, detail["shape"]).astype(detail["dtype"])


def outputs(model: str) -> list[list[Any]]:
    """What every output held. Fails unless the file was mapped."""
    interpreter = Interpreter(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    assert model in Path("/proc/self/maps").read_text(), f"{model} was read, not mapped"
    noise = np.random.default_rng(7)
    details = interpreter.get_output_details()
    digests = [hashlib.sha256() for _ in details]
    for _ in range(RUNS):
        for detail in interpreter.get_input_details():
            interpreter.set_tensor(detail["index"], example(detail, noise))
        interpreter.invoke()
        for detail, digest in zip(details, digests, strict=True):
            digest.update(interpreter.get_tensor(detail["index"]).tobytes())
    return [
        [detail["name"], np.dtype(detail["dtype"]).name, detail["shape"].tolist(), digest.hexdigest()]
        for detail, digest in zip(details, digests, strict=True)
    ]


def main() -> None:
    print(json.dumps({model: outputs(model) for model in sys.argv[1:]}))


if __name__ == "__main__":
    main()
