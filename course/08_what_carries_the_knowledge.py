"""Chapter 8: rows and similar classes carry the knowledge; controls show which of them does."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(app_title="8. What carries the knowledge")

with app.setup:
    from functools import cache, partial

    import lesson
    import marimo as mo
    import numpy as np
    from lesson import Wrong

    import nkd
    from nkd.conditions import part_of
    from nkd.controls import label_smoothing, permuted_others, shuffled_within_class
    from nkd.losses import log_softmax, softmax

    SEEDS = range(8)

    @cache
    def lesson_of(rows):
        """So many of the digits' training rows, and what the Teacher of all rows says of them."""
        teacher = lesson.digits_teacher()
        part, known = part_of(lesson.digits(), rows)
        return part, teacher.outputs(teacher.train_inputs)[0][known]

    def errors_of(rows, runs):
        """Test errors of Students with 32 hidden units after 300 steps, a row for each arm."""
        part, _ = lesson_of(rows)
        epochs = round(300 / np.ceil(rows / 16))
        settings = nkd.Settings(epochs, batch_size=16, learning_rate=2e-3, report_every=0)
        done = nkd.Training(part, (784, 32, 10), runs, settings).run()
        return done.history[-1].test["errors"].reshape(-1, len(SEEDS))

    @cache
    def persons(rows):
        """Test errors of the Persons, one for each seed."""
        return errors_of(rows, [nkd.Run(seed) for seed in SEEDS])[0]

    def targets_of(rows, T):
        """What each arm is told, by its name: logits (N, C) for each seed."""
        part, z = lesson_of(rows)
        y = part.data.y_train
        return {
            "the Teacher": [z] * len(SEEDS),
            "rows shuffled": [shuffled_within_class(z, y, seed) for seed in SEEDS],
            "others permuted": [permuted_others(z, y, seed) for seed in SEEDS],
            "smoothed labels": [label_smoothing(z, y, T)] * len(SEEDS),
        }

    @cache
    def students(rows, alpha, T):
        """Test errors of the Students of each arm of `targets_of`: one list of runs, one pass."""
        told = targets_of(rows, T)
        runs = [
            nkd.Run(seed, alpha, float(T), targets[number])
            for targets in told.values()
            for number, seed in enumerate(SEEDS)
        ]
        return dict(zip(told, errors_of(rows, runs), strict=True))

    SIZE = (9.5, 3.2)  # of the picture, in inches


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # 8. Rows and similar classes carry the knowledge

    *After this chapter you can take a teacher's answer apart, write a control that keeps one part
    and destroys the rest, and say what its result shows and what it does not.*

    A Student that learns from a teacher makes fewer errors than a Person that learns from the
    labels. The usual reason is that the teacher says which classes resemble each other. That is a
    guess. To find out, tell a Student only a part of what the teacher says.

    **Step 1: what an answer consists of.** Take one row with the label $y$ and write $p$ for
    $p_T$. The other classes share what the label leaves:

    $$
    p_k = (1 - p_y)\,\hat p_k \quad\text{for } k \ne y, \qquad \sum_{k \ne y} \hat p_k = 1
    $$

    So the answer is one number $p_y$, *how sure*, and a distribution $\hat p$, *like what*. Both
    have a part that is the same for all rows of a class, and a part that belongs to this row. This
    7 looks like a 1, and most 7s do not.

    **Step 2: how loud each part is.** The soft loss splits the same way (section 23):

    $$
    \mathrm{KL}(p \Vert q) = p_y \log\frac{p_y}{q_y} + (1-p_y)\log\frac{1-p_y}{1-q_y} +
    (1-p_y) \sum_{k \ne y} \hat p_k \log\frac{\hat p_k}{\hat q_k}
    $$

    The first two terms see only how sure the teacher is. The sum compares the other classes, and
    its weight is $1 - p_y$. On the digits the Teacher's mean $1 - p_y$ is 2.3 % at $T = 1$ and
    39 % at $T = 4$. So at $T = 1$ nothing that is done to $\hat p$ can matter much, and a
    temperature turns that channel up.

    **Step 3: random targets are their mean, plus noise.** A target enters the loss linearly:

    $$
    T^2\,\mathrm{KL}(p \Vert q_T) = T^2 \sum_k p_k \log p_k - T^2 \sum_k p_k \log q_{T,k}
    $$

    The first sum is a constant. So if targets are drawn at random, the mean of the gradient over
    the draws is the gradient for the mean of the targets. One draw is that, plus noise that the
    Student cannot tell from knowledge.

    **Step 4: three controls.** Each gives the Student other logits, with the same $\alpha$ and $T$,
    and everything else as it was.

    - *Rows shuffled*: a row gets the answer for another row of the same label. The mean over all
      shuffles is the mean answer for the class. What is known about *this row* is lost.
    - *Others permuted*: in each row the other classes' probabilities change places. The mean over
      all permutations gives each other class $(1-p_y)/(C-1)$. *Like what* is lost; $p_y$ and the
      entropy of the row stay.
    - *Smoothed labels*: the label has the mean of all $p_y$, the others share the rest. All is lost
      but *how sure on average*.
    """)
    return


@app.function
def show_answers(axes, rows, T):
    """What each arm is told about the row that the Teacher doubts most, as numbers in per cent."""
    part, z = lesson_of(rows)
    y = part.data.y_train
    row = softmax(z.astype(float), T)[np.arange(len(y)), y].argmin()
    told = {name: softmax(z[0][row].astype(float), T) for name, z in targets_of(rows, T).items()}
    answers = np.array(list(told.values()))
    axes.imshow(answers, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for place, p in np.ndenumerate(answers):
        colour = "white" if p > 0.6 else "black"
        axes.text(*place[::-1], f"{100 * p:.0f}", ha="center", va="center", size=8, color=colour)
    axes.set(xticks=range(10), yticks=range(len(told)), yticklabels=told, xlabel="class")
    axes.set_title(f"what is said of one {y[row]}, in % at T = {T:g}", size=10)


@app.function
def show_differences(axes, errors, person):
    """Each arm's errors less those of the Persons with the same seeds, with intervals."""
    colours = ("#0072B2", "#009E73", "#D55E00", "#999999", "#CC79A7")
    family = nkd.paired_differences(list(errors.values()), person)
    for place, (difference, colour) in enumerate(zip(family, colours, strict=False)):
        axes.barh(place, difference.mean, 0.6, color=colour)
        if difference.low is not None:
            axes.plot([difference.low, difference.high], [place] * 2, color="black", lw=1.5)
        verdict = difference.verdict.replace("not distinguishable", "not clear")
        axes.text(1.02, place, verdict, transform=axes.get_yaxis_transform(), va="center", size=9)
    axes.axvline(0, color="black", lw=1)
    axes.set(yticks=range(len(errors)), yticklabels=errors, ylim=(len(errors) - 0.5, -0.5))
    axes.set(xlabel="errors more (+) or fewer (-) than the Person")
    of = len(lesson.digits().data.y_test)
    axes.set_title(f"{len(person)} pairs; the Person makes {person.mean():.0f} of {of}", size=10)


