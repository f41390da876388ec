"""Shared by the engine's tests: the backends, small data sets, and how results are compared."""

import itertools

import numpy as np
import pytest
from emulated_gpu import COMPILER, EmulatedBackend
from hypothesis import settings
from hypothesis import strategies as st

import nkd
from nkd.backend import NUMPY
from nkd.training import Step, Training

# The same examples in every run: a failure on one machine can be repeated on another.
settings.register_profile("nkd", deadline=None, derandomize=True, database=None)
settings.load_profile("nkd")


@pytest.fixture(
    scope="session",
    params=["numpy", "numba", "emulated GPU", pytest.param("cupy", marks=pytest.mark.gpu)],
)
def backend(request):
    """Each backend in turn; `pytest -m gpu` runs the same tests on CuPy alone."""
    if request.param == "emulated GPU":
        if COMPILER is None:
            pytest.skip("the CUDA kernels need g++ to run without a GPU")
        return EmulatedBackend()
    try:
        return nkd.choose(request.param)
    except nkd.UserError as reason:
        pytest.skip(str(reason))


def classification_data(rows=22, features=6, classes=4, pixels=True, seed=0):
    """Random rows with labels that follow a linear rule; pixels are bytes with a scale."""
    generator = np.random.default_rng(seed)
    x = generator.integers(0, 256, (rows + 9, features), np.uint8)
    scale = 1 / 255
    y = (x @ generator.normal(size=(features, classes))).argmax(axis=-1)
    y[:classes] = np.arange(classes)  # each class occurs in training
    if not pixels:
        x, scale = x * scale, 1.0
    return nkd.Dataset("made-up", "", x[:rows], y[:rows], x[rows:], y[rows:], input_scale=scale)


def regression_data(rows=22, features=5, outputs=2, seed=0):
    """Random standardised rows with noisy linear targets."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows + 9, features))
    y = x @ generator.normal(size=(features, outputs)) + generator.normal(size=(rows + 9, outputs))
    return nkd.Dataset("made-up", "", x[:rows], y[:rows], x[rows:], y[rows:])


@st.composite
def models(draw, tasks=("classification", "regression")):
    """Random small networks with every kind of input."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=2, max_size=5))
    random = np.random.default_rng(draw(st.integers(0, 999)))
    layers = [
        (random.normal(0, i**-0.5, (i, o)), random.normal(0, 0.5, o))
        for i, o in itertools.pairwise(sizes)
    ]
    how = {"task": draw(st.sampled_from(tasks)), "scale": draw(st.sampled_from([1.0, 1 / 255]))}
    if draw(st.booleans()):
        how["deviation"] = 10 ** random.uniform(-3, 3, sizes[0])
        how["mean"] = how["deviation"] * random.normal(0, 30, sizes[0])
        how["bound"] = draw(st.sampled_from([None, 1.5]))
    if how["task"] == "classification":
        how["classes"] = draw(st.sampled_from([(), [f"class {n}, “é”" for n in range(sizes[-1])]]))
    return nkd.Model(layers, facts={"seed": "3", "dataset": "made-up"}, **how)


def raw_rows(model, rows=20):
    """Rows that such a model might see, in float32."""
    x = np.random.default_rng(1).normal(0, 2, (rows, model.sizes[0]))
    x = x if model.mean is None else x * model.deviation + model.mean
    return x.astype(np.float32)


def teacher_outputs(rows=22, outputs=4, seed=0, size=3.0):
    """What a teacher might say on the training rows; read-only, as a teacher's word is."""
    z = np.random.default_rng((seed, 1)).normal(0, size, (rows, outputs))
    z.flags.writeable = False
    return z


def relative_difference(a, b):
    """‖a − b‖ / ‖b‖, and 0 where both vanish."""
    norm = np.linalg.norm(np.subtract(a, b, dtype=np.float64))
    return norm / np.linalg.norm(b) if norm else 0.0


def assert_same_tensors(actual, expected, tolerance):
    """Two networks' tensors by name agree, each within ‖Δ‖ ≤ tolerance·‖expected‖."""
    assert actual.keys() == expected.keys()
    differences = {name: relative_difference(actual[name], expected[name]) for name in expected}
    assert max(differences.values()) <= tolerance, differences


def trained_as_plain(problem, sizes, runs, options, backend, tolerance, loss_tolerance):
    """A training on this backend; its losses and weights are those of the plain step on NumPy."""
    plain, training = (
        Training(problem, sizes, runs, options, dtype=np.float64, backend=each).run()
        for each in (NUMPY, backend)
    )
    assert isinstance(plain.step, Step)
    objectives = ([epoch.objective for epoch in each.history] for each in (training, plain))
    np.testing.assert_allclose(*objectives, rtol=loss_tolerance)
    for replica in range(len(runs)):
        tensors = training.network.tensors(replica), plain.network.tensors(replica)
        assert_same_tensors(*tensors, tolerance)
    return training
