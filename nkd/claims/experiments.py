"""The claims, and how each is put to the test.

An experiment returns two numbers for each repetition, a and b, such that the claim says a < b.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nkd import metrics
from nkd.claims.decoupled import ClassificationInParts
from nkd.claims.laboratory import TEACHER_SEEDS, Laboratory, errors_of, said_by
from nkd.controls import label_smoothing, permuted_others
from nkd.data import load_regression, validation_split
from nkd.distillation import Classification, Regression, Run
from nkd.random_streams import Purpose, random_stream
from nkd.statistics import PairedDifference, paired_differences
from nkd.training import Settings, inputs_of


@dataclass(frozen=True, eq=False)
class Measured:
    """What an experiment found: arrays (n,) with a number for each repetition, less is better.

    Args:
        a, b: the claim says a < b.
        beside: whatever else was measured, by name.
    """

    a: np.ndarray
    b: np.ndarray
    beside: dict[str, np.ndarray]


@dataclass(frozen=True)
class Claim:
    """A sentence of the literature, and the experiment that it is put to.

    Args:
        name: of the claim.
        chapter: of the course.
        text: what is claimed.
        source: who claims it, where.
        compared: what a − b is.
        expected: what one expects if the claim holds, and why.
        experiment: measures it.
        unit: of a and b.
        data: what it is measured on, if not on the laboratory's data.
    """

    name: str
    chapter: int
    text: str
    source: str
    compared: str
    expected: str
    experiment: Callable[[Laboratory], Measured]
    unit: str = "test errors"
    data: str = ""


VERDICTS = {
    "better": "holds",
    "worse": "does not hold",
    "not distinguishable": "cannot be told",
    "none": "cannot be told",
}
"""What the verdict on a − b says of a claim."""


def differences(measured: list[Measured]) -> list[PairedDifference]:
    """The verdicts on several claims, as one family: see `nkd.statistics.paired_differences`."""
    a, b = (np.array([getattr(each, name) for each in measured]) for name in "ab")
    return paired_differences(a, b)


def calibration(laboratory: Laboratory) -> Measured:
    """A temperature for each network, the one of least NLL on a sixth of the training rows.

    The networks are teachers that learn from the rows as they are, until they know them by heart;
    beside them, those that learn from moved images.
    """
    plan, data = laboratory.plan, laboratory.problem.data
    held_out = Classification(validation_split(data))
    runs = [Run(seed) for seed in laboratory.seeds]
    found: dict[str, np.ndarray] = {}
    for name, jitter in (("as they are", 0), ("moved", plan.teacher.jitter)):
        settings = dataclasses.replace(plan.teacher, jitter=jitter)
        training = laboratory.train(
            name.replace(" ", "-"), plan.teacher_units, runs, settings, held_out
        )
        z_held_out = training.outputs(training.test_inputs).astype(float)
        z = training.outputs(inputs_of(data, data.x_test, backend=training.backend)).astype(float)
        T = fitted_temperatures(z_held_out, held_out.data.y_test)
        for when, logits in (("before", z), ("after", z / T[:, None, None])):
            error = metrics.calibration_error(logits, data.y_test)
            found[f"rows {name}, {when}"] = 100 * error
        found[f"rows {name}, temperature"] = T
    return compared(found, "rows as they are, after", "rows as they are, before")


def fitted_temperatures(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The T of least NLL of softmax(z/T), (R,), for logits z (R, N, C) and labels y (N,)."""
    from scipy.optimize import minimize_scalar

    def best(logits: np.ndarray) -> float:
        def loss(log_T: float) -> float:
            return metrics.negative_log_likelihood(logits[None] / np.exp(log_T), y)[0]

        return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))

    return np.array([best(each) for each in z])


