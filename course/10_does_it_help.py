"""Chapter 10: does it help? Pairs, teachers, families."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(app_title="10. Does it help?")

with app.setup:
    from functools import cache

    import lesson
    import marimo as mo
    import numpy as np
    from lesson import Wrong, expect_close
    from scipy.special import ndtri, stdtrit

    from nkd import statistics

    SIZE = (11, 4)  # of the picture, in inches


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # 10. Does it help? Only pairs, teachers and families can tell

    *After this chapter you can say whether a teacher helped, how sure that is, and what the verdict
    is not about.*

    Train a Student and a Person once each, and the Student makes 26 errors less on 10,000 test
    images. Did the teacher help? Two Persons that differ in nothing but their seed may differ by
    as much. A single difference is one draw; what is asked for is the mean $\mu$ over all draws.

    **Step 1: pairs.** Train both $n$ times, each time from the same seed: the same initial weights,
    the same batches. With the errors $a_j$ and $b_j$ of pair $j$, look at $d_j = a_j - b_j$ alone:

    $$
    \operatorname{Var}(a - b) = \operatorname{Var}(a) + \operatorname{Var}(b) \; - \;
    2\operatorname{Cov}(a, b)
    $$

    A start that is good for one is often good for the other. Then the covariance is positive, and
    the differences spread less than the networks do. If it is 0, pairing has cost next to nothing.

    **Step 2: the spread must be estimated, too.** The mean $\bar d$ has the standard deviation
    $\omega/\sqrt n$, but $\omega$ is not known. In its place stands

    $$
    s^2 = \frac{1}{n-1}\sum_j (d_j - \bar d)^2
    $$

    If the $d_j$ are normal, then $(\bar d - \mu)\,/\,(s/\sqrt n)$ has Student's t distribution with
    $n - 1$ degrees of freedom, whatever $\mu$ and $\omega$ are. With its 97.5 % quantile $t$,

    $$
    \bar d - t\,\frac{s}{\sqrt n} \;\le\; \mu \;\le\; \bar d + t\,\frac{s}{\sqrt n}
    $$

    holds in 95 of 100 experiments. For 5 pairs $t$ is 2.78, not 1.96: five differences are a poor
    estimate of how much they spread, and the interval is longer for that.

    **Step 3: the verdict.** "Better" if the interval lies below 0, "worse" if above, else "not
    distinguishable". Where there is no effect, 5 of 100 honest experiments still find one.

    **Step 4: what counts as one observation.** Students of one teacher share its luck. Let teacher
    $k$ be worth $\tau_k$ more or less than the average teacher, and its pairs scatter by
    $\varepsilon_{kj}$ about that: $d_{kj} = \mu + \tau_k + \varepsilon_{kj}$. The mean over $K$
    teachers with $S$ pairs each has the variance

    $$
    \frac{\operatorname{Var}(\tau)}{K} + \frac{\operatorname{Var}(\varepsilon)}{K S}
    $$

    More pairs shrink the second term alone. So a verdict about *teachers like these* takes each
    teacher's mean as one observation, $n = K$; one that counts all $K S$ pairs is about these $K$
    teachers only.

    **Step 5: families.** Twenty independent comparisons at 5 % each raise a false alarm in 64 of
    100 papers, and twenty arms that share their Person, 5 pairs each, still in 49. Holm's procedure
    compares the smallest p-value with $0.05/m$, the next one with $0.05/(m-1)$, and so on, and
    stops at the first that is larger. Then the chance of *any* false alarm among the $m$ is at most
    5 %, however the arms depend on each other.
    """)
    return


@app.function
def experiments(teachers, pairs, spread, effect, number=100):
    """Differences of so many simulated experiments, (number, pairs · teachers), as nkd lists them.

    Pair number i has teacher i mod K, and a pair scatters by 1 about what its teacher is worth.
    """
    stream = np.random.default_rng(1)
    worth = spread * stream.normal(size=(number, 1, teachers))
    scatter = stream.normal(size=(number, pairs, teachers))
    return (effect + worth + scatter).reshape(number, -1)


@app.function
def intervals(differences, teachers):
    """The paired interval of each experiment, (number, 2); each is a family of its own."""
    found = [statistics.paired_difference(d, 0 * d, teachers=teachers) for d in differences]
    return np.array([(each.low, each.high) for each in found])


@app.function
@cache
def alarms(arms, number=20_000):
    """The share of experiments without any effect in which some arm has a verdict.

    The arms share their Person, 5 pairs each. Returns it without and with Holm's correction, in
    which there is a false alarm just if the smallest p-value is below 0.05/m, its first step.
    """
    stream = np.random.default_rng(arms)
    person = stream.normal(size=(number, 1, 5))
    d = stream.normal(size=(number, arms, 5)) - person
    t = np.abs(d.mean(axis=2)) / (d.std(axis=2, ddof=1) / 5**0.5)
    return tuple((t > stdtrit(4, 1 - 0.025 / m)).any(axis=1).mean() for m in (1, arms))


