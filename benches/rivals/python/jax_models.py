"""The workloads in JAX: functions of trees of arrays. Images are channels-last and matrices are [in, out], as XLA likes them
(`layouts.py`)."""

import jax
import jax.numpy as jnp
from jax import lax


def dense(p, x):
    y = x @ p["weight"]
    return y + p["bias"] if "bias" in p else y


def drop(key, rate, x):
    """Dropout; nothing without a key."""
    if key is None:
        return x
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


def convolve(p, x, stride=1, padding=0):
    numbers = ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(x, p["weight"], (stride, stride), [(padding, padding)] * 2, dimension_numbers=numbers)
    return y + p["bias"] if "bias" in p else y


def layer_norm(p, x):
    centred = x - x.mean(-1, keepdims=True)
    return centred * lax.rsqrt((centred * centred).mean(-1, keepdims=True) + 1e-5) * p["weight"] + p["bias"]


def batch_norm(p, x, updates, path):
    """By the statistics of the batch; the running ones go to `updates` under the norm's path."""
    n = x.shape[0] * x.shape[1] * x.shape[2]
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    updates[f"{path}.running_mean"] = 0.9 * p["running_mean"] + 0.1 * mean
    updates[f"{path}.running_var"] = 0.9 * p["running_var"] + 0.1 * var * n / (n - 1)
    return (x - mean) * (lax.rsqrt(var + 1e-5) * p["weight"]) + p["bias"]


def mlp(p, x, key, updates):
    return dense(p["fc2"], drop(key, 0.2, jax.nn.relu(dense(p["fc1"], x))))


def mlp_large(p, x, key, updates):
    return dense(p["fc3"], jax.nn.relu(dense(p["fc2"], jax.nn.relu(dense(p["fc1"], x)))))


def cnn(p, x, key, updates):
    key1, key2 = (None, None) if key is None else jax.random.split(key)
    x = jax.nn.relu(convolve(p["conv2"], jax.nn.relu(convolve(p["conv1"], x))))
    x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    x = jax.nn.relu(dense(p["fc1"], drop(key1, 0.25, x).reshape(x.shape[0], -1)))
    return dense(p["fc2"], drop(key2, 0.5, x))


def block(p, x, updates, path, stride):
    y = convolve(p["conv1"], x, stride, 1)
    y = convolve(p["conv2"], jax.nn.relu(batch_norm(p["bn1"], y, updates, f"{path}.bn1")), 1, 1)
    y = batch_norm(p["bn2"], y, updates, f"{path}.bn2")
    if "downsample" in p:
        x = convolve(p["downsample"]["0"], x, stride)
        x = batch_norm(p["downsample"]["1"], x, updates, f"{path}.downsample.1")
    return jax.nn.relu(x + y)


def resnet20(p, x, key, updates):
    x = jax.nn.relu(batch_norm(p["bn1"], convolve(p["conv1"], x, 1, 1), updates, "bn1"))
    for stage in ("layer1", "layer2", "layer3"):
        for k in ("0", "1", "2"):
            stride = 2 if "downsample" in p[stage][k] else 1
            x = block(p[stage][k], x, updates, f"{stage}.{k}", stride)
    return dense(p["fc"], x.mean((1, 2)))


def attention(p, x, heads):
    b, t, width = x.shape
    split = lambda part: part.reshape(b, t, heads, width // heads).transpose(0, 2, 1, 3)
    q, k, v = map(split, jnp.split(dense(p["c_attn"], x), 3, -1))
    scores = q @ k.transpose(0, 1, 3, 2) * (width // heads) ** -0.5
    scores = jnp.where(jnp.tril(jnp.ones((t, t), bool)), scores, -jnp.inf)
    y = (jax.nn.softmax(scores) @ v).transpose(0, 2, 1, 3).reshape(b, t, width)
    return dense(p["c_proj"], y)


def gpt_with(heads):
    def gpt(p, tokens, key, updates):
        x = p["wte"][tokens] + p["wpe"][: tokens.shape[1]]
        for k in range(len(p["h"])):
            q = p["h"][str(k)]
            x = x + attention(q["attn"], layer_norm(q["ln_1"], x), heads)
            x = x + dense(q["c_proj"], jax.nn.gelu(dense(q["c_fc"], layer_norm(q["ln_2"], x)), approximate=True))
        x = layer_norm(p["ln_f"], x).reshape(-1, x.shape[-1])
        return dense(p["lm_head"], x) if "lm_head" in p else x @ p["wte"].T

    return gpt


def lstm(p, x, key, updates):
    r = p["rnn"]
    inputs = (x @ r["weight_ih_l0"] + (r["bias_ih_l0"] + r["bias_hh_l0"])).transpose(1, 0, 2)

    def cell(carry, gates):
        h, c = carry
        i, f, g, o = jnp.split(gates + h @ r["weight_hh_l0"], 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zeros = jnp.zeros((x.shape[0], 256))
    (h, _), _ = lax.scan(cell, (zeros, zeros), inputs)
    return dense(p["fc"], h)


MODELS = {
    "mlp": mlp,
    "mlp-large": mlp_large,
    "cnn": cnn,
    "resnet20": resnet20,
    "gpt": gpt_with(4),
    "gpt2": gpt_with(12),
    "lstm": lstm,
}


def with_updates(statistics, updates, path=""):
    """The statistics after a step."""
    return {
        name: with_updates(value, updates, f"{path}{name}.") if isinstance(value, dict) else updates[f"{path}{name}"]
        for name, value in statistics.items()
    }
