"""Shared by the engine's tests: the backends, small data sets, and how results are compared."""

import numpy as np
import pytest
from emulated_gpu import COMPILER, EmulatedBackend
from hypothesis import settings

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
