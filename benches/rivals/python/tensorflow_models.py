"""The workloads in TensorFlow: functions of trees of variables. Images are channels-last and matrices are [in, out] (`layouts.py`).

Written with TensorFlow's operations rather than Keras's layers, which come to the same ones; where TensorFlow has a fused operation (norms of
batches) it is taken."""

from typing import Callable

import tensorflow as tf

from layouts import Tree


def dense(p: Tree, x: tf.Tensor) -> tf.Tensor:
    y = tf.matmul(x, p["weight"])
    return tf.nn.bias_add(y, p["bias"]) if "bias" in p else y


def dense_over_positions(p: Tree, x: tf.Tensor) -> tf.Tensor:
    """Of [batch, position, feature]: one product of matrices instead of one for each sample."""
    b, t, width = x.shape
    return tf.reshape(dense(p, tf.reshape(x, (b * t, width))), (b, t, -1))


def drop(train: str, rate: float, x: tf.Tensor) -> tf.Tensor:
    return tf.nn.dropout(x, rate) if train == "dropped" else x


def convolve(p: Tree, x: tf.Tensor, stride: int = 1, padding: int = 0) -> tf.Tensor:
    sides = [[0, 0], [padding, padding], [padding, padding], [0, 0]]
    # "SAME" pads a kernel of three by one on both sides where nothing is strided; otherwise it would pad on one side only.
    padding = sides if padding and stride > 1 else "SAME" if padding else "VALID"
    y = tf.nn.conv2d(x, p["weight"], stride, padding)
    return tf.nn.bias_add(y, p["bias"]) if "bias" in p else y


def layer_norm(p: Tree, x: tf.Tensor) -> tf.Tensor:
    mean, variance = tf.nn.moments(x, -1, keepdims=True)
    return tf.nn.batch_normalization(x, mean, variance, p["bias"], p["weight"], 1e-5)


def batch_norm(p: Tree, x: tf.Tensor) -> tf.Tensor:
    """By the statistics of the batch, which go into the running ones."""
    mean, variance = p["running_mean"], p["running_var"]
    y, new_mean, new_variance = tf.compat.v1.nn.fused_batch_norm(
        x, p["weight"], p["bias"], mean, variance, 1e-5, exponential_avg_factor=0.1
    )
    mean.assign(new_mean)
    variance.assign(new_variance)
    return y


def mlp(p: Tree, x: tf.Tensor, train: str) -> tf.Tensor:
    return dense(p["fc2"], drop(train, 0.2, tf.nn.relu(dense(p["fc1"], x))))


def mlp_large(p: Tree, x: tf.Tensor, train: str) -> tf.Tensor:
    return dense(p["fc3"], tf.nn.relu(dense(p["fc2"], tf.nn.relu(dense(p["fc1"], x)))))


def cnn(p: Tree, x: tf.Tensor, train: str) -> tf.Tensor:
    x = tf.nn.relu(convolve(p["conv2"], tf.nn.relu(convolve(p["conv1"], x))))
    x = tf.nn.max_pool2d(x, 2, 2, "VALID")
    x = tf.reshape(drop(train, 0.25, x), (x.shape[0], -1))
    return dense(p["fc2"], drop(train, 0.5, tf.nn.relu(dense(p["fc1"], x))))


def block(p: Tree, x: tf.Tensor, stride: int) -> tf.Tensor:
    y = tf.nn.relu(batch_norm(p["bn1"], convolve(p["conv1"], x, stride, 1)))
    y = batch_norm(p["bn2"], convolve(p["conv2"], y, 1, 1))
    if "downsample" in p:
        x = batch_norm(p["downsample"]["1"], convolve(p["downsample"]["0"], x, stride))
    return tf.nn.relu(x + y)


def resnet20(p: Tree, x: tf.Tensor, train: str) -> tf.Tensor:
    x = tf.nn.relu(batch_norm(p["bn1"], convolve(p["conv1"], x, 1, 1)))
    for stage in ("layer1", "layer2", "layer3"):
        for k in ("0", "1", "2"):
            x = block(p[stage][k], x, 2 if "downsample" in p[stage][k] else 1)
    return dense(p["fc"], tf.reduce_mean(x, (1, 2)))


def attention(p: Tree, x: tf.Tensor, heads: int) -> tf.Tensor:
    b, t, width = x.shape
    split = lambda part: tf.transpose(tf.reshape(part, (b, t, heads, width // heads)), (0, 2, 1, 3))
    q, k, v = map(split, tf.split(dense_over_positions(p["c_attn"], x), 3, -1))
    scores = tf.matmul(q, k, transpose_b=True) * (width // heads) ** -0.5
    mask = tf.linalg.band_part(tf.ones((t, t), tf.bool), -1, 0)
    scores = tf.where(mask, scores, float("-inf"))
    y = tf.transpose(tf.matmul(tf.nn.softmax(scores), v), (0, 2, 1, 3))
    return dense_over_positions(p["c_proj"], tf.reshape(y, (b, t, width)))


def gpt_with(heads: int) -> Callable:
    def gpt(p: Tree, tokens: tf.Tensor, train: str) -> tf.Tensor:
        x = tf.gather(p["wte"], tokens) + p["wpe"][: tokens.shape[1]]
        for k in range(len(p["h"])):
            q = p["h"][str(k)]
            x = x + attention(q["attn"], layer_norm(q["ln_1"], x), heads)
            hidden = tf.nn.gelu(dense_over_positions(q["c_fc"], layer_norm(q["ln_2"], x)), approximate=True)
            x = x + dense_over_positions(q["c_proj"], hidden)
        x = tf.reshape(layer_norm(p["ln_f"], x), (-1, x.shape[-1]))
        return dense(p["lm_head"], x) if "lm_head" in p else tf.matmul(x, p["wte"], transpose_b=True)

    return gpt


def lstm(p: Tree, x: tf.Tensor, train: str) -> tf.Tensor:
    """Input products over all steps at once, then a loop. (TensorFlow's operation for all steps, `BlockLSTMV2`, gave other gradients, and was no
    faster.)"""
    r = p["rnn"]
    b, n_steps, width = x.shape
    bias = r["bias_ih_l0"] + r["bias_hh_l0"]
    inputs = tf.reshape(tf.transpose(x, (1, 0, 2)), (n_steps * b, width))
    inputs = tf.reshape(tf.matmul(inputs, r["weight_ih_l0"]) + bias, (n_steps, b, -1))
    # Read once: in the loop, every step would read the variable.
    weight = tf.convert_to_tensor(r["weight_hh_l0"])

    def cell(t: tf.Tensor, h: tf.Tensor, c: tf.Tensor) -> tuple:
        i, f, g, o = tf.split(inputs[t] + tf.matmul(h, weight), 4, -1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        return t + 1, tf.sigmoid(o) * tf.tanh(c), c

    zeros = tf.zeros((b, 256))
    _, h, _ = tf.while_loop(lambda t, h, c: t < n_steps, cell, (0, zeros, zeros), maximum_iterations=n_steps)
    return dense(p["fc"], h)


# Scores of a batch, from parameters, the batch, and `train`: "dropped" where activations are dropped.
MODELS: dict[str, Callable] = {
    "mlp": mlp,
    "mlp-large": mlp_large,
    "cnn": cnn,
    "resnet20": resnet20,
    "gpt": gpt_with(4),
    "gpt2": gpt_with(12),
    "lstm": lstm,
}
