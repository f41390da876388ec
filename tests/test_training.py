"""The training loop against the textbook, and what must hold of every run."""

import dataclasses
import itertools
import math
import tracemalloc
from functools import partial

import numpy as np
import oracle
import pytest
from conftest import (
    assert_same_tensors,
    classification_data,
    regression_data,
    relative_difference,
    teacher_outputs,
)

from nkd import (
    Classification,
    Dataset,
    Regression,
    Run,
    Settings,
    Training,
    UserError,
    metrics,
    pairs,
)
from nkd.backend import NUMPY
from nkd.controls import GradientNorms
from nkd.random_streams import Purpose, random_stream
from nkd.tables import Table, batch_orders
from nkd.training import Step, learning_rates
from nkd.weighted_regression import WEIGHINGS

ROWS, BATCH = 22, 5  # five steps per epoch, the last with two rows
SETTINGS = Settings(epochs=2, batch_size=BATCH, learning_rate=0.03)
KINDS = ["classification", "regression"]
PRECISIONS = [(np.float64, 1e-9), (np.float32, 1e-4)]


def problem_of(kind):
    """A problem, sizes for its network, and two teachers' outputs."""
    if kind == "classification":
        return (
            Classification(classification_data(ROWS)),
            (6, 8, 5, 4),
            [teacher_outputs(ROWS, 4, seed) for seed in (0, 1)],
        )
    return (
        Regression(regression_data(ROWS)),
        (5, 8, 5, 2),
        [teacher_outputs(ROWS, 2, seed) for seed in (0, 1)],
    )


def textbook(problem, run, initial, orders, rates):
    """The same run by the oracle: tensors by name, the objectives, and the test loss."""
    data = problem.data
    x, x_test = (rows.astype(np.float64) * data.input_scale for rows in (data.x_train, data.x_test))
    if isinstance(problem, Classification):
        y, y_test = np.eye(problem.outputs)[data.y_train], np.eye(problem.outputs)[data.y_test]
        hard, soft = oracle.cross_entropy, partial(oracle.distillation, T=run.temperature)
    else:
        y, y_test = data.y_train, data.y_test
        hard, soft = oracle.mse, oracle.regression_distillation

    def loss(z, rows):
        if run.alpha == 0:
            return hard(z, y[rows])
        return soft(z, y[rows], run.targets[rows], alpha=run.alpha)

    trained, objectives = oracle.train(
        [tensor.astype(np.float64) for tensor in initial.values()], x, loss, orders, BATCH, rates
    )
    test_loss, _ = hard(oracle.forward(trained, x_test)[-1], y_test)
    return dict(zip(initial, trained, strict=True)), objectives, test_loss


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_ten_steps_are_the_textbooks_ten_steps(backend, kind, dtype, tolerance, schedule):
    problem, sizes, (teacher, other) = problem_of(kind)
    runs = [Run(3, 0.7, 4.0, teacher), Run(4, 0.3, 1.5, other), Run(3), Run(5, 1.0, 2.0, teacher)]
    settings = Settings(2, BATCH, 0.03, schedule)
    generator = np.random.default_rng(0)
    orders = [np.stack([generator.permutation(ROWS) for _ in runs]) for _ in range(2)]
    options = {"dtype": dtype, "backend": backend}
    training = Training(problem, sizes, runs, settings, orders=orders, **options)
    initial = [training.network.tensors(replica) for replica in range(len(runs))]
    training.run()

    rates = [0.03] * 10
    if schedule == "cosine":
        rates = [0.03 * (1 + math.cos(math.pi * step / 10)) / 2 for step in range(10)]
    for replica, run in enumerate(runs):
        own = [order[replica] for order in orders]
        tensors, objectives, test_loss = textbook(problem, run, initial[replica], own, rates)
        assert_same_tensors(training.network.tensors(replica), tensors, tolerance)
        assert objectives == pytest.approx(
            [epoch.objective[replica] for epoch in training.history], rel=tolerance
        )
        assert training.history[-1].test["loss"][replica] == pytest.approx(test_loss, rel=tolerance)


