"""The memory of a training, as predicted, against what Python's allocator counted."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from conftest import classification_data, regression_data, teacher_outputs

import nkd
from nkd import Classification, Regression, Settings, Training
from nkd.memory import bytes_of_training

ROWS = 4000


def measured(problem, sizes, runs, settings, dtype):
    """The peak of a whole training, from its making to its last metric."""
    tracemalloc.start()
    try:
        Training(problem, sizes, runs, settings, dtype=dtype).run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("kind", "hidden", "batch_size", "dtype", "shared", "loss", "outputs"),
    [
        ("classification", (40, 30), 64, np.float32, True, "blend", 8),
        ("classification", (40, 30), 2000, np.float64, False, "blend", 8),
        ("classification", (500, 300), 500, np.float32, True, "blend", 8),
        ("regression", (50, 20), 64, np.float32, True, "blend", 8),
        ("regression", (), 32, np.float64, False, "blend", 8),
        ("regression", (8, 4), 2000, np.float64, True, "bounded", 1),
    ],
)
def test_a_training_takes_what_was_predicted(
    kind, hidden, batch_size, dtype, shared, loss, outputs
):
    inputs = 60
    if kind == "classification":
        data = classification_data(ROWS, inputs, outputs)
    else:
        data = regression_data(ROWS, inputs, outputs)
    problem = (Classification if kind == "classification" else Regression)(data)
    sizes, seeds = (inputs, *hidden, outputs), range(3)
    runs = nkd.pairs(seeds, 0.5, teacher_outputs(ROWS, outputs), 2.0, loss)
    runs = runs if shared else runs[::-1][1:]
    average = 1 if shared else 0
    data = dataclasses.replace(data, feature_bound=1.0 if kind == "regression" and shared else None)
    problem = type(problem)(data)
    settings = Settings(2, batch_size, learning_rate=0.001, average=average)
    predicted = bytes_of_training(problem, sizes, runs, settings, dtype=dtype)
    taken = measured(problem, sizes, runs, settings, dtype)
    assert 0.99 * taken <= predicted <= 1.05 * taken


@pytest.mark.parametrize("pixels", [1, 3])
@pytest.mark.parametrize("asked", [True, False], ids=["asked", "answers given"])
@pytest.mark.parametrize("hidden", [(20,), (300, 200)])
def test_moved_images_and_answers_about_them_are_counted(hidden, pixels, asked):
    data = dataclasses.replace(classification_data(ROWS, 64, 8), image_shape=(8, 8))
    said = np.random.default_rng(0).normal(size=((2 * pixels + 1) ** 2, ROWS, 8))
    targets = [(lambda x: x[:, :8]) if asked else said.astype(np.float32)]
    runs, settings = nkd.pairs(range(3), 0.5, targets, 2.0), Settings(2, 64, 0.001, jitter=pixels)
    arguments = Classification(data), (64, *hidden, 8), runs, settings
    predicted = bytes_of_training(*arguments)
    taken = measured(*arguments, np.float32)
    assert 0.95 * taken <= predicted <= 1.05 * taken
