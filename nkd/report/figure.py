"""report.png: the learning curves, and what tells the story of the problem."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from nkd.distillation import Classification
from nkd.losses import softmax
from nkd.report.results import Results
from nkd.report.view import Measure

# Okabe and Ito's colours, which the colour-blind can tell apart; the marks differ as well.
COLOURS = {"teacher": "#000000", "student": "#0072B2", "person": "#D55E00"}
MARKS = {"teacher": "s", "student": "o", "person": "^"}
DIGITS = 4


def report_png(results: Results) -> bytes:
    """The picture as PNG: title, sentence, curves, and the problem's own part below."""
    figure = Figure(figsize=(11, 10), dpi=110, layout="constrained")
    figure.suptitle(
        f"Teacher, Student and Person on {results.problem.data.title}",
        fontsize=14,
        fontweight="bold",
    )
    curves, below = np.ravel(np.asarray(figure.subfigures(2, 1, height_ratios=(1, 1.2))))
    for axes, measure in zip(curves.subplots(1, 2), results.view.line[-2:], strict=True):
        learning_curves(axes, results, measure)
    if isinstance(results.problem, Classification):
        doubtful_digits(below, results)
    else:
        predicted_against_true(below, results)
    figure.supxlabel(results.sentence(), fontsize=9, wrap=True)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def learning_curves(axes: Axes, results: Results, measure: Measure) -> None:
    """One metric over the epochs: test solid with a band of ± one deviation, training dashed."""
    factor = measure.factor
    for name, (training, members) in results.networks.items():
        epochs = [epoch.number for epoch in training.history]
        test = np.array([epoch.test[measure.name][members] for epoch in training.history]) * factor
        mean = test.mean(axis=1)
        axes.plot(epochs, mean, color=COLOURS[name], label=name.capitalize())
        if test.shape[1] > 1:
            spread = test.std(axis=1, ddof=1)
            axes.fill_between(
                epochs, mean - spread, mean + spread, color=COLOURS[name], alpha=0.15, lw=0
            )
        trained = {
            epoch.number: epoch.train[measure.name][members].mean() * factor
            for epoch in training.history
            if epoch.train is not None
        }
        axes.plot(
            list(trained.keys()),
            list(trained.values()),
            color=COLOURS[name],
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


def doubtful_digits(figure: SubFigure, results: Results) -> None:
    """The test digits on which the Teacher is least sure, with all three networks' probabilities.

    All are softened with the Student's temperature, as in the soft loss.
    """
    data, T = results.problem.data, results.networks["student"][0].runs[0].temperature
    probabilities = {
        name: softmax(training.outputs(training.test_inputs)[members.start], T)
        for name, (training, members) in results.networks.items()
    }
    p = probabilities["teacher"]
    entropy = -(p * np.log(np.maximum(p, np.finfo(p.dtype).tiny))).sum(axis=-1)
    rows = np.argsort(-entropy, kind="stable")[:DIGITS]
    seed = results.seeds[0]
    figure.suptitle(
        f"The {DIGITS} test digits on which the Teacher is least sure; probabilities softened "
        f"with T = {T:g} (Student and Person of seed {seed})",
        fontsize=10,
    )
    axes = figure.subplots(2, DIGITS, height_ratios=(1, 1.1), sharey="row")
    classes = np.arange(p.shape[-1])
    side = round(data.x_test.shape[-1] ** 0.5)
    for column, row in enumerate(rows):
        image, bars = axes[:, column]
        image.imshow(data.x_test[row].reshape(side, side), cmap="gray_r")
        image.set_title(f"label {data.y_test[row]}", fontsize=10)
        image.axis("off")
        bars.bar(classes, p[row], color="lightgrey", edgecolor="black", lw=0.8, label="Teacher")
        for name, shift in (("student", -0.15), ("person", 0.15)):
            bars.plot(
                classes + shift,
                probabilities[name][row],
                MARKS[name],
                color=COLOURS[name],
                markersize=5,
                label=name.capitalize(),
            )
        bars.set_xticks(classes)
        bars.grid(axis="y", alpha=0.3)
    axes[1, 0].set_ylabel("probability")
    axes[1, 0].legend(fontsize=8)


def predicted_against_true(figure: SubFigure, results: Results) -> None:
    """Each network's predictions of the test rows against the truth; the diagonal is perfect."""
    data = results.problem.data
    axes = figure.subplots(1, 3, sharex=True, sharey=True)
    unit = f" ({data.unit})" if data.unit else ""
    truth = data.y_test[:, 0]
    ends = float(truth.min()), float(truth.max())
    for plot, (name, (training, members)) in zip(axes, results.networks.items(), strict=True):
        outputs = training.outputs(training.test_inputs)[members.start, :, 0]
        plot.hexbin(truth, outputs, gridsize=45, bins="log", cmap="cividis", mincnt=1)
        plot.plot(ends, ends, color=COLOURS["person"], lw=1)
        decisive = results.view.decisive
        value = results.final(name)[decisive.name][0]
        seed = training.runs[members][0].seed
        plot.set_title(
            f"{name.capitalize()} (seed {seed}): RMSE {decisive.text(value)}", fontsize=10
        )
        plot.set_xlabel(f"true{unit}")
    axes[0].set_ylabel(f"predicted{unit}")
    floor = f"; no model can be below RMSE {data.noise_floor:g}" if data.noise_floor else ""
    figure.suptitle(f"Predicted against true, {len(truth):,} test rows{floor}", fontsize=10)
