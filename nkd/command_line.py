"""What commands share: flags, their checks, and how a run ends. Flags are only translated."""

import dataclasses
import io
import math
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import simple_parsing
from simple_parsing import field

from nkd.arms import checked_controls, checked_sweep
from nkd.backend import choose
from nkd.conditions import COUNTS
from nkd.data import load, names_of
from nkd.distillation import LARGEST_TEMPERATURE, Classification, Regression, Run
from nkd.errors import Terminated, UserError
from nkd.losses import Loss, by_name, kinds_of
from nkd.random_streams import LARGEST_SEED
from nkd.recipes import Recipe
from nkd.training import SCHEDULES, Settings


def hidden_units(*units: int) -> Any:
    """The field of a flag that takes one number or more; these by default."""
    return field(default_factory=lambda: list(units), metavar="N", nargs="+", required=False)


@dataclass
class Flags:
    """The flags of both experiments; each has its own defaults."""

    backend: Literal["auto", "numpy", "numba", "cupy"] = "auto"
    """numpy; numba (compiled, faster); cupy (NVIDIA GPU); auto: cupy or numba if usable."""

    tf32: bool = field(default=False, action="store_true")
    """Products on the GPU's tensor cores, with less than float32 precision; cupy only."""

    dataset: str = field(default="auto", metavar="NAME")
    """Data set; auto takes the real one, or an embedded stand-in if that is not available."""

    data_dir: str = field(default="", metavar="DIR")
    """Folder that holds the data files; without it, and without $NKD_DATA_DIR, they are fetched."""

    recipe: str = field(default="tuned", metavar="NAME")
    """How each network is trained: tuned, each as suits it; plain, all alike."""

    epochs: int | None = None
    """Passes over the training rows; if given, for all networks, else as in the recipe."""

    batch_size: int | None = None
    """Rows per training step; if given, for all networks."""

    learning_rate: float | None = None
    """The first step's learning rate; if given, for all networks."""

    schedule: str = field(default="", metavar="NAME")
    """Of the learning rate: cosine, down to 0, or constant; if given, for all networks."""

    alpha: float | None = None
    """Weight of the teacher in the Student's loss, 0 to 1; the Person is the run with 0."""

    loss: str = field(default="blend", metavar="NAME")
    """How the Student's loss uses the teacher; blend is the usual one."""

    hidden: list[int] = hidden_units()  # noqa: RUF009
    """Hidden units of Student and Person, layer by layer."""

    seeds: int = 5
    """Number of Student/Person pairs, trained side by side."""

    first_seed: int = 0
    """Seed of the (first) Teacher and of the first pair; the next ones count up from it."""

    teachers: int = 1
    """Number of Teachers, a divisor of --seeds; with more than 1 the verdict is about them all."""

    rows: int | None = None
    """Training rows of Student and Person; by default all. The Teacher trains on all."""

    labels: int | None = None
    """Labels that all three know; the Student also hears what the Teacher says about all rows."""

    sweep: list[str] = field(default_factory=list, metavar="NAME=VALUES", nargs="*")  # noqa: RUF009
    """Also train the Student with all these values: alpha=0.1,0.5 temperature=1,4 makes 4 arms;
    rows=1000,5000 or labels=1000,5000 repeat the comparison with so many."""

    arms: str = field(default="", metavar="NAMES")
    """Also train control arms: label-smoothing,early-teacher, say; "all" takes all that apply."""

    memory: str = field(default="", metavar="SIZE")
    """Memory that a pass of training may take: 500M or 4G, say; by default half of what is free."""

    optimizer: Literal["adam", "sgd"] = "adam"
    """adam, or sgd (w - learning rate * gradient; it needs a learning rate of its own)."""

    out: str = field(default="runs/<time>", metavar="DIR")
    """Folder for the files of the run; <time> stands for its start time."""

    cluster: str | None = field(default=None, metavar="ADDRESS")
    """Train on the workers of a Dask cluster: tcp://host:8786, say, or local:4 for four here; '' is
    none, for a run that goes on without the one that it had."""

    checkpoint_every: float = field(default=30.0, metavar="SECONDS")
    """Keep a training that goes on, at the end of an epoch, when this time has passed."""

    resume: str = field(default="", metavar="DIR")
    """Go on with the run in this folder, with its flags, to the same numbers."""

    def check(self) -> None:
        """Raise a UserError that names the first flag whose value makes no sense."""
        values = dataclasses.asdict(self)
        for name in ("epochs", "batch_size", "seeds"):
            if values[name] is not None and values[name] < 1:
                raise wrong(name, values[name], "must be at least 1")
        check_hidden(self.hidden)
        for name, largest in (("learning_rate", 1e30), ("temperature", LARGEST_TEMPERATURE)):
            if values.get(name) is not None and not 0 < values[name] <= largest:
                reason = f"must be a number greater than 0, at most {largest:g}"
                raise wrong(name, values[name], reason)
        if values["schedule"] not in ("", *SCHEDULES):
            raise wrong("schedule", values["schedule"], f"choose one of {', '.join(SCHEDULES)}")
        if not self.out:
            raise wrong("out", "''", "name a folder")
        check_seconds(self.checkpoint_every)
        if values["alpha"] is not None and not 0 <= values["alpha"] <= 1:
            raise wrong("alpha", values["alpha"], "must lie in 0 … 1; it weighs the teacher")
        last = LARGEST_SEED - values["seeds"] + 1
        if not 0 <= values["first_seed"] <= last:
            raise wrong("first_seed", values["first_seed"], f"must lie in 0 … {last:,}")
        if None not in (values["rows"], values["labels"]):
            raise wrong("rows", values["rows"], "give it or --labels, not both")
        teachers = values["teachers"]
        if teachers < 1 or values["seeds"] % teachers:
            raise wrong("teachers", teachers, f"must divide --seeds {values['seeds']}")

    def given(self, *names: str) -> dict[str, Any]:
        """Those of these flags that there are, and that were given."""
        values = {name: getattr(self, name, None) for name in names}
        return {name: value for name, value in values.items() if value not in (None, "")}

    def student(self, recipe: Recipe) -> dict[str, Any]:
        """How the Student uses its teacher: by the flags, and else by the recipe."""
        own = {"alpha": recipe.alpha, "temperature": recipe.temperature, "loss": self.loss}
        return own | self.given("alpha", "temperature")

    def settings(self, settings: Settings, report_every: int) -> Settings:
        """A network's settings with those that the flags give."""
        given = self.given("batch_size", "learning_rate", "schedule")
        return dataclasses.replace(
            settings.lasting(self.epochs or settings.epochs),
            report_every=report_every,
            optimizer=self.optimizer,
            **given,
        )


