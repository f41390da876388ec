"""How the defaults of `nkd.estimators` were chosen: on splits of the training rows of five tables.

    python -m benchmarks.choose_tables PART --data-dir DIR --out FILE.json

PART is `person` (epochs, batch size and learning rate of the network without a teacher), `network`
(of the teacher of nkd's own), `teacher` (α, T, the floor of probabilities, cross-fitting) or
`invented` (invented rows). Each number is the mean over some splits and two seeds each; the rows
that docs/own-models.md counts on are not looked at.
"""

import argparse
import itertools
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from benchmarks.own_tables import CLASSES, FOREST, NUMBERS, TREES
from nkd import teachers
from nkd.estimators import TEACHER_LAYERS, DistilledClassifier, DistilledRegressor
from nkd.report.files import Folder
from nkd.teachers import Logits, Taught, Values, taught

SPLITS = {"person": 10, "network": 2, "teacher": 3, "invented": 3}
SEEDS = 2
FLOORS = 1e-6, 1e-3, 1e-2
PERSONS = [
    {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    for epochs, batch_size, learning_rate in itertools.product(
        (30, 60, 100, 200), (16, 32, 64), (5e-3, 1e-2)
    )
]


def tables(data_dir: str | None) -> Iterator[tuple[str, np.ndarray, np.ndarray, bool]]:
    """Names, rows and targets to train on, and whether they are classes."""
    for name, parts in {**CLASSES, **NUMBERS}.items():
        if name == "MNIST":
            continue
        x, y, *_ = parts(data_dir)
        for rows in (1_333, 8_000) if name == "California Housing" else (len(x),):
            yield f"{name}, {3 * rows // 4:,} rows", x[:rows], y[:rows], name in CLASSES


def measured(student: Any, x: np.ndarray, y: np.ndarray) -> list[float]:
    """The share of errors and the NLL in nats; or the RMSE in standard deviations of y."""
    if hasattr(student, "classes_"):
        p = student.predict_proba(x)
        wrong = student.classes_[p.argmax(axis=-1)] != y
        return [float(wrong.mean()), float(log_loss(y, p, labels=student.classes_))]
    return [float(np.sqrt(np.mean((student.predict(x) - y) ** 2)) / y.std())]


class Search:
    """Trains on several splits of each table, and keeps the means."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments, self.out = arguments, Path(arguments.out)
        self.records: list[dict[str, Any]] = []

    def train(self, parts: list[np.ndarray], classes: bool, **parameters: Any) -> list[float]:
        """Train two seeds on the first part; the mean of what is measured on the second."""
        x, x_test, y, y_test = parts
        kind = DistilledClassifier if classes else DistilledRegressor
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, on probabilities that do not sum to 1
            return np.mean(
                [
                    measured(
                        kind(random_state=seed, backend=self.arguments.backend, **parameters).fit(
                            x, y
                        ),
                        x_test,
                        y_test,
                    )
                    for seed in range(SEEDS)
                ],
                axis=0,
            ).tolist()

    def each(self) -> Iterator[tuple[str, bool, list[np.ndarray], list[dict[str, Any]]]]:
        """Each split of each table, and a list for what is found on it."""
        for name, x, y, classes in tables(self.arguments.data_dir):
            splits: list[list[dict[str, Any]]] = []
            for seed in range(SPLITS[self.arguments.part]):
                parts = train_test_split(
                    x, y, test_size=0.25, random_state=100 + seed, stratify=y if classes else None
                )
                splits.append([])
                yield name, classes, parts, splits[-1]
            for same in zip(*splits, strict=True):
                mean = np.mean([record.pop("measured") for record in same], axis=0)
                self.records.append({"table": name, **same[0], "measured": mean.round(4).tolist()})
                print(self.records[-1], flush=True)
            lines = ",\n".join(map(json.dumps, self.records))
            Folder(self.out.parent).write(self.out.name, f"[\n{lines}\n]\n".encode())

    def person(self) -> None:
        """Epochs, batch size, learning rate."""
        for _, classes, parts, found in self.each():
            for settings in PERSONS:
                error = self.train(parts, classes, alpha=0.0, **settings)
                found.append({**settings, "measured": error})

    def network(self) -> None:
        """Epochs and learning rate of the teacher that is a network of nkd's own."""
        for _, classes, parts, found in self.each():
            for epochs, learning_rate in itertools.product((30, 60), (3e-4, 1e-3, 3e-3)):
                settings = {"epochs": epochs, "learning_rate": learning_rate}
                sizes = {"hidden_layer_sizes": TEACHER_LAYERS}
                error = self.train(parts, classes, alpha=0.0, **sizes, **settings)
                found.append({**settings, "measured": error})

    def heard(
        self, parts: list[np.ndarray], classes: bool, folds: int
    ) -> Iterator[tuple[str, Taught]]:
        """What boosted trees and a forest say about the rows of the first part."""
        x, _, y, _ = parts
        teachers.FLOOR = min(FLOORS)  # larger ones are applied to what was heard
        form: Logits | Values = Logits(np.unique(y)) if classes else Values(1)
        for name, kinds in (("boosted trees", TREES), ("forest", FOREST)):
            yield name, taught(kinds[classes](random_state=0), x, y, form, folds, 0)

    def teacher(self) -> None:
        """α, T and the floor, with and without cross-fitting."""
        for _, classes, parts, found in self.each():
            found.append({"alpha": 0.0, "measured": self.train(parts, classes, alpha=0.0)})
            for folds in (0, 5):
                for name, heard in self.heard(parts, classes, folds):
                    for alpha, T, floor in itertools.product(
                        (0.3, 0.5, 0.7, 0.9),
                        (1.0, 2.0, 4.0) if classes else (1.0,),
                        FLOORS if classes else (0.0,),
                    ):
                        said = np.maximum(heard.said, np.log(floor)) if classes else heard.said
                        error = self.train(parts, classes, teacher=said, alpha=alpha, temperature=T)
                        values = {"alpha": alpha, "temperature": T, "floor": floor}
                        how = {"teacher": name, "cross_fit": folds, **values}
                        found.append({**how, "measured": error})

    def invented(self) -> None:
        """Invented rows, or as many more steps on the real ones, with and without boosted trees."""
        for _, classes, parts, found in self.each():
            for more in (0, 1, 3):
                error = self.train(parts, classes, alpha=0.0, epochs=60 * (1 + more))
                found.append({"alpha": 0.0, "epochs": 60 * (1 + more), "measured": error})
            for more in (0, 1, 3):
                for how in ({"epochs": 60 * (1 + more)}, {"invented_rows": more}):
                    error = self.train(
                        parts, classes, teacher=TREES[classes](random_state=0), **how
                    )
                    found.append({"teacher": "boosted trees", **how, "measured": error})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("person", "network", "teacher", "invented"))
    parser.add_argument("--data-dir")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    getattr(Search(arguments), arguments.part)()
