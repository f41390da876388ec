"""report.html: the whole story of a run on one page that needs nothing else."""

import base64
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from html import escape
from importlib import resources
from string import Template
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from nkd import metrics
from nkd.distillation import Classification
from nkd.report import figure as panels
from nkd.report.comparison import Comparison
from nkd.report.conditions import ByNumber, Moved
from nkd.report.results import Contender, Results, left_of, more_pairs
from nkd.report.view import Measure
from nkd.statistics import mean_of, units

Section = tuple[str, str]
"""A title, which is plain text, and its HTML."""

SHOWN_ROWS = 8


def report_html(
    results: Results,
    configuration: Mapping[str, Any],
) -> bytes:
    """The page: the verdict in plain words, then the numbers and the pictures behind it.

    It is one file: styles and pictures are included, nothing is loaded and no script runs.

    Args:
        results: of the run.
        configuration: what configuration.json holds.
    """
    data = results.problem.data
    parts = [table_section(results), curves_section(results)]
    if isinstance(results.problem, Classification):
        parts += [learned_section(results), calibration_section(results)]
        parts += [confusion_section(results), disagreement_section(results)]
    else:
        parts.append(prediction_section(results))
    if results.moved is not None:
        parts.insert(1, moved_section(results.moved))
    parts += [count_section(each) for each in results.counts.values()]
    if results.comparison is not None:
        parts.append(comparison_section(results.comparison))
    if results.diverged:
        parts.insert(1, diverged_section(results))
    parts.append(repeat_section(configuration))
    answer, finding, sureness = verdict(results)
    notice = data.notice or (
        f"Not a benchmark: these are the embedded stand-in data, {data.title}."
        if data.stand_in
        else ""
    )
    page = Template(resources.files("nkd.report").joinpath("page.html").read_text("utf-8"))
    return page.substitute(
        title=escape(f"{answer} Distillation on {data.title}"),
        dataset=escape(data.title),
        notice=f'<p class="notice">{escape(notice)}</p>' if notice else "",
        answer=escape(answer),
        finding=escape(finding),
        sureness=escape(sureness),
        cards="\n".join(cards(results)),
        sections="\n".join(
            f'<section id="section-{number}">\n<h2>{escape(title)}</h2>\n{html}\n</section>'
            for number, (title, html) in enumerate(parts, 1)
        ),
    ).encode()


# The first screen: in words for someone who has never heard of distillation


def verdict(results: Results) -> tuple[str, str, str]:
    """The answer, what was found, and how sure that is: three texts."""
    difference, view, data = results.difference, results.view, results.problem.data
    n, classes = difference.pairs, isinstance(results.problem, Classification)
    answer = {
        "better": "Yes: the teacher helped.",
        "worse": "No: with the teacher, the small network came out worse.",
        "not distinguishable": "Not clear: no effect of the teacher can be told from chance.",
        "none": "No verdict: these numbers do not allow one.",
    }[difference.verdict]

    there, mean = results.paired(), {}
    for name in results.networks:
        values = results.final(name)[view.decisive.name]
        if name != "teacher":
            values = units(np.where(there, values, np.nan), results.teachers)
        mean[name] = float(mean_of(values))
    text = {name: format(value, view.decisive.style) for name, value in mean.items()}
    unit = f", in units of {data.unit}" if data.unit else ""
    made = "made {} mistakes" if classes else f"had a typical error (RMSE{unit}) of {{}}"
    big = "a big one, its teacher," if results.networks["teacher"].training else "its teacher"
    if not n:
        return (
            answer,
            "Of no pair of small networks are both left to compare: in each, one or both diverged.",
            results.left_out(),
        )
    finding = (
        f"A small network that also learned from the answers of {big} "
        f"{made.format(text['student'])} on {len(data.x_test):,} test examples that no network "
        f"had trained on. The same small network without a teacher: {text['person']}. So it is "
        f"{amount(results, difference.mean)} with the teacher"
        f"{f' (means of {there.sum()} networks each)' if there.sum() > 1 else ''}. "
        f"The teacher itself: {text['teacher']}."
    )
    if results.note:
        finding += f" {results.note}"
    elif difference.verdict == "better" and mean["teacher"] < mean["person"]:
        closed = difference.mean / (mean["teacher"] - mean["person"])
        finding += f" The small network came {100 * closed:.0f} % of the way to it."

    several, all_pairs, left_out = results.teachers > 1, int(there.sum()), results.left_out()
    if n == 1:
        what, other = (
            ("teacher", "one")
            if several and all_pairs > 1
            else ("pair", "start of the same networks")
        )
        sureness = (
            f"How sure? Not at all: one {what} proves nothing, since another {other} may turn the "
            f"result round. Repeat with 5 {what}s or more."
        )
        return answer, finding, f"{sureness} {left_out}".rstrip()
    sureness = (
        f"How sure? There were {all_pairs} pairs of small networks, each pair with its own random "
        "start; within a pair, both started alike, and only one had the teacher. "
    )
    if several:
        sureness += f"They had {n} different teachers, and what counts is how these differ. "
    if difference.low is None or difference.high is None:
        sureness += (
            f"All {n} pairs differ by exactly the same amount, so they do not show how much of it "
            "is chance."
        )
    else:
        zero = (
            "no difference at all is possible too."
            if difference.verdict == "not distinguishable"
            else "chance alone is an unlikely explanation."
        )
        sureness += (
            "From how much they vary, and if they do so roughly as a normal distribution does, the "
            "true difference is between "
            f"{amount(results, difference.low)} and {amount(results, difference.high)} "
            f"({100 * difference.confidence:g} % confidence): {zero}"
            f"{more_pairs(difference, 'teachers' if several else 'pairs')}"
        )
    about = "these data" if several else "this teacher and these data"
    sureness += f" This is about {about}, not others."
    return answer, finding, f"{sureness} {left_out}".rstrip()


