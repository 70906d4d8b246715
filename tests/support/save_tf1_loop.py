"""Runs in TensorFlow's interpreter: saves a module as TensorFlow 1 made them, with a loop and a variable in parts.

    save_tf1_loop.py TARGET

Its variables are references, its loop is no function, and it has a graph for training beside the other one.
"""

import os
import sys
from pathlib import Path

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3")

import tensorflow.compat.v1 as tf

FORMAT_V3 = b"\x08\x03"  # the message ModuleDef with format=FORMAT_V3
TIMES = 3

tf.disable_resource_variables()
tf.disable_control_flow_v2()


def main() -> None:
    target = Path(sys.argv[1])
    with tf.Graph().as_default(), tf.Session() as session:
        given = tf.placeholder(tf.float32, [None, 4], name="given")
        start, in_parts = tf.random_normal_initializer(seed=7), tf.fixed_size_partitioner(2)
        weights = tf.convert_to_tensor(tf.get_variable("weights", [8, 4], initializer=start, partitioner=in_parts))
        bias = tf.get_variable("bias", [8], initializer=start)
        assert bias.dtype != bias.dtype.base_dtype, "a reference"

        def step(at: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return at + 1, tf.tanh(tf.matmul(tf.matmul(state, weights, transpose_b=True), weights))

        _, state = tf.while_loop(lambda at, _: at < TIMES, step, [tf.constant(0), given])
        outputs = {"default": tf.matmul(state, weights, transpose_b=True) + bias, "state": state}
        session.run(tf.global_variables_initializer())
        signatures = {"default": tf.saved_model.predict_signature_def({"given": given}, outputs)}
        builder = tf.saved_model.Builder(str(target))
        builder.add_meta_graph_and_variables(session, [], signature_def_map=signatures)
        builder.add_meta_graph(["train"], signature_def_map=signatures)
        builder.save()
    (target / "tfhub_module.pb").write_bytes(FORMAT_V3)


if __name__ == "__main__":
    main()
