"""Every derivative that was written by hand, against differences and against 50 digits."""

import inspect
import math
import re
from functools import partial

import mpmath
import numpy as np
import oracle
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from named_operations import PLAIN, arguments

from nkd.layers import Dense
from nkd.losses import (
    DistillationLoss,
    RegressionDistillationLoss,
    cross_entropy,
    distillation,
    kl_divergence,
    mse,
    split_divergence,
)
from nkd.network import MLP
from nkd.weighted_regression import (
    WEIGHINGS,
    WeightedRegressionLoss,
    weighted_squared_error_loss,
)

STEP = 1e-5
REPLICAS = st.integers(1, 3)
AXES = st.sampled_from([(), (1,), (3,), (2, 2)])  # a loss keeps any leading axes
SHARING = st.sampled_from([(1, 1), (3, 1), (2, 2), (4, 2), (6, 2), (6, 3)])  # R, A
SEEDS = st.integers(0, 2**32 - 1)
SMALL = st.integers(1, 4)
CLASSES = st.integers(2, 5)
SIZES = st.sampled_from([1e-3, 1.0, 30.0, 1000.0])  # of logits
TEMPERATURES = st.floats(0.5, 20.0)


def assert_gradient(function, at, gradient, generator):
    """The gradient is the derivative of `function`, which maps (…, ·, ·) to one value per replica.

    All replicas move at once but each value is compared with its own gradient, so a gradient
    that belongs to another replica fails too.
    """
    value = function(at)
    axes = tuple(range(value.ndim, at.ndim))
    norm = np.sqrt((gradient**2).sum(axis=axes))
    bound = 1e-6 * np.maximum(1, np.maximum(abs(value), norm))
    direction = generator.normal(size=at.shape)
    directions = [direction / np.sqrt((direction**2).sum(axis=axes, keepdims=True))]
    coordinates = at.shape[value.ndim :]
    if math.prod(coordinates) <= 12:
        for coordinate in np.ndindex(coordinates):
            directions.append(np.zeros_like(at))
            directions[-1][(..., *coordinate)] = 1
    for direction in directions:
        ahead, behind = function(at + STEP * direction), function(at - STEP * direction)
        slope = (gradient * direction).sum(axis=axes)
        assert (abs((ahead - behind) / (2 * STEP) - slope) <= bound).all()


def dense(backend, W, b, B, **options):
    """A layer with these parameters, and the arrays of their gradients."""
    gradients = backend.xp.empty(W.shape), backend.xp.empty(b.shape)
    layer = Dense(*map(backend.asarray, (W, b)), *gradients, backend=backend, **options)
    layer.resize(B)
    return layer, *gradients