def amount(results: Results, value: float) -> str:
    """A difference of the decisive measure, as "13.2 fewer" or "0.0123 more"."""
    less = "fewer" if isinstance(results.problem, Classification) else "less"
    return f"{abs(value):{results.view.decisive.style}} {less if value < 0 else 'more'}"


def cards(results: Results) -> Iterable[str]:
    """Who Teacher, Student and Person are, and how good they are."""
    size = {name: contender.parameters or 0 for name, contender in results.networks.items()}
    student = results.networks["student"].runs[0]
    ratio = size["teacher"] / size["student"]
    truth = {name: truth_of(results, contender) for name, contender in results.networks.items()}
    smaller = f", {ratio:.3g} times smaller than the Teacher" if ratio > 1 else ""
    big = (
        f"The big network: {size['teacher']:,} adjustable numbers. It learned from "
        f"{truth['teacher']}."
    )
    who = {
        "teacher": big if size["teacher"] else "Only its answers are known here.",
        "student": f"The small network: {size['student']:,} adjustable numbers{smaller}. It "
        f"learned from {truth['student']} and from the Teacher's answers (weight "
        f"{student.alpha:g}).",
        "person": f"The same small network without a teacher: it learned from {truth['person']} "
        "alone.",
    }
    decisive, *others = dict.fromkeys((results.view.decisive, results.view.table[0]))
    if not others:
        others = [measure for measure in results.view.line if measure is not decisive][-1:]
    for name, text in who.items():
        values = results.final(name)
        also = ", ".join(f"{other.label} {other.text(values[other.name])}" for other in others)
        yield (
            f'<div class="card {name}"><h3>{name.capitalize()}</h3>'
            f'<p class="value">{escape(decisive.text(values[decisive.name]))}</p>'
            f'<p class="soft">{escape(f"{results.view.noun}; {also}")}</p>'
            f"<p>{escape(text)}</p></div>"
        )


def truth_of(results: Results, contender: Contender) -> str:
    """What one of the three knew of the truth, in words."""
    text = "true labels" if isinstance(results.problem, Classification) else "true values"
    training = contender.training
    if training is None:
        return f"the {text}"
    labelled, rows = contender.runs[0].labelled, len(training.train_inputs)
    known, moved = rows if labelled is None else int(labelled.sum()), training.settings.jitter
    some = known < len(results.problem.data.x_train)
    return f"{f'{known:,}' if some else 'the'} {text}{' on moved images' if moved else ''}"


# The sections


def table_section(results: Results) -> Section:
    """The result table, and the verdict as the screen has it."""
    head = ["", *(name.capitalize() for name in results.networks)]
    head += ["Student / Teacher", "Person / Teacher"]
    body = [[label, *texts] for label, texts in results.rows()]
    return "The numbers", (
        f"{table(head, body)}\n<p class='soft'>{escape(results.caption())}</p>\n"
        f"<p>{escape(results.sentence())}</p>"
    )


