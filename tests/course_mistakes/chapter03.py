"""Typical mistakes in the exercise of chapter 3, and a part of what the check says of each."""

import numpy as np


def softmax(z, T):
    u = np.exp((z - z.max(axis=1, keepdims=True)) / T)
    return u / u.sum(axis=1, keepdims=True)


def right(z, z_teacher, T):
    return T * (softmax(z, T) - softmax(z_teacher, T)) / len(z)


def right_limit(z, z_teacher):
    difference = z - z_teacher
    return (difference - difference.mean(axis=1, keepdims=True)) / difference.size


def without_t_squared(z, z_teacher, T):
    return right(z, z_teacher, T) / T**2


def without_the_chain_rule(z, z_teacher, T):
    return right(z, z_teacher, T) * T


def teacher_without_temperature(z, z_teacher, T):
    return T * (softmax(z, T) - softmax(z_teacher, 1)) / len(z)


def overflowing(z, z_teacher, T):
    q, p = np.exp(z / T), np.exp(z_teacher / T)
    return T * (q / q.sum(axis=1, keepdims=True) - p / p.sum(axis=1, keepdims=True)) / len(z)


def not_centred(z, z_teacher):
    return (z - z_teacher) / z.size


def without_the_classes(z, z_teacher):
    return right_limit(z, z_teacher) * z.shape[1]


def at_a_large_temperature(z, z_teacher):
    return right(z, z_teacher, 1e4)


def at_a_very_large_temperature(z, z_teacher):
    return right(z, z_teacher, 1e8)


def for_ten_classes(z, z_teacher):
    return right_limit(z, z_teacher) * (1 if z.shape[1] < 10 else z.shape[1] / 10)


MISTAKES = [
    ((without_t_squared, right_limit), "without the factor T²"),
    ((without_the_chain_rule, right_limit), "A factor T is too much"),
    ((teacher_without_temperature, right_limit), "The teacher's probabilities are those at T = 1"),
    ((overflowing, right_limit), "an exponential overflow"),
    ((right, not_centred), "not centred"),
    ((right, without_the_classes), "depends on the number of classes"),
    ((right, at_a_large_temperature), "close, but not exact"),
    ((right, at_a_very_large_temperature), "formula without T"),
    ((right, for_ten_classes), "a number that should be B or C"),
]
