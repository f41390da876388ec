"""`nkd hinton2015`: flags, what is still to be done, the table."""

import dataclasses
import json
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from simple_parsing import field

from nkd.backend import Backend, choose
from nkd.command_line import check_seconds, resumed, wrong
from nkd.data import Dataset, load_classification
from nkd.hinton2015.experiments import Experiments, Plan
from nkd.hinton2015.scoreboard import markdown, records, screen_tables, sentences
from nkd.training import Settings

DESCRIPTION = "Section 3 of Hinton, Vinyals and Dean 2015: paper and measured."

# How these were chosen: docs/hinton2015.md.
REGULARISED: dict[str, Any] = {"dropout": (0.0, 0.3, 0.3), "largest_norm": 3.0, "jitter": 2}


def student(epochs: int, batch_size: int = 128) -> Settings:
    """Settings of a small network, with no regularisation but its targets."""
    return Settings(epochs, batch_size, 2e-3, report_every=epochs)


def plan_of(
    teacher: int, alone: int, distilled: int, part: int, only: int, mapped: dict[int, int]
) -> Plan:
    """The plan with these numbers of epochs for each experiment, and for each width of the map."""
    return Plan(
        teacher=Settings(teacher, 256, 2e-3, report_every=teacher, **REGULARISED),
        alone=student(alone),
        distilled=student(distilled),
        without_3=student(part),
        only_7_and_8=student(only),
        map={width: student(epochs, 256) for width, epochs in mapped.items()},
        alpha=0.7,
    )


FULL = plan_of(160, 40, 60, 20, 40, {30: 40, 100: 20, 300: 12, 800: 5})
QUICK = plan_of(10, 5, 8, 5, 10, {30: 12, 100: 6, 300: 3, 800: 1})


@dataclass
class Flags:
    """Flags of the reproduction."""

    quick: bool = field(default=False, action="store_true")
    """The whole table, with much shorter training."""

    seeds: int = 2
    """Number of seeds; each has its own teacher."""

    first_seed: int = 0
    """The seeds count up from it."""

    only: list[str] = field(default_factory=list, metavar="NAME", nargs="*")  # noqa: RUF009
    """Only these experiments, instead of all: teacher, alone, distilled, without-3, …"""

    backend: Literal["auto", "numpy", "numba", "cupy"] = "auto"
    """numpy; numba (compiled, faster); cupy (NVIDIA GPU); auto: cupy or numba if usable."""

    dataset: Literal["mnist", "digits"] = "mnist"
    """digits is a small stand-in, for which the paper has no figures."""

    data_dir: str = field(default="", metavar="DIR")
    """Folder that holds the data files; without it, and without $NKD_DATA_DIR, they are fetched."""

    out: str = field(default="runs/hinton2015[-quick]", metavar="DIR")
    """Folder for results; those already there are not computed again."""

    checkpoint_every: float = field(default=30.0, metavar="SECONDS")
    """Keep a training that goes on, at the end of an epoch, when this time has passed."""

    resume: str = field(default="", metavar="DIR")
    """Go on in this folder with the flags that were used there last."""

    def check(self) -> None:
        """Raise a UserError that names the first flag whose value makes no sense."""
        if self.seeds < 1:
            raise wrong("seeds", self.seeds, "must be at least 1")
        if self.first_seed < 0:
            raise wrong("first_seed", self.first_seed, "must not be negative")
        if not self.out:
            raise wrong("out", "''", "name a folder")
        check_seconds(self.checkpoint_every)


