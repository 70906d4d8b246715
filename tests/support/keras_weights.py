"""Runs in TensorFlow's interpreter: saves weights as Keras does, and says what weights hold.

keras_weights.py save TARGET        # a .weights.h5 of about 2 MB, seeded
keras_weights.py read FILE...       # JSON: file → data set → [dtype, shape, sha256 of the bytes], by h5py alone
keras_weights.py load FILE...       # JSON: file → sha256 of every weight, by Keras
"""

import hashlib
import json
import os
import sys
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def model() -> Any:
    import keras  # noqa: PLC0415 - h5py alone must do without

    keras.utils.set_random_seed(7)
    layers = [keras.layers.Dense(size, activation="relu") for size in (512, 512, 10)]
    return keras.Sequential([keras.Input((512,)), *layers])


def held(path: str) -> dict[str, list[Any]]:
    import h5py  # noqa: PLC0415 - as above

    found = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = [str(item.dtype), list(item.shape), hashlib.sha256(item[()].tobytes()).hexdigest()]

    with h5py.File(path) as opened:
        opened.visititems(note)
    return found


def loaded(path: str) -> list[str]:
    made = model()
    for weight in made.weights:
        weight.assign(weight * 0)
    made.load_weights(path)
    return [hashlib.sha256(weight.numpy().tobytes()).hexdigest() for weight in made.weights]


def main() -> None:
    what, *paths = sys.argv[1:]
    if what == "save":
        model().save_weights(paths[0])
    else:
        print(json.dumps({path: {"read": held, "load": loaded}[what](path) for path in paths}))


if __name__ == "__main__":
    main()
