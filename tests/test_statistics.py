"""Verdicts, against numbers worked out by hand, against other formulas and against chance."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nkd import UserError, mcnemar, paired_difference, paired_differences
from nkd.report.results import more_pairs
from nkd.statistics import MOST_PAIRS, about, holm, pairs_needed

EXPERIMENTS = 2000


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
        # 0.2 each but for rounding: no more evidence than exact equality.
        ([0.3, 0.4, 0.5], [0.1, 0.2, 0.3]),
    ],
)
def test_equal_differences_have_no_interval_and_no_verdict(a, b):
    result = paired_difference(a, b)
    assert (result.low, result.high, result.verdict) == (None, None, "none")
    assert (result.deviation, result.p_value, result.pairs_needed()) == (0, None, None)


@pytest.mark.parametrize(
    ("a", "b"), [([1.0, 2.0], [1.0, 2.0]), ([0.1 + 0.2, 0.1 + 0.7], [0.3, 0.8])]
)
def test_pairs_without_any_difference_are_not_distinguishable(a, b):
    result = paired_difference(a, b)
    assert (result.mean, result.deviation, result.low, result.high) == (0, 0, None, None)
    assert result.verdict == "not distinguishable"
    assert result.pairs_needed() is None


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


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=8))
def test_p_value_and_interval_are_those_of_scipy(pairs):
    a, b = np.array(pairs, float).T
    result = paired_difference(a, b, 0.9)
    if np.ptp(a - b) == 0:
        assert result.p_value is None
        return
    expected = stats.ttest_rel(a, b)
    assert result.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert (result.low, result.high) == pytest.approx(tuple(expected.confidence_interval(0.9)))


# A family of comparisons


def test_holms_correction_of_a_known_example():
    # 4·0.005 and 3·0.01 are at most 0.05; 2·0.03 is not, so 0.04 is not tested alone.
    adjusted, tested = holm([0.01, 0.04, 0.03, 0.005], 0.05)
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert tested == pytest.approx([0.05 / 3, 0.05 / 2, 0.05 / 2, 0.05 / 4])


@given(
    st.lists(st.floats(0, 1) | st.floats(0, 0.05), min_size=1, max_size=9),
    st.sampled_from([0.01, 0.05, 0.2]),
)
def test_holm_rejects_as_its_steps_are_written(p, level):
    rejected, left = set(), sorted(range(len(p)), key=p.__getitem__)
    while left and len(left) * p[left[0]] <= level:
        rejected.add(left.pop(0))
    adjusted, tested = holm(p, level)
    assert {i for i, value in enumerate(adjusted) if value <= level} == rejected
    for i, value in enumerate(p):
        if i in rejected:
            assert value <= tested[i] * (1 + 1e-12)
        else:
            assert tested[i] == pytest.approx(level / len(left))


def test_one_arm_is_a_family_of_its_own():
    a, b = np.random.default_rng(0).normal(size=(2, 6))
    assert paired_differences([a], b, 0.9) == [paired_difference(a, b, 0.9)]


@given(st.integers(0, 1000), st.integers(1, 6), st.lists(st.floats(-4, 4), min_size=1, max_size=6))
def test_in_a_family_verdict_interval_and_adjusted_p_value_agree(seed, n, effects):
    a = np.random.default_rng(seed).normal(np.array(effects)[:, None], 1, (len(effects), n + 1))
    a[0] = 0  # an arm without any difference is in the family, and never rejected
    family = paired_differences(a, np.zeros(n + 1))
    assert family[0].verdict == "not distinguishable"
    alone_of = [paired_difference(arm, 0 * arm) for arm in a[1:]]
    adjusted, _ = holm([1, *(alone.p_value for alone in alone_of)])
    assert [arm.p_value for arm in family[1:]] == pytest.approx(adjusted[1:])
    for arm, alone in zip(family[1:], alone_of, strict=True):
        assert (arm.family, arm.mean, arm.deviation) == (len(effects), alone.mean, alone.deviation)
        assert alone.p_value <= arm.p_value
        decided = arm.verdict != "not distinguishable"
        assert decided == (arm.p_value <= 0.05) == (not arm.low < 0 < arm.high)
        assert 0.95 <= arm.confidence <= 1 - 0.05 / len(effects) + 1e-12
        assert not decided or arm.verdict == alone.verdict
        assert arm.pairs_needed() == pairs_needed(arm.mean / arm.deviation, arm.confidence)


# Pairs that are missing


PRESENT = st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=4)


@given(PRESENT, st.integers(0, 99))
def test_an_arm_is_compared_by_the_pairs_that_are_there(present, seed):
    a, b = np.random.default_rng(seed).normal(0, 2, (2, len(present), 6))
    there = np.array(present)
    of_a, of_b = np.random.default_rng(seed).random((2, *there.shape)) < 0.7
    missing = np.where(there | ~of_a, a, np.nan), np.where(there | (of_a & ~of_b), b, np.nan)
    family = paired_differences(*missing)
    tested = [arm for arm in range(len(a)) if there[arm].any()]
    adjusted = {}
    for arm, found in enumerate(family):
        assert (found.pairs, found.left_out) == (there[arm].sum(), 6 - there[arm].sum())
        assert found.family == len(tested)
        if arm not in tested:
            assert math.isnan(found.mean) and found.record()["mean"] is None
            assert (found.verdict, found.low, found.pairs_needed()) == ("none", None, None)
            continue
        alone = paired_difference(a[arm, there[arm]], b[arm, there[arm]])
        assert found.mean == pytest.approx(alone.mean)
        assert found.deviation == (alone.deviation and pytest.approx(alone.deviation))
        adjusted[arm] = 1.0 if alone.p_value is None else alone.p_value
    expected, _ = holm(list(adjusted.values()))
    for arm, p in zip(adjusted, expected, strict=True):
        assert family[arm].p_value == (pytest.approx(p) if there[arm].sum() > 1 else None)


def test_with_several_teachers_each_is_what_is_there_of_its_pairs():
    # Teachers 0 and 1 in turn; the only Student of teacher 2 diverged.
    a, b = [1.0, 5.0, np.nan, np.nan, 8.0, np.nan], [0.0, 2.0, 9.0, 7.0, 4.0, np.nan]
    found = paired_difference(a, b, teachers=3)
    expected = paired_difference([1.0, (3.0 + 4.0) / 2], [0.0, 0.0])
    assert (found.mean, found.deviation) == (expected.mean, expected.deviation)
    assert (found.pairs, found.left_out) == (2, 3)


# How many pairs it takes


def test_the_pairs_needed_are_those_of_published_tables():
    # Cohen 1988 by way of G*Power 3.1: paired t test, two sides, level 0.05, power 0.8.
    assert [pairs_needed(effect) for effect in (0.2, 0.5, 0.8, 1.0)] == [199, 34, 15, 10]
    assert pairs_needed(-0.5) == 34


@given(st.floats(0.05, 5), st.sampled_from([0.9, 0.95, 0.99]))
def test_the_pairs_needed_are_the_first_with_that_power(effect, confidence):
    n = pairs_needed(effect, confidence)
    power = [
        stats.nct.sf(stats.t.isf((1 - confidence) / 2, k - 1), k - 1, effect * math.sqrt(k))
        for k in (n, n - 1)
        if k > 1
    ]
    assert power[0] >= 0.8
    assert power[1:] == [] or power[1] < 0.8


def test_an_effect_that_is_none_or_tiny_needs_no_number_or_more_than_the_most():
    assert pairs_needed(0.0) is None
    assert pairs_needed(1e-6) == MOST_PAIRS + 1
    assert paired_difference([1.0], [2.0]).pairs_needed() is None
    result = paired_difference([1.0, -1.0, 1.5], [0.0, 0.0, 0.0])
    assert result.pairs_needed() == pairs_needed(result.mean / result.deviation)


# A single pair


@pytest.mark.parametrize(
    ("only_a", "only_b", "verdict"),
    [
        (0, 5, "not distinguishable"),
        (0, 6, "better"),
        (6, 0, "worse"),
        (0, 0, "not distinguishable"),
    ],
)
def test_mcnemar_counts_the_rows_that_one_network_alone_gets_wrong(only_a, only_b, verdict):
    both, neither = 30, 60
    a = np.repeat([True, True, False, False], [only_a, both, only_b, neither])
    b = np.repeat([False, True, True, False], [only_a, both, only_b, neither])
    result = mcnemar(a, b)
    assert (result.only_a_wrong, result.only_b_wrong, result.rows) == (only_a, only_b, len(a))
    n, k = only_a + only_b, min(only_a, only_b)  # the exact p-value, by hand
    expected = min(1, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n)
    assert result.p_value == pytest.approx(expected)
    assert result.verdict == verdict
    text = result.sentence("Student", "Person")
    assert "these two networks only, not of other seeds" in text
    assert ("not distinguishable" if verdict == "not distinguishable" else f"is {verdict}") in text


def test_mcnemar_between_equals_raises_at_most_five_false_alarms_in_a_hundred():
    generator = np.random.default_rng(0)
    wrong = generator.random((EXPERIMENTS, 2, 500)) < 0.15
    alarms = np.mean([mcnemar(a, b).verdict != "not distinguishable" for a, b in wrong])
    assert 0.02 <= alarms <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / EXPERIMENTS)


# Error rates: each experiment asks for the verdict as a run does


def experiments(kind, pairs, effect, generator):
    """Pairs of measurements (2, experiments, pairs), seeds independent, a seed shared by a pair.

    `effect` is the mean difference in standard deviations of the differences.
    """
    size = (EXPERIMENTS, pairs)
    if kind == "real numbers":
        a, b = generator.normal(0, 5, size) + generator.normal(size=(2, *size)) / math.sqrt(2)
        return a + effect, b
    # Errors of 10,000 rows, some hundred; or few enough that many pairs are tied.
    errors = 180 if kind == "error counts" else 2
    shared = generator.normal(1, 0.05, size) * errors
    half = effect / 2 * math.sqrt(2 * errors * (1 - errors / 10_000))
    return generator.binomial(10_000, np.array([shared + half, shared - half]) / 10_000)


def rate(a, b, *verdicts):
    return np.mean(
        [paired_difference(*pair).verdict in verdicts for pair in zip(a, b, strict=True)]
    )


@pytest.mark.parametrize("pairs", [5, 10])
@pytest.mark.parametrize("kind", ["real numbers", "error counts", "ties"])
def test_between_equals_about_five_verdicts_in_a_hundred_are_false(kind, pairs):
    a, b = experiments(kind, pairs, 0, np.random.default_rng(pairs))
    if kind == "ties":
        assert np.mean(a == b) > 0.2
    assert 0.03 <= rate(a, b, "better", "worse") <= 0.065


@pytest.mark.parametrize(("pairs", "effect"), [(5, -1.5), (10, -1.0), (20, 0.5)])
@pytest.mark.parametrize("kind", ["real numbers", "error counts"])
def test_a_true_difference_is_found_as_often_as_theory_says(kind, pairs, effect):
    a, b = experiments(kind, pairs, effect, np.random.default_rng(pairs))
    power = stats.nct.sf(stats.t.isf(0.025, pairs - 1), pairs - 1, abs(effect) * math.sqrt(pairs))
    verdict = "better" if effect < 0 else "worse"
    assert rate(a, b, verdict) == pytest.approx(power, abs=0.03)


@pytest.mark.parametrize("true_effects", [0, 2])
def test_a_family_of_arms_raises_a_false_alarm_in_five_of_a_hundred_experiments(true_effects):
    generator, arms = np.random.default_rng(true_effects), 6
    person = generator.binomial(10_000, 0.018, (EXPERIMENTS, 5))
    students = generator.binomial(10_000, 0.018, (EXPERIMENTS, arms, 5))
    students[:, :true_effects] -= 120
    alarms = wins = 0
    for a, b in zip(students, person, strict=True):
        verdicts = [arm.verdict for arm in paired_differences(a, b)]
        wins += verdicts[:true_effects].count("better")
        alarms += any(v in ("better", "worse") for v in verdicts[true_effects:])
    assert 0.02 <= alarms / EXPERIMENTS <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / EXPERIMENTS)
    assert wins == pytest.approx(true_effects * EXPERIMENTS, rel=0.02)


def test_each_arm_of_a_family_is_covered_in_95_of_100_experiments():
    """Whatever level an interval is labelled with: that one was chosen by the data."""
    generator = np.random.default_rng(1)
    mu, experiments = np.array([0, 0, 0, 0, 0, 1, 1, 2, 2, 3]), 2000
    covered = np.zeros(len(mu))
    for _ in range(experiments):
        arms, person = generator.normal(mu[:, None], size=(len(mu), 5)), generator.normal(size=5)
        each = paired_differences(arms, person)
        covered += [one.low <= true <= one.high for one, true in zip(each, mu, strict=True)]
    assert (covered / experiments > 0.95 - 3 * math.sqrt(0.05 * 0.95 / experiments)).all()


@pytest.mark.parametrize(("pairs", "share"), [(5, 0.117), (10, 0.099), (20, 0.082)])
def test_skewed_differences_raise_more_false_alarms_with_few_pairs(pairs, share):
    """As docs/mathematics.md says of differences that are distributed exponentially."""
    generator, experiments = np.random.default_rng(0), 3000
    differences = generator.exponential(size=(experiments, pairs)) - 1
    verdicts = [paired_difference(each, np.zeros(pairs)).verdict for each in differences]
    false = sum(verdict != "not distinguishable" for verdict in verdicts) / experiments
    assert abs(false - share) < 3.5 * math.sqrt(share / experiments)


def test_the_number_of_pairs_is_told_with_what_the_interval_allows():
    seen = paired_difference([3.0, -1.0, 2.0, 4.0, -3.0], np.zeros(5))
    assert seen.verdict == "not distinguishable"
    largest = max(abs(seen.low), abs(seen.high)) / seen.deviation
    assert seen.fewest_pairs() == pairs_needed(largest) < seen.pairs_needed()
    said = more_pairs(seen)
    assert f"{about(seen.pairs_needed())} pairs would find it" in said
    assert f"from {seen.fewest_pairs()} pairs to no difference" in said
    numbers = (7, 39, 393, 1234, MOST_PAIRS + 1)
    words = ["some 7", "some 39", "some 390", "some 1,200", "more than 10,000"]
    assert [about(n) for n in numbers] == words


@pytest.mark.parametrize(
    "compare",
    [
        lambda: paired_difference([1, 2], [1]),
        lambda: paired_difference([], []),
        lambda: paired_difference([1, np.inf], [1, np.inf]),
        lambda: paired_difference([1, 2, 3], [1, 2, 3], teachers=2),
        lambda: mcnemar([1, 0], [1]),
    ],
)
def test_what_is_not_paired_is_not_compared(compare):
    with pytest.raises(UserError, match="cannot be compared"):
        compare()
