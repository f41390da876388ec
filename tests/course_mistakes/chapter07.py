"""Typical mistakes in the exercise of chapter 7, and a part of what the check says of each."""

import numpy as np


def adam(w, g, m, v, t, rate, correct_m=True, correct_v=True, inside=False, late=0):
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    m_hat = m / (1 - 0.9 ** (t + late)) if correct_m else m
    v_hat = v / (1 - 0.999 ** (t + late)) if correct_v else v
    root = np.sqrt(v_hat + 1e-8) if inside else np.sqrt(v_hat) + 1e-8
    return w - rate * m_hat / root, m, v


def without_correction(w, g, m, v, t, rate):
    return adam(w, g, m, v, t, rate, correct_m=False, correct_v=False)


def without_correction_of_v(w, g, m, v, t, rate):
    return adam(w, g, m, v, t, rate, correct_v=False)


def with_epsilon_inside_the_root(w, g, m, v, t, rate):
    return adam(w, g, m, v, t, rate, inside=True)


def with_epsilon_before_the_correction(w, g, m, v, t, rate):
    _, m, v = adam(w, g, m, v, t, rate)
    root = (np.sqrt(v) + 1e-8) / np.sqrt(1 - 0.999**t)
    return w - rate * m / (1 - 0.9**t) / root, m, v


def counted_from_0(w, g, m, v, t, rate):
    return adam(w, g, m, v, t, rate, late=1)


def counted_from_2(w, g, m, v, t, rate):
    return adam(w, g, m, v, t, rate, late=-1)


def without_squares(w, g, m, v, t, rate):
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g
    return w - rate * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8), m, v


def in_place(w, g, m, v, t, rate):
    m *= 0.9
    m += 0.1 * g
    v *= 0.999
    v += 0.001 * g**2
    return w - rate * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8), m, v


def with_plain_sums(w, g, m, v, t, rate):
    m, v = 0.9 * m + g, 0.999 * v + g**2
    c = np.sqrt(0.001 / (1 - 0.999**t))
    return w - rate / c * 0.1 / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-8 / c), m, v


def with_corrected_means(w, g, m, v, t, rate):
    w, m, v = adam(w, g, m, v, t, rate)
    return w, m / (1 - 0.9**t), v / (1 - 0.999**t)


def the_step_alone(w, g, m, v, t, rate):
    return adam(0 * w, g, m, v, t, rate)


def uphill(w, g, m, v, t, rate):
    return adam(w, g, m, v, t, -rate)


def with_decay(w, g, m, v, t, rate):
    return adam(0.99 * w, g, m, v, t, rate)


MISTAKES = [
    ((without_correction,), "Neither m nor v is corrected"),
    ((without_correction_of_v,), "^v is not corrected"),
    ((with_epsilon_inside_the_root,), "outside the root"),
    ((with_epsilon_before_the_correction,), "before the root of v is corrected"),
    ((counted_from_0,), r"powers are those of t \+ 1"),
    ((counted_from_2,), "powers are those of t − 1"),
    ((without_squares,), "mean of their squares"),
    ((in_place,), "changes its argument m"),
    ((with_plain_sums,), "lacks its factor"),
    ((with_corrected_means,), "returned divided by"),
    ((the_step_alone,), "does it depend on w"),
    ((uphill,), "uphill"),
    ((with_decay,), "does it depend on w"),
]
