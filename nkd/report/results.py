"""Teacher, Student and Person side by side: timings, the table, the sentence, the record."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nkd import metrics
from nkd.arms import Arm
from nkd.backend import NUMPY, Backend
from nkd.distillation import Classification, Problem, Run, TeacherOutputs
from nkd.network import MLP
from nkd.report.comparison import Comparison
from nkd.report.conditions import ByNumber, Cell, Moved
from nkd.report.divergence import divergence, pairs_left_out
from nkd.report.files import finite, numbers
from nkd.report.view import View
from nkd.statistics import (
    PairedDifference,
    about,
    deviation_of,
    mcnemar,
    mean_of,
    paired_difference,
)
from nkd.training import Training


@dataclass(frozen=True)
class Timing:
    """Seconds: training of one network, inference for one row and for 10,000 rows."""

    training: float
    single: float
    ten_thousand: float


def timing(training: Training, replica: int) -> Timing:
    """The timing of one network. Its training time is its share of the pass that it was part of."""
    network = training.network.select([replica])
    rows = np.resize(np.arange(len(training.test_inputs)), 10_000)
    inputs = training.test_inputs.gather(training.backend.asarray(rows[None]))[0]
    return Timing(
        training.seconds / len(training.runs),
        median_seconds(network, inputs[:1], 200, training.backend),
        median_seconds(network, inputs, 5, training.backend),
    )


def median_seconds(network: MLP, x: Any, repeats: int, backend: Backend) -> float:
    """Median time of `network.predict(x)`, after one untimed call."""
    seconds = []
    for _ in range(repeats + 1):
        backend.synchronize()
        start = time.perf_counter()
        network.predict(x)
        backend.synchronize()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:]))


@dataclass(frozen=True, eq=False)
class Contender:
    """Teacher, Student or Person, with its measurements: K networks, one for each seed.

    Args:
        outputs: on the test rows, (K, M, ·); NaN of a network that diverged.
        final: the test metrics after the last epoch, each (K,), likewise.
        training: where the networks were trained; None for a teacher known by its outputs.
        members: which runs of that training they are.
        timing: of one of them; None without `training`.
    """

    outputs: np.ndarray
    final: dict[str, np.ndarray]
    training: Training | None = None
    members: list[int] = field(default_factory=list)
    timing: Timing | None = None

    @classmethod
    def of(cls, training: Training, *parts: Sequence[int]) -> "list[Contender]":
        """A contender for each of these parts of a finished training, given by their runs."""
        outputs, final = training.outputs(training.test_inputs), training.history[-1].test
        there = np.flatnonzero(~training.gone).tolist()
        return [
            cls(
                outputs[part],
                {name: values[part] for name, values in final.items()},
                training,
                part,
                timing(training, [*(run for run in part if run in there), *there][0]),
            )
            for part in map(list, parts)
        ]

    @property
    def there(self) -> list[int]:
        """The numbers of those networks that have not diverged."""
        return np.flatnonzero(~diverged_of(self.outputs)).tolist()

    @property
    def members_there(self) -> list[int]:
        """Their runs in the training, [] for a teacher known by its outputs."""
        return [self.members[number] for number in self.there] if self.training else []

    @property
    def runs(self) -> list[Run]:
        """Their runs, [] for a teacher known by its outputs."""
        return [self.training.runs[run] for run in self.members] if self.training else []

    @property
    def parameters(self) -> int | None:
        """The parameters of one network; None where they are not known."""
        return self.training.network.parameter_count if self.training else None


def diverged_of(outputs: np.ndarray) -> np.ndarray:
    """Which of the networks diverged, (K,) booleans, by their outputs (K, M, ·)."""
    return np.isnan(outputs).any(axis=(1, 2))


def left_of(outputs: np.ndarray) -> np.ndarray:
    """The outputs of the others."""
    return outputs[~diverged_of(outputs)]


class Results:
    """Teacher, Student and Person after training: one object for the table, files and pictures.

    Args:
        teacher: the training of the teachers, or their outputs.
        student, person: the networks of all seeds.
        note: what the sentence says besides, such as that the teacher may have seen the test rows.

    Attributes:
        difference: Student − Person in the decisive measure: the verdict.
        comparison: what else was compared with the Person, if anything.
        moved: the same on moved images, if that was trained.
        counts: the same by number of rows, or labels, as far as that was trained.
        diverged: what is said about runs that diverged, by what they were trained for.
    """

    def __init__(
        self,
        problem: Problem,
        view: View,
        teacher: Training | TeacherOutputs,
        student: Contender,
        person: Contender,
        note: str = "",
    ) -> None:
        self.problem, self.view, self.note = problem, view, note
        self.comparison: Comparison | None = None
        self.moved: Moved | None = None
        self.counts: dict[str, ByNumber] = {}
        self.seeds = [run.seed for run in student.runs]
        if isinstance(teacher, Training):  # pairs of a teacher that diverged are not there
            (taught_by,) = Contender.of(teacher, np.flatnonzero(~teacher.gone).tolist())
        else:
            measured = problem.measure(teacher.test, problem.data.y_test, NUMPY)
            taught_by = Contender(teacher.test, measured)
        self.networks = {"teacher": taught_by, "student": student, "person": person}
        self.teachers = len(taught_by.outputs)
        self.outputs = {name: network.outputs for name, network in self.networks.items()}
        with_it, without = (each.final[view.decisive.name] for each in (student, person))
        self.difference = paired_difference(with_it, without, teachers=self.teachers)
        self.diverged: dict[str, str] = {}
        trainings = {id(each.training): each.training for each in self.networks.values()}
        for training in trainings.values():
            if training is not None and training.diverged:
                names = [name for name, it in self.networks.items() if it.training is training]
                said = divergence(training.runs, training.diverged, training.settings)
                self.diverged[" and ".join(names)] = said

    def compare_arms(self, arms: Sequence[Arm], finals: dict[str, np.ndarray]) -> Comparison:
        """Compare what else was trained with the Person; keep the result as `comparison`."""
        title, person = self.problem.data.title, self.final("person")[self.view.decisive.name]
        self.comparison = Comparison(
            self.view, title, person, self.seeds, arms, finals, self.teachers
        )
        return self.comparison

    def compare_moved(self, pixels: int, moved: Mapping[str, np.ndarray]) -> Moved:
        """Set pairs on moved images beside these; keep the result as `moved`."""
        name, title = self.view.decisive.name, self.problem.data.title
        plain = {who: self.final(who)[name] for who in ("student", "person")}
        self.moved = Moved(self.view, title, pixels, plain, moved, self.teachers)
        return self.moved

    def add_cell(self, what: str, cell: Cell) -> None:
        """Compare by number of rows or labels, with one more number; see `counts`."""
        title = self.problem.data.title
        cells = [*(self.counts[what].cells if what in self.counts else ()), cell]
        self.counts[what] = ByNumber(self.view, title, what, cells, self.teachers)

    def final(self, name: str) -> dict[str, np.ndarray]:
        """The test metrics after the last epoch of one of the three, one number per seed."""
        return self.networks[name].final

    def sentence(self) -> str:
        """Student against Person, claiming no more than the numbers allow."""
        title = self.problem.data.title
        left = [seed for seed, there in zip(self.seeds, self.paired(), strict=True) if there]
        text = sentence(self.difference, self.view, left, title, self.teachers)
        if len(self.seeds) == len(left) == 1 and isinstance(self.problem, Classification):
            student, person = (
                self.outputs[name][0].argmax(axis=-1) != self.problem.data.y_test
                for name in ("student", "person")
            )
            text += f" {mcnemar(student, person).sentence('Student', 'Person')}"
        return " ".join(part for part in (text, self.left_out(), self.note) if part)

    def paired(self) -> np.ndarray:
        """Of which pairs both networks are there, (seeds,) booleans."""
        name = self.view.decisive.name
        return ~np.isnan(self.final("student")[name] - self.final("person")[name])

    def left_out(self) -> str:
        """How many pairs are left out because a network diverged, as a sentence; "" if none is."""
        pairs, teacher = len(self.seeds), self.networks["teacher"].training
        gone = {
            name.capitalize(): pairs - len(self.networks[name].there)
            for name in ("student", "person")
        }
        teachers = int(teacher.gone.sum()) if teacher else 0
        untaught = teachers * pairs // self.teachers
        left_out = self.difference.left_out + untaught
        return pairs_left_out(left_out, pairs + untaught, {"Teacher": teachers, **gone})

    def shown(self) -> dict[str, int]:
        """Which Teacher, Student and Person pictures show and files hold: those of the first pair.

        One of which none is there is not named. If no pair is, they are not of the same seed.
        """
        there = {name: self.networks[name].there for name in ("student", "person")}
        pairs = [number for number in there["student"] if number in there["person"]]
        shown = {name: (pairs or numbers)[0] for name, numbers in there.items() if numbers}
        return {"teacher": min(shown.values(), default=0) % self.teachers, **shown}

    def shown_seeds(self) -> str:
        """Of which seeds those are, in words."""
        seeds: dict[int, list[str]] = {}
        for name, number in self.shown().items():
            if name != "teacher":
                seeds.setdefault(self.seeds[number], []).append(name.capitalize())
        return ", ".join(f"{' and '.join(names)} of seed {seed}" for seed, names in seeds.items())

    def learned(self, name: str) -> dict[str, np.ndarray]:
        """How close one of the three is to the teacher, and how well calibrated it is, per seed.

        On the test rows: "agreement" with the teacher, "agreement_on_mistakes" of the teacher,
        "divergence" from it, its own "calibration_error"; see `nkd.metrics`. For classes only.
        NaN of a network that diverged.
        """
        z, teachers, y = self.outputs[name], self.outputs["teacher"], self.problem.data.y_test
        each = [
            {
                "agreement": metrics.agreement(z[n : n + 1], teachers[n % self.teachers]),
                "agreement_on_mistakes": metrics.agreement_on_mistakes(
                    z[n : n + 1], teachers[n % self.teachers], y
                ),
                "divergence": metrics.divergence(z[n : n + 1], teachers[n % self.teachers]),
                "calibration_error": metrics.calibration_error(z[n : n + 1], y),
            }
            for n in range(len(z))
        ]
        found = {key: np.concatenate([one[key] for one in each]) for key in each[0]}
        return {key: np.where(diverged_of(z), np.nan, values) for key, values in found.items()}

    def rows(self) -> list[tuple[str, list[str]]]:
        """The result table: for each row its label, three texts and two ratios to the teacher."""
        contenders = list(self.networks.values())
        rows: list[tuple[str, list[float | None], list[str]]] = []
        counts = [contender.parameters for contender in contenders]
        rows.append(
            ("parameters", [*counts], ["–" if count is None else f"{count:,}" for count in counts])
        )
        for measure in self.view.table:
            finals = [self.final(name)[measure.name] for name in self.networks]
            texts = [measure.text(values) for values in finals]
            means = [finite(float(mean_of(each))) for each in finals]
            rows.append((f"test {measure.label}", [*means], texts))
        for label, key, factor, unit in (
            ("training time", "training", 1, "s"),
            ("inference, 1", "single", 1e6, "µs"),
            ("inference, 10,000", "ten_thousand", 1e3, "ms"),
        ):
            seconds = [getattr(each.timing, key) if each.timing else None for each in contenders]
            texts = ["–" if each is None else three_digits(each * factor, unit) for each in seconds]
            rows.append((label, seconds, texts))
        return [
            (label, texts + [ratio(value, values[0]) for value in values[1:]])
            for label, values, texts in rows
        ]

    def caption(self) -> str:
        """What the numbers of the result table are."""
        gone = "" if self.paired().all() else ", without those that diverged"
        return (
            f"Student, Person: mean ± standard deviation over {len(self.seeds)} seed(s){gone}; "
            f"training time is one network's share of the {self.side_by_side()} trained side by "
            "side. Inference: median time for 1 row and for 10,000 rows."
        )

    def side_by_side(self) -> str:
        """How many networks were trained in the Students' pass, and the Persons' if it differs."""
        trainings = {
            id(each.training): len(each.training.runs)
            for each in (self.networks["student"], self.networks["person"])
            if each.training is not None
        }
        return " and ".join(map(str, trainings.values()))

    def table(self) -> Any:
        """The result table, for `Screen.print`."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(
            box=box.SIMPLE_HEAD,
            title=Text(f"Test results on {self.problem.data.title}", "table.title"),
            caption=self.caption(),
            caption_justify="left",
            collapse_padding=True,
            pad_edge=False,
        )
        table.add_column("", no_wrap=True)
        for name in (*self.networks, "student\n/ teacher", "person\n/ teacher"):
            table.add_column(name.capitalize(), justify="right")
        for label, texts in self.rows():
            table.add_row(label, *texts)
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
        for name, contender in self.networks.items():
            training, runs, timing = contender.training, contender.runs, contender.timing
            record[name] = {
                "sizes": list(training.network.sizes) if training else None,
                "parameters": contender.parameters,
                "seeds": [run.seed for run in runs],
                "alpha": runs[0].alpha if runs else None,
                "temperature": runs[0].temperature if runs else None,
                "test": {
                    key: {
                        "values": numbers(values),
                        "mean": finite(float(mean_of(values))),
                        "sd": finite(float(deviation_of(values))),
                    }
                    for key, values in self.final(name).items()
                },
                "training_seconds_per_network": timing and timing.training,
                "networks_trained_side_by_side": len(training.runs) if training else None,
                "inference_seconds_1": timing and timing.single,
                "inference_seconds_10000": timing and timing.ten_thousand,
            }
            if isinstance(self.problem, Classification):
                record[name]["learned"] = {
                    key: numbers(values) for key, values in self.learned(name).items()
                }
        training, students = self.networks["student"].training, self.networks["student"].members
        record["student"]["gradient_split"] = [
            {
                "epoch": epoch.number,
                "label": numbers(epoch.split[0][students]),
                "others": numbers(epoch.split[1][students]),
            }
            for epoch in (training.history if training else [])
            if epoch.split is not None and not np.isnan(epoch.split[0][students]).all()
        ]
        record["student_minus_person"] = {
            "measure": self.view.decisive.name,
            **self.difference.record(),
        }
        record["sentence"] = self.sentence()
        record["diverged"] = dict(sorted(self.diverged.items()))
        if self.moved is not None:
            record["moved"] = self.moved.record()
        record |= {what: each.record() for what, each in self.counts.items()}
        if self.comparison is not None:
            record["arms"] = self.comparison.record()
        return record