def check_hidden(hidden: Sequence[int]) -> None:
    """Raise a UserError if a hidden layer has no unit."""
    if any(units < 1 for units in hidden):
        units = " ".join(map(str, hidden))
        raise wrong("hidden", units, "each layer must have at least 1 unit")


def check_seconds(seconds: float) -> None:
    """Raise a UserError if `checkpoint_every` is no time."""
    if not seconds >= 0:
        raise wrong("checkpoint_every", seconds, "must be a number of seconds, 0 or more")


OWN = "resume", "checkpoint_every", "data_dir", "table", "cluster"
"""Flags that may be given anew to a run that goes on: they do not change its numbers."""


def resumed(flags: Any, experiment: str) -> Any:
    """The flags of the run in the folder `resume`, with those of `OWN` that are given now.

    Raises:
        UserError: there is no such run, or further flags are given.
    """
    from nkd.report.files import Folder

    values, usual = dataclasses.asdict(flags), dataclasses.asdict(type(flags)())
    path = values["resume"]
    given = [name for name in values if name not in OWN and values[name] != usual[name]]
    if given:
        word = f"--{given[0].replace('_', '-')}"
        raise UserError(f"--resume {path}: takes all flags of that run, so leave out {word}")
    there = Folder(Path(path), resumed=True).configuration()
    if there.get("experiment") != experiment:
        raise UserError(f"--resume {path}: is a run of {there.get('experiment')}, not {experiment}")
    try:
        found = type(flags)(**{**there["flags"], **there["resolved"], "out": path})
        found.check()
    except (KeyError, TypeError):
        raise UserError(
            f"--resume {path}: configuration.json has other flags; start anew"
        ) from None
    own = {name: values[name] for name in OWN if name in values and values[name] != usual[name]}
    own["resume"] = path
    return dataclasses.replace(found, **own)


