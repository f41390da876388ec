"""What is true of distillation in general, each statement on random problems."""

import itertools
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

from nkd import (
    Classification,
    Regression,
    Run,
    Settings,
    Training,
    UserError,
    weighted_regression,
)
from nkd.distillation import LARGEST_TEMPERATURE
from nkd.losses import (
    DistillationLoss,
    RegressionDistillationLoss,
    cross_entropy,
    distillation,
    kl_divergence,
    log_softmax,
    softmax,
    split_divergence,
)
from nkd.weighted_regression import WEIGHINGS, WeightedRegressionLoss

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


def test_a_soft_loss_without_a_teacher_is_refused():
    with pytest.raises(UserError, match="needs the teacher"):
        distillation(np.zeros((2, 3)), np.eye(3)[:2], None, 0.5)


@given(problems(), ALPHAS)
def test_the_blended_regression_loss_is_the_weighted_sum_of_two_squared_errors(
    backend, problem, alpha
):
    s, y, s_teacher = map(backend.asarray, problem)
    axes, (B, O) = s.shape[:-2], s.shape[-2:]
    loss = RegressionDistillationLoss(alpha, replicas=math.prod(axes), backend=backend)
    t, constant = loss.target(y.reshape(-1, B, O), s_teacher.reshape(-1, B, O))
    value, ds = loss(s.reshape(-1, B, O), t)
    value, ds = (value + constant.mean(axis=-1)).reshape(axes), ds.reshape(s.shape)
    value, ds = host(backend, (value, ds))
    for replica in np.ndindex(value.shape):
        s, y, s_teacher = (array[replica] for array in problem)
        expected_value, expected_ds = oracle.regression_distillation(s, y, s_teacher, alpha)
        assert value[replica] == pytest.approx(expected_value, rel=1e-12, abs=1e-12)
        assert np.allclose(ds[replica], expected_ds, rtol=1e-12, atol=1e-13)


@st.composite
def regressions(draw):
    """Outputs, labels and teacher's outputs (R, B, O); the teacher's errors differ in size."""
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 9)), draw(st.integers(1, 3))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    s, y, error = generator.normal(0, 3, (3, *shape))
    return s, y, y + error * generator.choice([0.01, 1.0, 30.0], (*shape[:2], 1))


def weighted(backend, name, s, y, s_teacher, alpha):
    """Value, constant included, and gradient of `WeightedRegressionLoss`, on the host."""
    loss = WeightedRegressionLoss(alpha, name, replicas=len(s), backend=backend)
    if s_teacher is not None:
        s_teacher = backend.asarray(s_teacher)
    t, constant = loss.target(backend.asarray(y), s_teacher)
    value, ds = loss(backend.asarray(s), t)
    return host(backend, (value + constant.mean(axis=-1), ds))


def hard(s, y):
    """Value and gradient of the squared error alone, for each replica."""
    values, gradients = zip(*map(oracle.mse, s, y), strict=True)
    return np.array(values), np.array(gradients)


def assert_same_loss(actual, expected):
    for each, reference in zip(actual, expected, strict=True):
        np.testing.assert_allclose(each, reference, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", WEIGHINGS)
@given(problem=regressions(), alpha=ALPHAS)
def test_each_regression_loss_is_its_definition(backend, name, problem, alpha):
    s, y, s_teacher = problem
    value, ds = weighted(backend, name, s, y, s_teacher, alpha)
    for r in range(len(s)):
        loss = oracle.regression_loss(name, y[r], s_teacher[r], alpha)
        assert_same_loss((value[r], ds[r]), loss(s[r], range(s.shape[1])))


@pytest.mark.parametrize("name", WEIGHINGS)
@given(problem=regressions(), alpha=ALPHAS)
def test_with_a_perfect_teacher_every_regression_loss_is_the_hard_one(
    backend, name, problem, alpha
):
    s, y, _ = problem
    assert_same_loss(weighted(backend, name, s, y, y, alpha), hard(s, y))
    assert_same_loss(weighted(backend, name, s, y, None, 0.0), hard(s, y))  # the Person


@given(regressions(), ALPHAS)
def test_the_bounded_loss_is_the_hard_one_at_a_large_margin_and_its_part_at_none(
    backend, problem, alpha
):
    s, y, _ = problem
    far = y + 1e6  # a teacher that no student can be worse than
    value, ds = hard(s, y)
    part = (1 - alpha) * value, (1 - alpha) * ds
    assert_same_loss(weighted(backend, "bounded", s, y, far, alpha), part)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weighted_regression, "MARGIN", 1e15)
        assert_same_loss(weighted(backend, "bounded", s, y, far, alpha), (value, ds))


