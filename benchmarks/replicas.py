"""What R networks in one pass cost, compared with R in turn and with two at once in two threads.

    python -m benchmarks.replicas --json FILE.json --chart FILE.png

Times are medians of interleaved rounds; each network of a pass has a seed and batches of its own.
"""

import argparse
import dataclasses
import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.__main__ import machine
from benchmarks.workloads import LEARNING_RATE, TRAINING, Workload
from nkd.backend import choose
from nkd.errors import UserError
from nkd.training import Training, fit

REPLICAS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
WORKLOADS = {workload.name: workload for workload in TRAINING}
LARGEST = {"student-housing": 256, "student-mnist": 64}
THREADED = ("teacher-mnist", "teacher-housing", "student-mnist")


def seconds_per_step(training: Training, workload: Workload, steps: int) -> float:
    """Train that many steps, each network on its own order; return the seconds per step."""
    rng = np.random.default_rng(0)
    orders = np.stack(
        [
            rng.integers(0, workload.rows, steps * workload.batch_size)
            for _ in range(workload.replicas)
        ]
    )
    start = time.perf_counter()
    list(fit(training.step, [orders], workload.batch_size, [LEARNING_RATE] * steps))
    return (time.perf_counter() - start) / steps


def one_pass(name: str, backend: str, rounds: int = 5) -> list[dict[str, Any]]:
    """The time of a step of R networks, for growing R."""
    trainings = {}
    for R in REPLICAS:
        if LARGEST[name] >= R:
            workload = dataclasses.replace(WORKLOADS[name], replicas=R)
            trainings[R] = workload.training(choose(backend)), workload
    times: dict[int, list[float]] = {R: [] for R in trainings}
    for _ in range(rounds + 1):
        for R, (training, workload) in trainings.items():
            times[R].append(seconds_per_step(training, workload, max(48, 1024 // R)))
    medians = {R: float(np.median(values[1:])) for R, values in times.items()}
    return [
        {
            "workload": name,
            "backend": backend,
            "replicas": R,
            "seconds": seconds,
            "share_of_runs_in_turn": seconds / (R * medians[1]),
        }
        for R, seconds in medians.items()
    ]


def two_threads(name: str, backend: str, rounds: int = 7) -> dict[str, Any]:
    """Two runs in two Python threads with one BLAS thread each, compared with the two in turn."""
    workload, steps = WORKLOADS[name], 20 if name == "teacher-mnist" else 200
    trainings = [workload.training(choose(backend)) for _ in range(2)]
    ratios = []
    for _ in range(rounds + 1):
        in_turn = sum(seconds_per_step(training, workload, steps) for training in trainings)
        with threadpool_limits(1, "blas"):
            threads = [
                threading.Thread(target=seconds_per_step, args=(training, workload, steps))
                for training in trainings
            ]
            start = time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            together = (time.perf_counter() - start) / steps
        ratios.append(in_turn / together)
    return {
        "workload": name,
        "backend": backend,
        "two_threads_speedup": float(np.median(ratios[1:])),
    }


def chart(records: list[dict[str, Any]], path: Path) -> None:
    """Microseconds per network and step in a pass of R, for each backend."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained", dpi=110)
    axes = figure.subplots()
    for name, marker in (("student-housing", "o"), ("student-mnist", "s")):
        for backend, colour in (("numpy", "#D55E00"), ("numba", "#0072B2")):
            rows = [r for r in records if (r["workload"], r["backend"]) == (name, backend)]
            if rows:
                x = [row["replicas"] for row in rows]
                y = [row["seconds"] / row["replicas"] * 1e6 for row in rows]
                label = f"{WORKLOADS[name].title}, {backend}"
                axes.plot(x, y, marker=marker, color=colour, label=label)
    axes.set(xscale="log", yscale="log", xlabel="networks in one pass", ylabel="µs per network")
    axes.set_xticks(REPLICAS, [str(R) for R in REPLICAS])
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--chart", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    records: list[dict[str, Any]] = []
    for backend in ("numpy", "numba"):
        try:
            choose(backend)
        except UserError as error:
            print(f"skipped: {error}")
            continue
        for name in LARGEST:
            records += one_pass(name, backend)
        if backend == "numpy":  # compiled code trains one list of runs at a time, in all threads
            records += [two_threads(name, backend) for name in THREADED]
    for record in records:
        print(record)
        record.update(machine())
    if arguments.json:
        arguments.json.write_text(json.dumps(records, indent=1) + "\n")
    if arguments.chart:
        chart([record for record in records if "replicas" in record], arguments.chart)


if __name__ == "__main__":
    main()