def runs_of_each_loss(teacher, other):
    """Regression runs of all losses, some with faster steps, of two teachers, and a Person."""
    return [
        *(Run(3, 0.6, targets=teacher, loss=loss) for loss in WEIGHINGS),
        Run(3, 0.3, targets=other, loss="bounded", learning_rate_factor=7.0),
        Run(4, 1.0, targets=other, loss="attentive"),
        Run(4, 0.6, targets=other, loss="rejected", learning_rate_factor=0.2),
        Run(4),
        Run(4, learning_rate_factor=5.0),
    ]


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_one_list_of_runs_trains_each_regression_loss_as_its_definition_says(
    backend, dtype, tolerance
):
    problem, sizes, (teacher, other) = problem_of("regression")
    y = problem.data.y_train
    teacher, other = y + 0.3 * (teacher - y), y + 0.3 * (other - y)
    teacher[3] += 30.0  # an outlier for each loss to mind
    runs = runs_of_each_loss(teacher, other)
    orders = [np.random.default_rng(epoch).permutation(ROWS) for epoch in range(2)]
    options = {"dtype": dtype, "backend": backend}
    training = Training(problem, sizes, runs, SETTINGS, orders=orders, **options)
    initial = [training.network.tensors(replica) for replica in range(len(runs))]
    training.run()
    rates = list(learning_rates(SETTINGS.schedule, SETTINGS.learning_rate, 10))
    for replica, run in enumerate(runs):
        s_teacher = y if run.targets is None else run.targets
        loss = oracle.regression_loss(run.loss, y, s_teacher, run.alpha)

        start = [tensor.astype(np.float64) for tensor in initial[replica].values()]
        own = [run.learning_rate_factor * rate for rate in rates]
        trained, objectives = oracle.train(start, problem.data.x_train, loss, orders, BATCH, own)
        expected = dict(zip(initial[replica], trained, strict=True))
        assert_same_tensors(training.network.tensors(replica), expected, tolerance)
        measured = [epoch.objective[replica] for epoch in training.history]
        assert measured == pytest.approx(objectives, rel=tolerance)


def test_each_of_many_losses_is_the_run_on_its_own(backend):
    problem, sizes, teachers = problem_of("regression")
    runs = runs_of_each_loss(*teachers)
    together = Training(problem, sizes, runs, SETTINGS, dtype=np.float64, backend=backend).run()
    for replica, run in enumerate(runs):
        alone = Training(problem, sizes, [run], SETTINGS, dtype=np.float64, backend=backend).run()
        tensors = together.network.tensors(replica), alone.network.tensors()
        assert_same_tensors(*tensors, 1e-11)
        if backend.name == "numpy" and run.loss == "blend":  # through another loss: to the bit
            assert all((tensors[0][name] == tensors[1][name]).all() for name in tensors[0])


def test_the_mean_gradient_norm_is_that_of_the_gradients_that_each_step_took(backend):
    problem, sizes, teachers = problem_of("regression")
    runs = [Run(1, 0.6, targets=teachers[0]), Run(1)]
    settings = Settings(1, BATCH, 1e-300, "constant")  # so that all gradients are of one network
    options = {"dtype": np.float64, "backend": backend}
    norms = GradientNorms()
    training = Training(problem, sizes, runs, settings, on_gradients=norms, **options)
    initial = [list(training.network.tensors(replica).values()) for replica in range(2)]
    training.run()
    (order,) = batch_orders([1], ROWS, 1)
    for replica, run in enumerate(runs):
        s_teacher = problem.data.y_train if run.targets is None else run.targets
        loss = oracle.regression_loss("blend", problem.data.y_train, s_teacher, run.alpha)
        expected = []
        for start in range(0, ROWS, BATCH):
            rows = order[0, start : start + BATCH]
            activations = oracle.forward(initial[replica], problem.data.x_train[rows])
            _, ds = loss(activations[-1], rows)
            gradients = oracle.backward(initial[replica], activations, ds)
            expected.append(math.sqrt(sum((each**2).sum() for each in gradients)))
        assert norms.mean()[replica] == pytest.approx(np.mean(expected), rel=1e-10)


def record(table, backend):
    """Keep what the table gathers: a list of (row numbers, rows)."""
    gathered, gather = [], table.gather

    def recorder(rows):
        batch = gather(rows)
        gathered.append((backend.to_numpy(rows).copy(), backend.to_numpy(batch).copy()))
        return batch

    table.gather = recorder
    return gathered


def use_plain_step(training):
    """A compiled step gathers out of sight; that it equals the plain one is tested elsewhere."""
    training.step = Step(
        training.network,
        training.loss,
        training.optimizer,
        training.train_inputs,
        training.targets,
    )


