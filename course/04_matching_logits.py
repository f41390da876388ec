"""Chapter 4: at a high temperature, distillation matches logits by least squares."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(app_title="4. Matching logits")

with app.setup:
    import lesson
    import marimo as mo
    import numpy as np
    from lesson import Wrong, expect_close, expect_none

    from nkd.losses import DistillationLoss, divergence, kl_divergence, softmax

    SIZE = (11, 4.3)  # of the picture, in inches


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # 4. At a high temperature, distillation is least squares between logits

    *After this chapter you can say what the soft loss becomes for $T \to \infty$, how far it still
    is from that at a given $T$, and which classes a lower temperature leaves out.*

    The soft loss of a row is $T^2\,\mathrm{KL}(p_T \Vert q_T)$, with the student's $q_T =
    \mathrm{softmax}(z/T)$ and the teacher's $p_T = \mathrm{softmax}(\zeta/T)$. Chapter 3 found that
    its gradient has a limit for $T \to \infty$. Here is the limit of its value, and the term after
    that. The second one says more: it tells what a temperature that is *not* high does.

    **Step 1: a height above a tangent.** Let $\mathrm{lse}(x) = \log\sum_k e^{x_k}$. Insert $\log
    q_{T,c} = z_c/T - \mathrm{lse}(z/T)$, and the same for the teacher:

    $$
    \mathrm{KL}(p_T \Vert q_T) = \sum_c p_{T,c}\,(\log p_{T,c} - \log q_{T,c})
    = \mathrm{lse}\!\left(\frac{z}{T}\right) - \mathrm{lse}\!\left(\frac{\zeta}{T}\right) -
    \sum_c p_{T,c}\,\frac{z_c - \zeta_c}{T}
    $$

    The derivative of $\mathrm{lse}$ at $\zeta/T$ is $p_T$. So the last two terms take away the
    tangent to lse at the teacher's point, and KL is how high lse lies above it at the student's.
    (lse is convex. That is another proof that KL is never negative.)

    **Step 2: both points move to 0.** As $T$ grows, $z/T$ and $\zeta/T$ shrink, so only the shape
    of lse near 0 counts. Shifts change nothing, so use centred logits, $\hat z_c = z_c - \frac1C
    \sum_k z_k$ and likewise $\hat\zeta_c$. Write $m(\cdot)$ for the mean over the classes. For
    centred $x$, where $m(x) = 0$, the series of the exponential gives

    $$
    \sum_k e^{x_k} = C\left(1 + \frac{m(x^2)}{2} + \frac{m(x^3)}{6} + \dots\right)
    $$

    and, since $\log(1+a) = a - \dots$, where $a^2$ is already of fourth order,

    $$
    \mathrm{lse}(x) = \log C + \frac{m(x^2)}{2} + \frac{m(x^3)}{6} + \dots
    $$

    **Step 3: the height above a parabola's tangent.** Take the two terms one by one, at $x =
    \hat\zeta/T$ and $x = \hat z/T$. Let $d = \hat z - \hat\zeta$, so $\hat z = \hat\zeta + d$. For
    the square, the value less the tangent is

    $$
    \tfrac12 m\bigl((\hat\zeta + d)^2\bigr) - \tfrac12 m(\hat\zeta^2) - m(\hat\zeta d)
    = \tfrac12 m(d^2)
    $$

    The teacher's place $\hat\zeta$ has dropped out: a parabola is equally curved everywhere. For
    the cube it stays:

    $$
    \tfrac16 m\bigl((\hat\zeta + d)^3\bigr) - \tfrac16 m(\hat\zeta^3) - \tfrac12 m(\hat\zeta^2 d)
    = \tfrac16 m\bigl(d^2\,(3\hat\zeta + d)\bigr)
    = \tfrac16 m\bigl(d^2\,(\hat z + 2\hat\zeta)\bigr)
    $$

    **Step 4: put the powers of T back.** The square has the factor $1/T^2$, the cube $1/T^3$:

    $$
    T^2\,\mathrm{KL}(p_T \Vert q_T) = \frac{1}{2C}\sum_c (\hat z_c - \hat\zeta_c)^2 +
    \frac{1}{6\,T\,C}\sum_c (\hat z_c - \hat\zeta_c)^2\,(\hat z_c + 2\hat\zeta_c) + O(T^{-2})
    $$

    **Step 5: read the limit.** For $T \to \infty$ only the first term is left: half the mean
    squared difference between centred logits. No probability occurs in it. A class that the teacher
    rules out counts as much as the one it chooses.

    **Step 6: read the next term.** Put both under one sum. Each class has a weight:

    $$
    T^2\,\mathrm{KL} \approx \frac{1}{2C}\sum_c (\hat z_c - \hat\zeta_c)^2
    \left(1 + \frac{\hat z_c + 2\hat\zeta_c}{3T}\right)
    $$

    Coming down from infinity, classes with high logits gain weight and those with low ones lose it.
    When $T$ is well below the spread of the logits, the series is no good any more, but the trend
    goes on: the low ones have next to no weight. This is the choice that a temperature makes. At a
    low $T$ the student has to match the few classes that matter to the teacher's answer, at a high
    $T$ all of them.

    **Step 7: when the next term vanishes.** If the classes come in pairs with opposite $\hat z$ and
    opposite $\hat\zeta$, each pair has the same $d^2$ and opposite brackets, and the sum is 0. Then
    the distance to the limit falls like $1/T^2$. With two classes this is always so: centred logits
    of two classes *are* opposite.
    """)
    return


