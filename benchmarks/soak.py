"""A thousand trainings in one process: its memory, threads and files stay where they are.

    python -m benchmarks.soak --json docs/results/soak.json

Trainings of four kinds are made, run and dropped in turn: pairs that a teacher teaches; moved
images with dropout, bounded and averaged weights; a regression by gradient descent; one that is
saved and loaded. Each backend has a process of its own. After the first hundred, and then after
each hundred, it is asked what it holds. tests/test_soak.py does so with sixty trainings.
"""

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import nkd
from benchmarks.__main__ import machine

BACKENDS = "numpy", "numba"
EVERY = 100
MEMORY = 4 * 2**20
"""Bytes by which the memory after the last may be more than after the first hundred."""


def images(rows: int = 40) -> nkd.Classification:
    """Made-up images of four by four pixels, in three classes."""
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (rows, 16), np.uint8), np.arange(rows) % 3
    scale = {"input_scale": 1 / 255, "image_shape": (4, 4)}
    return nkd.Classification(nkd.Dataset("images", "", x, y, x[:9], y[:9], **scale))


def numbers(rows: int = 40) -> nkd.Regression:
    """A made-up regression."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(rows, 5)), random.normal(size=(rows, 2))
    return nkd.Regression(nkd.Dataset("numbers", "", x, y, x[:9], y[:9]))


def pairs(number: int, backend: Any, folder: Path) -> None:
    """Students of a teacher, and Persons."""
    said = np.random.default_rng(number).normal(size=(40, 3))
    runs, settings = nkd.pairs([number, number + 1], 0.5, said, 2.0), nkd.Settings(2, 8, 0.01)
    nkd.Training(images(), (16, 12, 3), runs, settings, backend=backend).run()


def regularised(number: int, backend: Any, folder: Path) -> None:
    """A network with all that a step can have."""
    how = {"dropout": (0.1, 0.2), "largest_norm": 2.0, "jitter": 1, "average": 1}
    settings = nkd.Settings(2, 8, 0.01, **how)
    nkd.Training(images(), (16, 12, 3), [nkd.Run(number)], settings, backend=backend).run()


def descent(number: int, backend: Any, folder: Path) -> None:
    """A regression, as a model in the end."""
    settings, runs = nkd.Settings(2, 8, 0.01, optimizer="sgd"), [nkd.Run(number)]
    training = nkd.Training(numbers(), (5, 9, 2), runs, settings, backend=backend).run()
    nkd.Model.of(training).predict(numbers().data.x_test)


def saved(number: int, backend: Any, folder: Path) -> None:
    """A training that is saved after an epoch, and goes on from the file."""
    settings, runs = nkd.Settings(2, 8, 0.01), [nkd.Run(number)]
    training = nkd.Training(images(), (16, 12, 3), runs, settings, backend=backend)
    next(training.epochs())
    training.save(folder / "training")
    nkd.Training.load(folder / "training", images(), backend=backend).run()


KINDS: tuple[Callable[[int, Any, Path], None], ...] = pairs, regularised, descent, saved


def held() -> dict[str, int]:
    """What this process holds, when all is collected that nothing uses."""
    gc.collect()
    process = psutil.Process()
    return {
        "resident bytes": process.memory_info().rss,
        "threads": process.num_threads(),
        "open files": process.num_fds() if hasattr(process, "num_fds") else process.num_handles(),
        "objects": len(gc.get_objects()),
    }


def soak(backend: str, trainings: int, every: int = EVERY) -> list[dict[str, int]]:
    """What is held after so many trainings, and again after as many, to the last."""
    chosen, records = nkd.choose(backend), []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(trainings):
            KINDS[number % len(KINDS)](number, chosen, Path(folder))
            if (number + 1) % every == 0:
                records.append({"trainings": number + 1, **held()})
    return records


def main() -> None:
    """Soak each backend, print and write the record; the exit code is 1 if something grew."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--trainings", type=int, default=1000)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record there")
    parser.add_argument("--alone", choices=BACKENDS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        print(json.dumps(soak(arguments.alone, arguments.trainings)))
        return
    where, backends, grew = machine(), {}, False
    for backend in BACKENDS:
        words = "--alone", backend, "--trainings", str(arguments.trainings)
        start = time.perf_counter()
        output = subprocess.run(
            [sys.executable, "-m", "benchmarks.soak", *words], check=True, capture_output=True
        ).stdout
        records = json.loads(output)
        first, last = records[0], records[-1]
        difference = {name: last[name] - first[name] for name in first if name != "trainings"}
        grew |= difference["threads"] > 0 or difference["open files"] > 0
        grew |= difference["resident bytes"] > MEMORY
        backends[backend] = {
            "difference": difference,
            "seconds": round(time.perf_counter() - start, 1),
            "records": records,
        }
        print(backend, backends[backend]["difference"], flush=True)
    record = {
        "command": f"python -m benchmarks.soak --trainings {arguments.trainings}",
        **{name: where[name] for name in ("date", "cpu", "cores", "versions")},
        "allowed": {"resident bytes": MEMORY, "threads": 0, "open files": 0},
        "backends": backends,
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")
    sys.exit(grew)


if __name__ == "__main__":
    main()
