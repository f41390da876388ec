"""Any teacher, in the form that a Student can use: outputs on its rows, and a function to ask.

A teacher is an estimator of scikit-learn's kind, a function, or an array. `Logits` and `Values` say
what becomes of its answers in a classification and in a regression.
"""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from nkd.arrays import check_finite, numbers
from nkd.errors import UserError
from nkd.losses import one_hot, softmax

FLOOR = 1e-3
"""What a probability is at least when its logarithm is taken, so that a teacher's 0 is not −∞."""

Folds = list[tuple[np.ndarray, np.ndarray]]
"""For each fold the numbers of the other rows, and of its own."""


class Logits:
    """A classification: a teacher's answers become logits (N, C), one for each of the classes.

    Args:
        classes: the labels, sorted.
    """

    def __init__(self, classes: np.ndarray) -> None:
        self.classes, self.columns = classes, len(classes)

    def of_estimator(self, teacher: Any, rows: Any) -> np.ndarray:
        """log p, from `predict_proba` if there is one; p is at least `FLOOR`.

        Else p is the softmax of `decision_function`, which is as sure as its scores are far apart,
        or, with `predict` alone, 1 for the label: how sure the teacher is, and which other class it
        thought of, is then lost. A class that the teacher does not know has the probability 0.
        """
        classes = np.asarray(getattr(teacher, "classes_", self.classes)).tolist()
        place = {label: number for number, label in enumerate(classes)}
        columns = [place.get(label, -1) for label in self.classes.tolist()]
        if max(columns) < 0:
            raise UserError(f"the teacher knows {shown(classes)}, and y has {shown(self.classes)}")
        if hasattr(teacher, "predict_proba"):
            p = np.asarray(teacher.predict_proba(rows))
        elif hasattr(teacher, "decision_function"):
            scores = np.asarray(teacher.decision_function(rows))
            check_scores(scores, classes, teacher, rows)
            p = softmax(scores if scores.ndim > 1 else np.stack([0 * scores, scores], axis=-1))
        else:
            labels = np.asarray(teacher.predict(rows)).tolist()
            unknown = sorted(set(labels) - set(place), key=str)
            if unknown:
                raise UserError(f"the teacher says {shown(unknown)}, and y has {shown(classes)}")
            p = one_hot(np.array([place[label] for label in labels]), len(place))
        if p.ndim != 2 or p.shape[1] != len(place):
            raise UserError(
                f"the teacher answered with an array {p.shape}; it knows {len(place)} classes"
            )
        known = np.concatenate([p, np.zeros((len(p), 1))], axis=1)[:, columns]
        return np.log(np.maximum(known, FLOOR))

    def of_array(self, outputs: np.ndarray) -> np.ndarray:
        """Logits as they are; log p of probabilities, which are rows of numbers ≥ 0 with sum 1."""
        if outputs.size and outputs.min() >= 0 and np.allclose(outputs.sum(axis=-1), 1, atol=1e-3):
            return np.log(np.maximum(outputs, FLOOR))
        return outputs

    def as_targets(self, outputs: np.ndarray) -> np.ndarray:
        """The numbers of the classes that the teacher would choose, (N,)."""
        return outputs.argmax(axis=-1)

    def suits(self, teacher: Any) -> bool:
        """Whether an estimator's answers are of this form."""
        return get_tags(teacher).estimator_type in ("classifier", None)

    def folds(self, y: np.ndarray, number: int, seed: int) -> Folds:
        """Folds with all classes in proportion; no more than the largest class has rows."""
        number = min(number, int(np.unique(y, return_counts=True)[1].max()))
        if number < 2:
            return []
        folds = StratifiedKFold(number, shuffle=True, random_state=seed)
        with warnings.catch_warnings():  # a class may have fewer rows than there are folds
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            return list(folds.split(y, y))


class Values:
    """A regression: a teacher's answers are values (N, O), in the unit of the targets.

    Args:
        columns: O.
    """

    def __init__(self, columns: int) -> None:
        self.columns = columns

    def of_estimator(self, teacher: Any, rows: Any) -> np.ndarray:
        """What it predicts."""
        return self.of_array(np.asarray(teacher.predict(rows)))

    def of_array(self, outputs: np.ndarray) -> np.ndarray:
        """The values as they are, in columns."""
        return outputs[:, None] if outputs.ndim == 1 else outputs

    def as_targets(self, outputs: np.ndarray) -> np.ndarray:
        """The values."""
        return outputs

    def suits(self, teacher: Any) -> bool:
        """Whether an estimator's answers are of this form."""
        return get_tags(teacher).estimator_type in ("regressor", None)

    def folds(self, y: np.ndarray, number: int, seed: int) -> Folds:
        """Folds drawn at random; no more than there are rows."""
        number = min(number, len(y))
        if number < 2:
            return []
        return list(KFold(number, shuffle=True, random_state=seed).split(y))


