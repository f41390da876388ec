"""Student and Person under other conditions: on moved images, and by number of rows or labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nkd.report.divergence import arms_left_out
from nkd.report.files import finite, numbers, png
from nkd.report.screen import table_of
from nkd.report.view import COLOURS, MARKS, PERSON_MOVED, View
from nkd.statistics import (
    PairedDifference,
    deviation_of,
    mean_of,
    paired_difference,
    paired_differences,
)


class Moved:
    """Person and Student, each on images as they are and on moved ones: the fair two by two.

    Args:
        view: how the problem is shown, and which measure decides.
        dataset: its title.
        pixels: how far the images are moved at most.
        plain: that measure of "student" and "person" on the images as they are, each (seeds,).
        moved: the same on moved images.
        teachers: how many there are; with several, intervals count them and not the pairs.
    """

    def __init__(
        self,
        view: View,
        dataset: str,
        pixels: int,
        plain: Mapping[str, np.ndarray],
        moved: Mapping[str, np.ndarray],
        teachers: int = 1,
    ) -> None:
        self.view, self.dataset, self.pixels = view, dataset, pixels
        self.plain, self.moved = plain, moved

        def difference(a: np.ndarray, b: np.ndarray) -> PairedDifference:
            return paired_difference(a, b, teachers=teachers)

        self.differences = {
            "plain": difference(plain["student"], plain["person"]),
            "moved": difference(moved["student"], moved["person"]),
            "across": difference(plain["student"], moved["person"]),
        }

    def title(self) -> str:
        """What the table shows."""
        return f"With and without moved images: {self.view.noun} on {self.dataset}"

    def caption(self) -> str:
        """What the columns and the intervals mean."""
        where = ("images as they are", "moved images", "the two across")
        named = dict(zip(where, self.differences.values(), strict=True))
        return (
            f"Moved images: each is moved by up to {self.pixels} pixels in each direction, anew at "
            "each use, and the Student is told what the Teacher says about the moved image. Each "
            "interval stands for itself. Could the Person have had the moved images, too? Student "
            "on images as they are − Person on moved images: "
            f"{self.text('across')}."
            f"{arms_left_out(named, len(self.plain['person']))}"
        )

    def head(self) -> list[str]:
        """The table's columns."""
        return ["", "images as they are", "moved images"]

    def rows(self) -> list[list[str]]:
        """The table."""
        measure, both = self.view.decisive, (self.plain, self.moved)
        rows = [
            [name.capitalize(), *(measure.text(values[name]) for values in both)]
            for name in ("person", "student")
        ]
        found = map(self.text, ("plain", "moved"))
        return [*rows, ["Student − Person", *found]]

    def text(self, name: str) -> str:
        """One of the differences, with its interval and its verdict."""
        difference, view = self.differences[name], self.view
        if difference.low is None:
            return view.change(difference.mean)
        found = f"{view.change(difference.mean)} ({view.interval(difference)})"
        return f"{found}: {difference.verdict}"

    def table(self) -> Any:
        """The table, for `Screen.print`."""
        return table_of(self.title(), self.caption(), self.head(), self.rows())

    def record(self) -> dict[str, Any]:
        """All of it, as plain numbers and text."""
        named = {"images_as_they_are": self.plain, "moved_images": self.moved}
        record: dict[str, Any] = {"pixels": self.pixels, "measure": self.view.decisive.name}
        for name, values in named.items():
            record[name] = {who: numbers(each) for who, each in values.items()}
        for name, key in (
            ("plain", "student_minus_person_on_images_as_they_are"),
            ("moved", "student_minus_person_on_moved_images"),
            ("across", "student_on_images_as_they_are_minus_person_on_moved_images"),
        ):
            record[key] = self.differences[name].record()
        return record


@dataclass(frozen=True, eq=False)
class Cell:
    """The networks with one number of rows or labels: the decisive measure of each, (seeds,)."""

    number: int
    finals: Mapping[str, np.ndarray]

    @property
    def best_person(self) -> str:
        """The Person that the Student is compared with: the better one, if there are two."""
        both = [name for name in ("person", PERSON_MOVED) if name in self.finals]
        return min(both, key=lambda name: np.nan_to_num(mean_of(self.finals[name]), nan=np.inf))

    @property
    def person(self) -> np.ndarray:
        """Its values."""
        return self.finals[self.best_person]


