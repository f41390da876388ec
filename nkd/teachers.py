"""Any teacher, in the form that a Student can use: outputs on its rows, and a function to ask.

A teacher is an estimator of scikit-learn's kind, a function, or an array. `Logits` and `Values` say
what becomes of its answers in a classification and in a regression.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.utils.validation import check_is_fitted

from nkd.errors import UserError
from nkd.losses import one_hot, softmax

FLOOR = 1e-3
"""What a probability is at least when its logarithm is taken, so that a teacher's 0 is not −∞."""

Method = Callable[[str], np.ndarray]
"""What the method of that name of an estimator answers about some rows."""


class Logits:
    """A classification: a teacher's answers become logits (N, C), one for each of the classes.

    Args:
        classes: the labels, sorted.
    """

    def __init__(self, classes: np.ndarray) -> None:
        self.classes, self.columns = classes, len(classes)

    def of_estimator(self, teacher: Any, classes: Any, method: Method) -> np.ndarray:
        """log p, from `predict_proba` if there is one; p is at least `FLOOR`.

        Else p is the softmax of `decision_function`, which is as sure as its scores are far apart,
        or, with `predict` alone, 1 for the label: how sure the teacher is, and which other class it
        thought of, is then lost. A class that the teacher does not know has the probability 0.

        Args:
            teacher: the estimator.
            classes: the labels that it knows, in its order.
            method: what it answers.
        """
        place = {label: number for number, label in enumerate(np.asarray(classes).tolist())}
        columns = [place.get(label, -1) for label in self.classes.tolist()]
        if max(columns) < 0:
            raise UserError(
                f"the teacher knows the classes {shown(classes)}, and y has {shown(self.classes)}"
            )
        if hasattr(teacher, "predict_proba"):
            p = np.asarray(method("predict_proba"))
        elif hasattr(teacher, "decision_function"):
            scores = np.asarray(method("decision_function"))
            p = softmax(scores if scores.ndim > 1 else np.stack([0 * scores, scores], axis=-1))
        else:
            labels = [place.get(label, -1) for label in np.asarray(method("predict")).tolist()]
            p = one_hot(np.array(labels), len(place))
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
        return not is_regressor(teacher)

    def folds(self, y: np.ndarray, number: int, seed: int) -> Any:
        """Folds of rows with all classes in proportion; no more than the largest class has rows."""
        number = min(number, int(np.unique(y, return_counts=True)[1].max()))
        return StratifiedKFold(number, shuffle=True, random_state=seed) if number > 1 else None


class Values:
    """A regression: a teacher's answers are values (N, O), in the unit of the targets.

    Args:
        columns: O.
    """

    def __init__(self, columns: int) -> None:
        self.columns = columns

    def of_estimator(self, teacher: Any, classes: Any, method: Method) -> np.ndarray:
        """What it predicts."""
        return self.of_array(np.asarray(method("predict")))

    def of_array(self, outputs: np.ndarray) -> np.ndarray:
        """The values as they are, in columns."""
        return outputs[:, None] if outputs.ndim == 1 else outputs

    def as_targets(self, outputs: np.ndarray) -> np.ndarray:
        """The values."""
        return outputs

    def suits(self, teacher: Any) -> bool:
        """Whether an estimator's answers are of this form."""
        return not is_classifier(teacher)

    def folds(self, y: np.ndarray, number: int, seed: int) -> Any:
        """Folds of rows drawn at random; no more than there are rows."""
        number = min(number, len(y))
        return KFold(number, shuffle=True, random_state=seed) if number > 1 else None


@dataclass(frozen=True, eq=False)
class Taught:
    """A teacher that has been heard.

    Args:
        teacher: the estimator, fitted; or the function or array as it was given.
        said: its outputs on the training rows: logits (N, C) or values (N, O).
        ask: gives its outputs on further rows; an array cannot be asked, which is a UserError.
    """

    teacher: Any
    said: np.ndarray
    ask: Callable[[Any], np.ndarray]


def taught(
    teacher: Any, X: Any, y: np.ndarray, form: Logits | Values, cross_fit: int, seed: int
) -> Taught:
    """Hear a teacher about the rows X, and fit it first if it is an estimator that is not fitted.

    An estimator that is fitted here has seen the rows' own labels, and what it says about them is
    too good. So it says nothing about a row that it has seen: with `cross_fit` K, K copies are
    fitted, each without a K-th of the rows, and heard about those (Dao, Kamath, Syrgkanis and
    Mackey 2021, arXiv:2104.09732). It is then fitted on all rows, for further rows.

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

    def checked(answer: Any, rows: int) -> np.ndarray:
        if answer.shape != (rows, form.columns) or not np.isfinite(answer).all():
            raise UserError(
                f"the teacher answered about {rows:,} rows with an array {answer.shape}; needed "
                f"are {(rows, form.columns)} numbers, all finite"
            )
        return answer

    if hasattr(teacher, "fit"):
        if not hasattr(teacher, "__sklearn_tags__"):
            raise UserError(
                f"teacher={type(teacher).__name__} is no estimator of scikit-learn: give a "
                "function of X that returns its outputs"
            )
        if not form.suits(teacher):
            raise UserError(
                f"teacher={type(teacher).__name__}: a classifier teaches a classifier, and a "
                "regressor a regressor"
            )
        fitted, folds = teacher, None
        if not is_fitted(teacher):
            teacher = seeded(teacher, seed)
            fitted, folds = clone(teacher).fit(X, y), form.folds(y, cross_fit, seed)

        def ask(rows: Any) -> np.ndarray:
            known = getattr(fitted, "classes_", getattr(form, "classes", None))
            method = lambda name: getattr(fitted, name)(rows)  # noqa: E731
            return checked(form.of_estimator(fitted, known, method), len(rows))

        if folds is None:
            return Taught(fitted, ask(X), ask)

        def unseen(name: str) -> np.ndarray:
            with small_classes():
                return cross_val_predict(teacher, X, y, cv=folds, method=name)

        said = form.of_estimator(teacher, getattr(form, "classes", None), unseen)
        return Taught(fitted, checked(said, len(X)), ask)

    def of_array(answer: Any, rows: int) -> np.ndarray:
        try:
            return checked(form.of_array(np.asarray(answer, np.float64)), rows)
        except (TypeError, ValueError) as error:
            raise UserError(str(error)) from None

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


@contextmanager
def small_classes() -> Iterator[None]:
    """Be silent about classes with fewer rows than folds: a fold's teacher may not know them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        warnings.filterwarnings("ignore", "Number of classes in training fold", RuntimeWarning)
        yield


def shown(classes: np.ndarray) -> str:
    """Some classes for a message."""
    texts = [str(each) for each in np.asarray(classes).tolist()]
    return ", ".join(texts[:5]) + ("…" if len(texts) > 5 else "")
