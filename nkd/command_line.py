"""What both runners share: flags, checks, the order of a run, and how it ends."""

import dataclasses
import io
import math
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import simple_parsing
from simple_parsing import field

import nkd
from nkd.arms import (
    CONTROLS,
    OF_CLASSES,
    Arm,
    cells,
    control,
    scales,
    train_arms,
)
from nkd.backend import Backend, choose
from nkd.distillation import LARGEST_TEMPERATURE, Classification, Problem, Regression, Run, pairs
from nkd.errors import UserError
from nkd.losses import kinds_of
from nkd.memory import bytes_of_training
from nkd.training import Settings, Training

RECORDED_PACKAGES = (
    "numpy", "scipy", "scikit-learn", "safetensors", "matplotlib",
    "numba", "cupy-cuda12x", "cupy-cuda13x",
)  # fmt: skip


@dataclass
class Flags:
    """The flags of both experiments; each has its own defaults."""

    backend: Literal["auto", "numpy", "numba", "cupy"] = "auto"
    """numpy; numba (compiled, faster); cupy (NVIDIA GPU); auto: cupy or numba if usable."""

    tf32: bool = field(default=False, action="store_true")
    """Products on the GPU's tensor cores, in less than float32's precision; cupy only."""

    dataset: str = "auto"
    """Data set; auto takes the real one, or an embedded stand-in if it cannot be had."""

    data_dir: str = field(default="", metavar="DIR")
    """Folder that holds the data files; without it, and without $NKD_DATA_DIR, they are fetched."""

    epochs: int = 1
    """Passes over the training rows, for all networks."""

    batch_size: int = 1
    """Rows per training step."""

    learning_rate: float = 1.0
    """The first step's learning rate, for all networks."""

    schedule: Literal["cosine", "constant"] = "cosine"
    """The learning rate over the steps: cosine goes down to 0."""

    alpha: float = 0.5
    """Weight of the teacher in the Student's loss, 0 to 1; the Person is the run with 0."""

    seeds: int = 5
    """Number of Student/Person pairs, trained side by side."""

    first_seed: int = 0
    """Seed of the (first) Teacher and of the first pair; the next ones count up from it."""

    teachers: int = 1
    """Number of Teachers, a divisor of --seeds; more than 1 let the verdict be about them all."""

    sweep: list[str] = field(default_factory=list, metavar="NAME=VALUES", nargs="*")  # noqa: RUF009
    """Train the Student with all these values, too: alpha=0.1,0.5 temperature=1,4 makes 4 arms."""

    arms: str = field(default="", metavar="NAMES")
    """Control arms, too, as label-smoothing,early-teacher; "all" takes all that are possible."""

    memory: str = field(default="", metavar="SIZE")
    """What a pass over sweep and arms may take, as 500M or 4G; by default half of what is free."""

    optimizer: Literal["adam", "sgd"] = "adam"
    """adam, or sgd (w - learning rate * gradient; it needs a learning rate of its own)."""

    out: str = field(default="runs/<time>", metavar="DIR")
    """Folder for the files of the run; <time> stands for when it starts."""

    def check(self) -> None:
        """Raise a UserError that names the first flag whose value makes no sense."""
        values = dataclasses.asdict(self)
        for name in ("epochs", "batch_size", "seeds"):
            if values[name] < 1:
                raise wrong(name, values[name], "must be at least 1")
        for name, largest in (("learning_rate", 1e30), ("temperature", LARGEST_TEMPERATURE)):
            if name in values and not 0 < values[name] <= largest:
                reason = f"must be a number greater than 0, at most {largest:g}"
                raise wrong(name, values[name], reason)
        if not self.out:
            raise wrong("out", "''", "name a folder")
        if not 0 <= values["alpha"] <= 1:
            raise wrong("alpha", values["alpha"], "must lie in 0 … 1; it weighs the teacher")
        if values["first_seed"] < 0:
            raise wrong("first_seed", values["first_seed"], "must not be negative")
        teachers = values["teachers"]
        if teachers < 1 or values["seeds"] % teachers:
            raise wrong("teachers", teachers, f"must divide --seeds {values['seeds']}")
        self.swept()
        self.controls()
        self.bytes_of_memory(0)

    def swept(self) -> dict[str, list[Any]]:
        """What is swept and its values, as {"alpha": [0.1, 0.5]}."""
        sweep: dict[str, list[Any]] = {}
        possible = [name for name in ("alpha", "temperature", "loss") if hasattr(self, name)]
        for text in self.sweep:
            name, _, values = text.partition("=")
            if name not in possible or name in sweep:
                raise wrong("sweep", text, f"once each, one of {', '.join(possible)} = values")
            try:
                sweep[name] = [
                    value if name == "loss" else float(value) for value in values.split(",")
                ]
                problem = Classification if "temperature" in possible else Regression
                runs = [Run(0, **{"targets": np.empty(0), name: each}) for each in sweep[name]]
                kinds_of(problem.losses, runs)
            except (ValueError, UserError) as error:
                raise wrong("sweep", text, str(error)) from None
            if len(set(sweep[name])) < len(sweep[name]):
                raise wrong("sweep", text, "each value once")
        if len(sweep) > 2:
            raise wrong("sweep", " ".join(self.sweep), "at most two names, so that a map shows it")
        return sweep

    def controls(self) -> list[str]:
        """The names of the control arms."""
        classes, adam = hasattr(self, "temperature"), self.optimizer == "adam"
        possible = [
            name
            for name in CONTROLS
            if (classes or name not in OF_CLASSES) and not (adam and name == "scaled-person")
        ]
        names = possible if self.arms == "all" else [name for name in self.arms.split(",") if name]
        if adam and "scaled-person" in names:
            raise wrong(
                "arms",
                "scaled-person",
                "under Adam a factor on the loss changes nothing; add --optimizer sgd and its "
                "--learning-rate",
            )
        for name in names:
            if name not in possible or names.count(name) > 1:
                raise wrong("arms", name, f"once each, of {', '.join(possible)}; or all")
        return names

    def bytes_of_memory(self, free: int) -> int:
        """What a pass may take: --memory, or half of what is free."""
        if not self.memory:
            return free // 2
        number, unit = self.memory[:-1], self.memory[-1].upper()
        try:
            size = float(number) * {"M": 1e6, "G": 1e9}[unit]
        except (ValueError, KeyError):
            size = 0.0
        if not 0 < size < math.inf:
            raise wrong("memory", self.memory, "give a size as 500M or 4G")
        return int(size)


