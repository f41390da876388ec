"""The experiment as a function: any teacher, any table; nothing printed or written unasked."""

import csv
import html.parser
import json
import os
import sys

import numpy as np
import pytest
from decoupled import DecoupledLoss
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
)
from nkd.experiment import networks_of
from nkd.report.files import FILES, Folder
from nkd.report.screen import Screen

SETTINGS = Settings(epochs=4, batch_size=16, learning_rate=0.01)


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


PROBLEMS = {"classes": wine, "numbers": diabetes}


@pytest.mark.parametrize("kind", PROBLEMS)
def test_a_forest_teaches_a_table_of_ones_own_and_everything_is_reported(tmp_path, capsys, kind):
    problem = PROBLEMS[kind]()
    options = {"seeds": range(3), "sweep": {"alpha": [0.2, 0.8]}, "controls": ["all"]}
    options |= {"screen": Screen(), "folder": Folder(tmp_path)}
    results = compare(problem, forest(problem), (8,), SETTINGS, **options)
    assert set(os.listdir(tmp_path)) == set(FILES) - {"teacher.safetensors"}
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
    html.parser.HTMLParser().feed(page)
    assert "its answers were given" in page
    if kind == "classes":
        assert "Where they disagree" in page
        outputs = np.log(np.exp(results.outputs["teacher"][0]).clip(1e-6))
        wrong = (outputs.argmax(axis=-1) != problem.data.y_test).sum()
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
    own = [run.targets for run in given.pair.runs[:4]]
    assert all(np.array_equal(each, said.train[n % 2]) for n, each in enumerate(own))


def test_the_pairs_are_those_of_a_training_that_is_written_out():
    problem = wine()
    teacher = forest(problem)
    results = compare(problem, teacher, (8,), SETTINGS, alpha=0.7, temperature=3.0, seeds=[4, 9])
    runs = [Run(seed, 0.7, 3.0, teacher.train[0]) for seed in (4, 9)] + [Run(4), Run(9)]
    expected = Training(problem, (13, 8, 3), runs, SETTINGS).run().history[-1].test["loss"]
    np.testing.assert_array_equal(results.final("student")["loss"], expected[:2])
    np.testing.assert_array_equal(results.final("person")["loss"], expected[2:])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"controls": ["early-teacher"]}, "early-teacher"),
        ({"controls": ["scaled-person"]}, "sgd"),
        ({"controls": ["label-smoothing"] * 2}, "once each"),
        ({"memory": 1000}, "allow more"),
        ({"seeds": []}, "0 seeds"),
        ({"loss": "bounded"}, "'bounded'"),
        ({"alpha": 2.0}, "alpha 2"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line_before_anything_is_trained(
    monkeypatch, options, said
):
    problem = wine()
    monkeypatch.setattr(Training, "epochs", lambda *_: pytest.fail("trained"))
    with pytest.raises(UserError, match=said) as refusal:
        compare(problem, forest(problem), (8,), SETTINGS, **options)
    assert "\n" not in str(refusal.value)


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

    runner = command_line.Runner(Classification, command_line.Flags, (16,), (8,), 2)

    def main(*flags):
        words = ["run.py", "--backend", "numpy", "--epochs", 4, "--batch-size", 16]
        words += ["--learning-rate", 0.01, "--seeds", 3, "--out", tmp_path, *flags]
        monkeypatch.setattr(sys, "argv", [str(word) for word in words])
        return command_line.main(runner, "")

    flags = ("--dataset", "wine", "--loss", "decoupled", "--sweep", "beta=1,8")
    assert main(*flags, "--arms", "label-smoothing") == 0
    record = json.loads((tmp_path / "results.json").read_text())
    one, eight, smoothed = record["arms"]
    assert (one["arm"], eight["arm"], smoothed["arm"]) == ("beta 1", "beta 8", "label-smoothing")
    assert one["test"]["loss"] == record["student"]["test"]["loss"]["values"]  # β is 1 by default
    assert eight["test"]["loss"] != one["test"]["loss"]
    assert "beta" in (tmp_path / "arms.csv").read_text().splitlines()[0]
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "beta 8" in page and "--loss decoupled" in page
    assert main("--dataset", "wine", "--sweep", "loss=blend,decoupled") == 0
    plain, decoupled = json.loads((tmp_path / "results.json").read_text())["arms"]
    np.testing.assert_allclose(decoupled["test"]["loss"], plain["test"]["loss"], rtol=1e-4)
    capsys.readouterr()
    assert main("--dataset", "wine", "--sweep", "beta=1,8") == 2  # the plain loss has no β
    assert main("--dataset", "wine", "--loss", "decoupled", "--sweep", "gamma=1,8") == 2
    complaints = capsys.readouterr().err.splitlines()
    assert len(complaints) == 2
    assert all("--sweep" in line for line in complaints)
