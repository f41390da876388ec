"""How a problem's metrics are shown: the same on the screen, in the table and in the figure."""

import math
from dataclasses import dataclass

import numpy as np

from nkd.distillation import Classification, Problem
from nkd.statistics import PairedDifference, mean_of

PERSON_MOVED = "person on moved images"

# Okabe and Ito's colours, which the colour-blind can tell apart; the marks differ as well.
COLOURS = {
    "teacher": "#000000",
    "student": "#0072B2",
    "person": "#D55E00",
    PERSON_MOVED: "#CC79A7",
}
MARKS = {"teacher": "s", "student": "o", "person": "^", PERSON_MOVED: "v"}


@dataclass(frozen=True)
class Measure:
    """How one of a problem's metrics is shown.

    Args:
        name: its key, as in `Problem.measure`.
        short: its name in a progress line.
        label: its name in the table and the figure, with its unit.
        factor, style: the shown text is format(factor·value, style) + unit.
    """

    name: str
    short: str
    label: str
    style: str
    factor: float = 1.0
    unit: str = ""

    def text(self, values: np.ndarray | float) -> str:
        """The value, or mean ± standard deviation of several; – if all are NaN."""
        several = np.atleast_1d(values)
        several = several[~np.isnan(several)]
        if not len(several):
            return "–"
        if len(several) == 1 and several.dtype.kind == "i":
            return f"{several[0]:,}{self.unit}"
        several = several * self.factor
        text = format(several.mean(), self.style)
        if len(several) > 1:
            text += f" ± {format(several.std(ddof=1), self.style)}"
        return text + self.unit


@dataclass(frozen=True)
class View:
    """How a problem is shown: which metrics where, and which one decides between the networks.

    Args:
        line: the metrics of a progress line.
        table: the metrics of the result table.
        decisive: the metric by which Student and Person are compared; less is better.
        noun: what that metric counts, such as "test errors".
    """

    line: tuple[Measure, ...]
    table: tuple[Measure, ...]
    decisive: Measure
    noun: str

    def change(self, value: float) -> str:
        """A difference in the decisive measure, with its sign, or – if there is none."""
        return "–" if math.isnan(value) else f"{value:+{self.decisive.style}}"

    def interval(self, difference: PairedDifference) -> str:
        """The interval of a difference in the decisive measure, or – if there is none."""
        low, high = difference.low, difference.high
        if low is None or high is None:
            return "–"
        return f"{self.change(low)} to {self.change(high)}"

    def describe(self, values: dict[str, np.ndarray], members: list[int]) -> str:
        """The metrics of a progress line, as means over some of the networks."""
        return ", ".join(
            f"{measure.short} {measure.text(mean_of(values[measure.name][members]))}"
            for measure in self.line
        )


def style_for(size: float) -> str:
    """A format that shows numbers of about this size with five digits or so, as ".4f" does for 1.

    Beyond eight places before or after the point they are written with an exponent.
    """
    if not 0 < size < math.inf:
        return ".4f"
    exponent = math.floor(math.log10(size))
    return f",.{max(4 - exponent, 0)}f" if abs(exponent) < 8 else ".4e"


def view_of(problem: Problem) -> View:
    """Classes: loss and accuracy, the errors decide. Regression: RMSE and R², the RMSE decides."""
    if isinstance(problem, Classification):
        loss = Measure("loss", "loss", "loss (nats)", ".4f")
        accuracy = Measure("accuracy", "accuracy", "accuracy", ".2f", 100, " %")
        errors = Measure("errors", "errors", "errors", ",.1f")
        return View((loss, accuracy), (accuracy, errors, loss), errors, "test errors")
    unit, spread = problem.data.unit, float(problem.data.in_units(problem.data.y_test).std())
    of_unit = f" in units of {unit}" if unit else ""
    unit = f" ({unit})" if unit else ""
    loss = Measure("loss", "loss", "loss (MSE)", style_for(spread**2))
    rmse = Measure("rmse", "RMSE", f"RMSE{unit}", style_for(spread))
    mae = Measure("mae", "MAE", f"MAE{unit}", style_for(spread))
    r2 = Measure("r2", "R²", "R²", ".4f")
    return View((loss, rmse, r2), (rmse, mae, r2, loss), rmse, f"test RMSE{of_unit}")
