"""All checks that need a GPU: the tests, the race, the map, TF32, a profile, CUDA graphs.

    python -m benchmarks.gpu                         everything, under 10 minutes
    python -m benchmarks.gpu --parts tests profile   some of it
    python -m benchmarks.gpu --json benchmarks/results/h200-2026-11-22.json

The race is that of `python -m benchmarks`, on the GPU: same weights, same batches, losses compared
before anything is timed; each contestant in a process of its own, in turn. What does not fit into
a part's time is left out, and named. Without a GPU it says so and exits with code 2.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.__main__ import machine, race, show
from benchmarks.peers import GPU_PEERS
from benchmarks.workloads import GPU, GPU_TRAINING, LEARNING_RATE, MAP, MNIST_STUDENT, Workload
from nkd import (
    Classification,
    Dataset,
    Run,
    Settings,
    Training,
    UserError,
    choose,
)
from nkd.backend import Backend, CupyBackend
from nkd.data import load_classification
from nkd.fused_gpu import Launch, run
from nkd.memory import bytes_of_training

Records = list[dict[str, Any]]
REFERENCE = "nkd cupy"
MAP_EPOCHS = 20


@dataclasses.dataclass
class Limits:
    """What the GPU can do at most: float32 operations and bytes per second."""

    operations: float
    bytes: float

    def floor(self, workload: Workload) -> float:
        """The least seconds of a step, its products outside the tensor cores."""
        return max(workload.operations / self.operations, workload.bytes / self.bytes)


def limits(cupy: Any) -> Limits:
    """From the attributes that the driver reports: units × clock, and bus width × clock."""
    device = cupy.cuda.Device()
    attributes = device.attributes
    # Multiply-adds per multiprocessor and cycle: CUDA C++ Programming Guide, "Throughput of
    # Native Arithmetic Instructions".
    lanes = 64 if device.compute_capability in ("60", "70", "72", "75", "80") else 128
    clock, memory_clock = (1e3 * attributes[name] for name in ("ClockRate", "MemoryClockRate"))
    return Limits(
        2 * lanes * attributes["MultiProcessorCount"] * clock,
        2 * attributes["GlobalMemoryBusWidth"] / 8 * memory_clock,
    )


def mnist() -> Dataset:
    """MNIST from NKD_DATA_DIR, or random data of its shape."""
    if os.environ.get("NKD_DATA_DIR"):
        return load_classification("mnist")
    arrays = GPU_TRAINING[1].arrays
    x, y = arrays["x"], arrays["y"]
    title = "random data of MNIST's shape (NKD_DATA_DIR is not set)"
    return Dataset("random", title, x, y, x[:10_000], y[:10_000], input_scale=1 / 255)


def map_runs(targets: np.ndarray) -> list[Run]:
    """400 Students: 5 temperatures × 4 weights × 20 seeds, listed so that batches are shared."""
    return [
        Run(seed, alpha, temperature, targets)
        for temperature in (1.0, 2.0, 4.0, 8.0, 20.0)
        for alpha in (0.1, 0.3, 0.5, 0.9)
        for seed in range(20)
    ]


def part_tests(console: Console, deadline: float, backend: CupyBackend) -> Records:
    """`pytest -m gpu`."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q"]
    try:
        rest = deadline - time.monotonic()
        process = subprocess.run(command, timeout=rest, capture_output=True, text=True)
        result = process.stdout.strip().splitlines()[-1]
        if process.returncode:
            console.print(process.stdout[-6000:], markup=False)
    except subprocess.TimeoutExpired:
        result = "not done in the time that it had"
    console.print(f"pytest -m gpu: {result}", style="bold", markup=False)
    return [{"workload": "tests", "result": result}]


def part_race(console: Console, deadline: float, backend: CupyBackend) -> Records:
    """The race against PyTorch and JAX."""
    records: Records = []
    bound, slowest = limits(backend.xp), 0.0
    for number, workload in enumerate(GPU):
        start = time.monotonic()
        if start + slowest > deadline:
            rest = ", ".join(each.name for each in GPU[number:])
            console.print(f"left out, the time is up: {rest}", style="yellow")
            break
        peers, references = list(GPU_PEERS), [REFERENCE]
        new = race(workload, 0.1, 5, console, peers=peers, references=references, where="gpu")
        for record in new:
            record["floor_seconds"] = bound.floor(workload)
            record["share_of_floor"] = bound.floor(workload) / record["seconds"]
            record["replicas"] = workload.replicas
        show(new, console)
        records += new
        slowest = max(slowest, time.monotonic() - start)
    return records


