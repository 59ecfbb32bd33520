"""Processes that take orders: one at a time, the others stopped, each on the cores that it is given."""

import json
import os
import select
import signal
import subprocess
import time

# Variables by which numerical libraries learn how many threads to use.
THREAD_VARIABLES = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"]


class Failed(Exception):
    """A process ended, or did not answer in time."""


class Worker:
    """A process that answers each line of its input with a line of JSON. Between orders it is stopped, so that threads that wait
    busily cannot disturb whoever is measured then."""

    def __init__(self, command, cores, log, environment=None, patience=900):
        threads = {name: str(len(cores)) for name in THREAD_VARIABLES}
        self.command, self.patience, self.buffer = command, patience, b""
        self.log = open(log, "ab")
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env={**os.environ, **threads, **(environment or {})},
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )

    def answer(self):
        """The next line of JSON; whatever else is printed is passed over."""
        end = time.monotonic() + self.patience
        while True:
            line, found, rest = self.buffer.partition(b"\n")
            if found:
                self.buffer = rest
                if line.startswith(b"{"):
                    return json.loads(line)
                continue
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise Failed(f"no answer in {self.patience} s: {' '.join(self.command)}")
            piece = os.read(self.process.stdout.fileno(), 1 << 20)
            if not piece:
                raise Failed(f"ended: {' '.join(self.command)}; its messages are in {self.log.name}")
            self.buffer += piece

    def ask(self, order):
        """Wakes the process, gives an order, waits for the answer and stops the process."""
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.stdin.write(f"{order}\n".encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Failed(f"ended: {' '.join(self.command)}; its messages are in {self.log.name}") from None
        answer = self.answer()
        self.stop()
        return answer

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)

    def close(self):
        """Ends the process."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Load:
    """How much of some cores others than a worker use, from now on. The system counts in hundredths of a second."""

    def __init__(self, worker, cores):
        self.process, self.cores = worker.process, cores
        self.began, self.busy, self.own = time.perf_counter(), self.read_busy(), self.read_own()

    def read_busy(self):
        """Ticks in which the cores were not idle, time taken by a host included."""
        with open("/proc/stat", encoding="ascii") as file:
            rows = [line.split() for line in file]
        names = {f"cpu{core}" for core in self.cores}
        # user, nice, system, idle, waiting, interrupts, soft interrupts, stolen
        return sum(int(row[k]) for row in rows if row[0] in names for k in (1, 2, 3, 6, 7, 8))

    def read_own(self):
        """Ticks of the worker, in its own code and in the system's."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def foreign(self):
        """The share of the cores' time that went to others."""
        ticks = (time.perf_counter() - self.began) * os.sysconf("SC_CLK_TCK") * len(self.cores)
        return max(0.0, (self.read_busy() - self.busy) - (self.read_own() - self.own)) / ticks


class Probes:
    """A process for every core that measures how fast the core multiplies and adds just now, on vectors and on tiles, if it has any."""

    def __init__(self, program, cores, log):
        self.cores = cores
        self.workers = [Worker([program, "probe"], [core], log) for core in cores]
        self.best = []

    def measure(self):
        """GFLOP/s of every core, one number for each unit, measured at once."""
        for worker in self.workers:
            worker.process.stdin.write(b"\n")
            worker.process.stdin.flush()
        rates = [rate for worker in self.workers for rate in worker.answer()["gflops"]]
        self.best = [max(best, rate) for best, rate in zip(self.best or rates, rates)]
        return rates

    def close(self):
        for worker in self.workers:
            worker.close()
