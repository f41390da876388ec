"""Sweeps and control arms: the same numbers in any passes, and what each arm imitates."""

import json

import numpy as np
import pytest
from conftest import classification_data, regression_data, teacher_outputs
from hypothesis import given
from hypothesis import strategies as st
from test_runners import CLASSIFICATION, REGRESSION, run

from nkd import UserError
from nkd.arms import Arm, cells, control, scales
from nkd.backend import NUMPY
from nkd.checkpoint import history_of
from nkd.distillation import Classification, Regression, Run, pairs
from nkd.memory import bytes_of_training
from nkd.training import Settings, Training
from nkd.work import Pass, Work, divided

SIZES, SEEDS = (6, 8, 5, 4), (3, 4, 5)
SETTINGS = Settings(epochs=3, batch_size=5, learning_rate=0.02)
PROBLEM = Classification(classification_data())
Y = PROBLEM.data.y_train
TEACHERS = np.stack([teacher_outputs(seed=seed) for seed in (0, 1, 2)])
STUDENTS = pairs(SEEDS, 0.5, TEACHERS, 2.0)[:3]  # each with a teacher of its own


def never():
    raise AssertionError("not needed for this arm")


def trained(problem, sizes, arms, settings, memory=10**9, backend=NUMPY):
    """The test metrics of arms, trained in the passes that fit into the memory."""
    work = Pass("arms", problem, sizes, [run for arm in arms for run in arm.runs], settings)
    state = Work(memory, backend).measure(work, Training.run, arm=len(arms[0].runs))
    measured = history_of(state)[-1].test
    return {name: values.reshape(len(arms), -1) for name, values in measured.items()}


def finals(arms, memory, backend=NUMPY):
    return trained(PROBLEM, SIZES, arms, SETTINGS, memory, backend)


def test_a_sweep_of_one_cell_is_the_plain_run_bit_for_bit():
    plain = Training(PROBLEM, SIZES, pairs(SEEDS, 0.5, TEACHERS, 2.0), SETTINGS).run()
    swept = finals(
        cells({"alpha": [0.5], "temperature": [2.0]}, pairs(SEEDS, 0.1, TEACHERS)[:3]), 10**9
    )
    for name, values in plain.history[-1].test.items():
        assert swept[name][0].tolist() == values[:3].tolist()


def test_the_numbers_do_not_depend_on_the_passes():
    arms = cells({"alpha": [0.1, 0.9], "temperature": [1.0, 4.0]}, STUDENTS)

    runs = [run for arm in arms for run in arm.runs]

    def needed(some):
        part = runs[some.start : some.stop]
        return bytes_of_training(PROBLEM, SIZES, part, SETTINGS)

    whole = finals(arms, 10**9)
    for several in (1, 2, 3, 7):  # runs that just fit
        memory = needed(range(several))
        assert len(divided(range(len(runs)), 3, needed, memory)) > 1
        for name, values in finals(arms, memory).items():
            assert values.tolist() == whole[name].tolist()
    with pytest.raises(UserError, match="allow more"):
        divided(range(len(runs)), 3, needed, needed(range(1)) - 1)


@given(
    st.lists(st.integers(1, 10), min_size=1, max_size=24),
    st.integers(1, 5),
    st.integers(10, 60),
    st.data(),
)
def test_runs_are_divided_into_few_parts_that_fit_and_whole_arms_if_these_do(
    sizes, arm, memory, data
):
    start = data.draw(st.integers(0, len(sizes) - 1))

    def needed(some):
        return sum(sizes[some.start : some.stop])

    parts = divided(range(start, len(sizes)), arm, needed, memory)
    assert [run for part in parts for run in part] == list(range(start, len(sizes)))
    for part in parts:
        assert needed(part) <= memory
        number = part.start // arm
        whole = range(max(number * arm, start), min((number + 1) * arm, len(sizes)))
        if needed(whole) <= memory and part.start == whole.start:
            assert part.stop % arm == 0 or part.stop == len(sizes)
            following = range(part.start, min(part.stop + arm, len(sizes)))
            assert following == part or needed(following) > memory


