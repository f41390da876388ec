"""Teacher, Student and Person: an experiment is a list of runs, trained side by side.

A run says how one network is trained: its seed, how it uses the teacher, and a few numbers. The
Person is the run with α = 0, so Student and Person of one seed have the same initial weights, the
same batches and the same code: a paired comparison by construction.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

from nkd import metrics
from nkd.arrays import check_finite, labels, numbers
from nkd.backend import Array, Backend
from nkd.data import Dataset, number_of_classes
from nkd.errors import UserError
from nkd.losses import DistillationLoss, Loss, RegressionDistillationLoss, one_hot, softmax
from nkd.random_streams import LARGEST_SEED
from nkd.weighted_regression import WeightedRegressionLoss

LARGEST_TEMPERATURE = 100.0
"""Up to it, a training's loss is right to 1 % in float32 for logits of deviation 3: its terms grow
like T² and cancel. (Its gradient is right far beyond.)"""


@dataclass(frozen=True, eq=False)
class Run:
    """One training of one network.

    Args:
        seed: of the initial weights and of the batch order.
        alpha: weight of the teacher, in [0, 1]; 0 is the Person.
        temperature: T > 0, softens both sides of the soft loss; unused in regression.
        targets: the teacher, required if alpha > 0: its outputs on the training rows (N, C), or on
            all views of them (V, N, C), see nkd/tables.py; or a function that is asked for them,
            from inputs (B, I) as a network sees them to outputs (B, C).
        loss: how the teacher is used: a name of one of the `Problem`'s `losses`.
        parameters: the loss's own numbers, by name; see `Loss.parameters`.
        learning_rate_factor: a factor on the learning rate of this run, > 0. With stochastic
            gradient descent this is the same as a factor on the loss.
        labelled: for which of the training rows the run knows the label, (N,) booleans; None for
            all. Where it does not, the teacher's answer takes its place in the hard loss, too.
    """

    seed: int
    alpha: float = 0.0
    temperature: float = 1.0
    targets: Any = None
    loss: str = "blend"
    parameters: Mapping[str, float] = field(default_factory=dict)
    learning_rate_factor: float = 1.0
    labelled: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.seed, int | np.integer) or not 0 <= self.seed <= LARGEST_SEED:
            raise UserError(
                f"seed {self.seed} of a run must be a whole number in 0 … {LARGEST_SEED:,}"
            )
        if not 0 <= self.alpha <= 1:
            raise UserError(f"alpha {self.alpha:g} of a run must lie in 0 … 1")
        if not 0 < self.temperature <= LARGEST_TEMPERATURE:
            raise UserError(
                f"temperature {self.temperature:g} of a run must be greater than 0 and at most "
                f"{LARGEST_TEMPERATURE:g}"
            )
        if not 0 < self.learning_rate_factor < math.inf:
            raise UserError(
                f"learning_rate_factor {self.learning_rate_factor:g} of a run must be greater "
                "than 0"
            )
        if (self.alpha > 0 or self.labelled is not None) and self.targets is None:
            raise UserError(
                f"a run with alpha {self.alpha:g} needs the teacher's outputs: targets=…"
            )
        if self.targets is not None and not callable(self.targets):
            targets = numbers(self.targets, "targets=… of a run")
            check_finite(targets, "targets=… of a run")
            object.__setattr__(self, "targets", targets)
        if self.labelled is not None:
            labelled = numbers(self.labelled, "labelled=… of a run")
            if labelled.dtype.kind != "b":
                raise UserError(
                    f"labelled=… of a run holds {labelled.dtype}; give (N,) booleans, whether the "
                    "run knows the label of each training row"
                )
            object.__setattr__(self, "labelled", labelled)

    @property
    def arm(self) -> tuple:
        """What distinguishes the run apart from its seed: every other field.

        Arrays are compared by identity.
        """
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        del values["seed"]
        said = self.targets if callable(self.targets) else id(self.targets)
        values |= {"targets": said, "labelled": id(self.labelled)}
        values["parameters"] = tuple(sorted(self.parameters.items()))
        return tuple(values.values())

    def with_values(self, values: Mapping[str, Any]) -> "Run":
        """The same run with new values for some fields, or for its loss's own parameters."""
        names = {each.name for each in dataclasses.fields(self)}
        fields = {name: value for name, value in values.items() if name in names}
        own = {name: value for name, value in values.items() if name not in names}
        return dataclasses.replace(self, parameters={**self.parameters, **own}, **fields)


