"""Modules of TensorFlow 1 in a graph that a session runs, as in notebooks before TensorFlow 2."""

import tensorflow.compat.v1 as tf
import tensorflow_hub as hub

words = ["the", "fox", "quick"]
with tf.Graph().as_default():
    embed = hub.Module("https://tfhub.dev/google/elmo/3")
    embeddings = embed(words)
    placeholder = tf.placeholder(tf.string, [None])
    by_name = embed({"text": placeholder}, signature="default", as_dict=True)["default"]
    module = hub.Module("https://tfhub.dev/test/loop/1", name="loop", tags={"train"})
    features = [[1.0, 2.0, 3.0, 4.0]]
    once, twice = module(features), module({"given": features}, as_dict=True)
    slope = tf.gradients(once, module.variables)
    to_train = tf.trainable_variables()
    with tf.Session() as session:
        session.run([tf.global_variables_initializer(), tf.tables_initializer()])
        embedded, embedded_by_name = session.run([embeddings, by_name], {placeholder: words[:2]})
        output, outputs, slopes = session.run([once, twice, slope])
