"""The compiled step and forward pass are equal to the plain ones, with all that they support."""

import dataclasses
import os
import threading
import time

import numpy as np
import pytest
from conftest import (
    classification_data,
    regression_data,
    relative_difference,
    teacher_outputs,
    trained_as_plain,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from nkd.backend import NUMPY, choose
from nkd.distillation import Classification, Regression, pairs
from nkd.network import MLP
from nkd.training import Settings, Training

numba = pytest.importorskip("numba")
fused_cpu = pytest.importorskip("nkd.fused_cpu")
cpu_primitives = pytest.importorskip("nkd.cpu_primitives")

ROWS = 330
LARGE, SMALL = (200, 120, 4), (5, 9, 6, 4)
"""Sizes of networks: 3.8 million multiply-adds in 160 rows make several blocks; or few numbers."""
OPTIONS = Settings(epochs=2, batch_size=160, learning_rate=0.003)


def problem_of(task, sizes, images=False):
    """Random data for these sizes."""
    if task == "regression":
        return Regression(regression_data(ROWS, sizes[0], sizes[-1]))
    data = classification_data(ROWS, sizes[0], sizes[-1])
    return Classification(dataclasses.replace(data, image_shape=(10, 20) if images else None))


def runs_of(replicas, shared=True, loss="blend"):
    """Students and Persons of some seeds."""
    runs = pairs(range((replicas + 1) // 2), 0.7, teacher_outputs(ROWS), 3.0, loss)[:replicas]
    return runs if shared else [*runs[1:], runs[0]]


def assert_equal_training(problem, sizes, runs, options):
    """A plain and a compiled training have the same losses and end with the same weights."""
    compiled = trained_as_plain(problem, sizes, runs, options, choose("numba"), 1e-8, 1e-10)
    assert isinstance(compiled.step, fused_cpu.CompiledStep)


@pytest.mark.parametrize("shared", [True, False], ids=["shared batches", "own batches"])
@pytest.mark.parametrize("replicas", [1, 2, 6])
@pytest.mark.parametrize("sizes", [LARGE, SMALL], ids=["large", "small"])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_compiled_step_trains_as_the_plain_one_in_one_thread_and_in_all(
    task, sizes, replicas, shared
):
    runs = runs_of(replicas, shared)
    assert_equal_training(problem_of(task, sizes), sizes, runs, OPTIONS)


@pytest.mark.parametrize(
    "regularised",
    [
        {"dropout": (0.2, 0.5)},
        {"dropout": (0.0, 0.5)},
        {"largest_norm": 0.5},
        {"dropout": (0.5, 0.2), "largest_norm": 1.0, "jitter": 2, "average": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("replicas", [1, 6])
@pytest.mark.parametrize("shared", [True, False], ids=["shared batches", "own batches"])
def test_regularised_training_is_the_same_when_compiled(regularised, replicas, shared):
    problem = problem_of("classification", LARGE, images=True)
    options = dataclasses.replace(OPTIONS, **regularised)
    assert_equal_training(problem, LARGE, runs_of(replicas, shared), options)


@pytest.mark.parametrize("sizes", [LARGE, SMALL], ids=["large", "small"])
def test_regressions_have_dropout_and_bounded_weights_as_well(sizes):
    rates = (0.1,) * (len(sizes) - 1)
    for regularised in ({"dropout": rates}, {"largest_norm": 0.5}):
        options = dataclasses.replace(OPTIONS, **regularised)
        assert_equal_training(problem_of("regression", sizes), sizes, runs_of(2), options)


@pytest.mark.parametrize("sizes", [LARGE, SMALL], ids=["large", "small"])
@pytest.mark.parametrize("loss", ["bounded", "attentive", "rejected"])
def test_losses_that_weigh_rows_are_compiled(loss, sizes):
    assert_equal_training(problem_of("regression", sizes), sizes, runs_of(4, loss=loss), OPTIONS)


@settings(max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 70), min_size=2, max_size=4),
    rows=st.integers(1, 50),
    batch_size=st.integers(1, 50),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_sizes_and_batches_train_as_in_the_plain_step(sizes, rows, batch_size, seed):
    data = regression_data(rows, sizes[0], sizes[-1], seed)
    runs = pairs([seed], 0.5, teacher_outputs(rows, sizes[-1], seed))
    options = Settings(epochs=1, batch_size=batch_size, learning_rate=0.001)
    plain, compiled = (
        Training(Regression(data), sizes, runs, options, dtype=np.float64, backend=backend).run()
        for backend in (NUMPY, choose("numba"))
    )
    parameters = compiled.network.parameters, plain.network.parameters
    assert relative_difference(*parameters) <= 1e-7


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", [(784, 600, 10), (5, 9, 6, 4)], ids=str)
@pytest.mark.parametrize("rows", [0, 1, 7, 3000])
def test_outputs_are_those_of_the_plain_network(rows, sizes, dtype):
    compiled = MLP(sizes, 3, dtype=dtype, backend=choose("numba"))
    plain = MLP(sizes, 3, dtype=dtype)
    for network in (compiled, plain):
        network.initialise([0, 1, 2])
    x = np.random.default_rng(0).normal(size=(rows, sizes[0])).astype(dtype)
    x.flags.writeable = False
    outputs = compiled.predict(x), plain.predict(x)
    assert relative_difference(*outputs) <= {np.float32: 1e-6, np.float64: 1e-14}[dtype]


@pytest.mark.parametrize("sizes", [LARGE, SMALL], ids=["large", "small"])
def test_each_seed_keeps_its_bits_among_others(sizes):
    """Where there are at least as many networks as threads, each is trained by one thread."""
    n = cpu_primitives.THREADS
    problem, runs = problem_of("regression", sizes), runs_of(4 * n)

    def tensors(some):
        training = Training(problem, sizes, some, OPTIONS, backend=choose("numba")).run()
        return [training.network.tensors(replica) for replica in range(len(some))]

    together, few = tensors(runs), tensors(runs[n : 2 * n])
    for one, other in zip(together[n : 2 * n], few, strict=True):
        for name, values in one.items():
            np.testing.assert_array_equal(values, other[name])


@pytest.mark.parametrize("regularised", [{}, {"dropout": (0.2, 0.5), "largest_norm": 1.0}], ids=str)
def test_networks_that_share_all_threads_train_as_the_plain_step(regularised):
    """Several, one after the other, as if there were more threads than networks."""
    problem, runs = problem_of("classification", LARGE), runs_of(6)
    options = dataclasses.replace(OPTIONS, **regularised)
    plain, compiled = (
        Training(problem, LARGE, runs, options, dtype=np.float64, backend=backend)
        for backend in (NUMPY, choose("numba"))
    )
    compiled.step.side_by_side = False
    assert (
        relative_difference(compiled.run().network.parameters, plain.run().network.parameters)
        <= 1e-9
    )


def test_a_small_network_with_a_large_batch_is_trained_by_one_thread():
    """Its layers would have several blocks."""
    rows, sizes = 6000, (100, 12, 2)
    problem = Regression(regression_data(rows, sizes[0], sizes[-1]))
    runs = pairs([0], 0.5, teacher_outputs(rows, sizes[-1]))[:1]
    assert_equal_training(problem, sizes, runs, Settings(3, rows, 0.003))


def test_networks_with_a_given_order_have_dropout_of_their_own():
    problem, runs = problem_of("classification", LARGE), runs_of(6)
    options = dataclasses.replace(OPTIONS, dropout=(0.2, 0.5))
    orders = [np.random.default_rng(epoch).permutation(ROWS) for epoch in range(options.epochs)]
    parameters = [
        Training(problem, LARGE, runs, options, orders=orders, dtype=np.float64, backend=backend)
        .run()
        .network.parameters
        for backend in (choose("numba"), NUMPY)
    ]
    assert relative_difference(*parameters) <= 1e-9


@pytest.mark.parametrize("sizes", [LARGE, SMALL], ids=["large", "small"])
def test_not_a_number_stays_visible(sizes):
    training = Training(
        problem_of("regression", sizes), sizes, runs_of(2), OPTIONS, backend=choose("numba")
    )
    training.network.views(training.network.parameters)["dense1.b"][0, 0, 0] = np.nan
    total = training.step.epoch(np.arange(ROWS)[None], 160, iter([0.001] * 3))
    assert np.isnan(total[0])
    assert np.isfinite(total[1])


@numba.njit(nogil=True)  # compiled anew, with the gate as it is now
def count_together(counts, rounds, team):
    """Each thread adds 1 to its own count, and then all must have as much."""
    for n in range(1, rounds + 1):
        counts[16 * team.number] += 1
        cpu_primitives.meet(team)
        for other in range(team.threads):
            if counts[16 * other] != n:
                counts[16 * team.number + 1] += 1
        cpu_primitives.meet(team)


def in_own_threads(function, threads, *arguments):
    """Run function(…, team) in so many new threads; all must end."""
    gate = cpu_primitives.new_gate()
    teams = [cpu_primitives.Team(number, threads, gate) for number in range(threads)]
    started = [
        threading.Thread(target=function, args=(*arguments, team), daemon=True) for team in teams
    ]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_nobody_passes_a_gate_before_all_are_there(threads):
    counts, rounds = np.zeros((5, 16), np.int64), 300
    in_own_threads(count_together, threads, counts.reshape(-1), rounds)
    assert counts[:threads, 0].tolist() == [rounds] * threads
    assert not counts[:, 1].any()


@numba.njit(nogil=True)
def wait(team):
    """Wait for the others."""
    cpu_primitives.meet(team)


needs_threads = pytest.mark.skipif(cpu_primitives.THREADS < 2, reason="this machine has one core")


@needs_threads
@pytest.mark.parametrize("number", [0, 1])
def test_an_error_in_one_thread_ends_the_others_and_reaches_the_caller(number):
    def fail(team):
        if team.number == number:
            raise ValueError("in one thread")
        wait(team)

    with pytest.raises(ValueError, match="in one thread"):
        cpu_primitives.in_threads(fail, 2)
    cpu_primitives.in_threads(wait, cpu_primitives.THREADS)  # they still work


@needs_threads
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own():
    cpu_primitives.in_threads(wait, 2)
    child = os.fork()
    if not child:
        cpu_primitives.in_threads(wait, 2)
        os._exit(7)
    for _ in range(600):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.1)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        raise AssertionError("the forked process hangs")
    assert os.waitstatus_to_exitcode(status) == 7