@dataclass(frozen=True, eq=False)
class Taught:
    """A teacher that has been heard.

    Args:
        teacher: the estimator, fitted; or the function or array as it was given.
        said: its outputs on the training rows: logits (N, C) or values (N, O).
        ask: gives its outputs on further rows; an array cannot be asked, which is a UserError.
        fitted_here: whether it was fitted on these rows, and so has not seen any others.
    """

    teacher: Any
    said: np.ndarray
    ask: Callable[[Any], np.ndarray]
    fitted_here: bool = False


def taught(
    teacher: Any, X: Any, y: np.ndarray, form: Logits | Values, cross_fit: int, seed: int
) -> Taught:
    """Hear a teacher about the rows X, and fit it first if it is an estimator that is not fitted.

    An estimator that is fitted here has seen the rows' own labels, and what it says about them is
    too good. With `cross_fit` K it says nothing about a row that it has seen: K copies are fitted,
    each without a K-th of the rows, and heard about those (Dao, Kamath, Syrgkanis and Mackey 2021,
    arXiv:2104.09732). For further rows, one is fitted on all.

    Args:
        teacher: an estimator, which is used as it is if it is fitted, and cloned if not; a function
            of X; or an array of outputs on these rows.
        X, y: the rows, and what an estimator learns.
        form: of the answers.
        cross_fit: K; less than 2 for none.
        seed: of the folds, and of an estimator that is fitted here and has no seed of its own.

    Raises:
        UserError: it cannot be a teacher here, or its answer has the wrong shape or is not finite.
    """

    def checked(answer: np.ndarray, rows: int) -> np.ndarray:
        if answer.shape != (rows, form.columns):
            raise UserError(
                f"the teacher answered about {rows:,} rows with an array {answer.shape}; needed is "
                f"one {(rows, form.columns)}"
            )
        check_finite(answer, "the teacher's answer")
        return answer

    if hasattr(teacher, "fit"):
        check_estimator(teacher, form)

        def heard(estimator: Any, rows: Any) -> np.ndarray:
            return checked(form.of_estimator(estimator, rows), len(rows))

        if is_fitted(teacher):
            return Taught(teacher, heard(teacher, X), partial(heard, teacher))
        new = seeded(teacher, seed)
        fitted, folds = clone(new).fit(X, y), form.folds(y, cross_fit, seed)
        said = np.empty((len(X), form.columns)) if folds else heard(fitted, X)
        for others, part in folds:
            one = clone(new).fit(some_rows(X, others), y[others])
            said[part] = heard(one, some_rows(X, part))
        return Taught(fitted, said, partial(heard, fitted), fitted_here=True)

    def of_array(answer: Any, rows: int) -> np.ndarray:
        return checked(form.of_array(numbers(answer, "the teacher's answer")), rows)

    if callable(teacher):

        def ask_function(rows: Any) -> np.ndarray:
            return of_array(teacher(rows), len(rows))

        return Taught(teacher, ask_function(X), ask_function)

    def refuse(rows: Any) -> NoReturn:
        raise UserError(
            "a teacher that is an array cannot be asked about more rows: give a function, or an "
            "estimator"
        )

    return Taught(teacher, of_array(teacher, len(X)), refuse)


def some_rows(table: Any, which: np.ndarray) -> Any:
    """Some rows of a data frame or an array, by their numbers."""
    return table.iloc[which] if hasattr(table, "iloc") else table[which]


def check_estimator(teacher: Any, form: Logits | Values) -> None:
    """Refuse an object that has a method `fit`, but is no estimator of the right kind."""
    if not hasattr(teacher, "__sklearn_tags__") or not hasattr(teacher, "predict"):
        raise UserError(
            f"teacher={type(teacher).__name__} is no estimator of scikit-learn that predicts: "
            "give a function of X that returns its outputs"
        )
    if not form.suits(teacher):
        raise UserError(
            f"teacher={type(teacher).__name__}: a classifier teaches a classifier, and a regressor "
            "a regressor"
        )


def check_scores(scores: np.ndarray, classes: list[Any], teacher: Any, rows: Any) -> None:
    """Refuse scores (N, C) that are not one for each class, as those of pairs of classes are."""
    if scores.ndim > 1 and scores.shape[1] == len(classes) and len(scores):
        best = np.asarray(classes)[scores.argmax(axis=-1)]
        if np.mean(best == np.asarray(teacher.predict(rows))) < 0.5:
            raise UserError(
                f"the scores of teacher={type(teacher).__name__} (decision_function) are not one "
                "for each class: give it decision_function_shape='ovr', or its predict as a teacher"
            )


def seeded(estimator: Any, seed: int) -> Any:
    """A copy, not fitted, in which each `random_state` that is None is the seed."""
    none = {
        name: seed
        for name, value in estimator.get_params().items()
        if value is None and name.rpartition("__")[2] == "random_state"
    }
    return clone(estimator).set_params(**none)


def is_fitted(estimator: Any) -> bool:
    """Whether it has been fitted, as far as scikit-learn can tell."""
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True


def shown(classes: Iterable[Any]) -> str:
    """Some classes for a message."""
    texts = [repr(each) for each in np.asarray(list(classes)).tolist()]
    return f"the classes {', '.join(texts[:5])}" + ("…" if len(texts) > 5 else "")