@settings(max_examples=120)
@given(SHARING, SMALL, SMALL, SMALL, st.booleans(), SEEDS)
def test_dense_has_the_derivatives_of_its_weights_biases_and_inputs(
    backend, axes, B, I, O, relu, seed
):
    R, sharing = axes
    generator = np.random.default_rng(seed)
    shapes = ((R // sharing, B, I), (R, I, O), (R, 1, O), (R, B, O))
    x, W, b, dh = (generator.normal(size=shape) for shape in shapes)
    options = {"relu": relu, "input_gradient": sharing == 1, "sharing": sharing}
    z = np.array([x[replica % len(x)] @ W[replica] + b[replica] for replica in range(R)])
    assume(not relu or abs(z).min() > 0.001)  # no step goes over the kink

    def value(**changed):
        at = {"x": x, "W": W, "b": b} | changed
        layer, _, _ = dense(backend, at["W"], at["b"], B, **options)
        return (backend.to_numpy(layer.forward(backend.asarray(at["x"]))) * dh).sum(axis=(-2, -1))

    layer, dW, db = dense(backend, W, b, B, **options)
    h = layer.forward(backend.asarray(x))
    expected = np.maximum(z, 0) if relu else z
    assert np.allclose(backend.to_numpy(h), expected, rtol=1e-12, atol=1e-12)
    dx = layer.backward(backend.asarray(dh.copy()))
    if sharing == 1:
        assert_gradient(lambda at: value(x=at), x, backend.to_numpy(dx), generator)
    else:
        assert dx is None
    # In the arrays that the layer was given, whatever views of them it works on.
    assert_gradient(lambda at: value(W=at), W, backend.to_numpy(dW), generator)
    assert_gradient(lambda at: value(b=at), b, backend.to_numpy(db), generator)


def test_relu_has_the_derivative_zero_at_zero(backend):
    z = np.array([[[0.0, -0.0, 1.0, -1.0, 5e-324]]])
    layer, _, db = dense(backend, np.zeros((1, 1, 5)), z, 1, relu=True)
    h = layer.forward(backend.asarray(np.zeros((1, 1, 1))))
    assert backend.to_numpy(h).tolist() == [[[0, 0, 1, 0, 5e-324]]]
    layer.backward(backend.asarray(np.full((1, 1, 5), 3.0)))
    assert backend.to_numpy(db).tolist() == [[[0, 0, 3, 0, 3]]]


def random_rows(generator, shape):
    """Rows of probabilities."""
    return generator.dirichlet(np.ones(shape[-1]), shape[:-1])


def of_replicas(loss, z, y, z_teacher):
    """The value, constant included, and gradient of a class that trains, on its replica axis."""
    shape = z.shape
    z, y, z_teacher = (array.reshape(-1, *shape[-2:]) for array in (z, y, z_teacher))
    t, constant = loss.target(y, z_teacher)
    value, dz = loss(z, t)
    return (value + constant.mean(axis=-1)).reshape(shape[:-2]), dz.reshape(shape)


def losses(backend, generator, shape, size, alpha, T):
    """Each loss as a function of its outputs alone: name → function."""
    y, z_teacher = random_rows(generator, shape), generator.normal(0, size, shape)
    y, z_teacher = backend.asarray(y), backend.asarray(z_teacher)
    replicas = math.prod(shape[:-2])
    alphas, temperatures = generator.uniform(0, 1, replicas), generator.uniform(0.5, 20, replicas)
    classes = DistillationLoss(alphas, temperatures, replicas=replicas, backend=backend)
    regression = RegressionDistillationLoss(alphas, replicas=replicas, backend=backend)
    return {
        "cross-entropy": partial(cross_entropy, y=y, backend=backend),
        "KL divergence": partial(kl_divergence, z_teacher=z_teacher, T=T, backend=backend),
        "MSE": partial(mse, y=z_teacher, backend=backend),
        "distillation": partial(
            distillation, y=y, z_teacher=z_teacher, alpha=alpha, T=T, backend=backend
        ),
        "DistillationLoss": partial(of_replicas, classes, y=y, z_teacher=z_teacher),
        "RegressionDistillationLoss": partial(of_replicas, regression, y=y, z_teacher=z_teacher),
    }


@settings(max_examples=80)
@given(AXES, SMALL, CLASSES, SIZES, st.floats(0, 1), TEMPERATURES, SEEDS)
def test_each_loss_has_the_derivative_of_its_value(backend, axes, B, C, size, alpha, T, seed):
    generator = np.random.default_rng(seed)
    shape = (*axes, B, C)
    z = generator.normal(0, size, shape)
    for loss in losses(backend, generator, shape, size, alpha, T).values():
        _, gradient = loss(backend.asarray(z))
        gradient = backend.to_numpy(gradient).copy()
        assert_gradient(
            lambda at, loss=loss: backend.to_numpy(loss(backend.asarray(at))[0]),
            z,
            gradient,
            generator,
        )


@settings(max_examples=80)
@given(REPLICAS, st.integers(1, 6), st.integers(1, 3), st.integers(-3, 3), SEEDS)
def test_each_regression_loss_has_the_derivative_of_its_value(backend, R, B, O, size, seed):
    generator = np.random.default_rng(seed)
    y, s_teacher, s = generator.normal(0, 10.0**size, (3, R, B, O))
    s_teacher = y + (s_teacher - y) * generator.choice([0.0, 0.01, 1.0, 30.0], (R, B, 1))
    names = generator.choice(list(WEIGHINGS), R)
    if "bounded" in names:  # no step goes over its bound, where the value jumps
        squares = [((each - y) ** 2).sum(axis=-1) for each in (s, s_teacher)]
        reach = 1e-4 * (1 + np.sqrt(squares[0]))
        assume((abs(squares[0] - squares[1]) > reach).all())
    alphas = generator.uniform(0, 1, R)
    loss = WeightedRegressionLoss(alphas, names, replicas=R, backend=backend)
    y, s_teacher = backend.asarray(y), backend.asarray(s_teacher)

    def value_and_gradient(at):
        value, ds = of_replicas(loss, backend.asarray(at), y, s_teacher)
        return backend.to_numpy(value).copy(), backend.to_numpy(ds).copy()

    _, gradient = value_and_gradient(s)
    assert_gradient(lambda at: value_and_gradient(at)[0], s, gradient, generator)


@settings(max_examples=60)
@given(AXES, SMALL, CLASSES, st.sampled_from([1e-3, 1.0, 30.0]), TEMPERATURES, SEEDS)
def test_each_part_of_the_split_divergence_has_the_derivative_of_its_value(
    backend, axes, B, C, size, T, seed
):
    generator = np.random.default_rng(seed)
    z, z_teacher = generator.normal(0, size, (2, *axes, B, C))
    labels = backend.asarray(generator.integers(0, C, B))
    for part in (0, 1):

        def split(at, part=part):
            parts = split_divergence(
                backend.asarray(at), backend.asarray(z_teacher), labels, T, backend=backend
            )
            return tuple(backend.to_numpy(array) for array in parts[part])

        assert_gradient(lambda at, split=split: split(at)[0], z, split(z)[1], generator)


@pytest.mark.parametrize("soft", [True, False], ids=["classes", "regression"])
@settings(max_examples=80)
@given(
    st.sampled_from(
        [(1, 1, (1,)), (3, 1, (3,)), (3, 1, ()), (4, 2, (2,)), (6, 3, (2,)), (2, 2, ())]
    ),
    SMALL,
    st.lists(st.integers(2, 5), min_size=2, max_size=4),
    SEEDS,
)
def test_a_network_with_its_loss_has_the_derivative_of_every_parameter(
    backend, soft, axes, B, sizes, seed
):
    R, sharing, orders = axes
    generator = np.random.default_rng(seed)
    network = MLP(sizes, R, sharing=sharing, dtype=np.float64, backend=backend)
    network.initialise(range(R))
    parameters = backend.to_numpy(network.parameters).copy()
    parameters += generator.normal(0, 0.3, parameters.shape)  # biases too
    x = backend.asarray(generator.normal(size=(*orders, B, sizes[0])))
    shape = (R, B, sizes[-1])
    name = "DistillationLoss" if soft else "RegressionDistillationLoss"
    loss = losses(backend, generator, shape, 3.0, 0.5, 2.0)[name]

    def run(at):
        network.parameters[:] = backend.asarray(at)
        value, dz = loss(network.forward(x))
        active.append([backend.to_numpy(layer.h > 0) for layer in network.layers if layer.relu])
        return backend.to_numpy(value), dz

    active = []
    _, dz = run(parameters)
    network.backward(dz)
    gradient = backend.to_numpy(network.gradients)

    def value(at):
        result, _ = run(at)
        # Between here and the centre lies a kink: there is no derivative to compare with.
        assume(all(map(np.array_equal, active[0], active[-1])))
        return result

    assert_gradient(value, parameters, gradient, generator)


def exact_distillation(z, y, z_teacher, alpha, T):
    """Value and gradient for (B, C), in 50 digits, from the definition."""
    with mpmath.workdps(50):

        def log_softmax(row, T):
            row = [mpmath.mpf(number) / T for number in row]
            total = mpmath.log(mpmath.fsum(map(mpmath.exp, row)))
            return [number - total for number in row]

        alpha, T = mpmath.mpf(alpha), mpmath.mpf(T)
        value, gradient = mpmath.mpf(0), []
        for row, labels, teacher in zip(z.tolist(), y.tolist(), z_teacher.tolist(), strict=True):
            hard, soft, teacher = log_softmax(row, 1), log_softmax(row, T), log_softmax(teacher, T)
            gradient.append([])
            for h, s, p, label in zip(hard, soft, teacher, map(mpmath.mpf, labels), strict=True):
                value -= (1 - alpha) * label * h
                value += alpha * T**2 * mpmath.exp(p) * (p - s)
                slope = (1 - alpha) * (mpmath.exp(h) - label)
                slope += alpha * T * (mpmath.exp(s) - mpmath.exp(p))
                gradient[-1].append(float(slope / len(z)))
        return float(value / len(z)), np.array(gradient)


EXTREME = st.sampled_from([0.0, 1.0, -1.0, 0.5, 1e3, -1e3, 1e4, -1e4, 1e4 + 1, 12345.678])


@settings(max_examples=100)
@given(
    st.lists(st.tuples(EXTREME, EXTREME, EXTREME), min_size=2, max_size=4),
    st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    st.sampled_from([0.5, 1.0, 4.0, 20.0]),
    st.integers(0, 2),
)
@example([(1e4, -1e4, 0.0), (-1e4, 1e4, 0.0)], 0.5, 0.5, 0)
@example([(3.0, 3.0, 3.0), (3.0, 3.0, 3.0)], 1.0, 2.0, 1)
def test_values_and_gradients_are_right_in_50_digits_at_extreme_logits(
    backend, rows, alpha, T, label
):
    half = len(rows) // 2
    z, z_teacher = np.array(rows[:half]), np.array(rows[half : 2 * half])
    y = np.eye(3)[[label] * half]
    move = backend.asarray
    checks = [
        (distillation(move(z), move(y), move(z_teacher), alpha, T, backend=backend), (alpha, T)),
        (cross_entropy(move(z), move(y), backend=backend), (0.0, 1.0)),
    ]
    value, dz = kl_divergence(move(z), move(z_teacher), T, backend=backend)
    checks.append(((value * T**2, dz * T**2), (1.0, T)))
    # Rounding in proportion to the numbers that were added: |z|·T in the value, T in the slope.
    size = max(1.0, abs(z).max(), abs(z_teacher).max())
    for (value, dz), (alpha, T) in checks:
        exact_value, exact_dz = exact_distillation(z, y, z_teacher, alpha, T)
        assert abs(float(backend.to_numpy(value)) - exact_value) <= 1e-15 * 8 * size * max(1, T)
        assert abs(backend.to_numpy(dz) - exact_dz).max() <= 1e-12 * max(1, T)


TEXTBOOK = {
    "where": np.where,
    "maximum": np.maximum,
    "sqrt": np.sqrt,
    "softmax": oracle.softmax,
    "lse": lambda z: np.log(np.exp(z).sum(axis=-1, keepdims=True)),
    "dot": lambda t, z: (t * z).sum(axis=-1, keepdims=True),
    "mean": lambda column: column[..., 0].mean(axis=-1),
}
FIRST_INPUT = {"dense_forward": "x", "dense_backward": "dh", "distillation_loss": "z"} | {
    "squared_error_loss": "s", "weighted_squared_error_loss": "s", "adam_update": "g"
}  # fmt: skip


@pytest.mark.parametrize("name", FIRST_INPUT)
@settings(max_examples=20)
@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 5), SEEDS)
def test_the_textbook_form_in_a_docstring_computes_what_the_operation_computes(name, R, B, C, seed):
    operation = PLAIN.get(name, weighted_squared_error_loss)
    lines = re.findall(r"^    (\S.*)$", inspect.getdoc(operation), re.MULTILINE)
    given = arguments(name, np.float64, R, B, C, np.random.default_rng(seed))
    names = list(inspect.signature(operation).parameters)[1:]
    in_place = dict(zip(names, given, strict=True))
    outputs = names[: names.index(FIRST_INPUT[name])]
    textbook = TEXTBOOK | {"B": B, "O": C}
    for key, value in in_place.items():
        textbook[key] = value.copy() if isinstance(value, np.ndarray) else value
    if name == "weighted_squared_error_loss":
        t = textbook["t"]
        textbook |= {"t": t[..., :C], "v": t[..., C : C + 1], "c": t[..., C + 1 :]}
    exec("\n".join(lines), textbook)
    operation(np, *given)
    for key in outputs:
        if in_place[key] is not None:  # no dx is wanted in a first layer
            np.testing.assert_allclose(in_place[key], textbook[key], rtol=1e-9, atol=1e-9)