def smoothed_teacher(laboratory: Laboratory) -> Measured:
    """Students of teachers that were trained with smoothed labels, ε = 0.1, and of plain ones.

    A soft loss with weight ε towards equal logits, at T = 1, is label smoothing.
    """
    uniform = np.zeros((len(laboratory.labels), laboratory.problem.outputs))
    smoothed = laboratory.teachers("smoothed", alpha=0.1, targets=uniform)
    said = said_by(smoothed)
    found = laboratory.errors(
        "students",
        {
            "Student of a plain teacher": laboratory.students(laboratory.logits),
            "Student of a smoothed teacher": laboratory.students(said),
            "the same at T = 1": laboratory.students(said, temperature=1.0),
            "of the plain one at T = 1": laboratory.students(laboratory.logits, temperature=1.0),
            "Person": laboratory.students(),
        },
    )
    beside = {
        "plain teacher": errors_of(laboratory.teacher),
        "smoothed teacher": errors_of(smoothed),
    }
    return compared(found, "Student of a plain teacher", "Student of a smoothed teacher", beside)


def other_classes(laboratory: Laboratory) -> Measured:
    """Students of one part of the soft loss alone, beside the labels, with α = ½."""

    def part(label: float, others: float) -> list[Run]:
        weights = {"label": label, "others": others}
        how = {"alpha": 0.5, "loss": "decoupled", "parameters": weights}
        return laboratory.students(laboratory.logits, **how)

    found = laboratory.errors(
        "students",
        {
            "others alone": part(0.0, 1.0),
            "label alone": part(1.0, 0.0),
            "both": part(1.0, 1.0),
            "Person": laboratory.students(),
        },
        problem=ClassificationInParts(laboratory.problem.data),
    )
    return compared(found, "others alone", "label alone")


def logit_matching(laboratory: Laboratory) -> Measured:
    """Students of the teacher alone, α = 1, at T = 100 and at lower temperatures."""
    found = laboratory.errors(
        "students",
        {
            f"T = {T:g}": laboratory.students(laboratory.logits, alpha=1.0, temperature=T)
            for T in (1.0, 4.0, 20.0, 100.0)
        }
        | {"Person": laboratory.students()},
    )
    return compared(found, "T = 100", "T = 4")


def smoothed_labels(laboratory: Laboratory) -> Measured:
    """Students of smoothed labels that are on average as sure as the teacher."""
    T, y = laboratory.plan.temperature, laboratory.labels
    smoothed = [label_smoothing(z, y, T) for z in laboratory.logits]
    return half_of_the_gain(laboratory, "smoothed labels", smoothed)


def permuted(laboratory: Laboratory) -> Measured:
    """Students of teachers whose answers about the other classes are in random order."""
    pairs = zip(laboratory.logits, laboratory.seeds, strict=True)
    said = [permuted_others(z, laboratory.labels, seed) for z, seed in pairs]
    return half_of_the_gain(laboratory, "permuted", said)


def half_of_the_gain(laboratory: Laboratory, name: str, targets: list[np.ndarray]) -> Measured:
    """Students of these targets, against half of the way from the Person to the Student."""
    found = laboratory.errors(
        "students",
        {
            name: laboratory.students(targets),
            "Student": laboratory.students(laboratory.logits),
            f"{name} at T = 1": laboratory.students(targets, temperature=1.0),
            "Student at T = 1": laboratory.students(laboratory.logits, temperature=1.0),
            "Person": laboratory.students(),
        },
    )
    return Measured(found[name], (found["Student"] + found["Person"]) / 2, found)


def agreement(laboratory: Laboratory) -> Measured:
    """The test rows on which a network disagrees with its teacher, whose equal in size it is."""
    units, settings = laboratory.plan.teacher_units, laboratory.plan.teacher
    arms = laboratory.students(laboratory.asked, alpha=1.0), laboratory.students()
    training = laboratory.train("students", units, [*arms[0], *arms[1]], settings)
    teacher = laboratory.teacher.outputs(laboratory.teacher.test_inputs).argmax(axis=-1)
    predicted = training.outputs(training.test_inputs).argmax(axis=-1)
    different = predicted.reshape(2, *teacher.shape) != teacher
    student, person = different.sum(axis=-1).astype(float)
    return Measured(person / 2, student, {"Student": student, "Person": person})


