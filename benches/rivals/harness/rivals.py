"""Who takes part, and in what."""

import os
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]

WORKLOADS = ["mlp", "mlp-large", "lstm", "gpt", "cnn", "resnet20", "gpt2"]

# Frameworks with an environment of their own (`requirements-<name>.txt`), and those that are programs built from a folder of the name.
IN_PYTHON = ["torch", "jax", "tensorflow"]
IN_RUST = ["candle", "burn", "dfdx"]

# Workloads whose predictions are compared, and their batches.
PREDICTIONS = {"mlp": [1, 64], "cnn": [1, 64]}

# Steps whose losses are compared. Of the large perceptron's half a million numbers before relus, one of the second batch lies 2e-7 from zero, and
# rounding decides on which side; Adam's first steps are as long for the smallest gradient as for the largest, so a flipped relu flips others: in
# PyTorch, f32 against f64, 1 after one step, 23 after two, 565 after seven. Then losses differ by 4e-5 within 8 steps, by 1e-3 within 20.
STEPS = {"mlp-large": 8}
DEFAULT_STEPS = 20

# The largest relative distance of losses over these steps. With a learning rate of 0.1 and momentum on random images
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


def rivals(pythons: dict[str, Path], target: Path) -> list[Rival]:
    """Everybody else. Rust programs are built for the CPU at hand, which ours is not."""
    return [*in_python(pythons), *in_rust(target)]


def in_python(pythons: dict[str, Path]) -> list[Rival]:
    """Those with an environment of their own, in each way in which they can be used."""
    torch, jax, tensorflow = ([str(pythons[name]), str(HERE / f"python/{name}_rival.py")] for name in IN_PYTHON)
    images, on_cpu = ["cnn", "resnet20"], {"JAX_PLATFORMS": "cpu"}
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "2"}
    return [
        Rival("torch-eager", torch),
        Rival("torch-compile", torch, "compile"),
        Rival("torch-eager-channels-last", torch, "channels_last", workloads=images),
        Rival("torch-eager-bf16", torch, "bf16", "bf16"),
        Rival("torch-compile-bf16", torch, "compile,bf16", "bf16"),
        Rival("torch-eager-channels-last-bf16", torch, "channels_last,bf16", "bf16", workloads=images),
        Rival("jax", jax, environment=on_cpu),
        Rival("jax-rbg", jax, "rbg", workloads=["mlp", "cnn"], environment=on_cpu),
        Rival("tensorflow", tensorflow, environment=quiet),
        Rival("tensorflow-xla", tensorflow, "xla", environment=quiet),
        Rival("tensorflow-bf16", tensorflow, "bf16", "bf16", environment=quiet),
    ]


def in_rust(target: Path) -> list[Rival]:
    """Those that are programs."""
    program = lambda name: [str(target / f"release/{name}_rival")]
    return [
        Rival("candle", program("candle"), workloads=["mlp", "mlp-large", "cnn", "gpt", "lstm"]),
        Rival("burn", program("burn")),
        Rival("dfdx", program("dfdx"), workloads=["mlp", "mlp-large"]),
    ]