@app.function
def picture(figure, rows=50, alpha=1.0, T=4):
    """What four kinds of targets say of one row, and how their Students do beside the Person."""
    answers, bars = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1.1, 1)})
    show_answers(answers, rows, T)
    show_differences(bars, students(rows, alpha, T), persons(rows))
    bars.set_yticklabels([])  # they stand at the left, in the same order
    figure.suptitle(f"Students of {rows} rows, with α = {alpha:g}", size=11)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Four Students and a Person

    The Teacher has learned from all 1,437 training rows. Its Students, of 32 hidden units, see only
    a few of them. They are trained while you wait, eight seeds for each kind of targets; this takes
    a second or two. Each is compared with the Person of the same seed: same initial weights, same
    batches. A line is the interval of the mean difference; "better" and "worse" hold for the whole
    family at 95 % (section 20). They speak of further seeds, not of another Teacher or other rows.
    """)
    return


@app.cell(hide_code=True)
def _():
    rows = mo.ui.slider(steps=[20, 50, 100, 200, 400], value=50, label="rows", show_value=True)
    alpha = mo.ui.slider(steps=[0.1, 0.25, 0.5, 0.75, 1.0], value=1.0, label="α", show_value=True)
    T = mo.ui.slider(steps=[1, 2, 4, 8, 16], value=4, label="T", show_value=True)
    mo.hstack([rows, alpha, T], justify="start", gap=2, wrap=True)
    return T, alpha, rows


@app.cell(hide_code=True)
def _(T, alpha, rows):
    lesson.moving(
        picture,
        SIZE,
        "A table of the probabilities that four kinds of targets give to one digit, and bars of "
        "the errors of their Students less those of the Person, with intervals",
        {"rows": rows.value, "alpha": alpha.value, "T": T.value},
        [
            {"rows": rows, "alpha": 1.0, "T": T}
            for rows, T in ((50, 1), (50, 4), (50, 16), (400, 16))
        ],
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    **Try it.** Keep 50 rows and $\alpha = 1$, and raise $T$ from 1 to 16. At $T = 1$ no kind of
    targets is clearly better or worse than labels, and permuting the others does no clear harm, as
    step 2 lets one expect. Where does the harm begin, and how large does it become next to what the
    Teacher gives? (At $T = 4$: about 17 errors more, where the Teacher saves 13. At $T = 16$ it is
    45 beside 22.) Then keep $T = 16$ and go from 20 rows to 400. The Teacher has less and less to
    give; the permuted targets take away about as much as before. So what a control loses does not
    measure what the teacher gave.

    **Step 5: what a control can show.** If a control does as well as the teacher, what it destroys
    was not the reason for the gain. If it does worse, it is *not* shown that what it destroys was
    the reason: by step 3 a control can do harm of its own. The permuted targets invent a
    resemblance for each row. To tell the loss of a truth from the harm of an invention, there has
    to be a control that destroys the same and invents nothing. You write it below.

    **Why few rows.** A student's error consists of a bias and a variance, the scatter over training
    rows and seeds (section 31). The fewer rows, the larger the scatter, and the more a better
    target can take from it. Nearly all labels of the digits are certain, so it is not the noise of
    labels that the Teacher removes here. It has seen the rows that the Student has not, and each of
    its answers places a row among them.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.vstack(
        [
            lesson.engine(shuffled_within_class, permuted_others, label_smoothing),
            lesson.reference(30, 23, 31),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Exercise: the control that is missing

    Write `sureness_only`: targets that keep, in each row, how sure the teacher is of the label, and
    say nothing about the other classes. They are the mean of all permuted targets. Like all
    controls they are logits, and your Students will see them as $\mathrm{softmax}(\cdot/T)$.
    """)
    return


