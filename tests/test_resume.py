"""Runs that end early, as a user sees them: killed, stopped, refused, out of room; and go on."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time

import pytest
from conftest import regression_data
from test_runners import ROOT

from benchmarks.killed import ONE_THREAD, content, killed
from nkd.__main__ import main
from nkd.backend import NUMPY
from nkd.distillation import Regression, Run
from nkd.errors import Terminated, UserError
from nkd.machine import products_of, use_blas_threads
from nkd.report.files import CHECKPOINTS, Folder
from nkd.training import Settings, Training
from nkd.work import Kept, Work

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="sends signals")]

QUICK = ["--seeds", "2", "--checkpoint-every", "0"]
FLAGS = {
    "regression": [
        "--dataset",
        "friedman",
        "--epochs",
        "12",
        "--sweep",
        "rows=300",
        "alpha=0.1,0.9",
    ],
}


def command(experiment, backend, out, *flags):
    given = [*FLAGS[experiment], *QUICK, "--backend", backend, "--out", str(out), *flags]
    return [sys.executable, "-m", "nkd", experiment, *given]


def resuming(experiment, out, *flags):
    return [sys.executable, "-m", "nkd", experiment, "--resume", str(out), *map(str, flags)]


def done(words, **options):
    environment = os.environ | ONE_THREAD | options.pop("env", {})
    return subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, **options
    )


@pytest.fixture
def refusal(monkeypatch, capsys):
    """The one line that a command ends with, called in this process with one thread."""
    before = products_of("numpy").threads
    use_blas_threads(1)

    def of(words):
        monkeypatch.setattr(sys, "argv", words[2:])
        capsys.readouterr()
        assert main() == 2
        complaint = capsys.readouterr().err
        assert complaint.startswith("error: ")
        assert complaint.count("\n") == 1
        return complaint

    yield of
    use_blas_threads(before)


def stopped(words, number, after):
    """What a run says that gets a signal when it has printed a line that begins like this."""
    process = subprocess.Popen(
        words,
        cwd=ROOT,
        env=os.environ | ONE_THREAD,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background lets their processes ignore interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not process.stdout.readline().startswith(after):
        assert process.poll() is None
    process.send_signal(number)
    _, complaint = process.communicate(timeout=60)
    return process.returncode, complaint


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folders of runs that nobody disturbed, by experiment and backend."""
    made = {}

    def folder(experiment, backend):
        if (experiment, backend) not in made:
            out = tmp_path_factory.mktemp("whole") / experiment
            process = done(command(experiment, backend, out))
            assert process.returncode == 0, process.stderr
            made[experiment, backend] = out
        return made[experiment, backend]

    return folder


@pytest.mark.parametrize(
    ("experiment", "backend", "kills"), [("regression", "numba", 3), ("regression", "numpy", 2)]
)
def test_a_run_that_is_killed_goes_on_to_the_same_files(
    tmp_path, whole, experiment, backend, kills
):
    start = time.monotonic()
    expected = content(whole(experiment, backend))
    longest, chance = max(time.monotonic() - start, 4.0), random.Random(kills)
    words = command(experiment, backend, tmp_path), resuming(experiment, tmp_path)
    assert killed(*words, tmp_path, kills, longest, signal.SIGKILL, chance) <= kills
    assert content(tmp_path) == expected


def test_a_run_that_is_stopped_keeps_its_last_epoch_and_goes_on(tmp_path, whole):
    words = command("regression", "numpy", tmp_path, "--checkpoint-every", "1000")
    returned, complaint = stopped(words, signal.SIGTERM, "Teacher epoch 10")
    assert returned == 143
    assert "stopping at the end of this epoch" in complaint
    assert f"interrupted; kept in {tmp_path}: configuration.json, metrics.csv" in complaint
    assert f"--resume {tmp_path} goes on there" in complaint
    assert "Traceback" not in complaint
    process = done(resuming("regression", tmp_path))
    assert process.returncode == 0, process.stderr
    assert "teacher: goes on after epoch 1" in process.stdout
    assert content(tmp_path) == content(whole("regression", "numpy"))
    again = done(resuming("regression", tmp_path))
    assert (again.returncode, again.stdout.count("\n")) == (0, 1)
    assert "This run is finished" in again.stdout


