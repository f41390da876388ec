"""What a run shows and leaves behind: progress, the table, the sentence, the files, the picture."""

import csv
import io
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nkd.backend import Backend
from nkd.distillation import Problem, Training
from nkd.errors import UserError
from nkd.network import MLP
from nkd.statistics import PairedDifference, paired_difference

REFRESH_SECONDS = 0.1
PLAIN_WIDTH = 110
"""Columns of output that does not go to a terminal."""


@dataclass(frozen=True)
class Measure:
    """How one of a problem's metrics is shown.

    Args:
        name: its key, as in `Problem.measure`.
        label: its name in the table.
        factor, style: the shown text is format(factor·value, style) + unit.
    """

    name: str
    label: str
    style: str
    factor: float = 1.0
    unit: str = ""

    def text(self, values: np.ndarray | float) -> str:
        """The value, or mean ± standard deviation of several."""
        values = np.atleast_1d(values) * self.factor
        text = format(values.mean(), self.style)
        if len(values) > 1:
            text += f" ± {format(values.std(ddof=1), self.style)}"
        return text + self.unit


@dataclass(frozen=True)
class View:
    """How a problem is shown: which metrics where, and what counts between Student and Person.

    Args:
        line: the metrics of a progress line.
        table: the metrics of the result table.
        decisive: the metric by which Student and Person are compared; less is better.
        noun: what that metric counts, as "test errors".
    """

    line: tuple[Measure, ...]
    table: tuple[Measure, ...]
    decisive: Measure
    noun: str


def classification_view() -> View:
    """Loss, accuracy and errors; the errors decide."""
    loss = Measure("loss", "test loss (nats)", ".4f")
    accuracy = Measure("accuracy", "test accuracy", ".2f", 100, " %")
    errors = Measure("errors", "test errors", ",.1f")
    return View((loss, accuracy), (accuracy, errors, loss), errors, "test errors")


def regression_view(unit: str) -> View:
    """RMSE, MAE and R²; the RMSE decides. `unit` is that of the target."""
    of_unit, squared = (f" ({unit})", f" ({unit})²") if unit else ("", "")
    rmse = Measure("rmse", f"test RMSE{of_unit}", ".4f")
    mae = Measure("mae", f"test MAE{of_unit}", ".4f")
    r2 = Measure("r2", "test R²", ".4f")
    loss = Measure("loss", f"test loss{squared}", ".4f")
    return View((loss, rmse, r2), (rmse, mae, r2, loss), rmse, f"test RMSE{of_unit}")


# --------------------------------------------------------------------------- on the screen


