"""The experiment as a function: a Teacher, pairs of Student and Person, and the verdict.

`compare` needs no flags, prints nothing unless it is given a screen, and writes nothing unless it
is given a folder.
"""

import dataclasses
import math
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from nkd import checkpoint
from nkd.arms import Arm, cells, checked_controls, checked_sweep, control, scales
from nkd.backend import NUMPY, Backend
from nkd.conditions import COUNTS, Lesson, checked_counts, lessons, part_of, side_by_side
from nkd.data import check_count
from nkd.distillation import Classification, Problem, Run, TeacherOutputs, pairs
from nkd.errors import CannotWrite, Diverged, UserError
from nkd.memory import bytes_of_training
from nkd.report.conditions import Cell
from nkd.report.divergence import divergence
from nkd.report.files import CHECKPOINTS, Folder
from nkd.report.results import Contender, Results
from nkd.report.screen import Screen
from nkd.report.view import PERSON_MOVED, view_of
from nkd.training import (
    ASKED_ROWS,
    Settings,
    Training,
    answers,
    check_fit,
    diverged_in,
    for_rows,
    inputs_of,
)
from nkd.work import Kept, Pass, Work

RECORDED_PACKAGES = (
    "nkd", "numpy", "scipy", "scikit-learn", "safetensors", "matplotlib",
    "numba", "cupy-cuda12x", "cupy-cuda13x", "pandas", "pyarrow",
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
    rows: int | None = None,
    labels: int | None = None,
    moved: int = 0,
    sweep: Mapping[str, Sequence[Any]] | None = None,
    controls: Sequence[str] = (),
    memory: int | None = None,
    backend: Backend = NUMPY,
    screen: Screen | None = None,
    folder: Folder | None = None,
    cluster: str = "",
    checkpoint_every: float = 30.0,
    about: Mapping[str, Any] | None = None,
) -> Results:
    """Train Students with the teacher and Persons without it, in pairs, and compare them.

    Args:
        problem: the data, the losses and the metrics.
        teacher: one training of all K teachers, which is run first if it has not been yet; or the
            outputs of teachers of any kind. The Student of seed number i learns from teacher i
            mod K.
        student: hidden units of Student and Person.
        settings: how Student and Person are trained on all rows; see `nkd.training.for_rows`.
        alpha, temperature, loss, parameters: how a Student uses its teacher, see `Run`.
        seeds: of the pairs, all different; a multiple of K.
        rows: how many of the training rows Student and Person train on; by default all.
        labels: how many labels there are: the Person trains on these rows, the Student on all,
            with the teacher's answers. Such a teacher is a training on the same rows, see
            `networks_of`.
        moved: if not 0, pairs on images moved by up to that many pixels are trained as well, where
            the teacher is asked about the very image that its Student sees.
        sweep: fields of `Run`, or parameters of its loss, with values to try as well: an arm for
            each combination, see `nkd.arms.cells`. Or "rows", "labels" or both, with numbers: the
            whole comparison for each of them.
        controls: names of control arms, see `nkd.arms.CONTROLS`, or ["all"].
        memory: bytes that a pass of training may take; by default half of what is free.
        backend: where everything is trained.
        screen: shows progress, table and verdict; by default nothing is printed.
        folder: takes the files of the run, among them weights and report; by default none. While
            it goes on, it also takes what goes on with `Folder(path, resumed=True)` if it ends
            early: see `nkd.work.Kept`.
        cluster: the address of a Dask cluster that trains, or "local:WORKERS" for a new one on
            this machine; see `nkd.cluster`. By default this process trains.
        checkpoint_every: seconds after which a training is kept at the end of an epoch.
        about: what configuration.json says about the run besides what is known here.

    Raises:
        UserError: something does not fit together, or does not fit into memory; or all runs
            of a training diverged.
    """
    screen = screen or Screen(quiet=True)
    how: dict[str, Any] = {"alpha": alpha, "temperature": temperature, "loss": loss}
    how["parameters"] = dict(parameters or {})
    known = {"rows": rows, "labels": labels}
    # Everything is checked before the long work starts, and before earlier files are removed.
    kept = Kept(folder.path / CHECKPOINTS, checkpoint_every) if folder else None
    experiment = Experiment(
        problem, teacher, student, settings, how, seeds, known, moved, memory, backend, screen, kept
    )
    arms, counts, controls = experiment.checked(sweep or {}, controls)
    settled: dict[str, Any] = {}
    with ExitStack() as stack:
        if folder:
            stack.enter_context(folder.locked())
        if cluster:
            from nkd.cluster import connected

            options = screen, experiment.memory, backend, kept
            experiment.work = stack.enter_context(connected(cluster, *options))
        if folder:
            trained = teacher if isinstance(teacher, Training) else None
            settled = folder.begin(
                {
                    **(about or {}),
                    **configuration(problem, trained, student, settings, experiment.seeds, backend),
                    "student": how,
                    **known,
                    "moved": moved,
                    "sweep": {**arms, **counts},
                    "controls": controls,
                }
            )
            stack.enter_context(folder.going_on())
        return carried_out(experiment, arms, counts, controls, settled, folder)


