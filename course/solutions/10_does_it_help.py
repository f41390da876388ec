"""Chapter 10: the paired interval."""

import numpy as np
from scipy.special import stdtrit


def paired_interval(a, b, confidence=0.95):
    """The mean difference, and t deviations of that mean to each side."""
    d = np.asarray(a) - np.asarray(b)
    n = len(d)
    half = stdtrit(n - 1, (1 + confidence) / 2) * d.std(ddof=1) / np.sqrt(n)
    return d.mean() - half, d.mean() + half