@app.function
def standardised(x, mirrored):
    """Numbers with mean 0 and deviation 1; `mirrored`: made to be opposite in pairs."""
    x = x - (x[::-1] if mirrored else x.mean())
    return x / np.sqrt((x**2).mean())


@app.function
def pair(classes, spread, distance, mirrored):
    """Centred logits of a student and a teacher: the deviations of ζ and of z − ζ are given.

    The teacher's are in falling order, few of them high; the student is less sure, and random.
    """
    high_first = standardised(-np.log((np.arange(classes) + 0.5) / classes), mirrored)
    noise = standardised(np.random.default_rng(643).normal(size=classes), mirrored)
    zeta = spread * high_first
    return zeta + distance * standardised(noise - 0.8 * high_first, mirrored), zeta


@app.function
def next_terms(z, zeta):
    """What stands before 1/T and before 1/T² in T²·KL, for centred logits of one row."""
    d = z - zeta
    quartic = [(x**4).mean() / 24 - (x**2).mean() ** 2 / 8 for x in (z, zeta)]
    slope = (zeta**3 * d).mean() / 6 - (zeta**2).mean() * (zeta * d).mean() / 2
    return (d**2 * (z + 2 * zeta)).mean() / 6, quartic[0] - quartic[1] - slope


@app.function
def in_float32(z, zeta, temperatures):
    """T²·KL of one row and its gradient in float32, as training computes them, for all T at once.

    Each T is a replica of its own.
    """
    T = np.ravel(temperatures)
    zeros, zeta, z = (np.tile(each.astype(np.float32), (T.size, 1, 1)) for each in (0 * z, zeta, z))
    training = DistillationLoss(1.0, T, replicas=T.size, dtype=np.float32)
    t, constant = training.target(zeros, zeta)
    value, dz = training(z, t)
    value = value + constant[:, 0]
    return value.reshape(temperatures.shape), dz.reshape(*temperatures.shape, -1)


