"""Typical mistakes in the exercise of chapter 9, and a part of what the check says of each."""

import numpy as np


def matrix(H_student, H_teacher, alpha):
    return H_student @ ((1 - alpha) * np.eye(len(H_student)) + alpha * H_teacher)


def parts(A, f, noise):
    return ((A @ f - f) ** 2).mean(), noise**2 * (A**2).sum() / len(f)


def wrong_order(H_student, H_teacher, f, noise, alpha):
    return parts(((1 - alpha) * np.eye(len(f)) + alpha * H_teacher) @ H_student, f, noise)


def trace(H_student, H_teacher, f, noise, alpha):
    A = matrix(H_student, H_teacher, alpha)
    return parts(A, f, noise)[0], noise**2 * np.trace(A) / len(f)


def product_instead_of_squares(H_student, H_teacher, f, noise, alpha):
    A = matrix(H_student, H_teacher, alpha)
    return parts(A, f, noise)[0], noise**2 * np.trace(A @ A) / len(f)


def without_the_number_of_rows(H_student, H_teacher, f, noise, alpha):
    bias, variance = parts(matrix(H_student, H_teacher, alpha), f, noise)
    return bias, len(f) * variance


def noise_not_squared(H_student, H_teacher, f, noise, alpha):
    A = matrix(H_student, H_teacher, alpha)
    return parts(A, f, noise)[0], noise * (A**2).sum() / len(f)


def bias_without_the_square(H_student, H_teacher, f, noise, alpha):
    A = matrix(H_student, H_teacher, alpha)
    return np.abs(A @ f - f).mean(), parts(A, f, noise)[1]


def independent_noise(H_student, H_teacher, f, noise, alpha):
    bias, _ = parts(matrix(H_student, H_teacher, alpha), f, noise)
    two = (1 - alpha) * H_student, alpha * H_student @ H_teacher
    return bias, noise**2 * sum((each**2).sum() for each in two) / len(f)


def of_the_target(H_student, H_teacher, f, noise, alpha):
    return parts(matrix(np.eye(len(f)), H_teacher, alpha), f, noise)


MISTAKES = [
    ((wrong_order,), "wrong order"),
    ((trace,), "a trace adds up the diagonal"),
    ((product_instead_of_squares,), "A times A"),
    ((without_the_number_of_rows,), "variance is wrong: the sum over the rows is not divided"),
    ((noise_not_squared,), "given as a standard deviation"),
    ((bias_without_the_square,), "absolute values are averaged"),
    ((independent_noise,), "It is the same noise"),
    ((of_the_target,), "errors of the target"),
]
