"""The paper and what was measured side by side: the cells, their records, the table."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nkd.hinton2015.experiments import Measured, Plan
from nkd.statistics import paired_difference


@dataclass(frozen=True)
class Cell:
    """One number of the section, and how it is computed from what was measured.

    Args:
        experiment: its name in the records.
        title: for people.
        paper: what the paper reports; None where it gives no number.
        needs: the experiments that it is computed from.
        value: computes it for one seed, from what each of these measured.
        less: whether less is better.
        unit: "" for a count of test errors, or " %".
    """

    experiment: str
    title: str
    paper: float | None
    needs: tuple[str, ...]
    value: Callable[..., float]
    less: bool = True
    unit: str = ""


def part_of(how: str, key: str) -> Callable[[Measured], float]:
    """A count of a student whose transfer set had only some of the classes."""
    return lambda measured: measured[how][key]


def right_of(how: str) -> Callable[[Measured], float]:
    """The percentage of the classes' test rows that are right."""

    def value(measured: Measured) -> float:
        rows = measured["rows of the classes"]
        return 100 * (rows - measured[how]["errors of the classes"]) / rows

    return value


def share_of(how: str) -> Callable[[Measured], float]:
    """Errors as a percentage of the test rows."""
    return lambda measured: 100 * measured[how]["errors"] / measured["rows"]


def gap_closed(teacher: Measured, alone: Measured, distilled: Measured) -> float:
    """Per cent of the way from the small network alone to the teacher.

    NaN if the teacher is no better.
    """
    gap = alone["errors"] - teacher["errors"]
    return 100 * (alone["errors"] - distilled["errors"]) / gap if gap > 0 else math.nan


def cells(plan: Plan) -> list[Cell]:
    """The cells of the table, except the map."""
    large, small = (
        "-".join(map(str, (784, *units, 10))) for units in (plan.teacher_units, plan.student_units)
    )
    T = f"{plan.temperature:g}"
    three, two = ("without-3",), ("only-7-and-8",)
    trained, train, test = "as trained", "training rows", "test rows"
    by_train, by_test = "bias set on training rows", "bias set on the test set"
    errors, theirs = "errors", "errors of the classes"
    main = ("teacher", "alone", "distilled")
    return [
        Cell(main[0], f"{large}, dropout, bounded weights, jitter", 67, main[:1], count),
        Cell(main[1], f"{small}, no regularisation", 146, main[1:2], count),
        Cell(main[2], f"{small}, soft targets at T = {T}", 74, main[2:], count),
        Cell(
            "gap closed", "– of the gap closed",
            100 * 72 / 79, main, gap_closed, False, " %",
        ),
        Cell("without 3", "no 3 in the transfer set", 206, three, part_of(trained, errors)),
        Cell("without 3, the threes", "– errors on threes", 133, three, part_of(trained, theirs)),
        Cell(f"without 3, {by_train}", f"– {by_train}", None, three, part_of(train, errors)),
        Cell(
            f"without 3, the threes, {by_train}",
            "– – threes right",
            None, three, right_of(train), False, " %",
        ),
        Cell(f"without 3, {by_test}", f"– {by_test}", 109, three, part_of(test, errors)),
        Cell(
            f"without 3, the threes, {by_test}",
            "– – threes right",
            98.6, three, right_of(test), False, " %",
        ),
        Cell(
            "only 7 and 8", "only 7 and 8 in the transfer set",
            47.3, two, share_of(trained), True, " %",
        ),
        Cell(f"only 7 and 8, {by_train}", f"– {by_train}", None, two, share_of(train), True, " %"),
        Cell(f"only 7 and 8, {by_test}", f"– {by_test}", 13.2, two, share_of(test), True, " %"),
    ]  # fmt: skip


def count(measured: Measured) -> float:
    """Test errors of an experiment of one network."""
    return measured["errors"]


def map_cells(plan: Plan) -> dict[tuple[int, float], Cell]:
    """The cells of the map, by width and temperature."""
    return {
        (width, T): Cell(
            f"map, {width} units, T {T:g}",
            f"{width} units, T = {T:g}",
            None,
            (f"map-{width}",),
            mean_at((T,)),
        )
        for width in plan.map
        for T in plan.temperatures
    }


def mean_at(temperatures: Sequence[float]) -> Callable[[Measured], float]:
    """The mean errors of the map at some temperatures; NaN if a network of them diverged."""

    def value(measured: Measured) -> float:
        errors = [measured["errors"][f"{T:g}"] for T in temperatures]
        return math.nan if None in errors else float(np.mean(errors))

    return value


Results = Mapping[int, Mapping[str, Measured]]
"""What was measured, by seed and experiment."""


def values_of(cell: Cell, results: Results) -> dict[int, float]:
    """The value of a cell for each seed that has all it needs, if the value is not NaN."""
    values = {
        seed: cell.value(*(by_name[name] for name in cell.needs))
        for seed, by_name in results.items()
        if all(name in by_name for name in cell.needs)
    }
    return {seed: value for seed, value in values.items() if not math.isnan(value)}