def wrong(flag: str, value: Any, reason: str) -> UserError:
    """The error for one flag's value."""
    return UserError(f"--{flag.replace('_', '-')} {value}: {reason}")


class Parser(simple_parsing.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise UserError(f"{message} (--help lists the flags)")


@dataclass(frozen=True)
class Experiment:
    """What distinguishes the two experiments for `main`.

    Args:
        name: "classification" or "regression".
        flags: the dataclass of its flags.
        load: the problem from (dataset, data_dir).
        teacher, student: hidden units of the networks.
        report_every: epochs between two printed lines.
    """

    name: str
    flags: type
    load: Callable[[str, str | None], Problem]
    teacher: tuple[int, ...]
    student: tuple[int, ...]
    report_every: int


def main(experiment: Experiment, description: str) -> int:
    """Run the experiment with the command line's flags; returns the exit code."""

    def work() -> None:
        parser = Parser(
            description=description,
            add_option_string_dash_variants=simple_parsing.DashVariant.DASH,
            allow_abbrev=False,
        )
        parser.add_arguments(experiment.flags, dest="flags")
        flags = parser.parse_args().flags
        flags.check()
        run(experiment, flags)

    return exit_code_of(work)


def exit_code_of(work: Callable[[], None]) -> int:
    """Do the work; returns the exit code, and tells a failure in one line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a narrow encoding must not end a long run
    try:
        work()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except MemoryError as error:  # also CuPy's
        print(
            f"error: out of memory ({str(error) or 'nothing left'}); train fewer networks at a "
            "time (--seeds), or smaller batches (--batch-size)",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt as interrupt:
        print(f"\ninterrupted; {str(interrupt) or 'nothing was written'}", file=sys.stderr)
        return 130
    return 0


def run(experiment: Experiment, flags: Any) -> None:
    """Teacher, then all Students and Persons in one pass, then the report."""
    backend = choose(flags.backend, tf32=flags.tf32)
    problem = experiment.load(flags.dataset, flags.data_dir or None)

    from nkd.report.comparison import Comparison
    from nkd.report.figure import report_png
    from nkd.report.files import Folder
    from nkd.report.page import report_html
    from nkd.report.results import Results
    from nkd.report.screen import Screen
    from nkd.report.view import view_of

    screen, view, data = Screen(), view_of(problem), problem.data
    if data.notice:
        screen.notice(data.notice)
    folder = Folder(Path(flags.out.replace("<time>", time.strftime("%Y%m%d-%H%M%S"))))
    settled = configuration(experiment, flags, problem, backend)
    folder.write_json("configuration.json", settled)
    screen.print(
        f"{data.title}: {len(data.x_train):,} training rows, {len(data.x_test):,} test rows; "
        f"computing with {backend.name} on {backend.device()}; files go to {folder.path}"
    )

    trained: list[tuple[list[str], Training]] = []

    settings = Settings(
        flags.epochs,
        flags.batch_size,
        flags.learning_rate,
        flags.schedule,
        experiment.report_every,
        optimizer=flags.optimizer,
    )

    def train(names: list[str], hidden: Sequence[int], runs: Sequence[Run]) -> Training:
        sizes = (data.x_train.shape[1], *hidden, problem.outputs)
        training = Training(problem, sizes, runs, settings, backend=backend)
        trained.append((names, training))
        screen.train(names, training, view)
        return training

    try:
        seeds = range(flags.first_seed, flags.first_seed + flags.seeds)
        temperature, loss = getattr(flags, "temperature", 1.0), getattr(flags, "loss", "blend")
        teachers = [Run(flags.first_seed + number) for number in range(flags.teachers)]

        def pairs_of(targets: np.ndarray) -> list[Run]:
            return pairs(seeds, flags.alpha, targets, temperature, loss)

        # Before the long work starts: the targets are not there yet, but their number is.
        memory = flags.bytes_of_memory(backend.free_memory())
        expected = pairs_of(np.empty((flags.teachers, 0, 0)))
        for hidden, some in ((experiment.teacher, teachers), (experiment.student, expected)):
            sizes = (data.x_train.shape[1], *hidden, problem.outputs)
            needed = bytes_of_training(problem, sizes, some, settings, backend=backend)
            if needed > memory:
                raise UserError(
                    f"--memory {flags.memory or f'{memory / 1e6:,.0f}M'}: {len(some)} networks "
                    f"{'-'.join(map(str, sizes))} take {needed / 1e6:,.0f} MB side by side; allow "
                    "more, or take fewer --seeds or --teachers"
                )

        teacher = train(["teacher"] * flags.teachers, experiment.teacher, teachers)
        folder.write_weights("teacher", teacher, 0)
        runs = pairs_of(teacher.outputs(teacher.train_inputs))
        students = runs[: flags.seeds]
        pair = train(["student"] * flags.seeds + ["person"] * flags.seeds, experiment.student, runs)
        folder.write_weights("student", pair, 0)
        folder.write_weights("person", pair, flags.seeds)
        folder.write_metrics(trained)
        results = Results(problem, view, teacher, pair)
        record = {"experiment": experiment.name, **results.record()}
        screen.print(results.table())
        screen.print(results.sentence(), style="bold")
        sections = []
        arms = list(further_arms(experiment, flags, problem, settings, students, backend))
        if arms:
            finals = train_arms(
                problem,
                sizes,
                arms,
                settings,
                memory=memory,
                train=lambda training: screen.train_quietly(training),
                backend=backend,
            )
            comparison = Comparison(results, arms, finals)
            screen.print(comparison.table())
            folder.write("arms.csv", comparison.csv().encode())
            if comparison.axes():
                folder.write("map.png", comparison.map_png())
            record["arms"] = comparison.record()
            sections.append(comparison.section())
        folder.write_json("results.json", record)
        folder.write("report.png", report_png(results))
        page = report_html(results, settled, settled["command"], sections)
        folder.write("report.html", page)
        screen.print(f"\nAll of it, to read in a browser: {folder.path / 'report.html'}")
    except UserError:
        folder.write_metrics(trained)
        raise
    except KeyboardInterrupt:
        folder.write_metrics(trained)
        raise KeyboardInterrupt(f"kept in {folder.path}: {', '.join(folder.kept())}") from None


def further_arms(
    experiment: Experiment,
    flags: Any,
    problem: Problem,
    settings: Settings,
    students: Sequence[Run],
    backend: Backend,
) -> Iterator[Arm]:
    """The cells of --sweep and the control arms of --arms."""
    data = problem.data
    sizes = tuple(
        (data.x_train.shape[1], *hidden, problem.outputs)
        for hidden in (experiment.teacher, experiment.student)
    )

    def imitated(epochs: int) -> np.ndarray:
        """The teachers' outputs after so many epochs."""
        runs = [Run(flags.first_seed + number) for number in range(flags.teachers)]
        early = dataclasses.replace(settings, epochs=max(epochs, 1))
        training = Training(problem, sizes[0], runs, early, backend=backend)
        if epochs:
            training.run()
        return training.outputs(training.train_inputs)

    if flags.swept():
        yield from cells(flags.swept(), students)
    for name in flags.controls():
        yield control(
            name,
            students,
            data.y_train,
            imitated,
            lambda: scales(problem, sizes[1], students, settings, backend),
        )


def installed(packages: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Names and versions of those packages that are there."""
    for name in packages:
        with suppress(PackageNotFoundError):
            yield name, version(name)


def command(experiment: Experiment, flags: Any, problem: Problem, backend: Backend) -> str:
    """The line that repeats a run: each flag, with what "auto" came to; but for the folder."""
    values = dataclasses.asdict(flags) | {"dataset": problem.data.name, "backend": backend.name}
    words = ["python", f"run_{experiment.name}.py"]
    for name, value in values.items():
        if name != "out" and value is not False and value not in ("", []):
            words.append(f"--{name.replace('_', '-')}")
            if value is not True:
                words += map(str, value if isinstance(value, list) else [value])
    return shlex.join(words)


def configuration(
    experiment: Experiment, flags: Any, problem: Problem, backend: Backend
) -> dict[str, Any]:
    """What configuration.json holds: enough to repeat the run."""
    from threadpoolctl import threadpool_info

    return {
        "experiment": experiment.name,
        "dataset": problem.data.name,
        "flags": dataclasses.asdict(flags),
        "command": command(experiment, flags, problem, backend),
        "seeds": {
            "teachers": list(range(flags.first_seed, flags.first_seed + flags.teachers)),
            "pairs": list(range(flags.first_seed, flags.first_seed + flags.seeds)),
        },
        "hidden_units": {"teacher": experiment.teacher, "student": experiment.student},
        "versions": {"nkd": nkd.__version__, "python": platform.python_version()}
        | dict(installed(RECORDED_PACKAGES)),
        "backend": backend.name,
        "device": backend.device(),
        "platform": platform.platform(),
        "blas": [
            {key: library[key] for key in ("internal_api", "version", "num_threads")}
            for library in threadpool_info()
        ],
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
