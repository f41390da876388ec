"""`nkd claims`: what is tested is what is said, results are kept, and the record is the table's."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from nkd import Settings, load_regression
from nkd.__main__ import main
from nkd.claims import laboratory
from nkd.claims.command import markdown
from nkd.claims.experiments import CLAIMS, fitted_temperatures, friedman
from nkd.work import Work

DOCS = Path(__file__).parents[1] / "docs"
SHORT = Settings(2, 128, 4e-3, report_every=0)


@pytest.fixture
def claims(monkeypatch, tmp_path, capsys):
    """Calls `nkd claims` with small networks that are hardly trained; returns what it prints."""
    plan = laboratory.Plan(SHORT, SHORT, teacher_units=(8,), student_units=(4,))
    monkeypatch.setitem(laboratory.PLANS, "digits", plan)

    def call(*flags, code=0, out=tmp_path / "out"):
        words = ["claims", "--dataset", "digits", "--backend", "numpy", "--repetitions", "2"]
        monkeypatch.setattr(sys, "argv", ["nkd", *words, "--out", str(out), *flags])
        assert main() == code
        return capsys.readouterr()

    return call


def test_each_claim_is_tested_once_and_kept(claims, tmp_path):
    printed = claims().out
    records = json.loads((tmp_path / "out" / "claims.json").read_text())
    names = [claim.name for claim in CLAIMS]
    assert list(records["claims"]) == names and records["seeds"] == [0, 1]
    for claim in CLAIMS:
        record = records["claims"][claim.name]
        assert len(record["a"]) == len(record["b"]) == 2
        assert all(len(values) == 2 for values in record["beside"].values())
        assert re.search(rf"/{len(CLAIMS)}  {claim.name} ", printed)  # as it is measured
        assert re.search(rf"^ ?{claim.name} ", printed, re.MULTILINE)  # in the table
    assert (tmp_path / "out" / "claims.md").read_text() == markdown(records)
    claims()
    assert json.loads((tmp_path / "out" / "claims.json").read_text())["claims"] == records["claims"]


def test_a_test_that_was_interrupted_goes_on_to_the_same_numbers(claims, tmp_path, monkeypatch):
    only = "--only", "smoothed-teacher"
    claims(*only, out=tmp_path / "whole")
    train = Work.train

    def interrupted(self, name, training, show):
        if name.endswith("students"):
            raise KeyboardInterrupt
        train(self, name, training, show)

    monkeypatch.setattr(Work, "train", interrupted)
    said = claims(*only, code=130).err
    assert f"--resume {tmp_path / 'out'}" in said
    monkeypatch.setattr(Work, "train", train)
    assert "teacher: was done before" in claims(*only).out
    one, other = (
        json.loads((tmp_path / folder / "smoothed-teacher.json").read_text())
        for folder in ("whole", "out")
    )
    assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_what_makes_no_sense_is_refused_in_one_line(claims):
    assert "--only none: choose from calibration," in claims("--only", "none", code=2).err
    assert "must lie in 2 …" in claims("--repetitions", "1", code=2).err
    claims("--only", "bayes-teacher")
    assert "another seeds" in claims("--first-seed", "5", code=2).err


def test_the_truth_of_friedman_s_problem_leaves_the_noise_alone():
    data = load_regression("friedman")
    x = data.x_test * data.feature_deviation + data.feature_mean
    noise = data.y_test[:, 0] - friedman(x)
    assert abs(noise.mean()) < 4 / len(noise) ** 0.5
    assert noise.std() == pytest.approx(data.noise_floor, rel=4 / (2 * len(noise)) ** 0.5)


def test_a_fitted_temperature_makes_up_for_the_scale_of_logits():
    stream = np.random.default_rng(0)
    z = stream.normal(0, 2, (1, 4000, 5))
    p = np.exp(z[0]) / np.exp(z[0]).sum(axis=-1, keepdims=True)
    y = (p.cumsum(axis=-1) < stream.random((4000, 1))).sum(axis=-1)
    once, tripled = fitted_temperatures(np.concatenate([z, 3 * z]), y)
    assert once == pytest.approx(1, abs=0.1) and tripled == pytest.approx(3 * once, rel=1e-3)


@pytest.mark.parametrize("dataset", ["mnist", "digits"])
def test_the_documented_table_is_that_of_the_record(dataset):
    records = json.loads((DOCS / "results" / f"claims-{dataset}.json").read_text("utf-8"))
    assert markdown(records) in (DOCS / "claims.md").read_text("utf-8")
    assert list(records["claims"]) == [claim.name for claim in CLAIMS]
