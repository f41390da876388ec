"""The pictures: report.png as a whole, and the panels that report.html shows one by one."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from nkd import metrics
from nkd.distillation import Classification
from nkd.losses import softmax
from nkd.report.files import png
from nkd.report.results import Results, left_of
from nkd.report.view import COLOURS, MARKS, Measure

SHOWN_ROWS = 4


def report_png(results: Results) -> bytes:
    """The picture as PNG: title, sentence, curves, and the problem's own part below."""
    return png((11, 10), partial(draw_report, results=results))


def draw_report(figure: Figure, results: Results) -> None:
    """What report.png shows."""
    figure.suptitle(
        plain(f"Teacher, Student and Person on {results.problem.data.title}"),
        fontsize=14,
        fontweight="bold",
    )
    curves, below = np.ravel(np.asarray(figure.subfigures(2, 1, height_ratios=(1, 1.2))))
    for axes, measure in zip(curves.subplots(1, 2), results.view.line[-2:], strict=True):
        learning_curves(axes, results, measure)
    if isinstance(results.problem, Classification):
        doubtful_rows(below, results)
    else:
        predicted_against_true(below, results)
    figure.supxlabel(plain(results.sentence()), fontsize=9, wrap=True)


def learning_curves(axes: Axes, results: Results, measure: Measure) -> None:
    """One metric over the epochs: test solid, with a band of ± one deviation; training dashed.

    Networks that diverged are left out from the first epoch on.
    """
    factor = measure.factor
    for name, contender in results.networks.items():
        training, colour = contender.training, COLOURS[name]
        if training is None:
            final = contender.final[measure.name].mean() * factor
            axes.axhline(final, color=colour, label=f"{name.capitalize()}, as given")
            continue
        members = contender.members_there
        if not members:
            continue
        history = [epoch for epoch in training.history if epoch.test]
        epochs = [epoch.number for epoch in history]
        test = np.array([epoch.test[measure.name][members] for epoch in history]) * factor
        mean = test.mean(axis=1)
        axes.plot(epochs, mean, color=colour, label=name.capitalize())
        if test.shape[1] > 1:
            spread = test.std(axis=1, ddof=1)
            axes.fill_between(epochs, mean - spread, mean + spread, color=colour, alpha=0.15, lw=0)
        trained = {
            epoch.number: epoch.train[measure.name][members].mean() * factor
            for epoch in training.history
            if epoch.train is not None
        }
        axes.plot(
            list(trained.keys()),
            list(trained.values()),
            color=colour,
            marker=MARKS[name],
            markersize=4,
            linestyle="--",
            linewidth=1,
        )
    axes.set(xlabel="epoch", title=f"{measure.label}{measure.unit and f' in{measure.unit}'}")
    axes.plot([], [], color="grey", label="on test rows")
    axes.plot([], [], color="grey", linestyle="--", linewidth=1, label="on training rows")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def softened(results: Results) -> tuple[float, dict[str, np.ndarray]]:
    """The Student's temperature, and each shown network's probabilities at it (N, C)."""
    T = results.networks["student"].runs[0].temperature
    return T, {name: softmax(results.outputs[name][n], T) for name, n in results.shown().items()}


def noun(results: Results) -> str:
    """What a row of the data is."""
    return "row" if results.problem.data.image_shape is None else "image"


def doubtful_rows(figure: SubFigure, results: Results) -> None:
    """The test rows on which the Teacher is least sure, with all three networks' probabilities.

    All are softened with the Student's temperature, as in the soft loss.
    """
    T, probabilities = softened(results)
    p = probabilities["teacher"]
    entropy = -(p * np.log(np.maximum(p, np.finfo(p.dtype).tiny))).sum(axis=-1)
    rows = np.argsort(-entropy, kind="stable")[:SHOWN_ROWS]
    figure.suptitle(
        f"The {len(rows)} test {noun(results)}s on which the Teacher is least sure; probabilities "
        f"softened with T = {T:g} ({results.shown_seeds()})",
        fontsize=10,
    )
    panels = example_panels(figure, results, len(rows))
    for row, (image, bars) in zip(rows, panels, strict=True):
        example(image, bars, results, row, probabilities)
    first = panels[0][1]
    first.set_ylabel("probability")
    first.legend(fontsize=8)


def example_panels(
    figure: Figure | SubFigure, results: Results, columns: int = 1
) -> list[tuple[Axes | None, Axes]]:
    """For each row shown, the axes of its image (None without images) and of its bars."""
    if results.problem.data.image_shape is None:
        bars = figure.subplots(1, columns, sharey="row", squeeze=False)
        return [(None, each) for each in bars[0]]
    ratios = {"height_ratios": (1, 1.1)}
    axes = figure.subplots(2, columns, sharey="row", squeeze=False, gridspec_kw=ratios)
    return [(image, bars) for image, bars in axes.T]


def example(
    image: Axes | None, bars: Axes, results: Results, row: int, probabilities: dict[str, np.ndarray]
) -> None:
    """One test row, and what the three networks make of it (bars and marks)."""
    data = results.problem.data
    classes = np.arange(results.problem.outputs)
    names = class_names(results)
    title = f"label {names[data.y_test[row]]}"
    if image is not None and data.image_shape is not None:
        image.imshow(data.x_test[row].reshape(data.image_shape), cmap="gray_r")
        image.set_title(title, fontsize=10)
        image.axis("off")
    else:
        bars.set_title(f"row {row}, {title}", fontsize=10)
    p = probabilities["teacher"][row]
    bars.bar(classes, p, color="lightgrey", edgecolor="black", lw=0.8, label="Teacher")
    for name, shift in (("student", -0.15), ("person", 0.15)):
        if name not in probabilities:
            continue
        bars.plot(
            classes + shift,
            probabilities[name][row],
            MARKS[name],
            color=COLOURS[name],
            markersize=5,
            label=name.capitalize(),
        )
    bars.set_xticks(classes, names, rotation=slope(names))
    bars.grid(axis="y", alpha=0.3)


