"""Dropout, bounded weights, moved images: derivatives, chances, projections, who gets what."""

import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import assert_same_tensors, classification_data, teacher_outputs
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_gradients import assert_gradient
from test_strict_arrays import StrictBackend

from nkd import (
    MLP,
    Classification,
    Run,
    Settings,
    Training,
    UserError,
    choose,
    pairs,
)
from nkd.layers import Dropout
from nkd.losses import DistillationLoss, one_hot
from nkd.random_streams import Purpose, random_stream
from nkd.tables import MovedImages, moved
from nkd.training import Step

REGULARISED = {
    "dropout": {"dropout": (0.2, 0.5, 0.5)},
    "bounded weights": {"largest_norm": 0.7},
    "moved images": {"jitter": 1},
}
ALL = {name: value for each in REGULARISED.values() for name, value in each.items()}
SIZES = (9, 8, 5, 4)


def train(runs, regularisation, backend, epochs=3):
    data = replace(classification_data(features=9), image_shape=(3, 3))
    problem = Classification(data)
    options = Settings(epochs, 5, 0.03, **regularisation)
    return Training(problem, SIZES, runs, options, dtype=np.float64, backend=backend).run()


@settings(max_examples=25)
@given(
    st.sampled_from([(1, 1, 1), (3, 1, 3), (4, 2, 2), (6, 3, 2)]),
    st.integers(1, 4),
    st.tuples(*[st.sampled_from([0.0, 0.3, 0.8])] * 3),
    st.integers(0, 2**32 - 1),
)
def test_a_network_has_its_derivatives_under_the_masks_of_dropout(backend, axes, B, rates, seed):
    R, sharing, orders = axes
    generator = np.random.default_rng(seed)
    options = {"sharing": sharing, "dropout": rates, "dtype": np.float64, "backend": backend}
    network = MLP(SIZES, R, **options)
    network.initialise(range(R))
    parameters = backend.to_numpy(network.parameters).copy()
    parameters += generator.normal(0, 0.3, parameters.shape)
    x = backend.asarray(generator.normal(size=(orders, B, SIZES[0])))
    loss = DistillationLoss(replicas=R, backend=backend)
    y = backend.asarray(one_hot(generator.integers(0, 4, (R, B)), 4))
    active = []

    def run(at):
        network.seed_dropout(range(R))  # the same masks each time
        network.parameters[:] = backend.asarray(at)
        value, dz = loss(network.forward(x, training=True), y)
        active.append([backend.to_numpy(layer.h > 0) for layer in network.layers[:-1]])
        return backend.to_numpy(value).copy(), dz

    _, dz = run(parameters)
    network.backward(dz)

    def value(at):
        result, _ = run(at)
        assume(all(map(np.array_equal, active[0], active[-1])))  # no step goes over a kink
        return result

    assert_gradient(value, parameters, backend.to_numpy(network.gradients).copy(), generator)


