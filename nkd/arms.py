"""Arms: what is compared with the Person besides the Student, and how many runs train at a time.

An arm is one way to train, with a run for each seed. The cells of a sweep are arms that differ
from the Student in α, T or the loss. Control arms keep those and change what is imitated, but for
`scaled-person`, which is a Person with steps of another length. All arms have the Person's seeds,
so each is compared with it pair by pair.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nkd import controls
from nkd.backend import NUMPY, Backend
from nkd.distillation import Problem, Run
from nkd.errors import UserError
from nkd.losses import Loss, by_name, kinds_of
from nkd.training import Settings, Training


@dataclass(frozen=True)
class Arm:
    """One way to train: a run for each seed.

    Args:
        name: for people, such as "temperature 4, alpha 0.5" or "label-smoothing".
        runs: one for each seed, in the order of the seeds; it may lack some that cannot be trained,
            because what they imitate diverged.
        cell: swept fields and their values in this arm; {} in a control arm.
    """

    name: str
    runs: Sequence[Run]
    cell: Mapping[str, Any] = field(default_factory=dict)


def cells(sweep: Mapping[str, Sequence[Any]], students: Sequence[Run]) -> list[Arm]:
    """An arm for each combination of the swept values; all else is as in the Students' runs.

    Args:
        sweep: fields of `Run`, or its loss's own parameters, with the values to try, such as
            {"temperature": [1, 4]}.
        students: one run for each seed.
    """
    arms = []
    for values in itertools.product(*sweep.values()):
        cell = dict(zip(sweep, values, strict=True))
        arms.append(Arm(named(cell), [run.with_values(cell) for run in students], cell))
    return arms


def named(values: Mapping[str, Any]) -> str:
    """Names and values for people, such as "temperature 4, alpha 0.5"."""
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in values.items()
    )


def checked_sweep(
    sweep: Mapping[str, Sequence[Any]], student: Run, losses: Sequence[type[Loss]]
) -> dict[str, list[Any]]:
    """A sweep, as Python's own numbers and names.

    Args:
        sweep: what is swept and its values.
        student: the run that its cells vary.
        losses: of the problem.

    Raises:
        UserError: a name, a value or a combination of them is not possible.
    """
    known = by_name(losses)
    used = [known[name] for name in sweep.get("loss", [student.loss]) if name in known]
    possible = list(dict.fromkeys(n for kind in used for n in (*kind.fields, *kind.parameters)))
    if len(known) > 1:
        possible.append("loss")
    checked = {}
    for name, values in sweep.items():
        if name not in possible:
            raise UserError(
                f"{name!r} cannot be swept here, only {', '.join(possible)}, rows and labels"
            )
        checked[name] = [each.item() if isinstance(each, np.generic) else each for each in values]
        if not checked[name] or len(set(checked[name])) < len(checked[name]):
            raise UserError(f"{name}: give at least one value, and each once")
    if len(checked) > 2:
        raise UserError("at most two names can be swept at a time, so that a map shows them")
    kinds_of(losses, [run for arm in cells(checked, [student]) for run in arm.runs])
    return checked


CONTROLS = {
    "label-smoothing": "labels smoothed to the teacher's mean confidence",
    "shuffled-teacher": "the teacher's rows shuffled within each class",
    "permuted-teacher": "the teacher's other classes permuted in each row",
    "untrained-teacher": "a teacher with its initial weights",
    "early-teacher": "a teacher after one epoch",
    "scaled-person": "the Person, its steps scaled to the Student's gradient",
}
"""The control arms and what each of them imitates."""

OF_CLASSES = ("label-smoothing", "shuffled-teacher", "permuted-teacher")
"""Those that regression cannot have."""


OF_TRAINED = ("untrained-teacher", "early-teacher")
"""Those that need a teacher trained here."""


def checked_controls(
    names: Sequence[str], *, classes: bool, trained: bool, optimizer: str
) -> list[str]:
    """The names of control arms, where "all" stands for all that are possible.

    Args:
        names: keys of `CONTROLS`, or "all" alone.
        classes: whether it is a classification.
        trained: whether the teacher is trained here.
        optimizer: that of the Students and Persons.

    Raises:
        UserError: one of them does not exist, or makes no sense here.
    """
    excluded = {
        *(() if classes else OF_CLASSES),
        *(() if trained else OF_TRAINED),
        *(() if optimizer == "sgd" else ("scaled-person",)),
    }
    possible = [name for name in CONTROLS if name not in excluded]
    names = possible if list(names) == ["all"] else list(names)
    if optimizer == "adam" and "scaled-person" in names:
        raise UserError(
            "--arms scaled-person: under Adam a factor on the loss changes nothing; add "
            "--optimizer sgd and its --learning-rate"
        )
    for name in names:
        if name not in possible or names.count(name) > 1:
            raise UserError(f"--arms {name}: choose, once each, from {', '.join(possible)}; or all")
    return names


def control(
    name: str,
    students: Sequence[Run],
    y: np.ndarray,
    imitated: Callable[[int], np.ndarray],
    scale: Callable[[], Sequence[float]],
) -> Arm:
    """A control arm: the Students with other targets, or the Person with rescaled steps.

    Args:
        name: one of `CONTROLS`.
        students: one run for each seed.
        y: labels of the training rows.
        imitated: gives the outputs (K, N, ·) of the K teachers after that many epochs.
        scale: gives the factors on the learning rate that give the Person's steps the Student's
            mean gradient norm, one for each seed; not finite where one of the two diverged.
    """
    if name == "scaled-person":
        factors = zip(persons_of(students), scale(), strict=True)
        known = [(run, factor) for run, factor in factors if math.isfinite(factor)]
        runs = [run.with_values({"learning_rate_factor": factor}) for run, factor in known]
        return Arm(name, runs)
    teachers = list({id(run.targets): run.targets for run in students}.values())
    if name in ("untrained-teacher", "early-teacher"):
        others = list(imitated(0 if name == "untrained-teacher" else 1))
    else:
        change: Callable[..., np.ndarray] = {
            "label-smoothing": lambda z, number: controls.label_smoothing(
                z, y, students[0].temperature
            ),
            "shuffled-teacher": lambda z, number: controls.shuffled_within_class(z, y, number),
            "permuted-teacher": lambda z, number: controls.permuted_others(z, y, number),
        }[name]
        others = [change(z, students[number].seed) for number, z in enumerate(teachers)]
    other = {id(z): others[number] for number, z in enumerate(teachers)}
    targets = [other[id(run.targets)] for run in students]
    runs = [
        dataclasses.replace(run, targets=said)
        for run, said in zip(students, targets, strict=True)
        if np.isfinite(said).all()
    ]
    return Arm(name, runs)


def persons_of(students: Sequence[Run]) -> list[Run]:
    """The same runs without a teacher."""
    return [dataclasses.replace(run, alpha=0.0, temperature=1.0, targets=None) for run in students]


def scales(
    problem: Problem,
    sizes: Sequence[int],
    students: Sequence[Run],
    settings: Settings,
    backend: Backend = NUMPY,
) -> list[float]:
    """The factors on the Persons' learning rates that give them their Students' gradient norms.

    One for each seed: the ratio of the two means over all steps of both trainings, which are
    run for this; NaN where one of them diverged. The scaled Person then takes a path of its own, so
    its mean is close to the Student's, but not equal to it.
    """
    runs = [*students, *persons_of(students)]
    norms = controls.GradientNorms()
    training = Training(problem, sizes, runs, settings, on_gradients=norms, backend=backend).run()
    means = norms.mean()
    known = np.isfinite(means) & ~training.gone
    student, person = np.where(known, means, np.nan).reshape(2, -1)
    return (student / person).tolist()
