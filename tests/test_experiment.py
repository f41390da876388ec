"""The experiment as a function: any teacher, any table; nothing printed or written unasked."""

import csv
import dataclasses
import json
import os
import sys

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_wine
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from nkd import (
    Classification,
    Regression,
    Run,
    Settings,
    TeacherOutputs,
    Training,
    UserError,
    command_line,
    compare,
    data,
    from_table,
    metrics,
)
from nkd.claims.decoupled import DecoupledLoss
from nkd.experiment import networks_of
from nkd.recipes import CLASSIFICATION
from nkd.report.files import FILES, Folder
from nkd.report.screen import Screen

SETTINGS = Settings(epochs=4, batch_size=16, learning_rate=0.01)
PLAIN = CLASSIFICATION["plain"]


@pytest.fixture
def decoupled(monkeypatch):
    monkeypatch.setattr(Classification, "losses", [*Classification.losses, DecoupledLoss])


def wine():
    table = load_wine()
    return Classification(from_table("wine", "Wine", table.data, table.target))


def forest(problem):
    """What a random forest says: three lines, and nothing of nkd but its data."""
    rows = problem.data
    if isinstance(problem, Regression):
        model = RandomForestRegressor(20, random_state=0).fit(rows.x_train, rows.y_train[:, 0])
        return TeacherOutputs(*(model.predict(x)[:, None] for x in (rows.x_train, rows.x_test)))
    model = RandomForestClassifier(20, random_state=0).fit(rows.x_train, rows.y_train)
    said = (model.predict_proba(x) for x in (rows.x_train, rows.x_test))
    return TeacherOutputs(*(np.log(p.clip(1e-6)) for p in said))


def diabetes():
    table = load_diabetes()
    return Regression(from_table("diabetes", "Diabetes", table.data, table.target / 100))


BY_NUMBER = "rows.png", "labels.png"
PROBLEMS = {"classes": wine, "numbers": diabetes}


@pytest.mark.parametrize("kind", PROBLEMS)
def test_a_forest_teaches_a_table_of_ones_own_and_everything_is_reported(tmp_path, capsys, kind):
    problem = PROBLEMS[kind]()
    options = {"seeds": range(3), "sweep": {"alpha": [0.2, 0.8]}, "controls": ["all"]}
    options |= {"screen": Screen(), "folder": Folder(tmp_path)}
    results = compare(problem, forest(problem), (8,), SETTINGS, **options)
    assert set(os.listdir(tmp_path)) == set(FILES) - {"teacher.safetensors", *BY_NUMBER}
    record = json.loads((tmp_path / "results.json").read_text())
    name = results.view.decisive.name
    assert record["teacher"]["test"][name]["mean"] == results.final("teacher")[name].mean()
    assert record["teacher"]["parameters"] is None
    controls = ["label-smoothing", "shuffled-teacher", "permuted-teacher"]
    arms = ["alpha 0.2", "alpha 0.8", *(controls if kind == "classes" else [])]
    assert [arm["arm"] for arm in record["arms"]] == arms
    with open(tmp_path / "metrics.csv", newline="") as file:
        assert {row["network"] for row in csv.DictReader(file)} == {"student", "person"}
    printed = capsys.readouterr().out
    assert problem.data.title in printed
    assert results.sentence() in printed
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "Only its answers are known" in page
    if kind == "classes":
        assert "Where they disagree" in page
        wrong = (results.outputs["teacher"][0].argmax(axis=-1) != problem.data.y_test).sum()
        assert record["teacher"]["test"]["errors"]["values"] == [wrong]