def test_every_epoch_visits_every_row_once_the_short_last_batch_included(backend):
    rows = 60_000
    x = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    y = (np.arange(rows) % 3).astype(np.int64)
    data = Dataset("made-up", "", x, y, x[:3], y[:3], input_scale=1e-6)
    runs = [Run(1), Run(2)]
    settings = Settings(epochs=2, batch_size=128, learning_rate=1e-3, report_every=9)
    training = Training(Classification(data), (2, 2, 3), runs, settings, backend=backend)
    use_plain_step(training)
    inputs = record(training.train_inputs, backend)
    targets = record(training.targets, backend)
    training.run()

    sizes = [numbers.shape[-1] for numbers, _ in inputs]
    assert sizes == ([128] * 468 + [96]) * 2
    orders = []
    for epoch in (inputs[:469], inputs[469:]):
        numbers = np.concatenate([numbers for numbers, _ in epoch], axis=1)
        batches = np.concatenate([batch for _, batch in epoch], axis=1)
        assert numbers.shape == (2, rows)
        for replica in range(2):
            assert (np.sort(numbers[replica]) == np.arange(rows)).all()
            assert np.allclose(batches[replica], x[numbers[replica]] * 1e-6, rtol=1e-6)
            orders.append(numbers[replica].tobytes())
    assert len(set(orders)) == 4  # no two seeds and no two epochs have the same order
    for (numbers, _), (same, labels) in zip(inputs, targets, strict=True):
        assert (numbers == same).all()
        assert (labels.argmax(axis=-1) == y[numbers]).all()


def lists_of_runs(teacher, other):
    return {
        "a grid of arms and seeds": [
            Run(seed, alpha, T, targets)
            for alpha, T, targets in [(0.9, 4.0, teacher), (0.9, 1.0, teacher), (0.2, 4.0, other)]
            for seed in (1, 2)
        ]
        + [Run(1), Run(2)],
        "an irregular list": [
            Run(1, 0.9, 4.0, teacher),
            Run(2, 0.9, 4.0, other),
            Run(1),
            Run(7, 0.2, 4.0, teacher),
            Run(7, 0.2, 2.0, teacher),
        ],
        "seeds before arms": [
            Run(seed, alpha, 2.0, teacher) for seed in (1, 2) for alpha in (0.5, 0.0)
        ],
        "the same run twice": [Run(1, 0.5, 2.0, teacher)] * 2,
    }


@pytest.mark.parametrize("layout", list(lists_of_runs(*problem_of("regression")[2])))
@pytest.mark.parametrize("kind", KINDS)
def test_each_of_many_runs_is_the_run_on_its_own(backend, kind, layout):
    problem, sizes, teachers = problem_of(kind)
    runs = lists_of_runs(*teachers)[layout]
    options = {"dtype": np.float64, "backend": backend}
    together = Training(problem, sizes, runs, SETTINGS, **options).run()
    outputs = together.outputs(together.test_inputs)
    for replica, run in enumerate(runs):
        alone = Training(problem, sizes, [run], SETTINGS, **options).run()
        assert_same_tensors(together.network.tensors(replica), alone.network.tensors(), 1e-11)
        assert np.allclose(outputs[replica], alone.outputs(alone.test_inputs)[0], rtol=1e-9)
        for epoch, expected in zip(together.history, alone.history, strict=True):
            assert epoch.objective[replica] == pytest.approx(expected.objective[0], rel=1e-11)
            for measured, own in ((epoch.test, expected.test), (epoch.train, expected.train)):
                for name, values in own.items():
                    assert measured[name][replica] == pytest.approx(values[0], rel=1e-9)


def test_runs_in_a_grid_share_their_batches_and_others_do_not(backend):
    problem, sizes, teachers = problem_of("classification")
    shapes = {}
    for layout, runs in lists_of_runs(*teachers).items():
        training = Training(problem, sizes, runs, SETTINGS, backend=backend)
        use_plain_step(training)
        gathered = record(training.train_inputs, backend)
        training.run()
        shapes[layout] = gathered[0][1].shape
    assert shapes == {
        "a grid of arms and seeds": (2, BATCH, 6),  # two batches for eight runs
        "an irregular list": (5, BATCH, 6),
        "seeds before arms": (4, BATCH, 6),
        "the same run twice": (1, BATCH, 6),
    }


