"""Paired verdicts, against numbers worked out by hand and against chance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nkd import paired_difference


def test_the_interval_is_that_of_students_t():
    # Differences 1 … 5: mean 3, s = √2.5; t quantiles for 4 degrees of freedom from a table.
    a, b = [11, 12, 13, 14, 15], [10, 10, 10, 10, 10]
    for confidence, t in ((0.95, 2.7764), (0.99, 4.6041)):
        result = paired_difference(a, b, confidence)
        half = t * np.sqrt(2.5) / np.sqrt(5)
        assert (result.pairs, result.mean, result.confidence) == (5, 3.0, confidence)
        assert result.deviation == pytest.approx(np.sqrt(2.5))
        assert (result.low, result.high) == pytest.approx((3 - half, 3 + half), abs=1e-4)


def test_the_pairs_count_and_not_the_two_means():
    # The pairs differ by about 1, far less than the numbers vary from pair to pair.
    b = np.array([0.0, 100.0, 200.0, 300.0])
    assert paired_difference(b - [1.0, 1.1, 0.9, 1.0], b).verdict == "better"


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [
        ([-2.0, -3.0, -2.5, -2.0], "better"),
        ([2.0, 3.0, 2.5, 2.0], "worse"),
        ([2.0, -3.0, 2.5, -2.0], "not distinguishable"),
        ([-2.0, -30.0], "not distinguishable"),
    ],
)
def test_less_is_better_and_zero_inside_the_interval_is_no_verdict(difference, verdict):
    result = paired_difference(difference, np.zeros(len(difference)))
    assert result.verdict == verdict
    assert result.low < result.mean < result.high


def test_a_single_pair_has_no_deviation_and_no_verdict():
    result = paired_difference([1.0], [9.0])
    assert (result.pairs, result.mean, result.deviation) == (1, -8.0, None)
    assert (result.low, result.high, result.verdict) == (None, None, "none")


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([3.0, 4.0, 5.0], [1.0, 2.0, 3.0]),
        ([1.0, 2.0], [1.0, 2.0]),
        # 0.2 each but for rounding: no more evidence than exact equality.
        ([0.3, 0.4, 0.5], [0.1, 0.2, 0.3]),
    ],
)
def test_equal_differences_have_no_interval_and_no_verdict(a, b):
    result = paired_difference(a, b)
    assert (result.low, result.high, result.verdict) == (None, None, "none")


@given(st.permutations(range(6)))
def test_the_order_of_the_pairs_does_not_matter(order):
    a, b = np.random.default_rng(0).normal(size=(2, 6))
    result, permuted = paired_difference(a, b), paired_difference(a[order], b[order])
    assert permuted.verdict == result.verdict
    for name in ("mean", "deviation", "low", "high"):
        assert getattr(permuted, name) == pytest.approx(getattr(result, name), rel=1e-12)


def test_exchanging_the_sides_mirrors_the_interval():
    a, b = np.random.default_rng(0).normal(size=(2, 6))
    result, mirrored = paired_difference(a, b), paired_difference(b, a)
    assert (mirrored.low, mirrored.high) == pytest.approx((-result.high, -result.low))


def test_between_equals_about_five_verdicts_in_a_hundred_are_false():
    generator = np.random.default_rng(0)
    experiments = 1000
    false_alarms = 0
    for _ in range(experiments):
        shared = generator.normal(0, 5, 5)  # what a seed does to both sides
        a, b = shared + generator.normal(size=(2, 5))
        false_alarms += paired_difference(a, b).verdict != "not distinguishable"
    assert 0.03 <= false_alarms / experiments <= 0.07
