"""Who takes part, and in what."""

import os
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]

WORKLOADS = ["mlp", "mlp-large", "lstm", "gpt", "cnn", "resnet20", "gpt2"]

# Workloads whose predictions are compared, and their batches.
PREDICTIONS = {"mlp": [1, 64], "cnn": [1, 64]}

# The largest relative distance of losses over the first 20 steps. With a learning rate of 0.1 and momentum on random images
# ResNet-20 is chaotic: differences of rounding grow some hundredfold in ten steps.
TOLERANCE = {"resnet20": 0.1}
DEFAULT_TOLERANCE = 1e-4

# The same where products are computed in bf16: 8 bits of every operand.
BF16_TOLERANCE = {"resnet20": 0.5}
DEFAULT_BF16_TOLERANCE = 0.05


@dataclass
class Rival:
    """A framework in one of the ways in which it can be used."""

    name: str
    command: list
    variant: str = ""
    precision: str = "f32"
    workloads: list = field(default_factory=lambda: WORKLOADS)
    environment: dict = field(default_factory=dict)

    def line(self, order, threads, data, workload="mlp"):
        """The command line of `serve.py`, with `order` one of work, start and memory."""
        line = [*self.command, order, "--workload", workload, "--threads", str(threads), "--data", str(data)]
        return line + (["--variant", self.variant] if self.variant else [])

    def is_here(self):
        """Whether its program has been built or installed."""
        return all(os.path.exists(part) for part in self.command)

    def tolerance(self, workload, ours_precision):
        if "bf16" in (self.precision, ours_precision):
            return BF16_TOLERANCE.get(workload, DEFAULT_BF16_TOLERANCE)
        return TOLERANCE.get(workload, DEFAULT_TOLERANCE)


def ours(program, precision, path):
    """Our own side, which takes its settings as options."""
    settings = ["--precision", precision] + (["--path", path] if path else [])

    class Ours(Rival):
        def line(self, *arguments, **names):
            return super().line(*arguments, **names) + settings

        def is_here(self):
            return os.path.exists(program)

    return Ours("tapeless", [program], precision=precision)


def rivals(torch_python, jax_python, target):
    """Everybody else. Rust programs are built for the CPU at hand, which ours is not."""
    torch = [str(torch_python), str(HERE / "python/torch_rival.py")]
    jax = [str(jax_python), str(HERE / "python/jax_rival.py")]
    images = ["cnn", "resnet20"]
    return [
        Rival("torch-eager", torch),
        Rival("torch-compile", torch, "compile"),
        Rival("torch-eager-channels-last", torch, "channels_last", workloads=images),
        Rival("torch-eager-bf16", torch, "bf16", "bf16"),
        Rival("torch-compile-bf16", torch, "compile,bf16", "bf16"),
        Rival("torch-eager-channels-last-bf16", torch, "channels_last,bf16", "bf16", workloads=images),
        Rival("jax", jax, environment={"JAX_PLATFORMS": "cpu"}),
        Rival("jax-rbg", jax, "rbg", workloads=["mlp", "cnn"], environment={"JAX_PLATFORMS": "cpu"}),
        Rival("candle", [str(target / "release/candle_rival")], workloads=["mlp", "mlp-large", "cnn", "gpt", "lstm"]),
        Rival("burn", [str(target / "release/burn_rival")], workloads=["mlp", "mlp-large", "cnn"]),
    ]
