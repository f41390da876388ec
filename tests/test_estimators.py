"""The estimators: scikit-learn's own checks, teachers of every kind, and what a comparison says."""

import pickle
from types import SimpleNamespace

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_diabetes, load_iris, load_linnerud, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

from nkd.data import standardise
from nkd.errors import UserError
from nkd.estimators import DistilledClassifier, DistilledRegressor
from nkd.invented_rows import invented_rows
from nkd.teachers import FLOOR, Logits, Values, taught

WINE = load_wine(return_X_y=True)
DIABETES = load_diabetes(return_X_y=True)
NAMES = np.array(["barolo", "grignolino", "barbera"])
QUICK = {"epochs": 5, "random_state": 0, "backend": "numpy"}


@parametrize_with_checks(
    [
        DistilledClassifier(DecisionTreeClassifier(), invented_rows=0.5),
        DistilledRegressor(DecisionTreeRegressor(), invented_rows=0.5),
    ]
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


# Teachers


def test_a_fitted_teacher_is_used_as_it_is_and_one_that_is_not_is_left_alone():
    x, y = WINE
    fitted = RandomForestClassifier(5, random_state=0).fit(x, y)
    before = pickle.dumps(fitted)
    student = DistilledClassifier(fitted, **QUICK).fit(x, y)
    assert student.teacher_ is fitted and pickle.dumps(fitted) == before
    new = RandomForestClassifier(5, random_state=0)
    student = DistilledClassifier(new, **QUICK).fit(x, y)
    assert not hasattr(new, "estimators_") and student.teacher_.score(x, y) > 0.9


def test_a_teacher_may_be_an_estimator_a_function_or_an_array_and_means_the_same():
    x, y = WINE
    forest = RandomForestClassifier(5, random_state=0).fit(x, y)
    p = forest.predict_proba(x)
    teachers = forest, forest.predict_proba, p, np.log(p.clip(FLOOR)), p.tolist()
    z = [DistilledClassifier(each, **QUICK).fit(x, y)._outputs(x) for each in teachers]
    for other in z[1:]:
        np.testing.assert_allclose(other, z[0], atol=1e-5)
    assert np.abs(DistilledClassifier(alpha=0.0, **QUICK).fit(x, y)._outputs(x) - z[0]).max() > 0.1


def test_what_a_classifier_answers_becomes_logits():
    x, y = WINE
    names = NAMES[y]
    form = Logits(np.unique(names))
    for teacher in (
        LogisticRegression(max_iter=10_000),  # predict_proba
        RidgeClassifier(),  # decision_function
        make_pipeline(StandardScaler(), KNeighborsClassifier()),
    ):
        fitted = clone(teacher).fit(x, names)
        z = taught(fitted, x, names, form, 5, 0).said
        assert z.shape == (len(x), 3)
        assert (form.classes[z.argmax(axis=1)] == fitted.predict(x)).all()
        if hasattr(fitted, "predict_proba"):
            np.testing.assert_allclose(np.exp(z), fitted.predict_proba(x).clip(FLOOR))
    # With predict alone, the teacher is sure of what it says.
    said = form.of_estimator(SimpleNamespace(predict=lambda rows: names), x)
    assert (form.classes[said.argmax(axis=1)] == names).all()
    assert sorted(set(np.exp(said.ravel()).round(9))) == [FLOOR, 1.0]


def test_two_classes_of_a_decision_function_become_their_log_odds():
    x, y = WINE[0], WINE[1] > 0
    teacher = RidgeClassifier().fit(x, y)
    z = taught(teacher, x, y, Logits(np.array([False, True])), 5, 0).said
    np.testing.assert_allclose(z[:, 1] - z[:, 0], teacher.decision_function(x), atol=1e-9)


def test_classes_of_a_fitted_teacher_find_their_place():
    x, y = load_iris(return_X_y=True)
    two = DecisionTreeClassifier().fit(x[y > 0], y[y > 0])  # knows 1 and 2
    z = taught(two, x, y, Logits(np.array([0, 2])), 5, 0).said
    assert (z[:, 0] == np.log(FLOOR)).all() and z[y == 2, 1].max() == 0
    with pytest.raises(UserError, match="knows the classes 1, 2"):
        taught(two, x, y, Logits(np.array([7, 8])), 5, 0)
    pairs = SVC(decision_function_shape="ovo").fit(x, y)  # with three classes there are three pairs
    with pytest.raises(UserError, match="not one for each class"):
        taught(pairs, x, y, Logits(np.arange(3)), 5, 0)


@pytest.mark.parametrize("columns", [1, 2])
def test_cross_fitting_hears_a_teacher_only_about_rows_that_it_has_not_seen(columns):
    class Memory(DecisionTreeRegressor):
        """Repeats the label of a row that it has seen; 0 for others."""

        def fit(self, X, y):
            self.seen_ = {tuple(row): label for row, label in zip(X, y, strict=True)}
            return self

        def predict(self, X):
            return np.array([self.seen_.get(tuple(row), 0 * y[0]) for row in X])

    x = DIABETES[0]
    y = np.stack([DIABETES[1], -DIABETES[1]], axis=1)[:, :columns]
    y = y[:, 0] if columns == 1 else y
    form = Values(columns)
    heard = taught(Memory(), x, y, form, 5, 0)
    assert (heard.said == 0).all()
    np.testing.assert_array_equal(heard.ask(x).reshape(y.shape), y)  # in the end it knows them all
    np.testing.assert_array_equal(taught(Memory(), x, y, form, 0, 0).said.reshape(y.shape), y)


def test_a_class_with_a_single_row_and_more_folds_than_rows_are_no_obstacle():
    x = np.random.default_rng(0).normal(size=(7, 2))
    y = np.array(list("aaabbbc"))
    for teacher in (DecisionTreeClassifier(), RidgeClassifier()):
        student = DistilledClassifier(teacher, cross_fit=9, compare=1, **QUICK).fit(x, y)
        assert student.classes_.tolist() == ["a", "b", "c"]
    DistilledRegressor(DecisionTreeRegressor(), **QUICK).fit(x[:2], [1.0, 2.0])


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"recipe": "best"}, "recipe='best'"),
        ({"epochs": 0}, "epochs=0"),
        ({"epochs": 2.5}, "epochs=2.5"),
        ({"cross_fit": -1}, "cross_fit=-1"),
        ({"compare": -1}, "compare=-1"),
        ({"invented_rows": -0.5}, "invented_rows=-0.5"),
        ({"invented_rows": np.nan}, "invented_rows=nan"),
        ({"hidden_layer_sizes": (8, 0)}, r"hidden_layer_sizes=\(8, 0\)"),
        ({"hidden_layer_sizes": (8.5,)}, "hidden_layer_sizes"),
        ({"alpha": 1.5}, "alpha 1.5"),
        ({"alpha": "much"}, "alpha='much'"),
        ({"invented_rows": None}, "invented_rows=None"),
        ({"temperature": 0.0}, "temperature 0"),
        ({"learning_rate": -1.0}, "learning_rate -1"),
        ({"random_state": -1}, "random_state=-1"),
        ({"backend": "tensorflow"}, "tensorflow"),
        ({"teacher": LinearRegression()}, "a classifier teaches a classifier"),
        ({"teacher": KMeans(3)}, "a classifier teaches a classifier"),
        ({"teacher": PCA()}, "no estimator of scikit-learn that predicts"),
        ({"teacher": "forest"}, "teacher='forest'"),
        ({"teacher": lambda x: np.full((len(x), 3), np.nan)}, "nan in row 0"),
        ({"teacher": lambda x: np.zeros((len(x), 2))}, r"\(178, 3\)"),
        ({"teacher": lambda x: "no idea"}, "is one str"),
        ({"teacher": np.zeros((5, 3))}, r"array \(5, 3\) for 178 rows"),
        ({"teacher": np.zeros((178, 3)), "invented_rows": 1.0}, "cannot be asked"),
        ({"alpha": 0.0, "compare": 2}, "no teacher"),
    ],
)
def test_a_mistake_is_one_line_and_a_value_error(parameters, said):
    student = DistilledClassifier(**{"teacher": DecisionTreeClassifier(), **QUICK, **parameters})
    with pytest.raises(ValueError, match=said) as error:
        student.fit(*WINE)
    assert isinstance(error.value, UserError) and "\n" not in str(error.value)


