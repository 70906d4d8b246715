"""Runs in TensorFlow's interpreter: a second of a sine wave through a model, from the mount and from its own files."""

import os
import sys
import time

# One thread and plain kernels: what is compared is the files, not the order in which threads add floats.
os.environ.update(TF_DETERMINISTIC_OPS="1", TF_ENABLE_ONEDNN_OPTS="0")

import numpy as np
import tensorflow as tf

SAMPLE_RATE_HZ = 22_050
WINDOW_SAMPLES = 43_844  # what basic-pitch hears at a time
TONE_HZ = 440.0
LOWEST_NOTE_HZ = 27.5  # its first note is A0


def heard(path: str) -> dict[str, np.ndarray]:
    """Loads the model at `path`, and runs it on one second of the concert pitch, padded with silence."""
    started_s = time.perf_counter()
    model = tf.saved_model.load(path)
    loaded_s = time.perf_counter()
    audio = np.zeros((1, WINDOW_SAMPLES, 1), np.float32)
    audio[0, :SAMPLE_RATE_HZ, 0] = 0.5 * np.sin(2 * np.pi * TONE_HZ * np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ)
    function = model.signatures["serving_default"]
    (name,) = function.structured_input_signature[1]
    outputs = {name: value.numpy() for name, value in function(**{name: tf.constant(audio)}).items()}
    print(f"loaded {path} in {loaded_s - started_s:.2f} s, ran it in {time.perf_counter() - loaded_s:.2f} s")
    return outputs


def main() -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    mounted, local = (heard(path) for path in sys.argv[1:3])
    for name in sorted(local):
        same = mounted[name].tobytes() == local[name].tobytes()
        print(f"{name:8} {mounted[name].shape!s:16} {'equal, bit for bit' if same else 'DIFFERS'}")
        if not same:
            sys.exit(f"{name} differs between the mount and the files it was made from")
    semitone = int(mounted["note"][0].mean(axis=0).argmax())
    print(f"it heard {LOWEST_NOTE_HZ * 2 ** (semitone / 12):.0f} Hz; played were {TONE_HZ:.0f} Hz")


if __name__ == "__main__":
    main()
