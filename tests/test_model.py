"""nkd.model: one network and its file, used with nothing but NumPy and safetensors."""

import itertools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import classification_data, models, raw_rows, regression_data
from hypothesis import given
from safetensors import safe_open
from safetensors.numpy import save

import nkd
from nkd.report.files import Folder

ROOT = Path(__file__).parents[1]
SETTINGS = nkd.Settings(epochs=2, batch_size=8, learning_rate=1e-2)


def trained(problem, sizes=None):
    sizes = sizes or (problem.data.x_train.shape[1], 6, problem.outputs)
    return nkd.Training(problem, sizes, [nkd.Run(0), nkd.Run(1)], SETTINGS).run()


def message_of(call, *arguments, **options) -> str:
    """The one line that the user sees when the call refuses."""
    with pytest.raises(nkd.UserError) as refusal:
        call(*arguments, **options)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


@given(models())
def test_a_model_is_itself_again_when_it_is_loaded(model):
    again = nkd.Model.from_bytes(model.to_bytes())
    x = raw_rows(model)
    np.testing.assert_array_equal(again.outputs(x), model.outputs(x))
    for name in ("task", "classes", "features", "unit", "bound", "scale", "facts", "sizes"):
        assert getattr(again, name) == getattr(model, name)


@given(models())
def test_the_outputs_are_the_formula_in_float64(model):
    x = raw_rows(model).astype(np.float64)
    if model.mean is not None:
        x = (x - model.mean) / model.deviation
        x = x if model.bound is None else np.clip(x, -model.bound, model.bound)
    h = x * model.scale
    for number, (W, b) in enumerate(model.layers):
        h = (np.maximum(h, 0) if number else h) @ W.astype(np.float64) + b
    z = model.outputs(raw_rows(model))
    assert z.dtype == np.float32
    np.testing.assert_allclose(z, h, rtol=1e-4, atol=1e-4)
    if model.task == "classification":
        p = np.exp(h - h.max(axis=-1, keepdims=True))
        p /= p.sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(model.predict_proba(raw_rows(model)), p, rtol=1e-3, atol=1e-4)
        labels = np.array(model.classes)[z.argmax(axis=-1)]
        np.testing.assert_array_equal(model.predict(raw_rows(model)), labels)


@given(models())
def test_equal_models_give_equal_files_with_a_padded_header(model):
    again = replace(model, facts=dict(reversed(model.facts.items())))
    contents = {each.to_bytes() for each in (model, again) for _ in range(5)}
    assert len(contents) == 1
    assert int.from_bytes(contents.pop()[:8], "little") % 8 == 0


@pytest.mark.parametrize("kind", ["pixels", "features", "bounded", "standardised targets"])
def test_a_model_of_a_training_takes_raw_rows(kind):
    if kind == "pixels":
        data = classification_data()
        raw = data.x_test
    else:
        random = np.random.default_rng(0)
        raw, y = random.normal(50, 9, (60, 5)), random.normal(900, 30, (60, 2))
        data = nkd.from_table("made-up", "", raw, y, unit="m")
        mean, deviation = data.y_train.mean(axis=0), data.y_train.std(axis=0)
        if kind == "bounded":
            data = replace(data, feature_bound=0.7)
        if kind == "standardised targets":
            data = replace(
                data,
                y_train=(data.y_train - mean) / deviation,
                y_test=(data.y_test - mean) / deviation,
                target_mean=mean,
                target_deviation=deviation,
            )
        raw = data.x_test * data.feature_deviation + data.feature_mean
    problem = (nkd.Classification if kind == "pixels" else nkd.Regression)(data)
    training = trained(problem)
    model = nkd.Model.of(training, 1, network="student")
    expected = data.in_units(training.outputs(training.test_inputs)[1])
    np.testing.assert_allclose(model.outputs(raw), expected, rtol=1e-4, atol=1e-4)
    assert model.facts["seed"] == "1"
    assert (model.task, model.unit) == (problem.task, data.unit)
    assert model.parameter_count == training.network.parameter_count


