"""A training that is stopped after any epoch goes on to the same bits, or is refused in a line."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from conftest import classification_data, regression_data, teacher_outputs
from hypothesis import given, settings
from hypothesis import strategies as st

import nkd
from nkd import checkpoint
from nkd.backend import choose
from nkd.distillation import Classification, Regression, Run, pairs
from nkd.errors import UserError
from nkd.training import Settings, Training

PLAIN = Settings(epochs=5, batch_size=5, learning_rate=0.02)
IMAGES = Classification(dataclasses.replace(classification_data(features=9), image_shape=(3, 3)))
NUMBERS = Regression(regression_data())


def ask(x):
    """A teacher that is a function."""
    return np.tanh(x[:, :4] - x[:, 1:5])


def several(few=(), **options):
    """Runs of two arms, on images or numbers."""
    return pairs((3, 7, 8), 0.6, ask, 3.0, **options)


KINDS = {
    "plain": (IMAGES, (9, 7, 4), several(), PLAIN),
    "one layer, one run": (IMAGES, (9, 4), [Run(1)], PLAIN),
    "dropout of odd numbers": (
        IMAGES,
        (9, 7, 5, 4),
        several(),
        dataclasses.replace(PLAIN, dropout=(0.3, 0.4, 0.2), largest_norm=1.0),
    ),
    "moved images": (IMAGES, (9, 7, 4), several(), dataclasses.replace(PLAIN, jitter=1)),
    "mean of weights": (
        IMAGES,
        (9, 7, 4),
        several(),
        dataclasses.replace(PLAIN, average=3, report_every=2),
    ),
    "no reports": (IMAGES, (9, 7, 4), several(), dataclasses.replace(PLAIN, report_every=0)),
    "sgd, constant rate": (
        IMAGES,
        (9, 7, 4),
        several(),
        dataclasses.replace(PLAIN, optimizer="sgd", schedule="constant"),
    ),
    "some labels": (
        IMAGES,
        (9, 7, 4),
        [Run(3, 0.5, targets=teacher_outputs(seed=1), labelled=np.arange(22) < 9), Run(3)],
        PLAIN,
    ),
    "regression": (
        NUMBERS,
        (5, 6, 2),
        pairs((1, 2), 0.5, np.ones((22, 2)), loss="attentive"),
        PLAIN,
    ),
    "many steps": (  # more than between two flushes of Adam's small numbers
        IMAGES,
        (9, 7, 4),
        several(),
        dataclasses.replace(PLAIN, batch_size=1, epochs=9),
    ),
}


def equal(one, other):
    """Whether two trainings are in the same state, to the bit."""
    a, b = (checkpoint.state_of(each) for each in (one, other))
    times = {"seconds"}
    return list(a) == list(b) and all(
        a[name].dtype == b[name].dtype and a[name].tobytes() == b[name].tobytes()
        for name in a.keys() - times
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_goes_on_to_the_same_bits_after_any_epoch(kind, backend, tmp_path):
    problem, sizes, runs, chosen = KINDS[kind]
    whole = Training(problem, sizes, runs, chosen, backend=backend)
    path = tmp_path / "checkpoint.safetensors"
    for number in range(chosen.epochs + 1):
        stopped = Training(problem, sizes, runs, chosen, backend=backend)
        for _ in itertools.islice(stopped.epochs(), number):
            pass
        stopped.save(path)
        again = Training.load(path, problem, backend=backend)
        assert len(again.history) == number
        assert equal(again, stopped)
        whole = whole if whole.finished else whole.run()
        assert len(list(again.epochs())) == chosen.epochs  # the earlier ones, too
        assert equal(again, whole)
        assert again.seconds > stopped.seconds or number == chosen.epochs


def test_orders_of_ones_own_go_on_where_they_were(tmp_path):
    problem, sizes, runs, chosen = KINDS["plain"]
    orders = [np.random.default_rng(seed).permutation(22) for seed in range(chosen.epochs)]
    whole = Training(problem, sizes, runs, chosen, orders=orders).run()
    stopped, path = Training(problem, sizes, runs, chosen, orders=orders), tmp_path / "some"
    next(iter(stopped.epochs()))
    stopped.save(path)
    assert equal(Training.load(path, problem, orders=orders).run(), whole)
    with pytest.raises(UserError, match="own orders"):
        Training.load(path, problem)


def test_runs_that_were_trained_in_parts_are_joined_to_what_they_are_together():
    problem, sizes, runs, chosen = KINDS["plain"]
    whole = Training(problem, sizes, runs, chosen).run()
    parts = [Training(problem, sizes, some, chosen).run() for some in (runs[:2], runs[2:])]
    joined = checkpoint.joined([checkpoint.state_of(part) for part in parts])
    again = Training(problem, sizes, runs, chosen)
    checkpoint.restore(again, joined)
    assert equal(again, whole)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A checkpoint after two epochs: its problem, and its bytes."""
    problem, sizes, runs, chosen = KINDS["dropout of odd numbers"]
    training = Training(problem, sizes, runs, chosen)
    for _ in itertools.islice(training.epochs(), 2):
        pass
    path = tmp_path_factory.mktemp("saved") / "checkpoint.safetensors"
    training.save(path)
    content = path.read_bytes()
    training.save(path)
    assert path.read_bytes() == content  # equal trainings give equal bytes
    return problem, content


