"""Typical mistakes in the exercise of chapter 2, and a part of what the check says of each."""

import numpy as np


def right(z, y):
    u = z - z.max(axis=1, keepdims=True)
    log_q = u - np.log(np.exp(u).sum(axis=1, keepdims=True))
    return -(y * log_q).sum(axis=1).mean(), (np.exp(log_q) - y) / len(z)


def without_the_mean_in_dz(z, y):
    value, dz = right(z, y)
    return value, dz * len(z)


def mean_over_the_classes_too(z, y):
    value, dz = right(z, y)
    return value / z.shape[1], dz / z.shape[1]


def derivatives_by_the_probabilities(z, y):
    value, dz = right(z, y)
    return value, -y / (dz * len(z) + y) / len(z)


def labels_only(z, y):
    value, dz = right(z, y)
    return value, dz + (y - np.eye(z.shape[1])[y.argmax(axis=1)]) / len(z)


def with_a_small_number(z, y):
    _, dz = right(z, y)
    return -(y * np.log(dz * len(z) + y + 1e-12)).sum() / len(z), dz


def in_place(z, y):
    z -= z.max(axis=1, keepdims=True)
    return right(z, y)


def clipped(z, y):
    value, dz = right(z, y)
    return value, np.clip(dz, -0.1, 0.1)


def one_maximum_for_all_rows(z, y):
    u = z - z.max()
    log_q = u - np.log(np.exp(u).sum(axis=1, keepdims=True))
    with np.errstate(invalid="ignore"):
        return -(y * log_q).sum(axis=1).mean(), (np.exp(log_q) - y) / len(z)


MISTAKES = [
    ((without_the_mean_in_dz,), "dz lacks the 1/B"),
    ((mean_over_the_classes_too,), "mean over rows and classes"),
    ((derivatives_by_the_probabilities,), "by the probabilities q"),
    ((labels_only,), "on its largest class"),
    ((with_a_small_number,), "Something was added"),
    ((in_place,), "changes its argument"),
    ((clipped,), "a central difference says"),
    ((one_maximum_for_all_rows,), "each has its own maximum"),
]
