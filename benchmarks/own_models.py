"""Six data sets, three teachers each: what a small network keeps of them, and what it costs.

    python -m benchmarks.own_models --data-dir DIR --out FILE.json

Prints the table of docs/own-models.md, and keeps all numbers in FILE.json: a quarter of an hour
on 2 cores. The settings are the defaults of `nkd.estimators`, which were chosen on other rows than
those that are counted here: see `benchmarks/choose_tables.py`.
"""

import argparse
import math
import pickle
import platform
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.own_tables import CLASSES, FOREST, NUMBERS, TREES
from nkd.backend import choose
from nkd.estimators import DistilledClassifier, DistilledRegressor
from nkd.export import parts_of, to_c
from nkd.model import Model
from nkd.report.files import Folder
from nkd.report.results import Results

PAIRS = 10
MOST_ROWS = 10_000
"""Training rows of MNIST; of all 60,000 boosted trees alone would take the time of all others."""

TEACHERS = {
    "boosted trees": lambda classes: TREES[classes](random_state=0),
    "forest": lambda classes: FOREST[classes](random_state=0, n_jobs=-1),
    "network": lambda classes: None,
}


def seconds_per_row(ask: Callable[[np.ndarray], Any], x: np.ndarray, repeats: int = 21) -> float:
    """The median time of one answer about one row, after an untimed one."""
    times = []
    for number in range(repeats + 1):
        row = x[number % len(x)][None]
        start = time.perf_counter()
        ask(row)
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))


def record(name: str, kind: str, results: Results, x: np.ndarray) -> dict[str, Any]:
    """The numbers of one line of the table."""
    network = results.networks["student"].training
    assert network is not None  # it is the teacher that may have none
    model = Model.of(network, 0)
    values = {who: results.final(who)[results.view.decisive.name] for who in results.networks}
    return {
        "data": name,
        "kind": kind,
        "rows": len(results.problem.data.x_train),
        "test_rows": len(results.problem.data.x_test),
        "inputs": model.sizes[0],
        "measure": results.view.decisive.name,
        **{who: each.tolist() for who, each in values.items()},
        "loss": {who: float(results.final(who)["loss"].mean()) for who in results.networks},
        "difference": results.difference.mean,
        "low": results.difference.low,
        "high": results.difference.high,
        "verdict": results.difference.verdict,
        "sentence": results.sentence(),
        "parameters": model.parameter_count,
        "constant_bytes": parts_of(model, False).constant_bytes,
        "header_bytes": len(to_c(model).encode()),
        "student_seconds": seconds_per_row(model.outputs, x),
    }


def lines(data_dir: str | None, backend: str) -> Iterator[dict[str, Any]]:
    """The lines of the table, one after another."""
    for name, parts in {**CLASSES, **NUMBERS}.items():
        classes = name in CLASSES
        x, y, x_test, y_test = parts(data_dir)
        x, y = x[:MOST_ROWS] if name == "MNIST" else x, y[:MOST_ROWS] if name == "MNIST" else y
        for kind, make in TEACHERS.items():
            start = time.perf_counter()
            student = (DistilledClassifier if classes else DistilledRegressor)(
                make(classes), random_state=0, backend=backend
            )
            results = student.against_person(x, y, PAIRS, (x_test, y_test), name)
            seconds = time.perf_counter() - start
            teacher = student.set_params(cross_fit=0).fit(x, y).teacher_
            yield record(name, kind, results, x_test) | {
                "teacher_bytes": len(pickle.dumps(teacher)),
                "teacher_seconds": seconds_per_row(teacher.predict, x_test),
                "seconds": seconds,
            }


def rounded(values: Any, sign: str = "", *, share: float, digits: int) -> str:
    """The mean of some values, times a share, with so many digits."""
    return f"{np.mean(values) * share:{sign}.{digits}f}"


def table(found: list[dict[str, Any]]) -> str:
    """The table, in Markdown."""
    head = [
        "data", "teacher", "Teacher", "Student", "Person", "Student − Person", "verdict",
        "NLL: Student, Person", "bytes", "one row",
    ]  # fmt: skip
    rows = [head, ["---"] * len(head)]
    for each in found:
        counts = each["measure"] == "errors"
        share = 100 / each["test_rows"] if counts else 1.0
        digits = 2 if counts else 3 - math.floor(math.log10(np.mean(each["person"])))
        text = partial(rounded, share=share, digits=digits)

        interval = f"({text(each['low'], '+')} to {text(each['high'], '+')})"
        rows.append(
            [
                f"{each['data']}, {'errors in %' if counts else 'RMSE'}",
                each["kind"],
                *(text(each[who]) for who in ("teacher", "student", "person")),
                f"{text(each['difference'], '+')} {interval}",
                each["verdict"],
                "{student:.3f}, {person:.3f}".format(**each["loss"]) if counts else "–",
                f"{each['teacher_bytes']:,} → {each['constant_bytes']:,}",
                " → ".join(f"{1e6 * each[f'{who}_seconds']:,.0f}" for who in ("teacher", "student"))
                + " µs",
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    path, backend = Path(arguments.out), choose(arguments.backend)
    found = []
    for each in lines(arguments.data_dir, backend.name):
        found.append(each)
        print(f"{each['sentence']} ({each['seconds']:.0f} s, {each['kind']})", flush=True)
        machine = f"{backend}, {platform.system()}"
        content = {"date": time.strftime("%Y-%m-%d"), "machine": machine, "lines": found}
        Folder(path.parent).write_json(path.name, content)
    print(table(found))
