"""Mistakes made from Python: each is refused in one line, before anything is trained."""

import numpy as np
import pytest
from conftest import classification_data

from nkd import (
    MLP,
    Classification,
    Regression,
    Run,
    Settings,
    Training,
    UserError,
)

DATA = classification_data()
PROBLEM = Classification(DATA)
SETTINGS = Settings(epochs=2, batch_size=5, learning_rate=1e-3)
ROWS = len(DATA.x_train)


ONE_RUN = (Run(0),)


def train(sizes=(6, 5, 4), runs=ONE_RUN, backend=None, **options):
    Training(PROBLEM, sizes, runs, SETTINGS, backend=backend, **options).run()


MISTAKES = {
    "α above 1": lambda backend: Run(0, alpha=1.5, targets=np.zeros((ROWS, 4))),
    "α below 0": lambda backend: Run(0, alpha=-0.5),
    "T of 0": lambda backend: Run(0, temperature=0.0),
    "T beyond float32": lambda backend: Run(0, temperature=1e25),
    "a loss that there is not": lambda backend: train(
        runs=[Run(0, loss="fitted")], backend=backend
    ),
    "a parameter that the loss has not": lambda backend: train(
        runs=[Run(0, parameters={"beta": 2.0})], backend=backend
    ),
    "a loss for regression with classes": lambda backend: train(
        runs=[Run(0, loss="bounded")], backend=backend
    ),
    "a learning rate times 0": lambda backend: Run(0, learning_rate_factor=0.0),
    "no rows in a batch": lambda backend: Settings(1, 0, 0.1),
    "no epoch": lambda backend: Settings(0, 1, 0.1),
    "no run": lambda backend: train(runs=(), backend=backend),
    "other inputs than the data's": lambda backend: train((5, 5, 4), backend=backend),
    "other outputs than the data's": lambda backend: train((6, 5, 7), backend=backend),
    "an order with a row twice": lambda backend: train(
        backend=backend, orders=[np.zeros(ROWS, int)] * 2
    ),
    "an order of a row that is not there": lambda backend: train(
        backend=backend, orders=[np.arange(1, ROWS + 1)] * 2
    ),
    "an order too short": lambda backend: train(backend=backend, orders=[np.arange(3)] * 2),
    "one order for two epochs": lambda backend: train(backend=backend, orders=[np.arange(ROWS)]),
    "labels for a regression": lambda backend: Regression(DATA),
    "a seed that is no whole number": lambda backend: Run(0.5),
    "row numbers in place of booleans": lambda backend: Run(
        0, 0.5, targets=np.zeros((ROWS, 4)), labelled=np.arange(ROWS)
    ),
    "a transposed W": lambda backend: MLP((3, 2), backend=backend).set_tensors(
        0, {"dense1.W": np.zeros((2, 3))}
    ),
    "a tensor that is not there": lambda backend: MLP((3, 2), backend=backend).set_tensors(
        0, {"dense2.W": np.zeros((2, 3))}
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_refused_in_one_line(backend, mistake):
    with pytest.raises(UserError) as error:
        mistake(backend)
    assert "\n" not in str(error.value)


def test_more_orders_than_epochs_are_left_over(backend):
    train(backend=backend, orders=[np.arange(ROWS)] * 5)
