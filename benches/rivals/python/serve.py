"""What the rivals written in Python share: their command line, and the orders that they answer (`ours/src/orders.rs` lists them)."""

import argparse
import json
import sys
import time

BATCH = {"mlp": 64, "mlp-large": 256, "cnn": 64, "resnet20": 32, "gpt": 12, "gpt2": 4, "lstm": 32}

N_BATCHES = 8


def arguments():
    """The command line that `run.py` gives to every rival."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["work", "start", "memory"])
    parser.add_argument("--workload", choices=BATCH, default="mlp")
    parser.add_argument("--variant", default="", help="what the rival can do in several ways, separated by commas")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", default=".", help="folder of weights and batches")
    return parser.parse_args()


def files(options):
    """Paths of the initial weights and of the batches of a workload."""
    stem = f"{options.data}/{options.workload}"
    return f"{stem}.weights.safetensors", f"{stem}.batches.safetensors"


def peak_rss_mb():
    """The most memory that this process has held, in megabytes, as Linux counts it."""
    with open("/proc/self/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


def say(**answer):
    print(json.dumps(answer), flush=True)


def timed(seconds, call):
    """Milliseconds of every call in so many seconds, of one at least. A call is over when it returns."""
    begin, times = time.perf_counter(), []
    while not times or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def serve(ready, start, infer):
    """Answers orders until the input ends.

    ready: what to tell about the rival. start(dropout): a training with the initial weights, called with the number of a step,
    which returns the loss once the step is over. infer(batch): a call that predicts such a batch.
    """
    say(**ready)
    training, inference, n_steps = None, {}, 0
    for line in sys.stdin:
        order, *values = line.split()
        if order == "losses":
            step = start(dropout=False)
            say(losses=[float(step(k)) for k in range(int(values[0]))])
        elif order == "train":
            training = training or start(dropout=True)
            loss = None

            def step():
                nonlocal loss, n_steps
                loss = training(n_steps)
                n_steps += 1

            times = timed(float(values[0]), step)
            say(ms=times, loss=float(loss))
        elif order == "infer":
            batch = int(values[0])
            if batch not in inference:
                inference[batch] = infer(batch)
            say(ms=timed(float(values[1]), inference[batch]))
        elif order == "peak":
            say(peak_rss_mb=peak_rss_mb())
        else:
            raise SystemExit(f"not an order: {line}")