def test_the_cells_are_all_combinations_and_keep_seeds_and_teachers():
    arms = cells({"alpha": [0.1, 0.9], "temperature": [1.0, 4.0]}, STUDENTS)
    assert [(arm.cell["alpha"], arm.cell["temperature"]) for arm in arms] == [
        (0.1, 1.0), (0.1, 4.0), (0.9, 1.0), (0.9, 4.0),
    ]  # fmt: skip
    for arm in arms:
        for each, student in zip(arm.runs, STUDENTS, strict=True):
            assert (each.alpha, each.temperature) == tuple(arm.cell.values())
            assert (each.seed, each.targets is student.targets) == (student.seed, True)


def test_each_student_of_several_teachers_learns_from_its_own():
    runs = pairs(range(6), 0.5, TEACHERS, 2.0)
    assert [np.array_equal(each.targets, TEACHERS[n % 3]) for n, each in enumerate(runs[:6])] == [
        True
    ] * 6
    training = Training(PROBLEM, SIZES, runs, SETTINGS)
    assert training.order_seeds == list(range(6))  # batches are shared all the same
    alone = Training(PROBLEM, SIZES, [runs[4]], SETTINGS).run()
    together = training.run().history[-1].test["loss"][4]
    assert together == alone.history[-1].test["loss"][0]


@pytest.mark.parametrize("name", ["label-smoothing", "shuffled-teacher", "permuted-teacher"])
def test_a_control_arm_changes_each_teacher_and_nothing_else(name):
    arm = control(name, STUDENTS, Y, never, never)
    for each, student in zip(arm.runs, STUDENTS, strict=True):
        assert (each.seed, each.alpha, each.temperature) == (student.seed, 0.5, 2.0)
        assert each.targets.shape == student.targets.shape
        assert not np.array_equal(each.targets, student.targets)
        if name == "shuffled-teacher":
            assert sorted(map(tuple, each.targets)) == sorted(map(tuple, student.targets))
    # What is made of different teachers is different.
    assert len({each.targets.tobytes() for each in arm.runs}) == len(STUDENTS)


@pytest.mark.parametrize(("name", "epochs"), [("untrained-teacher", 0), ("early-teacher", 1)])
def test_a_younger_teacher_takes_the_place_of_each_teacher(name, epochs):
    young = TEACHERS[::-1] * 0.5
    arm = control(name, STUDENTS, Y, {epochs: young}.__getitem__, never)
    for each, expected in zip(arm.runs, young, strict=True):
        np.testing.assert_array_equal(each.targets, expected)


def test_the_scaled_person_has_nearly_the_students_gradient():
    settings = Settings(epochs=3, batch_size=5, learning_rate=0.01, optimizer="sgd")
    factors = scales(PROBLEM, SIZES, STUDENTS, settings)
    arm = control("scaled-person", STUDENTS, Y, never, lambda: factors)
    assert [each.alpha for each in arm.runs] == [0, 0, 0]
    assert [each.learning_rate_factor for each in arm.runs] == factors

    def mean_norms(runs):
        """Of the gradients, times the factor on the learning rate: of the steps, that is."""
        total, steps = 0.0, 0

        def look(network):
            nonlocal total, steps
            total, steps = total + np.linalg.norm(network.gradients, axis=1), steps + 1

        Training(PROBLEM, SIZES, runs, settings, on_gradients=look).run()
        return total / steps * [run.learning_rate_factor for run in runs]

    student, person = mean_norms(STUDENTS), mean_norms([Run(seed) for seed in SEEDS])
    np.testing.assert_allclose(factors, student / person, rtol=1e-5)
    scaled = mean_norms(arm.runs)
    assert (abs(scaled / student - 1) < 0.3 * abs(person / student - 1) + 0.05).all()


def test_a_regression_sweeps_its_losses():
    problem = Regression(regression_data())
    students = pairs(SEEDS, 0.5, teacher_outputs(outputs=2))[:3]
    arms = cells({"loss": ["blend", "bounded", "attentive", "rejected"]}, students)
    settings = Settings(epochs=3, batch_size=5, learning_rate=0.02)
    measured = trained(problem, (5, 8, 2), arms, settings)
    assert measured["rmse"].shape == (4, 3)
    for number, arm in enumerate(arms):
        alone = Training(problem, (5, 8, 2), arm.runs, settings).run()
        np.testing.assert_allclose(
            measured["rmse"][number], alone.history[-1].test["rmse"], rtol=1e-5
        )