def carried_out(
    experiment: "Experiment",
    arms: Mapping[str, Sequence[Any]],
    counts: Mapping[str, Sequence[int]],
    controls: Sequence[str],
    settled: Mapping[str, Any],
    folder: Folder | None,
) -> Results:
    """What `compare` returns, after all checks; if it ends early, what there is stays there.

    Args:
        arms, counts, controls: see `Experiment.checked`.
        settled: what configuration.json holds.
    """
    data, screen, teacher = experiment.given.data, experiment.screen, experiment.teacher
    if data.notice:
        screen.notice(data.notice)
    where = f"; files go to {folder.path}" if folder else ""
    screen.start(data, experiment.backend, where)
    results: Results | None = None
    try:
        experiment.teach()
        if folder and isinstance(teacher, Training):
            folder.write_weights("teacher", teacher, experiment.there[0])
        results = experiment.pairs()
        if folder:
            for name in ("student", "person"):
                contender, number = results.networks[name], results.shown().get(name)
                assert contender.training is not None  # only a teacher can have none
                if number is not None:
                    folder.write_weights(name, contender.training, contender.members[number])
            folder.write_metrics(experiment.trained)
        screen.print(results.table())
        screen.print(results.sentence(), style="bold")
        further = experiment.further(results, arms, counts, controls)
        found = experiment.work.each([train for train, _ in further])
        for (_, show), each in zip(further, found, strict=True):
            table = show(each)
            if table is not None:
                screen.print(table)
        if folder:
            write_report(folder, results, settled)
            folder.finish()
            screen.print(f"\nAll of it, to read in a browser: {folder.path / 'report.html'}")
    except (UserError, KeyboardInterrupt) as stop:
        if folder and not isinstance(stop, CannotWrite):
            folder.write_metrics(experiment.trained)
            if results is not None:
                write_report(folder, results, settled)
        raise
    return results