@app.function
def picture(figure, pairs=4, teachers=4, spread=1.0, effect=0.0):
    """A hundred experiments: intervals if each pair counts, and if each teacher counts."""
    by_pair, by_teacher, family = figure.subplots(1, 3, width_ratios=(1, 1, 0.8))
    d = experiments(teachers, pairs, spread, effect)
    for axes, K, title in (
        (by_pair, 1, f"each of {pairs * teachers} pairs counts"),
        (by_teacher, teachers, f"each of {teachers} teachers counts"),
    ):
        low, high = intervals(d, K).T
        missed = (low > effect) | (high < effect)
        for which, colour, width in ((~missed, "#0072B2", 0.8), (missed, "#D55E00", 2.0)):
            axes.hlines(
                np.flatnonzero(which), low[which], high[which], color=colour, linewidth=width
            )
        axes.axvline(effect, color="#999999")
        axes.set(title=f"{title}: {missed.sum()} of 100 miss", yticks=[])
        axes.set_xlabel("Student − Person, in deviations of a pair")
        axes.set_xlim(effect - 4, effect + 4)
    by_pair.set_ylabel("experiment")
    arms = (1, 2, 5, 10, 20)
    rates = np.array([alarms(m) for m in arms]) * 100
    family.plot(arms, rates[:, 0], "o-", color="#D55E00", label="each at 5 %")
    family.plot(arms, rates[:, 1], "s--", color="#0072B2", label="Holm")
    family.axhline(5, color="#999999", linewidth=1)
    family.set(xlabel="arms without effect", title="any false alarm", ylim=(0, None))
    family.set_ylabel("% of experiments")
    family.legend()


@app.cell(hide_code=True)
def _():
    pairs = mo.ui.slider(1, 20, value=4, label="pairs per teacher", show_value=True)
    teachers = mo.ui.slider(2, 20, value=4, label="teachers", show_value=True)
    spread = mo.ui.slider(0, 3, 0.25, value=1, label="spread of teachers", show_value=True)
    effect = mo.ui.slider(-2, 2, 0.25, value=0, label="true effect", show_value=True)
    mo.vstack(
        [
            mo.hstack([teachers, pairs], justify="start", gap=2, wrap=True),
            mo.hstack([spread, effect], justify="start", gap=2, wrap=True),
        ]
    )
    return effect, pairs, spread, teachers


