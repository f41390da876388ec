"""Typical mistakes in the exercise of chapter 5, and a part of what the check says of each."""

import numpy as np


def log_softmax(z, T):
    u = (z - z.max(axis=1, keepdims=True)) / T
    return u - np.log(np.exp(u).sum(axis=1, keepdims=True))


def softmax(z, T):
    return np.exp(log_softmax(z, T))


def right(y, z_teacher, alpha, T):
    return (1 - alpha) * y + alpha * T * softmax(z_teacher, T)


def right_constant(y, z_teacher, alpha, T):
    log_p = log_softmax(z_teacher, T)
    return alpha * T**2 * (np.exp(log_p) * log_p).sum(axis=1)


def without_T(y, z_teacher, alpha, T):
    return (1 - alpha) * y + alpha * softmax(z_teacher, T)


def with_T_squared(y, z_teacher, alpha, T):
    return (1 - alpha) * y + alpha * T**2 * softmax(z_teacher, T)


def exchanged(y, z_teacher, alpha, T):
    return alpha * y + (1 - alpha) * T * softmax(z_teacher, T)


def teacher_without_temperature(y, z_teacher, alpha, T):
    return (1 - alpha) * y + alpha * T * softmax(z_teacher, 1)


def made_to_add_up(y, z_teacher, alpha, T):
    t = right(y, z_teacher, alpha, T)
    return t / t.sum(axis=1, keepdims=True)


def overflowing(y, z_teacher, alpha, T):
    p = np.exp(z_teacher / T)
    return (1 - alpha) * y + alpha * T * p / p.sum(axis=1, keepdims=True)


def in_place(y, z_teacher, alpha, T):
    y *= 1 - alpha
    y += alpha * T * softmax(z_teacher, T)
    return y


def entropy(y, z_teacher, alpha, T):
    return -right_constant(y, z_teacher, alpha, T)


def with_one_T(y, z_teacher, alpha, T):
    return right_constant(y, z_teacher, alpha, T) / T


def exchanged_constant(y, z_teacher, alpha, T):
    return right_constant(y, z_teacher, 1 - alpha, T)


def with_the_labels_entropy(y, z_teacher, alpha, T):
    of_y = (y * np.log(y + 1e-300)).sum(axis=1)
    return right_constant(y, z_teacher, alpha, T) + (1 - alpha) * of_y


def one_number(y, z_teacher, alpha, T):
    return right_constant(y, z_teacher, alpha, T).mean()


def logarithm_of_zero(y, z_teacher, alpha, T):
    p = softmax(z_teacher, T)
    return alpha * T**2 * (p * np.log(p)).sum(axis=1)


def with_a_small_number(y, z_teacher, alpha, T):
    p = softmax(z_teacher, T)
    return alpha * T**2 * (p * np.log(p + 1e-9)).sum(axis=1)


def cut_off(y, z_teacher, alpha, T):
    p = softmax(z_teacher, T)
    return alpha * T**2 * (p * np.log(p.clip(1e-12))).sum(axis=1)


def logarithm_without_temperature(y, z_teacher, alpha, T):
    return alpha * T**2 * (softmax(z_teacher, T) * log_softmax(z_teacher, 1)).sum(axis=1)


def of_the_target(y, z_teacher, alpha, T):
    t = right(y, z_teacher, alpha, T)
    return (t * np.log(t)).sum(axis=1)


def only_the_largest(y, z_teacher, alpha, T):
    largest = np.eye(z_teacher.shape[1])[z_teacher.argmax(axis=1)]
    return (1 - alpha) * y + alpha * T * largest


def one_maximum_for_all_rows(y, z_teacher, alpha, T):
    u = (z_teacher - z_teacher.max()) / T
    log_p = u - np.log(np.exp(u).sum(axis=1, keepdims=True))
    return alpha * T**2 * (np.exp(log_p) * log_p).sum(axis=1)


def leaving_out_what_is_not_a_number(y, z_teacher, alpha, T):
    p = np.exp(z_teacher / T)
    p = p / p.sum(axis=1, keepdims=True)
    return alpha * T**2 * np.nansum(p * np.log(p), axis=1)


MISTAKES = [
    ((without_T, right_constant), "A factor T is missing"),
    ((with_T_squared, right_constant), "T² is too much"),
    ((exchanged, right_constant), "α and 1 − α have changed places: α is the weight"),
    ((teacher_without_temperature, right_constant), "those at T = 1"),
    ((made_to_add_up, right_constant), "divided by its sum"),
    ((overflowing, right_constant), "an exponential overflow"),
    ((in_place, right_constant), "changes its argument"),
    ((right, entropy), "The sign is wrong"),
    ((right, with_one_T), "Here it is αT"),
    ((right, exchanged_constant), "α and 1 − α have changed places: κ"),
    ((right, with_the_labels_entropy), "the entropy of the label"),
    ((right, one_number), "one for each row"),
    ((right, logarithm_of_zero), "is infinite if it is not taken with care"),
    ((right, with_a_small_number), "Something was added"),
    ((right, cut_off), "cut off"),
    ((right, logarithm_without_temperature), "one is at T and the other at T = 1"),
    ((right, of_the_target), "It is made of t"),
    ((only_the_largest, right_constant), "Only the teacher's largest class counts"),
    ((right, leaving_out_what_is_not_a_number), "is infinite if it is not taken with care"),
    ((right, one_maximum_for_all_rows), "is infinite if it is not taken with care"),
]
