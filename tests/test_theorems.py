"""What is true of distillation in general, each statement on random problems."""

import math

import numpy as np
import oracle
import pytest
from conftest import (
    assert_same_tensors,
    classification_data,
    regression_data,
    teacher_outputs,
)
from hypothesis import given
from hypothesis import strategies as st

from nkd import Classification, Regression, Run, Settings, Training
from nkd.losses import (
    RegressionDistillation,
    cross_entropy,
    distillation,
    kl_divergence,
    log_softmax,
    softmax,
)

TEMPERATURES = st.floats(0.5, 20.0)
ALPHAS = st.floats(0.0, 1.0)


@st.composite
def problems(draw, largest=30.0):
    """Student's logits, labels as probabilities and teacher's logits, each (…, B, C)."""
    replicas = draw(st.sampled_from([(), (3,), (2, 2)]))
    shape = (*replicas, draw(st.integers(1, 5)), draw(st.integers(2, 6)))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    z = generator.normal(0, draw(st.sampled_from([0.01, 1.0, largest])), shape)
    y = generator.dirichlet(np.ones(shape[-1]), shape[:-1])
    z_teacher = generator.normal(0, draw(st.sampled_from([0.01, 1.0, largest])), shape)
    return z, y, z_teacher


def host(backend, result):
    """A loss's value and gradient as NumPy arrays."""
    return tuple(backend.to_numpy(part).copy() for part in result)


def centred(z):
    return z - z.mean(axis=-1, keepdims=True)


@given(problems(), TEMPERATURES)
def test_the_gradient_of_t_squared_kl_is_t_times_the_difference_of_probabilities(
    backend, problem, T
):
    z, y, z_teacher = problem
    move = backend.asarray
    _, dz = host(backend, distillation(move(z), move(y), move(z_teacher), 1.0, T, backend=backend))
    expected = T * (oracle.softmax(z, T) - oracle.softmax(z_teacher, T)) / z.shape[-2]
    assert np.allclose(dz, expected, rtol=0, atol=1e-14 * T)


@given(problems(), TEMPERATURES)
def test_kl_and_cross_entropy_to_soft_targets_differ_by_the_teachers_entropy(backend, problem, T):
    z, _, z_teacher = (backend.asarray(array) for array in problem)
    kl, dz_kl = host(backend, kl_divergence(z, z_teacher, T, backend=backend))
    p = softmax(z_teacher, T, backend=backend)
    # With the logits z/T, so the derivative with respect to z has a factor 1/T.
    ce, dz_ce = host(backend, cross_entropy(z / T, p, backend=backend))
    assert np.allclose(dz_kl, dz_ce / T, rtol=0, atol=1e-14)
    p = backend.to_numpy(p)
    entropy = -(p * np.log(np.where(p > 0, p, 1))).sum(axis=-1).mean(axis=-1)
    assert np.allclose(kl, ce - entropy, rtol=1e-11, atol=1e-11)


@given(problems(), st.sampled_from([1e3, 1e4, 1e5]))
def test_at_high_temperature_the_gradient_matches_centred_logits(backend, problem, T):
    z, y, z_teacher = problem
    move = backend.asarray
    _, dz = host(backend, distillation(move(z), move(y), move(z_teacher), 1.0, T, backend=backend))
    B, C = z.shape[-2:]
    expected = (centred(z) - centred(z_teacher)) / (C * B)
    # The next term of the series in 1/T, and the rounding of q − p times T.
    largest = max(np.ptp(z, axis=-1).max(), np.ptp(z_teacher, axis=-1).max())
    assert abs(dz - expected).max() <= 2 * largest**2 / (T * C * B) + 1e-15 * T


@given(problems(), ALPHAS, TEMPERATURES, st.floats(-100, 100), st.floats(-100, 100))
def test_a_constant_added_to_the_logits_changes_nothing(
    backend, problem, alpha, T, shift, teacher_shift
):
    z, y, z_teacher = problem

    def loss(z, z_teacher):
        z, labels, z_teacher = (backend.asarray(array) for array in (z, y, z_teacher))
        return host(backend, distillation(z, labels, z_teacher, alpha, T, backend=backend))

    value, dz = loss(z, z_teacher)
    rows = np.linspace(-1, 1, z.shape[-2])[:, None]  # a constant of its own for each row
    shifted_value, shifted_dz = loss(z + shift * rows, z_teacher + teacher_shift * rows)
    assert np.allclose(shifted_value, value, rtol=0, atol=1e-11)
    assert np.allclose(shifted_dz, dz, rtol=0, atol=1e-11)


@given(problems(), ALPHAS, TEMPERATURES)
def test_a_batch_taken_twice_has_the_same_value_and_the_mean_gradient(backend, problem, alpha, T):
    def loss(*arrays):
        z, y, z_teacher = (backend.asarray(array) for array in arrays)
        return host(backend, distillation(z, y, z_teacher, alpha, T, backend=backend))

    value, dz = loss(*problem)
    twice = [np.concatenate([array, array], axis=-2) for array in problem]
    value_of_twice, dz_of_twice = loss(*twice)
    assert np.allclose(value_of_twice, value, rtol=1e-12, atol=1e-12)
    assert np.allclose(dz_of_twice, np.concatenate([dz, dz], axis=-2) / 2, rtol=0, atol=1e-13)