@pytest.fixture
def ended(tmp_path):
    """A run that was stopped while its Teacher trained."""
    words = command("regression", "numpy", tmp_path / "run")
    stopped(words, signal.SIGTERM, "Teacher epoch 10")
    return tmp_path / "run"


def test_what_would_change_the_numbers_is_refused_and_nothing_is_overwritten(ended, refusal):
    before = content(ended)
    go_on = resuming("regression", ended, "--cluster", "")
    assert "leave out --epochs" in refusal([*go_on, "--epochs", "3"])
    assert "is a run of regression, not classification" in refusal(
        resuming("classification", ended)
    )
    use_blas_threads(2)
    threads = refusal(go_on)
    assert "threads 1, not 2" in threads
    assert "start anew" in threads
    use_blas_threads(1)
    anew = refusal(command("regression", "numpy", ended))
    assert "holds a run that ended early" in anew
    assert "cannot be read" in refusal(resuming("regression", ended / "nothing"))

    file = ended / "configuration.json"
    right = json.loads(file.read_text())
    for change, said in (
        ({"footing": right["footing"] | {"nkd": "0.0.1"}}, "nkd 0.0.1, not"),
        ({"footing": right["footing"] | {"backend": "numba"}}, "backend numba, not numpy"),
        ({"data": "0" * 64}, "other data"),
        ({"flags": {"colour": "blue"}}, "other flags"),
        ({"flags": 3}, "other flags"),
        ({"flags": right["flags"] | {"epochs": "twelve"}}, "other flags"),
    ):
        file.write_text(json.dumps(right | change))
        assert said in refusal(go_on)
    file.write_text(json.dumps(right | {"flags": right["flags"] | {"cluster": "local:0"}}))
    assert "local:0: give" in refusal(resuming("regression", ended))
    file.write_text(json.dumps(right)[:-5])
    assert "is damaged" in refusal(go_on)
    file.write_text(json.dumps(right | {"flags": right["flags"] | {"cluster": "local:0"}}))

    (checkpoint,) = (ended / CHECKPOINTS).iterdir()
    kept = checkpoint.read_bytes()
    for wrong in (kept[:-1], kept[:100], b"", kept[:-9] + bytes([kept[-9] ^ 1]) + kept[-8:]):
        checkpoint.write_bytes(wrong)
        assert str(checkpoint) in refusal(go_on)
        assert checkpoint.read_bytes() == wrong
    checkpoint.write_bytes(kept)
    assert content(ended).keys() == before.keys()
    assert done(go_on).returncode == 0


def test_a_folder_that_is_in_use_is_refused(tmp_path, refusal):
    out = tmp_path / "run"
    process = subprocess.Popen(
        command("regression", "numpy", out, "--epochs", "100000"),
        cwd=ROOT,
        env=os.environ | ONE_THREAD,
        stdout=subprocess.PIPE,
    )
    try:
        while not process.stdout.readline().startswith(b"Teacher epoch"):
            assert process.poll() is None
        assert "another run is writing there" in refusal(command("regression", "numpy", out))
        assert "another run is writing there" in refusal(resuming("regression", out))
    finally:
        process.kill()
        process.communicate()


