"""Adam against Algorithm 1 of its paper, tensor by tensor."""

import numpy as np
import oracle
import pytest
from conftest import relative_difference

from nkd.optimizers import PIECE, SGD, Adam, adam_update

SHAPES = [(4, 3), (3,), (3, 2), (2,)]
SIZES = [1e3, 1e-3, 1.0, 1e-10]  # of the tensors' gradients; Adam's ε is 1e-8
SHAPES_AS_TENSORS = [np.empty(shape) for shape in SHAPES]
STEPS = 14
RATES = [0.05 / (1 + step) for step in range(STEPS)]


def gradients_of(network):
    """Per step a list of tensors of very different sizes, with zeros and sparse steps."""
    generator = np.random.default_rng((network, 2))
    for step in range(STEPS):
        # The sizes fall over time, so that old and new gradients weigh differently.
        gradients = [
            generator.normal(0, size * 0.6**step, shape)
            for size, shape in zip(SIZES, SHAPES, strict=True)
        ]
        gradients[0][0] = 0.0
        if step % 3 == 1:
            gradients[2][:] = 0.0
        yield gradients


def start_of(network):
    generator = np.random.default_rng((network, 1))
    return [generator.normal(size=shape) for shape in SHAPES]


def golden_changes(adam, network, factor=1.0):
    """How far each tensor has come after each step, by the textbook."""
    tensors = start = start_of(network)
    for gradients, rate in zip(gradients_of(network), RATES, strict=True):
        tensors = adam.step(tensors, gradients, rate * factor)
        yield [now - before for now, before in zip(tensors, start, strict=True)]


def flat(networks):
    """A list of tensors for each network → (R, P)."""
    return np.stack([np.concatenate([t.ravel() for t in tensors]) for tensors in networks])


def split(row):
    ends = np.cumsum([np.prod(shape) for shape in SHAPES])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(row, ends), SHAPES, strict=True)]


def trajectory(networks, dtype, backend, factors=None):
    """Per step, per network, the change of each tensor by `nkd`, all networks in one array."""
    start = flat([start_of(network) for network in networks])
    parameters = backend.asarray(start, dtype)
    if backend.xp is np:
        parameters = parameters.copy()
    gradients = backend.xp.empty_like(parameters)
    adam = Adam(parameters, gradients, backend=backend)
    changes = []
    for step, lists in enumerate(zip(*map(gradients_of, networks), strict=True)):
        gradients[:] = backend.asarray(flat(lists), dtype)
        adam.update(RATES[step] if factors is None else RATES[step] * backend.asarray(factors))
        moved = backend.to_numpy(parameters).astype(np.float64) - start.astype(dtype)
        changes.append([split(row) for row in moved])
    assert adam.t == STEPS
    return changes


def largest_difference(changes, golden):
    """Over all steps and tensors, ‖Δ‖ relative to how far the tensor has come."""
    return max(
        relative_difference(tensor, expected)
        for now, then in zip(changes, golden, strict=True)
        for tensor, expected in zip(now, then, strict=True)
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-3)])
def test_adam_follows_the_golden_trajectory_of_separate_tensors(backend, dtype, tolerance):
    changes = trajectory([0, 1, 2], dtype, backend)
    for network in range(3):
        golden = list(golden_changes(oracle.Adam(SHAPES_AS_TENSORS), network))
        assert largest_difference([step[network] for step in changes], golden) <= tolerance


class EpsilonInsideTheRoot(oracle.Adam):
    def denominator(self, v_hat):
        return np.sqrt(v_hat + self.epsilon)


class EpsilonBeforeTheCorrection(oracle.Adam):
    """The reordered form in section 2 of the paper with ε in the place of its ε̂."""

    def denominator(self, v_hat):
        return np.sqrt(v_hat) + self.epsilon / np.sqrt(1 - self.beta2**self.t)


class OneStepCountPerTensor(oracle.Adam):
    """t advances with each tensor, as in early tinygrad."""

    def step(self, tensors, gradients, learning_rate):
        result = super().step(tensors, gradients, learning_rate)
        self.t += len(tensors) - 1
        return result