@given(problems(largest=5.0), ALPHAS, TEMPERATURES)
def test_the_blended_loss_is_the_weighted_sum_of_cross_entropy_and_kl(backend, problem, alpha, T):
    value, dz = distillation(*map(backend.asarray, problem), alpha, T, backend=backend)
    value, dz = host(backend, (value, dz))
    for replica in np.ndindex(value.shape):
        z, y, z_teacher = (array[replica] for array in problem)
        expected_value, expected_dz = oracle.distillation(z, y, z_teacher, alpha, T)
        assert value[replica] == pytest.approx(expected_value, rel=1e-11, abs=1e-11)
        assert np.allclose(dz[replica], expected_dz, rtol=0, atol=1e-13 * T)


@given(problems(), ALPHAS)
def test_the_blended_regression_loss_is_the_weighted_sum_of_two_squared_errors(
    backend, problem, alpha
):
    s, y, s_teacher = map(backend.asarray, problem)
    axes, (B, O) = s.shape[:-2], s.shape[-2:]
    loss = RegressionDistillation(alpha, replicas=math.prod(axes), backend=backend)
    t, constant = loss.blend(y.reshape(-1, B, O), s_teacher.reshape(-1, B, O))
    value, ds = loss(s.reshape(-1, B, O), t)
    value, ds = (value + constant.mean(axis=-1)).reshape(axes), ds.reshape(s.shape)
    value, ds = host(backend, (value, ds))
    for replica in np.ndindex(value.shape):
        s, y, s_teacher = (array[replica] for array in problem)
        expected_value, expected_ds = oracle.regression_distillation(s, y, s_teacher, alpha)
        assert value[replica] == pytest.approx(expected_value, rel=1e-12, abs=1e-12)
        assert np.allclose(ds[replica], expected_ds, rtol=1e-12, atol=1e-13)


@given(problems(), TEMPERATURES, st.floats(-100, 100))
def test_kl_is_zero_where_logits_are_equal_up_to_a_constant_and_positive_elsewhere(
    backend, problem, T, shift
):
    z, _, z_teacher = problem

    def kl(z, z_teacher):
        z, z_teacher = backend.asarray(z), backend.asarray(z_teacher)
        return backend.to_numpy(kl_divergence(z, z_teacher, T, backend=backend)[0])

    assert np.allclose(kl(z, z + shift), 0, rtol=0, atol=1e-12)
    # Pinsker: KL ≥ ½·(Σ|p − q|)², so it is positive where the distributions differ.
    distance = abs(oracle.softmax(z, T) - oracle.softmax(z_teacher, T)).sum(axis=-1)
    assert (kl(z, z_teacher) >= (distance**2).mean(axis=-1) / 2 - 1e-12).all()


@given(problems(), TEMPERATURES)
def test_a_softmax_sums_to_one_and_keeps_the_ratios_of_the_logits(backend, problem, T):
    z = problem[0]
    log_q = backend.to_numpy(log_softmax(backend.asarray(z), T, backend=backend))
    assert np.allclose(np.exp(log_q).sum(axis=-1), 1, rtol=1e-13)
    assert np.allclose(T * (log_q - log_q[..., :1]), z - z[..., :1], rtol=1e-11, atol=1e-11)


def test_training_with_alpha_zero_is_training_on_cross_entropy_alone(backend):
    data, teacher = classification_data(), teacher_outputs()
    settings = Settings(epochs=3, batch_size=8, learning_rate=0.02, schedule="constant")
    orders = [np.random.default_rng(epoch).permutation(22) for epoch in range(3)]

    def train(runs):
        options = {"dtype": np.float64, "backend": backend, "orders": orders}
        return Training(Classification(data), (6, 7, 4), runs, settings, **options)

    # As an arm beside a Student, with a teacher that it must not hear, and on its own.
    beside = train([Run(5, 0.9, 4.0, teacher), Run(5, 0.0, 4.0, teacher)])
    alone = train([Run(5)])
    initial = list(alone.network.tensors().values())
    beside.run()
    alone.run()
    assert_same_tensors(beside.network.tensors(1), alone.network.tensors(), 1e-12)
    assert not np.allclose(beside.network.tensors(0)["dense1.W"], initial[0])

    x, y = data.x_train * data.input_scale, np.eye(4)[data.y_train]
    trained, _ = oracle.train(
        initial,
        x,
        lambda z, rows: oracle.cross_entropy(z, y[rows]),
        orders,
        settings.batch_size,
        [settings.learning_rate] * 9,
    )
    expected = dict(zip(alone.network.tensors(), trained, strict=True))
    assert_same_tensors(alone.network.tensors(), expected, 1e-10)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_distillation_changes_no_byte_of_the_teacher(backend, kind):
    if kind == "classification":
        problem, sizes = Classification(classification_data()), (6, 7, 4)
    else:
        problem, sizes = Regression(regression_data()), (5, 7, 2)
    settings = Settings(epochs=2, batch_size=8, learning_rate=0.02)
    options = {"dtype": np.float64, "backend": backend}
    teacher = Training(problem, sizes, [Run(0)], settings, **options).run()
    z_teacher = teacher.outputs(teacher.train_inputs)[0]

    before = [backend.to_numpy(teacher.network.parameters).tobytes(), z_teacher.tobytes()]
    student = Training(problem, sizes, [Run(1, 0.7, 3.0, z_teacher)], settings, **options).run()
    after = [backend.to_numpy(teacher.network.parameters).tobytes(), z_teacher.tobytes()]
    assert after == before
    assert student.history[-1].objective != pytest.approx(student.history[0].objective)