@app.function
def picture(figure, T=4.0, classes=10, spread=3.0, distance=2.0, mirrored=False):
    """How far T²·KL of a row is from its limit, over T; and each class's pull at this T."""
    z, zeta = pair(classes, spread, distance, mirrored)
    d, limit = z - zeta, ((z - zeta) ** 2).mean() / 2
    far, bars = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1.5, 1)})
    temperatures = np.geomspace(1, 1e5, 51)
    value = [each**2 * kl_divergence(z[None], zeta[None], each)[0] for each in temperatures]
    neighbours = temperatures[:, None] * np.linspace(0.99, 1.01, 9)  # rounding is a matter of luck
    value_32, dz_32 = in_float32(z, zeta, neighbours)
    value_off = np.sqrt(((value_32 / limit - 1) ** 2).mean(axis=1))
    square = ((dz_32 - d / classes) ** 2).sum(axis=-1).mean(axis=1)
    gradient_off = np.sqrt(square / ((d / classes) ** 2).sum())
    first, second = next_terms(z, zeta)
    paired = abs(first) < 1e-9 * limit
    term = abs(second) / temperatures**2 if paired else abs(first) / temperatures
    for off, label, how in (
        (value_off, "the same in float32, as in training", {"color": "#D55E00", "marker": "x"}),
        (gradient_off, "its gradient, in float32", {"color": "#009E73", "ls": "-."}),
        (abs(np.array(value) / limit - 1), "T²·KL", {"color": "#0072B2", "lw": 2.5}),
        (
            term / limit,
            f"the next term alone: slope {'−2' if paired else '−1'}",
            {"color": "#999999", "ls": "--"},
        ),
    ):
        far.plot(temperatures, off, label=label, ms=4, **how)
    far.axvline(T, color="#CC79A7", ls=":", lw=2, label=f"T = {T:g}")
    far.set(xscale="log", yscale="log", xlim=(1, 1e5), ylim=(1e-7, 10), xlabel="temperature T")
    far.minorticks_off()
    far.set_ylabel("distance from the limit, as a part of it")
    off = T**2 * kl_divergence(z[None], zeta[None], T)[0] / limit - 1
    far.set_title(f"Limit {limit:.3g}; at T = {T:g}, T²·KL is off by {off:+.2%}", fontsize="medium")
    far.legend(fontsize="small", loc="lower left")
    number = np.arange(1, classes + 1)
    pull = classes * T * (softmax(zeta, T) - softmax(z, T))
    bars.bar(number - 0.2, -d, 0.4, color="#999999", label="T → ∞: ζ − z, centred")
    bars.bar(number + 0.2, pull, 0.4, color="#0072B2", label=f"T = {T:g}")
    bars.axhline(0, color="black", lw=0.5)
    bars.xaxis.get_major_locator().set_params(integer=True)
    bars.set(xlabel="class, the teacher's highest logit first", ylabel="C times the pull on z")
    bars.set_title("Where T²·KL pulls each logit", fontsize="medium")
    bars.legend(fontsize="small", loc="best" if classes < 40 else "lower right")


@app.cell(hide_code=True)
def _():
    temperature = mo.ui.slider(
        steps=[1, 2, 4, 10, 20, 50, 100, 1000], value=4, label="T", show_value=True
    )
    classes = mo.ui.slider(steps=[2, 3, 4, 10, 40], value=10, label="classes", show_value=True)
    spread = mo.ui.slider(
        steps=[0.3, 1, 2, 3, 5, 10], value=3, label="the teacher's spread", show_value=True
    )
    distance = mo.ui.slider(
        steps=[0.01, 0.1, 0.5, 1, 2, 5],
        value=2,
        label="the student's distance",
        show_value=True,
    )
    mirrored = mo.ui.switch(label="logits in opposite pairs")
    mo.hstack([temperature, classes, spread, distance, mirrored], justify="start", gap=2, wrap=True)
    return classes, distance, mirrored, spread, temperature


