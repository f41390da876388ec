"""Typical mistakes in the exercise of chapter 10, and a part of what the check says of each."""

import numpy as np
from scipy.special import stdtrit


def divided_by_n(a, b, confidence=0.95):
    d = a - b
    half = stdtrit(len(d) - 1, (1 + confidence) / 2) * d.std() / len(d) ** 0.5
    return d.mean() - half, d.mean() + half


def of_the_normal_distribution(a, b, confidence=0.95):
    d = a - b
    half = 1.959964 * d.std(ddof=1) / len(d) ** 0.5
    return d.mean() - half, d.mean() + half


def unpaired(a, b, confidence=0.95):
    n = len(a)
    deviation = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / n)
    half = stdtrit(2 * n - 2, (1 + confidence) / 2) * deviation
    return (a - b).mean() - half, (a - b).mean() + half


def always_95_percent(a, b, confidence=0.95):
    d = a - b
    half = stdtrit(len(d) - 1, 0.975) * d.std(ddof=1) / len(d) ** 0.5
    return d.mean() - half, d.mean() + half


def the_other_way(a, b, confidence=0.95):
    low, high = always_95_percent(a, b)
    return -high, -low


def in_place(a, b, confidence=0.95):
    a -= b
    return always_95_percent(a, 0 * b)


MISTAKES = [
    ((divided_by_n,), "ddof=1"),
    ((of_the_normal_distribution,), "normal distribution"),
    ((unpaired,), "They are pairs"),
    ((always_95_percent,), "use `confidence`"),
    ((the_other_way,), "interval of b − a"),
    ((in_place,), "argument is changed"),
]
