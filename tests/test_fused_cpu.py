"""Numba's forms of the named operations: the same signatures, the same results."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nkd import layers, losses, optimizers
from nkd.backend import NUMPY

fused_cpu = pytest.importorskip("nkd.fused_cpu", reason="Numba is not installed")

PLAIN = {
    operation.__name__: operation
    for operation in (
        layers.add_bias,
        layers.sum_rows,
        layers.relu,
        layers.relu_gradient,
        losses.distillation_step,
        losses.squared_error_step,
        optimizers.adam_update,
    )
}
TOLERANCE = {np.float32: 3e-5, np.float64: 1e-13}


def arguments(name, dtype, R, B, C, generator):
    """Random arguments of one operation, after xp, as the engine gives them."""

    def normal(*shape):
        return generator.normal(size=shape).astype(dtype)

    def of_flat(*shape):
        return normal(R, np.prod(shape) + 16)[:, : np.prod(shape)].reshape(R, *shape)

    z, column = normal(R, B, C), normal(R, B, 1)
    alpha, T = generator.uniform(0, 1, (R, 1, 1)), generator.uniform(0.5, 20, (R, 1, 1))
    w, v = normal(R, C), normal(R, C) ** 2
    return {
        "add_bias": (z, of_flat(1, C)),
        "sum_rows": (z, of_flat(1, C)),
        "relu": (z,),
        "relu_gradient": (z, normal(R, B, C), np.empty((R, B, C), bool)),
        "distillation_step": (
            3 * z, normal(R, B, C), alpha.astype(dtype), T.astype(dtype), normal(R),
            normal(R, B, C), normal(R, B, C), normal(R, B, C), column, column.copy(),
        ),
        "squared_error_step": (z, normal(R, B, C), normal(R), normal(R, B, C)),
        "adam_update": (
            w, normal(R, C), normal(R, C), v, 0.9, 0.999, np.full((R, 1), 0.1, dtype), 1e-3,
            np.empty_like(w),
        ),
    }[name]  # fmt: skip


# What an operation may leave as it likes: room for intermediate results.
SCRATCH = {"positive", "soft", "u", "column", "factor", "work", "g"}


@pytest.mark.parametrize("name", PLAIN)
def test_a_compiled_operation_has_the_signature_of_the_plain_one(name):
    compiled = inspect.signature(getattr(fused_cpu, name).py_func)
    assert list(compiled.parameters) == list(inspect.signature(PLAIN[name]).parameters)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", PLAIN)
@settings(max_examples=25)
@given(R=st.integers(1, 3), B=st.integers(1, 70), C=st.integers(1, 40), seed=st.integers(0, 10**6))
def test_a_compiled_operation_is_equal_to_the_plain_one(name, dtype, R, B, C, seed):
    plain = arguments(name, dtype, R, B, C, np.random.default_rng(seed))
    compiled = arguments(name, dtype, R, B, C, np.random.default_rng(seed))
    PLAIN[name](np, *plain)
    getattr(fused_cpu, name)(None, *compiled)
    names = list(inspect.signature(PLAIN[name]).parameters)[1:]
    for argument, expected, actual in zip(names, plain, compiled, strict=True):
        if argument not in SCRATCH:
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
    NUMPY.gather(table, rows, dtype(1 / 255), room, plain)
    fused_cpu.gather(table, rows, dtype(1 / 255), room, compiled)
    np.testing.assert_array_equal(compiled, plain)


def test_not_a_number_stays_visible():
    z = np.array([[[np.nan, -1.0, 2.0]]], np.float32)
    fused_cpu.relu(None, z)
    assert np.isnan(z[0, 0, 0])
    assert z[0, 0, 1:].tolist() == [0, 2]
