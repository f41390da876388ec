"""Runs that diverge: whichever they are, all else is as without them, and the report says so."""

import csv
import dataclasses
import functools
import json
import re
from html import unescape
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.naive_bayes import GaussianNB

import nkd
from nkd import (
    Classification,
    Regression,
    Run,
    Settings,
    Training,
    UserError,
    compare,
    experiment,
)
from nkd.arms import control, scales
from nkd.backend import NUMPY
from nkd.controls import GradientNorms
from nkd.estimators import DistilledClassifier
from nkd.experiment import networks_of
from nkd.losses import DistillationLoss, RegressionDistillationLoss
from nkd.report.divergence import MOST_NAMED, divergence
from nkd.report.files import Folder
from nkd.report.screen import Screen
from nkd.work import Pass, Work

SETTINGS = Settings(2, 64, 5e-3)
SEEDS, TEACHERS = range(4), [10, 11]
STUDENT, PERSON = True, False


class Fragile:
    """A loss that breaks in the second epoch for some runs, by seed and whether they are taught."""

    gone: ClassVar[set] = set()

    @classmethod
    def of(cls, runs, **options):
        loss = super().of(runs, **options)
        loss.broken = [n for n, run in enumerate(runs) if (run.seed, run.alpha > 0) in cls.gone]
        loss.steps = 0
        return loss

    def compute(self, z, t):
        super().compute(z, t)
        self.steps += 1
        if self.steps > 3:
            self.dz[self.broken] = np.nan


class FragileClasses(Fragile, DistillationLoss):
    pass


class FragileNumbers(Fragile, RegressionDistillationLoss):
    pass


@pytest.fixture(autouse=True)
def losses(monkeypatch):
    monkeypatch.setattr(Classification, "losses", [FragileClasses])
    monkeypatch.setattr(Regression, "losses", [FragileNumbers])
    monkeypatch.setattr(Fragile, "gone", set())


PROBLEMS = {
    "classes": lambda: Classification(nkd.load_classification("digits")),
    "numbers": lambda: Regression(nkd.load_regression("friedman")),
}


def compared(problem, gone=frozenset(), **options):
    """All that there is to compare, where these runs break."""
    Fragile.gone = gone
    teacher = networks_of(problem, (16,), TEACHERS, SETTINGS)
    options |= {"moved": 1} if isinstance(problem, Classification) else {}
    sweep = {"rows": [200, 300]}
    if not gone >= {(seed, STUDENT) for seed in SEEDS}:  # else these passes have nothing left
        sweep |= {"alpha": [0.2, 0.8], "labels": [200]}
        options["controls"] = ["early-teacher"]
    return compare(problem, teacher, (8,), SETTINGS, alpha=0.5, seeds=SEEDS, sweep=sweep, **options)


@functools.cache
def undisturbed(kind):
    return compared(PROBLEMS[kind]())


