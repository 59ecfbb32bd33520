"""TensorFlow's side of the comparison: one `tf.function` a step. Variants: `xla` (jit_compile), `bf16` (products and convolutions in bf16, by
TensorFlow's own rewriting of graphs)."""

from typing import Callable

from serve import N_BATCHES, arguments, files, peak_rss_mb, say, serve

options = arguments()

import numpy as np
import tensorflow as tf
from safetensors import safe_open
from safetensors.numpy import load_file

import layouts
import tensorflow_models
from layouts import Tree

VARIANTS = set(filter(None, options.variant.split(",")))
XLA = "xla" in VARIANTS
tf.config.threading.set_intra_op_parallelism_threads(options.threads)
tf.config.threading.set_inter_op_parallelism_threads(options.threads)
if "bf16" in VARIANTS:
    tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": True})

MODEL = tensorflow_models.MODELS[options.workload]


def mapped(function: Callable, tree: Tree) -> Tree:
    """A tree of what a function makes of each leaf."""
    return {name: mapped(function, node) if isinstance(node, dict) else function(node) for name, node in tree.items()}


def leaves(tree: Tree) -> list:
    """All leaves, in the order of the tree."""
    return [leaf for node in tree.values() for leaf in (leaves(node) if isinstance(node, dict) else [node])]


def adam_with(rate: float, weight_decay: float) -> Callable:
    """AdamW as torch.optim has it, by TensorFlow's fused operation; Adam where nothing decays. That operation adds its epsilon before it
    corrects the bias of the second moment, so the epsilon is corrected, too."""

    def update(parameter: tf.Variable, gradient: tf.Tensor, moments: list[tf.Variable], t: tf.Variable) -> None:
        if weight_decay:
            parameter.assign(parameter * (1 - rate * weight_decay))
        power1, power2 = 0.9**t, 0.999**t
        tf.raw_ops.ResourceApplyAdam(
            var=parameter.handle,
            m=moments[0].handle,
            v=moments[1].handle,
            beta1_power=power1,
            beta2_power=power2,
            lr=rate,
            beta1=0.9,
            beta2=0.999,
            epsilon=1e-8 * tf.sqrt(1 - power2),
            grad=gradient,
        )

    return update


def sgd(parameter: tf.Variable, gradient: tf.Tensor, moments: list[tf.Variable], t: tf.Variable) -> None:
    """Momentum 0.9 and weight decay 1e-4, as torch.optim.SGD has them, by TensorFlow's fused operation."""
    tf.raw_ops.ResourceApplyMomentum(
        var=parameter.handle, accum=moments[0].handle, lr=0.1, grad=gradient + 1e-4 * parameter, momentum=0.9
    )


def optimizer() -> Callable:
    """The update of a parameter of the workload."""
    if options.workload == "resnet20":
        return sgd
    return adam_with(*{"gpt": (1e-3, 0.01), "gpt2": (1e-4, 0.01)}.get(options.workload, (1e-3, 0.0)))


def training(parameters: Tree, statistics: Tree, batches: list[tuple], dropout: bool) -> Callable:
    """A step on the batch of a number, which returns the loss before the update."""
    parameters = mapped(tf.Variable, parameters)
    statistics = mapped(lambda values: tf.Variable(values, trainable=False), statistics)
    everything = layouts.merged(parameters, statistics)
    variables = leaves(parameters)
    moments = [[tf.Variable(tf.zeros_like(v), trainable=False) for _ in range(2)] for v in variables]
    t = tf.Variable(0.0, trainable=False)
    update, train = optimizer(), "dropped" if dropout else "whole"

    @tf.function(jit_compile=XLA)
    def compiled(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            scores = MODEL(everything, x, train)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, scores))
        gradients = tape.gradient(loss, variables)
        t.assign_add(1.0)
        for variable, gradient, both in zip(variables, gradients, moments):
            update(variable, tf.convert_to_tensor(gradient), both, t)
        return loss

    # The one that batches of these shapes take, found once instead of in every call.
    compiled = compiled.get_concrete_function(*batches[0])
    return lambda k: compiled(*batches[k % len(batches)]).numpy()


def start(dropout: bool) -> Callable:
    weights, batches = files(options)
    tensors = load_file(batches)
    numbers = lambda values: values.astype(np.int32) if values.dtype == np.int64 else values
    pair = lambda k: (layouts.image(numbers(tensors[f"x.{k}"])), numbers(tensors[f"y.{k}"]).flatten())
    batches = [tuple(map(tf.constant, pair(k))) for k in range(N_BATCHES)]
    return training(*layouts.tree(options.workload, load_file(weights)), batches, dropout)


def infer(batch: int) -> Callable:
    """With weights as constants, which TensorFlow arranges once."""
    parameters, _ = layouts.tree(options.workload, load_file(files(options)[0]))
    parameters = mapped(tf.constant, parameters)
    x = tf.constant(np.random.default_rng(0).standard_normal(layouts.inputs(options.workload, batch), np.float32))
    compiled = tf.function(lambda x: MODEL(parameters, x, "whole"), jit_compile=XLA)
    compiled = compiled.get_concrete_function(x)
    predict = lambda: compiled(x).numpy()
    predict()
    return predict


def first_step(n_steps: int) -> None:
    """Steps from nothing but the shapes: random weights, a batch of zeros."""
    rng = np.random.default_rng(0)
    weights, batches = files(options)
    with safe_open(weights, "np") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}
    random = {name: 0.03 * rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    with safe_open(batches, "np") as file:
        x, y = layouts.image(file.get_tensor("x.0")), file.get_tensor("y.0").flatten()
    kind = tf.int32 if x.dtype == np.int64 else tf.float32
    batch = tf.zeros(x.shape, kind), tf.zeros(y.shape, tf.int32)
    step = training(*layouts.tree(options.workload, random), [batch], True)
    del random
    for k in range(n_steps):
        loss = step(k)
    say(loss=float(loss), peak_rss_mb=peak_rss_mb())


if options.command == "work":
    serve({"ready": "tensorflow", "version": tf.__version__}, start, infer)
else:
    first_step(1 if options.command == "start" else 3)
