#!/usr/bin/env python3
"""Compares products of f32 matrices with the crates gemm, faer and matrixmultiply, and with PyTorch.

    python benches/rivals/products.py                              all sizes, one thread and two
    python benches/rivals/products.py --threads 1 --only 1024      sizes with 1024 in their name
    python benches/rivals/products.py --rivals gemm,torch --pairs 5

Ours and a rival multiply in turns, in blocks, as in run.py (whose folder --work is, with its virtual environments). All have the
same factors, and the sums of their results must agree. Sizes are squares and the products of the workloads' steps: m x n x k, and
how both factors lie (n row by row, t column by column). The table is printed and written to results/<date>-products.md.
"""

import argparse
import datetime
import os
import subprocess
from pathlib import Path

from harness import pairs
from harness.workers import Failed, Probes, Worker

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

SQUARES = [(n, n, n, layout) for n in (32, 64, 128, 256, 512, 1024, 2048) for layout in ("nn",)]

# The layers of the workloads: rows of the batch, outputs, inputs.
LAYERS = {
    "mlp": [(64, 128, 784), (64, 10, 128)],
    "mlp-large": [(256, 1024, 1024), (256, 1024, 784)],
    "cnn": [(64, 128, 9216)],
    "lstm": [(32, 1024, 256), (2048, 1024, 64)],
    "gpt": [(768, 384, 128), (768, 512, 128), (768, 128, 512), (768, 65, 128)],
    "gpt2": [(256, 3072, 768), (256, 768, 3072), (256, 50257, 768)],
}

RIVALS = ["gemm", "faer", "matrixmultiply", "torch"]

# How far the sums of results may differ, relative to the sum of |a||b| that a product of such numbers has.
TOLERANCE = 1e-4


def sizes():
    """Every product that is compared: squares, and of each layer forward, the gradient of its input and that of its weight."""
    yield from (("square", size) for size in SQUARES)
    for name, layers in LAYERS.items():
        for rows, outputs, inputs in layers:
            yield f"{name}, forward", (rows, outputs, inputs, "nt")
            yield f"{name}, input's gradient", (rows, inputs, outputs, "nn")
            yield f"{name}, weight's gradient", (outputs, inputs, rows, "tn")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2])
    parser.add_argument("--rivals", type=lambda text: text.split(","), default=RIVALS)
    parser.add_argument("--only", default="", help="products with this in their name or size")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of blocks that count [default: 5]")
    parser.add_argument("--seconds", type=float, default=0.03, help="of a block [default: 0.03]")
    parser.add_argument("--work", type=Path, default=ROOT / "target/rivals", help="folder for builds and messages")
    parser.add_argument("--torch-python", type=Path, help="python with requirements-torch.txt [default: in --work]")
    options = parser.parse_args()
    options.torch_python = options.torch_python or options.work / "venv-torch/bin/python"
    return options


def command(name, options, threads):
    if name == "torch":
        return [str(options.torch_python), str(HERE / "python/torch_products.py"), "work", "--threads", str(threads)]
    return [str(options.work / "release/product_rivals"), "work", "--library", name, "--threads", str(threads)]


def compare(ours, rival, size, probes, options):
    """Ratio of the rival's time to ours, and both rates, of one product."""
    m, n, k, layout = size
    order = f"product {m} {n} {k} {layout} {options.seconds}"
    measured = pairs.summary(pairs.compare(ours, rival, order, probes, options.pairs), probes.best)
    sums = [worker.ask("sum")["sum"] for worker in (ours, rival)]
    if abs(sums[0] - sums[1]) > TOLERANCE * m * n * k ** 0.5:
        raise Failed(f"results differ: sums {sums}")
    return measured


def row(name, size, found):
    """A line of the table."""
    m, n, k, layout = size
    rate = lambda ms: 2e-6 * m * n * k / ms
    ours = max(rate(result["ours_ms"]) for result in found)
    ratios = [f"{result['ratio']:.2f}" + (" (noisy)" if result["noisy"] else "") for result in found]
    return f"| {name} | {m} x {n} x {k} {layout} | {ours:.0f} | " + " | ".join(ratios) + " |"


def table(threads, options):
    """Compares everything at one number of threads; gives the lines of the table as they come."""
    cores = sorted(os.sched_getaffinity(0))[:threads]
    log = options.work / "messages.log"
    environment = {"MATMUL_NUM_THREADS": str(threads)}
    start = lambda name: Worker(command(name, options, threads), cores, log, environment)
    probes = Probes(str(options.work / "release/tapeless_rival"), cores, log)
    workers = {name: start(name) for name in ["ours", *options.rivals]}
    try:
        for worker in workers.values():
            worker.answer()
            worker.stop()
        yield f"\n{threads} thread{'s' if threads > 1 else ''}: GFLOP/s of ours, and the time of a rival over ours (above 1 ours is faster)\n"
        yield "| product | m x n x k, layout | ours | " + " | ".join(options.rivals) + " |"
        yield "|" + "---|" * (3 + len(options.rivals))
        for name, size in sizes():
            if options.only not in f"{name} {'x'.join(map(str, size))}":
                continue
            found = [compare(workers["ours"], workers[rival], size, probes, options) for rival in options.rivals]
            yield row(name, size, found)
    finally:
        probes.close()
        for worker in workers.values():
            worker.close()


def main():
    options = arguments()
    for folder in ("ours", "products"):
        build = ["cargo", "build", "--release", "--manifest-path", HERE / folder / "Cargo.toml", "--target-dir", options.work]
        subprocess.run(build, check=True)
    out = HERE / f"results/{datetime.date.today()}-products.md"
    lines = ["# Products of f32 matrices"]
    for threads in options.threads:
        for line in table(threads, options):
            print(line, flush=True)
            lines.append(line)
    if not options.only:
        out.write_text("\n".join(lines) + "\n")
        print(f"wrote {out}")


if __name__ == "__main__":
    main()
