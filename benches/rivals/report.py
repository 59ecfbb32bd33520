#!/usr/bin/env python3
"""Tables (Markdown) and a chart (SVG) of what run.py has measured.

    python benches/rivals/report.py results/<date>.json        writes <date>.md and <date>.svg beside it
"""

import json
import sys
from pathlib import Path

from harness import chart
from harness.rivals import WORKLOADS

# How many times as fast as the fastest rival a step should be where the processor has tiles, on 1 and 2 threads.
AIMS = {
    "f32": {
        "mlp": (3.5, 3.0),
        "mlp-large": (1.7, 2.0),
        "cnn": (2.5, 2.5),
        "resnet20": (2.0, 2.2),
        "gpt": (2.3, 2.3),
        "lstm": (2.0, 2.0),
        "gpt2": (2.0, 2.5),
    },
    "bf16": {
        "mlp-large": (2.3, 2.3),
        "cnn": (5.0, 5.0),
        "resnet20": (3.5, 3.5),
        "gpt": (4.0, 4.0),
        "lstm": (3.5, 3.5),
        "gpt2": (2.2, 2.2),
    },
}

# The same for predictions at the default precision, by the batch.
PREDICTION_AIMS = {("mlp", 1): 2.0, ("cnn", 1): 1.7, ("mlp", 64): 2.0, ("cnn", 64): 2.0}

# Milliseconds from the start of the process to the end of the first step of the mlp.
START_AIM = 5.0


def write(path):
    """Writes both beside the JSON file, and returns their paths."""
    results = json.loads(path.read_text())
    rows = results["rows"]
    tables, picture = path.with_suffix(".md"), path.with_suffix(".svg")
    tables.write_text("\n".join([*machine(results), *training(rows), *predictions(rows), *once(rows)]) + "\n")
    picture.write_text(chart.svg(measured(rows, "train")))
    return tables, picture


def machine(results):
    facts, settings = results["machine"], results["settings"]
    return [
        "# Comparison with other frameworks",
        "",
        f"{facts['date']}; {facts['cores']} cores of {facts.get('processor', 'an unknown processor')} "
        f"({', '.join(facts.get('instructions', []))}); {facts['system']}; {facts['rustc']}; commit {facts['commit'][:12]}; "
        f"load at the start {facts['load']:.2f}.",
        "",
        f"Blocks of {settings['seconds']} s in turns. Milliseconds are medians over the pairs that count; ratios are those of "
        "neighbouring blocks, with their median and a 90 % confidence interval of it; above 1, ours is faster. `noisy` marks "
        "comparisons in which too few blocks ran at the speed of the cores.",
        "",
    ]


def measured(rows, kind):
    """Rows of a kind that have numbers."""
    return [row for row in rows if row["kind"] == kind and "ratio" in row]


def order(row):
    return row["threads"], row["precision"], WORKLOADS.index(row["workload"]), row["batch"] or 0, row["rival_ms"]


def training(rows):
    timed = sorted(measured(rows, "train"), key=order)
    lines = ["## Training steps", "", *fastest(timed)]
    lines += head("workload", "threads", "ours", "rival", "ours, ms", "rival, ms", "rival / ours", "losses agree to")
    for row in timed:
        names = [row["workload"], row["threads"], side(row), who(row)]
        lines.append(line(*names, ms(row["ours_ms"]), ms(row["rival_ms"]), ratio(row), f"{row['loss_distance']:.0e}"))
    refused = [row for row in rows if "error" in row]
    lines += [""] + [f"Not timed: {row['rival']} on {row['workload']}, {row['error']}." for row in refused]
    return [*lines, ""]


def fastest(timed: list[dict]) -> list[str]:
    """The fastest rival of each workload, by the ratio to ours beside it, and whether the aim is reached: by the lower end of the
    interval, and by no row that is noisy."""
    best = {}
    for row in sorted(timed, key=lambda row: row["ratio"]):
        best.setdefault((row["threads"], row["precision"], row["path"], row["workload"], row["batch"]), row)
    if not best:
        return []
    lines = head("workload", "threads", "ours", "fastest rival", "rival / ours, median and 90 % interval", "aim", "reached")
    for row in sorted(best.values(), key=order):
        name = row["workload"] + (f", batch {row['batch']}" if row["batch"] else "")
        reached = "" if aim(row) is None else "yes" if row["low"] >= aim(row) and not row.get("noisy") else "no"
        lines.append(line(name, row["threads"], side(row), who(row), ratio(row), aim(row) or "", reached))
    return [*lines, "", "(Aims are those for processors with tiles, AMX.)", ""]


def aim(row: dict) -> float | None:
    """How many times as fast as the fastest rival ours should be, where that is said."""
    if row["kind"] == "infer":
        return PREDICTION_AIMS.get((row["workload"], row["batch"])) if row["precision"] == "f32" else None
    return AIMS.get(row["precision"], {}).get(row["workload"], (None, None))[min(row["threads"], 2) - 1]


def predictions(rows):
    timed = sorted(measured(rows, "infer"), key=order)
    if not timed:
        return []
    lines = ["## Predictions", "", *fastest(timed)]
    lines += head("workload", "batch", "threads", "ours", "rival", "ours, ms", "rival, ms", "rival / ours")
    for row in timed:
        names = [row["workload"], row["batch"], row["threads"], side(row), who(row)]
        lines.append(line(*names, ms(row["ours_ms"]), ms(row["rival_ms"]), ratio(row)))
    return [*lines, ""]


def once(rows):
    lines = []
    starts = sorted(measured(rows, "start"), key=order)
    if starts:
        lines += ["## From the start of the process to the end of the first step of the mlp, one core", ""]
        lines += head("rival", "ours, ms", "rival, ms", "rival / ours")
        lines += [line(who(row), ms(row["ours_ms"]), ms(row["rival_ms"]), ratio(row)) for row in starts] + [""]
        lines += [f"(The aim for ours is {START_AIM:g} ms.)", ""]
    memory = [row for row in rows if row["kind"] == "memory" and "error" not in row]
    if memory:
        lines += ["## Peak memory of the process after three steps, one core", ""]
        lines += head("workload", "rival", "ours, MB", "of it our workspace, MB", "rival, MB")
        for row in sorted(memory, key=lambda row: (WORKLOADS.index(row["workload"]), row["rival_mb"])):
            megabytes = [f"{row[name]:.1f}" for name in ("ours_mb", "ours_workspace_mb", "rival_mb")]
            lines.append(line(row["workload"], who(row), *megabytes))
    return [*lines, ""]


def side(row):
    return " ".join(filter(None, [row["precision"], row["path"]]))


def who(row):
    return " ".join(filter(None, [row["rival"], row.get("version")]))


def ratio(row):
    noisy = ", noisy" if row.get("noisy") else ""
    return f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f}{noisy})"


def ms(value):
    return f"{value:.4f}" if value < 0.1 else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def head(*names):
    return [line(*names), "|" + "---|" * len(names)]


def line(*cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


if __name__ == "__main__":
    for written in write(Path(sys.argv[1])):
        print(f"wrote {written}")