def parse_sweep(
    texts: Sequence[str], student: Mapping[str, Any], losses: Sequence[type[Loss]]
) -> dict[str, list[Any]]:
    """What is swept and its values, as {"alpha": [0.1, 0.5]}.

    Args:
        student: the fields of the Student's run.

    Raises:
        UserError: a name or a value is not possible with these losses.
    """
    sweep: dict[str, list[Any]] = {}
    try:
        run = Run(0, targets=np.empty(0), **student)
        kinds_of(losses, [run])
    except UserError as error:
        raise wrong("loss", student["loss"], str(error)) from None
    for text in texts:
        name, _, values = text.partition("=")
        if name in sweep:
            raise wrong("sweep", text, "each name once")
        try:
            sweep[name] = [value if name == "loss" else float(value) for value in values.split(",")]
        except ValueError:
            raise wrong("sweep", text, "give NAME=VALUE,VALUE,… with numbers") from None
    counts = {name: sweep.pop(name) for name in COUNTS if name in sweep}
    try:
        return {**checked_sweep(sweep, run, losses), **counts}
    except UserError as error:
        raise wrong("sweep", " ".join(texts), str(error)) from None


def parse_memory(text: str) -> int | None:
    """The bytes that 500M or 4G mean; None for "".

    Raises:
        UserError: it is not a size.
    """
    if not text:
        return None
    try:
        size = float(text[:-1]) * {"M": 1e6, "G": 1e9}[text[-1].upper()]
    except (ValueError, KeyError):
        size = 0.0
    if not 0 < size < math.inf:
        raise wrong("memory", text, "give a size such as 500M or 4G")
    return int(size)


def wrong(flag: str, value: Any, reason: str) -> UserError:
    """The error for one flag's value."""
    return UserError(f"--{flag.replace('_', '-')} {value}: {reason}")


class Parser(simple_parsing.ArgumentParser):
    """A parser that reports an error in one line; its flags are spelled in full, with dashes."""

    def __init__(self, *args: Any, **options: Any) -> None:
        dashes = simple_parsing.DashVariant.DASH
        super().__init__(
            *args, add_option_string_dash_variants=dashes, allow_abbrev=False, **options
        )

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise UserError(f"{message} (--help lists the flags)")


@dataclass(frozen=True)
class Command:
    """Something that the command line can do.

    Args:
        flags: a dataclass of its flags, and of its arguments without a flag: these are fields made
            by `simple_parsing.field(positional=True)`.
        run: does it, as the flags say.
        description: what it does; the first line stands for it in a list of commands.
        example: what could follow its name on the command line.
    """

    flags: type
    run: Callable[[Any], None]
    description: str
    example: str = ""

    def texts(self) -> dict[str, Any]:
        """What `--help` says before and after the flags, as options of a parser."""
        example = f"Example: %(prog)s {self.example}".rstrip()
        return {"description": self.description, "epilog": example}


@dataclass(frozen=True)
class Runner:
    """What distinguishes the two experiments.

    Args:
        problem: `Classification` or `Regression`.
        flags: the dataclass of its flags, with the hidden units of Student and Person.
        recipes: how the networks are trained, by name.
        teacher: hidden units of the Teacher.
        report_every: epochs between two printed lines.
        description, example: see `Command`.
    """

    problem: type[Classification] | type[Regression]
    flags: type[Flags]
    recipes: Mapping[str, Recipe]
    teacher: tuple[int, ...]
    report_every: int
    description: str = ""
    example: str = ""

    @property
    def name(self) -> str:
        """The task: "classification" or "regression"."""
        return self.problem.task

    @property
    def command(self) -> Command:
        """The experiment as a command."""
        sets, losses = names_of(self.name), by_name(self.problem.losses)
        names = f"Data sets: auto, {', '.join(sets)}. Losses: {', '.join(losses)}."
        description = f"{self.description}\n\n{names}"
        return Command(self.flags, partial(run, self), description, self.example)


def main(runner: Runner) -> int:
    """Run the experiment with the command line's flags; return the exit code."""

    def work() -> None:
        command = runner.command
        parser = Parser(prog=" ".join(called_as()), **command.texts())
        parser.add_arguments(command.flags, dest="flags")
        command.run(parser.parse_args().flags)

    return exit_code_of(work)