def diverged_section(results: Results) -> Section:
    """Which runs diverged, of all that were trained."""
    texts = [f"{what.capitalize()}: {said}." for what, said in sorted(results.diverged.items())]
    return "What diverged", "\n".join(
        [
            "<p>The loss of these was no longer a finite number. They have no part in any mean, "
            "verdict or picture, which are about the others.</p>",
            *(f"<p class='soft'>{escape(text)}</p>" for text in texts),
        ]
    )


def moved_section(moved: Moved) -> Section:
    """Person and Student, each with and without moved images."""
    return "Could the small network have done it alone?", (
        "<p>A small network can be trained on moved images itself. Here are both small networks, "
        f"with and without them.</p>\n{table(moved.head(), moved.rows())}\n"
        f"<p class='soft'>{escape(moved.caption())}</p>"
    )


def count_section(counts: ByNumber) -> Section:
    """Student and Person by number of rows or labels."""
    drawn = picture((9.5, 4.0), counts.draw, counts.alternative())
    return f"By number of {counts.what}", (
        f"{drawn}\n{table(counts.head(), counts.rows())}\n"
        f"<p class='soft'>{escape(counts.caption())}</p>"
    )


def curves_section(results: Results) -> Section:
    """Learning curves with bands over the seeds."""
    pictures = []
    for measure in results.view.line[-2:]:
        ends = (
            f"{name.capitalize()} {measure.text(results.final(name)[measure.name])}"
            for name in results.networks
        )
        pictures.append(
            picture(
                (5.2, 3.8),
                partial(draw_curves, results=results, measure=measure),
                f"Curves of {measure.label} over the epochs; at the end, on the test rows: "
                f"{', '.join(ends)}.",
            )
        )
    seeds = len(results.seeds)
    band = f" Bands: ± one standard deviation over {seeds} seeds." if seeds > 1 else ""
    text = f"How the networks got better while they learned.{band} What counts is the last epoch."
    return "Learning curves", f"<p>{text}</p>\n{grid(pictures)}"


def draw_curves(figure: Figure, results: Results, measure: Measure) -> None:
    """One metric over the epochs."""
    panels.learning_curves(figure.subplots(), results, measure)


def learned_section(results: Results) -> Section:
    """What the Student learned from its Teacher, next to the Person, who never met it."""
    wanted = (
        Measure("agreement", "", "same answer as the Teacher", ".2f", 100, " %"),
        Measure("agreement_on_mistakes", "", "… where the Teacher is wrong", ".1f", 100, " %"),
        Measure("divergence", "", "distance from its probabilities (KL, nats)", ".4f"),
        Measure("calibration_error", "", "expected calibration error", ".2f", 100, " %"),
    )
    learned = {name: results.learned(name) for name in results.networks}
    rows = []
    for measure in wanted:
        texts = [measure.text(values[measure.name]) for values in learned.values()]
        if measure.name != "calibration_error":
            texts[0] = "–"
        rows.append([measure.label, *texts])
    loss = results.view.table[-1]
    rows.append(
        ["loss on the labels (NLL, nats)"]
        + [loss.text(results.final(name)[loss.name]) for name in results.networks]
    )
    text = (
        "Right answers can be learned from the labels. That a network repeats the Teacher's "
        "mistakes more often than the Person does, or is closer to its probabilities, it has from "
        "the Teacher. All on the test rows, at temperature 1."
    )
    head = ["", *(name.capitalize() for name in results.networks)]
    parts = [f"<p>{text}</p>", table(head, rows)]
    if splits_of(results):
        parts += [
            "<p>What the Teacher's answers pull at, while the Student learns: the probability of "
            "the right class, and how the rest is shared among the other classes (Zhao et al. "
            "2022). The first is little more than how sure the Teacher is; the second is what only "
            "it can tell.</p>",
            grid(
                [
                    picture(
                        (5.4, 3.6),
                        partial(draw_split, results=results),
                        "The lengths of the two parts of the soft gradient over the epochs, mean "
                        "over training rows and Students.",
                    )
                ],
                "one",
            ),
        ]
    return "What the Student learned", "\n".join(parts)


def splits_of(results: Results) -> dict[int, np.ndarray]:
    """The two parts of the Students' soft gradient after each epoch in which they were measured."""
    student = results.networks["student"]
    return {
        epoch.number: np.array(epoch.split)[:, student.members_there]
        for epoch in (student.training.history if student.training else [])
        if epoch.split is not None and student.there
    }


