"""PyTorch's products of matrices, for products.py: the orders are those of products/src/main.rs."""

import argparse
import json
import sys
import time

import torch


def factor(rows, cols, seed, transposed):
    """A factor of the same numbers as in products/src/libraries.rs: as they lie in memory."""
    numbers = ((torch.arange(rows * cols) * 31 + seed) % 97).to(torch.float32) / 97.0 - 0.5
    return numbers.view(cols, rows).t() if transposed else numbers.view(rows, cols)


def timed(seconds, call):
    """Milliseconds of each call in so many seconds; short ones are taken in packs."""
    began = time.perf_counter()
    call()
    pack = int(min(max(2e-5 / (time.perf_counter() - began), 1), 1e4))
    began, times = time.perf_counter(), []
    while not times or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        for _ in range(pack):
            call()
        times.append(1e3 * (time.perf_counter() - start) / pack)
    return times


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["work"])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(json.dumps({"rival": "torch", "version": torch.__version__}), flush=True)
    prepared, a, b, c = None, None, None, None
    for line in sys.stdin:
        order, *values = line.split()
        if order == "product":
            m, n, k = map(int, values[:3])
            if prepared != values[:4]:
                left, right = (letter == "t" for letter in values[3])
                a, b, c = factor(m, k, 1, left), factor(k, n, 5, right), torch.zeros(m, n)
                prepared = values[:4]
            print(json.dumps({"ms": timed(float(values[4]), lambda: torch.mm(a, b, out=c))}), flush=True)
        elif order == "sum":
            flat = c.flatten().to(torch.float64)
            print(json.dumps({"sum": float((flat * (torch.arange(len(flat)) % 7 + 1)).sum())}), flush=True)
        else:
            raise SystemExit(f"not an order: {line}")


if __name__ == "__main__":
    main()
