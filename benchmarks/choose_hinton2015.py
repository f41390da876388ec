"""How the choices that Hinton, Vinyals and Dean 2015 leave open were made: on a validation split.

    python -m benchmarks.choose_hinton2015 teacher --data-dir DIR --out FILE.json
    python -m benchmarks.choose_hinton2015 student --data-dir DIR --out FILE.json
    python -m benchmarks.choose_hinton2015 lengths --data-dir DIR --out FILE.json

A sixth of the training rows is held out, and the test rows are never looked at. The searches use
one seed. `teacher` and `student` compare settings over a few epochs; `teacher` also asks whether
SGD with momentum does as well as Adam. `lengths` asks how long to train: an hour and a half, in
pieces. What FILE.json has already is not computed again, so a search goes on where it stopped.
Their results are in docs/hinton2015.md.
"""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save

from nkd.backend import choose
from nkd.data import load_classification, validation_split
from nkd.distillation import Classification, Run
from nkd.report.files import Folder
from nkd.training import Settings, Step, Training

TEACHER, STUDENT = (784, 1200, 1200, 10), (784, 800, 800, 10)


class Momentum:
    """SGD with momentum: v ← μ·v − η·g, w ← w + v (Hinton et al. 2012, arXiv:1207.0580)."""

    def __init__(self, w: Any, g: Any, mu: float = 0.9) -> None:
        self.w, self.g, self.mu, self.v = w, g, mu, 0 * w

    def update(self, learning_rate: Any) -> None:
        """One update."""
        self.v *= self.mu
        self.v -= learning_rate * self.g
        self.w += self.v


def regularised(epochs: int, learning_rate: float, rates: tuple[float, ...]) -> Settings:
    """How a teacher is trained: dropout at these rates, bounded weights, moved images."""
    return Settings(
        epochs, 256, learning_rate, report_every=0, dropout=rates, largest_norm=3.0, jitter=2
    )


class Search:
    """Trains settings on five sixths of the training rows, and counts errors on the last sixth."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        data = load_classification("mnist", arguments.data_dir)
        self.problem, self.out = Classification(validation_split(data)), Path(arguments.out)
        self.folder, self.backend = Folder(self.out.parent), choose(arguments.backend)
        self.records: list[dict[str, Any]] = []
        if self.out.exists():
            self.records = json.loads(self.out.read_text())

    def train(
        self,
        name: str,
        sizes: tuple,
        run: Run,
        settings: Settings,
        momentum: bool = False,
        teacher: int | None = None,
    ) -> Training | None:
        """Train one network, if this has not been done; keep a record of it.

        Args:
            teacher: the epochs of the teacher that the run learns from.
        """
        what = {"network": name, "optimizer": "momentum" if momentum else "Adam"}
        what |= {"alpha": run.alpha, "temperature": run.temperature}
        what |= {key: value for key, value in asdict(settings).items() if key != "optimizer"}
        what |= {"teacher_epochs": teacher} if teacher else {}
        what = json.loads(json.dumps(what))
        if any(what == {key: record.get(key) for key in what} for record in self.records):
            return None
        start = time.perf_counter()
        training = Training(self.problem, sizes, [run], settings, backend=self.backend)
        if momentum:
            network = training.network
            optimizer = Momentum(network.parameters, network.gradients)
            tables = training.train_inputs, training.targets
            training.step = Step(network, training.loss, optimizer, *tables)
        training.run()
        self.records.append(
            what
            | {"errors": int(training.history[-1].test["errors"][0])}
            | {"seconds": round(time.perf_counter() - start)}
        )
        print(self.records[-1], flush=True)
        self.folder.write(self.out.name, f"{json.dumps(self.records, indent=1)}\n".encode())
        return training

    def teacher(self) -> None:
        """Optimiser and learning rate, then dropout."""
        light, heavy = (0.0, 0.3, 0.3), (0.2, 0.5, 0.5)
        for rates, eta, epochs, momentum in (
            (heavy, 2e-3, 15, False),
            (light, 1e-3, 5, False),
            (light, 2e-3, 5, False),
            (light, 4e-3, 5, False),
            (light, 0.1, 5, True),
            (light, 0.3, 5, True),
            (light, 2e-3, 15, False),
        ):
            settings = regularised(epochs, eta, rates)
            self.train("teacher", TEACHER, Run(0), settings, momentum)

    def student(self) -> None:
        """Learning rates of the small network alone; α, learning rate and batch when distilled.

        The teacher is the one of the table, trained for a shorter time.
        """
        for eta in (5e-4, 1e-3, 2e-3):
            self.train("alone", STUDENT, Run(0), Settings(15, 128, eta, "cosine", 15))
        settings = regularised(10, 2e-3, (0.0, 0.3, 0.3))
        targets = self.taught(settings)
        for alpha, eta, batch, epochs in (
            (1.0, 1e-3, 128, 10),
            (0.9, 1e-3, 128, 10),
            (1.0, 2e-3, 128, 10),
            (1.0, 2e-3, 256, 10),
            (0.9, 2e-3, 128, 20),
            (0.7, 2e-3, 128, 20),
            (0.9, 4e-3, 128, 20),
        ):
            settings = Settings(epochs, batch, eta, "cosine", epochs)
            self.train("distilled", STUDENT, Run(0, alpha, 20.0, targets), settings, teacher=10)

    def taught(self, settings: Settings) -> np.ndarray:
        """The logits of a teacher with these settings on the training rows, kept in a file."""
        name = f"-{settings.epochs}-{'-'.join(map(str, settings.dropout))}.safetensors"
        path = self.out.with_name(self.out.stem + name)
        if not path.exists():
            training = self.train("teacher", TEACHER, Run(0), settings)
            if training is None:  # its record is there, but not its logits
                training = Training(
                    self.problem, TEACHER, [Run(0)], settings, backend=self.backend
                ).run()
            logits = training.outputs(training.train_inputs)[0]
            self.folder.write(path.name, save({"logits": logits}))
        return load_file(path)["logits"]

    def lengths(self) -> None:
        """Epochs of the small network alone, of the teacher, and of the distilled network."""
        for eta, lengths in ((1e-3, (5, 10, 20, 40, 80)), (2e-3, (20, 40))):
            for epochs in lengths:
                self.train("alone", STUDENT, Run(0), Settings(epochs, 128, eta, "cosine", 0))

        for epochs in (40, 160):
            for rates in ((0.0, 0.3, 0.3), (0.2, 0.5, 0.5)):
                self.taught(regularised(epochs, 2e-3, rates))
        rates = tuple(self.best("teacher", epochs=160)["dropout"])
        targets = self.taught(regularised(160, 2e-3, rates))

        def distilled(epochs: int, alpha: float) -> None:
            settings, run = Settings(epochs, 128, 2e-3, "cosine", 0), Run(0, alpha, 20.0, targets)
            self.train("distilled", STUDENT, run, settings, teacher=160)

        for alpha in (0.7, 0.9, 1.0):
            distilled(60, alpha)
        for epochs in (120, 240):
            distilled(epochs, self.best("distilled", epochs=60, teacher_epochs=160)["alpha"])

    def best(self, network: str, **given: Any) -> dict[str, Any]:
        """The record of that network with the fewest errors, among those with these values."""
        wanted = {"network": network} | given
        found = [
            record
            for record in self.records
            if all(record.get(key) == value for key, value in wanted.items())
        ]
        return min(found, key=lambda record: record["errors"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("teacher", "student", "lengths"))
    parser.add_argument("--data-dir")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    search = Search(arguments)
    getattr(search, arguments.what)()