@app.cell(hide_code=True)
def _(classes, distance, mirrored, spread, temperature):
    lesson.moving(
        picture,
        SIZE,
        "On the left, the relative distance of T squared times KL from its limit over T: it falls "
        "along a line of slope -1, while in float32 it turns and rises. On the right, bars of the "
        "pull on each class at this T beside that at infinite T",
        {
            "T": temperature.value,
            "classes": classes.value,
            "spread": spread.value,
            "distance": distance.value,
            "mirrored": mirrored.value,
        },
        [
            {"T": 4, "classes": 10, "spread": 3, "distance": 2, "mirrored": False},
            {"T": 100, "classes": 10, "spread": 3, "distance": 2, "mirrored": False},
            {"T": 4, "classes": 10, "spread": 10, "distance": 2, "mirrored": False},
            {"T": 4, "classes": 10, "spread": 3, "distance": 2, "mirrored": True},
        ],
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    **Try it.** At the first setting, how far is $T^2\,\mathrm{KL}$ at $T = 4$ from "matching of
    logits"? (83 % too large. The two classes with the highest logits are pulled 2.8 and 2.5 times
    as hard as in the limit, the last one about a third as hard. To come within 10 %, $T$ has to be
    28, nine times the spread of these logits.) Then switch to opposite pairs. The blue line falls
    twice as steeply, as step 7 says. But the green one keeps its slope: the *gradient's* next term
    is $(\hat z_c^2 - \hat\zeta_c^2)/(2CT)$ less its mean over the classes, and opposite pairs do
    not make it vanish. Now take two classes. Why is the green line steep, too? (Both squares are
    equal to their means.) Last, how near to the limit does the vermilion line ever get?

    ## What float32 makes of it

    The vermilion line turns near $T = 300$, where it is 1 % off, and at $T = 10{,}000$ the error is
    more than ten times the value. Training computes the value as a difference of terms like
    $T^2\,\mathrm{lse}(z/T)$, since that is cheap (chapter 5). Each is about $T^2 \log C$. At
    $T = 1000$ and $C = 10$ that is 2.3 million, where the numbers of float32 are 0.25 apart; and
    the result is to be 2. A higher $T$ makes the loss a better squared distance and the number that
    is printed a worse one. So `nkd` trains at $T \le 100$.

    Two things are right far beyond. The gradient $T\,(q_T - p_T)$ subtracts numbers near $1/C$ and
    multiplies by $T$, not by $T^2$. And the value of `kl_divergence`, which is not for training,
    uses that $p$ and $q$ both add up to 1: with $x_c = \log q_c - \log p_c$,

    $$
    \mathrm{KL}(p \Vert q) = -\sum_c p_c\,x_c = \sum_c p_c\,(e^{x_c} - 1 - x_c)
    $$

    Each term is about $p_c\,x_c^2/2$, so no two large ones cancel. It is also the shortest way to
    the limit: for large $T$, $p_c \approx 1/C$ and $x_c \approx (\hat z_c - \hat\zeta_c)/T$.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.vstack([lesson.engine(kl_divergence, divergence), lesson.reference(6, 7)])
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Exercise: the limit of the value

    Write `limit_of_the_value`. There is no $T$ in it. The check compares it with a closed form, and
    shows you beside your number what the engine finds at $T$ from 10 to 10,000.
    """)
    return


@app.function
def limit_of_the_value(z, z_teacher):
    """The limit of T²·KL(p_T ‖ q_T), the mean over the rows, for T → ∞.

    Args:
        z: the student's logits (B, C), any numbers.
        z_teacher: the teacher's logits (B, C), any numbers.

    Returns:
        One number.
    """
    raise NotImplementedError


@app.function
def called(limit_of_the_value, z, z_teacher):
    """What the reader's function returns, if it has left its arguments alone."""
    got = lesson.called(limit_of_the_value, z, z_teacher)
    if got is None or isinstance(got, tuple):
        raise Wrong(f"It should return one number. It returns {type(got).__name__}.")
    B, C = z.shape
    if np.shape(got) == z.shape:
        raise Wrong(
            f"The result has the shape {(B, C)} of the logits. One number is asked for: the value, "
            "not its gradient, and all classes and rows together."
        )
    if np.shape(got) == (B,) and B > 1:
        raise Wrong(f"There is a number for each of the {B} rows. Their mean is asked for.")
    return np.asarray(got)


@app.function
def right_limit(z, z_teacher):
    """The limit in float64."""
    d = z.astype(np.float64) - z_teacher.astype(np.float64)
    return ((d - d.mean(axis=1, keepdims=True)) ** 2).mean() / 2


@app.function
def beside_the_engine(got, z, z_teacher):
    """The reader's number, and T²·KL by the engine at higher and higher T."""
    found = ", ".join(
        f"{T**2 * kl_divergence(z, z_teacher, T)[0]:.7g}" for T in (10.0, 100.0, 1e3, 1e4)
    )
    return (
        f"For {len(z)} rows of {z.shape[1]} classes your limit is {got:.7g}. At T = 10, 100, 1000 "
        f"and 10,000, the engine's T²·KL is {found}."
    )


