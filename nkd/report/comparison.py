"""Arms against the Person: the table, the map of a sweep, and their files."""

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nkd.arms import CONTROLS, Arm
from nkd.report.divergence import arms_left_out
from nkd.report.files import numbers, png
from nkd.report.screen import table_of
from nkd.report.view import View
from nkd.statistics import (
    PairedDifference,
    about,
    deviation_of,
    mean_of,
    paired_differences,
)


class Comparison:
    """Several arms, each compared with the Person pair by pair, in one family (Holm).

    Args:
        view: how the problem is shown, and which measure decides.
        dataset: its title.
        person: the Persons' value of that measure, (seeds,).
        seeds: theirs.
        arms: what else was trained.
        finals: the test metrics of all arms, each (arms, seeds); NaN where a run diverged.
        teachers: how many there are; with several, verdicts count them and not the pairs.
    """

    def __init__(
        self,
        view: View,
        dataset: str,
        person: np.ndarray,
        seeds: Sequence[int],
        arms: Sequence[Arm],
        finals: dict[str, np.ndarray],
        teachers: int = 1,
    ) -> None:
        self.view, self.dataset, self.arms, self.finals = view, dataset, arms, finals
        self.measure, self.seeds = view.decisive, list(seeds)
        self.unit = "teachers" if teachers > 1 else "pairs"
        self.differences = paired_differences(finals[self.measure.name], person, teachers=teachers)

    def title(self) -> str:
        """What the table shows."""
        return f"{len(self.arms)} arms against the Person on {self.dataset}"

    def caption(self) -> str:
        """What the columns mean."""
        pairs, most = len(self.seeds), max(difference.pairs for difference in self.differences)
        named = {arm.name: each for arm, each in zip(self.arms, self.differences, strict=True)}
        return (
            f"{self.measure.label}: mean ± standard deviation over {pairs} "
            f"seeds. Difference: arm − Person, mean over {most} {self.unit}; "
            "less is better. Intervals and verdicts are corrected for the number of arms (Holm): "
            "if no arm differed, the chance of any wrong verdict among them would be at most 5 %."
            f"{arms_left_out(named, pairs)}"
        )

    def head(self) -> list[str]:
        """The table's columns."""
        return ["arm", f"test {self.measure.label}", "difference", "interval", "verdict"]

    def rows(self) -> list[list[str]]:
        """The table: a row per arm."""
        rows = []
        for arm, values, difference in zip(
            self.arms, self.finals[self.measure.name], self.differences, strict=True
        ):
            name = f"{arm.name}: {CONTROLS[arm.name]}" if arm.name in CONTROLS else arm.name
            between = self.view.change(difference.mean), self.view.interval(difference)
            rows.append([name, self.measure.text(values), *between, verdict(difference, self.unit)])
        return rows

    def table(self) -> Any:
        """The table, for `Screen.print`."""
        return table_of(self.title(), self.caption(), self.head(), self.rows())

    def record(self) -> list[dict[str, Any]]:
        """A record per arm, as plain numbers and text."""
        return [
            {
                "arm": arm.name,
                "cell": dict(arm.cell),
                "seeds": self.seeds,
                "test": {name: numbers(values[number]) for name, values in self.finals.items()},
                "arm_minus_person": {
                    "measure": self.measure.name,
                    **difference.record(),
                    "pairs_needed": difference.pairs_needed(),
                },
            }
            for number, (arm, difference) in enumerate(
                zip(self.arms, self.differences, strict=True)
            )
        ]

    def csv(self) -> str:
        """A line per arm: what was swept, mean, deviation, gain over the Person, verdict."""
        axes = list(dict.fromkeys(key for arm in self.arms for key in arm.cell))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        name = self.measure.name
        writer.writerow(
            ["arm", *axes, f"{name}_mean", f"{name}_sd", "gain", "low", "high", "verdict"]
        )
        for arm, values, difference in zip(
            self.arms, self.finals[name], self.differences, strict=True
        ):
            low, high = difference.low, difference.high
            gains = [None if each is None else -each for each in (difference.mean, high, low)]
            numbers = [mean_of(values), deviation_of(values), *gains]
            writer.writerow(
                [
                    arm.name,
                    *(arm.cell.get(axis, "") for axis in axes),
                    *("" if each is None or math.isnan(each) else each for each in numbers),
                    difference.verdict,
                ]
            )
        return text.getvalue()

    def axes(self) -> dict[str, list[Any]]:
        """What was swept, and its values in order: rows and columns of the map."""
        swept: dict[str, list[Any]] = {}
        for arm in self.arms:
            for key, value in arm.cell.items():
                if value not in swept.setdefault(key, []):
                    swept[key].append(value)
        return swept

    def draw(self, figure: Any) -> None:
        """Draw the heat map of gains over the Person; brackets mark what is not distinguishable."""
        swept = self.axes()
        (columns, across), *rest = swept.items()
        rows, down = rest[0] if rest else ("", [None])
        gain, marks = np.full((len(down), len(across)), np.nan), {}
        for arm, difference in zip(self.arms, self.differences, strict=True):
            if not arm.cell:
                continue
            place = down.index(arm.cell.get(rows)), across.index(arm.cell[columns])
            gain[place] = -difference.mean
            text = self.view.change(gain[place])
            clear = difference.verdict in ("better", "worse")
            marks[place] = text if clear or not difference.pairs else f"({text})"
        axes = figure.subplots()
        most = np.abs(gain[~np.isnan(gain)]).max(initial=0) or 1.0
        image = axes.imshow(gain, cmap="PuOr", vmin=-most, vmax=most, aspect="auto")
        for (row, column), text in marks.items():
            dark = abs(gain[row, column]) > 0.6 * most
            axes.text(
                column, row, text, ha="center", va="center", color="white" if dark else "black"
            )
        axes.set_xticks(range(len(across)), list(map(label, across)))
        axes.set_xlabel(columns)
        if rows:
            axes.set_yticks(range(len(down)), list(map(label, down)))
            axes.set_ylabel(rows)
        else:
            axes.set_yticks([])
        figure.colorbar(image, label=f"gain over the Person, {self.view.noun}")
        axes.set_title(
            "Gain over the Person (positive: the arm is better); in brackets: not distinguishable",
            fontsize=10,
        )

    def size(self) -> tuple[float, float]:
        """Width and height of the map in inches."""
        across, *down = map(len, self.axes().values())
        return 3.5 + 1.1 * across, 2.2 + 0.6 * (down[0] if down else 1)

    def map_png(self) -> bytes:
        """The map as PNG."""
        return png(self.size(), self.draw)


def verdict(difference: PairedDifference, unit: str) -> str:
    """The verdict, and if it is "not distinguishable", how many pairs or teachers would tell."""
    needed = difference.pairs_needed()
    if difference.verdict != "not distinguishable" or needed is None:
        return difference.verdict
    return f"{difference.verdict} ({about(needed)} {unit} would tell)"


def label(value: Any) -> str:
    """A swept value: 1 and 0.5, not 1.0; or a name."""
    return f"{value:g}" if isinstance(value, float) else str(value)
