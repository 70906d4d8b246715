"""Poses of people, as "MoveNet" has it."""

import tensorflow as tf
import tensorflow_hub as hub

module = hub.load("https://tfhub.dev/google/movenet/singlepose/lightning/4")
input_size = 192


def movenet(input_image):
    """Runs detection on an input image."""
    model = module.signatures["serving_default"]
    input_image = tf.cast(input_image, dtype=tf.int32)
    outputs = model(input_image)
    return outputs["output_0"].numpy()


image = tf.reshape(tf.range(32 * 24 * 3) % 255, [1, 32, 24, 3])
input_image = tf.image.resize_with_pad(image, input_size, input_size)
keypoints_with_scores = movenet(input_image)
