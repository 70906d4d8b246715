"""Runs in TensorFlow's interpreter, without its site-packages: code of notebooks, where tensorflow_hub is not.

    run_notebooks.py SITE LOCAL [MOUNT]

SITE becomes the packages without that one, and LOCAL has the models by handle, as TensorFlow saved them. hubfs stands
in for tensorflow_hub, with the models of MOUNT, or else of the hub that the environment names. What each notebook has
computed is held against what TensorFlow's own load of LOCAL gives: equal bit for bit. Prints `ran` and the
name of each notebook.
"""

import os
import runpy
import sys
import warnings
from pathlib import Path
from typing import Any

os.environ.update(TF_DETERMINISTIC_OPS="1", TF_ENABLE_ONEDNN_OPTS="0", TF_CPP_MIN_LOG_LEVEL="3")

SITE, LOCAL, *MOUNT = sys.argv[1:]
ROOT = Path(__file__).parents[2]
NOTEBOOKS = Path(__file__).with_name("notebooks")
for package in next(Path(sys.executable).parents[1].glob("lib/python3.*/site-packages")).iterdir():
    link = Path(SITE, package.name)
    if not package.name.startswith(("tensorflow_hub", "__pycache__")) and not link.exists():
        link.symlink_to(package)
sys.path[:] = [str(ROOT), *(path for path in sys.path if Path(path) != Path(__file__).parent), SITE]
# Of notebooks that were written for Keras 2, Keras 3 says that `input_shape` is better said otherwise.
warnings.filterwarnings("error", module="hubfs")

import hubfs.integrations.tensorflow_hub  # noqa: E402 - its path is known by now

try:
    import tensorflow_hub
except (ImportError, AttributeError) as error:
    print(f"without the library: {error}", file=sys.stderr)
else:
    raise AssertionError(f"{tensorflow_hub.__file__} is what must not be here")
hubfs.integrations.tensorflow_hub.stand_in(*MOUNT)

import numpy as np  # noqa: E402 - as above
import tensorflow as tf  # noqa: E402 - as above

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
tf.random.set_seed(7)

TF1_MODULE, TF1_LOOP = "google/elmo/3", "test/loop/1"


def same(one: Any, other: Any) -> bool:
    one, other = np.asarray(one), np.asarray(other)
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def differ(ones: Any, others: Any) -> list[bool]:
    return [not same(one, other) for one, other in zip(ones, others, strict=True)]


def original(handle: str) -> Any:
    return tf.saved_model.load(f"{LOCAL}/{handle}", tags=[] if handle in (TF1_MODULE, TF1_LOOP) else None)


def text_embedding(said: dict[str, Any]) -> None:
    model = original("google/nnlm-en-dim50/2")
    assert same(said["embedded"], model(tf.constant(said["sentences"][:3])))
    assert same(said["before"][0], model.trainable_variables[0])
    assert differ(said["before"], said["hub_layer"].weights) == [True], "fine-tuning changed the embedding"
    assert said["predicted"].shape == (1, 1)
    assert len(said["history"].history["val_accuracy"]) == 2


def image_features(said: dict[str, Any]) -> None:
    model = original("google/imagenet/mobilenet_v2_100_96/feature_vector/5")
    images = tf.constant(said["images"], tf.float32)
    assert same(said["features"], model(images, False))
    assert differ(said["frozen"], said["after_training"]) == [False, False], "it was not to be trained"
    assert differ(said["frozen"], said["after_tuning"]) == [True, True], "the kernel is trained, and the mean moves"
    for variable, tuned in zip(model.variables, said["after_tuning"], strict=True):
        variable.assign(tuned)
    assert same(said["losses"], [float(model.regularization_losses[0]())])
    assert same(said["tuned_features"], model(images, False))


def yamnet(said: dict[str, Any]) -> None:
    model = original("google/yamnet/1")
    for one, other in zip(
        (said["scores"], said["embeddings"], said["spectrogram"]), model(said["waveform"]), strict=True
    ):
        assert same(one, other)
    assert said["class_names"] == ["Speech", "Cat", "Dog"]
    assert said["inferred_class"] in said["class_names"]


def movenet(said: dict[str, Any]) -> None:
    model = original("google/movenet/singlepose/lightning/4").signatures["serving_default"]
    assert same(said["keypoints_with_scores"], model(tf.cast(said["input_image"], tf.int32))["output_0"])


def tf1_module(said: dict[str, Any]) -> None:
    expected = original(TF1_MODULE).signatures["default"](said["words"])["default"]
    for found in (said["embeddings"], said["tagged"], said["of_layer"]):
        assert same(found, expected)


def tf1_graph(said: dict[str, Any]) -> None:
    embed, loop = (original(handle).signatures["default"] for handle in (TF1_MODULE, TF1_LOOP))
    assert same(said["embedded"], embed(tf.constant(said["words"]))["default"])
    assert same(said["embedded_by_name"], embed(tf.constant(said["words"][:2]))["default"])
    expected = loop(tf.constant(said["features"]))
    assert same(said["output"], expected["default"])
    assert {*said["outputs"]} == {*expected}
    assert all(same(said["outputs"][name], expected[name]) for name in expected)
    assert [one.shape for one in said["slopes"]] == [(4, 4), (4, 4), (8,)], "a loop can be gone through backwards"
    assert said["to_train"] == []


def main() -> None:
    for check in (text_embedding, image_features, yamnet, movenet, tf1_module, tf1_graph):
        check(runpy.run_path(str(NOTEBOOKS / f"{check.__name__}.py")))
        print("ran", check.__name__)


if __name__ == "__main__":
    main()
