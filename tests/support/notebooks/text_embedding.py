"""A classifier of sentences on a text embedding, as "Text classification with TensorFlow Hub" has it."""

import numpy as np
import tensorflow as tf
import tensorflow_hub as hub

sentences = np.array(["the quick fox", "brown", "the", "quick quick cat"])
labels = np.array([0, 1, 0, 1])
train_data = tf.data.Dataset.from_tensor_slices((sentences, labels))

embedding = "https://tfhub.dev/google/nnlm-en-dim50/2"
hub_layer = hub.KerasLayer(embedding, input_shape=[], dtype=tf.string, trainable=True)
embedded = hub_layer(sentences[:3])

model = tf.keras.Sequential()
model.add(hub_layer)
model.add(tf.keras.layers.Dense(16, activation="relu"))
model.add(tf.keras.layers.Dense(1))
model.summary()

model.compile(optimizer="adam", loss=tf.keras.losses.BinaryCrossentropy(from_logits=True), metrics=["accuracy"])
before = [weight.numpy().copy() for weight in hub_layer.weights]
history = model.fit(train_data.shuffle(10).batch(2), epochs=2, validation_data=train_data.batch(4), verbose=0)
results = model.evaluate(train_data.batch(4), verbose=0)
predicted = model.predict(tf.constant(["the fox"]), verbose=0)