@app.function
def sureness_only(z_teacher, y, T):
    """Logits that keep each row's doubt, and destroy what the row resembles.

    Args:
        z_teacher: the teacher's logits (N, C), at least two classes.
        y: labels (N,), whole numbers in 0 … C−1.
        T: temperature, a number above 0.

    Returns:
        Logits (N, C), all finite, whose softmax(·/T) gives each row's label the probability that
        the teacher gives it in this row at this T, and each other class as much as any other.
    """
    raise NotImplementedError


@app.function
def three_parts(z, y, T):
    """Of each row of logits: log p_y, log of what all others get, and how far those differ."""
    log_p = log_softmax(np.asarray(z, np.float64), T)
    is_label = y[:, None] == np.arange(log_p.shape[1])
    others = log_p[~is_label].reshape(len(y), -1)
    return log_p[is_label], np.logaddexp.reduce(others, axis=1), np.ptp(others, axis=1)


@app.function
def say_what_is_wrong(got, z, y, T):
    """Raise `Wrong` if logits of usual size are those of a typical mistake."""
    C = z.shape[1]
    sure, rest, spread = three_parts(got, y, T)
    wanted, left, _ = three_parts(z, y, T)

    def like(one, other):
        return np.allclose(one, other, rtol=0, atol=1e-4)

    if (got >= 0).all() and like(got.sum(axis=1), 1):
        raise Wrong(
            "These are probabilities. Logits are asked for: those whose softmax(·/T) gives them."
        )
    if like(three_parts(got, y, 1.0)[0], wanted) and T != 1:
        raise Wrong(
            "softmax of these logits is right, but the Students will see softmax(·/T): their T "
            "divides your logits once more."
        )
    if like(sure, three_parts(z, y, 1.0)[0]) and T != 1:
        raise Wrong("The label has the probability that the teacher gives it at T = 1, not at T.")
    if spread.max() > 1e-4:
        if like(sure, wanted):
            raise Wrong(
                "The label's probability is right. The others still differ from each other, so "
                "the row still says what it resembles."
            )
        top = z.argmax(axis=1)
        if like(three_parts(got, top, T)[0], three_parts(z, top, T)[0]):
            raise Wrong(
                "The largest probability is kept. Where the teacher is wrong, that is not the "
                "label's."
            )
        raise Wrong("The other classes of a row do not all have the same probability.")
    if like(sure, wanted):
        return
    if len(y) > 1 and np.ptp(sure) < 1e-4:
        raise Wrong(
            "The label has the same probability in all rows. This is label smoothing; here each "
            "row keeps its own doubt."
        )
    off = (rest - sure) - (left - wanted)  # by what the odds against the label are off
    others = z[y[:, None] != np.arange(C)].reshape(len(y), C - 1)
    label = z[np.arange(len(y)), y]
    if like(off, np.log((C - 1) / C)):
        raise Wrong("The others get too little: count the classes that share what is left.")
    if like(off, np.log(C - 1)):
        raise Wrong("Each other class gets all that is left. They have to share it.")
    if np.ptp(off) < 1e-4 and len(y) > 1:
        raise Wrong(
            f"With {C} classes, the odds against the label are {np.exp(off[0]):.3g} times what "
            "they should be, in every row: count the classes that share what is left."
        )
    if like(rest - sure, others.mean(axis=1) / T + np.log(C - 1) - label / T):
        raise Wrong(
            "The others' logits are averaged, which is not to average their probabilities. So "
            "their sum has changed, and with it the label's probability."
        )
    if like(rest - sure, others.max(axis=1) / T + np.log(C - 1) - label / T):
        raise Wrong("All others get the largest logit among them. Their sum has to stay.")
    right, worst = np.abs(sure - wanted) < 1e-4, np.abs(sure - wanted).argmax()
    why = "does a sum or a mean go over all rows, or is T missing in one of the places it belongs?"
    if right.any():
        why = "in other rows it is right. Was something added, or cut off, to keep away from 0?"
    raise Wrong(
        f"The others are alike, but where the teacher gives the label {np.exp(wanted[worst]):.4g} "
        f"at T = {T:g}, yours give it {np.exp(sure[worst]):.4g}; {why}"
    )