def part_map(console: Console, deadline: float, backend: CupyBackend) -> Records:
    """400 Students at once, 20 epochs of MNIST, from their initial weights to their last test."""
    data = mnist()
    problem = Classification(data)
    rng = np.random.default_rng(0)
    targets = 3 * rng.standard_normal((len(data.x_train), problem.outputs), dtype=np.float32)
    runs = map_runs(targets)
    settings = Settings(MAP_EPOCHS, MAP.batch_size, LEARNING_RATE, report_every=MAP_EPOCHS)
    predicted = bytes_of_training(problem, MNIST_STUDENT, runs, settings, backend=backend)
    pool = backend.xp.get_default_memory_pool()
    pool.free_all_blocks()
    start = time.perf_counter()
    training = Training(problem, MNIST_STUDENT, runs, settings, backend=backend)
    for _ in training.epochs():
        if time.monotonic() > deadline:
            break
    backend.synchronize()
    seconds, epochs = time.perf_counter() - start, len(training.history)
    record = {
        "workload": "map",
        "peer": f"{REFERENCE}, whole training",
        "data": data.title,
        "runs": len(runs),
        "epochs": epochs,
        "seconds": seconds,
        "predicted_bytes": predicted,
        "pool_bytes": pool.total_bytes(),
    }
    console.print(
        f"map: {len(runs)} runs, {epochs} epochs of {data.title}: {seconds:.1f} s; "
        f"memory {pool.total_bytes() / 1e9:.2f} GB, predicted {predicted / 1e9:.2f} GB",
        style="bold",
    )
    return [record]


def part_tf32(console: Console, deadline: float, backend: CupyBackend) -> Records:
    """What TF32 does to a gradient and to the errors of 20 Persons after 5 epochs."""
    problem = Classification(mnist())
    settings = Settings(5, MAP.batch_size, LEARNING_RATE, report_every=5)
    gradients, errors = [], []
    for each in (backend, choose("cupy", tf32=True)):
        runs = [Run(seed) for seed in range(20)]
        training = Training(problem, MNIST_STUDENT, runs, settings, backend=each)
        rows = each.asarray(np.arange(20 * MAP.batch_size).reshape(20, -1))
        z = training.network.forward(training.train_inputs.gather(rows))
        training.network.backward(training.loss(z, training.targets.gather(rows))[1])
        gradients.append(each.to_numpy(training.network.gradients).copy())
        errors.append(training.run().history[-1].test["errors"])
    difference = np.linalg.norm(gradients[1] - gradients[0]) / np.linalg.norm(gradients[0])
    record = {
        "workload": "tf32",
        "data": problem.data.title,
        "gradient_difference": float(difference),
        "errors_float32": [float(errors[0].mean()), float(errors[0].std(ddof=1))],
        "errors_tf32": [float(errors[1].mean()), float(errors[1].std(ddof=1))],
    }
    console.print(
        f"TF32, {problem.data.title}: the first gradient differs by {difference:.1e}; test errors "
        "{:.1f} ± {:.1f} in float32".format(*record["errors_float32"])
        + ", {:.1f} ± {:.1f} in TF32 (mean and deviation of 20)".format(*record["errors_tf32"])
    )
    return [record]