def test_a_single_output_is_a_single_axis_and_labels_are_the_callers():
    one = nkd.Model([(np.ones((3, 1)), np.ones(1))], "regression")
    assert one.predict(np.ones((4, 3))).shape == (4,)
    layers = [(np.eye(2), np.zeros(2))]
    for classes in (["no", "yes"], np.array([-1, 1]), (0.5, 1.5)):
        model = nkd.Model.from_bytes(
            nkd.Model(layers, "classification", classes=classes).to_bytes()
        )
        np.testing.assert_array_equal(model.predict([[0, 1], [1, 0]]), classes[::-1])


def test_a_run_writes_a_file_that_is_a_model_and_is_read_by_others(tmp_path):
    training = trained(nkd.Classification(classification_data()))
    Folder(tmp_path).write_weights("student", training, 0)
    with safe_open(tmp_path / "student.safetensors", "numpy") as file:
        metadata, W = file.metadata(), file.get_tensor("dense1.W")
    np.testing.assert_array_equal(W, training.network.tensors(0)["dense1.W"])
    assert metadata["input"] == f"x = {1 / 255!r} * feature"
    assert (metadata["task"], metadata["network"]) == ("classification", "student")
    model = nkd.load(tmp_path / "student.safetensors")
    x = training.problem.data.x_test
    np.testing.assert_array_equal(model.outputs(x), nkd.Model.of(training).outputs(x))


def file_of(sizes, **metadata):
    """A file of a regression with these metadata."""
    tensors = {}
    for number, (i, o) in enumerate(itertools.pairwise(sizes), start=1):
        tensors |= {f"dense{number}.W": np.ones((i, o)), f"dense{number}.b": np.ones(o)}
    return save(tensors, {"sizes": json.dumps(sizes), "task": "regression", **metadata})


def test_what_does_not_fit_the_network_is_refused():
    training = trained(nkd.Classification(classification_data()))
    assert "networks" in message_of(nkd.Model.of, training, 9)
    layers = [(np.eye(2), np.zeros(2))]
    refusal = message_of(replace, nkd.Model(layers, "regression"), image_shape=(3, 3))
    assert "have not 2 pixels" in refusal


WHOLE = nkd.Model([(np.ones((2, 3)), np.ones(3)), (np.ones((3, 1)), np.ones(1))], "regression")
SCALED = {"mean": "[1, 1]", "deviation": "[1, 1]"}
TASK = {"sizes": "[2, 2]", "task": "regression"}
BAD_FILES = {
    "empty": (b"", "no safetensors file"),
    "text": (b"not a network at all, but some text", "no safetensors file"),
    "truncated": (WHOLE.to_bytes()[:-4], "no safetensors file"),
    "header alone": (WHOLE.to_bytes()[:60], "no safetensors file"),
    "somebody else's": (save({"weight": np.zeros((2, 2))}), "lack 'sizes'"),
    "no task": (save({}, {"sizes": "[2]"}), "lack 'task'"),
    "other tensors": (
        save({"dense1.W": np.zeros((2, 2))}, {"sizes": "[2, 2]"}),
        "not dense1.W, dense1.b",
    ),
    "other sizes": (file_of([2, 1]).replace(b"[2, 1]", b"[2, 4]"), "sizes"),
    "layers that do not follow": (
        save({"dense1.W": np.zeros((2, 2)), "dense1.b": np.zeros(3)}, TASK),
        "do not follow each other",
    ),
    "not finite": (
        save({"dense1.W": np.full((2, 1), np.nan), "dense1.b": np.zeros(1)}, TASK),
        "not a finite number",
    ),
    "sizes that are no list": (file_of([2, 1]).replace(b"[2, 1]", b"12345."), "as nkd writes"),
    "a mean of text": (file_of([2, 1], **SCALED | {"mean": '["a", "b"]'}), "as nkd writes"),
    "a mean too short": (file_of([2, 1], **SCALED | {"mean": "[1]"}), "give 2 numbers"),
    "a deviation of 0": (file_of([2, 1], **SCALED | {"deviation": "[1, 0]"}), "give 2 numbers"),
    "an unknown task": (file_of([2, 1], task="clustering"), "'clustering'"),
    "classes of both kinds": (
        file_of([2, 2], task="classification", classes='["a", 1]'),
        "all of them strings",
    ),
}


