"""What the experiments on claims share: teachers and students, as many as there are repetitions.

In each repetition everything is trained anew: a teacher of its own, its Student and the Person of
the same seed. So an interval speaks of further teachers and further pairs at once. The training
rows are the same in all repetitions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nkd.data import fewer_rows, load_classification
from nkd.distillation import Classification, Problem, Run
from nkd.training import Settings, Training, inputs_of
from nkd.work import Work

TEACHER_SEEDS = 1_000_000
"""A teacher's seed is that of its repetition plus this: not one that a student has."""


@dataclass(frozen=True)
class Plan:
    """Sizes and settings; docs/claims.md says how they were chosen.

    Args:
        teacher, student: how they are trained.
        rows: training rows; None for all.
        teacher_units, student_units: of the hidden layers.
        alpha, temperature: of the Students, where a claim does not ask for others.
    """

    teacher: Settings
    student: Settings
    rows: int | None = None
    teacher_units: tuple[int, ...] = (256, 128)
    student_units: tuple[int, ...] = (32,)
    alpha: float = 0.7
    temperature: float = 4.0


PLANS = {
    "digits": Plan(
        teacher=Settings(40, 64, 1e-3, report_every=0, jitter=2),
        student=Settings(40, 64, 4e-3, report_every=0),
        teacher_units=(128, 64),
    ),
    "mnist": Plan(
        teacher=Settings(60, 64, 1e-3, report_every=0, jitter=2),
        student=Settings(40, 64, 16e-3, report_every=0),
        rows=2000,
    ),
}
"""For each data set: teachers learn from moved images, so they know what the rows do not say."""


def problem_of(name: str, data_dir: str | None = None) -> tuple[Classification, Plan]:
    """A data set by name with the rows of its plan, and the plan."""
    plan = PLANS[name]
    data = load_classification(name, data_dir)
    return Classification(fewer_rows(data, plan.rows)[0] if plan.rows else data), plan


class Laboratory:
    """Trains what experiments ask for, in one pass for all repetitions.

    Args:
        problem: what is learned.
        plan: how.
        repetitions: n seeds.
        work: where it is trained, and kept.
        show: goes through the epochs of a training, and shows them; by default shows nothing.
    """

    def __init__(
        self,
        problem: Classification,
        plan: Plan,
        repetitions: Sequence[int],
        work: Work,
        show: Callable[[Training, str], Any] = lambda training, title: training.run(),
    ) -> None:
        self.problem, self.plan, self.seeds = problem, plan, list(repetitions)
        self.work, self.show, self.name = work, show, "claim"

    @property
    def labels(self) -> np.ndarray:
        """The labels of the training rows (N,)."""
        return self.problem.data.y_train

    def train(
        self,
        what: str,
        units: Sequence[int],
        runs: Sequence[Run],
        settings: Settings,
        problem: Problem | None = None,
        shared: bool = False,
    ) -> Training:
        """Networks trained to the end.

        Args:
            what: a name that nothing else of the experiment has.
            units: of the hidden layers.
            problem: if it is another than the laboratory's.
            shared: whether other experiments train the same under this name.
        """
        problem = problem or self.problem
        sizes = problem.data.x_train.shape[1], *units, problem.outputs
        training = Training(problem, sizes, runs, settings, backend=self.work.backend)
        name = what if shared else f"{self.name}-{what}"
        self.work.train(name, training, lambda training: self.show(training, name))
        return training

    def teachers(self, what: str, *, shared: bool = False, **changed: Any) -> Training:
        """A teacher for each repetition.

        Args:
            changed: `units` and `settings`, where they are not those of the plan, and what a `Run`
                has besides its seed.
        """
        units = changed.pop("units", self.plan.teacher_units)
        settings = changed.pop("settings", self.plan.teacher)
        runs = [Run(seed + TEACHER_SEEDS, **changed) for seed in self.seeds]
        return self.train(what, units, runs, settings, shared=shared)

    @cached_property
    def teacher(self) -> Training:
        """The teacher of each repetition, as most experiments have it."""
        return self.teachers("teacher", shared=True)

    @cached_property
    def logits(self) -> list[np.ndarray]:
        """What it says about the training rows, (N, C) in each repetition."""
        return list(said_by(self.teacher))

    @cached_property
    def asked(self) -> list[Callable[[np.ndarray], np.ndarray]]:
        """The same teachers, to be asked about the very images that a student sees, n of them."""
        return [self.teacher.as_teacher(number) for number in range(len(self.seeds))]

    def students(
        self, targets: Sequence[Any] | np.ndarray | None = None, **changed: Any
    ) -> list[Run]:
        """The runs of one arm: a student for each repetition.

        Args:
            targets: what each one's teacher says, or the teacher to be asked; None for Persons.
            changed: what else a `Run` has, where it is not that of the plan.
        """
        if targets is None:
            return [Run(seed) for seed in self.seeds]
        how = {"alpha": self.plan.alpha, "temperature": self.plan.temperature, **changed}
        pairs = zip(self.seeds, targets, strict=True)
        return [Run(seed, targets=said, **how) for seed, said in pairs]

    def errors(
        self,
        what: str,
        arms: dict[str, list[Run]],
        *,
        units: Sequence[int] | None = None,
        settings: Settings | None = None,
        problem: Problem | None = None,
    ) -> dict[str, np.ndarray]:
        """The test errors of students (n,), by arm; NaN of one that diverged."""
        runs = [run for arm in arms.values() for run in arm]
        units = units or self.plan.student_units
        training = self.train(what, units, runs, settings or self.plan.student, problem)
        return dict(zip(arms, errors_of(training).reshape(len(arms), -1), strict=True))


def said_by(training: Training) -> np.ndarray:
    """What networks say about the training rows, as they are, (R, N, C)."""
    data = training.problem.data
    return training.outputs(inputs_of(data, data.x_train, backend=training.backend))


def errors_of(training: Training) -> np.ndarray:
    """The test errors of each network, (R,)."""
    return training.history[-1].test["errors"].astype(float)
