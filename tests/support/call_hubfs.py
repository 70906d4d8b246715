"""Runs in TensorFlow's interpreter, after run_notebooks.py: what `hubfs.load` and `hubfs.keras_layer` do.

call_hubfs.py SITE LOCAL WORK
"""

import os
import re
import runpy
import sys
from pathlib import Path
from typing import Any

os.environ.update(TF_DETERMINISTIC_OPS="1", TF_ENABLE_ONEDNN_OPTS="0", TF_CPP_MIN_LOG_LEVEL="3")
WORK = sys.argv.pop()
notebooks = runpy.run_path(str(Path(__file__).with_name("run_notebooks.py")))
same, original = notebooks["same"], notebooks["original"]

import keras  # noqa: E402 - its path is known by now
import numpy as np  # noqa: E402 - its path is known by now
import tensorflow as tf  # noqa: E402 - its path is known by now

import hubfs  # noqa: E402 - its path is known by now

TEXT, IMAGE, POSE = (
    "google/nnlm-en-dim50/2",
    "google/imagenet/mobilenet_v2_100_96/feature_vector/5",
    "google/movenet/singlepose/lightning/4",
)
WORDS = tf.constant(["the quick fox", "cat"])


def refused(kind: type[Exception], call: Any) -> str:
    try:
        call()
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__}")


def loaded_and_layered() -> None:
    """What the model gives is the same whoever loads it."""
    expected = original(TEXT)(WORDS)
    assert same(hubfs.load(TEXT)(WORDS), expected)
    layer = hubfs.keras_layer(f"https://tfhub.dev/{TEXT}")
    assert isinstance(layer, keras.layers.Layer)
    assert not layer.trainable_variables
    assert same(layer(WORDS), expected)
    assert same(layer(["the quick fox", "cat"]), expected)
    image = tf.ones([1, 192, 192, 3], tf.int32)
    expected = original(POSE).signatures["serving_default"](image)["output_0"]
    assert same(hubfs.keras_layer(POSE)(image), expected), "its only signature is found"


def several_inputs() -> None:
    left, right = tf.constant([1.0, 2.0]), tf.constant([3.0, 5.0])
    names = refused(ValueError, lambda: hubfs.keras_layer("test/several/1"))
    assert names.endswith("has several signatures; name one by `signature`: 'both', 'one'"), names
    assert "it has 'both', 'one'" in refused(ValueError, lambda: hubfs.keras_layer("test/several/1", signature="all"))
    layer = hubfs.keras_layer("test/several/1", signature="both")
    assert {name: value.numpy().tolist() for name, value in layer({"left": left, "right": right}).items()} == {
        "sum": [12.0, 21.0],
        "difference": [-2.0, -3.0],
    }
    assert "the inputs 'left', 'right'" in refused(ValueError, lambda: layer(left))
    one = hubfs.keras_layer("test/several/1", signature="both", output_key="sum", arguments={"right": right})
    assert one(left).numpy().tolist() == [12.0, 21.0]
    wrong = hubfs.keras_layer("test/several/1", signature="both", output_key="product")
    said = refused(ValueError, lambda: wrong({"left": left, "right": right}))
    assert "no output 'product'; it has 'difference', 'sum'" in said
    inputs = {name: keras.Input([], name=name) for name in ("left", "right")}
    trained = hubfs.keras_layer("test/several/1", trainable=True, signature="both", output_key="sum")
    model = keras.Model(inputs, trained(inputs))
    model.compile(optimizer="sgd", loss="mse")
    model.fit({"left": np.ones(4), "right": np.ones(4)}, np.zeros(4), verbose=0)
    assert float(trained.weights[0]) < 3.0, "a signature's variables are trained, too"


def saved_and_exported() -> None:
    inputs = keras.Input([], dtype="string")
    model = keras.Model(inputs, hubfs.keras_layer(TEXT, trainable=True, name="embedding")(inputs))
    model.save(f"{WORK}/model.keras")
    kind = type(model.get_layer("embedding"))
    again = keras.models.load_model(f"{WORK}/model.keras", custom_objects={"KerasLayer": kind})
    assert same(again(WORDS), original(TEXT)(WORDS))
    assert again.get_layer("embedding").trainable
    model.export(f"{WORK}/exported", verbose=False)
    exported = tf.saved_model.load(f"{WORK}/exported")
    assert same(exported.serve(WORDS), original(TEXT)(WORDS))


def what_cannot_be() -> None:
    assert "it cannot be trained; leave out" in refused(
        ValueError, lambda: hubfs.keras_layer(notebooks["TF1_MODULE"], trainable=True)
    )
    assert "has no saved_model.pb and no saved_model.pbtxt in its root, but weights.bin" in refused(
        ValueError, lambda: hubfs.load("test/weights/1")
    )
    assert "is no SavedModel: it has no saved_model.pb, for it is empty" in refused(
        ValueError, lambda: hubfs.load(str(Path(WORK, "empty")))
    )
    hub, module, loop = hubfs.integrations.tensorflow_hub, notebooks["TF1_MODULE"], notebooks["TF1_LOOP"]
    assert "elsewhere, use hub.load" in refused(ValueError, lambda: hub.Module(module))
    with tf.Graph().as_default():
        assert "leave out trainable=True" in refused(NotImplementedError, lambda: hub.Module(module, trainable=True))
        assert "use hub.load" in refused(ValueError, lambda: hub.Module(TEXT))
        assert "it has [], ['train']" in refused(ValueError, lambda: hub.Module(loop, tags={"other"}))
        made = hub.Module(module)
        assert made.get_signature_names() == ["default"]
        assert "no signature 'other'; it has 'default'" in refused(ValueError, lambda: made(["fox"], signature="other"))
        assert "a dict of 'text'" in refused(ValueError, lambda: made({"words": ["fox"]}))
        assert "has no input 'images'" in refused(ValueError, lambda: hub.get_expected_image_size(made))


def the_keras_of_the_program() -> None:
    """A program that imported tf_keras has layers of tf_keras, though `tf.keras` is Keras 3."""
    import tf_keras  # noqa: PLC0415 - until here it was not imported

    layer = hubfs.keras_layer(TEXT)
    assert isinstance(layer, tf_keras.layers.Layer)
    assert same(layer(WORDS), original(TEXT)(WORDS))
    assert isinstance(hubfs.keras_layer(TEXT, keras=keras), keras.layers.Layer)


def the_documents() -> None:
    """The examples of docs/INTEGRATIONS.md, in the sections about this."""
    text = (Path(__file__).parents[2] / "docs" / "INTEGRATIONS.md").read_text(encoding="utf-8")
    section = text.partition("## TensorFlow, without tensorflow_hub\n")[2].partition("## kagglehub")[0]
    examples = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(examples) == 2
    hubfs.integrations.tensorflow_hub.uninstall()
    for example in examples:
        said: dict[str, Any] = {}
        exec(example, said)
        assert isinstance(said["layer"], keras.layers.Layer)
        assert same(said["model"](tf.ones([64]))[0], original("google/yamnet/1")(tf.ones([64]))[0])
        if "files" in said:
            assert {Path(name).name for name in said["files"]} == {*os.listdir(said["path"])}


def main() -> None:
    notebooks["main"]()
    Path(WORK, "empty").mkdir()
    for check in (
        loaded_and_layered,
        several_inputs,
        saved_and_exported,
        what_cannot_be,
        the_documents,
        the_keras_of_the_program,
    ):
        check()
        print("ran", check.__name__)


if __name__ == "__main__":
    main()
