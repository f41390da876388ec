"""Verdicts: what can be concluded from several pairs of networks, or from a single pair."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nkd.errors import UserError

ROUNDING = 1e-9
"""Numbers whose relative difference is smaller are taken to differ by rounding alone."""
MOST_PAIRS = 10_000
"""The largest number that `pairs_needed` tries."""


@dataclass(frozen=True)
class PairedDifference:
    """The difference a − b over pairs, for a measure where less is better.

    `low` and `high` are the paired t interval of the mean difference. They and `p_value` are None
    where there is no interval: for a single pair, and where all pairs differ by the same amount
    (up to rounding), because then nothing shows how much of that amount is chance. Without any
    pair, `mean` is NaN and the verdict "none".

    In a family of several comparisons (`paired_differences`), `p_value` is adjusted by Holm's
    method, and `confidence` is that of this comparison's own interval. `family` counts those that
    have a pair.

    `pairs` is what the verdict counts: pairs, or teachers if there are several. `left_out` is how
    many pairs lack a number of a or b.
    """

    pairs: int
    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    confidence: float
    p_value: float | None
    family: int = 1
    left_out: int = 0

    def record(self) -> dict[str, Any]:
        """All of it, with the verdict, as JSON can hold it: a NaN is None."""
        mean = None if math.isnan(self.mean) else self.mean
        return {**asdict(self), "mean": mean, "verdict": self.verdict}

    @property
    def verdict(self) -> str:
        """One of "better", "worse", "not distinguishable"; "none" where nothing can be concluded.

        Several pairs without any difference are "not distinguishable".
        """
        if self.low is None or self.high is None:
            return "not distinguishable" if self.deviation == self.mean == 0 else "none"
        if self.high < 0:
            return "better"
        if self.low > 0:
            return "worse"
        return "not distinguishable"

    def pairs_needed(self, power: float = 0.8) -> int | None:
        """How many pairs it would take to detect a difference of this size; see `pairs_needed`.

        None if the pairs do not tell: no difference, or no spread.
        """
        if self.mean == 0 or not self.deviation:
            return None
        return pairs_needed(self.mean / self.deviation, self.confidence, power)

    def fewest_pairs(self, power: float = 0.8) -> int | None:
        """`pairs_needed` if the true difference is the largest one that the interval allows."""
        if self.low is None or self.high is None or not self.deviation:
            return None
        largest = max(abs(self.low), abs(self.high))
        return pairs_needed(largest / self.deviation, self.confidence, power)


def about(pairs: int) -> str:
    """A number of pairs in words, with two digits: it is an estimate, and a rough one."""
    if pairs > MOST_PAIRS:
        return f"more than {MOST_PAIRS:,}"
    unit = 10 ** max(0, len(str(pairs)) - 2)
    return f"some {round(pairs / unit) * unit:,}"


def mean_of(values: np.ndarray, axis: int | None = None) -> Any:
    """The mean of the numbers that are not NaN; NaN if there is none."""
    there = ~np.isnan(values)
    return np.where(there, values, 0).sum(axis=axis) / or_nan(there.sum(axis=axis))


def deviation_of(values: np.ndarray, axis: int | None = None) -> Any:
    """Their standard deviation; NaN if there are less than two."""
    mean = mean_of(values, axis)
    squares = (values - (mean if axis is None else np.expand_dims(mean, axis))) ** 2
    there = ~np.isnan(values)
    return np.sqrt(np.where(there, squares, 0).sum(axis=axis) / or_nan(there.sum(axis=axis) - 1))


def or_nan(count: Any) -> Any:
    """A number to divide by: NaN in place of those that are not positive."""
    return np.where(count > 0, count, np.nan)


def units(values: np.ndarray, teachers: int) -> np.ndarray:
    """What a verdict counts: the pairs (…, S) or, with K > 1 teachers, each one's mean (…, K).

    Pairs with the same teacher share its luck, so K teachers are only K observations.
    Pair number i has teacher i mod K. The mean is over what is there, NaN where nothing is.
    """
    if teachers == 1:
        return values
    return mean_of(values.reshape(*values.shape[:-1], -1, teachers), axis=-2)


def paired_difference(
    a: Sequence[float] | np.ndarray,
    b: Sequence[float] | np.ndarray,
    confidence: float = 0.95,
    teachers: int = 1,
) -> PairedDifference:
    """Compare a with b pair by pair: the mean of a − b with its Student t interval.

    The interval is d̄ ± t·s/√n, with s the standard deviation of the n differences and t the
    quantile of the t distribution with n − 1 degrees of freedom. It is about further pairs made in
    the same way (other seeds), with everything else unchanged.

    Args:
        a, b: one number per pair, in the same order; less is better. A pair in which one of them
            is NaN is left out.
        confidence: of the interval.
        teachers: how many there are; with several, their means are what is compared, see `units`.
    """
    return paired_differences(np.asarray(a)[None], b, confidence, teachers)[0]


def paired_differences(
    a: Sequence[Sequence[float]] | np.ndarray,
    b: Sequence[float] | Sequence[Sequence[float]] | np.ndarray,
    confidence: float = 0.95,
    teachers: int = 1,
) -> list[PairedDifference]:
    """Compare several arms a with b, each as in `paired_difference`, as one family.

    If nothing differs, the chance of any verdict "better" or "worse" in the whole family is at
    most 1 − confidence (Holm's correction, see `holm`). Each interval is labelled with the level
    at which Holm's procedure tested its arm, 1 − (1 − confidence)/k with k from 1 to m, so it
    excludes 0 exactly where the verdict is "better" or "worse". Each arm is covered in at least
    `confidence` of experiments; the label promises no more, since the data chose it, and nothing
    is claimed about all m intervals at once.

    An arm of which no pair is there tests nothing, so it does not count among the m.

    Args:
        a: arms of n numbers each, one per pair, (m, n); less is better. A pair in which a number is
            NaN is left out of the comparison of that arm.
        b: what all arms are compared with, (n,), or one row for each arm, (m, n).
        confidence: 1 − the chance of a false verdict in the family.
        teachers: how many there are; with several, their means are what is compared, see `units`.

    Raises:
        UserError: the numbers do not belong together, or one is infinite.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    fits = a.ndim == 2 and a.size and a.shape[1:] == b.shape[-1:] and not a.shape[1] % teachers
    if not fits or np.isinf(a).any() or np.isinf(b).any():
        raise UserError(
            f"numbers {a.shape} and {b.shape} cannot be compared pair by pair: give as many "
            "of each as there are pairs, at least one, none infinite"
        )
    pairs = a - b
    left_out = np.isnan(pairs).sum(axis=-1)
    sizes = np.where(np.isnan(pairs), 0, np.abs(a)).max(axis=-1)
    difference = units(pairs, teachers)
    n = (~np.isnan(difference)).sum(axis=-1)
    tested = n > 0
    mean, rounding = mean_of(difference, axis=-1), ROUNDING * sizes
    away = np.abs(difference - mean[:, None])
    largest = np.where(np.isnan(away), 0, away).max(axis=-1)
    spread = largest > rounding + ROUNDING * np.abs(mean)  # also False for a single pair, or none
    mean[~spread & (np.abs(mean) <= rounding)] = 0
    s = np.where(spread, deviation_of(difference, axis=-1), 0)

    from scipy.special import stdtr, stdtrit  # Student's t: distribution, quantile

    freedom, root = np.maximum(n - 1, 1), np.sqrt(np.maximum(n, 1))
    t = np.divide(mean, s / root, out=np.zeros(len(a)), where=spread)
    p = np.where(spread, 2 * stdtr(freedom, -np.abs(t)), 1)  # without spread: nothing rejected
    adjusted, level = np.full(len(a), np.nan), np.full(len(a), 1 - confidence)
    adjusted[tested], level[tested] = holm(p[tested], 1 - confidence)
    half = stdtrit(freedom, 1 - level / 2) * s / root
    return [
        PairedDifference(
            pairs=int(n[arm]),
            mean=float(mean[arm]),
            deviation=float(s[arm]) if n[arm] > 1 else None,
            low=float(mean[arm] - half[arm]) if spread[arm] else None,
            high=float(mean[arm] + half[arm]) if spread[arm] else None,
            confidence=float(1 - level[arm]),
            p_value=float(adjusted[arm]) if spread[arm] else None,
            family=int(tested.sum()),
            left_out=int(left_out[arm]),
        )
        for arm in range(len(a))
    ]


def holm(p: Sequence[float] | np.ndarray, level: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Holm's step-down correction for m p-values (Holm 1979, section 3).

    With the p-values in ascending order p₁ ≤ … ≤ p_m, hypothesis i is rejected if p_j ≤
    level/(m − j + 1) for all j ≤ i or, equivalently, if its adjusted p-value max_{j≤i} min(1,
    (m − j + 1)·p_j) is at most `level`. The chance of any false rejection among the m is at
    most `level`, however they depend on each other.

    Args:
        p: (m,), in any order.
        level: of the whole family.

    Returns:
        The adjusted p-values (m,), and the level at which each hypothesis was tested (m,):
        level/(m − i + 1) up to the first that is not rejected, and unchanged from there on.
    """
    p = np.asarray(p, float)
    order = np.argsort(p, kind="stable")
    left = len(p) - np.arange(len(p))  # m − i + 1: the hypotheses left
    adjusted, tested = np.empty(len(p)), np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(left * p[order]))
    rejected = np.count_nonzero(adjusted <= level)
    tested[order] = level / np.maximum(left, len(p) - rejected)
    return adjusted, tested


def pairs_needed(effect: float, confidence: float = 0.95, power: float = 0.8) -> int | None:
    """The smallest number of pairs that gives the right verdict with probability ≥ `power`.

    For n pairs whose differences are normal with mean/deviation = effect, t = d̄·√n/s has the
    noncentral t distribution with n − 1 degrees of freedom and noncentrality effect·√n; the
    verdict is right if t is beyond the interval's quantile.

    Args:
        effect: mean of the differences, divided by their standard deviation.
        confidence: of the interval that decides.
        power: in (0, 1).

    Returns:
        The number; MOST_PAIRS + 1 stands for "more than MOST_PAIRS"; None for an effect of 0.
    """
    if effect == 0:
        return None

    from bisect import bisect_left

    from scipy.stats import nct, t

    def chance(n: int) -> float:
        quantile = t.isf((1 - confidence) / 2, n - 1)
        return float(nct.sf(quantile, n - 1, abs(effect) * n**0.5))

    return 2 + bisect_left(range(2, MOST_PAIRS + 1), power, key=chance)


@dataclass(frozen=True)
class SinglePair:
    """Two networks on the same test rows: how many rows each of them alone gets wrong.

    The verdict is about these two networks only: on further rows of the same kind, one of them
    makes fewer errors, or they are not distinguishable. It cannot say whether other seeds would
    agree; that takes several pairs.
    """

    only_a_wrong: int
    only_b_wrong: int
    rows: int
    confidence: float
    p_value: float

    @property
    def verdict(self) -> str:
        """Of a: "better", "worse" or "not distinguishable"."""
        if self.p_value > 1 - self.confidence:
            return "not distinguishable"
        return "better" if self.only_a_wrong < self.only_b_wrong else "worse"

    def sentence(self, a: str, b: str) -> str:
        """The verdict in words, with the networks' names a and b."""
        verdict = {
            "better": f"this {a} is better than this {b}",
            "worse": f"this {a} is worse than this {b}",
            "not distinguishable": "the two are not distinguishable",
        }[self.verdict]
        return (
            f"Of {self.rows:,} test rows, the {a} alone is wrong on {self.only_a_wrong:,}, the {b} "
            f"alone on {self.only_b_wrong:,}: {verdict} ({100 * self.confidence:g} % confidence). "
            "This speaks of these two networks only, not of other seeds."
        )


def mcnemar(
    a_wrong: Sequence[bool] | np.ndarray,
    b_wrong: Sequence[bool] | np.ndarray,
    confidence: float = 0.95,
) -> SinglePair:
    """McNemar's exact test of two classifiers on the same rows (McNemar 1947; Dietterich 1998).

    Rows on which both are right, or both wrong, say nothing. If neither network is better, each
    of the other rows is either one's mistake with probability 1/2: a binomial test.

    Args:
        a_wrong, b_wrong: for each test row, whether that network is wrong, (N,).
        confidence: 1 − the chance of a false verdict.
    """
    from scipy.stats import binomtest

    a_wrong, b_wrong = np.asarray(a_wrong, bool), np.asarray(b_wrong, bool)
    if a_wrong.ndim != 1 or a_wrong.shape != b_wrong.shape:
        raise UserError(
            f"mistakes {a_wrong.shape} and {b_wrong.shape} cannot be compared: give one boolean "
            "for each row, of the same rows"
        )
    only_a = int((a_wrong & ~b_wrong).sum())
    only_b = int((b_wrong & ~a_wrong).sum())
    p = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return SinglePair(only_a, only_b, len(a_wrong), confidence, float(p))
