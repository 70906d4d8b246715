"""Runs in TensorFlow's interpreter: loads SavedModels, runs every signature on fixed inputs, says what came out.

    load_model.py REPORT MODEL… [--with-hub | --with-keras | --io-device DEVICE] [--ready FILE --go FILE]

REPORT becomes a JSON object: model directory (or handle) → "signature/output" → [dtype, shape, sha256 of the bytes];
with --with-keras, of what the model gives as a layer. With --ready and --go it touches the one once TensorFlow is
imported and waits for the other before it loads, so that many processes can load at the same moment.
"""

import argparse
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

# One thread and deterministic kernels: the same model must give the same bits in every process.
os.environ.update(TF_DETERMINISTIC_OPS="1", TF_ENABLE_ONEDNN_OPTS="0", TF_CPP_MIN_LOG_LEVEL="3")

import numpy as np
import tensorflow as tf

TEXTS = ["def main():\n    print('hello')\n", "#include <stdio.h>\nint main(void) { return 0; }\n", "<p>hello</p>"]


def example(spec: Any, batch: int) -> Any:
    """A fixed input for a TensorSpec: known texts, or seeded noise."""
    shape = [batch if size is None else size for size in spec.shape]
    if spec.dtype == tf.string:
        return tf.constant(np.resize(np.array(TEXTS, dtype=object), shape))
    return tf.constant(np.random.default_rng(7).uniform(-1, 1, shape), dtype=spec.dtype)


def described(value: Any) -> list[Any]:
    """A tensor's dtype, shape, and the sha256 of its bytes."""
    array = value.numpy()
    # Strings are Python objects; their own bytes are what counts.
    data = repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
    return [str(array.dtype), list(array.shape), hashlib.sha256(data).hexdigest()]


def outputs(model: Any) -> dict[str, list[Any]]:
    """Every output of every signature."""
    found = {}
    for signature, function in model.signatures.items():
        inputs = {name: example(spec, len(TEXTS)) for name, spec in function.structured_input_signature[1].items()}
        for name, value in function(**inputs).items():
            found[f"{signature}/{name}"] = described(value)
    return found


def layer_outputs(layer: Any) -> dict[str, list[Any]]:
    """Every output of a Keras layer for the one input that its model's default signature has."""
    (spec,) = layer.resolved_object.signatures["serving_default"].structured_input_signature[1].values()
    value = layer(example(spec, len(TEXTS)))
    return {str(number): described(part) for number, part in enumerate(tf.nest.flatten(value))}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("report", type=Path)
    parser.add_argument("models", nargs="+")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--with-hub", action="store_true", help="load with tensorflow_hub.load")
    how.add_argument("--with-keras", action="store_true", help="load as a tensorflow_hub.KerasLayer")
    how.add_argument("--io-device", help="the device that is to read the files")
    parser.add_argument("--ready", type=Path)
    parser.add_argument("--go", type=Path)
    arguments = parser.parse_args()

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    options = tf.saved_model.LoadOptions(experimental_io_device=arguments.io_device)
    load, outputs_of = lambda model: tf.saved_model.load(model, options=options), outputs
    if arguments.with_hub or arguments.with_keras:
        import tensorflow_hub  # noqa: PLC0415 - only where it is what is tested: it brings all of Keras 2 along

        load = tensorflow_hub.load
        if arguments.with_keras:
            load, outputs_of = tensorflow_hub.KerasLayer, layer_outputs
    if arguments.ready:
        arguments.ready.touch()
        while not arguments.go.exists():
            time.sleep(0.01)
    arguments.report.write_text(json.dumps({path: outputs_of(load(path)) for path in arguments.models}))


if __name__ == "__main__":
    main()