def test_pairs_are_students_and_then_persons_of_the_same_seeds():
    teacher = teacher_outputs()
    runs = pairs(range(3), 0.9, teacher, 4.0)
    assert [run.seed for run in runs] == [0, 1, 2, 0, 1, 2]
    assert [run.alpha for run in runs] == [0.9] * 3 + [0.0] * 3
    assert all(run.targets is teacher and run.temperature == 4.0 for run in runs[:3])


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bits(backend, kind):
    problem, sizes, (teacher, _) = problem_of(kind)

    def bits(seed):
        runs = [Run(seed, 0.7, 3.0, teacher), Run(seed)]
        training = Training(problem, sizes, runs, SETTINGS, backend=backend).run()
        objectives = [epoch.objective.tobytes() for epoch in training.history]
        return backend.to_numpy(training.network.parameters).tobytes(), objectives

    assert bits(1) == bits(1)
    assert bits(1) != bits(2)


@pytest.mark.parametrize("layout", ["a grid of arms and seeds", "an irregular list"])
def test_a_given_order_replaces_the_drawn_one_for_all_runs(backend, layout):
    problem, sizes, teachers = problem_of("classification")
    runs = lists_of_runs(*teachers)[layout]
    options = {"dtype": np.float64, "backend": backend}
    orders = [order[0] for order in batch_orders([2], ROWS, SETTINGS.epochs)]  # that of seed 2
    given = Training(problem, sizes, runs, SETTINGS, orders=orders, **options).run()
    drawn = Training(problem, sizes, runs, SETTINGS, **options).run()
    for replica, run in enumerate(runs):
        tensors, expected = given.network.tensors(replica), drawn.network.tensors(replica)
        if run.seed == 2:
            assert_same_tensors(tensors, expected, 1e-11)
        else:
            assert relative_difference(tensors["dense1.W"], expected["dense1.W"]) > 1e-3


def test_given_weights_replace_the_drawn_ones(backend):
    problem, sizes, (teacher, _) = problem_of("classification")
    options = {"dtype": np.float64, "backend": backend}
    orders = [np.arange(ROWS)] * SETTINGS.epochs
    run, other = Run(1, 0.7, 3.0, teacher), Run(9, 0.7, 3.0, teacher)
    expected = Training(problem, sizes, [run], SETTINGS, orders=orders, **options)
    start = expected.network.tensors()
    training = Training(problem, sizes, [Run(4), other], SETTINGS, orders=orders, **options)
    training.network.set_tensors(1, start)
    assert_same_tensors(training.run().network.tensors(1), expected.run().network.tensors(), 1e-11)


def test_orders_for_fewer_epochs_than_asked_for_are_refused(backend):
    problem, sizes, _ = problem_of("classification")
    training = Training(
        problem, sizes, [Run(1)], SETTINGS, orders=[np.arange(ROWS)], backend=backend
    )
    with pytest.raises(UserError, match=r"orders .* fewer than 2 epochs"):
        training.run()
    assert len(training.history) == 1


def allocations_per_step(training):
    """Bytes that each step takes at its peak beyond what was there before it."""
    peaks = []

    def track(starts):
        for start in starts:
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            yield start
            peaks.append(tracemalloc.get_traced_memory()[1] - before)

    # NumPy computes some broadcast or cast operands through buffers of its own, of a constant
    # number of elements: so few here that they hide nothing.
    usual = np.setbufsize(16)
    tracemalloc.start()
    try:
        for _ in training.epochs(track):
            pass
    finally:
        tracemalloc.stop()
        np.setbufsize(usual)
    return peaks


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shared", [True, False], ids=["shared batches", "own batches"])
@pytest.mark.parametrize(
    ("width", "batch"), [(8, 512), (512, 8), (128, 256)], ids=["long", "wide", "large"]
)
def test_a_step_allocates_nothing_that_grows_with_the_network_or_the_batch(
    kind, width, batch, shared
):
    rows = 5 * batch // 2  # the last step of an epoch has half a batch
    if kind == "classification":
        problem = Classification(classification_data(rows, width, 10))
    else:
        problem = Regression(regression_data(rows, width, 8))
    runs = pairs((1, 2), 0.7, teacher_outputs(rows, problem.outputs), 3.0)[: 4 if shared else 3]
    settings = Settings(epochs=3, batch_size=batch, learning_rate=1e-3, report_every=9)
    # They outlive the training, so that no step frees an order, which would hide what it takes.
    orders = [np.stack([np.arange(rows)] * (2 if shared else 3))] * settings.epochs
    sizes = (width, width, problem.outputs)
    training = Training(problem, sizes, runs, settings, orders=orders)
    if kind == "classification":
        assert training.train_inputs.flat.dtype == np.uint8
    warm_up, *steps = allocations_per_step(training)
    assert len(steps) == 3 * settings.epochs - 1
    assert warm_up > 4 * len(orders[0]) * batch * width  # the gathered inputs are seen, at least
    # Python's and NumPy's own objects: less than a number per row or unit of every network.
    assert max(steps) < 3_000


