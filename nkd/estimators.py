"""Distillation in scikit-learn's way: any teacher, your own table, and a small network.

    student = DistilledRegressor(teacher=HistGradientBoostingRegressor(), random_state=0)
    student.fit(X, y).score(X_test, y_test)

A thin room above `nkd.training.Training`: rows and a teacher's answers are brought into the form
that it takes, and the mathematics is there.
"""

import copy
import dataclasses
import json
import math
import numbers
import os
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from nkd import files
from nkd.arrays import numbers as numbers_of
from nkd.backend import choose
from nkd.checkpoint import definition_of, digest_of
from nkd.data import Dataset, standardise
from nkd.distillation import Classification, Problem, Regression, Run, TeacherOutputs
from nkd.errors import UserError
from nkd.invented_rows import invented_rows
from nkd.losses import softmax
from nkd.model import Model
from nkd.random_streams import LARGEST_SEED
from nkd.recipes import TABLES, Recipe
from nkd.report.divergence import divergence
from nkd.report.results import Contender, Results
from nkd.report.screen import Screen
from nkd.report.view import view_of
from nkd.teachers import Logits, Values, shown, some_rows, taught
from nkd.training import Settings, Training
from nkd.work import Work

HELD_OUT = 0.2
"""The share of the rows on which Students and Persons are compared."""

NEVER = 1e30
"""The deviation of a feature that was the same in all rows: any later value counts as 0."""

TEACHER_LAYERS = (256, 128, 64)
"""Hidden units of the teacher that is a network of nkd's own."""

WORK: ContextVar[Work | None] = ContextVar("work", default=None)
"""What trains and keeps the networks of all estimators, those in folds included; None: nothing."""


@dataclass(frozen=True, eq=False)
class AgainstPerson:
    """N Students against N Persons, on rows that no network had trained on.

    Args:
        measure: what is compared, where less is better: "errors", a count, or "rmse".
        teacher: the teacher's value.
        student, person: the values of each pair, (N,); NaN of a network that diverged.
        difference: the mean of Student − Person over the pairs that are there; NaN if none is.
        interval: its 95 % interval; None for a single pair.
        verdict: "better", "worse", "not distinguishable" or "none".
        sentence: all of it in words that claim no more than the numbers allow.
    """

    measure: str
    teacher: float
    student: np.ndarray
    person: np.ndarray
    difference: float
    interval: tuple[float, float] | None
    verdict: str
    sentence: str

    @classmethod
    def of(cls, results: Results) -> "AgainstPerson":
        """What these results say."""
        name, found = results.view.decisive.name, results.difference
        teacher, student, person = (results.final(who)[name] for who in results.networks)
        interval = None
        if found.low is not None and found.high is not None:
            interval = found.low, found.high
        return cls(
            name,
            float(teacher[0]),
            student,
            person,
            found.mean,
            interval,
            found.verdict,
            results.sentence(),
        )


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a table, and what is to be learned about them.

    Args:
        table: the rows as they were given, for the teacher: a data frame, or numbers.
        x: (N, I) the same as numbers, for the network.
        y: what a teacher learns: as it was given.
        targets: what the network learns: labels 0 … C−1 (N,), or numbers (N, O).
        said: the teacher's outputs, if they were given as an array.
    """

    table: Any
    x: np.ndarray
    y: np.ndarray
    targets: np.ndarray
    said: np.ndarray | None = None

    def some(self, which: np.ndarray) -> "Rows":
        """Some of the rows, by their numbers."""
        said = None if self.said is None else self.said[which]
        table = some_rows(self.table, which)
        return Rows(table, self.x[which], self.y[which], self.targets[which], said)

    def further(self, x: np.ndarray) -> Any:
        """Other rows (M, I), in the form in which these were given."""
        if hasattr(self.table, "iloc"):
            return type(self.table)(x, columns=self.table.columns)
        return x


@dataclass(frozen=True, eq=False)
class Prepared:
    """What Students and Persons learn, and how.

    Args:
        student: the problem with the real rows, and below them the invented ones.
        person: the problem with the real rows alone; the same object if none was invented.
        run: a Student's run.
        settings: a Student's.
        teacher: the estimator, fitted, or what was given; None if nothing is learned from one.
        said: its outputs on the test rows, as the network's are; None if there is no teacher.
        fitted_here: whether the teacher was fitted on these rows, and so has seen no others.
    """

    student: Problem
    person: Problem
    run: Run
    settings: Settings
    teacher: Any
    said: np.ndarray | None
    fitted_here: bool

    def alone(self) -> Settings:
        """A Person's settings: with as many steps as a Student takes."""
        rows, own = (len(each.data.x_train) for each in (self.student, self.person))
        steps = self.settings.epochs * math.ceil(rows / self.settings.batch_size)
        return self.settings.lasting(round(steps / math.ceil(own / self.settings.batch_size)))