def test_a_sweep_and_arms_as_a_user_runs_them(tmp_path):
    process = run(
        CLASSIFICATION, "--dataset", "digits", "--epochs", 2, "--seeds", 4, "--teachers", 2,
        "--recipe", "plain", "--backend", "numpy", "--sweep", "temperature=2,8", "alpha=0.3,0.9",
        "--memory", "120M", "--arms", "all", "--out", tmp_path,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert "9 arms against the Person" in process.stdout
    assert "2 teachers with 2 pair(s) each" in process.stdout
    assert process.stdout.count("networks, side by side, trained in") > 1  # passes
    results = json.loads((tmp_path / "results.json").read_text())
    records = {record["arm"]: record for record in results["arms"]}
    assert len(records) == 9
    plain, cell = results["student"]["test"], records["temperature 2, alpha 0.3"]["test"]
    assert {name: plain[name]["values"] for name in plain} == cell
    for record in records.values():
        difference = np.subtract(
            record["test"]["errors"], results["person"]["test"]["errors"]["values"]
        )
        assert record["arm_minus_person"]["mean"] == pytest.approx(difference.mean())
        assert record["arm_minus_person"]["pairs"] == 2  # the teachers
        assert record["arm_minus_person"]["family"] == 9
    lines = (tmp_path / "arms.csv").read_text().splitlines()
    assert lines[0].startswith("arm,temperature,alpha,errors_mean")
    assert len(lines) == 10
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    assert "early-teacher" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("script", "flags", "part"),
    [
        (CLASSIFICATION, ["--sweep", "beta=1,2"], "--sweep beta=1,2"),
        (CLASSIFICATION, ["--sweep", "alpha=0.1,x"], "--sweep alpha=0.1,x"),
        (CLASSIFICATION, ["--sweep", "alpha=0.1,2"], "alpha 2 of a run"),
        (CLASSIFICATION, ["--sweep", "alpha=0.1,0.1"], "each once"),
        (CLASSIFICATION, ["--arms", "nobody"], "--arms nobody"),
        (CLASSIFICATION, ["--dataset", "digits", "--rows", "5"], "--rows 5: "),
        (CLASSIFICATION, ["--dataset", "digits", "--labels", "2000"], "--labels 2000: "),
        (CLASSIFICATION, ["--rows", "50", "--labels", "50"], "--rows 50: "),
        (CLASSIFICATION, ["--dataset", "digits", "--sweep", "rows=50,nan"], "--sweep rows=nan: "),
        (CLASSIFICATION, ["--sweep", "rows=many"], "--sweep rows=many"),
        (CLASSIFICATION, ["--first-seed", "9" * 40], "--first-seed 999"),
        (REGRESSION, ["--dataset", "friedman", "--labels", "0"], "--labels 0: "),
        (CLASSIFICATION, ["--arms", "scaled-person"], "--optimizer sgd"),
        (REGRESSION, ["--arms", "label-smoothing"], "--arms label-smoothing"),
        (REGRESSION, ["--sweep", "temperature=1"], "--sweep temperature=1"),
        (REGRESSION, ["--sweep", "loss=blind"], "--sweep loss=blind"),
        (CLASSIFICATION, ["--teachers", "3"], "must divide --seeds 5"),
        (CLASSIFICATION, ["--memory", "much"], "--memory much"),
        (CLASSIFICATION, ["--memory", "1M", "--dataset", "digits", "--epochs", "1"], "--memory 1M"),
    ],
)
def test_what_makes_no_sense_gets_one_line(script, flags, part, tmp_path):
    process = run(script, *flags, "--out", tmp_path / "out")
    assert process.returncode == 2
    assert process.stderr.count("\n") == 1
    assert part in process.stderr


def test_arms_are_named_for_people():
    arm = cells({"loss": ["bounded"], "alpha": [0.25]}, [Run(0, 0.5, targets=TEACHERS[0])])[0]
    assert isinstance(arm, Arm)
    assert arm.name == "loss bounded, alpha 0.25"
