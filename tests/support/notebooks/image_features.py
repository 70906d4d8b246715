"""A classifier of images on a feature vector, trained and then fine-tuned, as "Transfer learning" has it."""

import numpy as np
import tensorflow as tf
import tensorflow_hub as hub

IMAGE_SHAPE = (12, 12)
images = np.random.default_rng(7).uniform(size=(8, *IMAGE_SHAPE, 3))
classes = np.arange(8) % 3
handle = "https://tfhub.dev/google/imagenet/mobilenet_v2_100_96/feature_vector/5"

feature_extractor = hub.KerasLayer(handle, input_shape=(*IMAGE_SHAPE, 3), trainable=False)
features = feature_extractor(images)
frozen = [weight.numpy().copy() for weight in feature_extractor.weights]
model = tf.keras.Sequential([feature_extractor, tf.keras.layers.Dropout(0.2), tf.keras.layers.Dense(3)])
model.compile(optimizer="adam", loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(images, classes, epochs=1, batch_size=4, verbose=0)
after_training = [weight.numpy().copy() for weight in feature_extractor.weights]

feature_extractor.trainable = True
model.compile(optimizer="sgd", loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(images, classes, epochs=1, batch_size=4, verbose=0)
after_tuning = [weight.numpy().copy() for weight in feature_extractor.weights]
tuned_features = feature_extractor(images)
losses = [float(loss) for loss in feature_extractor.losses]
