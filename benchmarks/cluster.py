"""How far a cluster carries: 1,000 runs over workers, what moves, and what Dask takes.

    python -m benchmarks.cluster --json docs/results/cluster.json

Students of one data set are trained as arms, in this process and by 1 and 2 workers of one thread
on the same machine. Then as many parts as there are runs, each of no work, give the seconds that
the client and the scheduler take for a part: these do not become fewer with more workers, so they
say how many are of use. docs/cluster.md has what follows.
"""

import argparse
import dataclasses
import json
import os
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.__main__ import machine
from nkd import checkpoint, cluster
from nkd.backend import Backend, choose
from nkd.data import load_regression
from nkd.distillation import Regression, Run
from nkd.report.screen import Screen
from nkd.training import Settings, Training
from nkd.work import Pass, Work

MEMORY = 4 * 10**9


def pass_of(runs: int, epochs: int, rows: int | None = None) -> Pass:
    """So many Students of the stand-in for California Housing, with ten seeds."""
    data = load_regression("friedman")
    if rows:
        data = dataclasses.replace(data, x_train=data.x_train[:rows], y_train=data.y_train[:rows])
    said = data.y_train + np.float32(0.1)
    arms = [
        Run(seed, (arm + 1) / (runs // 10 + 1), targets=said)
        for arm in range(runs // 10)
        for seed in range(10)
    ]
    settings = Settings(epochs, 256, 0.005, report_every=0)
    sizes = (data.x_train.shape[1], 16, 8, 1)
    return Pass("arms", Regression(data), sizes, arms, settings, title="arms")


def timed(work: Work, what: Pass) -> tuple[float, float]:
    """Seconds by the clock, and seconds of training, of a pass."""
    start = time.perf_counter()
    state = work.measure(what, Training.run, arm=10)
    return time.perf_counter() - start, float(state["seconds"].sum())


def bytes_of(what: Pass, workers: int, backend: Backend) -> dict[str, int]:
    """What moves: once, to each worker; and for each part, to it and back."""
    part = what.part(range(len(what.runs) // workers))
    said = part.runs[0].targets
    described = [dataclasses.replace(run, alpha=0.0, targets=None) for run in part.runs]
    one = part.part(range(1)).training(backend)
    for _ in one.epochs():
        pass
    each = sum(values.nbytes for values in checkpoint.state_of(one, networks=False).values())
    return {
        "data, once to each worker": len(pickle.dumps(what.problem)),
        "teacher, once to each worker": len(pickle.dumps(said)),
        "description of a run": len(pickle.dumps(described)) // len(described),
        "measurements of a run": each,
    }


def main() -> None:
    """Measure, show, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record there")
    arguments = parser.parse_args()
    os.environ["NUMBA_NUM_THREADS"] = "1"
    cluster.use_blas_threads(1)
    backend, screen = choose("numba"), Screen(quiet=True)
    what, few = pass_of(arguments.runs, arguments.epochs), pass_of(arguments.runs, 1, rows=256)
    timed(Work(MEMORY, backend), few)  # compiles
    records: list[dict[str, Any]] = []

    def note(where: str, workers: int, clock: float, training: float) -> None:
        share = 1 - training / clock / workers
        line = {"where": where, "workers": workers, "seconds": round(clock, 2)}
        records.append({**line, "training": round(training, 2), "besides": round(share, 4)})
        print(records[-1], flush=True)

    note("this process", 1, *timed(Work(MEMORY, backend), what))
    for workers in (1, 2):
        options = f"local:{workers}", screen, MEMORY, backend, None
        with cluster.connected(*options) as made:
            timed(made, few)  # compiles there
            note("cluster", workers, *timed(made, what))
    with cluster.connected(f"local:{2}", screen, MEMORY, backend, None) as made:
        timed(made, few)
        made.divided = lambda work, runs, arm: [range(n, n + 1) for n in runs]  # type: ignore
        clock, training = timed(made, few)
    per_part = (clock - training / 2) / len(few.runs)
    record = {
        "runs": arguments.runs,
        "epochs": arguments.epochs,
        "measured": records,
        "seconds of client and scheduler per part": round(per_part, 5),
        "bytes": bytes_of(what, 2, backend),
        **machine(),
    }
    print(json.dumps(record, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
