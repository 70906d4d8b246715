"""Runs in TensorFlow's interpreter: saves an encoder of BERT-base's shape, with seeded random weights.

    bert.py TARGET

12 layers, 110 million weights, the largest tensor 30522 x 768. Every layer has functions of its own, traced for
training and for inference, as the encoders on TensorFlow Hub do: importing such a graph costs a second or two.
"""

import sys

import numpy as np
import tensorflow as tf

WORDS, POSITIONS, TYPES = 30_522, 512, 2
WIDTH, HEADS, INNER, LAYERS = 768, 12, 3072, 12
DEVIATION = 0.02
DROPPED = 0.1

_noise = np.random.default_rng(7)


def noise(*shape: int) -> tf.Variable:
    return tf.Variable(_noise.standard_normal(shape, np.float32) * np.float32(DEVIATION))


def dropped(values: tf.Tensor, *, training: bool) -> tf.Tensor:
    return tf.nn.dropout(values, DROPPED) if training else values


class _Dense(tf.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.kernel, self.bias = noise(inputs, outputs), noise(outputs)

    @tf.function
    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        return tf.matmul(values, self.kernel) + self.bias


class _Norm(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gamma, self.beta = tf.Variable(1.0 + noise(WIDTH)), noise(WIDTH)

    @tf.function
    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        mean, variance = tf.nn.moments(values, axes=[-1], keepdims=True)
        return (values - mean) * tf.math.rsqrt(variance + 1e-12) * self.gamma + self.beta


class _Attention(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = (_Dense(WIDTH, WIDTH) for _ in range(4))

    @tf.function
    def __call__(self, values: tf.Tensor, mask: tf.Tensor, *, training: bool) -> tf.Tensor:
        def heads(dense: _Dense) -> tf.Tensor:
            size = tf.shape(values)
            return tf.transpose(tf.reshape(dense(values), [size[0], size[1], HEADS, WIDTH // HEADS]), [0, 2, 1, 3])

        scores = tf.matmul(heads(self.query), heads(self.key), transpose_b=True) / (WIDTH // HEADS) ** 0.5
        weights = dropped(tf.nn.softmax(scores + (1.0 - mask[:, None, None, :]) * -1e4), training=training)
        mixed = tf.transpose(tf.matmul(weights, heads(self.value)), [0, 2, 1, 3])
        return self.output(tf.reshape(mixed, tf.shape(values)))


class _Layer(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.inner, self.outer = _Attention(), _Dense(WIDTH, INNER), _Dense(INNER, WIDTH)
        self.attention_norm, self.output_norm = _Norm(), _Norm()

    @tf.function
    def __call__(self, values: tf.Tensor, mask: tf.Tensor, *, training: bool) -> tf.Tensor:
        attended = dropped(self.attention(values, mask, training=training), training=training)
        values = self.attention_norm(values + attended)
        widened = tf.nn.gelu(self.inner(values), approximate=True)
        return self.output_norm(values + dropped(self.outer(widened), training=training))


class _Encoder(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions, self.types = noise(WORDS, WIDTH), noise(POSITIONS, WIDTH), noise(TYPES, WIDTH)
        self.norm, self.pooler = _Norm(), _Dense(WIDTH, WIDTH)
        self.layers = [_Layer() for _ in range(LAYERS)]

    @tf.function
    def __call__(
        self, word_ids: tf.Tensor, mask: tf.Tensor, type_ids: tf.Tensor, *, training: bool
    ) -> dict[str, tf.Tensor]:
        length = tf.shape(word_ids)[1]
        embedded = tf.gather(self.words, word_ids) + tf.gather(self.types, type_ids) + self.positions[None, :length]
        values = dropped(self.norm(embedded), training=training)
        every = []
        for layer in self.layers:
            values = layer(values, tf.cast(mask, tf.float32), training=training)
            every.append(values)
        pooled = tf.tanh(self.pooler(values[:, 0]))
        named = {f"layer_{number}": values for number, values in enumerate(every)}
        return {"pooled_output": pooled, "sequence_output": values, **named}


def main() -> None:
    encoder = _Encoder()
    ids = [tf.TensorSpec([None, None], tf.int32, name) for name in ("input_word_ids", "input_mask", "input_type_ids")]
    functions = [encoder.__call__.get_concrete_function(*ids, training=training) for training in (False, True)]
    tf.saved_model.save(encoder, sys.argv[1], signatures={"serving_default": functions[0]})


if __name__ == "__main__":
    main()
