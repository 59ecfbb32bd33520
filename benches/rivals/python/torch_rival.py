"""PyTorch's side of the comparison. Variants: `compile`, `bf16` (autocast), `channels_last`; without, eager in f32."""

import contextlib

from serve import BATCH, N_BATCHES, arguments, files, peak_rss_mb, say, serve

options = arguments()

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import torch_models

torch.set_num_threads(options.threads)
VARIANTS = set(filter(None, options.variant.split(",")))


def precision():
    """The context in which the model runs."""
    return torch.autocast("cpu", torch.bfloat16) if "bf16" in VARIANTS else contextlib.nullcontext()


def layout(tensor):
    """The tensor in the memory layout of the variant."""
    if "channels_last" in VARIANTS and tensor.dim() == 4:
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor


def compiled(function):
    return torch.compile(function) if "compile" in VARIANTS else function


def model(dropout, weights=None):
    net = torch_models.model(options.workload, dropout)
    if weights:
        missing, unexpected = net.load_state_dict(load_file(weights), strict=False)
        # A counter that the other side has no use for.
        missing = [name for name in missing if not name.endswith("num_batches_tracked")]
        if missing or unexpected:
            raise SystemExit(f"weights of {options.workload}: missing {missing}, left over {unexpected}")
    return net.to(memory_format=torch.channels_last) if "channels_last" in VARIANTS else net


def training(net, batches):
    """A step on the batch of a number, which returns the loss before the update."""
    optimizer = torch_models.optimizer(options.workload, net.parameters())

    @compiled
    def loss_of(x, y):
        with precision():
            return F.cross_entropy(net(x), y.flatten())

    def step(k):
        loss = loss_of(*batches[k % len(batches)])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def start(dropout):
    weights, batches = files(options)
    tensors = load_file(batches)
    batches = [(layout(tensors[f"x.{k}"]), tensors[f"y.{k}"]) for k in range(N_BATCHES)]
    return training(model(dropout, weights), batches)


def infer(batch):
    net = model(False, files(options)[0]).eval()
    net = compiled(net)
    x = layout(torch.randn(torch_models.inputs(options.workload, batch)))

    def predict():
        with torch.inference_mode(), precision():
            return net(x)

    predict()
    return predict


def first_step(n_steps):
    """Steps from nothing, on a batch of zeros."""
    batch = BATCH[options.workload]
    if options.workload in ("gpt", "gpt2"):
        batches = [(torch.zeros((batch, 64), dtype=torch.long), torch.zeros(batch * 64, dtype=torch.long))]
    else:
        x = torch.zeros(torch_models.inputs(options.workload, batch))
        batches = [(layout(x), torch.zeros(batch, dtype=torch.long))]
    step = training(model(True), batches)
    for k in range(n_steps):
        loss = step(k)
    say(loss=float(loss), peak_rss_mb=peak_rss_mb())


if options.command == "work":
    ready = {"ready": "torch", "version": torch.__version__, "path": torch.backends.cpu.get_cpu_capability()}
    serve(ready, start, infer)
else:
    first_step(1 if options.command == "start" else 3)