def records(plan: Plan, results: Results, details: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A record per cell that has a value: plain numbers and text, with `details` added to each."""
    found = []
    for cell in (*cells(plan), *map_cells(plan).values()):
        values = values_of(cell, results)
        if not values:
            continue
        numbers = np.array(list(values.values()))
        record: dict[str, Any] = {
            "experiment": cell.experiment,
            "title": cell.title,
            "unit": cell.unit.strip() or "test errors",
            "paper": cell.paper,
            "mean": float(numbers.mean()),
            "sd": float(numbers.std(ddof=1)) if len(numbers) > 1 else None,
            "seeds": list(values),
            "values": numbers.tolist(),
            "verdict": verdict(cell, float(numbers.mean())),
            "seconds": sum(
                results[seed][name]["seconds"] for seed in values for name in cell.needs
            ),
        }
        found.append(record | dict(details))
    return found


def verdict(cell: Cell, mean: float) -> str:
    """Whether the mean is at least as good as the paper's figure; "" where there is none."""
    if cell.paper is None:
        return ""
    behind = mean - cell.paper if cell.less else cell.paper - mean
    unit = " points" if cell.unit else ""
    return "reached" if behind <= 0 else f"missed by {behind:.1f}{unit}"


def text_of(record: Mapping[str, Any]) -> str:
    """The mean, and the standard deviation if there are several seeds."""
    unit = record["unit"] if record["unit"] == "%" else ""
    text = f"{record['mean']:.1f}"
    if record["sd"] is not None:
        text += f" ± {record['sd']:.1f}"
    return f"{text} {unit}".rstrip()


def rows_of(plan: Plan, found: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, str]]:
    """The scoreboard: experiment, paper, measured, verdict."""
    by_name = {record["experiment"]: record for record in found}
    rows = []
    for cell in cells(plan):
        record = by_name.get(cell.experiment)
        paper = "–" if cell.paper is None else f"{cell.paper:.3g}{cell.unit}"
        measured = (text_of(record), record["verdict"]) if record else ("not yet", "")
        rows.append((cell.title, paper, *measured))
    return rows


def map_rows(plan: Plan, found: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The map: a row per width with its test errors at each temperature."""
    by_name = {record["experiment"]: text_of(record) for record in found}
    grid, rows = map_cells(plan), []
    for width in plan.map:
        texts = [by_name.get(grid[width, T].experiment) for T in plan.temperatures]
        missing = "diverged" if any(texts) else "not yet"  # they are trained in one pass
        rows.append([f"{width}", *(text or missing for text in texts)])
    return rows


def sentences(plan: Plan, results: Results) -> list[str]:
    """What the map says about the paper's two claims, in words."""
    T, widths = plan.temperatures, plan.map
    small, large = min(widths), [width for width in widths if width >= 300]
    middle = [t for t in T if 2.5 <= t <= 4]
    high = [t for t in T if t >= 8]
    claims = []
    if middle and high:
        claims.append(("clearly better", [small], middle, high))
    if len(high) > 1:
        claims.append(("much the same", large, high[-1:], high[:1]))
    said = []
    for claim, chosen, ours, theirs in claims:
        for width in chosen:
            name = f"map-{width}"
            measured = [by_name[name] for by_name in results.values() if name in by_name]
            if not measured:
                continue
            a, b = ([mean_at(t)(each) for each in measured] for t in (ours, theirs))
            difference = paired_difference(a, b)
            if not difference.pairs:
                continue
            at, against = (" and ".join(f"{t:g}" for t in each) for each in (ours, theirs))
            said.append(
                f"{width} units, T = {at} against T = {against}: {difference.mean:+.1f} errors "
                f"in {difference.pairs} seed(s){interval(difference)} The paper: {claim}."
            )
    return said


def interval(difference: Any) -> str:
    """The interval and the verdict of a paired difference, as the end of a sentence."""
    if difference.low is None:
        return "; too few to tell." if difference.pairs < 2 else " each, so without an interval."
    return f", 95 % interval {difference.low:+.1f} to {difference.high:+.1f}: {difference.verdict}."


HEADINGS = ("experiment", "paper", "measured", "verdict")


def screen_tables(plan: Plan, found: Sequence[Mapping[str, Any]], title: str) -> list[Any]:
    """The scoreboard and the map for the screen."""
    from rich import box
    from rich.table import Table

    board = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    for number, heading in enumerate(HEADINGS):
        board.add_column(heading, justify="right" if number in (1, 2) else "left")
    for row in rows_of(plan, found):
        style = "red" if row[3].startswith("missed") else None
        board.add_row(*row, style=style)
    grid = Table(
        title="Test errors by units in each hidden layer and temperature",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title_justify="left",
    )
    for heading in ("units", *(f"T = {T:g}" for T in plan.temperatures)):
        grid.add_column(heading, justify="right")
    for line in map_rows(plan, found):
        grid.add_row(*line)
    return [board, grid]


def markdown(plan: Plan, found: Sequence[Mapping[str, Any]], said: Sequence[str]) -> str:
    """The scoreboard, the map and the sentences as Markdown."""

    def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
        lines = [headings, ["---"] * len(headings), *rows]
        return ["| " + " | ".join(line) + " |" for line in lines]

    headings = ["units", *(f"T = {T:g}" for T in plan.temperatures)]
    lines = [*table(HEADINGS, rows_of(plan, found)), "", *table(headings, map_rows(plan, found))]
    return "\n".join([*lines, "", *(f"- {sentence}" for sentence in said)]) + "\n"