class Display:
    """Prints a run as it happens: a live bar on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(highlight=False)
        if not self.console.is_terminal:
            self.console = Console(highlight=False, width=PLAIN_WIDTH)

    def print(self, text: Any = "", style: str | None = None) -> None:
        """A line, or a table."""
        self.console.print(text, style=style, markup=False)

    def train(
        self, title: str, training: Training, groups: Mapping[str, slice], view: View
    ) -> None:
        """Train to the end under a progress bar; a line per group after each reported epoch.

        Args:
            title: what is trained.
            groups: which of the runs are, for example, the Students.
        """
        epochs = training.settings.epochs
        width = max(map(len, groups))
        with self.progress(title, epochs * training.steps_per_epoch) as track:
            for epoch in training.epochs(track):
                if epoch.train is None:
                    continue
                for name, members in groups.items():
                    shown = "   ".join(
                        f"{part} " + ", ".join(
                            f"{measure.name} {measure.text(values[measure.name][members].mean())}"
                            for measure in view.line
                        )
                        for part, values in (("train", epoch.train), ("test", epoch.test))
                    )  # fmt: skip
                    self.print(f"{name:{width}}  epoch {epoch.number:3}/{epochs}   {shown}")

    @contextmanager
    def progress(self, title: str, steps: int) -> Iterator[Callable[[Iterable], Iterable]]:
        """A bar over so many steps; the value wraps iterables of steps and counts them."""
        if not self.console.is_terminal:
            yield iter
            return
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn("{task.description}"), BarColumn(None), TimeRemainingColumn()
        # It is refreshed here, not by a thread of its own, which would take time from training.
        with Progress(*columns, console=self.console, auto_refresh=False, transient=True) as bar:
            task = bar.add_task(title, total=steps)

            def track(batches: Iterable) -> Iterator:
                shown, done = time.monotonic(), 0
                for batch in batches:
                    yield batch
                    done += 1
                    if time.monotonic() - shown > REFRESH_SECONDS:
                        bar.update(task, advance=done, refresh=True)
                        shown, done = time.monotonic(), 0
                bar.update(task, advance=done, refresh=True)

            yield track


# ------------------------------------------------------------------------------ the results


@dataclass(frozen=True)
class Timing:
    """Seconds: training of one network, inference of one row and of 10,000 rows."""

    training: float
    single: float
    ten_thousand: float


def timing(training: Training, replica: int) -> Timing:
    """Of one of the networks. Its training time is its share of the pass that it was part of."""
    network = training.network.select([replica])
    rows = np.resize(np.arange(len(training.test_inputs)), 10_000)
    inputs = training.test_inputs.gather(training.backend.asarray(rows))
    return Timing(
        training.seconds / len(training.runs),
        median_seconds(network, inputs[:1], 200, training.backend),
        median_seconds(network, inputs, 5, training.backend),
    )


def median_seconds(network: MLP, x: Any, repeats: int, backend: Backend) -> float:
    """Median time of `network.predict(x)`, after one call that is not counted."""
    seconds = []
    for _ in range(repeats + 1):
        backend.synchronize()
        start = time.perf_counter()
        network.predict(x)
        backend.synchronize()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:]))


class Results:
    """Teacher, Student and Person after training: one object for the table, files and picture.

    Args:
        teacher: the training of one network.
        pair: the training of all Students and then all Persons, see `distillation.pairs`.
    """

    def __init__(self, problem: Problem, view: View, teacher: Training, pair: Training) -> None:
        self.problem, self.view = problem, view
        self.teacher, self.pair = teacher, pair
        half = len(pair.runs) // 2
        self.seeds = [run.seed for run in pair.runs[:half]]
        self.networks = {
            "teacher": (teacher, slice(0, 1)),
            "student": (pair, slice(0, half)),
            "person": (pair, slice(half, None)),
        }
        self.timings = {
            name: timing(training, members.start)
            for name, (training, members) in self.networks.items()
        }
        student, person = (self.final(name)[view.decisive.name] for name in ("student", "person"))
        self.difference = paired_difference(student, person)

    def final(self, name: str) -> dict[str, np.ndarray]:
        """The test metrics after the last epoch of one of the three, one number per seed."""
        training, members = self.networks[name]
        return {key: values[members] for key, values in training.history[-1].test.items()}

    def sentence(self) -> str:
        """Student against Person, claiming no more than the numbers allow."""
        return sentence(self.difference, self.view, self.seeds, self.problem.data.title)

    def table(self) -> Any:
        """The result table, for `Display.print`."""
        from rich import box
        from rich.table import Table

        rows: list[tuple[str, list[float], list[str]]] = []
        counts = [training.network.parameter_count for training, _ in self.networks.values()]
        rows.append(("parameters", counts, [f"{count:,}" for count in counts]))
        for measure in self.view.table:
            values = [self.final(name)[measure.name] for name in self.networks]
            texts = [measure.text(value) for value in values]
            rows.append((measure.label, [float(value.mean()) for value in values], texts))
        for label, key, factor, unit in (
            ("training time per network", "training", 1, "s"),
            ("inference, 1 sample", "single", 1e6, "µs"),
            ("inference, 10,000 samples", "ten_thousand", 1e3, "ms"),
        ):
            seconds = [getattr(timing, key) for timing in self.timings.values()]
            rows.append((label, seconds, [f"{value * factor:,.1f} {unit}" for value in seconds]))

        table = Table(box=box.SIMPLE_HEAD, title=self.problem.data.title)
        table.add_column("")
        for name in (*self.networks, "student / teacher", "person / teacher"):
            table.add_column(name.capitalize(), justify="right")
        for label, values, texts in rows:
            ratios = [f"{value / values[0]:.3g}" if values[0] else "–" for value in values[1:]]
            table.add_row(label, *texts, *ratios)
        return table

    def record(self) -> dict[str, Any]:
        """Everything that results.json holds, as plain numbers and text."""
        data = self.problem.data
        record: dict[str, Any] = {
            "dataset": data.name,
            "dataset_title": data.title,
            "stand_in": data.stand_in,
            "unit": data.unit,
            "noise_floor": data.noise_floor,
            "training_rows": len(data.x_train),
            "test_rows": len(data.x_test),
        }
        for name, (training, members) in self.networks.items():
            seconds = self.timings[name]
            record[name] = {
                "sizes": list(training.network.sizes),
                "parameters": training.network.parameter_count,
                "seeds": [run.seed for run in training.runs[members]],
                "alpha": training.runs[members][0].alpha,
                "temperature": training.runs[members][0].temperature,
                "test": {
                    key: {
                        "values": values.tolist(),
                        "mean": float(values.mean()),
                        "sd": float(values.std(ddof=1)) if len(values) > 1 else None,
                    }
                    for key, values in self.final(name).items()
                },
                "training_seconds_per_network": seconds.training,
                "networks_trained_side_by_side": len(training.runs),
                "inference_seconds_1": seconds.single,
                "inference_seconds_10000": seconds.ten_thousand,
            }
        record["student_minus_person"] = {
            "measure": self.view.decisive.name,
            **asdict(self.difference),
            "verdict": self.difference.verdict,
        }
        record["sentence"] = self.sentence()
        return record


def sentence(difference: PairedDifference, view: View, seeds: Sequence[int], dataset: str) -> str:
    """What the paired difference of Student and Person says, for people."""

    def text(value: float) -> str:
        return f"{value:+{view.decisive.style}}"

    who = f"Student − Person on {dataset}: {text(difference.mean)} {view.noun}"
    if difference.pairs == 1:
        return (
            f"{who} in one pair (seed {seeds[0]}). One pair proves nothing: another seed may turn "
            "it round. Use --seeds 5 or more."
        )
    span = f"over {difference.pairs} pairs (seeds {seeds[0]}–{seeds[-1]})"
    if difference.low is None or difference.high is None:
        return (
            f"{who} in each of {difference.pairs} pairs (seeds {seeds[0]}–{seeds[-1]}): with no "
            "spread between the pairs there is no interval, and no verdict."
        )
    interval = (
        f"{difference.confidence:.0%} interval {text(difference.low)} to {text(difference.high)}"
    )
    verdict = {
        "better": "the Student is better than the Person",
        "worse": "the Student is worse than the Person",
        "not distinguishable": "Student and Person are not distinguishable",
    }[difference.verdict]
    return (
        f"{who} {span}, {interval.replace('%', ' %')}: {verdict}. The interval is for other seeds "
        "of the pair with this one teacher and this test set, not for other teachers or data."
    )


# -------------------------------------------------------------------------------- the files

FILES = (
    "configuration.json",
    "metrics.csv",
    "results.json",
    "teacher.safetensors",
    "student.safetensors",
    "person.safetensors",
    "report.png",
)


class Folder:
    """Where a run's files go. Each appears complete or not at all.

    Files of the same names that an earlier run left there are removed first, so that what
    stands together belongs together.

    Raises:
        UserError: the folder cannot be made, or not be written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=path).close()
            for name in FILES:
                (path / name).unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"--out {path}: cannot write there ({error.strerror}); name another folder"
            ) from None

    def kept(self) -> list[str]:
        """The names of the files that are there."""
        return [name for name in FILES if (self.path / name).exists()]

    def write(self, name: str, content: bytes) -> None:
        """Write a file under a temporary name, then rename it."""
        handle, temporary = tempfile.mkstemp(dir=self.path, prefix=f".{name}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(temporary, 0o644)
            os.replace(temporary, self.path / name)
        except BaseException:
            os.unlink(temporary)
            raise

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file; a number that is not finite is an error."""
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        self.write(name, f"{text}\n".encode())

    def write_metrics(self, trainings: Sequence[tuple[Sequence[str], Training]]) -> None:
        """metrics.csv: a row per epoch and network; the names are those of the runs."""
        rows = []
        for names, training in trainings:
            for epoch in training.history:
                for number, (name, run) in enumerate(zip(names, training.runs, strict=True)):
                    rows.append(
                        {"network": name, "seed": run.seed, "epoch": epoch.number}
                        | {"objective": epoch.objective[number]}
                        | columns("train", epoch.train, number)
                        | columns("test", epoch.test, number)
                    )
        if not rows:
            return
        text = io.StringIO()
        names = list(dict.fromkeys(key for row in rows for key in row))
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        self.write("metrics.csv", text.getvalue().encode())

    def write_weights(self, name: str, training: Training, replica: int) -> None:
        """One network as safetensors: "dense1.W" (inputs, outputs), "dense1.b" (outputs,), …

        z = x W + b in every layer, ReLU between layers. The metadata say how a raw input
        becomes x.
        """
        from safetensors.numpy import save

        data, run = training.problem.data, training.runs[replica]
        metadata = {
            "network": name,
            "sizes": json.dumps(training.network.sizes),
            "seed": str(run.seed),
            "alpha": str(run.alpha),
            "temperature": str(run.temperature),
            "dataset": data.name,
            "layers": "z = x W + b, ReLU between layers; W is (inputs, outputs)",
        }
        if data.feature_mean is not None and data.feature_deviation is not None:
            metadata["input"] = "x = (feature - mean) / deviation"
            metadata["mean"] = json.dumps(data.feature_mean.tolist())
            metadata["deviation"] = json.dumps(data.feature_deviation.tolist())
        else:
            metadata["input"] = f"x = {data.input_scale!r} * pixel"
        self.write(f"{name}.safetensors", save(training.network.tensors(replica), metadata))


def columns(part: str, measured: dict[str, np.ndarray] | None, number: int) -> dict[str, float]:
    """One network's metrics as columns of metrics.csv."""
    return {f"{part}_{key}": values[number] for key, values in (measured or {}).items()}
