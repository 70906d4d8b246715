"""Sounds to classes, as "Sound classification with YAMNet" has it."""

import csv

import numpy as np
import tensorflow as tf
import tensorflow_hub as hub

model = hub.load("https://tfhub.dev/google/yamnet/1")


def class_names_from_csv(class_map_csv_text):
    """Returns list of class names corresponding to score vector."""
    class_names = []
    with tf.io.gfile.GFile(class_map_csv_text) as csvfile:
        reader = csv.DictReader(csvfile)
        for row in reader:
            class_names.append(row["display_name"])  # noqa: PERF401 - as the notebook has it
    return class_names


class_map_path = model.class_map_path().numpy()
class_names = class_names_from_csv(class_map_path)
waveform = np.sin(np.linspace(0, 100, 1600)).astype(np.float32)
scores, embeddings, spectrogram = model(waveform)
scores_np = scores.numpy()
inferred_class = class_names[scores_np.mean(axis=0).argmax()]