def called_as() -> list[str]:
    """The words that started this program: a script's, or those of `nkd` without its command."""
    name = Path(sys.argv[0]).name
    if name == "__main__.py":
        return ["python", "-m", "nkd"]
    return ["python", name] if name.endswith(".py") else ["nkd"]


def exit_code_of(work: Callable[[], None]) -> int:
    """Do the work and return the exit code; report a failure in one line."""

    def end(number: int, frame: Any) -> NoReturn:
        raise Terminated

    before = None
    if threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGTERM, end)
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
            "time, or smaller batches",
            file=sys.stderr,
        )
        return 2
    except OSError as error:  # a disk that is full, a folder in the place of a file
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        print(f"\ninterrupted; {str(interrupt) or 'nothing was written'}", file=sys.stderr)
        return 143 if isinstance(interrupt, Terminated) else 130
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
    return 0


def run(runner: Runner, flags: Flags) -> None:
    """Translate the flags into a call of `nkd.experiment.compare`."""
    flags = resumed(flags, runner.name) if flags.resume else flags
    flags.check()
    if flags.recipe not in runner.recipes:
        raise wrong("recipe", flags.recipe, f"choose one of {', '.join(runner.recipes)}")
    recipe = runner.recipes[flags.recipe]
    student = flags.student(recipe)
    sweep = parse_sweep(flags.sweep, student, runner.problem.losses)
    memory = parse_memory(flags.memory)
    controls = checked_controls(
        [name for name in flags.arms.split(",") if name],
        classes=issubclass(runner.problem, Classification),
        trained=True,
        optimizer=flags.optimizer,
    )
    if flags.cluster:
        from nkd.cluster import share_cores

        share_cores(flags.cluster)  # before Numba starts its threads
    backend = choose(flags.backend, tf32=flags.tf32)
    data = load(runner.name, flags.dataset, flags.data_dir or None)
    problem = runner.problem(dataclasses.replace(data, feature_bound=recipe.feature_bound))

    from nkd.experiment import compare, networks_of
    from nkd.report.files import Folder
    from nkd.report.screen import Screen

    folder = Folder(Path(flags.out), resumed=True) if flags.resume else Folder.new(flags.out)
    screen = Screen()
    if folder.resumed and folder.finished():
        screen.print(f"This run is finished: {folder.path / 'report.html'}")
        return
    values = dataclasses.asdict(flags)
    resolved = {"dataset": data.name, "backend": backend.name}  # in place of "auto"
    of_teacher, of_student = (
        flags.settings(each, runner.report_every) for each in (recipe.teacher, recipe.student)
    )
    options: dict[str, Any] = {"memory": memory, "backend": backend}
    seeds = range(flags.first_seed, flags.first_seed + flags.seeds)
    teacher = networks_of(
        problem,
        runner.teacher,
        seeds[: flags.teachers],
        of_teacher,
        labels=flags.labels,
        **options,
    )
    compare(
        problem,
        teacher,
        flags.hidden,
        of_student,
        **student,
        seeds=seeds,
        rows=flags.rows,
        labels=flags.labels,
        moved=of_teacher.jitter,
        sweep=sweep,
        controls=controls,
        **options,
        screen=screen,
        folder=folder,
        cluster=flags.cluster or "",
        checkpoint_every=flags.checkpoint_every,
        about={
            "experiment": runner.name,
            "flags": values,
            "resolved": resolved,
            "command": command_of(runner.name, values | resolved),
        },
    )


def command_of(name: str, values: Mapping[str, Any], *arguments: str) -> str:
    """The command that repeats a run: every flag that was given, but the folder.

    Args:
        name: the command's, as in `nkd NAME`.
        values: of the flags, by their fields.
        arguments: what stands before the flags.
    """
    words = called_as()
    if words[-1] == "nkd":
        words.append(name)
    words += arguments
    for flag, value in values.items():
        if (
            flag not in ("out", "resume", "checkpoint_every", "cluster")
            and value is not False
            and value not in (None, "", [])
        ):
            word, texts = (
                f"--{flag.replace('_', '-')}",
                value if isinstance(value, list) else [value],
            )
            if value is True:
                words.append(word)
            elif str(texts[0]).startswith("-"):  # it would be read as a flag
                words.append(f"{word}={texts[0]}")
            else:
                words += [word, *map(str, texts)]
    return shlex.join(words)