@dataclass(frozen=True, eq=False)
class TeacherOutputs:
    """A teacher known only by its outputs: a forest, another library, an old experiment.

    To give probabilities p, pass their logarithms as logits: log(max(p, 1e-6)).

    Args:
        train: its outputs on the training rows, logits (N, C) or values (N, O), or (N,) for one
            output; those of K teachers are (K, N, ·).
        test: its outputs on the test rows, likewise.

    Raises:
        UserError: they are no numbers, or not all finite.
    """

    train: np.ndarray
    test: np.ndarray

    def __post_init__(self) -> None:
        for name in ("train", "test"):
            what = f"{name}=… of TeacherOutputs"
            values = np.ascontiguousarray(numbers(getattr(self, name), what))
            check_finite(values, what)
            values = values if values.ndim > 1 else values[:, None]
            object.__setattr__(self, name, values if values.ndim > 2 else values[None])


class Problem(Protocol):
    """What differs between classification and regression: the losses and the metrics."""

    data: Dataset
    outputs: int
    task: ClassVar[str]
    """"classification" or "regression": see `nkd.data.SOURCES`."""
    losses: ClassVar[list[type[Loss]]]
    """The losses that runs can have; `nkd.losses.kinds_of` says which computes which."""

    def __init__(self, data: Dataset) -> None: ...

    def hard_targets(self, dtype: Any) -> np.ndarray:
        """The training rows' true targets, (N, C) or (N, O)."""

    def labels_from(self, outputs: np.ndarray) -> np.ndarray:
        """What a teacher's outputs (…, ·) say in place of the true targets."""

    def measure(self, outputs: Array, y: Array, backend: Backend) -> dict[str, np.ndarray]:
        """The metrics of outputs (R, N, ·), each with one number per network."""


