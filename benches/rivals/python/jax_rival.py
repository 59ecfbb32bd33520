"""JAX's side of the comparison: one compiled step that may overwrite its arguments. Variant `rbg`: cheaper random bits."""

from math import log

from serve import N_BATCHES, arguments, files, peak_rss_mb, say, serve

options = arguments()

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file

import jax_models
import layouts

VARIANTS = set(filter(None, options.variant.split(",")))
jax.config.update("jax_default_prng_impl", "unsafe_rbg" if "rbg" in VARIANTS else "threefry2x32")

MODEL = jax_models.MODELS[options.workload]


def sgd(parameters, gradients, moments, t):
    """Momentum 0.9 and weight decay 1e-4, as torch.optim.SGD has them."""
    moments = jax.tree.map(lambda m, g, p: 0.9 * m + g + 1e-4 * p, moments, gradients, parameters)
    return jax.tree.map(lambda p, m: p - 0.1 * m, parameters, moments), moments


def adam_with(rate, weight_decay):
    """AdamW, as torch.optim has it; Adam where nothing decays."""

    def adam(parameters, gradients, moments, t):
        first, second = moments
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
        # Of f32, 1 - 0.999^t would be wrong in the fifth digit at the beginning.
        scale, root = rate / -jnp.expm1(t * log(0.9)), 1 / jnp.sqrt(-jnp.expm1(t * log(0.999)))

        def update(p, m, v):
            return p * (1 - rate * weight_decay) - scale * m / (jnp.sqrt(v) * root + 1e-8)

        return jax.tree.map(update, parameters, first, second), (first, second)

    return adam


def optimizer():
    """The update of the workload, and how its moments begin."""
    zeros = lambda parameters: jax.tree.map(jnp.zeros_like, parameters)
    if options.workload == "resnet20":
        return sgd, zeros
    settings = {"gpt": (1e-3, 0.01), "gpt2": (1e-4, 0.01)}.get(options.workload, (1e-3, 0.0))
    return adam_with(*settings), lambda parameters: (zeros(parameters), zeros(parameters))


def training(parameters, statistics, batches, dropout):
    """A step on the batch of a number, which returns the loss before the update."""
    update, moments = optimizer()

    def loss_of(parameters, statistics, x, y, key):
        updates = {}
        scores = MODEL(layouts.merged(parameters, statistics), x, key, updates)
        loss = -jnp.take_along_axis(jax.nn.log_softmax(scores), y.reshape(-1, 1), -1).mean()
        return loss, jax_models.with_updates(statistics, updates)

    def step_of(state, x, y):
        parameters, statistics, moments, t, key = state
        key, used = jax.random.split(key)
        differentiated = jax.value_and_grad(loss_of, has_aux=True)
        (loss, statistics), gradients = differentiated(parameters, statistics, x, y, used if dropout else None)
        parameters, moments = update(parameters, gradients, moments, t + 1)
        return (parameters, statistics, moments, t + 1, key), loss

    compiled = jax.jit(step_of, donate_argnums=0)
    parameters, statistics = jax.tree.map(jnp.array, (parameters, statistics))
    state = (parameters, statistics, moments(parameters), jnp.float32(0), jax.random.key(0))

    def step(k):
        nonlocal state
        state, loss = compiled(state, *batches[k % len(batches)])
        jax.block_until_ready((state, loss))
        return loss

    return step


def start(dropout):
    weights, batches = files(options)
    parameters, statistics = layouts.tree(options.workload, load_file(weights))
    tensors = load_file(batches)
    pair = lambda k: (jnp.array(layouts.image(tensors[f"x.{k}"])), jnp.array(tensors[f"y.{k}"]))
    return training(parameters, statistics, [pair(k) for k in range(N_BATCHES)], dropout)


def infer(batch):
    parameters, _ = layouts.tree(options.workload, load_file(files(options)[0]))
    parameters = jax.tree.map(jnp.array, parameters)
    shape = layouts.inputs(options.workload, batch)
    x = jnp.array(np.random.default_rng(0).standard_normal(shape, np.float32))
    compiled = jax.jit(lambda parameters, x: MODEL(parameters, x, None, {}))
    predict = lambda: compiled(parameters, x).block_until_ready()
    predict()
    return predict


def first_step(n_steps):
    """Steps from nothing but the shapes: random weights, a batch of zeros."""
    rng = np.random.default_rng(0)
    weights, batches = files(options)
    with safe_open(weights, "np") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}
    random = {name: 0.03 * rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    with safe_open(batches, "np") as file:
        x, y = file.get_tensor("x.0"), file.get_tensor("y.0")
    batch = jnp.zeros_like(layouts.image(x)), jnp.zeros_like(y)
    step = training(*layouts.tree(options.workload, random), [batch], True)
    del random
    for k in range(n_steps):
        loss = step(k)
    say(loss=float(loss), peak_rss_mb=peak_rss_mb())


if options.command == "work":
    serve({"ready": "jax", "version": jax.__version__}, start, infer)
else:
    first_step(1 if options.command == "start" else 3)