def drawn(rate, seeds, shape, backend, dtype=np.float64):
    """A layer of dropout on ones, and its output."""
    layer = Dropout(rate, len(seeds), shape[-1], dtype=dtype, backend=backend)
    layer.streams = [random_stream(seed, Purpose.DROPOUT) for seed in seeds]
    layer.resize(shape[0])
    ones = backend.xp.ones((len(seeds), *shape), dtype)
    return layer, backend.to_numpy(layer.forward(ones, True)).copy()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_each_number_is_dropped_with_its_probability_and_the_mean_stays(backend, rate):
    rows, columns = 400, 500
    _, h = drawn(rate, [3], (rows, columns), backend)
    kept = h[0] > 0
    assert np.allclose(h[0][kept], 1 / (1 - rate), rtol=1e-12)
    # 4.5 standard deviations of a binomial; per row and column too, so that no line is special.
    for part, count in (
        (kept.mean(), rows * columns),
        (kept.mean(axis=0), rows),
        (kept.mean(axis=1), columns),
    ):
        assert (abs(part - (1 - rate)) <= 4.5 * math.sqrt(rate * (1 - rate) / count)).all()
    # Neighbours are dropped independently: φ of adjacent numbers.
    for a, b in ((kept[:, 1:], kept[:, :-1]), (kept[1:], kept[:-1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) <= 4.5 / math.sqrt(a.size)


def test_masks_depend_on_the_seed_alone_and_are_new_in_each_step(backend):
    layer, first = drawn(0.5, [7, 8, 7], (20, 30), backend)
    second = backend.to_numpy(layer.forward(backend.xp.ones((3, 20, 30)), True))
    assert (first[0] == first[2]).all()
    assert (first[0] != first[1]).any()
    assert (first != second).any()
    network = MLP((8, 8, 8, 8), dropout=(0.5, 0.5, 0.5), backend=backend)
    network.initialise([7])
    network.forward(backend.xp.ones((1, 20, 8), np.float32), training=True)
    masks = {backend.to_numpy(dropout.mask).tobytes() for dropout in network.dropouts}
    assert len(masks) == 3  # each layer has its own
    _, other_precision = drawn(0.5, [7], (20, 30), backend, np.float32)
    assert (other_precision[0] == first[0]).all()


def test_nothing_is_dropped_in_prediction_and_its_gradient_is_the_plain_one(backend):
    generator = np.random.default_rng(0)
    plain, dropping = (
        MLP(SIZES, dropout=rates, dtype=np.float64, backend=backend)
        for rates in ((), (0.5, 0.5, 0.5))
    )
    for network in (plain, dropping):
        network.initialise([1])
    x, dz = (backend.asarray(generator.normal(size=(1, 6, n))) for n in (SIZES[0], SIZES[-1]))
    dropped = backend.to_numpy(dropping.forward(x, training=True)).copy()
    outputs = [backend.to_numpy(network.predict(x[0])) for network in (plain, dropping)]
    assert (outputs[0] == outputs[1]).all()
    assert (outputs[0] != dropped).any()
    for network in (plain, dropping):
        network.forward(x)
        network.backward(dz.copy())
    gradients = [backend.to_numpy(network.gradients) for network in (plain, dropping)]
    assert (gradients[0] == gradients[1]).all()


@settings(max_examples=40)
@given(
    st.integers(1, 3),
    st.integers(1, 6),
    st.integers(1, 40),
    st.floats(1e-3, 10),
    st.integers(0, 10**6),
)
def test_bounding_norms_is_the_projection_on_the_nearest_weights(backend, R, I, O, largest, seed):
    generator = np.random.default_rng(seed)
    network = MLP((I, O), R, largest_norm=largest, dtype=np.float64, backend=backend)
    W = generator.normal(0, largest, (R, I, O))
    W[:, :, 0] = 0
    views = network.views(network.parameters)
    views["dense1.W"][:] = backend.asarray(W)
    views["dense1.b"][:] = 100.0
    network.limit_norms()
    bounded = backend.to_numpy(views["dense1.W"]).copy()
    norms = np.linalg.norm(W, axis=1)
    inside = norms <= largest * (1 - 1e-12)
    assert (bounded.swapaxes(1, 2)[inside] == W.swapaxes(1, 2)[inside]).all()  # to the last bit
    expected = W * np.minimum(1, largest / np.maximum(norms, 1e-300))[:, None]
    assert np.allclose(bounded, expected, rtol=1e-12, atol=0)
    # Nearest: (W − P) has no part towards any other weights V that are short enough.
    V = generator.normal(size=W.shape)
    V *= largest * generator.uniform(0, 1, (R, 1, O)) / np.linalg.norm(V, axis=1, keepdims=True)
    assert (((W - bounded) * (V - bounded)).sum(axis=1) <= 1e-9 * largest**2).all()
    assert (backend.to_numpy(views["dense1.b"]) == 100).all()
    network.limit_norms()
    assert np.allclose(backend.to_numpy(views["dense1.W"]), bounded, rtol=1e-15, atol=0)


def shifted(image, down, right):
    """np.roll, with 0 for what comes round."""
    rolled = np.roll(image, (down, right), (0, 1))
    height, width = image.shape
    rolled[[i for i in range(height) if not 0 <= i - down < height]] = 0
    rolled[:, [j for j in range(width) if not 0 <= j - right < width]] = 0
    return rolled


@settings(max_examples=20)
@given(
    st.integers(1, 3),
    st.tuples(st.integers(2, 7), st.integers(2, 7)),
    st.booleans(),
    st.integers(0, 10**6),
)
def test_gathered_images_are_the_images_shifted(backend, pixels, shape, as_bytes, seed):
    generator = np.random.default_rng(seed)
    stored = np.uint8 if as_bytes else np.float64
    images = generator.integers(1, 256, (12, math.prod(shape))).astype(stored)
    options = {"scale": 1 / 255, "dtype": np.float64, "backend": backend}
    table = MovedImages(images, shape, pixels, **options)
    orders = [np.stack([generator.permutation(12) for _ in range(2)]) for _ in range(2)]
    streams = [random_stream(each, Purpose.JITTER) for each in (5, 6)]
    for rows, views in zip(orders, moved(orders, [5, 6], pixels), strict=True):
        shifts = [stream.integers(-pixels, pixels + 1, (12, 2)) for stream in streams]
        assert (views % 12 == rows).all()
        for part in (slice(0, 5), slice(5, 12)):
            gathered = backend.to_numpy(table.gather(backend.asarray(views[:, part])))
            for s, n in np.ndindex(rows[:, part].shape):
                image = images[rows[s, part][n]].reshape(shape)
                expected = shifted(image, *shifts[s][part][n]) / 255
                assert np.allclose(gathered[s, n].reshape(shape), expected, rtol=1e-12)
    plain = backend.to_numpy(table[3:7])
    assert np.allclose(plain, images[3:7] / 255, rtol=1e-12)  # what is measured is not moved


def test_all_shifts_are_equally_likely(backend):
    draws = 20_000
    images = np.zeros((draws, 49), np.uint8)
    images[:, 24] = 1  # the middle of 7 by 7
    table = MovedImages(images, (7, 7), 2, dtype=np.float64, backend=backend)
    (views,) = moved([np.arange(draws)[None]], [0], 2)
    counts = backend.to_numpy(table.gather(backend.asarray(views)))[0].sum(axis=0).reshape(7, 7)
    assert counts.sum() == draws
    deviation = math.sqrt(draws * (1 / 25) * (24 / 25))
    assert (abs(counts[1:6, 1:6] - draws / 25) <= 4.5 * deviation).all()


@pytest.mark.parametrize("shared", [True, False], ids=["shared batches", "own batches"])
def test_each_of_many_regularised_runs_is_the_run_on_its_own(backend, shared):
    runs = pairs([1, 2], 0.7, teacher_outputs(), 3.0)
    runs = runs if shared else [*runs[1:], Run(1)]
    together = train(runs, ALL, backend)
    for replica, run in enumerate(runs):
        alone = train([run], ALL, backend)
        assert_same_tensors(together.network.tensors(replica), alone.network.tensors(), 1e-11)
        expected = [epoch.objective[0] for epoch in alone.history]
        assert [epoch.objective[replica] for epoch in together.history] == pytest.approx(expected)


@pytest.mark.parametrize("name", REGULARISED)
def test_each_regularisation_changes_the_training_and_is_compiled(backend, name):
    runs = pairs([1], 0.7, teacher_outputs(), 3.0)
    regularised, plain = (train(runs, options, backend) for options in (REGULARISED[name], {}))
    is_compiled = backend.step is not None
    assert (type(regularised.step) is not Step) == is_compiled
    assert (type(plain.step) is not Step) == is_compiled
    difference = np.subtract(*(t.network.tensors()["dense2.W"] for t in (regularised, plain)))
    assert abs(difference).max() > 1e-3
    norms = np.linalg.norm(regularised.network.tensors()["dense1.W"], axis=0)
    assert (norms.max() <= 0.7 * (1 + 1e-9)) == (name == "bounded weights")


def test_regularised_training_runs_on_strict_arrays_and_equals_numpy():
    """CuPy's rules, as far as a machine without a GPU can tell."""
    runs = pairs([1, 2], 0.7, teacher_outputs(), 3.0)
    strict, plain = (train(runs, ALL, backend) for backend in (StrictBackend(), choose("numpy")))
    for replica in range(len(runs)):
        tensors = strict.network.tensors(replica), plain.network.tensors(replica)
        assert_same_tensors(*tensors, 1e-11)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dropout": (0.5,)}, "3 rates"),
        ({"dropout": (0.0, 1.0, 0.0)}, "without 1"),
        ({"largest_norm": 0.0}, "largest_norm 0"),
        ({"jitter": -1}, "jitter -1"),
    ],
)
def test_a_mistaken_regularisation_is_refused(options, said):
    with pytest.raises(UserError, match=said):
        train([Run(0)], options, choose("numpy"))


def test_what_is_no_image_cannot_be_moved():
    problem = Classification(classification_data(features=6))
    with pytest.raises(UserError, match="jitter 2 moves images"):
        Training(problem, (6, 4), [Run(0)], Settings(1, 5, 0.03, jitter=2))