# What a Student is


def test_any_labels_and_units_come_back():
    x, y = WINE
    labels = [NAMES[y], y * 10 + 7, y > 0, NAMES[y].astype(object)]
    for each in labels:
        student = DistilledClassifier(DecisionTreeClassifier(), epochs=60, random_state=0)
        student.fit(x, each)
        assert student.score(x, each) > 0.95 and student.predict(x).dtype == each.dtype
        assert student.predict_proba(x).shape == (len(x), len(np.unique(each)))
    x, y = DIABETES
    one, other = (
        DistilledRegressor(LinearRegression(), **QUICK).fit(x, each) for each in (y, 1e6 * y - 3e8)
    )
    np.testing.assert_allclose(other.predict(x), 1e6 * one.predict(x) - 3e8, rtol=1e-4)


def test_several_targets_and_a_linear_student():
    x, y = load_linnerud(return_X_y=True)
    student = DistilledRegressor(LinearRegression(), hidden_layer_sizes=(), **QUICK).fit(x, y)
    assert student.predict(x).shape == y.shape
    assert student.model_.sizes == (3, 3)


def test_alpha_0_is_a_network_without_a_teacher_and_alpha_1_without_labels():
    x, y = DIABETES
    alone = DistilledRegressor(alpha=0.0, **QUICK).fit(x, y)
    assert alone.teacher_ is None
    wrong = np.random.default_rng(0).permutation(y)
    for alpha, same in ((1.0, True), (0.5, False)):
        students = [DistilledRegressor(y, alpha=alpha, **QUICK).fit(x, each) for each in (y, wrong)]
        predicted = [student.predict(x) for student in students]
        assert np.allclose(*predicted, rtol=1e-5) == same


