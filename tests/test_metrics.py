"""The metrics against scikit-learn, SciPy and plain loops, network by network."""

import functools
from dataclasses import replace

import numpy as np
import oracle
import pytest
from conftest import regression_data
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats
from sklearn import metrics as reference

from nkd import Regression, metrics
from nkd.backend import NUMPY
from nkd.losses import softmax

GENERATOR = np.random.default_rng(0)
Z = GENERATOR.normal(0, 3, (3, 40, 5))
LABELS = GENERATOR.integers(0, 5, 40)
S = GENERATOR.normal(2, 1, (3, 40, 2))
Y = GENERATOR.normal(2, [1.0, 5.0], (40, 2))


@pytest.mark.parametrize(
    ("ours", "theirs", "outputs", "y"),
    [
        (metrics.mean_squared_error, reference.mean_squared_error, S, Y),
        (metrics.mean_absolute_error, reference.mean_absolute_error, S, Y),
        (metrics.r_squared, reference.r2_score, S, Y),
        (
            metrics.errors,
            lambda y, z: reference.zero_one_loss(y, z.argmax(axis=-1), normalize=False),
            Z,
            LABELS,
        ),
    ],
    ids=["MSE", "MAE", "R²", "errors"],
)
def test_each_metric_is_that_of_scikit_learn_for_each_network(backend, ours, theirs, outputs, y):
    values = backend.to_numpy(ours(backend.asarray(outputs), backend.asarray(y)))
    assert values.shape == (3,)
    assert values == pytest.approx([theirs(y, network) for network in outputs], rel=1e-12)


def test_the_negative_log_likelihood_is_the_log_loss_of_scikit_learn(backend):
    values = backend.to_numpy(
        metrics.negative_log_likelihood(
            backend.asarray(Z), backend.asarray(LABELS), backend=backend
        )
    )
    expected = [reference.log_loss(LABELS, softmax(network), labels=range(5)) for network in Z]
    assert values == pytest.approx(expected, rel=1e-12)


def test_the_negative_log_likelihood_of_a_sure_mistake_is_finite(backend):
    z, y = backend.asarray([[[1e4, 0.0]]]), backend.asarray(np.array([1]))
    value = metrics.negative_log_likelihood(z, y, backend=backend)
    assert backend.to_numpy(value).tolist() == [1e4]


# What a network learned from its teacher

LOGITS = st.builds(
    lambda seed, shape, size: np.random.default_rng(seed).normal(0, size, shape),
    st.integers(0, 1000),
    st.tuples(st.integers(1, 3), st.integers(1, 30), st.integers(2, 6)),  # R, N, C
    st.sampled_from([0.1, 3.0, 300.0]),
)


def others(z, seed=1):
    """A teacher's logits (N, C) and labels (N,) for logits z."""
    generator = np.random.default_rng(seed)
    return generator.normal(0, 2, z.shape[1:]), generator.integers(0, z.shape[2], z.shape[1])


def on(backend, metric, *arrays):
    """A metric computed on a backend, brought to the host."""
    result = metric(*map(backend.asarray, arrays))
    if isinstance(result, tuple):
        return type(result)(*map(backend.to_numpy, result))
    return backend.to_numpy(result)


@given(LOGITS)
def test_agreement_and_its_share_on_mistakes_are_those_counted_row_by_row(backend, z):
    z_teacher, y = others(z)
    everywhere = on(backend, metrics.agreement, z, z_teacher)
    mistakes = on(
        backend, functools.partial(metrics.agreement_on_mistakes, backend=backend), z, z_teacher, y
    )
    teacher = [int(np.argmax(row)) for row in z_teacher]
    for network, share, on_mistakes in zip(z, everywhere, mistakes, strict=True):
        same = [int(np.argmax(row)) == t for row, t in zip(network, teacher, strict=True)]
        assert share == pytest.approx(sum(same) / len(same))
        repeated = [s for s, t, label in zip(same, teacher, y, strict=True) if t != label]
        if repeated:
            assert on_mistakes == pytest.approx(sum(repeated) / len(repeated))
        else:
            assert np.isnan(on_mistakes)


@given(LOGITS)
def test_the_divergence_is_the_relative_entropy_of_scipy(backend, z):
    z_teacher, _ = others(z)
    values = on(backend, functools.partial(metrics.divergence, backend=backend), z, z_teacher)
    p, q = special.softmax(z_teacher, axis=-1), special.log_softmax(z, axis=-1)
    # With log q from SciPy, and log p where p > 0: entropy() itself underflows to infinity.
    expected = [(-stats.entropy(p, axis=-1) - (p * network).sum(axis=-1)).mean() for network in q]
    assert values == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert (values > -1e-12).all()