class Classification:
    """Labels 0 … C−1, logits, cross-entropy; measured by errors, accuracy and NLL.

    Args:
        data: labels (N,) may have any type of numbers that are whole, or be booleans. Each class
            has a row for training or test, unless `Dataset.classes` says how many there are.

    Raises:
        UserError: labels are not whole numbers from 0 on, (N,), have gaps, or are all the same.
    """

    task: ClassVar[str] = "classification"
    losses: ClassVar[list[type[Loss]]] = [DistillationLoss]

    def __init__(self, data: Dataset) -> None:
        y_train = labels(data.y_train, data.called("y_train"))
        y_test = labels(data.y_test, data.called("y_test"))
        if y_train is not data.y_train or y_test is not data.y_test:
            data = dataclasses.replace(data, y_train=y_train, y_test=y_test)
        if (y_train == y_train[0]).all():
            raise UserError(
                f"the training rows of data set {data.name!r} have only one class, label "
                f"{y_train[0]}; give rows of two classes or more"
            )
        self.data, self.outputs = data, number_of_classes(data)

    def hard_targets(self, dtype: Any) -> np.ndarray:
        """The labels as rows of probabilities (N, C)."""
        return one_hot(self.data.y_train, self.outputs, dtype)

    def labels_from(self, outputs: np.ndarray) -> np.ndarray:
        """The teacher's probabilities, at T = 1."""
        return softmax(outputs)

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
    """Targets (N, O) of real numbers, squared error; measured by RMSE, MAE and R².

    Args:
        data: targets (N,) become (N, 1); but integers (N,) are labels.

    Raises:
        UserError: the data have labels.
    """

    task: ClassVar[str] = "regression"
    losses: ClassVar[list[type[Loss]]] = [RegressionDistillationLoss, WeightedRegressionLoss]

    def __init__(self, data: Dataset) -> None:
        if data.y_train.ndim == 1:
            if data.y_train.dtype.kind != "f":
                raise UserError(
                    f"{data.called('y_train')} holds {data.y_train.dtype} (N,): those are labels, "
                    "for Classification; give numbers to predict as y.astype(float)"
                )
            y_train, y_test = data.y_train[:, None], data.y_test[:, None]
            data = dataclasses.replace(data, y_train=y_train, y_test=y_test)
        self.data = data
        self.outputs = data.y_train.shape[-1]

    def hard_targets(self, dtype: Any) -> np.ndarray:
        """The true targets (N, O)."""
        return self.data.y_train.astype(dtype)

    def labels_from(self, outputs: np.ndarray) -> np.ndarray:
        """The teacher's values."""
        return outputs

    def measure(self, outputs: Array, y: Array, backend: Backend) -> dict[str, np.ndarray]:
        """loss (MSE), rmse, mae (both in the unit of the target) and r2 of outputs (R, N, O)."""
        outputs, y = (self.data.in_units(each.astype(np.float64), backend) for each in (outputs, y))
        loss = metrics.mean_squared_error(outputs, y)
        measured = {
            "loss": loss,
            "rmse": backend.xp.sqrt(loss),
            "mae": metrics.mean_absolute_error(outputs, y),
            "r2": metrics.r_squared(outputs, y),
        }
        return {name: backend.to_numpy(values) for name, values in measured.items()}


def arms_of(runs: Sequence[Run]) -> tuple[list[int], list[int], int]:
    """The first run of each arm, the number of each run's arm, and how many runs share each batch.

    Batches are shared if the list of seeds repeats, as in runs listed arm by arm.
    """
    seeds = [run.seed for run in runs]
    different = list(dict.fromkeys(seeds))
    sharing = len(runs) // len(different)
    numbers: dict[tuple, int] = {}
    arm_of_run = [numbers.setdefault(run.arm, len(numbers)) for run in runs]
    first = [arm_of_run.index(number) for number in range(len(numbers))]
    return first, arm_of_run, sharing if seeds == different * sharing else 1


def teachers_of(targets: Any) -> list[Any]:
    """The teachers in `targets` of `pairs`, each as in `Run.targets`.

    Arrays are converted here, once, since runs with the same array are runs with the same teacher.
    """
    if callable(targets):
        return [targets]
    if isinstance(targets, list | tuple):
        several = [callable(each) or getattr(each, "ndim", 0) > 1 for each in targets]
        if several and all(several):
            return list(targets)
    values = numbers(targets, "targets=… of pairs")
    return [values] if values.ndim < 3 else list(values)


def pairs(
    seeds: Iterable[int],
    alpha: float,
    targets: Any,
    temperature: float = 1.0,
    loss: str = "blend",
    parameters: Mapping[str, float] | None = None,
) -> list[Run]:
    """The Students of these seeds, and then their Persons: the same with α = 0.

    Args:
        seeds: S of them.
        alpha, temperature, loss, parameters: of the Students, see `Run`.
        targets: a teacher's outputs (N, ·), or a function that is asked; or a list of K teachers as
            in `Run.targets`, such as (K, N, ·), of which the Student of seed number i learns from
            i mod K. One teacher's outputs on all views are a list of one, (1, V, N, ·).
    """
    seeds, teachers = list(seeds), teachers_of(targets)
    own: dict[str, Any] = {"loss": loss, "parameters": parameters or {}}
    students = [
        Run(seed, alpha, temperature, teachers[number % len(teachers)], **own)
        for number, seed in enumerate(seeds)
    ]
    return students + [Run(seed, **own) for seed in seeds]
