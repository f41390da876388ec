"""Teacher, Student and Person: an experiment is a list of runs, trained side by side.

A run is (seed, α, T, targets). The Person is the run with α = 0, so Student and Person of one
seed have the same initial weights, the same batches and the same code: a paired comparison by
construction.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from nkd import metrics
from nkd.backend import Array, Backend
from nkd.data import Dataset
from nkd.errors import UserError
from nkd.losses import (
    REGRESSION_LOSSES,
    Distillation,
    RegressionDistillation,
    WeightedRegression,
    one_hot,
)

LARGEST_TEMPERATURE = 1e6
"""Beyond it, T² leaves no digits in float32."""


@dataclass(frozen=True, eq=False)
class Run:
    """One training of one network.

    Args:
        seed: of the initial weights and of the batch order.
        alpha: weight of the teacher, in [0, 1]; 0 is the Person.
        temperature: T > 0, softens both sides of the soft loss; regression has none.
        targets: the teacher's outputs on the training rows (N, C); needed where alpha > 0.
        loss: how a regression uses the teacher: "blend", "bounded", "attentive" or "rejected",
            see `nkd.losses.REGRESSION_LOSSES`; classification has "blend" alone.
        loss_scale: a factor > 0 on the whole loss. Under Adam it changes nothing but the part of
            ε; under stochastic gradient descent it is a factor on the learning rate.
    """

    seed: int
    alpha: float = 0.0
    temperature: float = 1.0
    targets: np.ndarray | None = None
    loss: str = "blend"
    loss_scale: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise UserError(f"alpha {self.alpha:g} of a run must lie in 0 … 1")
        if not 0 < self.temperature <= LARGEST_TEMPERATURE:
            raise UserError(
                f"temperature {self.temperature:g} of a run must be greater than 0 and at most "
                f"{LARGEST_TEMPERATURE:g}"
            )
        if self.loss not in REGRESSION_LOSSES:
            raise UserError(
                f"loss {self.loss!r} of a run: choose one of {', '.join(REGRESSION_LOSSES)}"
            )
        if not 0 < self.loss_scale < math.inf:
            raise UserError(f"loss_scale {self.loss_scale:g} of a run must be greater than 0")
        if self.alpha > 0 and self.targets is None:
            raise UserError(
                f"a run with alpha {self.alpha:g} needs the teacher's outputs: targets=…"
            )


class Problem(Protocol):
    """What differs between classification and regression: the loss and the metrics."""

    data: Dataset
    outputs: int

    def loss(self, runs: Sequence[Run], **options: Any) -> Any:
        """The loss of these runs."""

    def hard_targets(self, dtype: Any) -> np.ndarray:
        """The training rows' true targets, (N, C) or (N, O)."""

    def measure(self, outputs: Array, y: Array, backend: Backend) -> dict[str, np.ndarray]:
        """Metrics of outputs (R, N, ·), one number per network each."""


class Classification:
    """Labels 0 … C−1, logits, cross-entropy; measured by errors, accuracy and NLL."""

    def __init__(self, data: Dataset) -> None:
        self.data = data
        self.outputs = int(max(data.y_train.max(), data.y_test.max())) + 1

    def loss(self, runs: Sequence[Run], **options: Any) -> Distillation:
        """The `Distillation` loss of these runs."""
        for run in runs:
            if run.loss != "blend":
                raise UserError(f"loss {run.loss!r} of a run is for regression alone")
        return Distillation.of(runs, **options)

    def hard_targets(self, dtype: Any) -> np.ndarray:
        """The labels as rows of probabilities (N, C)."""
        return one_hot(self.data.y_train, self.outputs, dtype)

    def measure(self, outputs: Array, y: Array, backend: Backend) -> dict[str, np.ndarray]:
        """loss (NLL in nats), accuracy (in [0, 1]) and errors (a count) of logits (R, N, C)."""
        errors = metrics.errors(outputs, y)
        measured = {
            "loss": metrics.negative_log_likelihood(outputs, y, backend=backend),
            "accuracy": 1 - errors / len(y),
            "errors": errors,
        }
        return {name: backend.to_numpy(values) for name, values in measured.items()}


class Regression:
    """Targets (N, O) of real numbers, squared error; measured by RMSE, MAE and R²."""

    def __init__(self, data: Dataset) -> None:
        if data.y_train.ndim != 2:
            raise UserError(f"regression targets must be (N, O), not {data.y_train.shape}")
        self.data = data
        self.outputs = data.y_train.shape[-1]

    def loss(
        self, runs: Sequence[Run], **options: Any
    ) -> RegressionDistillation | WeightedRegression:
        """`RegressionDistillation` if all runs have the plain blend, else `WeightedRegression`."""
        if all(run.loss == "blend" and run.loss_scale == 1 for run in runs):
            return RegressionDistillation.of(runs, **options)
        return WeightedRegression.of(runs, **options)

    def hard_targets(self, dtype: Any) -> np.ndarray:
        """The true targets (N, O)."""
        return self.data.y_train.astype(dtype)

    def measure(self, outputs: Array, y: Array, backend: Backend) -> dict[str, np.ndarray]:
        """loss (MSE), rmse, mae (both in the unit of the target) and r2 of outputs (R, N, O)."""
        outputs, y = outputs.astype(np.float64), y.astype(np.float64)
        loss = metrics.mean_squared_error(outputs, y)
        measured = {
            "loss": loss,
            "rmse": backend.xp.sqrt(loss),
            "mae": metrics.mean_absolute_error(outputs, y),
            "r2": metrics.r_squared(outputs, y),
        }
        return {name: backend.to_numpy(values) for name, values in measured.items()}


def arm_of(run: Run) -> tuple:
    """What distinguishes runs beside their seed."""
    if run.alpha == 0:
        return 0.0, run.loss_scale
    return run.alpha, run.temperature, id(run.targets), run.loss, run.loss_scale


def versions(runs: Sequence[Run]) -> tuple[list[Run], int]:
    """One run of each version (α, T, targets, loss), and how many runs share each batch.

    Batches are shared where the seeds repeat, as in runs listed arm by arm.
    """
    seeds = [run.seed for run in runs]
    different = list(dict.fromkeys(seeds))
    sharing = len(runs) // len(different)
    first = {arm_of(run): run for run in reversed(runs)}
    return list(reversed(first.values())), sharing if seeds == different * sharing else 1


def pairs(
    seeds: Iterable[int],
    alpha: float,
    targets: np.ndarray,
    temperature: float = 1.0,
    loss: str = "blend",
) -> list[Run]:
    """The Students of these seeds, and then their Persons.

    Args:
        seeds: S of them.
        alpha, temperature, loss: of the Students, see `Run`.
        targets: a teacher's outputs (N, ·), or those of K teachers (K, N, ·), of which the
            Student of seed number i learns from i mod K.
    """
    seeds = list(seeds)
    teachers = [targets] if np.ndim(targets) == 2 else list(targets)
    students = [
        Run(seed, alpha, temperature, teachers[number % len(teachers)], loss)
        for number, seed in enumerate(seeds)
    ]
    return students + [Run(seed) for seed in seeds]