def test_a_network_that_is_its_teacher_agrees_everywhere(backend):
    z = Z[0]
    assert on(backend, metrics.agreement, z[None], z).tolist() == [1]
    mistakes = functools.partial(metrics.agreement_on_mistakes, backend=backend)
    assert on(backend, mistakes, z[None], z, LABELS).tolist() == [1]
    assert on(backend, functools.partial(metrics.divergence, backend=backend), z[None], z) == 0
    assert np.isnan(on(backend, mistakes, z[None], z, z.argmax(axis=-1)))  # it is never wrong


@given(LOGITS, st.integers(1, 20))
def test_calibration_is_that_of_a_plain_loop_over_rows(backend, z, bins):
    _, y = others(z)
    options = {"bins": bins, "backend": backend}
    diagram = on(backend, functools.partial(metrics.calibration, **options), z, y)
    error = on(backend, functools.partial(metrics.calibration_error, **options), z, y)
    for r, network in enumerate(z):
        rows = [[] for _ in range(bins)]
        for q, label in zip(special.softmax(network, axis=-1), y, strict=True):
            # Not from the ends of the bins: confidences, of random logits, lie on none but 1.
            rows[min(int(q.max() * bins), bins - 1)].append((q.max(), q.argmax() == label))
        expected = 0.0
        for m, members in enumerate(rows):
            assert diagram.count[r, m] == len(members)
            if not members:
                assert np.isnan([diagram.confidence[r, m], diagram.accuracy[r, m]]).all()
                continue
            confidence, accuracy = np.mean(members, axis=0)
            assert diagram.confidence[r, m] == pytest.approx(confidence)
            assert diagram.accuracy[r, m] == pytest.approx(accuracy)
            expected += len(members) / len(y) * abs(accuracy - confidence)
        assert error[r] == pytest.approx(expected, abs=1e-12)


def test_a_confidence_at_the_end_of_a_bin_belongs_to_the_lower_one(backend):
    # Two equal logits: confidence 1/2. A sure one: confidence 1, also in float32.
    z = np.array([[[7.0, 7.0], [60.0, 0.0]]], np.float32)
    options = {"bins": 2, "backend": backend}
    diagram = on(backend, functools.partial(metrics.calibration, **options), z, np.array([0, 1]))
    assert diagram.count.tolist() == [[1, 1]]
    assert diagram.confidence.tolist() == [[0.5, 1]]
    assert diagram.accuracy.tolist() == [[1, 0]]


def test_no_row_is_lost_to_rounding_in_float32(backend):
    z = (np.random.default_rng(0).normal(0, 30, (2, 5000, 10))).astype(np.float32)
    y = np.zeros(5000, int)
    diagram = on(backend, functools.partial(metrics.calibration, backend=backend), z, y)
    assert diagram.count.sum(axis=-1).tolist() == [5000, 5000]


@given(LOGITS)
def test_confusion_is_that_of_scikit_learn_for_each_network(backend, z):
    _, y = others(z)
    matrices = on(backend, functools.partial(metrics.confusion, backend=backend), z, y)
    for network, matrix in zip(z, matrices, strict=True):
        expected = reference.confusion_matrix(y, network.argmax(-1), labels=range(z.shape[2]))
        assert matrix.tolist() == expected.tolist()


@pytest.mark.parametrize("rows", [7, 1024])
def test_the_gradient_split_is_the_mean_norm_of_the_two_parts_of_each_rows_gradient(backend, rows):
    temperatures = [1.0, 4.0, 20.0]
    z_teacher = GENERATOR.normal(0, 3, Z.shape[1:])
    arrays = map(backend.asarray, (Z, z_teacher, LABELS))
    split = metrics.distillation_gradient_split(*arrays, temperatures, rows=rows, backend=backend)
    for network, T in enumerate(temperatures):
        p, q = oracle.softmax(z_teacher, T), oracle.softmax(Z[network], T)
        norms = []
        for n, label in enumerate(LABELS):
            gradient = T * (q[n] - p[n])  # of T²·KL
            rest = np.arange(5) != label
            target = np.where(rest, -gradient[label] * q[n] / q[n][rest].sum(), gradient[label])
            norms.append((np.linalg.norm(target), np.linalg.norm(gradient - target)))
        measured = [float(backend.to_numpy(part)[network]) for part in split]
        assert measured == pytest.approx(np.mean(norms, axis=0), rel=1e-12)


def test_standardised_targets_are_measured_in_their_unit():
    data = regression_data()
    mean, deviation = np.array([3.0, -200.0]), np.array([0.5, 40.0])
    units = replace(data, y_test=data.y_test * deviation + mean)
    stored = replace(data, target_mean=mean, target_deviation=deviation)
    outputs = data.y_test[None] + 0.1
    expected = Regression(units).measure(outputs * deviation + mean, units.y_test, NUMPY)
    for name, values in Regression(stored).measure(outputs, data.y_test, NUMPY).items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-12)