def test_nothing_is_printed_and_nothing_written_unless_asked_for(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    problem = wine()
    results = compare(problem, forest(problem), (8,), SETTINGS, seeds=[3, 5])
    assert capfd.readouterr() == ("", "")
    assert os.listdir(tmp_path) == []
    assert results.difference.pairs == 2
    assert results.comparison is None


def test_a_teacher_is_trained_if_it_was_not_and_taken_as_it_is_if_it_was():
    problem = wine()
    fresh = networks_of(problem, (16,), [0, 1], SETTINGS)
    first = compare(problem, fresh, (8,), SETTINGS, seeds=range(4))
    assert fresh.history
    again = compare(problem, fresh, (8,), SETTINGS, seeds=range(4))
    said = TeacherOutputs(*(fresh.outputs(x) for x in (fresh.train_inputs, fresh.test_inputs)))
    given = compare(problem, said, (8,), SETTINGS, seeds=range(4))
    for other in (again, given):
        for name in first.networks:
            for measure, values in first.final(name).items():
                np.testing.assert_array_equal(other.final(name)[measure], values)
    assert given.difference == first.difference
    assert given.teachers == 2
    own = [run.targets for run in given.networks["student"].runs]
    assert all(np.array_equal(each, said.train[n % 2]) for n, each in enumerate(own))


def test_the_pairs_are_those_of_a_training_that_is_written_out():
    problem = wine()
    teacher = forest(problem)
    results = compare(problem, teacher, (8,), SETTINGS, alpha=0.7, temperature=3.0, seeds=[4, 9])
    runs = [Run(seed, 0.7, 3.0, teacher.train[0]) for seed in (4, 9)] + [Run(4), Run(9)]
    expected = Training(problem, (13, 8, 3), runs, SETTINGS).run().history[-1].test["loss"]
    np.testing.assert_array_equal(results.final("student")["loss"], expected[:2])
    np.testing.assert_array_equal(results.final("person")["loss"], expected[2:])


MISTAKES = [
    ({"controls": ["nobody"]}, "nobody"),
    ({"controls": ["scaled-person"]}, "sgd"),
    ({"controls": ["label-smoothing"] * 2}, "once each"),
    ({"memory": 1000}, "allow more"),
    ({"seeds": []}, "0 seeds"),
    ({"seeds": [1, 1]}, "all different"),
    ({"loss": "bounded"}, "'bounded'"),
    ({"parameters": {"others": 1.0}}, "'others'"),
    ({"alpha": 2.0}, "alpha 2"),
    ({"sweep": {"seed": [7]}}, "'seed'"),
    ({"sweep": {"alpha": [0.5, 2.0]}}, "alpha 2"),
    ({"sweep": {"alpha": [0.5, 0.5]}}, "each once"),
    ({"sweep": {"loss": ["blind"]}}, "'loss'|'blind'"),
    ({"student": (0,)}, "sizes"),
    ({"settings": Settings(4, 16, 0.01, jitter=1)}, "jitter"),
    ({"settings": Settings(4, 16, 0.01, dropout=(0.5,))}, "dropout"),
]


@pytest.mark.parametrize(("options", "said"), MISTAKES)
def test_what_makes_no_sense_is_refused_in_one_line_and_nothing_is_trained_or_removed(
    monkeypatch, tmp_path, options, said
):
    problem, folder = wine(), Folder(tmp_path)
    folder.write("results.json", b"of an earlier run")
    monkeypatch.setattr(Training, "epochs", lambda *_: pytest.fail("trained"))
    teacher = networks_of(problem, (16,), [0], SETTINGS)
    options = {"student": (8,), "settings": SETTINGS, "folder": folder, **options}
    with pytest.raises(UserError, match=said) as refusal:
        compare(problem, teacher, **options)
    assert "\n" not in str(refusal.value)
    assert (tmp_path / "results.json").read_bytes() == b"of an earlier run"


def test_a_younger_teacher_can_only_be_had_of_one_that_is_trained_here():
    problem = wine()
    with pytest.raises(UserError, match="early-teacher"):
        compare(problem, forest(problem), (8,), SETTINGS, controls=["early-teacher"])
    teacher = networks_of(problem, (16,), [0, 1], SETTINGS)
    results = compare(problem, teacher, (8,), SETTINGS, seeds=range(4), controls=["early-teacher"])
    young = networks_of(problem, (16,), [0, 1], dataclasses.replace(SETTINGS, epochs=1)).run()
    targets = young.outputs(young.train_inputs)
    for number, run in enumerate(results.comparison.arms[0].runs):
        np.testing.assert_array_equal(run.targets, targets[number % 2])


def test_verdicts_count_teachers_and_each_student_is_held_against_its_own(tmp_path):
    problem, other = wine(), dataclasses.replace(SETTINGS, epochs=3, learning_rate=0.02)
    teacher = networks_of(problem, (16,), [0, 1], other)
    options = {"seeds": range(4), "sweep": {"alpha": np.array([0.2, 0.9])}}
    results = compare(problem, teacher, (8,), SETTINGS, **options, folder=Folder(tmp_path))
    student, person = (results.final(name)["errors"] for name in ("student", "person"))
    by_teacher = (student - person).reshape(2, 2).mean(axis=0)
    assert results.difference.pairs == results.comparison.differences[0].pairs == 2
    assert results.difference.mean == pytest.approx(by_teacher.mean())
    assert results.difference.deviation == pytest.approx(by_teacher.std(ddof=1))
    z, of_teacher = results.outputs["student"], results.outputs["teacher"]
    expected = [metrics.divergence(z[n : n + 1], of_teacher[n % 2])[0] for n in range(4)]
    np.testing.assert_allclose(results.learned("student")["divergence"], expected)
    settled = json.loads((tmp_path / "configuration.json").read_text())
    assert settled["settings"]["teacher"]["epochs"] == 3
    assert settled["settings"]["student"]["epochs"] == 4
    assert settled["sweep"] == {"alpha": [0.2, 0.9]}
    split = json.loads((tmp_path / "results.json").read_text())["student"]["gradient_split"]
    label, others = results.networks["student"].training.gradient_split()
    assert split[-1]["label"] == label[:4].tolist()
    assert split[-1]["others"] == others[:4].tolist()


class Fragile(DecoupledLoss):
    """It breaks where others is large."""

    names = ("fragile",)

    def compute(self, z, t):
        super().compute(z, t)
        self.dz[self.others[:, 0, 0] > 5] = np.nan


def test_an_arm_that_diverges_is_reported_and_takes_nothing_with_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Classification, "losses", [Fragile])
    problem, options = wine(), {"loss": "fragile", "seeds": range(3), "screen": Screen()}
    results = compare(
        problem,
        forest(problem),
        (8,),
        SETTINGS,
        **options,
        sweep={"others": [1.0, 9.0]},
        folder=Folder(tmp_path),
    )
    said = "3 of 6 runs diverged: seed 0, others 9 in epoch 1; seed 1, others 9 in epoch 1; seed 2"
    page = (tmp_path / "report.html").read_text("utf-8")
    record = json.loads((tmp_path / "results.json").read_text())
    assert list(record["diverged"]) == ["2 arms"]
    for text in (capsys.readouterr().out, page, record["diverged"]["2 arms"]):
        assert said in text and "lower the learning rate 0.01" in text
    assert "Of 3 pairs each, some are left out, since a run diverged: 3 with others 9." in page
    one, nine = record["arms"]
    assert nine["test"]["errors"] == [None] * 3
    assert nine["arm_minus_person"]["mean"] is None
    assert nine["arm_minus_person"]["verdict"] == "none"
    assert one["arm_minus_person"]["family"] == 1
    assert one["test"]["errors"] == results.final("student")["errors"].tolist()
    assert "nan" not in (tmp_path / "arms.csv").read_text()


