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

from nkd.data import load_classification, load_regression, validation_split
from nkd.distillation import Classification, Problem, Regression, Run
from nkd.training import Settings, Training

GRIDS: dict[str, dict[str, Any]] = {
    "classification": {
        "measure": "errors",
        "epochs": 20,
        "seeds": 5,
        "teacher": (784, 1024, 512, 256, 128, 64, 10),
        "student": (784, 128, 64, 10),
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
        "teacher": (8, 512, 256, 128, 64, 32, 1),
        "student": (8, 16, 8, 1),
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
        self.problem: Problem
        if experiment == "classification":
            self.problem = Classification(validation_split(load_classification("mnist", data_dir)))
        else:
            self.problem = Regression(validation_split(load_regression("california", data_dir)))
        self.records: list[dict[str, Any]] = []

    def train(
        self,
        name: str,
        runs: list[Run],
        learning_rate: float,
        schedule: str = "cosine",
        batch_size: int = 0,
    ) -> Training:
        """Train runs of some arms, all with the same seeds; one record per arm."""
        epochs, measure = self.grid["epochs"], self.grid["measure"]
        settings = Settings(epochs, batch_size, learning_rate, schedule, epochs)
        sizes = self.grid["teacher" if name == "teacher" else "student"]
        training = Training(self.problem, sizes, runs, settings).run()
        seeds = len({run.seed for run in runs})
        values = training.history[-1].test[measure].reshape(-1, seeds)
        for arm, row in zip(runs[::seeds], values, strict=True):
            record = {
                "network": name,
                "learning_rate": learning_rate,
                "schedule": schedule,
                "batch_size": batch_size,
                "alpha": arm.alpha,
                "temperature": arm.temperature,
                "seeds": seeds,
                measure: float(row.mean()),
                "sd": float(row.std(ddof=1)) if seeds > 1 else None,
            }
            self.records.append(record)
            print(record, flush=True)
        return training

    def run(self) -> None:
        """The Person's settings, the Teacher at several rates, the Student's α and T."""
        grid, seeds, measure = self.grid, range(self.grid["seeds"]), self.grid["measure"]
        for rate, schedule, batch_size in itertools.product(
            grid["learning_rates"], ("constant", "cosine"), grid["batch_sizes"]
        ):
            self.train("person", [Run(seed) for seed in seeds], rate, schedule, batch_size)
        person = min(self.records, key=lambda record: record[measure])
        settings = person["schedule"], person["batch_size"]
        teachers = {
            rate: self.train("teacher", [Run(seed=0)], rate, *settings)
            for rate in grid["teacher_learning_rates"]
        }
        teacher = teachers[person["learning_rate"]]
        targets = teacher.outputs(teacher.train_inputs)[0]
        students = [
            Run(seed, alpha, temperature, targets)
            for alpha, temperature in itertools.product(grid["alphas"], grid["temperatures"])
            for seed in seeds
        ]
        self.train("student", students, person["learning_rate"], *settings)


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
