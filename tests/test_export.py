"""nkd.export: what ONNX Runtime and a C compiler make of a network is what nkd computes."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import classification_data, models, raw_rows
from hypothesis import given, settings

import nkd
from nkd.export import IR_VERSION, OPSET, parts_of
from nkd.files import write

ROOT = Path(__file__).parents[1]
REAL_FOLDER = os.environ.get("NKD_DATA_DIR")
with_real_data = pytest.mark.skipif(not REAL_FOLDER, reason="NKD_DATA_DIR is not set")
COMPILER = shutil.which("cc")
with_compiler = pytest.mark.skipif(not COMPILER, reason="there is no C compiler")
STRICT = ("-Wall", "-Wextra", "-Werror", "-pedantic", "-O2")

# Reads rows of float32 from stdin; writes outputs, and the classes after them, to stdout.
HARNESS = """
#include <stdio.h>
#include "network.h"

int main(void)
{
    float x[NKD_INPUTS], out[NKD_OUTPUTS];
    while (fread(x, sizeof(float), NKD_INPUTS, stdin) == NKD_INPUTS) {
        nkd_predict(x, out);
        fwrite(out, sizeof(float), NKD_OUTPUTS, stdout);
    }
    return 0;
}
"""


def relative(actual, expected):
    """The largest error, relative to max(1, |value|)."""
    return (np.abs(actual - expected) / np.maximum(1, np.abs(expected))).max()


def by_onnx(model, x, **options):
    session = onnxruntime.InferenceSession(
        nkd.to_onnx(model, **options), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})


def compiled(folder, header, source=HARNESS, standard="-std=c99", language="c"):
    """Compile a program that includes the header, without a warning; return its path."""
    write(folder / "network.h", header.encode())
    write(folder / "program.c", source.encode())
    program = folder / "program"
    command = [COMPILER, "-x", language, standard, *STRICT, folder / "program.c", "-o", program]
    process = subprocess.run([*command, "-lm"], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return program


def by_c(model, x, folder, **options):
    program = compiled(folder, nkd.to_c(model, **options))
    process = subprocess.run([program], input=x.tobytes(), capture_output=True, check=True)
    return np.frombuffer(process.stdout, np.float32).reshape(len(x), -1)


def rounded(model):
    """The model with weights that are rounded to int8."""
    parts = parts_of(model, int8=True).layers
    layers = [(part.W * part.scale, b) for part, (_, b) in zip(parts, model.layers, strict=True)]
    return replace(model, layers=layers)


@given(models())
def test_onnx_computes_the_outputs_of_any_network(model):
    x = raw_rows(model)
    for rows in (x, x[:1], x[:0]):
        outputs = by_onnx(model, rows)
        np.testing.assert_allclose(outputs[0], model.outputs(rows), rtol=1e-5, atol=1e-5)
    if model.task == "classification":
        p = model.predict_proba(x)
        np.testing.assert_allclose(by_onnx(model, x)[1], p, rtol=1e-5, atol=1e-5)
    z = by_onnx(model, x, int8=True)[0]
    np.testing.assert_allclose(z, rounded(model).outputs(x), rtol=1e-5, atol=1e-5)


@with_compiler
@settings(max_examples=15)  # each compiles two programs
@given(model=models())
def test_c_computes_the_outputs_of_any_network(tmp_path_factory, model):
    x, folder = raw_rows(model), tmp_path_factory.mktemp("c")
    np.testing.assert_allclose(by_c(model, x, folder), model.outputs(x), rtol=1e-5, atol=1e-5)
    z = by_c(model, x, folder, int8=True)
    np.testing.assert_allclose(z, rounded(model).outputs(x), rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def real():
    """A briefly trained Student of each experiment, and the raw test rows in float32."""
    housing, mnist = nkd.load_regression("california"), nkd.load_classification("mnist")
    raw = housing.x_test * housing.feature_deviation + housing.feature_mean
    return {
        "housing": (real_student(nkd.Regression, housing, (16, 8)), raw.astype(np.float32)),
        "mnist": (
            real_student(nkd.Classification, mnist, (128, 64)),
            mnist.x_test.astype(np.float32),
        ),
    }


def real_student(problem, data, hidden):
    part = {"x_train": data.x_train[:6000], "y_train": data.y_train[:6000]}
    bound = None if data.feature_mean is None else 5.0
    problem = problem(replace(data, feature_bound=bound, **part))
    sizes = (data.x_train.shape[1], *hidden, problem.outputs)
    options = nkd.Settings(epochs=3, batch_size=128, learning_rate=4e-3, report_every=0)
    return nkd.Model.of(nkd.Training(problem, sizes, [nkd.Run(0)], options).run())


@with_real_data
@pytest.mark.parametrize("name", ["housing", "mnist"])
def test_real_rows_give_the_same_in_onnx_and_c(real, name, tmp_path):
    model, x = real[name]
    expected = model.outputs(x)
    assert relative(by_onnx(model, x)[0], expected) < 1e-5
    if COMPILER:
        assert relative(by_c(model, x, tmp_path), expected) < 1e-5


@with_real_data
@pytest.mark.parametrize(("name", "largest"), [("housing", 0.01), ("mnist", 20)])
def test_int8_costs_little_on_real_rows(real, name, largest):
    model, x = real[name]
    after = rounded(model).predict(x)
    if name == "mnist":
        assert (after != model.predict(x)).sum() < largest  # labels that differ, of 10,000
    else:
        y = nkd.load_regression("california").y_test[:, 0]
        before, after = (np.sqrt(((each - y) ** 2).mean()) for each in (model.predict(x), after))
        assert after - before < largest


NASTY = ["*/ int main(void) { return 1; } /*", "a\nb", "??/", "\\", "naïve “π” */", "\u202eabc"]


def nasty_model():
    random = np.random.default_rng(0)
    return nkd.Model(
        [(random.normal(size=(6, 6)), random.normal(size=6))],
        "classification",
        classes=NASTY,
        features=NASTY[::-1],
        facts={"*/": "*/\n#error"},
    )


@with_compiler
def test_names_cannot_break_out_of_a_comment(tmp_path):
    header = nkd.to_c(nasty_model())
    assert header.count("*/") == header.count("/*") == 4
    assert "\u202e" not in header and "naïve “π”" in header
    compiled(tmp_path, header)
    names = json.loads(properties(nkd.to_onnx(nasty_model()))["classes"])
    assert names == NASTY


@with_compiler
def test_a_header_is_included_by_many_files_and_by_cpp_but_two_networks_by_none(tmp_path):
    one, other = nasty_model(), nkd.Model([(np.ones((3, 2)), np.ones(2))], "regression")
    unused = '#include "network.h"\n#include "network.h"\nint main(void) { return 0; }\n'
    for int8 in (False, True):
        compiled(tmp_path, nkd.to_c(one, int8=int8), unused)
        compiled(tmp_path, nkd.to_c(one, int8=int8), unused)
    if shutil.which("c++"):
        compiled(tmp_path, nkd.to_c(one), unused, standard="-std=c++11", language="c++")
    nkd.to_c(other, tmp_path / "other.h")
    with pytest.raises(AssertionError, match="two networks in one file"):
        compiled(tmp_path, nkd.to_c(one), '#include "other.h"\n' + unused)


@with_compiler
def test_the_class_in_c_is_that_of_numpy(tmp_path):
    model = nasty_model()
    x = raw_rows(model)
    source = HARNESS.replace(
        "fwrite(out, sizeof(float), NKD_OUTPUTS, stdout);", "putchar(nkd_class(out));"
    )
    program = compiled(tmp_path, nkd.to_c(model), source)
    said = subprocess.run([program], input=x.tobytes(), capture_output=True, check=True).stdout
    np.testing.assert_array_equal(list(said), model.outputs(x).argmax(axis=-1))


def properties(content):
    return {each.key: each.value for each in onnx.load_from_string(content).metadata_props}


def test_an_onnx_file_says_what_it_is(tmp_path):
    training = nkd.Training(
        nkd.Classification(classification_data()), (6, 5, 4), [nkd.Run(0), nkd.Run(7)],
        nkd.Settings(epochs=1, batch_size=8, learning_rate=1e-2),
    )  # fmt: skip
    content = nkd.to_onnx(training, tmp_path / "a.onnx", replica=1)
    assert (tmp_path / "a.onnx").read_bytes() == content == nkd.to_onnx(training, replica=1)
    proto = onnx.load_from_string(content)
    onnx.checker.check_model(proto, full_check=True)
    assert (proto.ir_version, proto.opset_import[0].version) == (IR_VERSION, OPSET)
    assert [each.name for each in proto.graph.output] == ["logits", "probabilities"]
    said = properties(content)
    assert (said["seed"], said["dataset"], said["classes"]) == ("7", "made-up", "[0, 1, 2, 3]")
    assert "6 features" in said["input"] and "logits" in said["output"]


def test_models_estimators_trainings_and_paths_are_exported_alike(tmp_path):
    model = nasty_model()
    model.save(tmp_path / "model.safetensors")
    for source in (SimpleNamespace(model_=model), tmp_path / "model.safetensors"):
        assert nkd.to_c(source) == nkd.to_c(model)
        assert nkd.to_onnx(source) == nkd.to_onnx(model)
    with pytest.raises(nkd.UserError, match="a dict cannot be exported"):
        nkd.to_c({})


def test_onnx_without_its_package_is_told_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(nkd.UserError, match=r"pip install 'nkd\[onnx\]'"):
        nkd.to_onnx(nasty_model())


def export(*arguments):
    command = [sys.executable, "-W", "error", "-m", "nkd", "export", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("suffix", ["onnx", "h"])
def test_the_command_writes_a_file_and_one_line_about_it(tmp_path, suffix):
    nasty_model().save(tmp_path / "student.safetensors")
    out = tmp_path / f"student.{suffix}"
    process = export(tmp_path / "student.safetensors", out, "--int8")
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.count("\n") == 1
    for text in (str(out), f"{out.stat().st_size:,} bytes", "42 parameters", "36 multiply-adds"):
        assert text in process.stdout
    assert (f"opset {OPSET}" in process.stdout) == (suffix == "onnx")
    written = nkd.to_onnx if suffix == "onnx" else nkd.to_c
    expected = written(nasty_model(), int8=True)
    assert out.read_bytes() == (expected if suffix == "onnx" else expected.encode())


@pytest.mark.parametrize(
    ("source", "target", "named"),
    [
        ("student.safetensors", "student.txt", "student.txt"),
        ("nothing.safetensors", "student.h", "nothing.safetensors"),
        ("student.safetensors", "nowhere/student.h", "nowhere/student.h"),
        ("student.safetensors", "nowhere/student.onnx", "nowhere/student.onnx"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(tmp_path, source, target, named):
    nasty_model().save(tmp_path / "student.safetensors")
    process = export(tmp_path / source, tmp_path / target)
    assert process.returncode == 2
    assert process.stderr.startswith("error: ")
    assert process.stderr.count("\n") == 1
    assert named in process.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["student.safetensors"]
