"""Numba's forms of the named operations and of the step: the same signatures and results."""

import inspect

import numpy as np
import pytest
from conftest import (
    assert_same_tensors,
    classification_data,
    regression_data,
    teacher_outputs,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from named_operations import ON_CPU, SCRATCH, TOLERANCE, arguments

from nkd.backend import NUMPY, choose
from nkd.distillation import Classification, Regression, pairs
from nkd.training import Settings, Step, Training

fused_cpu = pytest.importorskip("nkd.fused_cpu", reason="Numba is not installed")


@pytest.mark.parametrize("name", ON_CPU)
def test_a_compiled_operation_has_the_signature_of_the_plain_one(name):
    compiled = inspect.signature(getattr(fused_cpu, name).py_func)
    assert list(compiled.parameters) == list(inspect.signature(ON_CPU[name]).parameters)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ON_CPU)
@settings(max_examples=25)
@given(R=st.integers(1, 3), B=st.integers(1, 70), C=st.integers(1, 200), seed=st.integers(0, 10**6))
def test_a_compiled_operation_is_equal_to_the_plain_one(name, dtype, R, B, C, seed):
    plain = arguments(name, dtype, R, B, C, np.random.default_rng(seed))
    compiled = arguments(name, dtype, R, B, C, np.random.default_rng(seed))
    ON_CPU[name](np, *plain)
    getattr(fused_cpu, name)(None, *compiled)
    names = list(inspect.signature(ON_CPU[name]).parameters)[1:]
    for argument, expected, actual in zip(names, plain, compiled, strict=True):
        if isinstance(expected, np.ndarray) and argument not in SCRATCH:
            scale = np.abs(expected).max() + 1
            np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("stored", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_compiled_gather_is_equal_to_the_plain_one(stored, dtype):
    generator = np.random.default_rng(0)
    table = generator.integers(0, 256, (50, 7)).astype(stored)
    rows = generator.integers(0, 50, 20)
    plain, compiled = np.empty((20, 7), dtype), np.empty((20, 7), dtype)
    room = plain if stored == dtype else np.empty((20, 7), stored)
    NUMPY.gather(plain, table, rows, dtype(1 / 255), room)
    fused_cpu.gather(compiled, table, rows, dtype(1 / 255), room)
    np.testing.assert_array_equal(compiled, plain)


def test_not_a_number_stays_visible():
    h, b = np.empty((1, 1, 1, 3), np.float32), np.array([[[[np.nan, -1.0, 2.0]]]], np.float32)
    x, W = np.zeros((1, 1, 1), np.float32), np.zeros((1, 1, 1, 3), np.float32)
    fused_cpu.dense_forward(None, h, x, W, b, True)
    assert np.isnan(h[0, 0, 0, 0])
    assert h[0, 0, 0, 1:].tolist() == [0, 2]


@pytest.mark.parametrize("shared", [True, False], ids=["shared batches", "own batches"])
@pytest.mark.parametrize("replicas", [1, 2, 6])
@pytest.mark.parametrize("problem", ["classification", "regression"])
def test_the_compiled_steps_train_as_the_plain_step_in_one_thread_and_in_all(
    problem, replicas, shared
):
    rows, sizes = 330, (200, 120, 4)  # 3.8 million multiply-adds: several blocks
    if problem == "classification":
        problem = Classification(classification_data(rows, sizes[0], sizes[-1]))
    else:
        problem = Regression(regression_data(rows, sizes[0], sizes[-1]))
    runs = pairs(range((replicas + 1) // 2), 0.7, teacher_outputs(rows), 3.0)[:replicas]
    runs = runs if shared else [*runs[1:], runs[0]]
    options = Settings(epochs=2, batch_size=160, learning_rate=0.003, schedule="cosine")

    def train(backend):
        training = Training(problem, sizes, runs, options, dtype=np.float64, backend=backend).run()
        return training, [epoch.objective for epoch in training.history]

    plain, objectives = train(NUMPY)
    compiled, compiled_objectives = train(choose("numba"))
    assert isinstance(plain.step, Step)
    assert isinstance(compiled.step, fused_cpu.CompiledStep)
    np.testing.assert_allclose(compiled_objectives, objectives, rtol=1e-10)
    for replica in range(replicas):
        tensors = compiled.network.tensors(replica), plain.network.tensors(replica)
        assert_same_tensors(*tensors, 1e-8)
