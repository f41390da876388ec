"""Paired verdicts: what the numbers of several pairs allow to be said."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PairedDifference:
    """The difference a − b over pairs, for a measure of which less is better.

    `low` and `high` bound the mean difference: the paired t interval. They are None where
    there is none: for a single pair, and where all pairs differ by the same amount (but for
    rounding).
    """

    pairs: int
    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    confidence: float

    @property
    def verdict(self) -> str:
        """One of "better", "worse", "not distinguishable"; "none" where there is no interval."""
        if self.low is None or self.high is None:
            return "none"
        if self.high < 0:
            return "better"
        if self.low > 0:
            return "worse"
        return "not distinguishable"


def paired_difference(
    a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray, confidence: float = 0.95
) -> PairedDifference:
    """Compare a with b, pair by pair: mean of a − b with the interval of Student's t.

    The interval is d̄ ± t·s/√n, with s the standard deviation of the n differences and t the
    quantile of the t distribution with n − 1 degrees of freedom. It speaks of further pairs of
    the same making (seeds), with everything else as it was.

    Args:
        a, b: one number per pair, in the same order; less is better.
        confidence: of the interval.
    """
    difference = np.asarray(a, float) - np.asarray(b, float)
    pairs, mean = len(difference), float(difference.mean())
    deviation = float(difference.std(ddof=1)) if pairs > 1 else None
    low = high = None
    if pairs > 1 and not np.allclose(difference, mean, rtol=1e-9, atol=1e-9 * np.abs(a).max()):
        from scipy import stats

        interval = stats.ttest_1samp(difference, 0.0).confidence_interval(confidence)
        low, high = float(interval.low), float(interval.high)
    return PairedDifference(pairs, mean, deviation, low, high, confidence)