@pytest.mark.parametrize(("content", "said"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_refused_in_one_line_that_names_it(tmp_path, content, said):
    (tmp_path / "bad.safetensors").write_bytes(content)
    message = message_of(nkd.load, tmp_path / "bad.safetensors")
    assert "bad.safetensors: " in message and said in message
    assert ("as nkd writes" in message) == (said == "as nkd writes")


def test_a_path_that_cannot_be_read_or_written_is_told_in_one_line(tmp_path):
    assert "No such file" in message_of(nkd.load, tmp_path / "nothing.safetensors")
    assert "cannot be read" in message_of(nkd.load, tmp_path)
    assert "cannot be written" in message_of(WHOLE.save, tmp_path / "nowhere" / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


MISTAKES = {
    "too few columns": (lambda: WHOLE.predict(np.ones((4, 3))), "(N, 2)"),
    "a single row": (lambda: WHOLE.predict(np.ones(2)), "(1, 2)"),
    "text": (lambda: WHOLE.predict([["a", "b"]]), "numbers"),
    "not finite": (lambda: WHOLE.predict([[1, 2], [3, np.nan]]), "row 1, column 1"),
    "beyond float32": (lambda: WHOLE.predict([[1, 2], [1e300, 2]]), "1e+300"),
    "probabilities of values": (lambda: WHOLE.predict_proba(np.ones((1, 2))), "predict"),
    "names of two features": (lambda: replace(WHOLE, features=["a"]), "1 names"),
    "a fact's name": (lambda: replace(WHOLE, facts={"sizes": "?"}), "'sizes'"),
    "classes of a regression": (lambda: replace(WHOLE, classes=["a"]), "no classes"),
    "a class twice": (
        lambda: nkd.Model([(np.ones((2, 2)), np.ones(2))], "classification", classes=["a", "a"]),
        "its own label",
    ),
}


@pytest.mark.parametrize(("call", "named"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_in_one_line(call, named):
    assert named in message_of(call)


ALONE = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        if root not in {"nkd", "numpy", "safetensors", *sys.stdlib_module_names}:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocked())
import nkd
print(nkd.load(sys.argv[1]).predict([[1.0, 2.0]])[0])
loaded = {"urllib.request", "http.client", "nkd.data", "nkd.network", "nkd.backend"}
print(sorted(loaded & set(sys.modules)))
"""


def test_to_use_a_network_takes_numpy_and_safetensors_alone(tmp_path):
    WHOLE.save(tmp_path / "student.safetensors")
    process = subprocess.run(
        [sys.executable, "-c", ALONE, tmp_path / "student.safetensors"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert process.stdout.split() == ["13.0", "[]"], process.stderr


def test_every_public_name_is_there_and_no_other():
    assert set(nkd.MODULE_OF) == set(nkd.__all__) <= set(dir(nkd))
    for name in nkd.__all__:
        assert getattr(nkd, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        nkd.distil  # noqa: B018


def test_standardised_rows_keep_the_precision_of_a_training():
    data = regression_data(features=4)
    data = replace(data, feature_mean=np.full(4, 1e6), feature_deviation=np.full(4, 1.0))
    training = trained(nkd.Regression(data))
    raw = data.x_test + data.feature_mean  # in float64: in float32 a third digit would be lost
    expected = training.outputs(training.test_inputs)[0]
    np.testing.assert_allclose(nkd.Model.of(training).outputs(raw), expected, atol=1e-5)