def draw_split(figure: Figure, results: Results) -> None:
    """The two parts of the Students' soft gradient over the epochs."""
    axes, reported = figure.subplots(), splits_of(results)
    for part, label, mark in ((0, "right class", "o"), (1, "other classes", "^")):
        axes.plot(
            list(reported),
            [split[part].mean() for split in reported.values()],
            marker=mark,
            color=("#0072B2", "#D55E00")[part],
            label=label,
        )
    axes.set(xlabel="epoch", ylabel="length of the gradient, per row")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def calibration_section(results: Results) -> Section:
    """Whether a network is right as often as it says."""
    percent = Measure("calibration_error", "", "", ".2f", 100, "\u00a0%")
    errors = ", ".join(
        f"{name.capitalize()} {percent.text(mean_of(results.learned(name)[percent.name]))}"
        for name in results.networks
    )
    drawn = picture(
        (5.4, 5.0),
        partial(draw_reliability, results=results),
        f"Reliability diagram. Expected calibration error: {errors}.",
        caption=f"Expected calibration error: {errors}",
    )
    text = (
        "Is a network right as often as it is sure? On the diagonal it is; below it, it is surer "
        "than it should be. A point stands for all test rows of similar confidence (15 bins); "
        "below, how many rows those are: few rows make a rough point."
    )
    return "Calibration", f"<p>{text}</p>\n{grid([drawn], 'one')}"


def draw_reliability(figure: Figure, results: Results) -> None:
    """The diagram, and below it how many rows its points stand for."""
    diagram, shares = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    panels.reliability(diagram, shares, results)


def confusion_section(results: Results) -> Section:
    """Teacher and Student side by side: which classes they mistake for which."""
    y = results.problem.data.y_test
    matrices = {
        name: metrics.confusion(z, y).mean(axis=0)
        for name in ("teacher", "student")
        if len(z := left_of(results.outputs[name]))
    }
    most = max(panels.mistakes(matrix).max() for matrix in matrices.values())
    names = panels.class_names(results)
    pictures = [
        picture(
            (4.8, 4.9),
            partial(draw_confusion, name=name, matrix=matrix, most=most, names=names),
            f"Confusion matrix of the {name.capitalize()}: test rows by label and by prediction; "
            f"{panels.mistakes(matrix).sum():,.1f} are off the diagonal.",
        )
        for name, matrix in matrices.items()
    ]
    text = (
        "How many test rows of each label were taken for which class (mean over the seeds). Off "
        "the diagonal are the mistakes; the darker, the more."
    )
    return "Mistakes of Teacher and Student side by side", f"<p>{text}</p>\n{grid(pictures)}"


def draw_confusion(
    figure: Figure, name: str, matrix: np.ndarray, most: float, names: Sequence[str]
) -> None:
    """One network's confusion matrix."""
    axes = figure.subplots()
    panels.confusion(axes, matrix, most, names)
    axes.set_title(name.capitalize())


def disagreement_section(results: Results) -> Section:
    """The rows on which the three networks of the first seed do not agree."""
    title, (T, probabilities) = "Where they disagree", panels.softened(results)
    if not results.paired().any():
        return title, "<p>Of no pair are both networks left.</p>"
    answers = np.array([p.argmax(axis=-1) for p in probabilities.values()])
    differ = np.flatnonzero((answers != answers[0]).any(axis=0))
    of = f"{answers.shape[1]:,} test rows (seed {results.seeds[results.shown()['student']]})"
    if not len(differ):
        return title, f"<p>Teacher, Student and Person agree on all {of}.</p>"
    # The total variation distance: how far the teacher changed this small network's mind.
    changed = abs(probabilities["student"] - probabilities["person"]).sum(axis=-1) / 2
    rows = differ[np.argsort(-changed[differ], kind="stable")][:SHOWN_ROWS]
    pictures, called = [], results.problem.data.class_name
    for row in rows:
        read = {name: called(p[row].argmax()) for name, p in probabilities.items()}
        said = ", ".join(f"{name.capitalize()} {answer}" for name, answer in read.items())
        label = called(results.problem.data.y_test[row])
        pictures.append(
            picture(
                (2.6, 3.5),
                partial(draw_example, results=results, row=row, probabilities=probabilities),
                f"Test {panels.noun(results)} {row}, label {label}; taken for: {said}.",
                caption=said,
            )
        )
    text = (
        f"On {len(differ):,} of {of}, the three do not give the same answer. Shown: the "
        f"{len(rows)} on which Student and Person differ most. Grey bars: the Teacher's "
        f"probabilities; blue dots: the Student's; orange triangles: the Person's; all softened "
        f"with T = {T:g}, as the Student saw the Teacher's."
    )
    return title, f"<p>{escape(text)}</p>\n{grid(pictures, 'pictures examples')}"