def test_the_student_is_the_run_of_the_engine():
    from nkd import Dataset, Regression, Run, Training
    from nkd.recipes import TABLES

    x, y = DIABETES
    recipe = TABLES["regression"]["tuned"]
    student = DistilledRegressor(2 * y, random_state=3, backend="numpy").fit(x, y)
    mean, deviation = y.mean(), y.std()
    stored, test, *_ = standardise(x, x)
    data = Dataset(
        "", "", stored, ((y - mean) / deviation).astype(np.float32)[:, None], test[:1],
        ((y - mean) / deviation).astype(np.float32)[:1, None], feature_bound=recipe.feature_bound,
    )  # fmt: skip
    said = ((2 * y - mean) / deviation).astype(np.float32)[:, None]
    runs = [Run(3, recipe.alpha, targets=said)]
    training = Training(Regression(data), (10, 16, 8, 1), runs, recipe.student).run()
    expected = training.outputs(training.train_inputs)[0, :, 0] * deviation + mean
    np.testing.assert_allclose(student.predict(x), expected, rtol=1e-4)


def test_a_seed_is_a_seed_and_no_seed_is_none():
    x, y = WINE
    make = lambda state: DistilledClassifier(  # noqa: E731
        alpha=0.0, epochs=2, backend="numpy", random_state=state
    ).fit(x, y)
    one = make(7)._outputs(x)
    np.testing.assert_array_equal(make(7)._outputs(x), one)
    state = np.random.RandomState(7)
    assert (make(8)._outputs(x) != one).any() and (make(None)._outputs(x) != one).any()
    assert (make(state)._outputs(x) != make(state)._outputs(x)).any()


