"""A module of TensorFlow 1, by its signature, as "TF1 Hub format" has it; by name without a version."""

import tensorflow as tf
import tensorflow_hub as hub

words = tf.constant(["the", "fox"])
elmo = hub.load("https://tfhub.dev/google/elmo/3").signatures["default"]
embeddings = elmo(text=words)["default"]
tagged = hub.load("https://tfhub.dev/google/elmo/3", tags=[]).signatures["default"](words)["default"]
layer = hub.KerasLayer("https://tfhub.dev/google/elmo/3", signature="default", output_key="default")
of_layer = layer(["the", "fox"])