def draw_example(
    figure: Figure, results: Results, row: int, probabilities: dict[str, np.ndarray]
) -> None:
    """A row's image, if it is one, above its bars."""
    ((image, bars),) = panels.example_panels(figure, results)
    panels.example(image, bars, results, row, probabilities)
    bars.set_ylim(0, 1)


def prediction_section(results: Results) -> Section:
    """Predicted against true, one picture for each of the three."""
    decisive = results.view.decisive
    pictures = [
        picture(
            (4.2, 4.0),
            partial(draw_prediction, results=results, name=name),
            f"Predicted against true values of the {name.capitalize()}, "
            f"{decisive.label} {decisive.text(results.final(name)[decisive.name][number])}.",
        )
        for name, number in results.shown().items()
    ]
    floor = results.problem.data.noise_floor
    best = f" No model can be below RMSE {floor:g} on these data." if floor else ""
    text = (
        "Each test row's prediction against its true value; on the line it is right. The "
        f"brighter, the more rows.{best}"
    )
    return "Predicted against true", f"<p>{text}</p>\n{grid(pictures)}"


def draw_prediction(figure: Figure, results: Results, name: str) -> None:
    """One network's predictions."""
    panels.prediction(figure.subplots(), results, name)


def comparison_section(comparison: Comparison) -> Section:
    """All arms against the Person, and the map of a sweep."""
    parts = [
        table(comparison.head(), comparison.rows()),
        f"<p>{escape(comparison.caption())}</p>",
    ]
    if comparison.axes():
        alt = "Heat map of the gain over the Person; the table above holds its numbers"
        parts.append(grid([picture(comparison.size(), comparison.draw, alt)]))
    return "What else was tried, against the Person", "\n".join(parts)


def repeat_section(configuration: Mapping[str, Any]) -> Section:
    """The command line, if there was one, and everything else that is needed to repeat the run."""
    rows = [
        [f"{key}: {name}" if name else key, value if isinstance(value, str) else json.dumps(value)]
        for key, content in configuration.items()
        if key != "command"
        for name, value in (content.items() if isinstance(content, dict) else [("", content)])
    ]
    command = configuration.get("command", "")
    also = ", also in configuration.json" if "versions" in configuration else ""
    return "How to repeat it", (
        (f"<pre>{escape(command)}</pre>\n" if command else "")
        + "<p>The same seeds give the same numbers on the same machine; other versions or "
        f"processors round differently. The configuration{also}:</p>\n"
        f"{table(['', ''], rows, 'text')}"
    )


# HTML


def table(head: Sequence[str], body: Iterable[Sequence[str]], style: str = "") -> str:
    """A table, which scrolls if it is wider than the page."""
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    rows = "\n".join(
        f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in texts)}</tr>" for texts in body
    )
    titles = f"<thead><tr>{titles}</tr></thead>\n" if any(head) else ""
    kind = f' class="{style}"' if style else ""
    return f'<div class="wide"><table{kind}>\n{titles}<tbody>\n{rows}\n</tbody></table></div>'


def grid(pictures: Iterable[str], style: str = "pictures") -> str:
    """Pictures side by side, or below each other where the page is narrow."""
    return f'<div class="{style}">\n{"".join(pictures)}</div>'


def picture(
    size: tuple[float, float], draw: Callable[[Figure], Any], alt: str, caption: str = ""
) -> str:
    """A figure as an image within the page: SVG, sharp at any size.

    Args:
        size: width and height in inches.
        draw: draws it.
        alt: says what it shows, for those who cannot see it.
        caption: is shown below it.
    """
    figure, content = Figure(figsize=size, layout="constrained"), io.BytesIO()
    draw(figure)
    with matplotlib.rc_context({"svg.hashsalt": "nkd"}):  # the same picture, the same bytes
        figure.savefig(content, format="svg", metadata={"Date": None})
    source = base64.b64encode(content.getvalue()).decode()
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return (
        f'<figure><img alt="{escape(alt)}" src="data:image/svg+xml;base64,{source}">{below}'
        "</figure>\n"
    )
