"""Moved images with a teacher that is asked, fewer rows, fewer labels: who sees and knows what."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import (
    assert_same_tensors,
    classification_data,
    regression_data,
    relative_difference,
    teacher_outputs,
)
from hypothesis import given
from hypothesis import strategies as st

from nkd import (
    Classification,
    Regression,
    Run,
    Settings,
    TeacherOutputs,
    Training,
    UserError,
    compare,
    load_classification,
    load_regression,
)
from nkd.backend import NUMPY
from nkd.conditions import lessons
from nkd.data import fewer_rows, nested_order
from nkd.experiment import Experiment, networks_of
from nkd.losses import softmax
from nkd.report.conditions import ByNumber, Cell
from nkd.report.files import Folder
from nkd.report.screen import Screen
from nkd.report.view import PERSON_MOVED, view_of
from nkd.tables import MovedImages, Table, batch_orders, moved
from nkd.training import Step, answers, for_rows

SIZES, ROWS = (9, 8, 5, 4), 22
SETTINGS = Settings(3, 5, 0.03, jitter=1)
MOVED = Classification(replace(classification_data(ROWS, 9), image_shape=(3, 3)))
W = np.random.default_rng(5).normal(size=(9, 4))


def teacher(x):
    """A teacher that is asked: it answers about each row by itself."""
    return 3 * np.tanh(x @ W)


def train(runs, settings=SETTINGS, problem=MOVED, backend=NUMPY):
    return Training(problem, SIZES, runs, settings, dtype=np.float64, backend=backend)


class Live(Table):
    """Asks the teacher about each batch as it comes, with no table of answers."""

    def __init__(self, training, loss, y):
        super().__init__(training.targets.flat, dtype=np.float64)
        self.inputs, self.loss, self.y = training.train_inputs, loss, y

    def gather(self, rows):
        said = teacher(self.inputs.gather(rows))
        return self.loss.target(self.y[rows % ROWS], said)[0]


def test_asking_before_training_and_asking_about_each_batch_are_the_same(backend):
    runs = [Run(seed, 0.7, 3.0, teacher) for seed in (1, 2)]
    known = train(runs, backend=backend).run()
    live = train(runs)
    y = MOVED.hard_targets(np.float64)
    live.step = Step(
        live.network,
        live.loss,
        live.optimizer,
        live.train_inputs,
        Live(live, live.kinds[0].of(runs, dtype=np.float64), y),
    )
    live.run()
    for replica in range(2):
        tensors = known.network.tensors(replica), live.network.tensors(replica)
        assert_same_tensors(*tensors, 1e-10)
    given_all = answers(teacher, MovedImages(MOVED.data.x_train, (3, 3), 1, scale=1 / 255), 4)
    assert given_all.shape == (9, ROWS, 4)


def test_persons_asked_and_read_students_train_beside_each_other(backend):
    """The asked one's targets are longer than the others', which have one for each row."""
    runs = [Run(1, 0.7, 3.0, teacher), Run(1, 0.4, 2.0, teacher_outputs()), Run(1)]
    together = train(runs, backend=backend).run()
    for replica, run in enumerate(runs):
        alone = train([run]).run()
        tensors = together.network.tensors(replica), alone.network.tensors()
        assert_same_tensors(*tensors, 1e-10)
        objective = together.history[-1].objective[replica]
        assert objective == pytest.approx(alone.history[-1].objective[0])
    label, others = together.history[-1].split
    assert (label[:2] > 0).all()
    assert (others[:2] > 0).all()
    assert np.isnan(label[2])


def test_what_is_not_moved_is_asked_about_once_for_each_row():
    """A function is then the same as its outputs, also for a regression."""
    problem = Regression(regression_data())
    x = problem.data.x_train

    def ask(rows):
        return rows[:, :2] ** 2

    asked, read = (
        Training(problem, (5, 8, 2), [Run(1, 0.5, targets=targets)], Settings(2, 5, 0.01)).run()
        for targets in (ask, ask(x.astype(np.float32)))
    )
    assert_same_tensors(asked.network.tensors(), read.network.tensors(), 0)


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x[:, :3],
        lambda x: x[1:, :4],
        lambda x: np.full((len(x), 4), np.nan),
        lambda x: "no idea",
        lambda x: np.full((len(x), 4), "seven"),
    ],
)
def test_answers_that_are_none_are_refused(ask):
    with pytest.raises(UserError, match=r"a teacher was asked .* answered"):
        train([Run(1, 0.5, 2.0, ask)])


def test_a_student_on_moved_images_agrees_with_pytorch():
    """Ten steps on the same moved images and answers, from outside."""
    torch = pytest.importorskip("torch")
    alpha, T, B = 0.7, 4.0, 11
    settings = Settings(5, B, 0.01, jitter=1)  # 22 rows in batches of 11: ten steps
    training = train([Run(3, alpha, T, teacher)], settings)
    start = training.network.tensors()
    training.run()

    weights = {name: torch.tensor(start[name], requires_grad=True) for name in start}
    adam = torch.optim.Adam(weights.values(), lr=0.01)
    cosine = torch.optim.lr_scheduler.LambdaLR(adam, lambda k: 0.5 + 0.5 * np.cos(np.pi * k / 10))
    images = torch.tensor(MOVED.data.x_train / 255.0).reshape(ROWS, 3, 3)
    padded, y = torch.nn.functional.pad(images, (1, 1, 1, 1)), torch.tensor(MOVED.data.y_train)
    for order in moved(batch_orders([3], ROWS, 5), [3], 1):
        for views in order[0].reshape(-1, B):
            rows, down, right = views % ROWS, views // ROWS // 3 - 1, views // ROWS % 3 - 1
            x = torch.stack(
                [
                    padded[n, 1 - d : 4 - d, 1 - r : 4 - r]
                    for n, d, r in zip(rows, down, right, strict=True)
                ]
            ).reshape(B, 9)
            z = x
            for layer in (1, 2, 3):
                z = z @ weights[f"dense{layer}.W"] + weights[f"dense{layer}.b"]
                z = torch.relu(z) if layer < 3 else z
            said = torch.tensor(teacher(x.numpy()))
            soft = torch.nn.functional.kl_div(
                torch.log_softmax(z / T, 1), torch.softmax(said / T, 1), reduction="batchmean"
            )
            hard = torch.nn.functional.cross_entropy(z, y[rows])
            adam.zero_grad()
            ((1 - alpha) * hard + alpha * T**2 * soft).backward()
            adam.step()
            cosine.step()
    for name, tensor in training.network.tensors().items():
        assert relative_difference(tensor, weights[name].detach().numpy()) <= 1e-9, name


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=6),
    st.integers(0, 10**6),
)
def test_the_beginning_of_the_order_is_a_fair_sample_of_the_classes(sizes, seed):
    y = np.repeat(np.arange(len(sizes)), sizes)
    y = np.random.default_rng(seed).permutation(y)
    order = nested_order(y)
    assert (np.sort(order) == np.arange(len(y))).all()
    counts = np.cumsum(y[order][:, None] == np.arange(len(sizes)), axis=0)
    assert (counts[len(sizes) - 1] == 1).all()  # one of each class first
    # Later a class has its share, but for the one with which each class starts.
    shares = np.arange(1, len(y) + 1)[:, None] * np.array(sizes) / len(y)
    assert (abs(counts - shares) <= len(sizes)).all()


def test_fewer_rows_are_drawn_once_and_lie_within_more():
    data = load_classification("digits")
    some, rows = fewer_rows(data, 100)
    more, others = fewer_rows(data, 300)
    assert set(rows) < set(others)
    assert (some.x_train == data.x_train[rows]).all()
    assert (more.y_train == data.y_train[others]).all()
    assert (np.bincount(some.y_train) >= 9).all()
    _, everything = fewer_rows(data, len(data.x_train))
    assert (everything == np.arange(len(data.x_train))).all()
    assert some.x_test is data.x_test
    houses = load_regression("friedman")
    assert len(fewer_rows(houses, 7)[0].y_train) == 7
    for count in (0, 9, 1438, 20.5, float("nan")):
        with pytest.raises(UserError, match="whole number from 10, one of each class, to 1,437"):
            fewer_rows(data, count)


@given(st.integers(1, 500), st.integers(1, 2000), st.integers(1, 64), st.integers(1, 30))
def test_fewer_rows_get_steps_by_one_rule(rows, more, batch_size, epochs):
    of = rows + more
    settings = Settings(epochs, batch_size, 0.1, average=epochs)
    own = for_rows(settings, rows, of)
    assert for_rows(settings, of, of) == settings
    assert own.average == own.epochs  # a mean keeps its share
    per_epoch = -(-rows // batch_size)
    steps = epochs * -(-of // batch_size)
    for power, low, high in ((0.0, steps, steps), (1.0, steps * rows / of, steps * rows / of)):
        found = for_rows(settings, rows, of, power).epochs * per_epoch
        assert low - per_epoch <= found <= high + per_epoch
    hundredth = for_rows(Settings(20, 100, 0.1), 600, 60_000)
    assert hundredth.epochs == 63  # three times 20, as its documentation says
    moved_images = for_rows(replace(settings, jitter=2), rows, of)
    assert abs(moved_images.epochs * per_epoch - steps) <= per_epoch  # as many steps
    changed = {"epochs": 1, "average": 0, "report_every": 0}
    assert replace(own, **changed) == replace(settings, **changed)


def test_where_a_label_is_missing_the_teacher_s_answer_takes_its_place():
    """α = 0 on known labels alone, by definition; elsewhere what the teacher says, at T = 1."""
    z, labelled = teacher_outputs(), np.arange(ROWS) < 6
    wrong = MOVED.data.y_train.copy()
    wrong[6:] = (wrong[6:] + 1) % 4  # labels that the run does not know
    other = Classification(replace(MOVED.data, y_train=wrong))
    settings = replace(SETTINGS, jitter=0)
    run = Run(1, 0.4, 3.0, z, labelled=labelled)
    one, two = (train([run], settings, problem).run() for problem in (MOVED, other))
    assert_same_tensors(one.network.tensors(), two.network.tensors(), 0)
    target = one.targets.flat
    y, p_T = MOVED.hard_targets(np.float64), softmax(z, 3.0)
    hard = np.where(labelled[:, None], y, softmax(z))
    np.testing.assert_allclose(target, 0.6 * hard + 0.4 * 3.0 * p_T, rtol=1e-12)
    numbers = Regression(regression_data())
    said = teacher_outputs(outputs=2)
    run = Run(1, 0.4, targets=said, labelled=labelled)
    made = Training(numbers, (5, 8, 2), [run], settings, dtype=np.float64)
    np.testing.assert_allclose(made.targets.flat[6:], said[6:], rtol=1e-12)
    for run, message in (
        (Run(1, 0.4, targets=said, labelled=labelled[:3]), r"labelled of a run has \(3,\)"),
    ):
        with pytest.raises(UserError, match=message):
            Training(numbers, (5, 8, 2), [run], settings)
    with pytest.raises(UserError, match="needs the teacher"):
        Run(1, labelled=labelled)


def test_who_trains_on_what():
    problem, settings = Classification(load_classification("digits")), Settings(10, 32, 0.01)
    targets = np.random.default_rng(0).normal(size=(2, 1437, 10))
    how = {"alpha": 0.5, "temperature": 2.0}
    student, person = lessons(problem, settings, [0, 1], targets, how, rows=100).values()
    assert student.problem is person.problem
    assert len(student.problem.data.x_train) == 100
    assert student.settings == person.settings == for_rows(settings, 100, 1437)
    _, rows = fewer_rows(problem.data, 100)
    assert all((run.targets == targets[n][rows]).all() for n, run in enumerate(student.runs))
    student, person = lessons(problem, settings, [0, 1], targets, how, labels=100).values()
    assert student.problem is problem
    assert student.settings == settings
    assert (np.flatnonzero(student.runs[0].labelled) == rows).all()
    assert (person.problem.data.x_train == problem.data.x_train[rows]).all()
    assert person.settings == for_rows(settings, 100, 1437)
    assert all(run.alpha == 0 and run.labelled is None for run in person.runs)


@pytest.fixture(scope="module")
def digits():
    """Digits, and Teachers on moved images."""
    problem = Classification(load_classification("digits"))
    return problem, networks_of(problem, (32,), [0, 1], Settings(6, 32, 0.01, jitter=1)).run()


OPTIONS = {"alpha": 0.7, "temperature": 2.0, "seeds": range(4)}


def test_the_two_by_two_and_the_numbers_of_rows_and_labels_are_reported(tmp_path, capsys, digits):
    problem, teachers = digits
    results = compare(
        problem,
        teachers,
        (8,),
        Settings(6, 32, 0.01),
        **OPTIONS,
        moved=1,
        sweep={"rows": [100, 1437], "labels": [60, 20], "alpha": [0.2]},
        screen=Screen(),
        folder=Folder(tmp_path),
    )
    record = json.loads((tmp_path / "results.json").read_text())
    plain = results.final("person")["errors"]
    assert record["moved"]["images_as_they_are"]["person"] == plain.tolist()
    assert record["moved"]["moved_images"]["person"] != plain.tolist()
    difference = record["moved"]["student_minus_person_on_moved_images"]
    values = record["moved"]["moved_images"]
    assert difference["mean"] == pytest.approx(
        np.mean(values["student"]) - np.mean(values["person"])
    )
    few, everything = record["rows"]
    assert [few["rows"], everything["rows"]] == [100, 1437]
    assert few["person"] > everything["person"]
    # All rows are the experiment itself.
    assert everything["values"]["student"] == results.final("student")["errors"].tolist()
    assert [cell["labels"] for cell in record["labels"]] == [20, 60]
    for cell in record["labels"]:
        assert set(cell["values"]) == {"teacher", "student", "person", PERSON_MOVED}
        assert cell["person"] == min(np.mean(cell["values"][n]) for n in ("person", PERSON_MOVED))
        assert cell["difference"] == pytest.approx(cell["student"] - cell["person"])
        assert {"low", "high", "verdict"} <= set(cell)
    assert [arm["arm"] for arm in record["arms"]] == ["alpha 0.2"]
    printed, page = capsys.readouterr().out, (tmp_path / "report.html").read_text("utf-8")
    for title in ("By number of rows", "By number of labels"):
        assert title in printed
        assert title in page
    assert "With and without moved images" in printed
    assert "Could the small network have done it alone?" in page
    for name in ("rows.png", "labels.png"):
        assert (tmp_path / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_few_rows_or_labels_are_an_experiment_of_its_own(digits, tmp_path):
    problem, teachers = digits
    settings, options = Settings(6, 32, 0.01), {**OPTIONS, "moved": 1}
    results = compare(problem, teachers, (8,), settings, **options, rows=60)
    assert len(results.networks["student"].training.train_inputs) == 60
    assert "60 rows for Student and Person" in results.sentence()
    few = networks_of(problem, (32,), [0, 1], teachers.settings, labels=60)
    assert few.settings.epochs > teachers.settings.epochs
    folder = Folder(tmp_path)
    results = compare(problem, few, (8,), settings, **options, labels=60, folder=folder)
    assert [len(results.networks[n].training.train_inputs) for n in ("student", "person")] == [
        1437,
        60,
    ]
    assert "60 labels" in results.sentence()
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "It learned from 60 true labels on moved images." in page  # the Teacher
    assert "learned from 60 true labels and from the Teacher" in page
    assert "it learned from 60 true labels alone" in page
    assert {"student.safetensors", "person.safetensors"} <= set(folder.kept())
    with pytest.raises(UserError, match="made for 60 rows"):
        compare(problem, few, (8,), settings, **OPTIONS)


def test_a_table_of_outputs_can_teach_few_rows_and_labels():
    problem = Regression(load_regression("friedman"))
    said = TeacherOutputs(problem.data.y_train, problem.data.y_test)
    for known in ({"rows": 50}, {"labels": 50}):
        results = compare(problem, said, (8,), Settings(5, 32, 0.01), seeds=[0, 1], **known)
        # It says the truth: nothing new about rows with a label, everything about the others.
        assert (results.difference.mean < 0) == ("labels" in known)
        assert (results.difference.mean == 0) == ("rows" in known)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 9}, "--rows 9: give a whole number from 10"),
        ({"rows": 1438}, "--rows 1438: "),
        ({"sweep": {"rows": [50, 5000]}}, "--sweep rows=5000: "),
        ({"sweep": {"labels": [50.5]}}, r"--sweep labels=50\.5: "),
        ({"sweep": {"rows": [50, 50]}}, "each once"),
        ({"sweep": {"rows": []}}, "at least one"),
        ({"rows": 50, "labels": 50}, "one of them"),
        ({"rows": 50, "sweep": {"labels": [50]}}, "not both"),
    ],
)
def test_what_cannot_be_counted_is_refused_before_anything_is_trained(digits, options, message):
    problem, _ = digits
    teachers = networks_of(problem, (8,), [0], SETTINGS)
    with pytest.raises(UserError, match=message):
        compare(problem, teachers, (8,), SETTINGS, seeds=[0], **options)
    assert not teachers.started


def test_outputs_cannot_be_asked(digits):
    problem, _ = digits
    said = TeacherOutputs(np.zeros((1437, 10)), np.zeros((360, 10)))
    for options in ({"moved": 1}, {"sweep": {"labels": [50]}}):
        with pytest.raises(UserError, match=r"moved=|elsewhere"):
            compare(problem, said, (8,), SETTINGS, seeds=[0], **options)


def test_the_student_is_compared_with_the_better_person_and_cells_are_one_family():
    view = view_of(MOVED)
    generator = np.random.default_rng(0)
    cells = [
        Cell(
            number,
            {
                "student": generator.normal(100 - shift, 1, 5),
                "person": generator.normal(100 + plain, 1, 5),
                PERSON_MOVED: generator.normal(100, 1, 5),
            },
        )
        for number, shift, plain in ((2, 1.5, 9), (1, 50, -9))
    ]
    counts = ByNumber(view, "made up", "labels", cells)
    assert [cell.best_person for cell in counts.cells] == ["person", PERSON_MOVED]
    assert [difference.family for difference in counts.differences] == [2, 2]
    assert max(d.confidence for d in counts.differences) == pytest.approx(0.975)


@pytest.mark.parametrize("loss", ["bounded", "attentive", "rejected"])
def test_losses_that_compare_teacher_and_label_are_refused_where_labels_are_missing(loss):
    problem = Regression(load_regression("friedman"))
    teachers = networks_of(problem, (8,), [0], Settings(1, 64, 0.01), labels=50)
    with pytest.raises(UserError, match=f"loss {loss} compares .*--labels"):
        compare(problem, teachers, (8,), Settings(1, 64, 0.01), seeds=[0], labels=50, loss=loss)
    assert not teachers.started


def test_control_arms_of_few_rows_take_these_rows_from_teachers_that_average(digits):
    problem, _ = digits
    teachers = networks_of(problem, (16,), [0], Settings(3, 32, 0.01, average=2))
    options = {"seeds": [0, 1], "rows": 200, "controls": ["early-teacher", "shuffled-teacher"]}
    results = compare(problem, teachers, (8,), Settings(3, 32, 0.01), **options)
    arms = results.comparison.arms
    assert [arm.name for arm in arms] == ["early-teacher", "shuffled-teacher"]
    assert all(run.targets.shape == (200, 10) for arm in arms for run in arm.runs)


def test_a_sweep_of_numbers_that_stops_keeps_those_that_are_done(digits, tmp_path, monkeypatch):
    problem, teachers = digits
    cell = Experiment.cell

    def stopping(self, what, number):
        if number == 200:
            raise UserError("training diverged")
        return cell(self, what, number)

    monkeypatch.setattr(Experiment, "cell", stopping)
    options = {**OPTIONS, "sweep": {"rows": [100, 200]}, "folder": Folder(tmp_path)}
    with pytest.raises(UserError, match="diverged"):
        compare(problem, teachers, (8,), Settings(3, 32, 0.01), **options)
    record = json.loads((tmp_path / "results.json").read_text())
    assert [cell["rows"] for cell in record["rows"]] == [100]


def test_without_reports_the_last_epoch_is_measured_and_shown(digits, tmp_path):
    problem, teachers = digits
    settings = Settings(3, 32, 0.01, report_every=0)
    results = compare(problem, teachers, (8,), settings, **OPTIONS, folder=Folder(tmp_path))
    history = results.networks["student"].training.history
    assert [bool(epoch.test) for epoch in history] == [False, False, True]
    assert (tmp_path / "report.html").exists()


def test_a_teacher_with_inputs_of_its_own_can_be_read_but_not_asked(digits):
    problem, _ = digits
    data = problem.data
    doubled = {name: np.tile(getattr(data, name), 2) for name in ("x_train", "x_test")}
    other = Classification(replace(data, image_shape=None, **doubled))
    teachers = networks_of(other, (8,), [0], Settings(1, 32, 0.01))
    results = compare(problem, teachers, (8,), Settings(1, 32, 0.01), seeds=[0])
    assert results.teachers == 1
    with pytest.raises(UserError, match="same inputs"):
        compare(problem, teachers, (8,), Settings(1, 32, 0.01), seeds=[0], moved=1)


def test_one_function_is_asked_once_however_often_it_is_named():
    class Teacher:
        asked = 0

        def ask(self, x):
            self.asked += 1
            return teacher(x)

    one = Teacher()
    training = train([Run(1, 0.5, 2.0, one.ask), Run(2, 0.5, 2.0, one.ask)])
    assert one.asked == 1  # all 9 · 22 views in one question
    assert len(training.targets.flat) == 9 * ROWS
