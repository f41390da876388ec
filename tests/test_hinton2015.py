"""The reproduction of Hinton, Vinyals and Dean 2015: biases, what is kept, what is reported."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from nkd import Run, Settings, UserError
from nkd.hinton2015 import command
from nkd.hinton2015.biases import add_bias, best_bias, matched_bias
from nkd.hinton2015.command import FULL, QUICK, Flags
from nkd.hinton2015.experiments import Experiments, Plan
from nkd.hinton2015.scoreboard import cells, gap_closed, values_of, verdict
from nkd.report.files import CHECKPOINTS
from nkd.work import Kept

ROOT = Path(__file__).parents[1]
SHORT = Settings(2, 64, 3e-3, report_every=9)
TINY = Plan(
    teacher=dataclasses.replace(SHORT, dropout=(0.1, 0.2, 0.2), largest_norm=3.0, jitter=1),
    alone=SHORT,
    distilled=SHORT,
    without_3=SHORT,
    only_7_and_8=SHORT,
    map={4: SHORT, 300: SHORT},
    alpha=1.0,
    teacher_units=(20, 20),
    student_units=(12, 12),
    temperatures=(1.0, 2.5, 8.0, 20.0),
)
NAMES = ["teacher", "alone", "distilled", "without-3", "only-7-and-8", "map-4", "map-300"]


def logits(seed, rows, ties=False):
    """Random logits and labels; with ties, many rows are equally far from the classes."""
    generator = np.random.default_rng(seed)
    z = generator.normal(0, 3, (rows, 5))
    z = np.round(z) if ties else z
    return z.astype(np.float32), generator.integers(0, 5, rows)


CLASSES = st.sampled_from([(3,), (0, 4), (1, 2, 3)])


@given(st.integers(0, 10**6), st.integers(1, 50), CLASSES, st.data())
def test_the_matched_bias_gives_the_classes_as_many_rows_as_asked_for(seed, rows, classes, data):
    z, _ = logits(seed, rows)
    count = data.draw(st.integers(0, rows))
    b = matched_bias(z, classes, count)
    assert np.isin(add_bias(z, classes, b).argmax(axis=1), classes).sum() == count


@given(st.integers(0, 10**6), st.integers(1, 40), CLASSES, st.booleans())
def test_no_bias_has_fewer_errors_than_the_best_one(seed, rows, classes, ties):
    z, y = logits(seed, rows, ties)

    def errors(b):
        return (add_bias(z, classes, b).argmax(axis=1) != y).sum()

    best = errors(best_bias(z, classes, y))
    assert best <= min(errors(b) for b in np.arange(-30, 30, 0.25) + 0.1)


def test_a_bias_moves_the_logits_of_its_classes_alone():
    z, _ = logits(0, 6)
    moved = add_bias(z, (1, 3), -7.5) - z
    assert (moved == np.where(np.isin(np.arange(5), (1, 3)), -7.5, 0)).all()


def run(out, **flags):
    command.run(Flags(dataset="digits", backend="numpy", out=str(out), **flags), TINY)


def kept(out):
    """What stands in the folder, but for times."""
    found = {}
    for path in out.iterdir():
        if path.suffix == ".json" and "seed" in path.name:
            found[path.name] = json.loads(path.read_text())
            del found[path.name]["seconds"]
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    run(out)
    return out


def test_records_say_what_was_measured_and_what_the_paper_has(whole):
    records = json.loads((whole / "hinton2015.json").read_text())
    assert [record["experiment"] for record in records[:3]] == ["teacher", "alone", "distilled"]
    assert [record["paper"] for record in records[:3]] == [67, 146, 74]
    one = {"experiment", "paper", "mean", "sd", "seeds", "values", "machine", "date", "seconds"}
    for record in records:
        assert one <= record.keys()
        if record["experiment"] == "gap closed":
            continue  # such small networks may leave no gap
        assert record["seeds"] == [0, 1]
        assert record["mean"] == pytest.approx(np.mean(record["values"]))
        assert record["sd"] == pytest.approx(abs(np.subtract(*record["values"])) / 2**0.5)
    by_name = {record["experiment"]: record for record in records}
    assert len(by_name) == len(records) >= 12 + 2 * 4
    errors = [kept(whole)[f"distilled-seed{seed}.json"]["errors"] for seed in (0, 1)]
    assert by_name["distilled"]["values"] == errors
    part = kept(whole)["only-7-and-8-seed1.json"]
    share = 100 * part["test rows"]["errors"] / 360
    assert by_name["only 7 and 8, bias set on the test set"]["values"][1] == pytest.approx(share)
    seven = kept(whole)["without-3-seed0.json"]["training rows"]["errors of the classes"]
    right = by_name["without 3, the threes, bias set on training rows"]["values"][0]
    assert right == pytest.approx(100 * (37 - seven) / 37)  # 37 threes among the 360 test rows
    table = (whole / "hinton2015.md").read_text()
    assert "| 784-12-12-10, soft targets at T = 20 | 74 |" in table
    assert "300 units, T = 20 against T = 8" in table


def test_a_set_bias_helps_a_class_that_was_never_seen(whole):
    for measured in (each for name, each in kept(whole).items() if name.startswith("without-3")):
        assert measured["rows of the classes"] == 37
        assert measured["test rows"]["errors"] <= measured["as trained"]["errors"]
        assert measured["test rows"]["errors"] <= measured["training rows"]["errors"]
        assert measured["as trained"]["bias"] == 0


def test_what_was_done_is_not_done_again_and_the_rest_is_as_if_done_at_once(
    whole, tmp_path, monkeypatch
):
    once, done = Experiments.run, []

    def interrupted(self, name, seed):
        if len(done) == 6:
            raise KeyboardInterrupt
        done.append((name, seed))
        return once(self, name, seed)

    monkeypatch.setattr(Experiments, "run", interrupted)
    with pytest.raises(KeyboardInterrupt, match="6 of 14 experiments are kept"):
        run(tmp_path)
    partial = json.loads((tmp_path / "hinton2015.json").read_text())
    assert partial[0]["seeds"] == [0]
    assert partial[0]["sd"] is None
    before = done.copy()
    done[:] = [None]  # so that it goes on to the end, five at a time
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    monkeypatch.setattr(Experiments, "run", once)
    run(tmp_path)
    assert not set(before) & set(done)
    assert kept(tmp_path) == kept(whole)
    assert not list(tmp_path.glob(".*"))


def test_a_training_goes_on_after_the_epoch_in_which_it_was_stopped(whole, tmp_path, monkeypatch):
    once, written = Kept.write, []

    def write(self, *state):
        once(self, *state)
        written.append(state)
        if len(written) in (1, 4, 9):
            raise KeyboardInterrupt

    monkeypatch.setattr(Kept, "write", write)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt, match=f"--resume {tmp_path}"):
            run(tmp_path, checkpoint_every=0)
        assert len(list((tmp_path / CHECKPOINTS).iterdir())) == 1  # of the one that was stopped
    run(tmp_path, checkpoint_every=0)
    assert kept(tmp_path) == kept(whole)
    assert not (tmp_path / CHECKPOINTS).exists()


def test_more_seeds_are_added_to_those_that_are_there(tmp_path, monkeypatch):
    run(tmp_path, seeds=1, only=["distilled"])
    assert kept(tmp_path).keys() == {"teacher-seed0.json", "distilled-seed0.json"}
    before = kept(tmp_path)
    run(tmp_path, seeds=1, first_seed=1, only=["alone"])
    assert kept(tmp_path) == before | {"alone-seed1.json": kept(tmp_path)["alone-seed1.json"]}


def test_results_of_another_configuration_are_never_mixed_in(tmp_path):
    run(tmp_path, seeds=1, only=["alone"])
    flags = Flags(dataset="digits", backend="numpy", out=str(tmp_path))
    with pytest.raises(UserError, match="another plan"):
        command.run(flags, dataclasses.replace(TINY, alpha=0.5))
    (tmp_path / "configuration.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        run(tmp_path)


def test_a_network_of_the_map_that_diverged_has_no_number(tmp_path, monkeypatch, capsys):
    measure = Experiments.map

    def diverging(self, width, seed):
        training = self.train(
            self.data,
            (width, width),
            [Run(seed, learning_rate_factor=1e30 if T > 8 else 1) for T in TINY.temperatures],
            TINY.map[width],
        )
        with monkeypatch.context() as patch:
            patch.setattr(Experiments, "train", lambda *_: training)
            return measure(self, width, seed)

    monkeypatch.setattr(Experiments, "map", diverging)
    run(tmp_path, seeds=1, only=["map-300"])
    measured = kept(tmp_path)["map-300-seed0.json"]["errors"]
    assert [type(number) for number in measured.values()] == [int, int, int, type(None)]
    assert "| diverged |" in (tmp_path / "hinton2015.md").read_text()
    printed = capsys.readouterr().out
    assert "1 of 4 runs diverged: seed 0, learning_rate_factor 1e+30" in printed
    assert "diverged (T 20)" in printed
    names = [each["experiment"] for each in json.loads((tmp_path / "hinton2015.json").read_text())]
    assert "map, 300 units, T 8" in names and "map, 300 units, T 20" not in names


def test_a_student_of_part_of_the_classes_sees_no_other_row(tmp_path, monkeypatch):
    seen = {}
    train = Experiments.train

    def recorder(self, data, hidden, runs, settings):
        seen[len(data.y_train)] = data, runs[0].targets
        return train(self, data, hidden, runs, settings)

    monkeypatch.setattr(Experiments, "train", recorder)
    run(tmp_path, seeds=1, only=["without-3", "only-7-and-8"])
    labels = {frozenset(data.y_train.tolist()) for data, _ in seen.values()}
    assert labels == {frozenset(range(10)), frozenset(range(10)) - {3}, frozenset({7, 8})}
    whole, _ = max(seen.items())[1]
    teacher = load_file(tmp_path / "teacher-seed0.safetensors")["logits"]
    students = [each for each in seen.values() if each[1] is not None]
    assert len(students) == 2
    for data, targets in students:  # the teacher's word on the very rows of the transfer set
        rows = [np.flatnonzero((whole.x_train == x).all(axis=1))[0] for x in data.x_train[:20]]
        assert (teacher[rows] == targets[:20]).all()


def test_the_gap_closed_and_the_verdict_are_those_of_the_paper():
    papers = {cell.experiment: cell.paper for cell in cells(FULL)}
    by_paper = [{"errors": papers[name]} for name in ("teacher", "alone", "distilled")]
    assert gap_closed(*by_paper) == pytest.approx(papers["gap closed"])
    no_gap = {"teacher": {"errors": 9}, "alone": {"errors": 8}, "distilled": {"errors": 7}}
    cell = next(cell for cell in cells(FULL) if cell.experiment == "gap closed")
    assert values_of(cell, {0: no_gap}) == {}
    by_name = {cell.experiment: cell for cell in cells(QUICK)}
    assert verdict(by_name["distilled"], 74.0) == "reached"
    assert verdict(by_name["distilled"], 80.5) == "missed by 6.5"
    assert verdict(by_name["gap closed"], 90.0) == "missed by 1.1 points"
    assert verdict(by_name["only 7 and 8, bias set on training rows"], 99.0) == ""


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ([], "COMMAND"),
        (["hinton2014"], "hinton2014"),
        (["hinton2015", "--seeds", "0"], "--seeds 0"),
        (["hinton2015", "--data-dir", "nowhere"], "nowhere"),
        (["hinton2015", "--dataset", "digits", "--only", "thrice"], "--only thrice"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(tmp_path, flags, named):
    command = [sys.executable, "-W", "error", "-m", "nkd", *flags]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert process.returncode == 2
    assert process.stderr.startswith("error: ")
    assert len(process.stderr.strip().splitlines()) == 1
    assert named in process.stderr