CASES = {
    "a Student": ({(1, STUDENT)}, [0, 2, 3], "1 of 4 pairs is left out: its Student diverged."),
    "a Person": ({(0, PERSON)}, [1, 2, 3], "1 of 4 pairs is left out: its Person diverged."),
    "a Student and a Person": (
        {(0, STUDENT), (1, PERSON)},
        [2, 3],
        "2 of 4 pairs are left out: 1 Student and 1 Person diverged.",
    ),
    "a teacher": ({(10, PERSON)}, [1, 3], "2 of 4 pairs are left out: 1 Teacher diverged."),
    "the Students of a teacher": (
        {(0, STUDENT), (2, STUDENT)},
        [1, 3],
        "2 of 4 pairs are left out: 2 Students diverged.",
    ),
    "all but a pair": (
        {(10, PERSON), (1, STUDENT)},
        [3],
        "3 of 4 pairs are left out: 1 Teacher and 1 Student diverged.",
    ),
    "all Students": (
        {(seed, STUDENT) for seed in SEEDS},
        [],
        "4 of 4 pairs are left out: 4 Students diverged.",
    ),
    "one of each pair": (
        {(0, STUDENT), (1, STUDENT), (2, PERSON), (3, PERSON)},
        [],
        "4 of 4 pairs are left out: 2 Students and 2 Persons diverged.",
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", PROBLEMS)
def test_whatever_diverges_the_rest_is_compared_and_reported(tmp_path, capsys, kind, case):
    (gone, left, said), whole = CASES[case], undisturbed(kind)
    results = compared(PROBLEMS[kind](), gone, screen=Screen(), folder=Folder(tmp_path))
    name = results.view.decisive.name

    # The numbers of all that is left are those of a run in which nothing diverges.
    for who in ("student", "person"):
        for seed, value in zip(results.seeds, results.final(who)[name], strict=True):
            assert value == whole.final(who)[name][seed] or (seed, who == "student") in gone
    difference = whole.final("student")[name] - whole.final("person")[name]
    of_teachers = [[difference[seed] for seed in left if seed % 2 == k] for k in (0, 1)]
    means = [np.mean(each) for each in of_teachers if each]
    if left:
        assert results.difference.mean == pytest.approx(np.mean(means))
    assert results.difference.pairs == (len(means) if results.teachers == 2 else len(left))
    assert (results.difference.verdict == "none") == (results.difference.pairs < 2)
    assert results.sentence().endswith(said)

    # Everything that is written can be read, and holds no number where there is none.
    record = json.loads((tmp_path / "results.json").read_text())
    shown = re.sub('base64,[^"]*', "", unescape((tmp_path / "report.html").read_text("utf-8")))
    printed = capsys.readouterr().out
    tables = [file.read_text() for file in tmp_path.glob("*.csv")]
    for text in (shown, printed, *tables):
        assert not re.search(r"\bnan\b|\binf\b", text)
    for text in (shown, printed, record["sentence"]):
        assert said in text
    assert record["diverged"] and all(each in shown for each in record["diverged"].values())
    for number, arm in enumerate(record.get("arms", [])):
        values = np.array(arm["test"][name], float)
        there = [seed for seed, value in zip(arm["seeds"], values, strict=True) if value == value]
        assert there == [s for s in results.seeds if (s, STUDENT) not in gone]
        expected = whole.comparison.finals[name][number, there]
        assert values[~np.isnan(values)].tolist() == expected.tolist()
    with open(tmp_path / "metrics.csv", newline="") as file:
        for row in csv.DictReader(file):
            if row["network"] != "teacher":
                broken = (int(row["seed"]), row["network"] == "student") in gone
                assert (row["objective"] == "") == broken


def test_an_arm_that_lacks_all_that_it_imitates_leaves_the_other_arms(monkeypatch):
    problem, sgd = PROBLEMS["numbers"](), dataclasses.replace(SETTINGS, optimizer="sgd")
    monkeypatch.setattr(experiment, "scales", lambda *_: [np.nan] * len(SEEDS))

    def all_of(**options):
        teacher = networks_of(problem, (16,), TEACHERS, SETTINGS)
        options |= {"seeds": SEEDS, "controls": ["scaled-person"]}
        return compare(problem, teacher, (8,), sgd, **options).comparison

    both = all_of(sweep={"alpha": [0.2]})
    assert [each.left_out for each in both.differences] == [0, 4]
    assert [each.family for each in both.differences] == [1, 1]
    assert "4 with scaled-person" in both.caption()
    with pytest.raises(UserError, match="all that they imitate diverged"):
        all_of()


def test_a_person_is_scaled_where_both_gradients_are_known(monkeypatch):
    norms = np.array([np.inf, 6.0, 1.0, np.inf, np.nan, 4.0])
    monkeypatch.setattr(GradientNorms, "mean", lambda self: norms)
    problem, said = PROBLEMS["numbers"](), np.zeros((16512, 1))
    students = [Run(seed, 0.5, targets=said) for seed in range(3)]
    factors = scales(problem, (8, 2, 1), students, SETTINGS)
    assert factors == pytest.approx([np.nan, np.nan, 0.25], nan_ok=True)
    arm = control("scaled-person", students, problem.data.y_train, None, lambda: factors)
    assert [(run.seed, run.learning_rate_factor) for run in arm.runs] == [(2, 0.25)]


def test_teachers_that_diverge_only_with_few_labels_are_missed_only_there(monkeypatch):
    problem = PROBLEMS["numbers"]()

    def fragile(*arguments, **options):
        monkeypatch.setattr(Fragile, "gone", {(11, PERSON)})
        training = networks_of(*arguments, **options)
        monkeypatch.setattr(Fragile, "gone", set())
        return training

    monkeypatch.setattr(experiment, "networks_of", fragile)
    results = compared(problem)
    (cell,) = results.counts["labels"].cells
    for who in ("student", "person"):
        assert np.isnan(cell.finals[who]).tolist() == [False, True, False, True]
    assert np.isnan(cell.finals["teacher"]).tolist() == [False, True]
    assert results.difference.left_out == 0
    assert "left out, since a run diverged: 2 with 200 labels" in results.counts["labels"].caption()
    assert results.diverged.keys() == {"200 labels, teacher"}


@pytest.mark.parametrize("gone", [{(seed, PERSON) for seed in TEACHERS}, {(10, PERSON)}])
def test_without_any_teacher_nothing_can_be_learned(gone):
    problem = PROBLEMS["numbers"]()
    Fragile.gone = gone
    teacher = networks_of(problem, (16,), TEACHERS[: len(gone)], SETTINGS)
    with pytest.raises(UserError, match=r"diverged in epoch 1 .*lower the learning rate"):
        compare(problem, teacher, (8,), SETTINGS, seeds=SEEDS)


@pytest.mark.parametrize("side_by_side", [1, 2, 4])
def test_whether_a_pass_ends_does_not_depend_on_its_parts(side_by_side):
    runs = [Run(seed) for seed in range(4)]
    work = Pass("all", PROBLEMS["numbers"](), (8, 4, 1), runs, SETTINGS)
    engine = Work(work.part(range(side_by_side)).bytes(NUMPY), NUMPY)
    Fragile.gone = {(0, PERSON), (1, PERSON)}
    state = engine.measure(work, Training.run, arm=1)
    assert np.isnan(state["epoch2.test.rmse"]).tolist() == [True, True, False, False]
    Fragile.gone = {(seed, PERSON) for seed in range(4)}
    with pytest.raises(UserError, match="diverged in epoch"):
        engine.measure(work, Training.run, arm=1)


def test_an_estimator_compares_the_pairs_that_are_there_and_is_refused_if_it_diverges_itself(
    tmp_path,
):
    data = PROBLEMS["classes"]().data
    student = DistilledClassifier(
        GaussianNB(), random_state=5, compare=3, epochs=2, batch_size=64, backend="numpy"
    )
    Fragile.gone = {(6, STUDENT)}
    found = student.fit(data.x_train, data.y_train).comparison_
    assert np.isnan(found.student).tolist() == [False, True, False]
    assert not np.isnan(found.person).any()
    assert found.difference == pytest.approx(np.mean(found.student[::2] - found.person[::2]))
    assert found.sentence.endswith("1 of 3 pairs is left out: its Student diverged.")
    student.report(tmp_path / "report.html")
    assert "1 of 6 runs diverged: seed 6, alpha" in (tmp_path / "report.html").read_text("utf-8")
    Fragile.gone = {(5, STUDENT)}
    with pytest.raises(UserError, match=r"seed 5.*lower the learning rate"):
        student.fit(data.x_train, data.y_train)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_who_diverged_is_told_with_what_distinguishes_it(epochs):
    targets = np.zeros((3, 1))
    runs = [Run(seed, alpha, 2.0, targets) for alpha in (0.1, 0.9) for seed in range(8)]
    text = divergence(runs, dict(enumerate(epochs, start=3)), SETTINGS)
    assert text.startswith(f"{len(epochs)} of 16 runs diverged: seed 3, alpha 0.1 in epoch ")
    assert text.count("in epoch") == min(len(epochs), MOST_NAMED)
    assert (f"and {len(epochs) - MOST_NAMED} more" in text) == (len(epochs) > MOST_NAMED)
    assert "temperature" not in text
    assert "lower the learning rate 0.005" in text
    assert divergence(runs, {}, SETTINGS) == ""