@app.function
def wrong_limits(z, z_teacher):
    """Results of typical mistakes, each with a hint."""
    (B, C), right, d = z.shape, right_limit(z, z_teacher), z - z_teacher
    zc, tc = (each - each.mean(axis=1, keepdims=True) for each in (z, z_teacher))
    factors = (1, 2, C, 2 * C, B, 2 * B, B * C, 2 * B * C)
    tops = z - z.max(axis=1, keepdims=True) - z_teacher + z_teacher.max(axis=1, keepdims=True)
    p, q = softmax(z_teacher), softmax(z)
    return (
        (0.0, "KL itself goes to 0. The limit of T² times KL does not."),
        (-right, "The sign is wrong: KL is never negative."),
        (
            2 * right,
            "It is twice too large. How high is a parabola above its tangent? Step 3 has the "
            "factor.",
        ),
        (
            right / 2,
            "It is half of what it should be. The second-order term of lse has one ½, not two.",
        ),
        *(
            (
                (d**2).mean() / 2 * factor,
                "The logits are not centred. Add 1 to all of z: softmax does not change, and so "
                "the limit must not.",
            )
            for factor in factors
        ),
        *(
            (
                (each**2).mean() / 2 * factor,
                "Only one of the two is centred. A shift of either changes nothing: centre both, "
                "or their difference.",
            )
            for each in (zc - z_teacher, z - tc)
            for factor in factors
        ),
        (
            right * C,
            "It lacks a factor that depends on the number of classes: at a high temperature each "
            "class has the probability 1/C.",
        ),
        (right * 2 * C, "It lacks two factors: the ½ of a parabola, and the 1/C of the classes."),
        (right * B, "It is a sum over the rows. The mean over the rows is asked for."),
        (right * 2 * B, "It is a sum over the rows, not their mean, and the ½ is missing."),
        (right * B * C, "It is a sum over rows and classes. Both have a factor that is missing."),
        (
            right * 2 * B * C,
            "Three factors are missing: ½, and those of the classes and the rows.",
        ),
        (right / B, "It is divided by the number of rows twice."),
        (right / C, "It is divided by the number of classes twice."),
        *(
            (
                right * C / (C - 1) * factor,
                "The classes are counted as C − 1, as in an estimate of a variance. Nothing is "
                "estimated here: the mean goes over all C.",
            )
            for factor in (1, 2)
        ),
        *(
            (
                ((d - d.mean(axis=axis, keepdims=True)) ** 2).mean() / 2 * factor,
                "The mean that is subtracted goes over the wrong axis: each row has a mean of its "
                "own.",
            )
            for axis in (0, None)
            for factor in factors
        ),
        *(
            (
                (tops**2).mean() / 2 * factor,
                "The maximum is subtracted from the logits. In step 2 the first order vanishes "
                "only for logits that add up to 0.",
            )
            for factor in factors
        ),
        *(
            (
                sign * ((zc**2).mean() - (tc**2).mean()) / 2 * factor,
                "This is a difference of squares. The limit is the square of a difference: the "
                "tangent also has a slope, the term with p_T.",
            )
            for sign in (1, -1)
            for factor in factors
        ),
        *(
            (
                (zc**2).mean() / 2 * factor,
                "The teacher has no influence on this.",
            )
            for factor in factors
        ),
        *(
            (
                ((d - d.mean(axis=1, keepdims=True)).mean(axis=0) ** 2).mean() / 2 * factor,
                "The rows are averaged before the square is taken. Take the mean of the squares.",
            )
            for factor in factors
        ),
        *(
            (
                abs(d - d.mean(axis=1, keepdims=True)).mean() * factor,
                "These are absolute differences. A parabola squares them.",
            )
            for factor in (0.5, *factors)
        ),
        *(
            (np.sqrt(right * factor), "This is a distance. Its square is asked for.")
            for factor in factors
        ),
        *(
            (
                np.sqrt(((d - d.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)).mean() * factor,
                "These are distances. Their squares are asked for.",
            )
            for factor in (0.5, 1, 1 / C, 0.5 / C)
        ),
        *(
            (
                ((q - p) ** 2).mean() / 2 * factor,
                "These are squared differences of probabilities. At a high temperature the "
                "differences of logits count.",
            )
            for factor in factors
        ),
        *(
            (
                T**power * kl_divergence(z, z_teacher, T)[0],
                f"This is {'T²·' if power else ''}KL at T = {T:g}. The limit is asked for.",
            )
            for T in (1.0, 2.0, 3.0, 4.0, 10.0, 20.0)
            for power in (0, 2)
        ),
    )


@app.function
def check(limit_of_the_value):
    """What is wrong with the limit of T²·KL."""
    generator = np.random.default_rng(4)
    z, z_teacher = generator.normal((0.5, -1, 0, 2), 3, (2, 5, 4))
    z += generator.normal(0, 2, (5, 1))
    got, right = called(limit_of_the_value, z, z_teacher), right_limit(z, z_teacher)
    if got.shape == () and got.dtype.kind in "fiu":
        expect_none(got, *wrong_limits(z, z_teacher))
        close = abs(got - right) < 0.005 * right
        hint = beside_the_engine(got, z, z_teacher)
        if close:
            hint += (
                " Yours is close, but not exact, as if it was computed at a large T, or with few "
                "digits. There is a formula without T."
            )
        expect_close(got, right, hint)
    expect_close(got, right, "")
    z = z_teacher + np.array([[5.0], [-3], [0], [1], [700]])
    got = called(limit_of_the_value, z, z_teacher)
    if not abs(got) < 1e-6:
        raise Wrong(
            "Where each row of the student's logits is the teacher's plus a number of its own, "
            f"KL is 0 at every T. Your limit is {got:.6g} there."
        )
    for rows, classes, scale in ((1, 2, 1), (3, 7, 1e-6), (6, 3, 1e6), (2, 50, 3), (4, 4, 20)):
        z, z_teacher = generator.normal(0, scale, (2, rows, classes))
        got = called(limit_of_the_value, z, z_teacher)
        hint = (
            f"It is right for 5 rows of 4 classes, but not for {rows} of {classes} with logits of "
            f"the size {scale:g}. Is there a number that should be B or C? Or is it T²·KL at some "
            "large T? A formula without T is asked for."
        )
        expect_close(got, right_limit(z, z_teacher), hint)
    z, z_teacher = np.array([[3, 0, -2], [1, 1, 4]]), np.array([[0, 1, 0], [9, 0, 1]])
    hint = "For arrays of whole numbers it is wrong: they can hold no fractions."
    expect_close(called(limit_of_the_value, z, z_teacher), right_limit(z, z_teacher), hint)
    z, z_teacher = generator.normal(0, 3, (2, 4, 10)).astype(np.float32)
    got = called(limit_of_the_value, z, z_teacher)
    hint = (
        "For logits in float32 it is wrong. Is something large subtracted from something large, or "
        "is the limit computed at a large T?"
    )
    expect_close(got, right_limit(z, z_teacher), hint, 1e-5)
    return (
        "It is the limit for 2 to 50 classes and logits from a millionth to a million, and a "
        "constant added to a row changes nothing."
    )


@app.cell(hide_code=True)
def _():
    lesson.graded(check, limit_of_the_value)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## A famous claim, put to the test

    Ba and Caruana (*Do Deep Nets Really Need to be Deep?*, 2014) train students by least squares on
    the teacher's logits, without any softmax. Kim et al. (2021) compare the two ways. They show
    that KL comes to match logits as $T$ grows and labels as it falls, find that students get better
    the more the logits match, and so propose the squared error between logits in place of KL. Step
    6 is the mechanism. At a moderate $T$ the classes that the teacher rules out have little weight,
    and what it knows about them is lost; in the limit all of it counts. One could object that they
    are ruled out for a reason, and that a small network has better things to do than to learn how
    far from a 1 an 8 is.

    Here $\alpha = 1$: the label is not used, so the balance between two losses plays no part. Nor
    does the size of the gradient, with its $1/C$: Adam divides by it (section 24 of the reference).
    $T = 100$ stands for the limit. If the claim holds, the students at $T = 100$ make fewer errors
    than those at $T = 4$.
    """)
    return


@app.cell(hide_code=True)
def _():
    matching = lesson.button()
    matching
    return (matching,)


@app.cell(hide_code=True)
def _(matching):
    lesson.claim("logit-matching", matching)
    return


@app.cell(hide_code=True)
def _():
    mo.md("## Three questions")
    return


@app.cell(hide_code=True)
def _():
    lesson.questions(
        (
            "All logits, the teacher's and the student's, are multiplied by 5. At which $T$ is the "
            "soft loss as near to its limit, relative to it, as it was at $T = 20$?",
            "At $T = 100$. Only $z/T$ and $\\zeta/T$ enter, so KL at $5T$ is what it was at $T$. "
            'Its factor $T^2$ has become 25 times larger, and so has the limit. "$T = 20$ is '
            'high" says nothing without the spread of the logits.',
        ),
        (
            "With two classes $T^2\\,\\mathrm{KL}$ is below its limit at every $T$. Why? And why "
            "not with ten?",
            "It is a height above a tangent, so it is large where lse is strongly curved. "
            "Along the difference of two logits the curvature is in proportion to $q(1-q)$, "
            "which is largest at $q = \\frac12$: "
            "just at 0, the place of the limit. With ten classes, 0 is where each has a tenth. Two "
            "classes that share all the probability are more strongly curved than that.",
        ),
        (
            "Another program trains on the plain mean of $(z_c - \\zeta_c)^2/2$, without centring. "
            "Which student does it prefer that the limit does not?",
            "One whose mean logit is the teacher's. The plain mean is the centred one plus "
            "$\\frac12 m(z - \\zeta)^2$, half the squared difference of the means. Softmax cannot "
            "see it; so the student may spend some of its strength on what no prediction shows.",
        ),
    )
    return


if __name__ == "__main__":
    app.run()
