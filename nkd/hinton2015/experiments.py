"""What is trained, on what, and what is measured; each finished experiment is kept in a file."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from nkd.backend import Backend
from nkd.data import Dataset
from nkd.distillation import Classification, Run
from nkd.hinton2015.biases import add_bias, best_bias, matched_bias
from nkd.report.divergence import divergence
from nkd.report.files import CHECKPOINTS, Folder
from nkd.report.screen import Screen
from nkd.training import Settings, Training, inputs_of
from nkd.work import Kept, Work

Measured = dict[str, Any]
"""What an experiment found with one seed, as plain numbers."""


@dataclass(frozen=True)
class Plan:
    """How everything is trained: settings of each experiment, and the sizes of the networks.

    Args:
        map: settings by units in each of the two hidden layers; small networks may train longer.
        alpha: weight of the teacher in every distillation.
        temperature: T of every distillation but those of the map.
        teacher_units, student_units: of the hidden layers.
        temperatures: of the map.
    """

    teacher: Settings
    alone: Settings
    distilled: Settings
    without_3: Settings
    only_7_and_8: Settings
    map: dict[int, Settings]
    alpha: float
    temperature: float = 20.0
    teacher_units: tuple[int, ...] = (1200, 1200)
    student_units: tuple[int, ...] = (800, 800)
    temperatures: tuple[float, ...] = (1.0, 2.5, 4.0, 8.0, 20.0)


class Experiments:
    """The experiments of the section, one seed at a time, each kept in the folder when it is done.

    Args:
        data: MNIST, or something like it.
        folder: where results are kept; those that are there already are not computed again.
    """

    def __init__(
        self,
        data: Dataset,
        plan: Plan,
        folder: Folder,
        screen: Screen,
        backend: Backend,
        checkpoint_every: float = 30.0,
    ) -> None:
        self.data, self.plan, self.folder = data, plan, folder
        self.screen, self.backend = screen, backend
        self.checkpoints = Kept(folder.path / CHECKPOINTS, checkpoint_every)
        self.work = Work(backend.free_memory(), backend, screen.print, self.checkpoints)
        self.name, self.before = "", 0.0
        self.classes = Classification(data).outputs
        self.by_name: dict[str, Callable[[int], Measured]] = {
            "teacher": self.teacher,
            "alone": self.alone,
            "distilled": self.distilled,
            "without-3": partial(self.part, plan.without_3, (3,), False),
            "only-7-and-8": partial(self.part, plan.only_7_and_8, (7, 8), True),
            **{f"map-{width}": partial(self.map, width) for width in plan.map},
        }

    def kept(self, name: str, seed: int) -> Measured | None:
        """What has been measured already, or None."""
        return self.folder.record(f"{name}-seed{seed}")

    def results(self, names: Sequence[str], seeds: Sequence[int]) -> dict[int, dict[str, Measured]]:
        """All that has been measured, by seed and name."""
        found = {seed: {name: self.kept(name, seed) for name in names} for seed in seeds}
        return {
            seed: {name: measured for name, measured in by_name.items() if measured}
            for seed, by_name in found.items()
        }

    def run(self, name: str, seed: int) -> Measured:
        """Do one experiment with one seed, and keep its results.

        Raises:
            UserError: another process does it at the moment.
        """
        self.name = f"{name}-seed{seed}"
        with self.folder.locked(self.name):
            start = time.perf_counter()
            measured = self.by_name[name](seed)
            measured["seconds"] = time.perf_counter() - start + self.before
            self.folder.write_json(f"{self.name}.json", measured)
            self.checkpoints.forget(self.name)
        return measured

    # One experiment each. The seed determines initial weights, batch order, dropout masks and image
    # shifts; students learn from the teacher of their seed.

    def teacher(self, seed: int) -> Measured:
        """The large network: dropout, bounded weights, shifted images. Its logits are kept too."""
        from safetensors.numpy import save

        training = self.train(self.data, self.plan.teacher_units, [Run(seed)], self.plan.teacher)
        logits = training.outputs(training.train_inputs)[0]
        self.folder.write(f"teacher-seed{seed}.safetensors", save({"logits": logits}))
        return {"errors": errors_of(training)[0]}

    def alone(self, seed: int) -> Measured:
        """The small network on the labels alone."""
        training = self.train(self.data, self.plan.student_units, [Run(seed)], self.plan.alone)
        return {"errors": errors_of(training)[0]}

    def distilled(self, seed: int) -> Measured:
        """The small network that learns from the teacher, on the images as they are."""
        plan = self.plan
        run = Run(seed, plan.alpha, plan.temperature, self.logits(seed))
        training = self.train(self.data, plan.student_units, [run], plan.distilled)
        return {"errors": errors_of(training)[0]}

    def map(self, width: int, seed: int) -> Measured:
        """Students of one width at each temperature, side by side."""
        plan, logits = self.plan, self.logits(seed)
        runs = [Run(seed, plan.alpha, T, logits) for T in plan.temperatures]
        training = self.train(self.data, (width, width), runs, plan.map[width])
        texts = (f"{T:g}" for T in plan.temperatures)
        return {"errors": dict(zip(texts, errors_of(training), strict=True))}

    def part(self, settings: Settings, classes: tuple[int, ...], only: bool, seed: int) -> Measured:
        """A student whose transfer set has `only` these classes, or all others; then their bias.

        The bias is set on the training rows, so that these classes are predicted as often as they
        occur there, and, as in the paper, on the test rows, so that errors there are fewest.
        """
        plan, data = self.plan, self.data
        rows = np.isin(data.y_train, classes) == only
        transfer = replace(data, x_train=data.x_train[rows], y_train=data.y_train[rows])
        run = Run(seed, plan.alpha, plan.temperature, self.logits(seed)[rows])
        training = self.train(transfer, plan.student_units, [run], settings)

        everything = inputs_of(data, data.x_train, backend=self.backend)
        z_train, z = training.outputs(everything)[0], training.outputs(training.test_inputs)[0]
        count = int(np.isin(data.y_train, classes).sum())
        these = np.isin(data.y_test, classes)
        measured: Measured = {"rows of the classes": int(these.sum()), "rows": len(these)}
        for how, b in (
            ("as trained", 0.0),
            ("training rows", matched_bias(z_train, classes, count)),
            ("test rows", best_bias(z, classes, data.y_test)),
        ):
            wrong = add_bias(z, classes, b).argmax(axis=1) != data.y_test
            errors = {"errors": int(wrong.sum()), "errors of the classes": int(wrong[these].sum())}
            measured[how] = {"bias": b, **errors}
        return measured

    def logits(self, seed: int) -> np.ndarray:
        """The teacher's logits on the training rows (N, C), as kept."""
        from safetensors.numpy import load_file

        return load_file(self.folder.path / f"teacher-seed{seed}.safetensors")["logits"]

    def train(
        self, data: Dataset, hidden: Sequence[int], runs: Sequence[Run], settings: Settings
    ) -> Training:
        """Train networks to the end under a progress bar."""
        sizes = data.x_train.shape[1], *hidden, self.classes
        training = Training(Classification(data), sizes, runs, settings, backend=self.backend)
        title = f"{'-'.join(map(str, sizes))}, seed {runs[0].seed}"

        def show(training: Training) -> None:
            self.before = training.seconds  # of an earlier process
            for _ in self.screen.epochs(training, title):
                pass

        self.work.train(self.name, training, show)
        self.screen.advise(divergence(training.runs, training.diverged, settings))
        return training


def errors_of(training: Training) -> list[int | None]:
    """The test errors of each network after the last epoch; None of one that diverged."""
    errors = training.history[-1].test["errors"]
    return [None if np.isnan(number) else int(number) for number in errors]