def born_again(laboratory: Laboratory) -> Measured:
    """Students of their teacher's size and settings, α = ½ and T = 1 as in the paper."""
    how = {"alpha": 0.5, "temperature": 1.0}
    found = laboratory.errors(
        "students",
        {
            "Student": laboratory.students(laboratory.asked, **how),
            "Person": laboratory.students(),
        },
        units=laboratory.plan.teacher_units,
        settings=laboratory.plan.teacher,
    )
    beside = {"teacher": errors_of(laboratory.teacher)}
    return compared({**found, **beside}, "Student", "teacher")


def on_moved_images(laboratory: Laboratory, times: int = 1) -> Settings:
    """The students' settings on moved images, for some times the plan's epochs."""
    settings = laboratory.plan.student
    return dataclasses.replace(settings.lasting(times * settings.epochs), jitter=MOVED)


MOVED = 2
"""Pixels by which images are moved, at most."""


def patience(laboratory: Laboratory) -> Measured:
    """Students' gains over Persons on moved images, after four times the epochs and after them."""
    gains: list[np.ndarray] = []
    beside: dict[str, np.ndarray] = {}
    for name, times in (("long", 4), ("short", 1)):
        arms = {
            f"Student, {name}": laboratory.students(laboratory.asked, alpha=1.0),
            f"Person, {name}": laboratory.students(),
        }
        found = laboratory.errors(name, arms, settings=on_moved_images(laboratory, times))
        student, person = found.values()
        gains.append(student - person)
        beside |= found
    return Measured(gains[0], gains[1], beside)


def consistent(laboratory: Laboratory) -> Measured:
    """Students on moved images, whose teacher is asked about each view, or about the image once."""
    views = (2 * MOVED + 1) ** 2
    once = [np.broadcast_to(said, (views, *said.shape)) for said in laboratory.logits]
    found = laboratory.errors(
        "students",
        {
            "asked about each view": laboratory.students(laboratory.asked, alpha=1.0),
            "asked once": laboratory.students(once, alpha=1.0),
            "Person": laboratory.students(),
        },
        settings=on_moved_images(laboratory),
    )
    return compared(found, "asked about each view", "asked once")


def bayes_teacher(laboratory: Laboratory) -> Measured:
    """Students of the true function of Friedman's problem, and Persons, on 200 rows each."""
    data = load_regression("friedman")
    assert data.feature_mean is not None and data.feature_deviation is not None
    settings = Settings(200, 32, 1e-2, report_every=0)
    found: dict[str, list[float]] = {"Student": [], "Person": []}
    for seed in laboratory.seeds:
        rows = random_stream(seed, Purpose.FEWER_ROWS).permutation(len(data.x_train))[:200]
        x = data.x_train[rows] * data.feature_deviation + data.feature_mean
        part = dataclasses.replace(data, x_train=data.x_train[rows], y_train=data.y_train[rows])
        runs = [Run(seed, alpha=1.0, targets=friedman(x)[:, None]), Run(seed)]
        training = laboratory.train(f"sample-{seed}", (16, 8), runs, settings, Regression(part))
        for name, error in zip(found, training.history[-1].test["rmse"], strict=True):
            found[name].append(float(error))
    return compared({name: np.array(each) for name, each in found.items()}, "Student", "Person")


def friedman(x: np.ndarray) -> np.ndarray:
    """The noise-free value of Friedman #1 for features x (N, 8) in [0, 1]: see `nkd.data`."""
    first = 10 * np.sin(np.pi * x[:, 0] * x[:, 1])
    return first + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]