def run(flags: Flags, plan: Plan | None = None) -> None:
    """Do what is not done yet, then show the table.

    Args:
        plan: used instead of the one that the flags choose.
    """
    flags = resumed(flags, "hinton2015") if flags.resume else flags
    flags.check()
    backend = choose(flags.backend)
    data = load_classification(flags.dataset, flags.data_dir or None)

    from nkd.report.files import Folder
    from nkd.report.screen import Screen

    plan = plan or (QUICK if flags.quick else FULL)
    screen = Screen()
    folder = Folder(Path(flags.out.replace("[-quick]", "-quick" * flags.quick)))
    experiments = Experiments(data, plan, folder, screen, backend, flags.checkpoint_every)
    unknown = [name for name in flags.only if name not in experiments.by_name]
    if unknown:
        raise wrong("only", unknown[0], f"choose from {', '.join(experiments.by_name)}")
    wanted = [name for name in experiments.by_name if name in flags.only or not flags.only]
    if wanted != ["alone"] and "teacher" not in wanted:
        wanted.insert(0, "teacher")  # which all others need
    common = configuration(plan, data, backend)
    folder.claim(common)
    last = {"experiment": "hinton2015", "flags": dataclasses.asdict(flags)}
    resolved = {"backend": backend.name}  # in place of "auto"
    folder.write_json("configuration.json", {**common, **last, "resolved": resolved})

    seeds = range(flags.first_seed, flags.first_seed + flags.seeds)
    every = list(experiments.by_name)
    tasks = [(name, seed) for seed in seeds for name in wanted]
    missing = [task for task in tasks if experiments.kept(*task) is None]
    screen.start(data, backend, f"; results go to {folder.path}")
    if len(missing) < len(tasks):
        screen.print(f"{len(tasks) - len(missing)} of {len(tasks)} experiments were done before")

    def keep() -> list[dict[str, Any]]:
        details = {
            "plan": "quick" if flags.quick else "full",
            "dataset": data.name,
            "machine": f"{backend.name} on {backend.device()}, {platform.system()}",
            "date": time.strftime("%Y-%m-%d"),
        }
        results = experiments.results(every, seeds)
        found = records(plan, results, details)
        text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
        folder.write("hinton2015.json", f"{text}\n".encode())
        said = sentences(plan, results)
        folder.write("hinton2015.md", markdown(plan, found, said).encode())
        return found

    try:
        for number, (name, seed) in enumerate(missing, start=len(tasks) - len(missing) + 1):
            measured = experiments.run(name, seed)
            screen.print(
                f"{number:{len(str(len(tasks)))}}/{len(tasks)}  seed {seed}  {name:12}  "
                f"{summary(measured)}  ({measured['seconds']:.0f} s)"
            )
            keep()
    except KeyboardInterrupt as stop:
        done = len(tasks) - sum(experiments.kept(*task) is None for task in tasks)
        raise type(stop)(
            f"{done} of {len(tasks)} experiments are kept in {folder.path}; the same command goes "
            f"on there, or --resume {folder.path}"
        ) from None

    found = keep()
    title = f"Hinton, Vinyals and Dean 2015, section 3, on {data.title}"
    for table in screen_tables(plan, found, title):
        screen.print(table)
    for sentence in sentences(plan, experiments.results(every, seeds)):
        screen.print(sentence)
    screen.print(
        "\nTest errors after the last epoch, mean ± standard deviation over "
        f"{len(seeds)} seed(s); {minutes(experiments.results(every, seeds))} of training. "
        '"Missed" is a mean that is worse than the paper\'s figure.\n'
        f"The records: {folder.path / 'hinton2015.json'}"
    )
    if data.stand_in:
        screen.notice(f"The paper's figures are for MNIST; these are of {data.title}.")
    elif flags.quick:
        screen.print("This was --quick: much shorter than the full table, see docs/hinton2015.md.")


def summary(measured: Mapping[str, Any]) -> str:
    """What one experiment found, in one line."""
    errors = measured.get("errors")
    if errors is None:
        trained, train, test = (
            measured[how]["errors"] for how in ("as trained", "training rows", "test rows")
        )
        return f"{trained} test errors; bias from training rows {train}, from test rows {test}"
    if isinstance(errors, dict):
        texts = {T: "diverged" if n is None else str(n) for T, n in errors.items()}
        return "test errors " + ", ".join(f"{text} (T {T})" for T, text in texts.items())
    return f"{errors} test errors"


def minutes(results: Mapping[int, Mapping[str, Any]]) -> str:
    """The time that the experiments took in all."""
    seconds = sum(each["seconds"] for by_name in results.values() for each in by_name.values())
    return f"{seconds / 60:.0f} minutes"


def configuration(plan: Plan, data: Dataset, backend: Backend) -> dict[str, Any]:
    """What all results in one folder have in common."""
    return {"plan": dataclasses.asdict(plan), "dataset": data.name, "backend": backend.name}
