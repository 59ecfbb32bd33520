"""Blocks of two programs in turns, and what their ratios say."""

import math
from statistics import median

from .workers import Load

# A block counts if every probe beside it reached this share of the best probe of the run on its core.
SHARE_OF_BEST = 0.85

# A block counts only if other processes took no more than this share of its cores meanwhile.
MOST_FOREIGN = 0.2

# So many times the wanted number of pairs are tried before a comparison is given up as too noisy.
MOST_TRIES = 4


def block(worker, order, probes):
    """Runs an order between two probes."""
    before = probes.measure()
    load = Load(worker, probes.cores)
    times = sorted(worker.ask(order)["ms"])
    foreign = load.foreign()
    after = probes.measure()
    return {"ms": median(times), "least_ms": times[0], "n": len(times), "probes": [before, after], "foreign": foreign}


def is_steady(block, best):
    """Whether the cores ran at their best speed before and after a block, and for nobody else."""
    if block["foreign"] > MOST_FOREIGN:
        return False
    return all(rate >= SHARE_OF_BEST * most for rates in block["probes"] for rate, most in zip(rates, best))


def steady(pairs, best):
    """The pairs whose blocks both count."""
    return [pair for pair in pairs if all(is_steady(pair[side], best) for side in ("ours", "rival"))]


def compare(ours, rival, order, probes, n_pairs):
    """Blocks of both in turns, until enough of them count; the first of each only warms up."""
    for worker in (ours, rival):
        worker.ask(order)
    pairs = []
    while len(steady(pairs, probes.best)) < n_pairs and len(pairs) < MOST_TRIES * n_pairs:
        # Who comes second meets a machine that the first has warmed: take turns at that as well.
        sides = [("ours", ours), ("rival", rival)]
        if len(pairs) % 2:
            sides.reverse()
        pairs.append({name: block(worker, order, probes) for name, worker in sides})
    return pairs


def interval(values):
    """Median and a 90 % confidence interval of the median, from the order of the values alone: each lies above the true median with
    probability one half, so how many do is binomial. With fewer than five values there is no such interval, and the ends are
    the least and the largest."""
    values, n = sorted(values), len(values)
    k, tail = 0, 0.5**n
    while tail <= 0.05 and k < n // 2:
        k += 1
        tail += math.comb(n, k) * 0.5**n
    low = max(k - 1, 0)
    return median(values), values[low], values[n - 1 - low]


def summary(pairs, best):
    """Milliseconds of both and the ratio of rival to ours, over the pairs that count; over all of them where too few do."""
    counted = steady(pairs, best)
    noisy = len(counted) < 5
    used = pairs if noisy else counted
    ratio, low, high = interval([pair["rival"]["ms"] / pair["ours"]["ms"] for pair in used])
    return {
        "ours_ms": median(pair["ours"]["ms"] for pair in used),
        "rival_ms": median(pair["rival"]["ms"] for pair in used),
        "ratio": ratio,
        "low": low,
        "high": high,
        "pairs": len(used),
        "tried": len(pairs),
        "noisy": noisy,
    }
