"""Runs in TensorFlow's interpreter: saves a small module in the TF1 Hub format.

    save_tf1_module.py TARGET

The library that made such modules is gone. What makes a SavedModel one is the file `tfhub_module.pb`, which names the
format, and a graph for each set of tags, the empty one among them: that is the graph which `hub.load` takes.
"""

import os
import sys
from pathlib import Path

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3")

import tensorflow as tf

FORMAT_V3 = b"\x08\x03"  # the message ModuleDef with format=FORMAT_V3
WORDS = ["the", "quick", "brown", "<p>hello</p>"]

v1 = tf.compat.v1


def main() -> None:
    target = Path(sys.argv[1])
    vocabulary = target.with_name("words.txt")
    vocabulary.write_text("".join(f"{word}\n" for word in WORDS))
    with tf.Graph().as_default(), v1.Session() as session:
        asset = tf.constant(str(vocabulary), name="words")
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, asset)
        initializer = tf.lookup.TextFileInitializer(
            asset, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
        )
        table = v1.lookup.StaticVocabularyTable(initializer, num_oov_buckets=3)
        text = v1.placeholder(tf.string, [None], name="text")
        weights = v1.get_variable("weights", [len(WORDS) + 3, 5], initializer=v1.random_normal_initializer(seed=7))
        embedded = tf.gather(weights, table.lookup(text), name="embedded")
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        builder = v1.saved_model.Builder(str(target))
        builder.add_meta_graph_and_variables(
            session,
            [],
            signature_def_map={
                "default": v1.saved_model.predict_signature_def({"text": text}, {"default": embedded}),
            },
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            main_op=v1.tables_initializer(),
        )
        builder.save()
    (target / "tfhub_module.pb").write_bytes(FORMAT_V3)


if __name__ == "__main__":
    main()