def test_bytes_with_a_scale_train_as_the_numbers_they_stand_for(backend):
    options = {"dtype": np.float64, "backend": backend}
    trained = []
    for pixels in (True, False):
        data = classification_data(ROWS, pixels=pixels)
        assert (data.x_train.dtype == np.uint8) is pixels
        trained.append(Training(Classification(data), (6, 8, 4), [Run(1)], SETTINGS, **options))
        trained[-1].run()
    assert_same_tensors(trained[0].network.tensors(), trained[1].network.tensors(), 1e-9)
    outputs = [training.outputs(training.test_inputs) for training in trained]
    assert np.allclose(*outputs, rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_a_table_gathers_scaled_rows_of_the_version_asked_for(backend, dtype):
    generator = np.random.default_rng(0)
    values = generator.integers(0, 256, (4, 20, 3)).astype(dtype)
    versions = np.array([2, 0, 3, 3, 1, 2])
    plain = Table(values[0], scale=0.5, dtype=np.float64, backend=backend)
    parts = np.stack([20 * versions, np.full(6, 20)], axis=-1)
    rows = values.reshape(-1, 3)
    table = Table(rows, parts, scale=0.5, dtype=np.float64, backend=backend)
    # A short batch in between, and another number of orders for the six networks.
    for orders, count in ((3, 7), (3, 2), (3, 7), (6, 7), (1, 7), (1, 9), (2, 2), (3, 7)):
        numbers = generator.integers(0, 20, (orders, 11))
        rows = backend.asarray(numbers)[:, 1 : 1 + count]
        numbers = numbers[:, 1 : 1 + count]
        gathered = backend.to_numpy(plain.gather(rows))
        assert gathered.shape == (orders, count, 3)
        assert (gathered == values[0][numbers] * 0.5).all()
        gathered = backend.to_numpy(table.gather(rows))
        assert gathered.shape == (6, count, 3)
        for replica, version in enumerate(versions):
            expected = values[version][numbers[replica % orders]] * 0.5
            assert (gathered[replica] == expected).all()
    assert (backend.to_numpy(plain[3:9]) == values[0][3:9] * 0.5).all()
    assert len(plain) == 20


@pytest.mark.parametrize("steps", [1, 2, 9, 500])
def test_learning_rates_are_constant_or_fall_along_a_cosine_to_almost_nothing(steps):
    assert list(learning_rates("constant", 0.3, steps)) == [0.3] * steps
    rates = list(learning_rates("cosine", 0.3, steps))
    assert len(rates) == steps
    assert rates[0] == 0.3
    assert all(now > then for now, then in itertools.pairwise(rates))
    assert rates[-1] > 0
    # Symmetric about the half: all but the first have their opposite.
    assert math.fsum(rates) == pytest.approx(0.3 * (steps + 1) / 2)


def test_an_unknown_schedule_is_refused_with_the_known_names():
    with pytest.raises(UserError, match=r"'typo'.*'constant' or 'cosine'"):
        learning_rates("typo", 0.3, 5)


def test_a_stream_depends_on_its_seed_and_its_purpose_alone():
    def first_numbers(seed, purpose):
        return tuple(random_stream(seed, purpose).integers(0, 2**63, 4))

    streams = {first_numbers(seed, purpose) for seed in range(5) for purpose in Purpose}
    assert len(streams) == 5 * len(Purpose)
    assert first_numbers(1, Purpose.BATCH_ORDER) in streams


def test_a_run_that_listens_to_a_teacher_needs_one():
    with pytest.raises(UserError, match="targets"):
        Run(1, 0.5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [np.s_[:-1], np.s_[:, :-1], np.s_[:, 0], np.s_[None]])
def test_a_teachers_outputs_of_another_shape_are_refused(kind, cut):
    problem, sizes, (teacher, _) = problem_of(kind)
    runs = [Run(1, 0.5, 2.0, teacher), Run(1, 0.5, 2.0, teacher[cut])]
    with pytest.raises(UserError, match="targets") as refusal:
        Training(problem, sizes, runs, SETTINGS)
    assert f"{teacher[cut].shape};" in str(refusal.value)
    assert f"have {teacher.shape}" in str(refusal.value)


def test_a_training_is_done_once(backend):
    problem, sizes, _ = problem_of("regression")
    training = Training(problem, sizes, [Run(1)], SETTINGS, backend=backend).run()
    before = backend.to_numpy(training.network.parameters).copy()
    with pytest.raises(UserError, match="new Training"):
        training.run()
    assert (backend.to_numpy(training.network.parameters) == before).all()
    assert len(training.history) == SETTINGS.epochs


@pytest.mark.parametrize("kind", KINDS)
def test_a_diverging_run_says_what_to_lower(backend, kind):
    problem, sizes, (teacher, _) = problem_of(kind)
    settings = Settings(epochs=9, batch_size=BATCH, learning_rate=1e20)
    training = Training(problem, sizes, pairs([7], 0.5, teacher, 2.0), settings, backend=backend)
    with pytest.raises(UserError, match=r"seed 7\b.*lower the learning rate") as refusal:
        training.run()
    assert "\n" not in str(refusal.value)


def everything_measured(training):
    """All numbers of the history, a row per run."""
    parts = [
        values
        for epoch in training.history
        for values in (epoch.objective, *epoch.test.values(), *(epoch.train or {}).values())
    ]
    return np.stack(parts, axis=1)


@pytest.mark.parametrize("report_every", [0, 1])
@pytest.mark.parametrize("gone", [[2, 3], [1]], ids=["an arm", "one run"])
@pytest.mark.parametrize("kind", KINDS)
def test_runs_that_diverge_are_marked_and_the_others_keep_their_bits(
    backend, kind, gone, report_every
):
    problem, sizes, (teacher, _) = problem_of(kind)
    settings = Settings(6, BATCH, 0.01, report_every=report_every, optimizer="sgd", average=2)
    runs = pairs([7, 8], 0.5, teacher, 2.0)
    mixed = list(runs)
    for number in gone:
        wild = dataclasses.replace(runs[number % 2], learning_rate_factor=1e25)
        mixed.insert(number, wild)
    left = [number for number in range(len(mixed)) if number not in gone]
    training = Training(problem, sizes, mixed, settings, backend=backend).run()
    expected = Training(problem, sizes, runs, settings, backend=backend).run()
    assert (list(training.diverged), expected.diverged) == (gone, {})
    weights, alone = (backend.to_numpy(each.network.parameters) for each in (training, expected))
    assert weights[left].tobytes() == alone.tobytes()
    np.testing.assert_array_equal(
        everything_measured(training)[left], everything_measured(expected)
    )
    for run, epoch in training.diverged.items():
        objectives = [np.isnan(each.objective[run]) for each in training.history]
        assert objectives == [number >= epoch for number in range(1, 7)]
    last = training.history[-1]
    for values in (last.objective, *last.test.values(), *(last.train or {}).values()):
        assert np.flatnonzero(np.isnan(values)).tolist() == gone
    outputs = training.outputs(training.test_inputs)
    assert np.isnan(outputs[gone]).all() and np.isfinite(outputs[left]).all()


def test_training_rows_are_measured_after_reported_epochs_and_the_last(backend):
    problem, sizes, _ = problem_of("classification")
    settings = Settings(epochs=7, batch_size=BATCH, learning_rate=0.01, report_every=3)
    history = Training(problem, sizes, [Run(1)], settings, backend=backend).run().history
    assert [epoch.number for epoch in history] == [1, 2, 3, 4, 5, 6, 7]
    assert [epoch.number for epoch in history if epoch.train is not None] == [3, 6, 7]
    assert all(set(epoch.test) == {"loss", "accuracy", "errors"} for epoch in history)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_measured_follows_from_the_outputs(backend, kind):
    problem, sizes, (teacher, _) = problem_of(kind)
    runs = pairs([1, 2], 0.7, teacher, 3.0)
    training = Training(problem, sizes, runs, SETTINGS, dtype=np.float64, backend=backend).run()
    data, last = problem.data, training.history[-1]
    for inputs, y, measured in (
        (training.train_inputs, data.y_train, last.train),
        (training.test_inputs, data.y_test, last.test),
    ):
        for replica, outputs in enumerate(training.outputs(inputs)):
            if kind == "classification":
                loss, _ = oracle.cross_entropy(outputs, np.eye(4)[y])
                wrong = (outputs.argmax(axis=-1) != y).sum()
                expected = {"loss": loss, "errors": wrong, "accuracy": 1 - wrong / len(y)}
            else:
                loss, mae = ((outputs - y) ** 2).mean(), abs(outputs - y).mean()
                r2 = (1 - ((outputs - y) ** 2).mean(axis=0) / y.var(axis=0)).mean()
                expected = {"loss": loss, "rmse": math.sqrt(loss), "mae": mae, "r2": r2}
            assert {name: values[replica] for name, values in measured.items()} == pytest.approx(
                expected, rel=1e-9
            )


def test_the_split_of_the_soft_gradient_is_measured_in_reported_epochs(backend):
    problem = Classification(classification_data())
    runs = pairs((1, 2), 0.7, teacher_outputs(), 3.0)
    settings = Settings(epochs=3, batch_size=5, learning_rate=0.02, report_every=2)
    training = Training(problem, (6, 8, 4), runs, settings, dtype=np.float64, backend=backend).run()
    splits = [epoch.split for epoch in training.history]
    assert splits[0] is None
    assert splits[1] is not None
    z = training.outputs(training.train_inputs)
    expected = metrics.distillation_gradient_split(
        z[:2], teacher_outputs(), problem.data.y_train, 3.0
    )
    for part, values in zip(splits[2], expected, strict=True):
        np.testing.assert_allclose(part[:2], values, rtol=1e-10)
        assert np.isnan(part[2:]).all()  # the Persons have no teacher
    alone = Training(problem, (6, 8, 4), runs[2:], settings, backend=backend).run()
    assert all(epoch.split is None for epoch in alone.history)


@pytest.mark.parametrize("kind", KINDS)
def test_averaged_weights_are_the_mean_of_those_after_each_late_epoch(backend, kind):
    problem, sizes, (teacher, _) = problem_of(kind)
    runs, options = pairs([1, 2], 0.7, teacher, 3.0), {"dtype": np.float64, "backend": backend}
    settings = Settings(epochs=6, batch_size=BATCH, learning_rate=0.03, schedule="constant")
    plain = Training(problem, sizes, runs, settings, **options)
    after = [backend.to_numpy(plain.network.parameters).copy() for _ in plain.epochs()]
    averaged = Training(problem, sizes, runs, dataclasses.replace(settings, average=4), **options)
    averaged.run()
    actual = backend.to_numpy(averaged.network.parameters)
    np.testing.assert_allclose(actual, np.mean(after[2:], axis=0), rtol=1e-9, atol=1e-12)
    for number, epoch in enumerate(averaged.history):
        same = number < 2  # the mean of one epoch's weights, in the third, is these weights, too
        expected = plain.history[number].test["loss"]
        assert np.allclose(epoch.test["loss"], expected, rtol=1e-9) == (same or number == 2)
        np.testing.assert_allclose(epoch.objective, plain.history[number].objective, rtol=1e-9)
    outputs = averaged.outputs(averaged.test_inputs)
    measured = problem.measure(outputs, problem.data.y_test, NUMPY)["loss"]
    np.testing.assert_allclose(averaged.history[-1].test["loss"], measured, rtol=1e-9)


def test_bounded_features_train_and_predict_as_features_that_were_cut_off(backend):
    data = regression_data()
    bound = 0.8
    cut = {name: np.clip(getattr(data, name), -bound, bound) for name in ("x_train", "x_test")}
    assert (cut["x_train"] != data.x_train).any()
    trained = [
        Training(Regression(each), (5, 8, 2), [Run(1)], SETTINGS, backend=backend).run()
        for each in (
            dataclasses.replace(data, feature_bound=bound),
            dataclasses.replace(data, **cut),
        )
    ]
    first, second = (each.network.tensors() for each in trained)
    assert_same_tensors(first, second, 0)
    np.testing.assert_array_equal(*(each.outputs(each.test_inputs) for each in trained))
