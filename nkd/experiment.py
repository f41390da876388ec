"""The experiment as a function: a Teacher, pairs of Student and Person, and the verdict.

`compare` needs no flags, prints nothing unless it is given a screen, and writes nothing unless it
is given a folder.
"""

import dataclasses
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from nkd.arms import Arm, cells, checked_controls, checked_sweep, control, scales, train_arms
from nkd.backend import NUMPY, Backend
from nkd.distillation import Classification, Problem, Run, TeacherOutputs, pairs
from nkd.errors import UserError
from nkd.memory import bytes_of_training
from nkd.report.files import Folder
from nkd.report.results import Results
from nkd.report.screen import Screen
from nkd.report.view import view_of
from nkd.training import Settings, Training, check_fit

RECORDED_PACKAGES = (
    "nkd", "numpy", "scipy", "scikit-learn", "safetensors", "matplotlib",
    "numba", "cupy-cuda12x", "cupy-cuda13x",
)  # fmt: skip


def compare(
    problem: Problem,
    teacher: Training | TeacherOutputs,
    student: Sequence[int],
    settings: Settings,
    *,
    alpha: float = 0.5,
    temperature: float = 1.0,
    loss: str = "blend",
    parameters: Mapping[str, float] | None = None,
    seeds: Sequence[int] = range(5),
    sweep: Mapping[str, Sequence[Any]] | None = None,
    controls: Sequence[str] = (),
    memory: int | None = None,
    backend: Backend = NUMPY,
    screen: Screen | None = None,
    folder: Folder | None = None,
    about: Mapping[str, Any] | None = None,
) -> Results:
    """Train Students with the teacher and Persons without it, in pairs, and compare them.

    Args:
        problem: the data, the losses and the metrics.
        teacher: one training of all K teachers, which is run first if it has not been yet; or the
            outputs of teachers of any kind. The Student of seed number i learns from teacher i
            mod K.
        student: hidden units of Student and Person.
        settings: how Student and Person are trained.
        alpha, temperature, loss, parameters: how a Student uses its teacher, see `Run`.
        seeds: of the pairs, all different; a multiple of K.
        sweep: fields of `Run`, or parameters of its loss, with values to try as well: an arm for
            each combination, see `nkd.arms.cells`.
        controls: names of control arms, see `nkd.arms.CONTROLS`, or ["all"].
        memory: bytes that a pass of training may take; by default half of what is free.
        backend: where everything is trained.
        screen: shows progress, table and verdict; by default nothing is printed.
        folder: takes the files of the run, among them weights and report; by default none.
        about: what configuration.json says about the run besides what is known here.

    Raises:
        UserError: something does not fit together, or does not fit into memory; or a training
            diverged.
    """
    screen, view, data = screen or Screen(quiet=True), view_of(problem), problem.data
    seeds, half = [int(seed) for seed in seeds], len(seeds)
    sizes = (data.x_train.shape[1], *student, problem.outputs)

    # Everything is checked before the long work starts, and before earlier files are removed. The
    # targets are not there yet, but their number is.
    teachers = number_of(teacher, problem)
    if not seeds or half % teachers or len(set(seeds)) < half:
        raise UserError(f"{half} seeds for {teachers} teacher(s): give a multiple, all different")
    how: dict[str, Any] = {"alpha": alpha, "temperature": temperature, "loss": loss}
    how["parameters"] = dict(parameters or {})
    expected = pairs(seeds, targets=np.empty((teachers, 0, 0)), **how)
    check_fit(problem, sizes, expected, settings)
    sweep = checked_sweep(sweep or {}, expected[0], problem.losses)
    controls = checked_controls(
        controls,
        classes=isinstance(problem, Classification),
        trained=isinstance(teacher, Training),
        optimizer=settings.optimizer,
    )
    memory = checked_memory(problem, sizes, expected, settings, memory, backend)
    settled = {
        **(about or {}),
        **configuration(problem, teacher, student, settings, seeds, backend),
        "student": how,
        "sweep": sweep,
        "controls": controls,
    }

    if data.notice:
        screen.notice(data.notice)
    where = f"; files go to {folder.path}" if folder else ""
    if folder:
        folder.clear()
        folder.write_json("configuration.json", settled)
    screen.print(
        f"{data.title}: {len(data.x_train):,} training rows, {len(data.x_test):,} test rows; "
        f"computing with {backend.name} on {backend.device()}{where}"
    )
    trained: list[tuple[list[str], Training]] = []
    results: Results | None = None

    def train(names: list[str], training: Training) -> None:
        trained.append((names, training))
        if not training.started:
            screen.train(names, training, view)

    def keep() -> None:
        """Write what there is, where not everything could be done."""
        if folder:
            folder.write_metrics(trained)
            if results is not None:
                write_report(folder, results, settled)

    try:
        if isinstance(teacher, Training):
            train(["teacher"] * teachers, teacher)
            if folder:
                folder.write_weights("teacher", teacher, 0)
            targets = teacher.outputs(teacher.train_inputs)
        else:
            targets = teacher.train
        runs = pairs(seeds, targets=targets, **how)
        pair = Training(problem, sizes, runs, settings, backend=backend)
        train(["student"] * half + ["person"] * half, pair)
        if folder:
            folder.write_weights("student", pair, 0)
            folder.write_weights("person", pair, half)
            folder.write_metrics(trained)
        results = Results(problem, view, teacher, pair)
        screen.print(results.table())
        screen.print(results.sentence(), style="bold")
        arms = list(further_arms(problem, teacher, pair, sweep, controls, backend))
        if arms:
            options: dict[str, Any] = {"memory": memory, "backend": backend}
            options["train"] = screen.train_quietly
            finals = train_arms(problem, sizes, arms, settings, **options)
            screen.print(results.compare_arms(arms, finals).table())
        if folder:
            write_report(folder, results, settled)
            screen.print(f"\nAll of it, to read in a browser: {folder.path / 'report.html'}")
    except UserError:
        keep()
        raise
    except KeyboardInterrupt:
        keep()
        if not folder:
            raise
        raise KeyboardInterrupt(f"kept in {folder.path}: {', '.join(folder.kept())}") from None
    return results


