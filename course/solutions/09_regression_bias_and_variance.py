"""Chapter 9: the bias and the variance of a linear student of a linear teacher."""

import numpy as np


def risk(H_student, H_teacher, f, noise, alpha):
    """The student is linear in the labels, s = A y: A takes f to its mean, and the noise along."""
    N = len(f)
    A = H_student @ ((1 - alpha) * np.eye(N) + alpha * H_teacher)
    return ((A @ f - f) ** 2).sum() / N, noise**2 * (A**2).sum() / N