def step_of(workload: Workload, backend: Backend) -> tuple[Any, list[Launch]]:
    """The step of a workload, and the launches of one full batch."""
    step = workload.training(backend).step
    assert step is not None
    order = backend.asarray(workload.arrays["order"][None])
    steps = -(-order.shape[1] // workload.batch_size)
    step.set_rates(iter([LEARNING_RATE] * steps), steps)
    plans = step.plans(order, workload.batch_size)
    return step, plans[workload.batch_size]


def timed(cupy: Any, work: Callable[[], Any], repeats: int) -> float:
    """Seconds per call on the device, by its own clock."""
    work()
    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    start.record()
    for _ in range(repeats):
        work()
    end.record()
    end.synchronize()
    return cupy.cuda.get_elapsed_time(start, end) / 1e3 / repeats


def part_profile(console: Console, deadline: float, backend: CupyBackend) -> Records:
    """Where the time of a step goes: each launch alone, many times."""
    cupy, records = backend.xp, []
    for workload in (GPU_TRAINING[0], GPU_TRAINING[1], MAP):
        step, plan = step_of(workload, backend)
        table = Table(title=f"{workload.title}: the launches of a step", title_justify="left")
        for column in ("", "launch", "µs"):
            table.add_column(column, justify="right" if column == "µs" else "left")
        total = 0.0
        for number, (function, arguments) in enumerate(plan[:-1]):  # without the counter
            name = getattr(function, "name", None) or getattr(function, "__name__", "product")
            seconds = timed(cupy, lambda f=function, a=arguments: f(*a), 20)
            total += seconds
            table.add_row(str(number), name, f"{1e6 * seconds:,.1f}")
            entry = {"number": number, "launch": name, "seconds": seconds}
            records.append({"workload": f"profile of {workload.name}", **entry})
        step.counter[:] = 0
        whole = timed(cupy, lambda plan=plan[:-1]: run(plan), 50)
        table.add_row("", "all, one after the other", f"{1e6 * total:,.1f}")
        table.add_row("", "the step", f"{1e6 * whole:,.1f}")
        console.print(table)
        entry = {"launch": "the step", "seconds": whole, "launches": len(plan)}
        records.append({"workload": f"profile of {workload.name}", **entry})
    return records


def part_graphs(console: Console, deadline: float, backend: CupyBackend) -> Records:
    """Whether a step replayed as a CUDA graph is faster than its launches one by one.

    CuPy refuses cuBLAS while a stream is captured (its issue 6290); nvmath-python's binding of the
    same function, with the same arguments, does not.
    """
    cupy, records = backend.xp, []
    try:
        from nvmath.bindings import cublas
    except ImportError as error:
        console.print(f"graphs: left out, nvmath-python cannot be used ({error})", style="yellow")
        return []
    stream, handle = cupy.cuda.Stream(non_blocking=True), cublas.create()
    cublas.set_stream(handle, stream.ptr)
    for workload in [each for each in GPU if not each.inference]:
        if time.monotonic() > deadline:
            console.print(f"graphs: from {workload.name} on left out, the time is up")
            break
        _, plan = step_of(workload, backend)
        product = backend.forms.cublas.gemmStridedBatchedEx
        captured = [
            (cublas.gemm_strided_batched_ex, (handle, *arguments[1:]))
            if function == product
            else (function, arguments)
            for function, arguments in plan[:-1]  # the counter would run out of rows
        ]
        backend.synchronize()
        with stream:
            run(captured)  # compiles, and lets cuBLAS allocate what it needs
            stream.synchronize()
            stream.begin_capture()
            run(captured)
            graph = stream.end_capture()
            loop = timed(cupy, lambda plan=plan[:-1]: run(plan), 200)
            replay = timed(cupy, lambda graph=graph: graph.launch(stream), 200)
            stream.synchronize()
        entry = {"loop_seconds": loop, "graph_seconds": replay, "replicas": workload.replicas}
        records.append({"workload": f"graph of {workload.name}", **entry})
        console.print(
            f"graph of {workload.name}: {1e6 * replay:,.1f} µs a step, {1e6 * loop:,.1f} without"
        )
    return records


PARTS: dict[str, tuple[Callable[[Console, float, CupyBackend], Records], float]] = {
    "tests": (part_tests, 150),
    "map": (part_map, 60),
    "tf32": (part_tf32, 30),
    "profile": (part_profile, 30),
    "graphs": (part_graphs, 30),
    "race": (part_race, 240),
}
"""The parts and the seconds that each has."""


def summary(records: Records, console: Console) -> None:
    """A line for each workload of the race: nkd's time, its share of the floor, the ratios."""
    raced = [record for record in records if "ratio" in record]
    others = [name for name in GPU_PEERS if name != REFERENCE]
    table = Table(title="time relative to nkd's (above 1: nkd is faster)", title_justify="left")
    for column in ("workload", "nkd, µs", "share of floor", *others):
        table.add_column(column, justify="left" if column == "workload" else "right")
    for name in dict.fromkeys(record["workload"] for record in raced):
        of_peer = {record["peer"]: record for record in raced if record["workload"] == name}
        own = of_peer[REFERENCE]
        ratios = [f"{of_peer[peer]['ratio']:.2f}" if peer in of_peer else "–" for peer in others]
        time_, share = f"{1e6 * own['seconds']:,.1f}", f"{100 * own['share_of_floor']:.0f} %"
        table.add_row(name, time_, share, *ratios)
    if raced:
        console.print(table)
    whole = [record for record in records if record.get("runs")]
    single = [record for record in raced if record["workload"] == "student-mnist"]
    for record in whole:
        steps = record["epochs"] * -(-MAP.rows // MAP.batch_size)
        for one in single:
            in_turn = one["seconds"] * steps * record["runs"]
            console.print(
                f"the map took {record['seconds']:.1f} s; {one['peer']}, one run after the other, "
                f"would take {in_turn:,.0f} s: {in_turn / record['seconds']:.1f} times as long"
            )


def main() -> int:
    """Parse the flags, run the parts, print and write; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the records there")
    arguments = parser.parse_args()
    try:
        backend = choose("cupy")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    assert isinstance(backend, CupyBackend)
    console = Console(width=None if sys.stdout.isatty() else 110)
    runtime = backend.xp.cuda.runtime
    where = machine() | {
        "gpu": backend.device(),
        "driver": runtime.driverGetVersion(),
        "cuda": runtime.runtimeGetVersion(),
        "limits": dataclasses.asdict(limits(backend.xp)),
    }
    console.print(where)
    console.print(f"the map and TF32: {mnist().title}; the race: random data of the real shapes")
    records: Records = []
    for name in arguments.parts:
        part, seconds = PARTS[name]
        try:
            records += part(console, time.monotonic() + seconds, backend)
        except Exception as error:  # noqa: BLE001 - a part that breaks must not cost the others
            console.print(f"{name} failed: {type(error).__name__}: {error}", style="red")
            records.append({"workload": name, "failed": f"{type(error).__name__}: {error}"})
        if arguments.json:  # after each part, so that nothing measured is lost
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps([{**record, **where} for record in records], indent=1)
            arguments.json.write_text(text + "\n")
    summary(records, console)
    return 1 if any("failed" in record for record in records) else 0


if __name__ == "__main__":
    sys.exit(main())