def number_of(teacher: Training | TeacherOutputs, problem: Problem) -> int:
    """How many teachers there are.

    Raises:
        UserError: their outputs do not fit the rows of the problem.
    """
    data = problem.data
    if isinstance(teacher, Training):
        rows, outputs = len(teacher.train_inputs), teacher.network.sizes[-1]
        if type(teacher.problem) is not type(problem) or (rows, outputs) != (
            len(data.x_train),
            problem.outputs,
        ):
            raise UserError(
                f"the teacher was made for {rows:,} rows with {outputs} outputs; {data.title} has "
                f"{len(data.x_train):,} training rows with {problem.outputs}"
            )
        if 0 < len(teacher.history) < teacher.settings.epochs:
            raise UserError("the teacher was not trained to its end: make a new Training")
        return len(teacher.runs)
    K = len(teacher.train)
    for name, said, inputs in (
        ("train", teacher.train, data.x_train),
        ("test", teacher.test, data.x_test),
    ):
        expected = K, len(inputs), problem.outputs
        if not K or said.shape != expected:
            raise UserError(
                f"{name}=… of TeacherOutputs has the shape {said.shape}; {K} teacher(s) on the "
                f"{len(inputs):,} rows of {data.title} have {expected}"
            )
        if not np.isfinite(said).all():
            raise UserError(f"{name}=… of TeacherOutputs has a number that is not finite")
    return K


def networks_of(
    problem: Problem,
    hidden: Sequence[int],
    seeds: Sequence[int],
    settings: Settings,
    *,
    memory: int | None = None,
    backend: Backend = NUMPY,
) -> Training:
    """A training, not yet run, of one network for each seed on the labels alone: the Teachers.

    Args:
        hidden: their hidden units.
        memory: bytes that it may take; by default half of what is free.

    Raises:
        UserError: it needs more memory.
    """
    sizes = (problem.data.x_train.shape[1], *hidden, problem.outputs)
    runs = [Run(seed) for seed in seeds]
    checked_memory(problem, sizes, runs, settings, memory, backend)
    return Training(problem, sizes, runs, settings, backend=backend)


