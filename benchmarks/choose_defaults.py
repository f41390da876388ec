"""How the runners' recipes were chosen: on a validation split of the training rows.

    python -m benchmarks.choose_defaults classification --data-dir DIR
    python -m benchmarks.choose_defaults regression --data-dir DIR
    python -m benchmarks.choose_defaults classification --parts teacher student --data-dir DIR

First the Person's learning rate, schedule and batch size, so that the baseline is a fair one;
then the Teacher's own recipe; then, with the Person's settings for the Student and the best
Teacher, the Student's α and T among no more settings than the Person had. Whether extreme features
are bounded is decided by the Teachers. The test rows are never looked at. The records go to
docs/results/, what was chosen and why to docs/defaults.md. A part that is left out keeps its
records from the last time.
"""

import argparse
import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nkd.backend import choose
from nkd.data import load, validation_split
from nkd.distillation import Classification, Problem, Regression
from nkd.experiment import compare, networks_of
from nkd.training import Settings, Training

PARTS = ("person", "teacher", "student")
CHOSEN = ("batch_size", "learning_rate", "schedule", "jitter", "average")
"""The settings that are searched and recorded; records of an earlier search lack the last two."""
GRIDS: dict[str, dict[str, Any]] = {
    "classification": {
        "measure": "errors",
        "epochs": 20,
        "seeds": {"person": 5, "teacher": 1, "student": 5},
        "bounds": (None,),
        "teacher": (1024, 512, 256, 128, 64),
        "student": (128, 64),
        "persons": [
            {"learning_rate": rate, "schedule": schedule, "batch_size": size}
            for rate in (5e-4, 1e-3, 2e-3, 4e-3, 8e-3)
            for schedule in ("constant", "cosine")
            for size in (128, 256)
        ],
        "teachers": [
            {"learning_rate": 4e-3, "batch_size": 128},
            *(
                {"learning_rate": rate, "batch_size": 128, "jitter": 2}
                for rate in (1e-3, 2e-3, 4e-3)
            ),
        ],
        "sweep": {"alpha": (0.5, 0.7, 0.9), "temperature": (1.0, 2.0, 4.0, 8.0)},
    },
    "regression": {
        "measure": "rmse",
        "epochs": 100,
        "seeds": {"person": 10, "teacher": 3, "student": 10},
        "bounds": (None, 5.0),
        "teacher": (512, 256, 128, 64, 32),
        "student": (16, 8),
        "persons": [
            {"learning_rate": rate, "schedule": schedule, "batch_size": size}
            for rate in (3e-3, 1e-2, 3e-2)
            for schedule in ("constant", "cosine")
            for size in (64, 128)
        ],
        "teachers": [
            {"learning_rate": 1e-2, "batch_size": 64},
            {"learning_rate": 3e-3, "batch_size": 64},
            {"learning_rate": 3e-3, "batch_size": 256, "schedule": "constant"},
            {"learning_rate": 3e-3, "batch_size": 256, "schedule": "constant", "average": 50},
            {"learning_rate": 1e-3, "batch_size": 256, "schedule": "constant", "average": 50},
        ],
        "sweep": {"alpha": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)},
    },
}


class Search:
    """Trains settings on the training part and keeps a record of each on the validation part."""

    def __init__(
        self, experiment: str, data_dir: str | None, records: list[dict[str, Any]]
    ) -> None:
        self.grid, self.records, self.backend = GRIDS[experiment], records, choose("auto")
        data = validation_split(load(experiment, data_dir=data_dir))
        kind = Classification if experiment == "classification" else Regression
        self.problems: dict[float | None, Problem] = {
            bound: kind(dataclasses.replace(data, feature_bound=bound))
            for bound in self.grid["bounds"]
        }

    def settings(self, **options: Any) -> Settings:
        """Settings with these, and the epochs of the experiment."""
        return Settings(self.grid["epochs"], report_every=0, **options)

    def networks(self, network: str, bound: float | None, settings: Settings) -> Training:
        """The training of a kind of network, from several seeds."""
        hidden = self.grid["teacher" if network == "teacher" else "student"]
        seeds = range(self.grid["seeds"][network])
        return networks_of(self.problems[bound], hidden, seeds, settings, backend=self.backend)

    def keep(self, network: str, values: np.ndarray, settings: Settings, **details: Any) -> None:
        """Record and print how good networks of several seeds were."""
        changed = {name: getattr(settings, name) for name in CHOSEN}
        record = {"network": network, **changed, **details, "seeds": len(values)}
        record["values"] = values.tolist()
        record[self.grid["measure"]] = float(values.mean())
        record["sd"] = float(values.std(ddof=1)) if len(values) > 1 else None
        self.records.append(record)
        print(record, flush=True)

    def best(self, network: str) -> dict[str, Any]:
        """The record with the lowest mean."""
        found = [record for record in self.records if record["network"] == network]
        return min(found, key=lambda record: record[self.grid["measure"]])

    def settings_of(self, record: dict[str, Any]) -> Settings:
        """The settings of a record."""
        return self.settings(**{name: record.get(name, 0) for name in CHOSEN})

    def alone(self, network: str) -> None:
        """Persons, or Teachers, of all settings."""
        for bound, options in itertools.product(self.grid["bounds"], self.grid[f"{network}s"]):
            training = self.networks(network, bound, self.settings(**options)).run()
            values = training.history[-1].test[self.grid["measure"]]
            self.keep(network, values, training.settings, bound=bound)

    def person(self) -> None:
        """The Person's settings."""
        self.alone("person")

    def teacher(self) -> None:
        """The Teacher's."""
        self.alone("teacher")

    def student(self) -> None:
        """The Student's α and T, with the Person's settings and the best Teacher."""
        grid, teacher = self.grid, self.best("teacher")
        bound = teacher["bound"]
        persons = [record for record in self.records if record["network"] == "person"]
        own = [record for record in persons if record.get("bound") == bound]
        settings = self.settings_of(min(own, key=lambda record: record[grid["measure"]]))
        trained = networks_of(  # one Teacher, of the first seed
            self.problems[bound],
            grid["teacher"],
            [0],
            self.settings_of(teacher),
            backend=self.backend,
        )
        results = compare(
            self.problems[bound],
            trained,
            grid["student"],
            settings,
            seeds=range(grid["seeds"]["student"]),
            sweep=grid["sweep"],
            backend=self.backend,
        )
        assert results.comparison is not None
        arms = zip(results.comparison.arms, results.comparison.finals[grid["measure"]], strict=True)
        for arm, values in arms:
            self.keep("student", values, settings, bound=bound, **arm.cell)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", choices=GRIDS)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--data-dir")
    arguments = parser.parse_args()
    path = Path(f"docs/results/defaults-{arguments.experiment}.json")
    before = json.loads(path.read_text()) if path.exists() else []
    kept = [record for record in before if record["network"] not in arguments.parts]
    search = Search(arguments.experiment, arguments.data_dir, kept)
    parts: dict[str, Callable[[], None]] = {name: getattr(search, name) for name in PARTS}
    for name in PARTS:
        if name in arguments.parts:
            parts[name]()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(search.records, indent=1) + "\n")
