"""Runs in TensorFlow's interpreter: loads a model, and says how long it took and what its variables hold.

    load.py saved_model | hub | resolve

Says `{}` once TensorFlow is imported, waits for `{"path": …}`, and then loads: a path by tf.saved_model.load, a handle
by hub.load; or only resolves it by hub.resolve. The digest is of every byte of every variable; it is not timed.
"""

import json
import os
import sys
import time
import zlib
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf


def digest(model: Any) -> str:
    variables = model.signatures["serving_default"].variables
    return f"{zlib.crc32(repr(sorted(zlib.crc32(variable.numpy().tobytes()) for variable in variables)).encode()):08x}"


def main() -> None:
    how = sys.argv[1]
    action = tf.saved_model.load
    if how != "saved_model":
        import tensorflow_hub  # noqa: PLC0415 - only where it is what is measured: it brings all of Keras 2 along

        action = {"hub": tensorflow_hub.load, "resolve": tensorflow_hub.resolve}[how]
    print("{}", flush=True)
    path = json.loads(sys.stdin.readline())["path"]
    started_s, started_cpu_s = time.perf_counter(), time.process_time()
    result = action(path)
    took_s, took_cpu_s = time.perf_counter() - started_s, time.process_time() - started_cpu_s
    said = {"took_s": took_s, "cpu_s": took_cpu_s, "digest": "" if how == "resolve" else digest(result)}
    if how == "resolve":
        said["path"] = result
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