class Distilled(BaseEstimator):
    """What `DistilledClassifier` and `DistilledRegressor` share."""

    kind: type[Classification] | type[Regression]
    default_folds: int

    def __init__(
        self,
        teacher: Any = None,
        *,
        hidden_layer_sizes: Sequence[int] = (16, 8),
        alpha: float | None = None,
        temperature: float | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        recipe: str = "tuned",
        cross_fit: int | None = None,
        invented_rows: float = 0.0,
        compare: int = 0,
        backend: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.teacher = teacher
        self.hidden_layer_sizes = hidden_layer_sizes
        self.alpha = alpha
        self.temperature = temperature
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.recipe = recipe
        self.cross_fit = cross_fit
        self.invented_rows = invented_rows
        self.compare = compare
        self.backend = backend
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> Any:
        """Train the Student on all rows, and before that the teacher, if it is not fitted yet.

        Args:
            X: (N, I) numbers.
            y: labels of any kind (N,), or numbers (N,) or (N, O).

        Returns:
            This estimator, with `model_` (see `nkd.model.Model`), `teacher_`, `n_iter_` (epochs),
            and with `compare=N` also `comparison_` (see `AgainstPerson`).

        Raises:
            UserError: a parameter makes no sense, or the teacher's answers do not fit. It is a
                ValueError, as is what scikit-learn raises for rows that make no sense.
        """
        self._check(self.compare)
        for name in ("comparison_", "_results"):  # of an earlier fit
            self.__dict__.pop(name, None)
        rows, seed = self._rows(X, y), self._seed()
        prepared = self._prepare(rows, seed)
        run = dataclasses.replace(prepared.run, seed=seed)
        what = "student" if run.alpha else "network"  # such as the teacher of nkd's own
        training = self._train(prepared.student, [run], prepared.settings, what)
        self.teacher_, self.n_iter_ = prepared.teacher, training.settings.epochs
        self.model_ = Model.of(training, 0, **self._names())
        if self.compare:
            self._results = self._compare(rows, seed, int(self.compare), "your data")
            self.comparison_ = AgainstPerson.of(self._results)
        return self

    def against_person(
        self,
        X: Any,
        y: Any,
        pairs: int = 5,
        test: tuple[Any, Any] | None = None,
        title: str = "your data",
    ) -> Results:
        """Train pairs of Student and Person, and compare them on rows that they have not seen.

        These are `test`, or else a fifth of the given rows, on which then nothing is trained and
        no teacher fitted; but one that was given fitted may have seen them, which the results say.
        The Persons train for as many steps as the Students. This estimator stays as it is.

        Args:
            X, y: as for `fit`.
            pairs: how many, with seeds from the Student's on.
            test: rows of your own to compare on, and their y.
            title: of the data.
        """
        if not isinstance(pairs, numbers.Integral) or pairs < 1:
            raise UserError(f"pairs={pairs!r}: give a whole number from 1 on")
        trial = copy.copy(self)  # what `fit` learned of X and y is not touched
        trial._check(int(pairs))
        rows, seed = trial._rows(X, y), trial._seed()
        return trial._compare(rows, seed, pairs, title, test and trial._rows(*test, new=False))

    def report(self, path: str | os.PathLike) -> None:
        """Write the page that the experiments write: the comparison, its verdict first.

        Raises:
            UserError: nothing was compared, or the file cannot be written.
        """
        from nkd.report.page import report_html

        check_is_fitted(self)
        if getattr(self, "_results", None) is None:
            raise UserError(
                "there is no comparison to report: fit with compare=5, say, and report before the "
                "estimator is pickled"
            )
        files.write(Path(path), report_html(self._results, {"estimator": repr(self)}))

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the trainings behind `report`."""
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_results"}

    def _outputs(self, X: Any) -> np.ndarray:
        """The network's outputs, in float64: a row's are the same in any company, to 1e-12."""
        check_is_fitted(self)
        x = validate_data(self, X, dtype=np.float64, reset=False)
        return self.model_.outputs(x, np.float64)

    # What differs between classes and numbers

    def _targets(self, y: np.ndarray, new: bool) -> np.ndarray:
        """What the network learns for y: labels 0 … C−1 (N,), or numbers (N, O)."""
        raise NotImplementedError

    def _form(self, targets: np.ndarray) -> Logits | Values:
        """The form of a teacher's answers."""
        raise NotImplementedError

    def _about(self, targets: np.ndarray) -> dict[str, Any]:
        """What a `Dataset` says about its targets."""
        raise NotImplementedError

    # How a Student is made

    def _check(self, pairs: int) -> None:
        """Refuse parameters that make no sense, and a comparison of pairs without a teacher."""
        if self.recipe not in TABLES[self.kind.task]:
            names = ", ".join(TABLES[self.kind.task])
            raise UserError(f"recipe={self.recipe!r}: choose one of {names}")
        for name, least in {"epochs": 1, "batch_size": 1, "cross_fit": 0, "compare": 0}.items():
            value = getattr(self, name)
            if value is None and name != "compare":
                continue  # the default, or as in the recipe
            if not isinstance(value, numbers.Integral) or value < least:
                raise UserError(f"{name}={value!r}: give a whole number from {least} on")
        for name in ("alpha", "temperature", "learning_rate", "invented_rows"):
            value = getattr(self, name)
            if not isinstance(0.0 if value is None else value, numbers.Real):
                raise UserError(f"{name}={value!r}: give a number")
        if self.invented_rows is None or not 0 <= self.invented_rows < math.inf:
            raise UserError(f"invented_rows={self.invented_rows!r}: give a number from 0 on")
        self._hidden()
        recipe = self._recipe()
        Run(0, recipe.alpha, recipe.temperature, targets=())
        self._settings(recipe)
        if pairs and not (recipe.alpha or self.invented_rows):
            raise UserError("compare: with alpha=0 there is no teacher to compare without")

    def _hidden(self) -> list[int]:
        """The Student's hidden units."""
        units = np.atleast_1d(np.asarray(self.hidden_layer_sizes))
        if units.ndim > 1 or (units.size and (units.dtype.kind not in "iu" or units.min() < 1)):
            raise UserError(
                f"hidden_layer_sizes={self.hidden_layer_sizes!r}: give whole numbers from 1 on"
            )
        return units.astype(int).tolist()

    def _recipe(self) -> Recipe:
        """The recipe, with the Student's α and T if they are given."""
        recipe = TABLES[self.kind.task][self.recipe]
        return dataclasses.replace(recipe, **self._given("alpha", "temperature"))

    def _settings(self, recipe: Recipe) -> Settings:
        """How a network is trained: as in the recipe, where nothing else is given."""
        settings = recipe.student.lasting(self.epochs or recipe.student.epochs)
        return dataclasses.replace(settings, **self._given("batch_size", "learning_rate"))

    def _given(self, *names: str) -> dict[str, Any]:
        """Those of these parameters that were given."""
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def _rows(self, X: Any, y: Any, new: bool = True) -> Rows:
        """The rows, checked.

        Args:
            new: whether they say what X and y are like, or must be like those that did.
        """
        of_numbers = self.kind is Regression
        options = {"dtype": np.float64, "multi_output": of_numbers, "y_numeric": of_numbers}
        if hasattr(X, "select_dtypes"):
            texts = X.select_dtypes(exclude=["number", "bool"]).columns
            if len(texts):
                raise UserError(
                    f"column {texts[0]!r} of X holds no numbers: encode it first, for example by a "
                    "ColumnTransformer before the Student in a Pipeline"
                )
        x, y = validate_data(self, X, y, reset=new, **options)
        said, array = None, not (hasattr(self.teacher, "fit") or callable(self.teacher))
        if self.teacher is not None and array and new:
            if isinstance(self.teacher, str | dict):
                raise UserError(
                    f"teacher={self.teacher!r}: give an estimator, a function of X, or an array"
                )
            said = numbers_of(self.teacher, "teacher=…")
            if said.shape[:1] != (len(x),):
                raise UserError(f"teacher: an array {said.shape} for {len(x):,} rows")
        return Rows(X if hasattr(X, "iloc") else x, x, y, self._targets(y, new), said)

    def _seed(self) -> int:
        """The Student's seed: `random_state` if that is a number, else drawn by it."""
        state = self.random_state
        if not isinstance(state, numbers.Integral):
            return int(check_random_state(state).randint(2**31))
        if not 0 <= int(state) <= LARGEST_SEED:
            raise UserError(f"random_state={state}: give a number from 0 to {LARGEST_SEED:,}")
        return int(state)

    def _names(self) -> dict[str, Any]:
        """What the model's outputs and inputs are called."""
        names = {"classes": "classes_", "features": "feature_names_in_"}
        return {
            name: getattr(self, attribute).tolist()
            for name, attribute in names.items()
            if hasattr(self, attribute)
        }

    def _train(
        self, problem: Problem, runs: Sequence[Run], settings: Settings, what: str
    ) -> Training:
        """Train networks of the Student's size."""
        sizes = [problem.data.x_train.shape[1], *self._hidden(), problem.outputs]
        training = Training(problem, sizes, runs, settings, backend=choose(self.backend))
        screen, work = Screen(quiet=not self.verbose), WORK.get()
        show = partial(screen.train_quietly, what=what)
        if work is None:
            show(training)
        else:  # folds train under the same name, on other rows
            definition = definition_of(training, training.backend)
            work.train(f"{what}-{digest_of(json.dumps(definition))[:12]}", training, show)
        screen.advise(divergence(training.runs, training.diverged, settings))
        return training

    def _teacher(self, recipe: Recipe, seed: int) -> Any:
        """The teacher that was given, or else a large network that learns without one."""
        if self.teacher is not None:
            return self.teacher
        own = recipe.teacher
        return type(self)(
            hidden_layer_sizes=TEACHER_LAYERS,
            alpha=0.0,
            epochs=own.epochs,
            batch_size=own.batch_size,
            learning_rate=own.learning_rate,
            recipe=self.recipe,
            backend=self.backend,
            random_state=seed,
            verbose=self.verbose,
        )

    def _prepare(
        self, rows: Rows, seed: int, test: Rows | None = None, title: str = "your data"
    ) -> Prepared:
        """What is learned from these rows, by way of the teacher.

        Args:
            test: rows to measure on; by default, where nothing is measured, one of the others.
            title: of the data.
        """
        recipe, form = self._recipe(), self._form(rows.targets)
        measured, test = test is not None, test or rows.some(np.arange(1))
        about = self._about(rows.targets)

        def stored(values: np.ndarray) -> np.ndarray:
            """Targets or outputs as the data set has them."""
            mean, deviation = about.get("target_mean"), about.get("target_deviation")
            return values if mean is None else ((values - mean) / deviation).astype(np.float32)

        new, new_targets = rows.x[:0], rows.targets[:0]
        run, teacher, said_of_test, fitted_here = Run(0), None, None, True
        if recipe.alpha or self.invented_rows:
            own = self._teacher(recipe, seed) if rows.said is None else rows.said
            folds = self.default_folds if self.cross_fit is None else self.cross_fit
            heard = taught(own, rows.table, rows.y, form, folds, seed)
            teacher, said, fitted_here = heard.teacher, heard.said, heard.fitted_here
            labelled = None
            new = invented_rows(rows.x, self.invented_rows, seed)
            if len(new):
                more = heard.ask(rows.further(new))
                said, new_targets = np.concatenate([said, more]), form.as_targets(more)
                labelled = np.arange(len(said)) < len(rows.x)
            run = Run(0, recipe.alpha, recipe.temperature, stored(said), labelled=labelled)
            if measured:
                said = heard.ask(test.table) if test.said is None else form.of_array(test.said)
                said_of_test = stored(said)

        x, others, mean, deviation = standardise(rows.x, np.concatenate([new, test.x]))
        # A feature that is constant has weights that nothing has trained: it must stay 0.
        constant = (rows.x == rows.x[0]).all(axis=0)
        others[:, constant], deviation[constant] = 0, NEVER
        data = Dataset(
            "table",
            title,
            x_train=x,
            y_train=stored(rows.targets),
            x_test=others[len(new) :],
            y_test=stored(test.targets),
            feature_mean=mean,
            feature_deviation=deviation,
            feature_bound=recipe.feature_bound,
            **about,
        )
        person = student = self.kind(data)
        if len(new):
            x = np.concatenate([x, others[: len(new)]])
            y = np.concatenate([data.y_train, stored(new_targets)])
            student = self.kind(dataclasses.replace(data, x_train=x, y_train=y))
        settings = self._settings(recipe)
        return Prepared(student, person, run, settings, teacher, said_of_test, fitted_here)

    def _compare(
        self, rows: Rows, seed: int, pairs: int, title: str, test: Rows | None = None
    ) -> Results:
        """Train pairs, and compare them on the test rows, or on rows that are held out for that."""
        own = test is not None
        if test is None:
            folds = self._form(rows.targets).folds(rows.targets, round(1 / HELD_OUT), seed)
            if not folds:
                raise UserError(f"compare: {len(rows.x)} row(s) are too few to hold some out")
            others, held_out = folds[0]
            rows, test = rows.some(others), rows.some(held_out)
        prepared = self._prepare(rows, seed, test, title)
        assert prepared.said is not None  # `_check` has seen to it that there is a teacher
        seen = "The teacher was given as it is: if it has seen these rows, this says little."
        note = "" if own or prepared.fitted_here else seen
        seeds = [(seed + number) % (LARGEST_SEED + 1) for number in range(pairs)]
        students = [dataclasses.replace(prepared.run, seed=each) for each in seeds]
        persons = [Run(each) for each in seeds]

        def train(problem: Problem, runs: list[Run], settings: Settings) -> Training:
            shown = dataclasses.replace(settings, report_every=max(1, settings.epochs // 20))
            return self._train(problem, runs, shown, "comparison")

        first, second = range(pairs), range(pairs, 2 * pairs)
        if prepared.student is prepared.person:
            both = train(prepared.student, students + persons, prepared.settings)
            student, person = Contender.of(both, first, second)
        else:
            (student,) = Contender.of(train(prepared.student, students, prepared.settings), first)
            (person,) = Contender.of(train(prepared.person, persons, prepared.alone()), first)
        teacher = TeacherOutputs(prepared.said, prepared.said)
        return Results(prepared.person, view_of(prepared.person), teacher, student, person, note)


class DistilledClassifier(ClassifierMixin, Distilled):
    """A small network that learns classes from labels and from a teacher.

    Args:
        teacher: any classifier of scikit-learn's kind: cloned and fitted if it is not fitted yet,
            else used as it is and never changed (inside `clone`, `GridSearchCV` or
            `cross_val_score` it stays fitted only in a `sklearn.frozen.FrozenEstimator`); or a
            function from rows of X to logits or probabilities (N, C), in the order of the sorted
            labels; or an array of these for the rows of `fit`. None: a network of nkd's own,
            with `TEACHER_LAYERS` hidden units. What becomes of its answers:
            `nkd.teachers.Logits`.
        hidden_layer_sizes: units of the Student's hidden layers; () for a linear model.
        alpha: weight of the teacher, from 0 (none: the Person) to 1 (nothing else).
        temperature: T, which softens both sides of the soft loss, see `DistillationLoss`.
        epochs, batch_size, learning_rate: how the Student is trained.
        recipe: what these five are if they are None, and how the teacher of nkd's own is trained:
            a name in `nkd.recipes.TABLES`.
        cross_fit: K: a teacher that is fitted here is only heard about rows that it has not
            seen, see `nkd.teachers.taught`; less than 2 for none, which is the default: for classes
            it was measured to be better (docs/own-models.md).
        invented_rows: more rows to ask the teacher about, so many for each real one, see
            `nkd.invented_rows`. An epoch has more steps accordingly.
        compare: how many pairs of Student and Person are compared, besides, on a fifth of the rows
            that they have not seen; 0 for none. The Person takes as many steps.
        backend: "auto", "numpy", "numba" or "cupy", see `nkd.choose`. Numba compiles once on each
            machine, for some 20 s, in silence unless `verbose`.
        random_state: the seed, if it is a number; else it is drawn by it.
        verbose: whether progress is printed.

    Attributes:
        classes_: the labels, sorted.
        model_: the Student, an `nkd.model.Model`, which needs no scikit-learn.
        teacher_: the teacher, fitted; None if there is none.
        n_iter_: the epochs.
        comparison_: with `compare=N`, what it found: an `AgainstPerson`.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.
    """

    kind = Classification
    default_folds = 0

    def predict(self, X: Any) -> np.ndarray:
        """The labels (N,) with the largest logits."""
        z = self._outputs(X)
        return self.classes_[z.argmax(axis=-1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probabilities (N, C) of the labels, in the order of `classes_`."""
        return softmax(self._outputs(X))

    def decision_function(self, X: Any) -> np.ndarray:
        """The logits (N, C); with two classes their difference (N,)."""
        z = self._outputs(X)
        return z if z.shape[1] > 2 else z[:, 1] - z[:, 0]

    def _targets(self, y: np.ndarray, new: bool) -> np.ndarray:
        check_classification_targets(y)
        if y.dtype.kind in "mM":
            raise UserError("y holds dates or times: give labels that are text or numbers")
        if new:
            self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise UserError(f"y has only one class, {shown(self.classes_)}; two are needed")
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise UserError(f"the test rows have {shown(unknown)}, which are not in y")
        return np.searchsorted(self.classes_, y)

    def _form(self, targets: np.ndarray) -> Logits:
        return Logits(self.classes_)

    def _about(self, targets: np.ndarray) -> dict[str, Any]:
        return {"class_names": tuple(map(str, self.classes_.tolist()))}


class DistilledRegressor(RegressorMixin, Distilled):
    """A small network that learns numbers from targets and from a teacher.

    Targets are standardised inside; outputs are in their unit.

    Args:
        teacher: as for `DistilledClassifier`, but a regressor, and values (N,) or (N, O).
        temperature: is not used.
        cross_fit: as for `DistilledClassifier`, but by default 5, which was measured to be better.
        hidden_layer_sizes, alpha, epochs, batch_size, learning_rate, recipe, invented_rows,
            compare, backend, random_state, verbose: as for `DistilledClassifier`.

    Attributes:
        model_, teacher_, n_iter_, comparison_, n_features_in_, feature_names_in_: as there.
    """

    kind = Regression
    default_folds = 5

    def predict(self, X: Any) -> np.ndarray:
        """The values (N,), or (N, O) if `fit` was given such."""
        values = self._outputs(X)
        return values[:, 0] if self._flat else values

    def __sklearn_tags__(self) -> Any:
        """Several targets at a time are possible."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _targets(self, y: np.ndarray, new: bool) -> np.ndarray:
        if new:
            self._flat = y.ndim == 1
        return y.reshape(len(y), -1).astype(np.float64)

    def _form(self, targets: np.ndarray) -> Values:
        return Values(targets.shape[1])

    def _about(self, targets: np.ndarray) -> dict[str, Any]:
        _, _, mean, deviation = standardise(targets, targets[:0])
        return {"target_mean": mean, "target_deviation": deviation}
