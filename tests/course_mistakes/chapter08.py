"""Typical mistakes in the exercise of chapter 8, and a part of what the check says of each."""

import numpy as np

from nkd.controls import label_smoothing, permuted_others
from nkd.losses import softmax


def is_label(z, y):
    return y[:, None] == np.arange(z.shape[1])


def one_minus_the_label(z_teacher, y, T):
    p = softmax(z_teacher, T)
    p_y = p[np.arange(len(y)), y][:, None]
    with np.errstate(divide="ignore"):
        others = np.log((1 - p_y) / (p.shape[1] - 1))
    return T * np.where(is_label(p, y), np.log(p_y), others)


def without_T_at_the_end(z_teacher, y, T):
    return one_minus_the_label(z_teacher, y, T) / T


def at_T_1(z_teacher, y, T):
    return one_minus_the_label(z_teacher, y, 1.0) * T


def shared_with_the_label(z_teacher, y, T):
    p = softmax(z_teacher, T)
    p_y = p[np.arange(len(y)), y][:, None]
    return T * np.log(np.where(is_label(p, y), p_y, (1 - p_y) / p.shape[1]))


def averaged_logits(z_teacher, y, T):
    label = is_label(z_teacher, y)
    others = z_teacher[~label].reshape(len(y), -1).mean(axis=1)
    return np.where(label, z_teacher, others[:, None])


def permuted(z_teacher, y, T):
    return permuted_others(z_teacher, y, 0)


def in_probabilities(z_teacher, y, T):
    p = softmax(z_teacher, T)
    label = is_label(p, y)
    rest = p[~label].reshape(len(y), -1).mean(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        return T * np.log(np.where(label, p, rest))


def cut_off(z_teacher, y, T):
    p = np.clip(softmax(z_teacher.astype(float), T), 1e-7, 1 - 1e-7)
    p_y = p[np.arange(len(y)), y][:, None]
    return T * np.log(np.where(is_label(p, y), p_y, (1 - p_y) / (p.shape[1] - 1)))


def changed_in_place(z_teacher, y, T):
    label = is_label(z_teacher, y)
    others = z_teacher[~label].reshape(len(y), -1) / T
    mean = np.logaddexp.reduce(others, axis=1) - np.log(others.shape[1])
    z_teacher[...] = np.where(label, z_teacher, T * mean[:, None])
    return z_teacher


MISTAKES = [
    ((one_minus_the_label,), "has lost its digits"),
    ((without_T_at_the_end,), r"their T divides your logits once more"),
    ((at_T_1,), "at T = 1, not at T"),
    ((shared_with_the_label,), "count the classes"),
    ((averaged_logits,), "logits are averaged"),
    ((permuted,), "still says what it resembles"),
    ((label_smoothing,), "This is label smoothing"),
    ((in_probabilities,), "Stay with logarithms"),
    ((cut_off,), "added, or cut off"),
    ((changed_in_place,), "An argument is changed"),
]
