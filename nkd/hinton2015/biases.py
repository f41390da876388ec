"""One number added to the biases of some classes, to predict them as often as they occur.

A network that never saw a class among the labels has that class's bias far too low; one that saw
no other has it too high. Adding b to the biases of these classes adds b to their logits. With

    d = max of the other classes' logits − max of these classes' logits

for each row, the network predicts one of these classes where d < b. So everything about b can be
read from the sorted d, exactly.
"""

from collections.abc import Sequence

import numpy as np


def add_bias(z: np.ndarray, classes: Sequence[int], b: float) -> np.ndarray:
    """Logits z (N, C) in float64 with b added to those of the classes."""
    shifted = z.astype(np.float64)
    shifted[:, list(classes)] += b
    return shifted


def distances(z: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """For each row the b above which it is assigned to one of the classes, (N,): the d above."""
    z, inside = z.astype(np.float64), np.isin(np.arange(z.shape[1]), classes)
    return z[:, ~inside].max(axis=1) - z[:, inside].max(axis=1)


def between(ordered: np.ndarray) -> np.ndarray:
    """For n = 0 … N, a b above exactly n of the N sorted numbers, midway to the next, (N + 1,)."""
    ends = np.concatenate([[ordered[0] - 1], ordered, [ordered[-1] + 1]])
    return (ends[:-1] + ends[1:]) / 2


def matched_bias(z: np.ndarray, classes: Sequence[int], count: int) -> float:
    """The b with which `count` of the rows z (N, C) are assigned to one of the classes.

    It needs to know how often the classes occur, but no row's label.
    """
    return float(between(np.sort(distances(z, classes)))[count])


def best_bias(z: np.ndarray, classes: Sequence[int], y: np.ndarray) -> float:
    """A b with the fewest errors on rows z (N, C) with labels y (N,), as in the paper.

    The errors only change where b passes some d, so N + 1 values of b are all there is to try.
    """
    inside = np.isin(np.arange(z.shape[1]), classes)
    wrong_inside = np.where(inside, z, -np.inf).argmax(axis=1) != y
    wrong_outside = np.where(inside, -np.inf, z).argmax(axis=1) != y
    d = distances(z, classes)
    order = np.argsort(d)
    # The first n rows, in the order of d, are assigned to the classes, all others to the others.
    errors = np.concatenate([[0], np.cumsum(wrong_inside[order])])
    errors[:-1] += np.cumsum(wrong_outside[order][::-1])[::-1]
    tied = np.concatenate([[False], np.diff(d[order]) == 0, [False]])  # no b separates equal d
    return float(between(d[order])[np.where(tied, len(y) + 1, errors).argmin()])