def reliability(diagram: Axes, shares: Axes, results: Results) -> None:
    """Accuracy against confidence, bin by bin, all seeds' rows together; the diagonal is perfect.

    Below it, the share of the rows that each bin holds.
    """
    y = results.problem.data.y_test
    diagram.plot((0, 1), (0, 1), color="grey", lw=1, label="perfect")
    for name, outputs in results.outputs.items():
        z = left_of(outputs)
        if not len(z):
            continue
        together = z.reshape(1, -1, z.shape[-1])
        bins = [values[0] for values in metrics.calibration(together, np.tile(y, len(z)))]
        count, confidence, accuracy = bins
        filled = count > 0
        style: dict[str, Any] = {"color": COLOURS[name], "marker": MARKS[name], "ms": 4, "lw": 1}
        diagram.plot(confidence[filled], accuracy[filled], label=name.capitalize(), **style)
        shares.plot(confidence[filled], count[filled] / count.sum(), **style)
    diagram.set(ylabel="share that is right", xlim=(0, 1.02), ylim=(-0.02, 1.02))
    shares.set(xlabel="confidence", ylabel="share of rows", yscale="log", xlim=(0, 1.02))
    for axes in (diagram, shares):
        axes.grid(alpha=0.3)
    diagram.legend(fontsize=8)


def plain(text: str) -> str:
    """Text that Matplotlib writes as it is, without looking for formulas in it."""
    return text.replace("$", r"\$")


def class_names(results: Results) -> list[str]:
    """The names of all classes, for Matplotlib."""
    data = results.problem.data
    return [plain(data.class_name(label)) for label in range(results.problem.outputs)]


def slope(names: Sequence[str]) -> int:
    """The angle of names below an axis: they are upright only if they are short."""
    return 45 if max(map(len, names)) > 3 else 0


def mistakes(matrix: np.ndarray) -> np.ndarray:
    """A confusion matrix (C, C) without its diagonal."""
    return np.where(np.eye(len(matrix), dtype=bool), 0, matrix)


def confusion(axes: Axes, matrix: np.ndarray, most: float, names: Sequence[str]) -> None:
    """A confusion matrix (C, C) in numbers; colours, from 0 to `most`, show mistakes only.

    Args:
        names: of the classes.
    """
    wrong, classes = mistakes(matrix), range(len(matrix))
    axes.imshow(wrong, cmap="Blues", vmin=0, vmax=max(most, 1))
    for i, j in np.argwhere(matrix > 0):
        axes.text(
            j,
            i,
            f"{matrix[i, j]:.1f}".removesuffix(".0")
            if matrix[i, j] < 100
            else f"{matrix[i, j]:.0f}",
            ha="center",
            va="center",
            fontsize=7,
            fontweight="bold" if i == j else "normal",
            color="white" if wrong[i, j] > 0.6 * most else "black",
        )
    axes.set_xticks(classes, names, rotation=slope(names))
    axes.set_yticks(classes, names)
    axes.set(xlabel="predicted", ylabel="label")


def predicted_against_true(figure: SubFigure, results: Results) -> None:
    """Each network's predictions of the test rows against the truth; the diagonal is perfect."""
    data = results.problem.data
    axes = figure.subplots(1, 3, sharex=True, sharey=True)
    for plot, name in zip(axes, results.networks, strict=True):
        prediction(plot, results, name)
        plot.label_outer()
    floor = f"; no model can be below RMSE {data.noise_floor:g}" if data.noise_floor else ""
    figure.suptitle(f"Predicted against true, {len(data.y_test):,} test rows{floor}", fontsize=10)


def prediction(plot: Axes, results: Results, name: str) -> None:
    """One network's predictions against the truth, those of the first pair."""
    data = results.problem.data
    unit = f" ({data.unit})" if data.unit else ""
    truth = data.in_units(data.y_test)[:, 0]
    numbers = results.shown()
    shown = {who: data.in_units(results.outputs[who][n])[:, 0] for who, n in numbers.items()}
    ends = float(truth.min()), float(truth.max())
    title = f"{name.capitalize()}: diverged"
    if name in shown:
        plot.hexbin(truth, shown[name], gridsize=45, bins="log", cmap="cividis", mincnt=1)
        decisive, runs = results.view.decisive, results.networks[name].runs
        value = decisive.text(results.final(name)[decisive.name][numbers[name]])
        seed = f" (seed {runs[numbers[name]].seed})" if runs else ""
        title = f"{name.capitalize()}{seed}: RMSE {value}"
    plot.plot(ends, ends, color=COLOURS["person"], lw=1)
    plot.set_title(title, fontsize=10)
    both = [end(each) for each in shown.values() for end in (np.min, np.max)]
    plot.set_ylim(float(min(both)), float(max(both)))  # one scale for all three
    plot.set(xlabel=f"true{unit}", ylabel=f"predicted{unit}")