def test_arms_of_which_nothing_is_left_take_nothing_from_what_was_finished(tmp_path, monkeypatch):
    monkeypatch.setattr(Classification, "losses", [Fragile])
    problem, options = wine(), {"loss": "fragile", "sweep": {"others": [8.0, 9.0]}}
    with pytest.raises(UserError, match="diverged"):
        compare(problem, forest(problem), (8,), SETTINGS, **options, folder=Folder(tmp_path))
    record = json.loads((tmp_path / "results.json").read_text())
    assert "sentence" in record and "arms" not in record
    assert (tmp_path / "report.html").exists()


def test_a_stand_in_is_announced(capsys):
    problem = wine()
    problem.data = dataclasses.replace(problem.data, notice="NOT THE REAL DATA")
    compare(problem, forest(problem), (8,), SETTINGS, seeds=[1], screen=Screen())
    assert "NOT THE REAL DATA" in capsys.readouterr().out


def test_the_person_is_the_student_with_alpha_0_and_the_same_loss(decoupled):
    problem = wine()
    options = {"loss": "decoupled", "parameters": {"others": 3.0}, "alpha": 0.0}
    results = compare(problem, forest(problem), (8,), SETTINGS, **options)
    assert results.difference.mean == results.difference.deviation == 0
    assert all(run.loss == "decoupled" for run in results.networks["student"].training.runs)


