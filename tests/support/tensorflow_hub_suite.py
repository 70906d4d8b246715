"""A test suite of tensorflow_hub of our own: it saves models in local directories, and loads them by these.

It asks for the same as the library's suites keras_layer_test, module_v2_test and saved_model_module_test, which no
package of the library brings along: layers that are trained and frozen, dictionaries, assets, a layer in a saved Keras
model, the configuration of a layer, signatures, and directories that hold no model.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_hub as hub
from tensorflow_hub.keras_layer import keras


class Scaled(tf.Module):
    """`factor` times the input, plus one."""

    def __init__(self) -> None:
        self.factor = tf.Variable([0.5], name="factor")

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32)])
    def __call__(self, value: Any) -> Any:
        return self.factor * value + 1.0


class Words(tf.Module):
    """Words to their numbers, by a vocabulary that is an asset; takes and gives dictionaries."""

    def __init__(self, vocabulary: Path) -> None:
        self.file = tf.saved_model.Asset(str(vocabulary))
        initializer = tf.lookup.TextFileInitializer(
            self.file.asset_path,
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        self.table = tf.lookup.StaticHashTable(initializer, -1)

    @tf.function(input_signature=[{"words": tf.TensorSpec([None], tf.string)}])
    def __call__(self, inputs: Any) -> Any:
        return {"numbers": self.table.lookup(inputs["words"])}


class SuiteTest(tf.test.TestCase):
    def directory(self, name: str) -> str:
        return str(Path(self.get_temp_dir(), self.id(), name))

    def scaled(self) -> str:
        directory = self.directory("scaled")
        module = Scaled()
        tf.saved_model.save(module, directory, signatures={"serving_default": module.__call__.get_concrete_function()})
        return directory

    def test_signatures_give_what_was_saved(self) -> None:
        signature = hub.load(self.scaled()).signatures["serving_default"]
        self.assertAllClose(signature(tf.constant([[2.0]]))["output_0"], [[2.0]])

    def test_tags_are_looked_up(self) -> None:
        self.assertAllClose(hub.load(self.scaled(), ["serve"])(tf.constant([[4.0]])), [[3.0]])
        with self.assertRaisesRegex(ValueError, "tags"):  # noqa: PT027 - no pytest where TensorFlow is
            hub.load(self.scaled(), ["train"])

    def test_a_directory_without_a_model_is_none(self) -> None:
        directory = Path(self.directory("none"))
        directory.mkdir(parents=True)
        (directory / "variables.txt").touch()
        with self.assertRaisesRegex(ValueError, "contains neither"):  # noqa: PT027 - no pytest where TensorFlow is
            hub.load(str(directory))

    def test_a_layer_is_as_it_was_saved(self) -> None:
        layer = hub.KerasLayer(self.scaled())
        self.assertAllClose(layer(tf.constant([[2.0], [4.0]])), [[2.0], [3.0]])
        assert not layer.trainable_weights

    def test_the_configuration_of_a_layer_makes_it_again(self) -> None:
        config = json.loads(json.dumps(hub.KerasLayer(self.scaled(), output_shape=[1]).get_config()))
        again = hub.KerasLayer.from_config(config)
        self.assertAllClose(again(tf.constant([[6.0]])), [[4.0]])

    def test_a_trained_layer_learns_and_is_saved_with_its_model(self) -> None:
        trained = self.trainable()
        model = keras.Sequential([keras.layers.Input((1,)), hub.KerasLayer(trained, trainable=True)])
        model.compile(keras.optimizers.legacy.SGD(0.01), "mean_squared_error")
        features = np.arange(8, dtype=np.float32).reshape(8, 1)
        model.fit(features, 2 * features + 1, epochs=1000, verbose=0)
        self.assertAllClose(model.predict(features, verbose=0), 2 * features + 1, atol=0.1)
        saved = self.directory("saved")
        model.save(saved, save_format="tf")
        self.assertAllClose(
            keras.models.load_model(saved).predict(features, verbose=0), model.predict(features, verbose=0)
        )

    def trainable(self) -> str:
        inputs = keras.layers.Input((1,))
        dense = keras.layers.Dense(1, kernel_initializer="ones")
        directory = self.directory("dense")
        tf.saved_model.save(keras.Model(inputs, dense(inputs)), directory)
        return directory

    def test_assets_and_dictionaries(self) -> None:
        directory = self.directory("words")
        vocabulary = Path(self.directory("vocabulary"))
        vocabulary.parent.mkdir(parents=True, exist_ok=True)
        vocabulary.write_text("the\nquick\nfox\n")
        tf.saved_model.save(Words(vocabulary), directory)
        vocabulary.unlink()  # the copy in the model is what counts
        layer = hub.KerasLayer(directory)
        self.assertAllEqual(layer({"words": tf.constant(["fox", "the", "dog"])})["numbers"], [2, 0, -1])


if __name__ == "__main__":
    tf.test.main()