def test_a_full_disk_ends_in_a_line_that_says_what_is_safe_and_the_run_goes_on(tmp_path, whole):
    def little():  # the Teacher's parameters and moments take 2.2 MB
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))

    process = done(command("regression", "numpy", tmp_path), preexec_fn=little)
    complaint = process.stderr
    assert (process.returncode, complaint.count("\n")) == (2, 1)
    assert "cannot be written (File too large)" in complaint
    assert f"Safe in {tmp_path}: configuration.json" in complaint
    assert f"--resume {tmp_path} goes on" in complaint
    assert set(os.listdir(tmp_path)) <= {"configuration.json", CHECKPOINTS}
    assert done(resuming("regression", tmp_path)).returncode == 0
    assert content(tmp_path) == content(whole("regression", "numpy"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_after_the_last_epoch_of_a_pass_is_heard(tmp_path, number):
    problem = Regression(regression_data())
    training = Training(problem, (5, 3, 2), [Run(0)], Settings(2, 10, 0.01))

    def show(training):
        training.run()
        signal.raise_signal(number)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(Terminated if number == signal.SIGTERM else KeyboardInterrupt):
            Work(10**9, NUMPY, kept=Kept(tmp_path)).train("some", training, show)
    finally:
        signal.signal(signal.SIGINT, before)
    assert training.finished


def test_what_a_killed_process_left_is_removed(tmp_path):
    kept = Kept(tmp_path / "kept")
    kept.write("some", range(2), {}, {})
    for name in (".some.0-1.safetensors-abcdefgh", ".another.0-1.safetensors-abcdefgh"):
        (kept.folder / name).touch()
    kept.forget("some")
    assert os.listdir(kept.folder) == [".another.0-1.safetensors-abcdefgh"]
    kept.folder.rename(tmp_path / ".kept-ended")
    kept.clear()
    assert os.listdir(tmp_path) == []


def test_two_runs_of_the_same_second_have_a_folder_each(tmp_path):
    folders = [Folder.new(str(tmp_path / "run-<time>")) for _ in range(5)]
    assert len({folder.path for folder in folders}) == 5
    folders = [Folder.new(str(tmp_path / "<time>-v1.2")) for _ in range(3)]
    assert all("-v1.2" in folder.path.name for folder in folders)
    assert Folder.new(str(tmp_path)).path == tmp_path  # a folder that was named
    dotted = {Folder.new(str(tmp_path / "my.own-<time>")).path.name for _ in range(3)}
    assert len(dotted) == 3
    assert all(name.startswith("my.own-2") for name in dotted)


def test_a_file_in_place_of_the_folder_of_all_runs_is_refused(tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(UserError, match="cannot write there"):
        Folder.new(str(tmp_path / "runs" / "<time>"))


def test_a_folder_is_locked_until_its_run_ends(tmp_path):
    with (
        Folder(tmp_path).locked(),
        pytest.raises(UserError, match="another run is writing there"),
        Folder(tmp_path).locked(),
    ):
        pass
    with Folder(tmp_path).locked(), Folder(tmp_path).locked("another"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_table_is_distilled_on_after_a_stop(tmp_path):
    pandas = pytest.importorskip("pandas")
    from sklearn.datasets import load_diabetes

    table = tmp_path / "diabetes.csv"
    pandas.DataFrame(load_diabetes(as_frame=True).frame).to_csv(table, index=False)

    def words(out):
        flags = ["--target", "target", "--teacher", "network", "--pairs", "1", "--backend", "numpy"]
        given = [*flags, "--checkpoint-every", "0", "--out", str(out)]
        return [sys.executable, "-m", "nkd", "distil", str(table), *given]

    assert done(words(tmp_path / "whole")).returncode == 0
    out = tmp_path / "stopped"
    returned, complaint = stopped(words(out), signal.SIGTERM, "Teacher: a big network")
    assert (returned, "goes on there" in complaint) == (143, True)
    process = done(resuming("distil", out))
    assert process.returncode == 0, process.stderr
    assert "epoch" in process.stdout or "before" in process.stdout
    assert content(out) == content(tmp_path / "whole")


def test_a_table_is_distilled_on_after_a_stop_in_the_report_and_from_another_folder(
    tmp_path, monkeypatch, capsys
):
    pytest.importorskip("pandas")
    from nkd import experiment

    rows = "".join(f"{i % 7},{i % 5},{i / 7}\n" for i in range(60))
    (tmp_path / "some.csv").write_text(f"a,b,c\n{rows}")
    monkeypatch.chdir(tmp_path)

    def stopped_report(*_):
        raise KeyboardInterrupt

    def ended(*words):
        monkeypatch.setattr(sys, "argv", ["nkd", "distil", *map(str, words)])
        return main(), capsys.readouterr()

    flags = ["some.csv", "--target", "c", "--pairs", "1", "--backend", "numpy", "--out", "run"]
    with monkeypatch.context() as patched:
        patched.setattr(experiment, "write_report", stopped_report)
        assert ended(*flags)[0] == 130
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    returned, said = ended("--resume", "../run")
    assert (returned, said.err.count("\n")) == (2, 1)
    assert "some.csv" in said.err
    returned, said = ended("../some.csv", "--resume", "../run")
    assert (returned, said.err) == (0, "")
    assert "was done before" in said.out
    assert not (tmp_path / "run" / CHECKPOINTS).exists()
