#!/usr/bin/env python3
"""Compares training steps, predictions, start and memory with other frameworks on the CPU.

    python benches/rivals/run.py --setup          once: virtual environments and the programs in Rust (needs the network)
    python benches/rivals/run.py                  everything; leave the machine alone meanwhile
    python benches/rivals/run.py --workloads mlp,cnn --rivals torch-eager,jax --threads 1 --pairs 5

Ours and a rival run in turns, in blocks, as processes of their own; whoever is not running is stopped. Both load the same
weights and see the same batches, and their losses over the first steps must agree before anything is timed. A probe of every
core stands before and behind each block, and a pair of blocks counts only if the cores ran at their speed. The raw numbers go
to results/<date>.json as they come, from which report.py makes the tables and the chart.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import report
from harness import pairs, rivals
from harness.workers import Failed, Probes, Worker

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

KINDS = ["train", "infer", "start", "memory"]

# Processes of each side whose start is timed.
N_STARTS = 7


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = lambda text: text.split(",")
    numbers = lambda text: [int(n) for n in text.split(",")]
    parser.add_argument("--setup", action="store_true", help="install and build the rivals, and end")
    parser.add_argument("--workloads", type=names, default=rivals.WORKLOADS, help="names, separated by commas")
    parser.add_argument("--rivals", type=names, help="names, separated by commas [default: all that are installed]")
    parser.add_argument("--kinds", type=names, default=KINDS, help=f"of {', '.join(KINDS)} [default: all]")
    parser.add_argument("--threads", type=numbers, default=[1, 2], help="numbers of threads [default: 1,2]")
    parser.add_argument("--cores", type=numbers, help="cores to use [default: the first ones allowed]")
    parser.add_argument("--pairs", type=int, default=11, help="pairs of blocks that count [default: 11]")
    parser.add_argument("--seconds", type=float, default=0.25, help="of a block, one step at least [default: 0.25]")
    parser.add_argument("--check-steps", type=int, help="steps whose losses are compared [default: by the workload, mostly 20]")
    parser.add_argument("--precision", default="f32", help="our precision; but for f32, bf16 rivals take part [default: f32]")
    parser.add_argument("--path", default="", help="our instruction path [default: the best]")
    parser.add_argument("--work", type=Path, default=ROOT / "target/rivals", help="folder for builds, data and messages")
    for name in rivals.IN_PYTHON:
        about = f"python with requirements-{name}.txt [default: in --work]"
        parser.add_argument(f"--{name}-python", type=Path, help=about)
    parser.add_argument("--out", type=Path, help="the JSON file; an old one is continued [default: results/<date>.json]")
    options = parser.parse_args()
    chosen = lambda name: getattr(options, f"{name}_python") or options.work / f"venv-{name}/bin/python"
    options.pythons = {name: chosen(name) for name in rivals.IN_PYTHON}
    options.out = options.out or HERE / f"results/{datetime.date.today()}.json"
    options.cores = options.cores or sorted(os.sched_getaffinity(0))
    if max(options.threads) > len(options.cores):
        parser.error(f"{max(options.threads)} threads need as many cores; there are {len(options.cores)}")
    return options


def build(folder, options, native):
    """Builds a program in Rust into --work."""
    flags = {"RUSTFLAGS": "-C target-cpu=native"} if native else {}
    command = ["cargo", "build", "--release", "--manifest-path", HERE / folder / "Cargo.toml", "--target-dir", options.work]
    subprocess.run(command, check=True, env={**os.environ, **flags})


def setup(options):
    """Installs the environments and builds the rivals. What fails is told and left out."""
    steps = [lambda name=name: build(name, options, native=True) for name in rivals.IN_RUST]
    for name, python in options.pythons.items():
        if not python.exists():
            steps.append(lambda name=name, python=python: install(name, python.parents[1]))
    for step in steps:
        try:
            step()
        except subprocess.CalledProcessError as error:
            print(f"failed: {error}", file=sys.stderr)


def install(name, folder):
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin/pip", "install", "-r", HERE / f"requirements-{name}.txt"], check=True)


class Run:
    """A run of the comparison, and the file that it writes."""

    def __init__(self, options):
        self.options = options
        self.program = str(options.work / "release/tapeless_rival")
        self.ours = rivals.ours(self.program, options.precision, options.path)
        self.data = options.work / "data"
        self.log = options.work / "messages.log"
        self.data.mkdir(parents=True, exist_ok=True)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        self.probes = {n: Probes(self.program, options.cores[:n], self.log) for n in options.threads}
        self.results = {"machine": machine(), "settings": settings(options), "rows": []}
        if options.out.exists():
            self.results["rows"] = json.loads(options.out.read_text())["rows"]

    def chosen(self):
        """The rivals that take part."""
        everybody = rivals.rivals(self.options.pythons, self.options.work)
        if self.options.rivals:
            unknown = set(self.options.rivals) - {rival.name for rival in everybody}
            if unknown:
                raise SystemExit(f"there is no rival {', '.join(unknown)}; there are {[r.name for r in everybody]}")
            everybody = [rival for rival in everybody if rival.name in self.options.rivals]
        elif self.options.precision == "f32":
            everybody = [rival for rival in everybody if rival.precision == "f32"]
        for rival in everybody:
            if not rival.is_here():
                print(f"left out, not installed: {rival.name} ({' '.join(rival.command)})")
        return [rival for rival in everybody if rival.is_here()]

    def add(self, row):
        """Takes a row into the file, which is whole at any time."""
        key = ("kind", "workload", "batch", "threads", "rival", "precision", "path")
        same = lambda other: all(other.get(name) == row.get(name) for name in key)
        self.results["rows"] = [other for other in self.results["rows"] if not same(other)] + [row]
        part = self.options.out.with_suffix(".part")
        part.write_text(json.dumps(self.results, indent=1))
        part.replace(self.options.out)
        told = {name: value for name, value in row.items() if name not in ("blocks", "losses", "starts", "best_probes")}
        print(json.dumps(told), flush=True)

    def worker(self, rival, workload, threads):
        line = rival.line("work", threads, self.data, workload=workload)
        return Worker(line, self.options.cores[:threads], self.log, rival.environment)

    def row(self, kind, rival, workload, batch, threads, ready):
        """What identifies a row."""
        return {
            "kind": kind,
            "workload": workload,
            "batch": batch,
            "threads": threads,
            "rival": rival.name,
            "rival_precision": rival.precision,
            "precision": self.options.precision,
            "path": ready.get("path", self.options.path),
        }

    def compare(self, rival, workload, threads):
        """Training and predictions of a workload beside those of a rival."""
        with self.worker(self.ours, workload, threads) as ours, self.worker(rival, workload, threads) as other:
            ready = ours.answer()
            ours.stop()
            version = other.answer().get("version", "")
            other.stop()
            name = lambda kind, batch: {**self.row(kind, rival, workload, batch, threads, ready), "version": version}
            if "train" in self.options.kinds:
                n_steps = self.options.check_steps or rivals.STEPS.get(workload, rivals.DEFAULT_STEPS)
                losses = [worker.ask(f"losses {n_steps}")["losses"] for worker in (ours, other)]
                row = {**name("train", None), "losses": losses}
                distance = max(abs(a - b) / abs(b) for a, b in zip(*losses))
                row["loss_distance"] = distance
                # Not a number is not below anything.
                if distance <= rival.tolerance(workload, self.options.precision):
                    row.update(self.blocks(ours, other, f"train {self.options.seconds}", threads))
                else:
                    row["error"] = f"losses differ by {distance:.1e}"
                self.add(row)
            if "infer" in self.options.kinds:
                for batch in rivals.PREDICTIONS.get(workload, []):
                    order = f"infer {batch} {self.options.seconds}"
                    self.add({**name("infer", batch), **self.blocks(ours, other, order, threads)})

    def blocks(self, ours, other, order, threads):
        probes = self.probes[threads]
        measured = pairs.compare(ours, other, order, probes, self.options.pairs)
        return {**pairs.summary(measured, probes.best), "best_probes": list(probes.best), "blocks": measured}

    def starts(self, rival):
        """Seconds from the start of a process to the end of the first step of the mlp, in turns, on one core."""
        seconds = {"ours": [], "rival": []}
        for _ in range(N_STARTS):
            for side, who in (("ours", self.ours), ("rival", rival)):
                line = who.line("start", 1, self.data)
                with Worker(line, self.options.cores[:1], self.log, who.environment) as worker:
                    worker.answer()
                    seconds[side].append(1e3 * (time.perf_counter() - worker.began))
        measured = [{"ours": {"ms": a}, "rival": {"ms": b}} for a, b in zip(seconds["ours"], seconds["rival"])]
        ratio, low, high = pairs.interval([pair["rival"]["ms"] / pair["ours"]["ms"] for pair in measured])
        middle = lambda side: sorted(seconds[side])[N_STARTS // 2]
        row = {"ours_ms": middle("ours"), "rival_ms": middle("rival"), "ratio": ratio, "low": low, "high": high}
        self.add({**self.row("start", rival, "mlp", None, 1, {}), **row, "starts": seconds})

    def memory(self, rival, workload):
        """Megabytes that a process has held at most after three steps, on one core."""
        megabytes = {}
        for side, who in (("ours", self.ours), ("rival", rival)):
            line = who.line("memory", 1, self.data, workload=workload)
            with Worker(line, self.options.cores[:1], self.log, who.environment) as worker:
                megabytes[side] = worker.answer()
        row = {"ours_mb": megabytes["ours"]["peak_rss_mb"], "rival_mb": megabytes["rival"]["peak_rss_mb"]}
        row["ours_workspace_mb"] = megabytes["ours"]["workspace_mb"]
        self.add({**self.row("memory", rival, workload, None, 1, {}), **row})

    def everything(self):
        chosen = self.chosen()
        for workload in self.options.workloads:
            self.export(workload)
            for rival in (rival for rival in chosen if workload in rival.workloads):
                for threads in self.options.threads:
                    if {"train", "infer"} & set(self.options.kinds):
                        self.attempt(self.compare, rival, workload, threads, kind="train")
                if "memory" in self.options.kinds:
                    self.attempt(self.memory, rival, workload, kind="memory")
        if "start" in self.options.kinds:
            self.export("mlp")
            for rival in chosen:
                self.attempt(self.starts, rival, kind="start")

    def export(self, workload):
        """Writes the weights and batches that both sides read."""
        subprocess.run([self.program, "export", "--workload", workload, "--data", self.data], check=True)

    def attempt(self, what, rival, *details, kind):
        """One rival's failure is told and written down, and does not end the run."""
        try:
            what(rival, *details)
        except Failed as error:
            print(f"failed, {what.__name__} of {rival.name} {details}: {error}", file=sys.stderr, flush=True)
            workload, threads = (*details, 1)[:2] if details else ("mlp", 1)
            self.add({**self.row(kind, rival, workload, None, threads, {}), "error": f"{what.__name__} failed"})


def machine():
    """What is measured on."""
    facts = {"date": datetime.datetime.now().isoformat(timespec="minutes"), "system": platform.platform()}
    with open("/proc/cpuinfo", encoding="ascii") as file:
        text = file.read()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            facts["processor"] = value.strip()
        if name.strip() == "flags":
            wanted = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16")
            facts["instructions"] = [flag for flag in wanted if flag in value.split()]
    facts["cores"] = len(os.sched_getaffinity(0))
    facts["load"] = os.getloadavg()[0]
    facts["rustc"] = output("rustc", "--version")
    facts["commit"] = output("git", "-C", ROOT, "rev-parse", "HEAD")
    return facts


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def settings(options):
    return {name: getattr(options, name) for name in ("pairs", "seconds", "check_steps", "cores")}


def main():
    options = arguments()
    if options.setup:
        setup(options)
        return
    build("ours", options, native=False)
    run = Run(options)
    run.everything()
    for path in report.write(options.out):
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