@given(regressions(), ALPHAS)
def test_attention_is_the_blend_where_the_teacher_is_right_and_the_label_where_it_is_worst(
    backend, problem, alpha
):
    s, y, s_teacher = problem
    s_teacher[:, 0] = y[:, 0]
    s_teacher[:, -1] += 1e9  # so that all other errors are nothing beside it
    _, ds = weighted(backend, "attentive", s, y, s_teacher, alpha)
    _, blend = weighted(backend, "blend", s, y, s_teacher, alpha)
    if s.shape[1] > 1:
        np.testing.assert_allclose(ds[:, :-1], blend[:, :-1], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(ds[:, -1], (1 - alpha) * hard(s, y)[1][:, -1], atol=1e-12)


@given(regressions(), ALPHAS)
def test_rejection_is_the_blend_but_for_the_labels_of_outliers(backend, problem, alpha):
    s, y, _ = problem
    s_teacher = y + np.where(np.arange(y.shape[-1]) % 2, -2.0, 1.0)  # as far off in every row
    blend = weighted(backend, "blend", s, y, s_teacher, alpha)
    assert_same_loss(weighted(backend, "rejected", s, y, s_teacher, alpha), blend)
    if s.shape[1] > 2:
        y[:, 1, 0] += 40  # one label is wrong by far: the teacher alone counts there
        _, ds = weighted(backend, "rejected", s, y, s_teacher, alpha)
        expected = blend[1]
        expected[:, 1] = alpha * 2 * (s - s_teacher)[:, 1] / (s.shape[1] * s.shape[2])
        np.testing.assert_allclose(ds, expected, rtol=1e-10, atol=1e-12)


@given(regressions(), ALPHAS)
def test_the_blend_among_other_regression_losses_has_the_same_gradient_to_the_bit(problem, alpha):
    for dtype in (np.float32, np.float64):
        gradients = []
        for kind in (RegressionDistillationLoss, WeightedRegressionLoss):
            s, y, s_teacher = (np.asarray(each, dtype) for each in problem)
            loss = kind(alpha, replicas=len(s), dtype=dtype)
            t, _ = loss.target(y, s_teacher)
            assert t.dtype == dtype
            gradients.append(loss(s, t)[1])
        np.testing.assert_array_equal(*gradients)


@given(problems(), TEMPERATURES, st.integers(0, 10**6))
def test_the_two_parts_of_the_divergence_add_up_to_it(backend, problem, T, seed):
    z, _, z_teacher = problem
    labels = np.random.default_rng(seed).integers(0, z.shape[-1], z.shape[-2])
    move = backend.asarray
    parts = split_divergence(move(z), move(z_teacher), move(labels), T, backend=backend)
    (target, d_target), (others, d_others) = (host(backend, part) for part in parts)
    value, dz = host(backend, kl_divergence(move(z), move(z_teacher), T, backend=backend))
    np.testing.assert_allclose(target + others, value, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(d_target + d_others, dz, rtol=0, atol=1e-12)

    # What each part is, in the words of the paper.
    p, q = oracle.softmax(z_teacher, T), oracle.softmax(z, T)
    is_label = labels[:, None] == np.arange(z.shape[-1])
    assert (target >= -1e-12).all()
    assert (others >= -1e-12).all()
    assert (d_others[..., is_label] == 0).all()
    expected = (q - p)[..., is_label] / (T * z.shape[-2])
    np.testing.assert_allclose(d_target[..., is_label], expected, rtol=0, atol=1e-14)
    # Only the ratios among the others count in the second part, so it does not see their sum.
    moved = z + 3.0 * is_label
    _, (same, _) = split_divergence(move(moved), move(z_teacher), move(labels), T, backend=backend)
    np.testing.assert_allclose(backend.to_numpy(same), others, rtol=1e-9, atol=1e-12)


def test_the_split_divergence_is_finite_where_probabilities_vanish(backend):
    z = np.array([[2000.0, 0.0, -3000.0], [0.0, 5000.0, 1.0]])
    for labels in ([0, 0], [2, 1]):
        arrays = map(backend.asarray, (z, z[:, ::-1].copy(), np.array(labels)))
        for value, dz in split_divergence(*arrays, 1.0, backend=backend):
            assert np.isfinite(backend.to_numpy(value)).all()
            assert np.isfinite(backend.to_numpy(dz)).all()


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


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_factor_on_the_learning_rate_of_a_run_is_one_on_that_of_its_training(backend, optimizer):
    problem, targets = Classification(classification_data()), teacher_outputs()

    def train(rate, factors):
        runs = [Run(1, 0.5, 2.0, targets, learning_rate_factor=factor) for factor in factors]
        settings = Settings(epochs=4, batch_size=8, learning_rate=rate, optimizer=optimizer)
        options = {"dtype": np.float64, "backend": backend}
        training = Training(problem, (6, 7, 4), runs, settings, **options).run()
        return [training.network.tensors(replica) for replica in range(len(runs))]

    one, seven = train(0.01, (1, 7))
    assert_same_tensors(one, *train(0.01, (1,)), 1e-11)
    assert_same_tensors(seven, *train(0.07, (1,)), 1e-11)
    assert not np.allclose(seven["dense1.W"], one["dense1.W"])


# Linear students and teachers: section 9 of docs/mathematics.md.


def smoothers(width):
    """Rows x, a student of 7 polynomials, and a teacher that averages its neighbours."""
    x = (np.arange(200) + 0.5) / 200
    basis, _ = np.linalg.qr(np.vander(2 * x - 1, 7))
    weights = np.exp(-0.5 * ((x[:, None] - x) / width) ** 2)
    return x, basis @ basis.T, weights / weights.sum(axis=1, keepdims=True)


def risk(A, f, variance):
    """Bias and variance of A·y, y = f + noise of that variance."""
    return (((A @ f - f) ** 2).sum() + variance * (A**2).sum()) / len(f)


def blended(alpha, H_T):
    return (1 - alpha) * np.eye(len(H_T)) + alpha * H_T


def test_the_risk_of_a_linear_student_is_its_bias_and_its_variance():
    x, H_S, H_T = smoothers(0.2)
    f, generator = np.sin(2 * np.pi * x), np.random.default_rng(0)
    y = f + 0.5 * generator.normal(size=(4000, len(x)))
    t = 0.5 * y + 0.5 * y @ H_T.T  # as the package blends it
    loss = RegressionDistillationLoss(0.5)
    np.testing.assert_allclose(loss.target(y[None], (y @ H_T.T)[None])[0][0], t, rtol=1e-12)
    errors = ((t @ H_S.T - f) ** 2).mean(axis=1)
    error = errors.std() / math.sqrt(len(y))
    assert abs(errors.mean() - risk(H_S @ blended(0.5, H_T), f, 0.25)) < 4 * error


@given(ALPHAS, st.integers(1, 6), st.integers(0, 6), st.integers(0, 10**6))
def test_nested_least_squares_learn_nothing_from_a_teacher(alpha, small, more, seed):
    generator = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(generator.normal(size=(20, small + more)))
    H_S, H_T = (part @ part.T for part in (basis[:, :small], basis))
    np.testing.assert_allclose(H_S @ blended(alpha, H_T), H_S, atol=1e-12)


def test_a_better_target_can_make_a_worse_student():
    x, H_S, H_T = smoothers(0.2)
    f = np.sin(2 * np.pi * x)
    target = [risk(blended(alpha, H_T), f, 0.25) for alpha in (0, 0.5)]
    student = [risk(H_S @ blended(alpha, H_T), f, 0.25) for alpha in (0, 0.5)]
    assert [round(each, 3) for each in target] == [0.25, 0.092]
    assert [round(each, 4) for each in student] == [0.0088, 0.0317]


def test_a_bayes_teacher_cuts_the_variance_of_the_risk_and_not_its_mean():
    """Exactly, over all samples of two rows from three inputs with two classes."""
    chance, p = np.array([0.2, 0.3, 0.5]), np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])
    losses = np.array([[0.3, 2.0], [0.7, 0.6], [1.5, 0.1]])
    cases = [(x, y) for x in range(3) for y in range(2)]
    drawn = [
        (
            math.prod(chance[x] * p[x, y] for x, y in sample),
            np.mean([losses[x, y] for x, y in sample]),
            np.mean([p[x] @ losses[x] for x, y in sample]),
        )
        for sample in itertools.product(cases, repeat=2)
    ]
    weight, labels, teacher = np.array(drawn).T
    means = [weight @ estimate for estimate in (labels, teacher)]
    np.testing.assert_allclose(means, chance @ (p * losses).sum(axis=1), rtol=1e-12)
    variances = [weight @ (estimate - means[0]) ** 2 for estimate in (labels, teacher)]
    within = (p * losses**2).sum(axis=1) - (p * losses).sum(axis=1) ** 2
    assert variances[0] - variances[1] == pytest.approx(chance @ within / 2, rel=1e-12)
    assert variances[1] < variances[0]