def ratio(value: float | None, to: float | None) -> str:
    """The ratio of two numbers, if both are known and positive."""
    return f"{value / to:.3g}" if value and to and min(value, to) > 0 else "–"


def three_digits(value: float, unit: str) -> str:
    """A positive number with three digits, or all those before the point, and its unit."""
    return f"{value:,.0f} {unit}" if value >= 99.95 else f"{value:#.3g} {unit}"


def sentence(
    difference: PairedDifference, view: View, seeds: Sequence[int], dataset: str, teachers: int = 1
) -> str:
    """The paired difference of Student and Person, in words.

    Args:
        seeds: of the pairs that are there.
    """
    if not difference.pairs:
        return f"Student − Person on {dataset}: no pair is left to compare, so there is no verdict."
    who = f"Student − Person on {dataset}: {view.change(difference.mean)} {view.noun}"
    if difference.pairs == 1 and teachers > 1:
        return (
            f"{who} over {len(seeds)} pair(s) of one teacher ({seeds_text(seeds)}). One teacher "
            "proves nothing: another one may turn it round."
        )
    if difference.pairs == 1:
        return (
            f"{who} in one pair (seed {seeds[0]}). One pair proves nothing: another seed may turn "
            "it round. Train 5 pairs or more."
        )
    span = f"over {difference.pairs} pairs ({seeds_text(seeds)})"
    if teachers > 1:
        each = f"{len(seeds) // teachers} pair(s) each"
        if difference.left_out:
            each = f"{len(seeds)} pairs in all"
        span = f"over {difference.pairs} teachers with {each}"
    if difference.mean == difference.deviation == 0:
        return f"{who} in each of {difference.pairs} pairs: nothing distinguishes the two."
    if difference.low is None or difference.high is None:
        return (
            f"{who} in each of {difference.pairs} pairs ({seeds_text(seeds)}): with no "
            "spread between the pairs there is no interval, and no verdict."
        )
    interval = f"{100 * difference.confidence:g} % interval {view.interval(difference)}"
    verdict = {
        "better": "the Student is better than the Person",
        "worse": "the Student is worse than the Person",
        "not distinguishable": "Student and Person are not distinguishable",
    }[difference.verdict]
    others = "seeds of the pair with this one teacher and this test set, not for other teachers or"
    if teachers > 1:
        others = "teachers and seeds with these training and test rows, not for other"
    more = more_pairs(difference, "pairs" if teachers == 1 else "teachers")
    return f"{who} {span}, {interval}: {verdict}.{more} The interval is for other {others} data."


def seeds_text(seeds: Sequence[int]) -> str:
    """Seeds for people: the ends of consecutive ones, else a list."""
    if list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]}–{seeds[-1]}"
    return f"seeds {', '.join(map(str, seeds))}"


def more_pairs(difference: PairedDifference, unit: str = "pairs") -> str:
    """How many pairs it would take, as a sentence, if the verdict is "not distinguishable".

    Args:
        unit: what the verdict counts: pairs, or teachers.
    """
    needed = difference.pairs_needed()
    if difference.verdict != "not distinguishable" or needed is None:
        return ""
    fewest = difference.fewest_pairs()
    return (
        f" If the true difference is what was seen, {about(needed)} {unit} would find it in four "
        f"of five experiments; the interval allows anything from {fewest} {unit} to no difference "
        "at all."
    )
