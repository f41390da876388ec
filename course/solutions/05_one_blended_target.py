"""Chapter 5: the blended target, and the constant that makes the loss 0 at the teacher."""

import numpy as np


def log_softmax(z, T):
    """The logarithm of softmax(z/T), see chapter 1."""
    u = (z - z.max(axis=1, keepdims=True)) / T
    return u - np.log(np.exp(u).sum(axis=1, keepdims=True))


def blended_target(y, z_teacher, alpha, T):
    """One T of T² is left, since z enters the soft part as z/T."""
    return (1 - alpha) * y + alpha * T * np.exp(log_softmax(z_teacher, T))


def constant(y, z_teacher, alpha, T):
    """The part of T²·KL without z: −T² times the entropy of p_T. The label has no part in it."""
    log_p = log_softmax(z_teacher, T)
    return alpha * T**2 * (np.exp(log_p) * log_p).sum(axis=1)