class Experiment:
    """What `compare` does, part by part. Arguments as there.

    Args:
        how: how a Student uses its teacher, see `nkd.distillation.pairs`.
        known: "rows" and "labels", each a number or None.

    Attributes:
        given: the problem, without a title of its own.
        trained: the trainings so far, with the names of their runs.
        targets: what the teachers say about all training rows (K, N, ·), after `teach`.
        there, teachers, seeds: which teachers have not diverged, how many, and the seeds of their
            pairs, after `teach`.
        diverged: see `Results`.
    """

    def __init__(
        self,
        problem: Problem,
        teacher: Training | TeacherOutputs,
        student: Sequence[int],
        settings: Settings,
        how: Mapping[str, Any],
        seeds: Sequence[int],
        known: Mapping[str, int | None],
        moved: int,
        memory: int | None,
        backend: Backend,
        screen: Screen,
        kept: Kept | None = None,
    ) -> None:
        self.given, self.teacher, self.student, self.settings = problem, teacher, student, settings
        self.how, self.moved, self.backend, self.screen = how, moved, backend, screen
        self.known = {what: number for what, number in known.items() if number is not None}
        self.seeds, self.view = [int(seed) for seed in seeds], view_of(problem)
        self.sizes = (problem.data.x_train.shape[1], *student, problem.outputs)
        self.trained: list[tuple[list[str], Training]] = []
        self.diverged: dict[str, str] = {}
        if len(self.known) > 1:
            raise UserError("--rows and --labels: give one of them")
        for what, number in self.known.items():
            check_count(problem.data.y_train, number, f"--{what} {number}")
        self.teachers = number_of(teacher, problem, self.known.get("labels"))
        half, different = len(self.seeds), len(set(self.seeds))
        if not half or half % self.teachers or different < half:
            raise UserError(
                f"{half} seeds for {self.teachers} teacher(s): give a multiple, all different"
            )
        # The targets are not there yet, but their number is.
        self.expected = pairs(self.seeds, targets=np.empty((self.teachers, 0, 0)), **how)
        check_fit(problem, self.sizes, self.expected, settings)
        self.memory = checked_memory(problem, self.sizes, self.expected, settings, memory, backend)
        self.work = Work(self.memory, backend, screen.print, kept)
        if moved:
            if not isinstance(teacher, Training):
                raise UserError("moved=… needs a teacher that can be asked, not its outputs alone")
            one = [dataclasses.replace(self.expected[0], targets=np.empty((0, 0, 0)))]
            jitter = dataclasses.replace(settings, jitter=moved)
            check_fit(problem, self.sizes, one, jitter)
            answers = self.teachers * (2 * moved + 1) ** 2 * len(problem.data.y_train)
            said = answers * problem.outputs * teacher.dtype.itemsize
            checked_memory(problem, self.sizes, one, jitter, memory, backend, said)
        if (moved or "labels" in self.known) and isinstance(teacher, Training):
            own, data = teacher.problem.data, problem.data
            if (teacher.network.sizes[0], own.feature_bound) != (self.sizes[0], data.feature_bound):
                raise UserError(
                    "a teacher that is asked about further rows needs the same inputs as the "
                    f"Student: {self.sizes[0]}, feature_bound {data.feature_bound}"
                )
        self.problem = problem
        if self.known:
            (text,) = (COUNTS[what].format(number) for what, number in self.known.items())
            title = f"{problem.data.title}, {text}"
            self.problem = type(problem)(dataclasses.replace(problem.data, title=title))

    def checked(
        self, sweep: Mapping[str, Sequence[Any]], controls: Sequence[str]
    ) -> tuple[dict[str, list[Any]], dict[str, list[int]], list[str]]:
        """What is swept besides rows and labels, these, and the control arms.

        Raises:
            UserError: something of it is not possible.
        """
        problem, teacher = self.given, self.teacher
        counts = checked_counts(problem, sweep)
        if counts and self.known:
            raise UserError(
                "--rows or --labels can be given, or rows or labels swept, but not both"
            )
        if "labels" in counts and not isinstance(teacher, Training):
            raise UserError(
                "--sweep labels: a teacher that was trained elsewhere cannot be trained on fewer"
            )
        if "labels" in {*counts, *self.known}:
            some = np.ones(len(problem.data.y_train), bool)
            one = [dataclasses.replace(self.expected[0], labelled=some)]
            check_fit(problem, self.sizes, one, self.settings)
        others = {name: values for name, values in sweep.items() if name not in counts}
        arms = checked_sweep(others, self.expected[0], problem.losses)
        names = checked_controls(
            controls,
            classes=isinstance(problem, Classification),
            trained=isinstance(teacher, Training),
            optimizer=self.settings.optimizer,
        )
        if names and "labels" in self.known:
            raise UserError(
                "--arms: control arms need the labels of all rows, not of some (--labels)"
            )
        return arms, counts, names

    def train(self, names: list[str], training: Training) -> Training:
        """Train, unless it is trained already, and show and keep it."""
        self.trained.append((names, training))
        if not training.started:
            name = "-".join(dict.fromkeys(names))
            self.work.train(name, training, lambda it: self.screen.train(names, it, self.view))
        return training

    def teach(self) -> None:
        """Train the teachers, if they are to be trained, and hear what they say."""
        if isinstance(self.teacher, Training):
            self.train(["teacher"] * self.teachers, self.teacher)
            self.there = np.flatnonzero(~self.teacher.gone).tolist()
            self.seeds = taught(self.seeds, self.teacher)
            self.teachers = len(self.there)
            self.targets = self.said_by(self.teacher)
        else:
            self.targets = self.teacher.train

    def said_by(self, teacher: Training) -> np.ndarray:
        """What teachers say about all training rows (K, N, ·), also if they know few of them.

        Those that diverged are not among the K.
        """
        data, table = self.given.data, teacher.train_inputs
        if len(table) < len(data.x_train):
            table = inputs_of(data, data.x_train, dtype=teacher.dtype, backend=teacher.backend)
        return teacher.outputs(table)[~teacher.gone]

    def lessons(self, settings: Settings) -> dict[str, Lesson]:
        """What Students and Persons learn from the teachers, with these settings."""
        return lessons(self.problem, settings, self.seeds, self.targets, self.how, **self.known)

    def pairs(self) -> Results:
        """Train Students and Persons, and compare them."""
        self.plain, half = self.lessons(self.settings), len(self.seeds)
        contenders: dict[str, Contender] = {}
        for group in side_by_side(self.plain):
            first, runs = group[0][1], [run for _, lesson in group for run in lesson.runs]
            training = Training(
                first.problem, self.sizes, runs, first.settings, backend=self.backend
            )
            self.train([name for name, _ in group for _ in range(half)], training)
            parts = [range(n * half, (n + 1) * half) for n in range(len(group))]
            for (name, _), one in zip(group, Contender.of(training, *parts), strict=True):
                contenders[name] = one
        student, person = contenders["student"], contenders["person"]
        results = Results(self.problem, self.view, self.teacher, student, person)
        self.diverged = results.diverged
        return results

    def further(
        self,
        results: Results,
        arms: Mapping[str, Sequence[Any]],
        counts: Mapping[str, Sequence[int]],
        controls: Sequence[str],
    ) -> list[tuple[Callable[[], Any], Callable[[Any], Any]]]:
        """What is trained after the pairs: what does it, and what makes a table of what it returns.

        These do not depend on each other. A table is None if others are to come before it.
        """
        tasks: list[tuple[Callable[[], Any], Callable[[Any], Any]]] = []
        if self.moved:
            tasks.append(
                (self.on_moved_images, lambda it: results.compare_moved(self.moved, it).table())
            )

        def add(what: str, last: bool, cell: Cell) -> Any:
            results.add_cell(what, cell)
            return results.counts[what].table() if last else None

        for what, numbers in counts.items():
            for number in numbers:
                last = number == numbers[-1]
                tasks.append((partial(self.cell, what, number), partial(add, what, last)))
        if arms or controls:

            def train() -> tuple[list[Arm], dict[str, np.ndarray]]:
                chosen, lesson = self.arms(arms, controls), self.plain["student"]
                what = f"{len(chosen)} arms"
                return chosen, self.train_arms("arms", chosen, lesson, what)

            tasks.append((train, lambda it: results.compare_arms(*it).table()))
        return tasks

    def finals(self, lessons: Mapping[str, Lesson], what: str, name: str) -> dict[str, np.ndarray]:
        """Train by lessons, and return the decisive measure of each, (seeds,).

        Args:
            what: the lessons are for, to be shown.
            name: of the passes, with what follows it.
        """
        finals: dict[str, np.ndarray] = {}
        for group in side_by_side(lessons):
            arms, first = [Arm(name, lesson.runs) for name, lesson in group], group[0][1]
            whose = " and ".join(
                name.replace(name.split()[0], f"{name.split()[0]}s") for name, _ in group
            )
            own = "-".join([name, *(arm.name.replace(" ", "-") for arm in arms)])
            measured = self.train_arms(own, arms, first, f"{what}, {whose}")
            trained = measured[self.view.decisive.name]
            finals |= zip([name for name, _ in group], trained, strict=True)
        return finals

    def train_arms(
        self, name: str, arms: Sequence[Arm], lesson: Lesson, what: str
    ) -> dict[str, np.ndarray]:
        """Train arms on a lesson's rows with its settings; return their test metrics.

        Each is (arms, seeds), NaN where a run diverged, or could not be trained because its teacher
        did. The numbers do not depend on how many of them train side by side.
        """
        runs = [run for arm in arms for run in arm.runs]
        if not runs:
            raise Diverged(f"{what}: all that they imitate diverged; lower the learning rate")
        settings = dataclasses.replace(lesson.settings, report_every=0)  # the last ones are enough
        work = Pass(name, lesson.problem, self.sizes, runs, settings, title=what)
        show = partial(self.screen.train_quietly, what=what)
        state = self.work.measure(work, show, arm=max(len(arm.runs) for arm in arms))
        history = checkpoint.history_of(state)
        self.tell_diverged(what, runs, diverged_in(history), settings)
        shape, seeds = (len(arms), len(self.seeds)), self.seeds
        places = [(row, seeds.index(run.seed)) for row, arm in enumerate(arms) for run in arm.runs]

        def placed(values: np.ndarray) -> np.ndarray:
            """One number per run, as (arms, seeds)."""
            if len(values) == math.prod(shape):
                return values.reshape(shape)
            table = np.full(shape, np.nan)
            table[tuple(np.transpose(places))] = values
            return table

        return {key: placed(values) for key, values in history[-1].test.items()}

    def tell_diverged(
        self, what: str, runs: Sequence[Run], diverged: Mapping[int, int], settings: Settings
    ) -> None:
        """Show and keep which of some runs diverged, if any did.

        Args:
            what: they were trained for.
            runs, diverged, settings: see `nkd.report.divergence.divergence`.
        """
        said = divergence(runs, diverged, settings)
        self.screen.advise(said)
        if said:
            self.diverged[what] = said

    def on_moved_images(self) -> dict[str, np.ndarray]:
        """Train pairs on moved images; return the decisive measure of each, (seeds,)."""
        teacher, p = self.teacher, self.moved
        assert isinstance(teacher, Training)  # checked in the beginning
        named = self.lessons(dataclasses.replace(self.settings, jitter=p))
        student = named["student"]
        data = student.problem.data
        images = inputs_of(data, data.x_train, p, dtype=teacher.dtype, backend=teacher.backend)
        questions = self.teachers * math.ceil(images.views * len(images) / ASKED_ROWS)
        rows = images.views, len(images), self.given.outputs
        said = np.empty((self.teachers, *rows), teacher.dtype)
        with self.screen.progress("asking about moved images", questions) as track:
            for number, run in enumerate(self.there):
                ask = teacher.as_teacher(run)
                said[number] = answers(ask, images, self.given.outputs, track)
        teachers = list(said)
        runs = [
            dataclasses.replace(run, targets=teachers[number % self.teachers])
            for number, run in enumerate(student.runs)
        ]
        named["student"] = dataclasses.replace(student, runs=runs)
        return self.finals(named, "on moved images", "moved")

    def cell(self, what: str, number: int) -> Cell:
        """The comparison with so many rows or labels."""
        finals, targets, seeds = {}, self.targets, self.seeds
        if what == "labels":
            teacher = self.teacher
            assert isinstance(teacher, Training)  # checked in the beginning
            hidden, those = teacher.network.sizes[1:-1], [teacher.runs[n].seed for n in self.there]
            options: dict[str, Any] = {"memory": self.memory, "backend": teacher.backend}
            options["labels"] = number
            quiet = dataclasses.replace(teacher.settings, report_every=0)
            teacher = networks_of(self.given, hidden, those, quiet, **options)
            title = f"{number:,} labels, teacher"
            shown = partial(self.screen.train_quietly, what=title)
            self.work.train(f"labels-{number}-teacher", teacher, shown)
            self.tell_diverged(title, teacher.runs, teacher.diverged, teacher.settings)
            targets, seeds = self.said_by(teacher), taught(seeds, teacher)
            finals["teacher"] = teacher.history[-1].test[self.view.decisive.name]
        few = {what: number}
        named = lessons(self.given, self.settings, seeds, targets, self.how, **few)
        if what == "labels" and self.moved:
            images = dataclasses.replace(self.settings, jitter=self.moved)
            own = for_rows(images, number, len(self.given.data.y_train))
            named[PERSON_MOVED] = dataclasses.replace(named["person"], settings=own)
        finals |= self.finals(named, f"{number:,} {what}", f"{what}-{number}")
        return Cell(number, finals)

    def arms(self, sweep: Mapping[str, Sequence[Any]], controls: Sequence[str]) -> list[Arm]:
        """The cells of a sweep and the control arms."""
        lesson, rows = self.plain["student"], self.plain["student"].rows

        def imitated(epochs: int) -> np.ndarray:
            """What the teachers say after that many epochs."""
            assert isinstance(self.teacher, Training)  # `checked_controls` ensures it
            old = self.teacher
            young = dataclasses.replace(old.settings, epochs=max(epochs, 1), average=0)
            runs = [old.runs[number] for number in self.there]
            training = Training(old.problem, old.network.sizes, runs, young, backend=self.backend)
            if epochs:
                training.run()
            self.tell_diverged("early-teacher", runs, training.diverged, young)
            said = training.outputs(training.train_inputs)
            return said if rows is None else said[:, rows]

        def factors() -> list[float]:
            return scales(lesson.problem, self.sizes, lesson.runs, lesson.settings, self.backend)

        found = cells(sweep, lesson.runs) if sweep else []
        y = lesson.problem.data.y_train
        return found + [control(name, lesson.runs, y, imitated, factors) for name in controls]


