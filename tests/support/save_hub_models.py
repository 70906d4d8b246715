"""Runs in TensorFlow's interpreter: saves small models of the five kinds that notebooks name, with seeded weights.

    save_hub_models.py TARGET

TARGET becomes a folder of models by handle. Of the TF1 module, see save_tf1_module.py.
"""

import os
import sys
from pathlib import Path
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3")

import tensorflow as tf

SIZE = 12
"""The height and width of images."""


class Reusable(tf.train.Checkpoint):
    """What `hub.KerasLayer` reads of a model that it can train: variables, and losses."""

    def __init__(self, trainable: list[Any], others: list[Any]) -> None:
        super().__init__()
        self.trainable_variables = trainable
        self.variables = [*trainable, *others]
        self.regularization_losses = [tf.function(self._loss, input_signature=[])]

    def _loss(self) -> Any:
        return 0.01 * tf.add_n([tf.reduce_sum(variable**2) for variable in self.trainable_variables])


class Text(Reusable):
    """Sentences to vectors, by a table of words."""

    def __init__(self, vocabulary: Path) -> None:
        super().__init__([tf.Variable(tf.random.stateless_normal([8, 4], [1, 2]), name="embeddings")], [])
        self.words = tf.saved_model.Asset(str(vocabulary))
        initializer = tf.lookup.TextFileInitializer(
            self.words, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
        )
        self.table = tf.lookup.StaticVocabularyTable(initializer, num_oov_buckets=4)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, sentences: Any) -> Any:
        words = tf.strings.split(sentences).to_tensor("")
        return tf.reduce_sum(tf.gather(self.trainable_variables[0], self.table.lookup(words)), axis=1)


class Image(Reusable):
    """Images to vectors: a convolution, and a mean that training moves."""

    def __init__(self) -> None:
        kernel = tf.Variable(tf.random.stateless_normal([3, 3, 3, 5], [3, 4]), name="conv/kernel")
        mean = tf.Variable(tf.zeros([5]), trainable=False, name="norm/mean")
        super().__init__([kernel], [mean])

    @tf.function
    def __call__(self, images: Any, training: Any = False) -> Any:  # noqa: FBT002 - as Keras calls it
        kernel, mean = self.variables
        features = tf.reduce_mean(tf.nn.conv2d(images, kernel, 1, "SAME"), axis=[1, 2])
        if training:
            mean.assign(0.9 * mean + 0.1 * tf.reduce_mean(features, axis=0))
        return features - mean


class Yamnet(tf.Module):
    """A waveform to scores, embeddings and a spectrogram; and the path of the classes' names."""

    def __init__(self, classes: Path) -> None:
        super().__init__()
        self.classes = tf.saved_model.Asset(str(classes))
        self.weights = tf.Variable(tf.random.stateless_normal([64, 3], [5, 6]))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def __call__(self, waveform: Any) -> Any:
        spectrogram = tf.abs(tf.signal.frame(waveform, 64, 32, pad_end=True))
        return tf.nn.softmax(spectrogram @ self.weights), spectrogram[:, :4], spectrogram

    @tf.function(input_signature=[])
    def class_map_path(self) -> Any:
        return self.classes.asset_path


class Movenet(tf.Module):
    """Has one signature, and cannot be called itself."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable(tf.random.stateless_normal([3, 17 * 3], [7, 8]))

    @tf.function(input_signature=[tf.TensorSpec([1, 192, 192, 3], tf.int32, name="input")])
    def pose(self, image: Any) -> Any:
        colours = tf.reduce_mean(tf.cast(image, tf.float32), axis=[1, 2])
        return {"output_0": tf.reshape(tf.sigmoid(colours @ self.weights), [1, 1, 17, 3])}


class Several(tf.Module):
    """Has signatures of several inputs and outputs; none of them is the default."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = tf.Variable(3.0)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, name="left"),
            tf.TensorSpec([None], tf.float32, name="right"),
        ]
    )
    def both(self, left: Any, right: Any) -> Any:
        return {"sum": self.factor * (left + right), "difference": left - right}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="value")])
    def one(self, value: Any) -> Any:
        return {"value": value}


def main() -> None:
    target = Path(sys.argv[1])
    target.mkdir()
    words, classes = target / "tokens.txt", target / "yamnet_class_map.csv"
    words.write_text("the\nquick\nbrown\nfox\n")
    classes.write_text("index,mid,display_name\n0,/m/1,Speech\n1,/m/2,Cat\n2,/m/3,Dog\n")
    image, movenet, several = Image(), Movenet(), Several()
    for training in (True, False):
        image.__call__.get_concrete_function(tf.TensorSpec([None, None, None, 3], tf.float32), training)
    tf.saved_model.save(Text(words), str(target / "google/nnlm-en-dim50/2"))
    tf.saved_model.save(image, str(target / "google/imagenet/mobilenet_v2_100_96/feature_vector/5"))
    tf.saved_model.save(Yamnet(classes), str(target / "google/yamnet/1"))
    tf.saved_model.save(movenet, str(target / "google/movenet/singlepose/lightning/4"), movenet.pose)
    tf.saved_model.save(several, str(target / "test/several/1"), {"both": several.both, "one": several.one})
    words.unlink()
    classes.unlink()


if __name__ == "__main__":
    main()
