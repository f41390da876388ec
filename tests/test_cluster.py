"""Passes on a cluster: the numbers of one process, whoever computes, dies, or does not fit."""

import os
import subprocess
import sys
import threading
import time

import pytest
from conftest import regression_data
from test_runners import ROOT

from benchmarks.killed import ONE_THREAD, content
from nkd import Regression, UserError, cluster, compare
from nkd.backend import NUMPY
from nkd.experiment import networks_of
from nkd.machine import products_of, use_blas_threads
from nkd.report.files import Folder
from nkd.training import Settings

distributed = pytest.importorskip("distributed")
PROBLEM = Regression(regression_data(rows=400))
SETTINGS = Settings(epochs=40, batch_size=20, learning_rate=0.01)


def compared(**options):
    """A small experiment with arms and numbers of rows."""
    teacher = networks_of(PROBLEM, (8,), (0, 1), SETTINGS, memory=10**9)
    sweep = {"alpha": [0.1, 0.5, 0.9], "rows": [50, 100]}
    options |= {"seeds": range(4), "sweep": sweep, "memory": 10**9}
    return compare(PROBLEM, teacher, (6,), SETTINGS, alpha=0.5, **options)


def timeless(results):
    """What results hold, without times."""
    record = results.record()
    for name in results.networks:
        for key in [key for key in record[name] if "seconds" in key]:
            del record[name][key]
    return record, [each.tobytes() for each in results.outputs.values()]


@pytest.fixture(scope="module")
def one_thread():
    before = products_of("numpy").threads
    use_blas_threads(1)
    yield
    use_blas_threads(before)


@pytest.fixture(scope="module")
def address(one_thread):
    """A cluster of two workers, each a process."""
    options = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with distributed.LocalCluster(n_workers=2, **options) as made:
        yield made.scheduler_address


@pytest.mark.filterwarnings("default")  # what Dask warns of is not ours
def test_the_results_are_those_of_one_process_even_if_a_worker_dies(address, monkeypatch):
    alone = timeless(compared())
    assert timeless(compared(cluster=address)) == alone

    began, submit = threading.Event(), cluster.Cluster.submit

    def submitted(self, part, *others):
        if part.name == "arms":
            began.set()
        return submit(self, part, *others)

    def kill():
        assert began.wait(60)
        time.sleep(0.05)
        with distributed.Client(address) as client:
            workers = client.run(os.getpid)
            os.kill(next(iter(workers.values())), 9)

    monkeypatch.setattr(cluster.Cluster, "submit", submitted)
    killer = threading.Thread(target=kill)
    killer.start()
    assert timeless(compared(cluster=address)) == alone
    killer.join()


@pytest.mark.filterwarnings("default")
def test_a_worker_that_would_compute_other_bits_is_refused(address, monkeypatch):
    monkeypatch.setattr(cluster.checkpoint, "footing_of", lambda backend: {
        **footing, "numpy": "1.0",
    })  # fmt: skip
    with pytest.raises(UserError, match=r"the worker tcp://.* has numpy .*, not 1.0"):
        compared(cluster=address)


footing = cluster.checkpoint.footing_of(NUMPY) | {"numpy threads": 1}


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("tcp://127.0.0.1:9", "no worker answers"),
        ("somewhere", "no worker answers"),
        ("local:0", "give local:WORKERS"),
        ("local:many", "give local:WORKERS"),
    ],
)
def test_a_cluster_that_is_not_there_is_refused_in_one_line(tmp_path, given, said, monkeypatch):
    monkeypatch.setattr(cluster, "SECONDS", 1)
    earlier = tmp_path / "configuration.json"
    earlier.write_text("{}")
    with pytest.raises(UserError, match=said) as refusal:
        compared(cluster=given, folder=Folder(tmp_path))
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == [earlier]
    assert earlier.read_text() == "{}"


def test_a_pass_has_a_part_for_each_worker_and_whole_arms_if_there_are_enough():
    class Client:
        def nthreads(self):
            return dict.fromkeys(range(4), 1)

    work = cluster.Cluster.__new__(cluster.Cluster)
    work.client = Client()
    for runs, arm in ((range(40), 5), (range(3, 20), 5), (range(2), 1), (range(400), 10)):
        parts = work.divided(None, runs, arm)
        assert [run for part in parts for run in part] == list(runs)
        assert len(parts) <= 4
        assert max(map(len, parts)) <= -(-len(runs) // 4) + arm
    assert [len(part) for part in work.divided(None, range(40), 5)] == [10] * 4


@pytest.mark.slow
def test_a_run_on_two_workers_leaves_the_files_of_one_process(tmp_path):
    flags = ["--dataset", "friedman", "--epochs", "3", "--seeds", "2", "--backend", "numpy"]
    words = [
        sys.executable,
        "-m",
        "nkd",
        "regression",
        *flags,
        "--sweep",
        "labels=300",
        "alpha=0.1,0.9",
    ]
    environment = os.environ | ONE_THREAD
    for out, more in (("one", []), ("two", ["--cluster", "local:2"])):
        given = [*words, *more, "--out", str(tmp_path / out)]
        process = subprocess.run(given, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert process.returncode == 0, process.stderr
        assert process.stderr == ""
    assert content(tmp_path / "one") == content(tmp_path / "two")