class ByNumber:
    """Student and Person by number of rows or labels, in one family (Holm).

    Args:
        what: "rows" or "labels".
        cells: what was trained, one for each number.
        view, dataset, teachers: as for `Moved`.
    """

    def __init__(
        self, view: View, dataset: str, what: str, cells: Sequence[Cell], teachers: int = 1
    ) -> None:
        self.view, self.dataset, self.what, self.teachers = view, dataset, what, teachers
        self.cells = sorted(cells, key=lambda cell: cell.number)
        self.names = [name for name in COLOURS if name in self.cells[0].finals]
        self.compared = "the better Person" if PERSON_MOVED in self.names else "Person"
        self.pairs = len(self.cells[0].finals["student"])
        self.differences = paired_differences(
            np.array([cell.finals["student"] for cell in self.cells]),
            np.array([cell.person for cell in self.cells]),
            teachers=teachers,
        )

    def title(self) -> str:
        """What the table shows."""
        return f"By number of {self.what}: {self.view.noun} on {self.dataset}"

    def caption(self) -> str:
        """Who knows what, and what the intervals mean."""
        known = {
            "rows": "Student and Person train on so many rows, the Teacher on all.",
            "labels": "Teacher, Student and Person know the same labels, so many; the Student is "
            "also told what the Teacher says about all rows.",
        }[self.what]
        family = self.differences[0].family
        if PERSON_MOVED in self.names:
            known += " The better Person is the one with the lower mean."
        corrected = f"corrected for {family} numbers (Holm); they are " if family > 1 else ""
        others = (
            "seeds with this one Teacher and" if self.teachers == 1 else "Teachers and seeds with"
        )
        named = {
            f"{cell.number:,} {self.what}": each
            for cell, each in zip(self.cells, self.differences, strict=True)
        }
        return (
            f"{known} Mean ± standard deviation over {self.pairs} seed(s). Difference: Student − "
            f"{self.compared}; less is better. Intervals and verdicts are {corrected}for other "
            f"{others} these {self.what}, which were drawn once."
            f"{arms_left_out(named, self.pairs)}"
        )

    def head(self) -> list[str]:
        """The table's columns."""
        names = (name.capitalize() for name in self.names)
        return [self.what, *names, "difference", "interval", "verdict"]

    def rows(self) -> list[list[str]]:
        """The table: a row for each number."""
        view, rows = self.view, []
        for cell, difference in zip(self.cells, self.differences, strict=True):
            texts = [view.decisive.text(cell.finals[name]) for name in self.names]
            texts += [view.change(difference.mean), view.interval(difference)]
            rows.append([f"{cell.number:,}", *texts, difference.verdict])
        return rows

    def table(self) -> Any:
        """The table, for `Screen.print`."""
        return table_of(self.title(), self.caption(), self.head(), self.rows())

    def record(self) -> list[dict[str, Any]]:
        """A record for each number, as plain numbers and text."""
        records = []
        for cell, difference in zip(self.cells, self.differences, strict=True):
            record: dict[str, Any] = {
                self.what: cell.number,
                "student": finite(float(mean_of(cell.finals["student"]))),
                "person": finite(float(mean_of(cell.person))),
                "difference": finite(difference.mean),
                "low": difference.low,
                "high": difference.high,
                "verdict": difference.verdict,
                "confidence": difference.confidence,
                "measure": self.view.decisive.name,
                "compared_with": cell.best_person,
                "values": {name: numbers(values) for name, values in cell.finals.items()},
            }
            records.append(record)
        return records

    def draw(self, figure: Any) -> None:
        """Draw the networks by number, with bands of ± one deviation, and the difference."""
        from matplotlib.ticker import MaxNLocator, StrMethodFormatter

        left, right = figure.subplots(1, 2, sharex=True)
        numbers = [cell.number for cell in self.cells]
        for name in self.names:
            values = np.array([cell.finals[name] for cell in self.cells])
            mean, colour = mean_of(values, axis=1), COLOURS[name]
            style: dict[str, Any] = {"color": colour, "marker": MARKS[name], "markersize": 5}
            left.plot(numbers, mean, label=name.capitalize(), **style)
            if values.shape[1] > 1:
                spread = deviation_of(values, axis=1)
                band = mean - spread, mean + spread
                left.fill_between(numbers, *band, color=colour, alpha=0.15, lw=0)
        for number, difference in zip(numbers, self.differences, strict=True):
            low, high = difference.low, difference.high
            if low is not None and high is not None:
                right.plot([number] * 2, [low, high], color=COLOURS["student"], lw=2, alpha=0.5)
        means = [difference.mean for difference in self.differences]
        right.plot(numbers, means, "o", color=COLOURS["student"], markersize=6)
        right.axhline(0, color="grey", lw=1)
        left.set(title=f"test {self.view.decisive.label}", yscale="log")
        left.yaxis.set_major_locator(MaxNLocator(7))
        left.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        right.set(title=f"Student − {self.compared}, with its interval")
        right.title.set_fontsize(10)
        left.title.set_fontsize(10)
        for axes in (left, right):
            axes.set(xlabel=self.what, xscale="log")
            axes.set_xticks(numbers, [f"{number:,}" for number in numbers])
            axes.minorticks_off()
            axes.grid(alpha=0.3)
        left.legend(fontsize=8)

    def alternative(self) -> str:
        """What the picture shows, for those who cannot see it."""
        cells = zip(self.cells, self.rows(), strict=True)
        texts = (f"{row[0]} {self.what}: {', '.join(row[1:-1])}" for _, row in cells)
        return f"{self.title()}. {'; '.join(texts)}."

    def png(self) -> bytes:
        """The picture as PNG."""

        def titled(figure: Any) -> None:
            figure.suptitle(self.title(), fontsize=11)
            self.draw(figure)

        return png((10, 4.2), titled)