@app.function
def check(sureness_only):
    """What is wrong with a control, from the usual to the extreme."""
    generator = np.random.default_rng(0)
    for N, C, T, kind in (
        (12, 10, 4.0, np.float64),
        (12, 10, 1.0, np.float64),
        (9, 3, 0.5, np.float64),
        (5, 2, 2.0, np.float64),
        (1, 7, 3.0, np.float64),
        (12, 10, 4.0, np.float32),
    ):
        z = generator.normal(0, 3, (N, C)).astype(kind)
        y = z.argmax(axis=1)
        y[: N // 3] = (y[: N // 3] + 1) % C  # there the teacher is wrong
        given, labels = z.copy(), y.copy()
        got = np.asarray(sureness_only(given, labels, T))
        if (given != z).any() or (labels != y).any():
            raise Wrong("An argument is changed. The teacher's logits are used by others: copy.")
        if got.shape != z.shape:
            raise Wrong(f"The result has the shape {got.shape}; it should have {z.shape}.")
        if got.dtype.kind != "f" or not np.isfinite(got).all():
            raise Wrong("Logits are finite numbers with a fraction; these are not.")
        z = z.astype(float)
        say_what_is_wrong(got, z, y, T)
        hint = (
            f"With {N} rows of {C} classes, {np.dtype(kind)}, at T = {T:g}, the label's "
            "probability is not the teacher's in each row, or the others are not alike. Perhaps "
            "something was added, or cut off, to keep away from 0."
        )
        sure, rest, spread = three_parts(got, y, T)
        wanted, left, _ = three_parts(z, y, T)
        for one, other in ((sure, wanted), (rest, left), (spread, 0 * spread)):
            if not np.allclose(one, other, rtol=0, atol=1e-4):
                raise Wrong(hint)
    for gap, hint in (
        (
            35.0,
            "p_y is so near 1 that 1 - p_y has lost its digits, or something was added or cut "
            "off. What is left has to be added up from the other classes.",
        ),
        (60.0, "p_y rounds to 1 and 1 - p_y to 0. Add up the other classes instead."),
        (
            3000.0,
            "The others' probabilities are too small for a number, their logarithms are not. Stay "
            "with logarithms, or with logits: which sum has to stay as it is in each row?",
        ),
    ):
        for shift in (0.0, 5000.0, -5000.0):
            z = shift + generator.normal(0, 1, (4, 5))
            y = np.array([0, 1, 2, 4])
            z[np.arange(4), y] += gap
            with np.errstate(all="ignore"):
                got = np.asarray(sureness_only(z.copy(), y.copy(), 1.0))
            where = f"With a label's logit that is {gap:g} above the others"
            if shift:
                where += f" and {shift:+g} on all logits"
            if shift and not np.isfinite(got).all():
                hint = "It is right without the latter: an exponential overflows or underflows."
            if not np.isfinite(got).all():
                raise Wrong(f"{where}, there is {got[~np.isfinite(got)].flat[0]}. {hint}")
            sure, rest, spread = three_parts(got, y, 1.0)
            if np.abs(rest - three_parts(z, y, 1.0)[1]).max() > 2e-3 or spread.max() > 2e-3:
                raise Wrong(f"{where}, the others do not get what they should. {hint}")
    return (
        "Each label has the teacher's probability and the others are alike, for 2 to 10 classes, "
        "for wrong teachers, and for a teacher whose doubt is below the smallest number."
    )


@app.cell(hide_code=True)
def _():
    lesson.graded(check, sureness_only)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    **Predict.** Your Students are told, for each of their rows, how sure the Teacher is. That is
    more than smoothed labels tell them, and unlike the permuted targets it invents no resemblance.
    At the settings of the sliders above, will they make more or fewer errors than the Person?
    Decide first.
    """)
    return


@app.cell(hide_code=True)
def _():
    prediction = mo.ui.radio(["fewer errors", "no clear difference", "more errors"])
    prediction
    return (prediction,)


@app.function
def with_yours(figure, rows=50, alpha=1.0, T=4, answer=None):
    """The arms of `picture`, and that of the reader's targets below them."""
    part, z = lesson_of(rows)
    targets = np.asarray(answer(z.copy(), part.data.y_train.copy(), T), np.float32)
    runs = [nkd.Run(seed, alpha, float(T), targets) for seed in SEEDS]
    errors = students(rows, alpha, T) | {"sureness only": errors_of(rows, runs)[0]}
    show_differences(figure.subplots(), errors, persons(rows))


@app.function
def is_right(answer):
    """Whether the check of the exercise accepts an answer."""
    try:
        return bool(check(answer))
    except Exception:  # noqa: BLE001 the reader's code may raise anything
        return False


@app.cell(hide_code=True)
def _(T, alpha, prediction, rows):
    if not is_right(sureness_only):
        shown = mo.md("*Your Students are trained here as soon as the box above says **Right**.*")
    elif prediction.value is None and not lesson.is_script():
        shown = mo.md("*Your Students are trained as soon as you have predicted.*")
    else:
        _now = {"rows": rows.value, "alpha": alpha.value, "T": T.value}
        shown = mo.vstack(
            [
                lesson.moving(
                    partial(with_yours, answer=sureness_only),
                    (8, 3.2),
                    "Bars of the errors of five kinds of Students less those of the Person",
                    _now,
                    [_now],
                ),
                mo.md(
                    f"You predicted: **{prediction.value}**. Move $T$ to 2 and to 16, and see "
                    "whether the answer is the same. The difference to the permuted targets is what"
                    " invented resemblances cost; the difference to the Teacher's is what the true "
                    "ones are worth. Not even your targets are silent about the other classes: they"
                    " say that all of them are alike, and the Student is held to that, too."
                ),
            ]
        )
    shown
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## A famous claim, put to the test

    Furlanello et al. (2018, *Born-Again Neural Networks*) let students learn from a teacher whose
    probabilities, but for the largest, were permuted in each row. Which classes resemble each other
    was lost, and yet their students still gained over training on labels. So, they say, similar
    classes cannot be all that carries the knowledge. By step 3 such students are told each row's
    doubt, and noise; by step 2 the noise is faint where $1 - p_y$ is small. If the claim holds
    here, Students with permuted targets keep at least half of what the Student gains over the
    Person. Here the label's probability stays in its place, not the largest.
    """)
    return


@app.cell(hide_code=True)
def _():
    permuted = lesson.button()
    permuted
    return (permuted,)


@app.cell(hide_code=True)
def _(permuted):
    lesson.claim("permuted", permuted)
    return


@app.cell(hide_code=True)
def _():
    mo.md("## Three questions")
    return


@app.cell(hide_code=True)
def _():
    lesson.questions(
        (
            "A teacher is entirely sure of every training label: $p_y$ rounds to 1 at $T = 1$. "
            "What tells the kinds of targets of this chapter apart at $T = 1$, and at $T = 8$?",
            "At $T = 1$ nothing: all of them are the labels, and their Students are Persons. At "
            "$T = 8$ the logits' differences are divided by 8, so the other classes can be heard "
            "again, and the kinds differ. The knowledge was in the logits all the time.",
        ),
        (
            "There are only two classes. Which targets are the Teacher's own, and what is left for "
            "a teacher to say?",
            "Those with the others permuted, and yours: there is one other class, and it gets what "
            "the label leaves. *Like what* is empty; what is left is how sure, row by row. "
            "Shuffled rows and smoothed labels still destroy something.",
        ),
        (
            "Shuffled rows keep each class's mean answer, and no answer is invented. Does a "
            "Student lose only what was right about a single row?",
            "No. By step 3 it gets the class's mean answer, plus noise: a row that is like a 1 is "
            "told that it is like a 9, because another row was. A control that gives each row the "
            "mean answer of its class would lose the same and add nothing, as yours does for the "
            "permuted targets.",
        ),
    )
    return


if __name__ == "__main__":
    app.run()
