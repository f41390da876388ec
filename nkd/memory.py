"""How much memory a training will take, predicted before it is allocated.

It is the sum of what `Training` allocates, line by line, so a list of runs that would not fit can
be trained in several passes. If the device still refuses, NumPy and CuPy both raise MemoryError
(CuPy's OutOfMemoryError is one).
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nkd.backend import NUMPY, Backend
from nkd.distillation import Problem, Run, arms_of
from nkd.losses import kinds_of
from nkd.network import ALIGNMENT, most_rows
from nkd.training import ASKED_ROWS, Settings


def bytes_of_training(
    problem: Problem,
    sizes: Sequence[int],
    runs: Sequence[Run],
    settings: Settings,
    *,
    backend: Backend = NUMPY,
    dtype: Any = np.float32,
) -> int:
    """The most bytes that a `Training` holds at any time, from its creation to its last metric.

    With P the (padded) parameters of a network, I → O its layers, N and M training and test rows,
    C outputs, A the runs that share a batch, S = R/A different batches, V the most rows that pass
    through at once, and t and u the numbers per row in the loss's target and buffers:

        networks, Adam        5·R·P numbers: w, g, m, v and one buffer; 2·R·P more for a mean of w
        layers                R·V·ΣO numbers h, as many bytes of masks; R·V·ΣI numbers dx, from
                              the second layer on
        a batch, its loss     S·B·I inputs, gathered and as stored; R·B·(2·t + u) numbers
        targets               arms·N·t numbers; with p pixels of jitter, (2·p + 1)² times as many
                              for an arm whose teacher is asked, N·C for each row or view that a
                              function answered
        moved images          N images with a border of p pixels, as stored
        or, before training   N·(5·C + 3) numbers, or (2·p + 1)² times as many, while targets are
                              made; and the inputs of 10,000 rows, twice, while teachers are asked
        and the larger of     24·S·N bytes: an epoch's orders, while the next are drawn
                              3·R·max(N, M)·C numbers and 8·S·N bytes: while metrics are computed
        inputs                V·I numbers, when outputs are measured

    Not counted is what does not grow with these: some kilobytes of objects, and on a GPU the
    context and the libraries, which take about half a gigabyte. Nor are masks of dropout.

    Args:
        problem, sizes, runs, settings: as `Training` takes them.
        backend: where the arrays live; a GPU has to hold the data set as well.
        dtype: of the training.

    Returns:
        Bytes. On NumPy, trainings of some megabytes took 95 to 101 % of it (tests/test_memory.py).
    """
    first, _, sharing = arms_of(runs)
    kinds = kinds_of(problem.losses, runs)
    x_train, classes, p = problem.data.x_train, problem.data.y_train.ndim == 1, settings.jitter
    rows, test_rows, batch_size = len(x_train), len(problem.data.x_test), settings.batch_size
    stored_itemsize, device = x_train.dtype.itemsize, backend.xp is not np
    number, index = np.dtype(dtype).itemsize, np.dtype(np.intp).itemsize
    R, S, B, N, I, C = len(runs), len(runs) // sharing, batch_size, rows, sizes[0], sizes[-1]
    layers, line = list(itertools.pairwise(sizes)), ALIGNMENT // number
    P = sum(math.ceil(size / line) * line for I, O in layers for size in (I * O, O))
    V = most_rows(batch_size, rows, test_rows)
    stored = 1 if stored_itemsize == 1 else number  # other types are converted once

    networks = 5 * R * P * number
    activations = R * V * (sum(sizes[1:]) * (number + 1) + sum(sizes[1:-1]) * number)
    t = max(kind.target_columns(C) for kind in kinds)
    batch = S * B * (I * (number + stored) + index) + R * B * (2 * t * number + index)
    loss = B * number * sum(C + sum(kind.work_columns(C)) for kind in kinds)
    if len(set(kinds)) > 1:  # `SeveralLosses` has a gradient of its own
        loss += R * B * C * number
    said = [runs[r].targets for r in first]
    views = [(2 * p + 1) ** 2 if callable(each) or np.ndim(each) == 3 else 1 for each in said]
    targets = sum(views) * N * t * number
    asked = len({each for each in said if callable(each)})
    answers = asked * max(views) * N * C * number
    making = targets + max(views) * N * (5 * C + 3) * number
    questions = min(max(views) * N, ASKED_ROWS) if asked else 0
    asking = questions * (I * (2 * number + stored) + 4 * index)
    data = 0
    if p and problem.data.image_shape is not None:
        data += N * stored * math.prod(size + 2 * p for size in problem.data.image_shape)
    bounded = problem.data.feature_bound is not None  # in a copy
    if device or bounded or stored != stored_itemsize:
        data += (N + test_rows) * (I * stored + (index if classes else C * number))

    if settings.average:
        networks += 2 * R * P * number

    orders = S * N * index
    # Logits, shifted logits, their exponentials and a few columns; or outputs and errors in
    # float64, where NumPy squares the errors in place.
    if classes:
        measured = max(N, test_rows) * R * (3 * C + 2) * number
    else:
        measured = max(N, test_rows) * C * 8 * (R * (3 if device else 2) + 1)
    predicted = V * I * number  # the last inputs
    largest = max(3 * orders, orders + measured) + predicted
    kept = networks + answers + data
    return kept + max(making, asking, targets + activations + batch + loss + largest)