def test_in_pipelines_searches_and_data_frames():
    x, y = WINE
    frame = pandas.DataFrame(x, columns=load_wine().feature_names)
    named = frame.assign(alcohol=frame.alcohol.astype("float32"), proline=frame.proline.astype(int))
    frozen = FrozenEstimator(DecisionTreeClassifier(max_depth=3).fit(named, NAMES[y]))
    student = DistilledClassifier(frozen, invented_rows=0.5, **QUICK).fit(named, NAMES[y])
    assert student.feature_names_in_.tolist() == frame.columns.tolist()
    assert student.model_.features == tuple(frame.columns)
    search = GridSearchCV(student, {"alpha": [0.2, 0.8]}, cv=2).fit(named, NAMES[y])
    assert search.best_score_ > 0.5  # the teacher has survived the clones of the search
    pipeline = make_pipeline(StandardScaler(), DistilledClassifier(KNeighborsClassifier(), **QUICK))
    assert pipeline.fit(named, NAMES[y]).score(named, NAMES[y]) > 0.5
    student.set_params(teacher=DecisionTreeClassifier(), teacher__max_depth=2)
    assert (cross_val_score(student, x, y, cv=2) > 0.5).all()
    assert "DistilledClassifier" in student._repr_html_() and "max_depth=2" in repr(student)


# Invented rows


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(2, 12), share=st.floats(0, 4), seed=st.integers(0, 2**32 - 1))
def test_an_invented_row_is_made_of_a_row_and_its_neighbour(rows, share, seed):
    drawn = np.random.default_rng(seed)
    table = np.stack([drawn.normal(size=rows), drawn.integers(0, 4, rows)], axis=1)
    made = invented_rows(table, share, seed)
    assert made.shape == (round(share * rows), 2) and made.dtype == table.dtype
    np.testing.assert_array_equal(made, invented_rows(table, share, seed))
    assert set(made[:, 1]) <= set(table[:, 1])  # whole numbers stay among those that there are


def test_features_come_from_the_neighbour_half_of_the_time_and_scatter_by_the_distance():
    x = np.array([[0.0, 0.25], [1.5, 0.75]])  # each is the other's nearest
    made = invented_rows(x, 20_000, 0)
    assert np.isin(made[:, 0], (0.0, 1.5)).mean() == pytest.approx(0.5, abs=0.01)
    moved = made[~np.isin(made[:, 0], (0.0, 1.5)), 0]
    # A mixture of N(0, 1.5²) and N(1.5, 1.5²): mean 0.75, variance 1.5² + 0.75².
    assert moved.mean() == pytest.approx(0.75, abs=0.03)
    assert moved.var() == pytest.approx(1.5**2 + 0.75**2, rel=0.03)
    assert len(invented_rows(x[:1], 3.0, 0)) == 0  # a single row has no neighbour


# The comparison


