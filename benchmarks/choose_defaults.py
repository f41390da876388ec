"""How the runners' defaults were chosen: on a validation split of the training rows.

    python -m benchmarks.choose_defaults classification --data-dir DIR
    python -m benchmarks.choose_defaults regression --data-dir DIR

First the Person's learning rate, schedule and batch size, so that the baseline is a fair one;
then the Teacher's learning rate; then, with the Person's settings, the Student's α and T among no
more settings than the Person had. The test rows are never looked at. The records go to
docs/results/, what was chosen and why to docs/defaults.md.
"""

import argparse
import itertools
import json
from pathlib import Path

import numpy as np

from nkd.data import load_classification, load_regression, validation_split
from nkd.distillation import Classification, Regression, Run, Settings, Training

GRIDS = {
    "classification": {
        "measure": "errors",
        "epochs": 20,
        "seeds": 5,
        "teacher": (784, 1024, 512, 256, 128, 64, 10),
        "student": (784, 128, 64, 10),
        "learning_rates": (5e-4, 1e-3, 2e-3, 4e-3),
        "batch_sizes": (128, 256),
        "teacher_learning_rates": (5e-4, 1e-3, 2e-3),
        "alphas": (0.3, 0.5, 0.7, 0.9),
        "temperatures": (2.0, 4.0, 8.0, 20.0),
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


def choose(experiment: str, data_dir: str | None) -> list[dict]:
    """Measure every setting; one record each, with the mean and the deviation over seeds."""
    grid = GRIDS[experiment]
    if experiment == "classification":
        problem = Classification(validation_split(load_classification("mnist", data_dir)))
    else:
        problem = Regression(validation_split(load_regression("california", data_dir)))
    measure, seeds, records = grid["measure"], range(grid["seeds"]), []

    def train(network, runs, settings, **labels) -> Training:
        training = Training(problem, grid[network], runs, settings).run()
        values = training.history[-1].test[measure].reshape(-1, len({run.seed for run in runs}))
        for arm, row in zip(runs[:: values.shape[1]], values, strict=True):
            records.append(
                {
                    "network": labels.get("name", network),
                    "learning_rate": settings.learning_rate,
                    "schedule": settings.schedule,
                    "batch_size": settings.batch_size,
                    "alpha": arm.alpha,
                    "temperature": arm.temperature,
                    "seeds": len(row),
                    measure: float(row.mean()),
                    "sd": float(row.std(ddof=1)) if len(row) > 1 else None,
                }
            )
            print(records[-1], flush=True)
        return training

    persons = [Run(seed) for seed in seeds]
    for rate, schedule, batch_size in itertools.product(
        grid["learning_rates"], ("constant", "cosine"), grid["batch_sizes"]
    ):
        settings = Settings(grid["epochs"], batch_size, rate, schedule, grid["epochs"])
        train("student", persons, settings, name="person")
    best = min(records, key=lambda record: record[measure])

    def chosen(rate: float) -> Settings:
        return Settings(grid["epochs"], best["batch_size"], rate, best["schedule"], grid["epochs"])

    teachers = [
        train("teacher", [Run(seed=0)], chosen(rate)) for rate in grid["teacher_learning_rates"]
    ]
    teacher = min(teachers, key=lambda training: training.history[-1].test[measure][0])
    targets = teacher.outputs(teacher.train_inputs)[0]
    students = [
        Run(seed, alpha, temperature, targets)
        for alpha, temperature in itertools.product(grid["alphas"], grid["temperatures"])
        for seed in seeds
    ]
    train("student", students, chosen(best["learning_rate"]))
    return records


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", choices=GRIDS)
    parser.add_argument("--data-dir")
    arguments = parser.parse_args()
    np.seterr(over="ignore", invalid="ignore")
    measured = choose(arguments.experiment, arguments.data_dir)
    path = Path(f"docs/results/defaults-{arguments.experiment}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(measured, indent=1) + "\n")