def bigger_teacher(laboratory: Laboratory) -> Measured:
    """Students of teachers of 64 hidden units, and of the laboratory's, which are bigger."""
    small = laboratory.teachers("small", units=SMALLER)
    found = laboratory.errors(
        "students",
        {
            "Student of the small one": laboratory.students(said_by(small)),
            "Student of the big one": laboratory.students(laboratory.logits),
            "Person": laboratory.students(),
        },
    )
    beside = {"small teacher": errors_of(small), "big teacher": errors_of(laboratory.teacher)}
    return compared(found, "Student of the small one", "Student of the big one", beside)


SMALLER = (64,)
"""The hidden units of a smaller teacher, and of an assistant: twice those of a student."""


def assistant(laboratory: Laboratory) -> Measured:
    """Students of an assistant of 64 hidden units that has learned from the teacher, and of it."""
    plan = laboratory.plan
    runs = [
        Run(seed + 2 * TEACHER_SEEDS, plan.alpha, plan.temperature, said)
        for seed, said in zip(laboratory.seeds, laboratory.asked, strict=True)
    ]
    assistants = laboratory.train("assistants", SMALLER, runs, plan.teacher)
    found = laboratory.errors(
        "students",
        {
            "Student of the assistant": laboratory.students(said_by(assistants)),
            "Student of the teacher": laboratory.students(laboratory.logits),
            "Person": laboratory.students(),
        },
    )
    beside = {"teacher": errors_of(laboratory.teacher), "assistant": errors_of(assistants)}
    return compared(found, "Student of the assistant", "Student of the teacher", beside)


def compared(
    found: dict[str, np.ndarray], a: str, b: str, beside: dict[str, np.ndarray] | None = None
) -> Measured:
    """Two of the arms that were measured against each other, with all others beside them."""
    return Measured(found[a], found[b], {**found, **(beside or {})})


GUO = "Guo, Pleiss, Sun and Weinberger 2017, On Calibration of Modern Neural Networks"
MUELLER = "Müller, Kornblith and Hinton 2019, When Does Label Smoothing Help?"
ZHAO = "Zhao, Cui, Song, Qiu and Liang 2022, Decoupled Knowledge Distillation"
KIM = (
    "Kim, Oh, Kim, Cho and Yun 2021, Comparing Kullback-Leibler Divergence and Mean Squared Error "
    "Loss in Knowledge Distillation"
)
YUAN = (
    "Yuan, Tay, Li, Wang and Feng 2020, Revisiting Knowledge Distillation via Label Smoothing "
    "Regularization"
)
STANTON = (
    "Stanton, Izmailov, Kirichenko, Alemi and Wilson 2021, Does Knowledge Distillation Really Work?"
)
FURLANELLO = "Furlanello, Lipton, Tschannen, Itti and Anandkumar 2018, Born-Again Neural Networks"
BEYER = (
    "Beyer, Zhai, Royer, Markeeva, Anil and Kolesnikov 2022, Knowledge distillation: A good "
    "teacher is patient and consistent"
)
MENON = "Menon, Rawat, Reddi, Kim and Kumar 2021, A Statistical Perspective on Distillation"
CHO = "Cho and Hariharan 2019, On the Efficacy of Knowledge Distillation"
MIRZADEH = (
    "Mirzadeh, Farajtabar, Li, Levine, Matsukawa and Ghasemzadeh 2020, Improved Knowledge "
    "Distillation via Teacher Assistant"
)

