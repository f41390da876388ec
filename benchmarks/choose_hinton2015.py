"""How the choices that Hinton, Vinyals and Dean 2015 leave open were made: on a validation split.

    python -m benchmarks.choose_hinton2015 teacher --data-dir DIR --out FILE.json
    python -m benchmarks.choose_hinton2015 student --data-dir DIR --out FILE.json

A sixth of the training rows is held out, and the test rows are never looked at. The searches are
short: they use one seed, and fewer epochs than the table itself. Their results are in
docs/hinton2015.md. `teacher` also asks whether SGD with momentum does as well as Adam.
"""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nkd.backend import choose
from nkd.data import load_classification, validation_split
from nkd.distillation import Classification, Run
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


class Search:
    """Trains settings on five sixths of the training rows, and counts errors on the last sixth."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        data = load_classification("mnist", arguments.data_dir)
        self.problem, self.out = Classification(validation_split(data)), Path(arguments.out)
        self.backend = choose(arguments.backend)
        self.records: list[dict[str, Any]] = []

    def train(
        self, name: str, sizes: tuple, run: Run, settings: Settings, momentum: bool = False
    ) -> Training:
        """Train one network; keep a record of it."""
        start = time.perf_counter()
        training = Training(self.problem, sizes, [run], settings, backend=self.backend)
        if momentum:
            network = training.network
            optimizer = Momentum(network.parameters, network.gradients)
            tables = training.train_inputs, training.targets
            training.step = Step(network, training.loss, optimizer, *tables)
        training.run()
        self.records.append(
            {"network": name, "optimizer": "momentum" if momentum else "Adam"}
            | {"alpha": run.alpha, "temperature": run.temperature, **asdict(settings)}
            | {"errors": int(training.history[-1].test["errors"][0])}
            | {"seconds": round(time.perf_counter() - start)}
        )
        print(self.records[-1], flush=True)
        self.out.write_text(json.dumps(self.records, indent=1) + "\n")
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
            settings = Settings(epochs, 256, eta, "cosine", epochs, rates, 3.0, 2)
            self.train("teacher", TEACHER, Run(0), settings, momentum)

    def student(self) -> None:
        """Learning rates of the small network alone; α, learning rate and batch when distilled.

        The teacher is the one of the table, trained for a shorter time.
        """
        for eta in (5e-4, 1e-3, 2e-3):
            self.train("alone", STUDENT, Run(0), Settings(15, 128, eta, "cosine", 15))
        settings = Settings(10, 256, 2e-3, "cosine", 10, (0.0, 0.3, 0.3), 3.0, 2)
        teacher = self.train("teacher", TEACHER, Run(0), settings)
        targets = teacher.network.predict(teacher.train_inputs)[0]
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
            self.train("distilled", STUDENT, Run(0, alpha, 20.0, targets), settings)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("teacher", "student"))
    parser.add_argument("--data-dir")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    search = Search(arguments)
    getattr(search, arguments.what)()
