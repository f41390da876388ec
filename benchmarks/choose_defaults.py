"""How the runners' recipes were chosen: on a validation split of the training rows.

    python -m benchmarks.choose_defaults classification --data-dir DIR
    python -m benchmarks.choose_defaults regression --data-dir DIR
    python -m benchmarks.choose_defaults classification --parts teacher student --data-dir DIR

First the Person's learning rate, schedule and batch size, so that the baseline is a fair one;
then the Teacher's own recipe, for regression once more on three splits; then, with the Person's
settings for the Student and the best Teacher, the Student's α and T among no more settings than the
Person had, and again on fewer rows; then how many steps both get on fewer rows, by what the Person
needs, and on few rows whose images are moved. Whether extreme features are bounded is decided by
the Teachers. The test rows are never looked at. The records go to docs/results/, what was chosen
and why to docs/defaults.md. A part that is left out keeps its records from the last time.
"""

import argparse
import dataclasses
import functools
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nkd.backend import choose
from nkd.conditions import part_of
from nkd.data import SPLIT_SEED, load, validation_split
from nkd.distillation import Classification, Problem, Regression, pairs
from nkd.experiment import compare, networks_of
from nkd.report.results import Results
from nkd.training import Settings, Training, for_rows

PARTS = ("person", "teacher", "splits", "student", "few", "rows", "moved")
POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of the number of rows: see `nkd.training.for_rows`."""
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
        "rows": (300, 1_000, 5_000, 20_000),
        "moved": (1_000, 5_000),
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
        "splits": [
            {"learning_rate": rate, "batch_size": size, "schedule": "constant", "average": average}
            for rate, size, average in (
                (3e-3, 256, 50),
                (3e-3, 256, 80),
                (5e-3, 256, 70),
                (8e-3, 256, 80),
                (3e-3, 128, 70),
                (1e-2, 256, 80),
                (8e-3, 256, 90),
            )
        ],
        "sweep": {"alpha": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)},
        "rows": (300, 1_000, 4_000),
        "few": (300, 1_000, 4_000),
    },
}


class Search:
    """Trains settings on the training part and keeps a record of each on the validation part."""

    def __init__(
        self, experiment: str, data_dir: str | None, records: list[dict[str, Any]]
    ) -> None:
        self.grid, self.records, self.backend = GRIDS[experiment], records, choose("auto")
        self.data = load(experiment, data_dir=data_dir)
        self.kind = Classification if experiment == "classification" else Regression
        self.problems = {bound: self.problem(bound) for bound in self.grid["bounds"]}

    def settings(self, **options: Any) -> Settings:
        """Settings with these, and the epochs of the experiment."""
        return Settings(self.grid["epochs"], report_every=0, **options)

    def problem(self, bound: float | None, split: int = SPLIT_SEED) -> Problem:
        """The problem on a validation split."""
        data = validation_split(self.data, seed=split)
        return self.kind(dataclasses.replace(data, feature_bound=bound))

    def networks(self, network: str, problem: Problem, settings: Settings) -> Training:
        """The training of a kind of network, from several seeds."""
        hidden = self.grid["teacher" if network == "teacher" else "student"]
        seeds = range(self.grid["seeds"][network])
        return networks_of(problem, hidden, seeds, settings, backend=self.backend)

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
            problem = self.problems[bound]
            training = self.networks(network, problem, self.settings(**options)).run()
            values = training.history[-1].test[self.grid["measure"]]
            self.keep(network, values, training.settings, bound=bound)

    def person(self) -> None:
        """The Person's settings."""
        self.alone("person")

    def teacher(self) -> None:
        """The Teacher's."""
        self.alone("teacher")

    def splits(self) -> None:
        """The Teacher's settings again, on three splits, with the bound of the best so far."""
        bound = self.best("teacher")["bound"]
        for options in self.grid.get("splits", ()):
            values, settings = [], self.settings(**options)
            for split in range(3):
                training = self.networks("teacher", self.problem(bound, split), settings).run()
                values.append(training.history[-1].test[self.grid["measure"]])
            details = {"bound": bound, "splits": 3}
            self.keep("teacher on three splits", np.concatenate(values), settings, **details)

    @functools.cached_property
    def chosen(self) -> tuple[float | None, Settings, Training]:
        """The bound, the Person's settings, and the best Teacher, of the first seed, trained."""
        names = {record["network"] for record in self.records}
        several = "teacher on three splits"
        record = self.best(several if several in names else "teacher")
        bound, measure = record["bound"], self.grid["measure"]
        persons = [each for each in self.records if each["network"] == "person"]
        own = [each for each in persons if each.get("bound") == bound]
        settings = self.settings_of(min(own, key=lambda each: each[measure]))
        options: dict[str, Any] = {"backend": self.backend}
        how = self.grid["teacher"], [0], self.settings_of(record)
        return bound, settings, networks_of(self.problems[bound], *how, **options).run()

    def few(self) -> None:
        """The Student's α and T on fewer rows."""
        grid, (bound, settings, teacher) = self.grid, self.chosen
        seeds, options = range(grid["seeds"]["student"]), {"backend": self.backend}
        for count in grid.get("few", ()):
            how = teacher, grid["student"], settings
            both = {"seeds": seeds, "rows": count, "sweep": grid["sweep"], **options}
            results = compare(self.problems[bound], *how, **both)
            values = results.final("person")[grid["measure"]]
            self.keep("person few", values, settings, bound=bound, rows=count)
            self.keep_arms("student few", results, settings, bound=bound, rows=count)

    def keep_arms(self, network: str, results: Results, settings: Settings, **details: Any) -> None:
        """Record the arms of a sweep."""
        assert results.comparison is not None
        finals = results.comparison.finals[self.grid["measure"]]
        for arm, values in zip(results.comparison.arms, finals, strict=True):
            self.keep(network, values, settings, **details, **arm.cell)

    def rows(self) -> None:
        """How many steps Person and Student get on fewer rows."""
        grid, (bound, settings, teacher) = self.grid, self.chosen
        problem, seeds = self.problems[bound], range(grid["seeds"]["student"])
        best = self.best("student")
        how = best["alpha"], teacher.outputs(teacher.train_inputs)[0], best.get("temperature", 1.0)
        sizes = (teacher.network.sizes[0], *grid["student"], problem.outputs)
        for count, power in itertools.product(grid["rows"], POWERS):
            part, rows = part_of(problem, count)
            own = for_rows(settings, count, len(problem.data.x_train), power)
            runs = pairs(seeds, how[0], how[1][rows], how[2])
            training = Training(part, sizes, runs, own, backend=self.backend).run()
            values = training.history[-1].test[grid["measure"]]
            details = {"rows": count, "power": power, "epochs": own.epochs}
            self.keep("person, fewer rows", values[len(seeds) :], own, **details)
            self.keep("student, fewer rows", values[: len(seeds)], own, **details)

    def moved(self) -> None:
        """How many steps Person and Teacher get on few rows whose images are moved."""
        teacher = self.settings_of(self.best("teacher"))
        jitter, person = teacher.jitter, self.settings_of(self.best("person"))
        networks = {"person": dataclasses.replace(person, jitter=jitter), "teacher": teacher}
        for count, power in itertools.product(self.grid.get("moved", ()), POWERS):
            problem = self.problems[None]
            part, _ = part_of(problem, count)
            for network, settings in networks.items():
                own = for_rows(settings, count, len(problem.data.x_train), power)
                training = self.networks(network, part, own).run()
                values = training.history[-1].test[self.grid["measure"]]
                details = {"rows": count, "power": power, "epochs": own.epochs}
                self.keep(f"{network}, fewer rows moved", values, own, **details)

    def student(self) -> None:
        """The Student's α and T, with the Person's settings and the best Teacher."""
        grid, (bound, settings, trained) = self.grid, self.chosen
        results = compare(
            self.problems[bound],
            trained,
            grid["student"],
            settings,
            seeds=range(grid["seeds"]["student"]),
            sweep=grid["sweep"],
            backend=self.backend,
        )
        self.keep_arms("student", results, settings, bound=bound)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", choices=GRIDS)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--data-dir")
    arguments = parser.parse_args()
    path = Path(f"docs/results/defaults-{arguments.experiment}.json")
    before = json.loads(path.read_text()) if path.exists() else []
    kept = [record for record in before if record["network"].split()[-1] not in arguments.parts]
    search = Search(arguments.experiment, arguments.data_dir, kept)
    parts: dict[str, Callable[[], None]] = {name: getattr(search, name) for name in PARTS}
    for name in PARTS:
        if name in arguments.parts:
            parts[name]()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(search.records, indent=1) + "\n")