CLAIMS = [
    Claim(
        "calibration",
        1,
        "One temperature, fitted on held-out rows, calibrates a network",
        GUO,
        "calibration error after that, minus before, of networks that know their rows by heart",
        "The error falls, and the temperature is above 1: the networks were too sure.",
        calibration,
        "% of calibration error",
    ),
    Claim(
        "smoothed-teacher",
        2,
        "A teacher that was trained with smoothed labels teaches worse",
        MUELLER,
        "Student of a plain teacher, minus Student of one with smoothed labels (ε = 0.1)",
        "The smoothed teacher is no worse itself, but its Students make more errors.",
        smoothed_teacher,
    ),
    Claim(
        "other-classes",
        3,
        "What the teacher says about the other classes is what helps, not how sure it is",
        ZHAO,
        "Student of the part about the other classes alone, minus of the part about the label",
        "Beside the labels, the part about the other classes alone does better than the other.",
        other_classes,
    ),
    Claim(
        "logit-matching",
        4,
        "Matching the teacher's logits is better than KL at a moderate temperature",
        KIM,
        "Student at T = 100, where the soft loss is that of logits, minus at T = 4 (α = 1)",
        "The Student at T = 100 makes fewer errors.",
        logit_matching,
    ),
    Claim(
        "smoothed-labels",
        5,
        "Smoothed labels do most of what a teacher does",
        YUAN,
        "Student of smoothed labels as sure as the teacher, minus the mean of Student and Person",
        "Students of smoothed labels keep more than half of the Student's gain.",
        smoothed_labels,
    ),
    Claim(
        "agreement",
        6,
        "Even a student of the teacher's own size remains far from being its copy",
        STANTON,
        "half of the rows on which a network of this size disagrees with the teacher that has not "
        "learned from it, minus the rows on which the Student disagrees",
        "More than half of the disagreement is still there.",
        agreement,
        "test rows",
    ),
    Claim(
        "born-again",
        6,
        "A student of the teacher's own size becomes better than its teacher",
        FURLANELLO,
        "Student, trained as the teacher was, minus its teacher (α = ½, T = 1)",
        "The Student makes fewer errors than its teacher.",
        born_again,
    ),
    Claim(
        "patience",
        7,
        "On moved images, the longer the training, the more a teacher brings",
        BEYER,
        "Student − Person after four times the epochs, minus after the epochs (α = 1)",
        "The Student's advantage grows.",
        patience,
    ),
    Claim(
        "consistent",
        7,
        "A teacher must see the very image that the student sees",
        BEYER,
        "Student whose teacher is asked about each moved image, minus one whose teacher was asked "
        "once about the image as it is (α = 1)",
        "The Student makes fewer errors where the teacher sees what it sees.",
        consistent,
    ),
    Claim(
        "permuted",
        8,
        "Which classes resemble each other matters little: permuted, they teach as well",
        FURLANELLO,
        "Student of a teacher whose other classes are permuted, minus the mean of Student and "
        "Person",
        "Students of permuted answers keep more than half of the Student's gain.",
        permuted,
    ),
    Claim(
        "bayes-teacher",
        9,
        "A teacher that knows the true mean helps, since it removes the noise of labels",
        MENON,
        "Student of Friedman's true function, minus Person, both on the same 200 noisy rows, "
        "others in each repetition",
        "The Student's error is smaller.",
        bayes_teacher,
        "test RMSE",
        "Friedman's problem",
    ),
    Claim(
        "bigger-teacher",
        10,
        "A bigger and better teacher is not a better teacher",
        CHO,
        "Student of a teacher of 64 hidden units, minus Student of the bigger one",
        "The bigger teacher makes fewer errors itself, but its Students make more.",
        bigger_teacher,
    ),
    Claim(
        "assistant",
        10,
        "An assistant of medium size between teacher and student helps",
        MIRZADEH,
        "Student of an assistant of 64 hidden units that learned from the teacher, minus Student "
        "of the teacher",
        "The Student of the assistant makes fewer errors.",
        assistant,
    ),
]
"""All of them, in the order of the course's chapters."""


def sentence(claim: Claim, difference: PairedDifference) -> str:
    """What came out, in words."""
    if difference.low is None or difference.high is None:
        interval = "without an interval"
    else:
        interval = f"interval {difference.low:+.3g} to {difference.high:+.3g}"
    return (
        f"{difference.mean:+.3g} {claim.unit} ({interval}, {difference.pairs} repetitions): "
        f"{VERDICTS[difference.verdict]}"
    )