def checked_memory(
    problem: Problem,
    sizes: Sequence[int],
    runs: Sequence[Run],
    settings: Settings,
    memory: int | None,
    backend: Backend,
) -> int:
    """The bytes that a training may take: `memory`, or half of what is free.

    Raises:
        UserError: this one would take more.
    """
    memory = backend.free_memory() // 2 if memory is None else memory
    needed = bytes_of_training(problem, sizes, runs, settings, backend=backend)
    if needed > memory:
        raise UserError(
            f"--memory {memory / 1e6:,.0f}M: {len(runs)} networks {'-'.join(map(str, sizes))} "
            f"take {needed / 1e6:,.0f} MB side by side; allow more, or take fewer --seeds or "
            "--teachers"
        )
    return memory


def further_arms(
    problem: Problem,
    teacher: Training | TeacherOutputs,
    pair: Training,
    sweep: Mapping[str, Sequence[Any]],
    controls: Sequence[str],
    backend: Backend,
) -> Iterator[Arm]:
    """The cells of the sweep and the control arms."""
    students = pair.runs[: len(pair.runs) // 2]

    def imitated(epochs: int) -> np.ndarray:
        """The teachers' outputs after that many epochs."""
        assert isinstance(teacher, Training)  # `checked_controls` ensures it
        young = dataclasses.replace(teacher.settings, epochs=max(epochs, 1))
        training = Training(problem, teacher.network.sizes, teacher.runs, young, backend=backend)
        if epochs:
            training.run()
        return training.outputs(training.train_inputs)

    def factors() -> list[float]:
        return scales(problem, pair.network.sizes, students, pair.settings, backend)

    if sweep:
        yield from cells(sweep, students)
    for name in controls:
        yield control(name, students, problem.data.y_train, imitated, factors)


def write_report(folder: Folder, results: Results, settled: Mapping[str, Any]) -> None:
    """Write all files that show results."""
    from nkd.report.figure import report_png  # they import Matplotlib
    from nkd.report.page import report_html

    comparison = results.comparison
    if comparison is not None:
        folder.write("arms.csv", comparison.csv().encode())
        if comparison.axes():
            folder.write("map.png", comparison.map_png())
    named = {"experiment": settled["experiment"]} if "experiment" in settled else {}
    folder.write_json("results.json", named | results.record())
    folder.write("report.png", report_png(results))
    folder.write("report.html", report_html(results, settled))


def configuration(
    problem: Problem,
    teacher: Training | TeacherOutputs,
    student: Sequence[int],
    settings: Settings,
    seeds: Sequence[int],
    backend: Backend,
) -> dict[str, Any]:
    """What configuration.json holds: enough to repeat the run."""
    from threadpoolctl import threadpool_info

    of_teacher: dict[str, Any] = {"seeds": [], "hidden_units": None, "settings": "as given"}
    if isinstance(teacher, Training):
        of_teacher["seeds"] = [run.seed for run in teacher.runs]
        of_teacher["hidden_units"] = list(teacher.network.sizes[1:-1])
        of_teacher["settings"] = dataclasses.asdict(teacher.settings)
    return {
        "dataset": problem.data.name,
        "seeds": {"teachers": of_teacher["seeds"], "pairs": list(seeds)},
        "hidden_units": {"teacher": of_teacher["hidden_units"], "student": list(student)},
        "settings": {"teacher": of_teacher["settings"], "student": dataclasses.asdict(settings)},
        "versions": {"python": platform.python_version(), **dict(installed(RECORDED_PACKAGES))},
        "backend": backend.name,
        "device": backend.device(),
        "platform": platform.platform(),
        "blas": [
            {key: library[key] for key in ("internal_api", "version", "num_threads")}
            for library in threadpool_info()
        ],
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def installed(packages: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Names and versions of those packages that are installed."""
    for name in packages:
        with suppress(PackageNotFoundError):
            yield name, version(name)
