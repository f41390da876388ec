"""Typical mistakes in the exercise of chapter 1, and a part of what the check says of each."""

import numpy as np


def without_the_maximum(z, T=1.0):
    with np.errstate(all="ignore"):
        return z / T - np.log(np.exp(z / T).sum(axis=-1, keepdims=True))


def with_a_small_number(z, T=1.0):
    u = np.exp((z - z.max(axis=-1, keepdims=True)) / T)
    return np.log(u / u.sum(axis=-1, keepdims=True) + 1e-12)


def divided_at_the_end(z, T=1.0):
    u = z - z.max(axis=-1, keepdims=True)
    return (u - np.log(np.exp(u).sum(axis=-1, keepdims=True))) / T


def one_maximum_for_all_rows(z, T=1.0):
    u = (z - z.max()) / T
    return u - np.log(np.exp(u).sum(axis=-1, keepdims=True))


def maximum_not_divided(z, T=1.0):
    u = z / T - z.max(axis=-1, keepdims=True)
    return u - np.log(np.exp(u).sum(axis=-1, keepdims=True))


MISTAKES = [
    ((without_the_maximum,), "subtract the row's maximum"),
    ((with_a_small_number,), "Something was added"),
    ((divided_at_the_end,), "The result is divided by T"),
    ((one_maximum_for_all_rows,), "each has its own maximum"),
    ((maximum_not_divided,), "subtract that of z/T"),
]
