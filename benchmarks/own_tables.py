"""The data sets and the teachers of docs/own-models.md."""

from collections.abc import Callable

import numpy as np
from sklearn import datasets
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.model_selection import train_test_split

from nkd.data import Dataset, load

TEST = 0.25
"""The share of the rows that only the final table sees."""


def shipped(make: Callable) -> Callable[[str | None], tuple[np.ndarray, ...]]:
    """A data set of scikit-learn's, split once: rows and targets to train on, and to test on."""

    def parts(data_dir: str | None) -> tuple[np.ndarray, ...]:
        x, y = make(return_X_y=True)
        x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=TEST, random_state=0)
        return x_train, y_train, x_test, y_test

    return parts


def real(task: str, name: str) -> Callable[[str | None], tuple[np.ndarray, ...]]:
    """One of nkd's own data sets, with its own split, in raw units."""

    def parts(data_dir: str | None) -> tuple[np.ndarray, ...]:
        data = load(task, name, data_dir)
        y_train, y_test = (y.reshape(len(y)) for y in (data.y_train, data.y_test))
        return raw(data, data.x_train), y_train, raw(data, data.x_test), y_test

    return parts


def raw(data: Dataset, x: np.ndarray) -> np.ndarray:
    """Rows of a data set as they were measured."""
    if data.feature_mean is None or data.feature_deviation is None:
        return x
    return x * data.feature_deviation + data.feature_mean


CLASSES = {
    "breast cancer": shipped(datasets.load_breast_cancer),
    "wine": shipped(datasets.load_wine),
    "digits": shipped(datasets.load_digits),
    "MNIST": real("classification", "mnist"),
}
NUMBERS = {
    "diabetes": shipped(datasets.load_diabetes),
    "California Housing": real("regression", "california"),
}
TREES = {True: HistGradientBoostingClassifier, False: HistGradientBoostingRegressor}
FOREST = {True: RandomForestClassifier, False: RandomForestRegressor}
