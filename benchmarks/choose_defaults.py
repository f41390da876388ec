"""How the runners' defaults were chosen: on a validation split of the training rows.

    python -m benchmarks.choose_defaults classification --data-dir DIR
    python -m benchmarks.choose_defaults regression --data-dir DIR

First the Person's learning rate, schedule and batch size, so that the baseline is a fair one;
then the Teacher at several learning rates, to see whether it needs one of its own; then, with the
Person's settings for all, the Student's α and T among no more settings than the Person had. The
test rows are never looked at. The records go to docs/results/, what was chosen and why to
docs/defaults.md.
"""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

from nkd.data import load, validation_split
from nkd.distillation import Classification, Problem, Regression
from nkd.experiment import compare, networks_of
from nkd.training import Settings, Training

GRIDS: dict[str, dict[str, Any]] = {
    "classification": {
        "measure": "errors",
        "epochs": 20,
        "seeds": 5,
        "teacher": (1024, 512, 256, 128, 64),
        "student": (128, 64),
        "learning_rates": (5e-4, 1e-3, 2e-3, 4e-3, 8e-3),
        "batch_sizes": (128, 256),
        "teacher_learning_rates": (5e-4, 1e-3, 2e-3, 4e-3),
        "alphas": (0.3, 0.5, 0.7, 0.9),
        "temperatures": (1.0, 2.0, 4.0, 8.0, 20.0),
    },
    "regression": {
        "measure": "rmse",
        "epochs": 100,
        "seeds": 10,
        "teacher": (512, 256, 128, 64, 32),
        "student": (16, 8),
        "learning_rates": (1e-3, 3e-3, 1e-2, 3e-2),
        "batch_sizes": (64, 128),
        "teacher_learning_rates": (3e-4, 1e-3, 3e-3, 1e-2),
        "alphas": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        "temperatures": (1.0,),
    },
}


class Search:
    """Trains settings on the training part and keeps a record of each on the validation part."""

    def __init__(self, experiment: str, data_dir: str | None) -> None:
        self.grid = GRIDS[experiment]
        kind = Classification if experiment == "classification" else Regression
        self.problem: Problem = kind(validation_split(load(experiment, data_dir=data_dir)))
        self.records: list[dict[str, Any]] = []

    def train(self, name: str, training: Training) -> None:
        """Train networks that differ only in their seeds, and keep a record of them."""
        training.run()
        run, values = training.runs[0], training.history[-1].test[self.grid["measure"]]
        self.keep(name, training.settings, run.alpha, run.temperature, values)

    def keep(
        self, name: str, settings: Settings, alpha: float, temperature: float, values: np.ndarray
    ) -> None:
        """Record and print how good networks of several seeds were."""
        record = {
            "network": name,
            "learning_rate": settings.learning_rate,
            "schedule": settings.schedule,
            "batch_size": settings.batch_size,
            "alpha": alpha,
            "temperature": temperature,
            "seeds": len(values),
            self.grid["measure"]: float(values.mean()),
            "sd": float(values.std(ddof=1)) if len(values) > 1 else None,
        }
        self.records.append(record)
        print(record, flush=True)

    def run(self) -> None:
        """The Person's settings, the Teacher at several rates, the Student's α and T."""
        grid, problem, measure = self.grid, self.problem, self.grid["measure"]
        epochs, seeds = grid["epochs"], range(grid["seeds"])

        def settings(rate: float, schedule: str, batch_size: int) -> Settings:
            return Settings(epochs, batch_size, rate, schedule, report_every=epochs)

        for rate, schedule, batch_size in itertools.product(
            grid["learning_rates"], ("constant", "cosine"), grid["batch_sizes"]
        ):
            how = settings(rate, schedule, batch_size)
            self.train("person", networks_of(problem, grid["student"], seeds, how))
        person = min(self.records, key=lambda record: record[measure])
        chosen = person["schedule"], person["batch_size"]
        teachers = {
            rate: networks_of(problem, grid["teacher"], [0], settings(rate, *chosen))
            for rate in dict.fromkeys((*grid["teacher_learning_rates"], person["learning_rate"]))
        }
        for teacher in teachers.values():
            self.train("teacher", teacher)
        how = settings(person["learning_rate"], *chosen)
        sweep = {"alpha": grid["alphas"], "temperature": grid["temperatures"]}
        teacher = teachers[person["learning_rate"]]
        results = compare(problem, teacher, grid["student"], how, seeds=seeds, sweep=sweep)
        assert results.comparison is not None
        arms = zip(results.comparison.arms, results.comparison.finals[measure], strict=True)
        for arm, values in arms:
            self.keep("student", how, *arm.cell.values(), values)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", choices=GRIDS)
    parser.add_argument("--data-dir")
    arguments = parser.parse_args()
    search = Search(arguments.experiment, arguments.data_dir)
    search.run()
    path = Path(f"docs/results/defaults-{arguments.experiment}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(search.records, indent=1) + "\n")