@given(st.integers(2, 8), st.integers(1, 6), st.integers(0, 10**6))
def test_the_divergence_of_scattered_students_is_bias_plus_variance(C, students, seed):
    generator = np.random.default_rng(seed)
    z, zeta = generator.normal(0, 3, (students, 1, C)), generator.normal(0, 3, (1, 1, C))
    mean = log_softmax(z).mean(axis=0, keepdims=True)  # its softmax is the geometric mean

    def divergence(of, to):
        """Mean over the students of KL(softmax(of) ‖ softmax(to))."""
        of = np.broadcast_to(of, to.shape)
        return kl_divergence(to, of)[0].mean()

    bias, variance = divergence(zeta, mean), divergence(mean, z)
    assert divergence(zeta, z) == pytest.approx(bias + variance, rel=1e-9, abs=1e-12)


def test_how_well_t_squared_keeps_the_balance():
    """The figures of section 6 of docs/mathematics.md."""
    shrunk = []
    for C in (2, 10, 1000):
        z = np.zeros((2, 1, C))
        z[0, 0, 0] = math.log(C - 1)
        z[1] = z[0]
        z[1, 0, 0] += 1e-4
        one, ten = (np.linalg.norm(kl_divergence(*z, T)[1]) for T in (1.0, 10.0))
        shrunk.append(one / ten)
    np.testing.assert_allclose(shrunk, [100, 234, 12568], rtol=1e-3)
    teacher, student = np.eye(10)[:1] * 12, np.eye(10)[:1] * 5
    soft = [np.linalg.norm(kl_divergence(student, teacher, T)[1]) * T**2 for T in (1.0, 4.0)]
    hard = np.linalg.norm(cross_entropy(student, np.eye(10)[:1])[1])
    np.testing.assert_allclose([*soft, hard], [0.0602, 1.733, 0.0603], rtol=2e-3)


