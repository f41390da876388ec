"""Both runners as a user calls them: a process, its output, its exit code, its files."""

import csv
import importlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from html import escape
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from nkd import Regression, command_line, recipes
from nkd.__main__ import COMMANDS
from nkd.data import load_classification, load_regression
from nkd.report.files import FILES

ROOT = Path(__file__).parents[1]
CLASSIFICATION, REGRESSION = "run_classification.py", "run_regression.py"
REAL_FOLDER = os.environ.get("NKD_DATA_DIR")


def command(runner, *flags):
    return [sys.executable, "-W", "error", str(ROOT / runner), *map(str, flags)]


def run(runner, *flags, cwd=ROOT):
    environment = {name: value for name, value in os.environ.items() if name != "NKD_DATA_DIR"}
    return subprocess.run(
        command(runner, *flags), cwd=cwd, env=environment, capture_output=True, text=True
    )


def forward(x, tensors):
    """A plain NumPy forward pass of a saved network, as the README documents its tensors."""
    layers = len(tensors) // 2
    for number in range(1, layers + 1):
        x = x @ tensors[f"dense{number}.W"] + tensors[f"dense{number}.b"]
        if number < layers:
            x = np.maximum(x, 0)
    return x


def read_weights(path):
    with safe_open(path, "numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


@pytest.fixture(scope="module")
def classification(tmp_path_factory):
    out = tmp_path_factory.mktemp("classification")
    return run(CLASSIFICATION, "--dataset", "digits", "--epochs", 6, "--out", out), out


@pytest.fixture(scope="module")
def regression(tmp_path_factory):
    out = tmp_path_factory.mktemp("regression")
    flags = ["--dataset", "friedman", "--epochs", 2, "--seeds", 2, "--batch-size", 512]
    return run(REGRESSION, *flags, "--out", out), out


@pytest.fixture(params=["classification", "regression"])
def finished(request):
    return request.getfixturevalue(request.param)


def test_a_run_prints_the_promised_and_nothing_on_stderr(finished):
    process, out = finished
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    counts = {"digits": ("1,501,770", "109,386"), "friedman": ("179,201", "289")}
    dataset = json.loads((out / "results.json").read_text())["dataset"]
    for text in ("Teacher", "Student", "Person", "/ teacher", "stand-in", *counts[dataset]):
        assert text in process.stdout
    assert "not for other teachers or data" in process.stdout
    assert str(out) in process.stdout


def test_classification_reports_every_fifth_epoch_and_the_last(classification):
    lines = [line for line in classification[0].stdout.splitlines() if line.startswith("Teacher e")]
    assert [line.split()[2] for line in lines] == ["5/6", "6/6"]
    assert all("accuracy" in line and "train" in line and "test" in line for line in lines)


def test_all_files_are_there_and_nothing_else(finished):
    _, out = finished
    swept = {"arms.csv", "map.png", "rows.png", "labels.png"}
    assert set(os.listdir(out)) == set(FILES) - swept
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")


def test_metrics_have_a_row_per_network_and_epoch(finished):
    _, out = finished
    record = json.loads((out / "results.json").read_text())
    epochs = json.loads((out / "configuration.json").read_text())["flags"]["epochs"]
    with open(out / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    pairs = len(record["student"]["seeds"])
    assert len(rows) == epochs * (1 + 2 * pairs)
    last = [row for row in rows if row["network"] == "person" and int(row["epoch"]) == epochs]
    values = record["person"]["test"]["loss"]["values"]
    assert [float(row["test_loss"]) for row in last] == pytest.approx(values, rel=1e-6)


@pytest.mark.parametrize("name", ["teacher", "student", "person"])
def test_saved_weights_reproduce_the_reported_errors(classification, name):
    _, out = classification
    tensors, metadata = read_weights(out / f"{name}.safetensors")
    data = load_classification("digits")
    logits = forward(data.x_test * np.float32(1 / 255), tensors)
    errors = int((logits.argmax(axis=-1) != data.y_test).sum())
    record = json.loads((out / "results.json").read_text())[name]
    assert errors == record["test"]["errors"]["values"][0]
    assert int(metadata["seed"]) == record["seeds"][0]


@pytest.mark.parametrize("name", ["teacher", "student", "person"])
def test_saved_weights_and_metadata_predict_from_raw_features(regression, name):
    _, out = regression
    tensors, metadata = read_weights(out / f"{name}.safetensors")
    data = load_regression("friedman")
    raw = data.x_test * data.feature_deviation + data.feature_mean
    x = (raw - json.loads(metadata["mean"])) / json.loads(metadata["deviation"])
    x = np.clip(x, -json.loads(metadata["bound"]), json.loads(metadata["bound"]))
    rmse = np.sqrt(((forward(x, tensors) - data.y_test) ** 2).mean())
    record = json.loads((out / "results.json").read_text())[name]
    assert rmse == pytest.approx(record["test"]["rmse"]["values"][0], rel=1e-4)


def test_the_command_in_the_report_gives_the_same_numbers(classification, tmp_path):
    first = json.loads((classification[1] / "results.json").read_text())
    line = json.loads((classification[1] / "configuration.json").read_text())["command"]
    assert escape(line) in (classification[1] / "report.html").read_text("utf-8")
    python, runner, *flags = shlex.split(line)
    assert (python, runner) == ("python", CLASSIFICATION)
    run(runner, *flags, "--out", tmp_path)
    again = json.loads((tmp_path / "results.json").read_text())
    for name in ("teacher", "student", "person"):
        assert first[name]["test"] == again[name]["test"]


def nkd(*words, cwd=ROOT):
    """`python -m nkd` with these words, from any folder."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-m", "nkd", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def test_a_command_of_nkd_does_what_the_script_does_and_its_line_repeats_it(tmp_path):
    flags = ["--dataset", "friedman", "--epochs", 1, "--seeds", 1, "--batch-size", 1024]
    flags += ["--hidden", 7, 5, "--backend", "numpy"]
    first = nkd("regression", *flags, "--out", tmp_path / "first", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert run(REGRESSION, *flags, "--out", tmp_path / "script").returncode == 0
    settled = json.loads((tmp_path / "first" / "configuration.json").read_text())
    assert settled["hidden_units"]["student"] == [7, 5]
    python, dash, package, *words = shlex.split(settled["command"])
    assert (python, dash, package, words[0]) == ("python", "-m", "nkd", "regression")
    assert nkd(*words, "--out", tmp_path / "again", cwd=tmp_path).returncode == 0
    by_script = json.loads((tmp_path / "script" / "configuration.json").read_text())["command"]
    assert shlex.split(by_script) == ["python", REGRESSION, *words[1:]]
    one, *others = (
        json.loads((tmp_path / folder / "results.json").read_text())
        for folder in ("first", "script", "again")
    )
    assert one["student"]["parameters"] == 8 * 7 + 7 + 7 * 5 + 5 + 5 + 1
    for other in others:
        assert one["student"]["test"] == other["student"]["test"]


@pytest.mark.parametrize(
    ("started", "words"),
    [
        ("/there/run_regression.py", ["python", "run_regression.py"]),
        ("/there/nkd/__main__.py", ["python", "-m", "nkd"]),
        ("/there/bin/nkd", ["nkd"]),
        ("/there/Scripts/nkd.exe", ["nkd"]),
    ],
)
def test_a_command_is_repeated_as_it_was_called(monkeypatch, started, words):
    monkeypatch.setattr(sys, "argv", [started])
    assert command_line.called_as() == words


def test_the_package_installs_its_commands_as_nkd():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["nkd"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_each_help_says_what_a_command_does_and_ends_with_an_example_that_works():
    overview = nkd("--help").stdout.splitlines()
    assert overview[-1].startswith("Example: python -m nkd classification ")
    for name, each in COMMANDS.items():
        first_line = each.description.splitlines()[0]
        assert [line.split(maxsplit=1) for line in overview].count([name, first_line]) == 1
        text = nkd(name, "--help").stdout
        assert first_line in text
        assert text.splitlines()[-1] == f"Example: python -m nkd {name} {each.example}"
        parser = command_line.Parser()
        parser.add_arguments(each.flags, dest="flags")
        parser.parse_args(shlex.split(each.example)).flags.check()
    for script in (CLASSIFICATION, REGRESSION):
        text = run(script, "--help").stdout
        assert text.splitlines()[-1].startswith(f"Example: python {script} --")
        assert re.search(r"--hidden N .*\(default:\s+\[\d+, \d+\]\)", text, re.DOTALL)


def test_one_pair_proves_nothing(tmp_path):
    process = run(
        REGRESSION, "--dataset", "friedman", "--epochs", 1, "--seeds", 1, "--batch-size", 1024,
        "--out", tmp_path,
    )  # fmt: skip
    assert "One pair proves nothing" in process.stdout
    assert (
        json.loads((tmp_path / "results.json").read_text())["student_minus_person"]["low"] is None
    )


BAD_FLAGS = {
    "unknown backend": (CLASSIFICATION, ["--backend", "tpu"], "--backend"),
    "unknown data set": (REGRESSION, ["--dataset", "mnist"], "--dataset"),
    "unknown flag": (CLASSIFICATION, ["--temprature", "4"], "--temprature"),
    "no number": (CLASSIFICATION, ["--epochs", "many"], "--epochs"),
    "temperature 0": (CLASSIFICATION, ["--temperature", "0"], "--temperature 0"),
    "temperature nan": (CLASSIFICATION, ["--temperature", "nan"], "--temperature nan"),
    "alpha above 1": (CLASSIFICATION, ["--alpha", "1.5"], "--alpha 1.5"),
    "alpha below 0": (REGRESSION, ["--alpha", "-0.1"], "--alpha -0.1"),
    "no epoch": (CLASSIFICATION, ["--epochs", "0"], "--epochs 0"),
    "no batch": (REGRESSION, ["--batch-size", "0"], "--batch-size 0"),
    "unknown recipe": (REGRESSION, ["--recipe", "best"], "--recipe best"),
    "unknown schedule": (REGRESSION, ["--schedule", "linear"], "--schedule linear"),
    "no hidden unit": (CLASSIFICATION, ["--hidden", "64", "0"], "--hidden 64 0"),
    "negative hidden units": (REGRESSION, ["--hidden", "-3"], "--hidden -3"),
    "half a hidden unit": (REGRESSION, ["--hidden", "1.5"], "--hidden"),
    "no number of hidden units": (REGRESSION, ["--hidden"], "--hidden"),
    "no pair": (REGRESSION, ["--seeds", "0"], "--seeds 0"),
    "negative seed": (REGRESSION, ["--first-seed", "-1"], "--first-seed -1"),
    "learning rate 0": (REGRESSION, ["--learning-rate", "0"], "--learning-rate 0"),
    "missing folder": (CLASSIFICATION, ["--data-dir", "nowhere"], "nowhere"),
    "diverged": (
        REGRESSION,
        ["--dataset", "friedman", "--learning-rate", "1e30", "--batch-size", "4096"],
        "lower the learning rate",
    ),
}


@pytest.mark.parametrize(("runner", "flags", "named"), BAD_FLAGS.values(), ids=BAD_FLAGS)
def test_a_mistake_gets_one_line_and_exit_code_2(tmp_path, runner, flags, named):
    process = run(runner, *flags, "--out", tmp_path / "out", cwd=tmp_path)
    assert process.returncode == 2
    assert len(process.stderr.strip().splitlines()) == 1
    assert process.stderr.startswith("error: ")
    assert named in process.stderr
    assert not list(tmp_path.glob("out/*.safetensors")) + list(tmp_path.glob("out/.*"))


def test_a_folder_that_cannot_be_written_gets_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    process = run(REGRESSION, "--dataset", "friedman", "--out", tmp_path / "file" / "out")
    assert process.returncode == 2
    assert process.stderr.startswith("error: --out")
    assert len(process.stderr.strip().splitlines()) == 1


def test_a_gpu_that_is_not_there_is_explained_in_one_line():
    process = run(CLASSIFICATION, "--backend", "cupy", "--dataset", "digits", "--epochs", 1)
    if process.returncode == 0:
        pytest.skip("there is a GPU")
    assert process.returncode == 2
    assert len(process.stderr.strip().splitlines()) == 1
    assert "--backend numpy" in process.stderr


def test_the_gpu_benchmark_explains_a_missing_gpu_in_one_line():
    command = [sys.executable, "-m", "benchmarks.gpu", "--parts", "tf32"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if process.returncode == 0:
        pytest.skip("there is a GPU")
    assert process.returncode == 2
    assert len(process.stderr.strip().splitlines()) == 1


def test_memory_that_does_not_suffice_is_told_in_one_line(monkeypatch, capsys):
    def load(task, dataset, data_dir):
        raise MemoryError("Unable to allocate 3 TiB")

    monkeypatch.setattr(command_line, "load", load)
    monkeypatch.setattr(sys, "argv", ["run.py"])
    runner = command_line.Runner(Regression, command_line.Flags, recipes.REGRESSION, (), 1)
    assert command_line.main(runner) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("error: out of memory (Unable to allocate 3 TiB); train fewer")
    assert complaint.count("\n") == 1


@pytest.mark.parametrize("script", [CLASSIFICATION, REGRESSION])
def test_tf32_is_refused_in_one_line_without_tensor_cores(script):
    process = run(script, "--backend", "numpy", "--tf32")
    assert process.returncode == 2
    assert process.stderr == (
        "error: --tf32: --backend numpy has no tensor cores; use --backend cupy\n"
    )


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT to a process")
def test_an_interrupt_ends_soon_says_what_was_kept_and_breaks_no_file(tmp_path):
    flags = ["--dataset", "friedman", "--epochs", 100_000, "--out", tmp_path]
    process = subprocess.Popen(
        command(REGRESSION, *flags),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"NUMBA_NUM_THREADS": "1"},  # a busy core would hold up the others
        # Whoever runs the tests in the background lets their processes ignore interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    # A line is printed after ten epochs: the training is in full swing.
    while not process.stdout.readline().startswith(b"Teacher epoch"):
        assert process.poll() is None
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=30)
    assert time.monotonic() - start < 10  # "a second or two" on a machine that is not busy
    assert process.returncode == 130
    assert b"interrupted; kept in" in complaint
    assert b"Traceback" not in complaint
    assert sorted(os.listdir(tmp_path)) == ["checkpoints", "configuration.json", "metrics.csv"]
    with open(tmp_path / "metrics.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) >= 10


def test_importing_the_package_is_light():
    heavy = (
        "scipy", "sklearn", "matplotlib", "rich", "cupy", "tensorflow", "tensorflow_datasets",
        "pandas", "pyarrow", "onnx", "numba", "threadpoolctl",
    )  # fmt: skip
    code = f"import sys, nkd.__main__; print([name for name in {heavy} if name in sys.modules])"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert process.stdout.strip() == "[]"


@pytest.mark.skipif(not REAL_FOLDER, reason="NKD_DATA_DIR names no folder with the real data")
@pytest.mark.parametrize(
    ("runner", "flags", "name", "measure", "bounds"),
    [
        (
            CLASSIFICATION,
            ["--epochs", 1, "--seeds", 2, "--rows", 20_000],
            "mnist",
            "accuracy",
            (0.9, 0.99),
        ),
        (REGRESSION, ["--epochs", 3, "--seeds", 2], "california", "r2", (0.5, 0.85)),
    ],
)
def test_real_data_are_learned(tmp_path, runner, flags, name, measure, bounds):
    process = run(runner, "--data-dir", REAL_FOLDER, *flags, "--out", tmp_path)
    assert process.returncode == 0, process.stderr
    record = json.loads((tmp_path / "results.json").read_text())
    assert record["dataset"] == name
    assert not record["stand_in"]
    for network in ("teacher", "student", "person"):
        assert bounds[0] < record[network]["test"][measure]["mean"] < bounds[1]


@pytest.mark.parametrize(
    ("runner", "dataset"), [(CLASSIFICATION, "digits"), (REGRESSION, "friedman")]
)
def test_the_plain_recipe_trains_all_networks_as_ever(tmp_path, runner, dataset):
    ever = {
        CLASSIFICATION: (20, 128, 4e-3, 0.3, 2.0),
        REGRESSION: (100, 64, 1e-2, 0.4, 1.0),
    }[runner]
    flags = ["--recipe", "plain", "--dataset", dataset, "--seeds", 1, "--backend", "numpy"]
    one = "--epochs", 1, "--batch-size", 512
    process = run(runner, *flags, *one, "--out", tmp_path)
    assert process.returncode == 0, process.stderr
    settled = json.loads((tmp_path / "configuration.json").read_text())
    used = settled["settings"]["teacher"]
    assert used == settled["settings"]["student"]
    assert (used["epochs"], used["batch_size"]) == (1, 512)
    assert (used["learning_rate"], used["schedule"]) == (ever[2], "cosine")
    assert not (used["dropout"] or used["largest_norm"] or used["jitter"] or used["average"])
    assert (settled["student"]["alpha"], settled["student"]["temperature"]) == ever[3:]
    recipe = {CLASSIFICATION: recipes.CLASSIFICATION, REGRESSION: recipes.REGRESSION}[runner]
    plain = recipe["plain"]
    assert plain.teacher == plain.student
    assert (plain.student.epochs, plain.student.batch_size) == ever[:2]
    assert plain.feature_bound is None


def test_a_flag_that_is_given_holds_for_all_networks(tmp_path):
    flags = ["--dataset", "friedman", "--epochs", 4, "--learning-rate", 0.002, "--seeds", 1]
    process = run(REGRESSION, *flags, "--backend", "numpy", "--out", tmp_path)
    assert process.returncode == 0, process.stderr
    settled = json.loads((tmp_path / "configuration.json").read_text())["settings"]
    teacher, student = settled["teacher"], settled["student"]
    assert teacher["epochs"] == student["epochs"] == 4
    assert teacher["learning_rate"] == student["learning_rate"] == 0.002
    assert teacher["schedule"] != student["schedule"]  # each has its own where none was given
    assert teacher["average"] == 3  # 70 % of the epochs, as of 100