def taught(seeds: Sequence[int], teacher: Training) -> list[int]:
    """The seeds whose teachers have not diverged, where seed number i has teacher i mod K."""
    return [seed for i, seed in enumerate(seeds) if not teacher.gone[i % len(teacher.runs)]]


def number_of(
    teacher: Training | TeacherOutputs, problem: Problem, labels: int | None = None
) -> int:
    """How many teachers there are.

    Args:
        labels: how many of the training rows a teacher that is trained here knows; None for all.

    Raises:
        UserError: their outputs do not fit the rows of the problem.
    """
    data = problem.data
    if isinstance(teacher, Training):
        rows, outputs = len(teacher.train_inputs), teacher.network.sizes[-1]
        known = len(data.x_train) if labels is None else labels
        if type(teacher.problem) is not type(problem) or (rows, outputs) != (
            known,
            problem.outputs,
        ):
            raise UserError(
                f"the teacher was made for {rows:,} rows with {outputs} outputs; {data.title} has "
                f"{known:,} training rows with {problem.outputs}"
                + (" for it, those with a label" if labels is not None else "")
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
    return K


def networks_of(
    problem: Problem,
    hidden: Sequence[int],
    seeds: Sequence[int],
    settings: Settings,
    *,
    labels: int | None = None,
    memory: int | None = None,
    backend: Backend = NUMPY,
) -> Training:
    """A training, not yet run, of one network for each seed on the labels alone: the Teachers.

    Args:
        hidden: their hidden units.
        settings: how they are trained on all rows; see `nkd.training.for_rows`.
        labels: how many labels they know; by default all.
        memory: bytes that it may take; by default half of what is free.

    Raises:
        UserError: it needs more memory.
    """
    if labels is not None:
        check_count(problem.data.y_train, labels, f"--labels {labels}")
        settings = for_rows(settings, labels, len(problem.data.x_train))
        problem, _ = part_of(problem, labels)
    sizes = (problem.data.x_train.shape[1], *hidden, problem.outputs)
    runs = [Run(seed) for seed in seeds]
    check_fit(problem, sizes, runs, settings)
    checked_memory(problem, sizes, runs, settings, memory, backend)
    return Training(problem, sizes, runs, settings, backend=backend)


def checked_memory(
    problem: Problem,
    sizes: Sequence[int],
    runs: Sequence[Run],
    settings: Settings,
    memory: int | None,
    backend: Backend,
    kept: int = 0,
) -> int:
    """The bytes that a training may take: `memory`, or half of what is free.

    Args:
        kept: bytes that are taken besides.

    Raises:
        UserError: this one would take more.
    """
    memory = backend.free_memory() // 2 if memory is None else memory
    needed = kept + bytes_of_training(problem, sizes, runs, settings, backend=backend)
    if needed > memory:
        raise UserError(
            f"--memory {memory / 1e6:,.0f}M: {len(runs)} network(s) {'-'.join(map(str, sizes))} "
            f"take {needed / 1e6:,.0f} MB side by side; allow more, or take fewer --seeds or "
            "--teachers"
        )
    return memory


def write_report(folder: Folder, results: Results, settled: Mapping[str, Any]) -> None:
    """Write all files that show results."""
    from nkd.report.figure import report_png  # they import Matplotlib
    from nkd.report.page import report_html

    comparison = results.comparison
    if comparison is not None:
        folder.write("arms.csv", comparison.csv().encode())
        if comparison.axes():
            folder.write("map.png", comparison.map_png())
    for what, counts in results.counts.items():
        folder.write(f"{what}.png", counts.png())
    named = {"experiment": settled["experiment"]} if "experiment" in settled else {}
    folder.write_json("results.json", named | results.record())
    folder.write("report.png", report_png(results))
    folder.write("report.html", report_html(results, settled))


def configuration(
    problem: Problem,
    teacher: Training | None,
    student: Sequence[int],
    settings: Settings,
    seeds: Sequence[int],
    backend: Backend,
) -> dict[str, Any]:
    """What configuration.json holds: enough to repeat the run.

    Args:
        teacher: None if it was not trained here.
    """
    of_teacher: dict[str, Any] = {"seeds": [], "hidden_units": None, "settings": "as given"}
    if teacher is not None:
        of_teacher["seeds"] = [run.seed for run in teacher.runs]
        of_teacher["hidden_units"] = list(teacher.network.sizes[1:-1])
        of_teacher["settings"] = dataclasses.asdict(teacher.settings)
    products = backend.products()
    return {
        "dataset": problem.data.name,
        "seeds": {"teachers": of_teacher["seeds"], "pairs": list(seeds)},
        "hidden_units": {"teacher": of_teacher["hidden_units"], "student": list(student)},
        "settings": {"teacher": of_teacher["settings"], "student": dataclasses.asdict(settings)},
        "versions": {"python": platform.python_version(), **dict(installed(RECORDED_PACKAGES))},
        "backend": backend.name,
        "device": backend.device(),
        "platform": platform.platform(),
        "blas": dataclasses.asdict(products) if products else None,
        "data": checkpoint.digest_of_data(problem.data),
        "footing": checkpoint.footing_of(backend),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def installed(packages: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Names and versions of those packages that are installed."""
    for name in packages:
        with suppress(PackageNotFoundError):
            yield name, version(name)
