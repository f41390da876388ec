"""Typical mistakes in the exercise of chapter 4, and a part of what the check says of each."""

import numpy as np


def centred(z):
    return z - z.mean(axis=1, keepdims=True)


def right(z, z_teacher):
    return (centred(z - z_teacher) ** 2).mean() / 2


def at_temperature(z, z_teacher, T):
    log_q, log_p = (
        each / T - np.log(np.exp(each / T).sum(axis=1, keepdims=True)) for each in (z, z_teacher)
    )
    return T**2 * (np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean()


def without_the_half(z, z_teacher):
    return 2 * right(z, z_teacher)


def not_centred(z, z_teacher):
    return ((z - z_teacher) ** 2).mean() / 2


def without_the_classes(z, z_teacher):
    return (centred(z - z_teacher) ** 2).sum(axis=1).mean() / 2


def summed_over_the_rows(z, z_teacher):
    return (centred(z - z_teacher) ** 2).mean(axis=1).sum() / 2


def one_for_each_row(z, z_teacher):
    return (centred(z - z_teacher) ** 2).mean(axis=1) / 2


def centred_over_the_batch(z, z_teacher):
    d = z - z_teacher
    return ((d - d.mean(axis=0)) ** 2).mean() / 2


def without_the_tangent(z, z_teacher):
    return ((centred(z) ** 2).mean() - (centred(z_teacher) ** 2).mean()) / 2


def variance_of_a_sample(z, z_teacher):
    return (z - z_teacher).var(axis=1, ddof=1).mean() / 2


def at_a_large_temperature(z, z_teacher):
    return at_temperature(z, z_teacher, 1e4)


def in_place(z, z_teacher):
    z -= z_teacher
    return (centred(z) ** 2).mean() / 2


def for_ten_classes(z, z_teacher):
    return right(z, z_teacher) * (1 if z.shape[1] < 10 else z.shape[1] / 10)


MISTAKES = [
    ((without_the_half,), "twice too large"),
    ((not_centred,), "not centred"),
    ((without_the_classes,), "depends on the number of classes"),
    ((summed_over_the_rows,), "a sum over the rows"),
    ((one_for_each_row,), "a number for each of the 5 rows"),
    ((centred_over_the_batch,), "the wrong axis"),
    ((without_the_tangent,), "a difference of squares"),
    ((variance_of_a_sample,), "counted as C − 1"),
    ((at_a_large_temperature,), "close, but not exact"),
    ((in_place,), "changes its argument"),
    ((for_ten_classes,), "a number that should be B or C"),
]