@pytest.mark.parametrize(
    "variant", [EpsilonInsideTheRoot, EpsilonBeforeTheCorrection, OneStepCountPerTensor]
)
def test_the_golden_trajectory_tells_wrong_variants_of_adam_apart(variant):
    right = list(golden_changes(oracle.Adam(SHAPES_AS_TENSORS), 0))
    wrong = list(golden_changes(variant(SHAPES_AS_TENSORS), 0))
    assert largest_difference(wrong, right) > 0.05


def test_each_network_has_its_own_learning_rate(backend):
    factors = np.array([[1.0], [0.0], [10.0]])
    changes = trajectory([3, 4, 5], np.float64, backend, factors)
    for place, network in enumerate([3, 4, 5]):
        golden = list(golden_changes(oracle.Adam(SHAPES_AS_TENSORS), network, factors[place, 0]))
        assert largest_difference([step[place] for step in changes], golden) <= 1e-12


def test_the_first_step_of_adam_is_the_learning_rate_against_the_gradient(backend):
    w = backend.xp.zeros((1, 4))
    g = backend.asarray([[1e-3, -7.0, 1e6, 0.0]])
    Adam(w, g, backend=backend).update(0.01)
    assert np.allclose(backend.to_numpy(w), [[-0.01, 0.01, -0.01, 0.0]], rtol=1.1e-5, atol=0)


def test_moments_that_decay_to_nothing_are_flushed(backend):
    """One gradient, then none: m and v never become subnormal, the weight stays where it is."""
    w, g = (backend.xp.zeros((1, 1), np.float32) for _ in range(2))
    adam = Adam(w, g, backend=backend)
    smallest, where = np.finfo(np.float32).tiny, []
    for step in range(2000):
        g[:] = 1e-3 if step == 0 else 0
        adam.update(0.01)
        m = abs(float(backend.to_numpy(adam.m)[0, 0]))
        assert m == 0 or m >= smallest
        where.append(float(backend.to_numpy(w)[0, 0]))
    assert m == 0
    assert where[300] == where[-1] != 0


@pytest.mark.parametrize(("R", "P"), [(1, 2 * PIECE + 7), (3, PIECE // 2 + 5), (40, 5000)])
def test_an_update_in_pieces_is_the_update_of_each_number(R, P):
    generator = np.random.default_rng(0)
    w, g, m, v = (generator.normal(size=(R, P)) for _ in range(4))
    v, rate = v**2, generator.uniform(0.01, 0.1, (R, 1))
    new_m, new_v = 0.9 * m + g, 0.999 * v + g**2
    expected = w - rate * new_m / (np.sqrt(new_v) + 1e-3)
    adam_update(np, w, m, v, g, 0.9, 0.999, rate, 1e-3, np.empty_like(w))
    for actual, values in ((m, new_m), (v, new_v), (w, expected)):
        np.testing.assert_allclose(actual, values, rtol=1e-13, atol=1e-13)


def descent(optimizer, rate, factor, backend, steps=12, **options):
    """The parameters after some steps on gradients that are multiplied with a factor."""
    start, *gradients = np.random.default_rng(0).normal(size=(steps + 1, 2, 7))
    w, g = backend.asarray(start.copy()), backend.asarray(np.empty_like(start))
    optimizer = optimizer(w, g, backend=backend, **options)
    for gradient in gradients:
        g[:] = backend.asarray(factor * gradient)
        optimizer.update(rate)
    return backend.to_numpy(w)


def test_under_adam_a_factor_on_the_gradients_changes_nothing_beyond_epsilon(backend):
    one, seven = (descent(Adam, 0.01, factor, backend) for factor in (1, 7))
    assert relative_difference(seven, one) < 1e-7
    assert not np.array_equal(seven, one)
    one, seven = (descent(Adam, 0.01, factor, backend, epsilon=1e-30) for factor in (1, 7))
    assert relative_difference(seven, one) < 1e-13


def test_under_gradient_descent_a_factor_on_the_gradients_is_one_on_the_learning_rate(backend):
    seven, faster = descent(SGD, 0.01, 7, backend), descent(SGD, 0.07, 1, backend)
    assert relative_difference(seven, faster) < 1e-14
    assert relative_difference(seven, descent(SGD, 0.01, 1, backend)) > 0.1
