"""Conditions: what Student and Person see and know, if it is not each training row as it is.

They may train on moved images, where the Student is told what its teacher says about the very image
that it sees. They may know fewer rows than the teacher. Or all three know the same few labels, and
the Student is also told what its teacher says about the rows without one. Networks, seeds, α and T
stay as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nkd.data import check_count, fewer_rows
from nkd.distillation import Problem, Run, pairs
from nkd.errors import UserError
from nkd.training import Settings, for_rows

COUNTS = {"rows": "{:,} rows for Student and Person", "labels": "{:,} labels"}
"""What there can be fewer of, and how a data set's title says so."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """What some networks learn: their runs, on a problem's rows, with their settings.

    `rows` says which of all the training rows those of the problem are; None for all.
    """

    problem: Problem
    runs: Sequence[Run]
    settings: Settings
    rows: np.ndarray | None = None


def part_of(problem: Problem, count: int) -> tuple[Problem, np.ndarray]:
    """The problem with that many of its training rows, and which these are: see `fewer_rows`."""
    data, rows = fewer_rows(problem.data, count)
    return type(problem)(data), rows


def checked_counts(problem: Problem, sweep: Mapping[str, Sequence[Any]]) -> dict[str, list[int]]:
    """The numbers of rows or labels in a sweep, as Python's own numbers.

    Raises:
        UserError: one of them is not possible, or is there twice.
    """
    counts = {what: list(sweep[what]) for what in COUNTS if what in sweep}
    for what, numbers in counts.items():
        if not numbers or len(set(numbers)) < len(numbers):
            raise UserError(f"--sweep {what}: give at least one number, and each once")
        y = problem.data.y_train
        counts[what] = [check_count(y, each, f"--sweep {what}={each:.12g}") for each in numbers]
    return counts


def lessons(
    problem: Problem,
    settings: Settings,
    seeds: Sequence[int],
    targets: np.ndarray,
    how: Mapping[str, Any],
    *,
    rows: int | None = None,
    labels: int | None = None,
) -> dict[str, Lesson]:
    """The lessons of "student" and "person".

    Args:
        settings: how they are trained on all training rows.
        targets: what K teachers say about all of them, (K, N, ·).
        how: α, T, the loss and its parameters, see `nkd.distillation.pairs`.
        rows: how many rows both train on; by default all.
        labels: how many labels there are. The Persons train on these rows, the Students on all.
    """
    part, known, own = problem, None, settings
    count = rows if labels is None else labels
    if count is not None:
        part, known = part_of(problem, count)
        own = for_rows(settings, count, len(problem.data.x_train))
    if rows is not None:
        targets = targets[:, known]
    runs = pairs(seeds, targets=targets, **how)
    students, persons = runs[: len(seeds)], runs[len(seeds) :]
    person = Lesson(part, persons, own, known)
    if labels is None:
        return {"student": Lesson(part, students, own, known), "person": person}
    labelled = np.zeros(len(problem.data.x_train), bool)
    labelled[known] = True
    students = [replace(run, labelled=labelled) for run in students]
    return {"student": Lesson(problem, students, settings), "person": person}


def side_by_side(lessons: Mapping[str, Lesson]) -> list[list[tuple[str, Lesson]]]:
    """The lessons by name, in groups that can train in one pass: same rows, same settings."""
    groups: list[list[tuple[str, Lesson]]] = []
    for name, lesson in lessons.items():
        last = groups[-1][0][1] if groups else None
        if last and last.problem is lesson.problem and last.settings == lesson.settings:
            groups[-1].append((name, lesson))
        else:
            groups.append([(name, lesson)])
    return groups