def test_constant_test_targets_have_no_r_squared_and_a_report_all_the_same(tmp_path):
    problem = diabetes()
    data = problem.data
    problem = Regression(dataclasses.replace(data, y_test=np.ones_like(data.y_test)))
    with np.errstate(all="ignore"):
        compare(problem, forest(problem), (8,), SETTINGS, folder=Folder(tmp_path))
    record = json.loads((tmp_path / "results.json").read_text())
    assert record["student"]["test"]["r2"]["mean"] is None


@pytest.mark.parametrize("cut", ["train", "test"])
def test_a_teachers_outputs_on_other_rows_are_refused(cut):
    problem = wine()
    said = forest(problem)
    parts = {"train": said.train, "test": said.test}
    parts[cut] = parts[cut][:, :-1]
    with pytest.raises(UserError, match=f"{cut}=… of TeacherOutputs"):
        compare(problem, TeacherOutputs(**parts), (8,), SETTINGS)


def test_a_loss_and_a_data_set_that_were_added_work_on_the_command_line(
    monkeypatch, tmp_path, capsys
):
    added = wine().data
    source = data.Source("classification", lambda folder: added)
    monkeypatch.setitem(data.SOURCES, "wine", source)
    monkeypatch.setattr(Classification, "losses", [*Classification.losses, DecoupledLoss])

    runner = command_line.Runner(Classification, command_line.Flags, {"tuned": PLAIN}, (16,), 2)

    def main(*flags):
        words = ["run.py", "--backend", "numpy", "--epochs", 4, "--batch-size", 16]
        words += ["--learning-rate", 0.01, "--seeds", 3, "--hidden", 8, "--out", tmp_path, *flags]
        monkeypatch.setattr(sys, "argv", [str(word) for word in words])
        return command_line.main(runner)

    flags = ("--dataset", "wine", "--loss", "decoupled", "--sweep", "others=1,8")
    assert main(*flags, "--arms", "label-smoothing") == 0
    record = json.loads((tmp_path / "results.json").read_text())
    one, eight, smoothed = record["arms"]
    assert (one["arm"], eight["arm"], smoothed["arm"]) == (
        "others 1",
        "others 8",
        "label-smoothing",
    )
    assert (
        one["test"]["loss"] == record["student"]["test"]["loss"]["values"]
    )  # others is 1 by default
    assert eight["test"]["loss"] != one["test"]["loss"]
    assert "others" in (tmp_path / "arms.csv").read_text().splitlines()[0]
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "others 8" in page and "--loss decoupled" in page
    line = json.loads((tmp_path / "configuration.json").read_text())["command"]
    assert line.startswith("python run.py ") and "--sweep others=1,8 --arms label-smoothing" in line
    assert main("--dataset", "wine", "--sweep", "loss=blend,decoupled") == 0
    plain, decoupled = json.loads((tmp_path / "results.json").read_text())["arms"]
    np.testing.assert_allclose(decoupled["test"]["loss"], plain["test"]["loss"], rtol=1e-4)
    capsys.readouterr()
    assert main("--dataset", "wine", "--sweep", "others=1,8") == 2  # the plain loss has no others
    assert main("--dataset", "wine", "--loss", "decoupled", "--sweep", "gamma=1,8") == 2
    complaints = capsys.readouterr().err.splitlines()
    assert len(complaints) == 2
    assert all("--sweep" in line for line in complaints)