@given(problems(), st.sampled_from([1.0, 20.0, 1e4]), st.sampled_from([0.0, 1e-9, 1e-5, 0.1]))
def test_the_divergence_is_never_negative_and_right_for_near_equal_logits(
    backend, problem, T, distance
):
    z, _, z_teacher = problem
    other = z + distance * z_teacher
    value = backend.to_numpy(
        kl_divergence(backend.asarray(other), backend.asarray(z), T, backend=backend)[0]
    )
    assert (value >= 0).all()
    # The second-order term: half the variance under p of the difference of the scaled logits.
    p, step = oracle.softmax(z, T), (other - z) / T
    variance = (p * (step - (p * step).sum(-1, keepdims=True)) ** 2).sum(-1)
    if distance == 1e-5:
        np.testing.assert_allclose(value, variance.mean(-1) / 2, rtol=1e-2, atol=1e-28)


def test_a_trainings_loss_is_right_to_one_per_cent_at_the_largest_temperature():
    generator, T = np.random.default_rng(0), LARGEST_TEMPERATURE
    z, y = generator.normal(0, 3, (1, 512, 10)), np.eye(10)[generator.integers(0, 10, (1, 512))]
    z_teacher = z + generator.normal(size=z.shape)
    loss = DistillationLoss(1.0, T, dtype=np.float32)
    t, constant = loss.target(*(each.astype(np.float32) for each in (y, z_teacher)))
    value = loss(z.astype(np.float32), t)[0] + constant.mean(dtype=np.float64)
    expected, _ = oracle.distillation(z[0], y[0], z_teacher[0], 1.0, T)
    np.testing.assert_allclose(value, expected, rtol=0.01)
    whole, _ = distillation(*(each.astype(np.float32) for each in (z, y, z_teacher)), 1.0, T)
    np.testing.assert_allclose(whole, expected, rtol=1e-3)


@given(st.integers(1, 30), st.floats(0, 0.95))
def test_the_variance_of_a_mean_of_correlated_weights(n, rho):
    """The factor of section 29 of docs/mathematics.md."""
    k = np.arange(n)
    exact = (rho ** abs(k[:, None] - k)).sum() / n**2
    factor = ((1 + rho) / (1 - rho) - 2 * rho * (1 - rho**n) / (n * (1 - rho) ** 2)) / n
    assert factor == pytest.approx(exact, rel=1e-9)