def refused(path, content, problem):
    """The one line that says why a file is no checkpoint; the file stays as it is."""
    path.write_bytes(content)
    with pytest.raises(UserError) as refusal:
        Training.load(path, problem)
    assert path.read_bytes() == content
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


@settings(max_examples=60)
@given(st.data())
def test_each_flipped_bit_and_each_lost_byte_is_found(saved, tmp_path_factory, data):
    problem, content = saved
    place = data.draw(st.integers(0, len(content) - 1))
    path = tmp_path_factory.getbasetemp() / "damaged"
    flipped = bytearray(content)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    refused(path, bytes(flipped), problem)
    refused(path, content[:place], problem)
    refused(path, content + content[:place] + b"0", problem)


def written(state, definition):
    """A checkpoint's bytes, with a digest that is right."""
    return b"".join(checkpoint.to_parts(state, definition))


def test_what_is_right_but_of_something_else_is_refused_with_what_differs(saved, tmp_path):
    problem, content = saved
    path = tmp_path / "other"
    path.write_bytes(content)
    state, definition = checkpoint.read(path)
    assert written(state, definition) == content

    footing = {**definition["footing"], "nkd": "0.0.1"}
    assert "nkd 0.0.1, not" in refused(
        path, written(state, definition | {"footing": footing}), problem
    )
    other = Classification(classification_data(features=9, seed=5))
    assert "other data" in refused(path, content, other)
    assert "task classification, not regression" in refused(path, content, NUMBERS)
    assert "does not fit" in refused(path, written(state, definition | {"sizes": [9, 4]}), problem)
    lacking = {name: each for name, each in state.items() if name != "optimizer.m"}
    assert "does not fit" in refused(path, written(lacking, definition), problem)
    for wrong in ("sizes", "settings", "runs", "dtype"):
        for value in (None, 3, "x", [], {}, [[]], [{}]):
            refused(path, written(state, definition | {wrong: value}), problem)
    weights = nkd.Model.of(Training(problem, (9, 4), [Run(0)], PLAIN)).to_bytes()
    assert "not nkd checkpoint" in refused(path, weights, problem)
    assert "cannot be read" in refusal_of(tmp_path / "nothing", problem)


def refusal_of(path, problem, **options):
    with pytest.raises(UserError) as refusal:
        Training.load(path, problem, **options)
    return str(refusal.value)


def test_another_backend_would_compute_other_bits(saved, tmp_path):
    problem, content = saved
    path = tmp_path / "checkpoint"
    path.write_bytes(content)
    try:
        numba = choose("numba")
    except UserError as reason:
        pytest.skip(str(reason))
    assert "backend numpy, not numba" in refusal_of(path, problem, backend=numba)


def test_the_description_is_json_that_people_can_read(saved):
    _, content = saved
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    described = json.loads(header["__metadata__"]["description"])["definition"]
    assert described["settings"]["dropout"] == [0.3, 0.4, 0.2]
    assert [run["seed"] for run in described["runs"]] == [3, 7, 8] * 2


def test_teachers_that_say_the_same_in_arrays_of_their_own_are_kept_as_others_are(tmp_path):
    problem, said = Classification(classification_data()), teacher_outputs()
    runs = [Run(0, 0.5, 2.0, said), Run(0, 0.9, 2.0, said.copy())]
    training = Training(problem, (6, 3, 4), runs, PLAIN).run()
    training.save(tmp_path / "kept.safetensors")
    assert equal(Training.load(tmp_path / "kept.safetensors", problem), training)