def test_a_comparison_says_who_won_on_rows_that_nobody_had_seen(tmp_path):
    x, y = DIABETES
    student = DistilledRegressor(KNeighborsRegressor(1), epochs=30, random_state=0, compare=4)
    found = student.fit(x, y).comparison_
    assert found.measure == "rmse" and found.student.shape == found.person.shape == (4,)
    assert found.difference == pytest.approx((found.student - found.person).mean())
    assert found.interval[0] < found.difference < found.interval[1]
    assert found.verdict in found.sentence
    assert found.teacher > 70  # in the unit of the target, and 0 on rows that it has seen
    student.report(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "KNeighborsRegressor" in page and str(round(found.student.mean(), 4))[:5] in page
    again = pickle.loads(pickle.dumps(student))
    np.testing.assert_array_equal(again.predict(x), student.predict(x))
    assert again.comparison_.sentence == found.sentence
    student.set_params(compare=0).fit(x, y)
    for without in (again, student):
        with pytest.raises(UserError, match="no comparison to report"):
            without.report(tmp_path / "again.html")
    assert not hasattr(student, "comparison_")


def test_a_teacher_that_was_given_fitted_may_have_seen_what_it_is_compared_on():
    x, y = WINE
    teacher = KNeighborsClassifier(1).fit(x, y)
    student = DistilledClassifier(teacher, compare=2, **QUICK).fit(x, y)
    assert student.comparison_.teacher == 0  # it has, and the sentence says so
    assert student.comparison_.sentence.endswith("if it has seen these rows, this says little.")
    own = student.against_person(x[::2], y[::2], pairs=2, test=(x[1::2], y[1::2]))
    assert "seen these rows" not in own.sentence()  # whoever gives them knows


def test_held_out_rows_have_no_influence_on_what_is_trained():
    x, y = DIABETES
    student = DistilledRegressor(KNeighborsRegressor(3), invented_rows=0.5, **QUICK)
    weights = [
        student.against_person(x[:300], y[:300], pairs=1, test=(factor * x[300:], factor * y[300:]))
        .networks["student"]
        .training.network.parameters
        for factor in (1, 7)
    ]
    np.testing.assert_array_equal(*weights)


def test_a_comparison_leaves_a_fitted_estimator_as_it_is():
    x, y = WINE
    student = DistilledClassifier(DecisionTreeClassifier(), **QUICK).fit(x, y)
    before = pickle.dumps(student)
    student.against_person(x[:, :5], NAMES[y], pairs=1)
    assert pickle.dumps(student) == before
    for pairs in (0, 2.5):
        with pytest.raises(UserError, match="pairs="):
            student.against_person(x, y, pairs=pairs)


def test_a_feature_that_was_constant_counts_for_nothing_later():
    x, y = DIABETES
    constant = np.c_[x, np.full(len(x), 7.0)]
    student = DistilledRegressor(alpha=0.0, **QUICK).fit(constant, y)
    other = np.c_[x, np.full(len(x), 9.0)]
    np.testing.assert_allclose(student.predict(other), student.predict(constant), rtol=1e-6)


def test_a_column_of_text_is_named():
    frame = pandas.DataFrame({"age": [1.0, 2.0, 3.0], "colour": ["red", "blue", "red"]})
    with pytest.raises(UserError, match="column 'colour' of X holds no numbers"):
        DistilledRegressor(LinearRegression(), **QUICK).fit(frame, [1.0, 2.0, 3.0])


def test_the_person_takes_as_many_steps_as_a_student_with_invented_rows():
    x, y = WINE
    student = DistilledClassifier(
        DecisionTreeClassifier(), invented_rows=2.0, compare=2, batch_size=10, **QUICK
    ).fit(x, y)
    student, person = (student._results.networks[who].training for who in ("student", "person"))
    steps = [each.steps_per_epoch * each.settings.epochs for each in (student, person)]
    assert steps[1] == pytest.approx(steps[0], rel=0.1) and steps[1] > 2 * 5 * 14
    assert len(student.train_inputs) == 3 * len(person.train_inputs)


def test_a_comparison_on_rows_of_ones_own():
    x, y = WINE
    names, half = NAMES[y], np.arange(len(y)) % 2 == 0
    student = DistilledClassifier(DecisionTreeClassifier(max_depth=2), **QUICK)
    tests = x[half], names[half]
    results = student.against_person(x[~half], names[~half], pairs=2, test=tests, title="Wine")
    teacher = DecisionTreeClassifier(max_depth=2).fit(x[~half], names[~half])
    wrong = (teacher.predict(x[half]) != names[half]).sum()
    assert results.final("teacher")["errors"].tolist() == [wrong]
    assert "on Wine" in results.sentence() and len(results.problem.data.x_test) == half.sum()
    for other, said in ((np.full(half.sum(), "lambrusco"), "'lambrusco'"), (y[half], "classes")):
        with pytest.raises(ValueError, match=said):
            student.against_person(x[~half], names[~half], test=(x[half], other))
    with pytest.raises(UserError, match="cannot be asked"):
        DistilledClassifier(np.zeros((len(y), 3)), **QUICK).against_person(x, y, test=(x, y))