@app.cell(hide_code=True)
def _(effect, pairs, spread, teachers):
    lesson.moving(
        picture,
        SIZE,
        "A hundred intervals of simulated experiments, with those that miss the truth marked; "
        "and the rate of false alarms over the number of arms, without and with Holm's correction",
        {
            "pairs": pairs.value,
            "teachers": teachers.value,
            "spread": spread.value,
            "effect": effect.value,
        },
        [
            {"pairs": 4, "teachers": 4, "spread": 0.0},
            {"pairs": 4, "teachers": 4, "spread": 1.0},
            {"pairs": 20, "teachers": 4, "spread": 1.0},
            {"pairs": 4, "teachers": 20, "spread": 1.0},
        ],
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    **Try it.** Set the spread of teachers to 0: both pictures miss about 5 of 100, and counting
    pairs gives the shorter intervals. Now let teachers differ by as much as pairs do. On the left,
    *more pairs make it worse*: the intervals shrink about a place that is not the truth. On the
    right they stay honest, and only more teachers make them shorter.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.vstack(
        [
            lesson.engine(statistics.paired_differences, statistics.units, statistics.holm),
            lesson.reference(20),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Exercise: the paired interval

    Write `paired_interval`. It is compared with the engine, and then with the truth: in 2,000
    experiments without an effect it may raise about 5 % false alarms, not 1 % and not 10 %.
    """)
    return


@app.function
def paired_interval(a, b, confidence=0.95):
    """The interval of the mean difference a − b over pairs.

    Args:
        a, b: arrays (n,) with a number for each pair, n ≥ 2.
        confidence: of the interval, in (0, 1).

    Returns:
        Its two ends, (low, high).

    `scipy.special.stdtrit(freedom, probability)` gives quantiles of Student's t distribution.
    """
    raise NotImplementedError


@app.function
def typical_mistakes(a, b, confidence):
    """Intervals often computed in place of the paired one, with what is wrong with each."""
    d, n = a - b, len(a)
    mean, s, root = d.mean(), d.std(ddof=1), n**0.5
    tail = (1 + confidence) / 2
    t, normal, one_sided = stdtrit(n - 1, tail), ndtri(tail), stdtrit(n - 1, confidence)
    apart = ((a.var(ddof=1) + b.var(ddof=1)) / n) ** 0.5
    deviations = {
        "The deviation is divided by n; divide by n − 1 (`ddof=1`), since the mean was estimated "
        "from the same numbers.": t * d.std() / root,
        "The quantile is that of the normal distribution. With few pairs, s is a poor estimate: "
        "Student's t with n − 1 degrees of freedom makes up for that.": normal * s / root,
        "The quantile leaves 5 % on one side. An interval of 95 % leaves 2.5 % on each: "
        "(1 + confidence)/2.": one_sided * s / root,
        "This is the interval of a single difference. The mean of n of them has the deviation "
        "s/√n.": t * s,
        "The degrees of freedom are n; one is used up by the mean, so n − 1.": stdtrit(n, tail)
        * s
        / root,
        "The two deviations are added as if a and b had nothing to do with each other. They are "
        "pairs: take the deviation of the differences.": t * apart,
        "Both networks' intervals as if unpaired, with 2n − 2 degrees of freedom. They are pairs: "
        "take the deviation of the differences.": stdtrit(2 * n - 2, tail) * apart,
    }
    return [(np.array([mean - half, mean + half]), hint) for hint, half in deviations.items()]


@app.function
def check(paired_interval):
    """What is wrong with an interval, by the value and by its false alarms."""
    stream = np.random.default_rng(3)
    start = stream.normal(100, 10, 6)
    a, b = start + stream.normal(-4, 3, 6), start + stream.normal(0, 3, 6)
    right = statistics.paired_difference(a, b)
    given = a.copy(), b.copy()
    got = np.asarray(paired_interval(*given), float)
    if (given[0] != a).any() or (given[1] != b).any():
        raise Wrong("An argument is changed. Work on a new array.")
    if got.shape != (2,):
        raise Wrong(f"Two ends are asked for, (low, high); the result has the shape {got.shape}.")
    if got[0] > got[1]:
        raise Wrong("The lower end is above the upper end.")
    truth = np.array([right.low, right.high])
    if np.allclose(got, -truth[::-1]):
        raise Wrong("This is the interval of b − a.")
    for value, hint in typical_mistakes(a, b, 0.95):
        if np.allclose(got, value):
            raise Wrong(hint)
    if not np.isclose(got.mean(), right.mean):
        raise Wrong(f"It is centred at {got.mean():.4g}; the mean difference is {right.mean:.4g}.")
    length = (got[1] - got[0]) / (right.high - right.low)
    expect_close(got, truth, f"Its centre is right, but it is {length:.3g} times as long.")
    for confidence in (0.5, 0.99):
        found = statistics.paired_difference(a, b, confidence)
        hint = f"At 95 % it is right, at {100 * confidence:g} % it is not: use `confidence`."
        expect_close(paired_interval(a, b, confidence), [found.low, found.high], hint)
    for n in (2, 3, 40):
        a, b = stream.normal(size=(2, n))
        found = statistics.paired_difference(a, b)
        hint = f"With 6 pairs it is right, with {n} it is not."
        expect_close(paired_interval(a, b), [found.low, found.high], hint)
    d = stream.normal(size=(2000, 5))
    ends = np.array([paired_interval(each, np.zeros(5)) for each in d])
    false = 100 * ((ends[:, 0] > 0) | (ends[:, 1] < 0)).mean()
    if not 3.5 < false < 6.5:  # three standard deviations of such a count
        raise Wrong(f"In {false:.1f} % of 2,000 experiments without an effect it excludes 0.")
    return f"It agrees with the engine, and excludes 0 in {false:.1f} % of 2,000 null experiments."


@app.cell(hide_code=True)
def _():
    lesson.graded(check, paired_interval)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Two famous claims, put to the test

    Both are about the teacher, so both are tested with as many teachers as repetitions: in each
    repetition everything is trained anew, and each is one observation of step 4.

    A bigger network makes fewer errors. Cho and Hariharan report that it need not teach better: a
    small student cannot follow a teacher that is too far from it.
    """)
    return


@app.cell(hide_code=True)
def _():
    bigger_teacher = lesson.button()
    bigger_teacher
    return (bigger_teacher,)


@app.cell(hide_code=True)
def _(bigger_teacher):
    lesson.claim("bigger-teacher", bigger_teacher)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Mirzadeh and his colleagues put a network of medium size between the two, which learns from the
    big one and then teaches the small one. What the assistant passes on, it must have learned
    itself; whether the shorter step makes up for that is the question.
    """)
    return


@app.cell(hide_code=True)
def _():
    assistant = lesson.button()
    assistant
    return (assistant,)


@app.cell(hide_code=True)
def _(assistant):
    lesson.claim("assistant", assistant)
    return


@app.cell(hide_code=True)
def _():
    mo.md("## Three questions")
    return


@app.cell(hide_code=True)
def _():
    lesson.questions(
        (
            'A paper trains 20 students of one teacher, and finds them "better" than 20 persons. '
            "What has it shown?",
            "That *this* teacher helps, over seeds of the student. Another teacher of the same "
            "architecture may help less or not at all: for teachers in general the paper has one "
            "observation, and no interval.",
        ),
        (
            "The interval includes 0. May one conclude that the teacher makes no difference?",
            "No. It says which differences are still possible. If it reaches from −30 to +2, the "
            "data agree with a large gain and with none. More pairs (or teachers) decide.",
        ),
        (
            'After 5 pairs the verdict is "not distinguishable". You add pairs one by one, and '
            'stop at the first "better". Is this a test at 5 %?',
            "No. Each look is another chance for a false alarm. Whoever looks often enough finds "
            "an effect that is not there. Fix the number of pairs before the first look.",
        ),
    )
    return


if __name__ == "__main__":
    app.run()
