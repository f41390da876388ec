"""Chapter 9: in regression the teacher is one more label; bias and variance decide."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(app_title="9. Regression, bias and variance")

with app.setup:
    from functools import cache

    import lesson
    import marimo as mo
    import numpy as np
    from lesson import Wrong, expect_close

    from nkd.losses import RegressionDistillationLoss, mse

    def truth(x):
        """The noise-free value f of the example, of inputs x in 0 … 1."""
        return np.sin(2 * np.pi * x)

    @cache
    def smoothers(rows, width, coefficients):
        """The inputs x, the student's H_S and the teacher's H_T."""
        x = (np.arange(rows) + 0.5) / rows
        basis, _ = np.linalg.qr(np.vander(2 * x - 1, coefficients))
        weights = np.exp(-0.5 * ((x[:, None] - x) / width) ** 2)
        return x, basis @ basis.T, weights / weights.sum(axis=1, keepdims=True)

    @cache
    def pieces(rows, width, coefficients):
        """Of H_S: ‖(H_S − I)f‖², ‖Df‖², ‖H_S‖², ⟨H_S, D⟩, ‖D‖²; and the same with I for H_S."""
        x, H_S, H_T = smoothers(rows, width, coefficients)
        f, own = truth(x), []
        for H in (H_S, np.eye(rows)):
            D = H - H @ H_T
            norms = ((H @ f - f) ** 2).sum(), ((D @ f) ** 2).sum()
            own.append((*norms, (H**2).sum(), (H * D).sum(), (D**2).sum()))
        return own

    def curves(rows, width, coefficients, omega, alpha, whose=0):
        """Bias and variance of the student (0) or of its target (1) at each α."""
        fixed, bent, level, slope, curvature = pieces(rows, width, coefficients)[whose]
        bias = (fixed + alpha**2 * bent) / rows
        variance = omega**2 * (level - 2 * alpha * slope + alpha**2 * curvature) / rows
        return bias, variance

    def best(rows, width, coefficients, omega):
        """The best α of the student, in 0 … 1."""
        _, bent, _, slope, curvature = pieces(rows, width, coefficients)[0]
        return min(1.0, max(0.0, omega**2 * slope / (bent + omega**2 * curvature)))

    SIZE = (11, 3.5)  # of the picture, in inches


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # 9. In regression the teacher is one more label

    *After this chapter you can compute the bias and the variance of a linear student, and say
    before it is trained whether its teacher will help.*

    A teacher of classes says more than a label: it compares classes. A teacher of a regression
    gives a number where the label is a number. What is there to be learned from it?

    **Step 1: two targets are one.** Let $s$ be the student's output for a row, $y$ the label and
    $\sigma$ the teacher's output. Expand the squares and collect the powers of $s$:

    $$
    (1-\alpha)(s-y)^2 + \alpha(s-\sigma)^2 = (s - t)^2 + \alpha(1-\alpha)(y-\sigma)^2,
    \qquad t = (1-\alpha)\,y + \alpha\,\sigma
    $$

    The last term does not contain $s$. So the student is trained on the labels $t$, by ordinary
    regression, and sees nothing of the teacher but $t$. There is no dark knowledge; there are only
    better or worse labels.

    **Step 2: when $t$ is the better label.** Write $y = f + \nu$ and $\sigma = f + \xi$, where $f$
    is the noise-free value. Then $t - f = (1-\alpha)\,\nu + \alpha\,\xi$, and

    $$
    \mathbb{E}(t-f)^2 = (1-\alpha)^2\,\mathbb{E}\nu^2 + 2\alpha(1-\alpha)\,\mathbb{E}[\nu\xi] +
    \alpha^2\,\mathbb{E}\xi^2
    $$

    If the two errors are uncorrelated, some $\alpha$ makes it smaller than either of them. If the
    teacher has memorised its labels, $\xi = \nu$ and $t = y$: nothing is gained. In between, a
    little weight improves the label as long as $\mathbb{E}[\nu\xi] < \mathbb{E}\nu^2$.

    **Step 3: what the student makes of it.** A better label need not make a better student. To see
    why, take both linear in the labels of $N$ fixed rows, as least squares and averages of
    neighbours are: $\sigma = H_T\,y$ and $s = H_S\,t$. Then

    $$
    s = A\,y, \qquad A = H_S\,\bigl[(1-\alpha)\,I + \alpha\,H_T\bigr]
    $$

    Insert $y = f + \nu$, where the $\nu_n$ are independent with mean 0 and variance $\omega^2$.
    Then $s - f = (A-I)f + A\nu$. The first part is fixed, the second has mean 0, so the cross term
    vanishes on average. And since the noise of different rows is independent, the variance of
    $\sum_m A_{nm}\nu_m$ is $\omega^2\sum_m A_{nm}^2$. Over all rows:

    $$
    \frac{1}{N}\,\mathbb{E}\Vert s - f\Vert^2 =
    \underbrace{\frac{1}{N}\Vert(A-I)f\Vert^2}_{\text{bias}} +
    \underbrace{\frac{\omega^2}{N}\sum_{nm}A_{nm}^2}_{\text{variance}}
    $$

    By *bias* we mean the mean square of what is left without noise. A teacher helps by lowering one
    of the two by more than it raises the other.
    """)
    return


@app.function
def picture(figure, rows=200, width=0.2, coefficients=7, omega=0.5, alpha=0.5):
    """A linear student of a linear teacher: its values, its risk over α, and over the rows."""
    values, over_alpha, over_rows = figure.subplots(1, 3)
    x, H_S, H_T = smoothers(rows, width, coefficients)
    f, A = truth(x), (1 - alpha) * H_S + alpha * H_S @ H_T
    y = f + omega * np.random.default_rng(0).normal(size=rows)
    spread = omega * np.sqrt((A**2).sum(axis=1))
    values.plot(x, y, ".", color="#999999", ms=3, label="labels y, one draw")
    values.plot(x, f, color="black", lw=1, label="f")
    values.plot(x, H_T @ f, "--", color="#D55E00", label="the teacher, mean")
    values.plot(x, A @ f, color="#0072B2", label="the student, mean ± deviation")
    values.fill_between(x, A @ f - spread, A @ f + spread, color="#0072B2", alpha=0.25, lw=0)
    values.set(xlabel="x", ylim=(-1.2 - 2 * omega, 2 + 4 * omega))
    values.legend(fontsize=8, loc="upper right")

    setting = width, coefficients, omega
    weights, pays = np.linspace(0, 1, 101), best(rows, *setting)
    bias, variance = curves(rows, *setting, weights)
    over_alpha.plot(weights, bias + variance, color="#0072B2", label="risk")
    over_alpha.plot(weights, bias, "--", color="#D55E00", label="bias")
    over_alpha.plot(weights, variance, ":", color="#009E73", lw=2, label="variance")
    least = sum(curves(rows, *setting, pays))
    over_alpha.plot(pays, least, "o", color="black", ms=5, label=f"least risk, α = {pays:.2g}")
    over_alpha.axvline(alpha, color="#999999", lw=1)
    over_alpha.set(xlabel="α, the weight of the teacher", ylim=(0, None))
    none, now = (sum(curves(rows, *setting, each)) for each in (0.0, alpha))
    over_alpha.set_title(f"the student's risk: {none:.4f} → {now:.4f}")
    over_alpha.legend(fontsize=8)

    counts = [20, 30, 50, 80, 120, 200, 300, 400]
    for weight, style, colour, label in (
        (0.0, "-", "#999999", "no teacher"),
        (alpha, "-.", "#0072B2", f"α = {alpha:g}"),
        (None, "--", "#CC79A7", "the best α"),
    ):
        risks = [
            sum(curves(each, *setting, best(each, *setting) if weight is None else weight))
            for each in counts
        ]
        over_rows.loglog(counts, risks, style, color=colour, label=label)
    over_rows.axvline(rows, color="#999999", lw=1)
    over_rows.set(xlabel="rows", ylabel="the student's risk", xticks=[20, 50, 100, 200, 400])
    over_rows.xaxis.set_major_formatter("{x:g}")
    over_rows.xaxis.set_minor_formatter("")
    over_rows.legend(fontsize=8)
    over_rows.set_title(f"the line is at {rows} rows")
    none, now = (sum(curves(rows, *setting, each, whose=1)) for each in (0.0, alpha))
    values.set_title(f"the target's error: {none:.3f} → {now:.3f}")


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## A student of polynomials

    The rows are $x_n = (n - \tfrac12)/N$, and $f = \sin 2\pi x$. The student is a polynomial fitted
    by least squares, the teacher averages its neighbours with Gaussian weights of a certain width.
    The noise is $\omega$. All curves are the formula of step 3; nothing is drawn at random but the
    grey labels.
    """)
    return


@app.cell(hide_code=True)
def _():
    rows = mo.ui.slider(steps=[20, 50, 100, 200, 400], value=200, label="rows", show_value=True)
    width = mo.ui.slider(
        steps=[0.02, 0.05, 0.1, 0.2, 0.4], value=0.2, label="teacher's width", show_value=True
    )
    coefficients = mo.ui.slider(2, 15, value=7, label="coefficients", show_value=True)
    omega = mo.ui.slider(steps=[0, 0.1, 0.25, 0.5, 1], value=0.5, label="noise", show_value=True)
    alpha = mo.ui.slider(0, 1, step=0.05, value=0.5, label="α", show_value=True)
    mo.vstack(
        [
            mo.hstack([rows, omega, alpha], justify="start", gap=2, wrap=True),
            mo.hstack([width, coefficients], justify="start", gap=2, wrap=True),
        ]
    )
    return alpha, coefficients, omega, rows, width


@app.cell(hide_code=True)
def _(alpha, coefficients, omega, rows, width):
    lesson.moving(
        picture,
        SIZE,
        "Noisy labels of a sine with the means of teacher and student; the student's bias, "
        "variance and risk over the weight of the teacher; and its risk over the number of rows",
        {
            "rows": rows.value,
            "width": width.value,
            "coefficients": coefficients.value,
            "omega": omega.value,
            "alpha": alpha.value,
        },
        [
            {"rows": N, "width": h, "coefficients": k, "omega": 0.5, "alpha": alpha}
            for N, h, k, alpha in (
                (200, 0.2, 7, 0.5),
                (200, 0.2, 7, 0.05),
                (20, 0.2, 7, 0.35),
                (50, 0.05, 15, 1.0),
            )
        ],
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    **Try it.** As the sliders stand at first, the error of the target falls from 0.250 to 0.092,
    to little more than a third, and the student's risk rises from 0.0088 to 0.032. At which
    $\alpha$ does this teacher help? (Below 0.1, and most at 0.05.) Now make the worst
    teacher that you can, with some noise left: is there one for which the least risk is at
    $\alpha = 0$? (No. Step 6 says why.) Then take 20 rows and 15 coefficients. How much of the risk
    does a teacher of width 0.05 do away with? (58 %, from 0.188 to 0.079, at $\alpha = 1$.)

    ## Why a little weight pays and much may not

    Least squares projects: $H_S = H_S^\top = H_S^2$. With $D = H_S(I - H_T)$, which is what the
    teacher smooths away of what the student can see, $A = H_S - \alpha D$.

    **Step 4: the bias grows with $\alpha^2$.** $(A-I)f = (H_S - I)f - \alpha\,Df$. The first part
    is what the student cannot represent, at right angles to its space; the second lies in its
    space. By Pythagoras

    $$
    \Vert(A-I)f\Vert^2 = \Vert(H_S-I)f\Vert^2 + \alpha^2\,\Vert Df\Vert^2
    $$

    **Step 5: the variance falls with $\alpha$.** Write $\langle H_S, D\rangle$ for the sum of the
    products of their elements.

    $$
    \sum_{nm}A_{nm}^2 = \sum_{nm}H_{S,nm}^2 - 2\alpha\,\langle H_S, D\rangle +
    \alpha^2\sum_{nm}D_{nm}^2, \qquad
    \langle H_S, D\rangle = \operatorname{tr} H_S - \operatorname{tr}(H_S H_T)
    $$

    $\operatorname{tr} H_S$ is the number of coefficients, the degrees of freedom in which a student
    can follow the noise. $\operatorname{tr}(H_S H_T)$ says how many of them a teacher lets
    through. A smoother lets fewer through, so $\langle H_S, D\rangle$ is positive.

    **Step 6: the best weight.** $N$ times the risk is a parabola in $\alpha$. At $\alpha = 0$ its
    slope is $-2\omega^2\langle H_S, D\rangle$: the gain is of first order, the loss of second. So
    where there is noise, a teacher that smooths *always* helps this student, if it has little
    enough weight. The lowest point is at

    $$
    \alpha = \frac{\omega^2\,\langle H_S, D\rangle}{\Vert Df\Vert^2 + \omega^2\sum_{nm}D_{nm}^2}
    $$

    With more rows $\Vert Df\Vert^2$ grows like $N$, and the other two terms hardly grow. So the
    best weight falls like $1/N$: the more rows, the less a biased teacher has to say. In the
    example it is 0.05, and the risk falls from 0.0088 to 0.0085, not more: seven coefficients on
    200 rows have almost no variance to lose.

    **Nested least squares.** If the teacher is a larger least squares of the same rows, then
    $H_S H_T = H_S$, $D = 0$, and the student is the same for every $\alpha$. What the teacher knows
    from these labels, the student would have found in them.

    For networks none of this is exact. It says what to look for: does the student have a variance
    to lose, and what bias does the teacher bring? For classes a similar sum of bias and variance
    holds for KL (section 31). Other losses of regression trust the teacher in some rows more than
    in others (section 22).
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.vstack([lesson.engine(RegressionDistillationLoss, mse), lesson.reference(9, 31, 22)])
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Exercise: the risk of a student before it is trained

    Write `risk` for any linear student and teacher. The check trains thousands of them.
    """)
    return


@app.function
def risk(H_student, H_teacher, f, noise, alpha):
    """The bias and the variance of a linear student of a linear teacher.

    Args:
        H_student: makes the student's values on N rows of its targets, (N, N).
        H_teacher: makes the teacher's values on the same rows of their labels, (N, N).
        f: the noise-free values of the rows, (N,).
        noise: the standard deviation ω of the labels' noise, which is independent in each row.
        alpha: the weight of the teacher.

    Returns:
        The bias and the variance, two numbers whose sum is E‖s − f‖²/N.
    """
    raise NotImplementedError


@app.function
def values_of(H_student, H_teacher, y, alpha):
    """The student's values (M, N) for M draws of the labels, as it would learn them."""
    return ((1 - alpha) * y + alpha * y @ H_teacher.T) @ H_student.T


@app.function
def by_response(H_student, H_teacher, f, noise, alpha):
    """Bias and variance, from how the student answers to f, and to noise in one row at a time."""
    left = values_of(H_student, H_teacher, f[None], alpha)[0] - f
    answers = values_of(H_student, H_teacher, noise * np.eye(len(f)), alpha)
    return np.array([(left**2).mean(), (answers**2).sum() / len(f)])


@app.function
def drawn(H_student, H_teacher, f, noise, alpha):
    """The mean of ‖s − f‖²/N over 20,000 students, and the standard error of that mean."""
    draws = f + noise * np.random.default_rng(1).normal(size=(20_000, len(f)))
    errors = ((values_of(H_student, H_teacher, draws, alpha) - f) ** 2).mean(axis=1)
    return errors.mean(), errors.std() / np.sqrt(len(errors))


@app.function
def say_what_is_wrong(got, H_S, H_T, f, noise, alpha):
    """Raise `Wrong` if the numbers are those of a typical mistake, in a case that tells them."""
    N, (bias, variance) = len(f), by_response(H_S, H_T, f, noise, alpha)
    I = np.eye(N)
    A = values_of(H_S, H_T, I, alpha).T
    swapped = by_response(H_T, H_S, f, noise, alpha)
    other_order = by_response((1 - alpha) * I + alpha * H_T, H_S, f, noise, 1.0)

    def like(value, wanted):
        return np.isclose(value, wanted, rtol=1e-5)

    for wrong, hint in (
        ((variance, bias), "The bias comes first, then the variance."),
        (other_order, "The two matrices are in the wrong order: who learns from whom?"),
        (swapped, "Student and teacher have changed their parts."),
        (by_response(H_S, H_T, f, noise, 1 - alpha), "alpha is the weight of the teacher."),
        (
            by_response(I, H_T, f, noise, alpha),
            "These are the errors of the target. What does the student make of it?",
        ),
        (by_response(H_S, I, f, noise, alpha), "The teacher has no influence."),
        (by_response(H_T, I, f, noise, alpha), "These are the teacher's own errors."),
        (by_response(A.T, I, f, noise, 0.0), "A matrix is transposed that should not be."),
        (by_response(H_S, H_T.T, f, noise, alpha), "H_teacher should not be transposed."),
    ):
        if like(got, wrong).all():
            raise Wrong(hint)
    left = A @ f - f
    for wrong, hint in (
        (np.abs(left).mean(), "absolute values are averaged. The squares are to be."),
        (left.mean(), "the differences are averaged, so those of different signs cancel. Square."),
        (left.var(), "a variance over the rows takes their mean away. All of the error counts."),
        (left.mean() ** 2, "the mean is squared. Square in each row, then average."),
        (N * bias, "the sum over the rows is not divided by their number."),
        (np.sqrt(bias), "this is its root."),
        (np.sqrt(N * bias), "this is the length of a vector. Which power of it is asked for?"),
        (np.sqrt(N * bias) / N, "the length of a vector is not squared."),
        (((A @ f) ** 2).mean(), "this is the square of the values, not of their error."),
    ):
        if like(got[0], wrong):
            raise Wrong(f"The bias is wrong: {hint}")
    two_parts = values_of(H_S, H_T, I, 0.0) * (1 - alpha), values_of(H_S, H_T, I, 1.0) * alpha
    for wrong, hint in (
        (variance / noise, "the noise is given as a standard deviation."),
        (N * variance, "the sum over the rows is not divided by their number."),
        (variance / N, "it is divided by N twice."),
        (noise**2 * np.trace(A) / N, "a trace adds up the diagonal of A. Which sum is needed?"),
        (noise**2 * np.trace(A @ A) / N, "A times A is not the square of each element of A."),
        (noise**2 * A.sum() / N, "noise adds up in squares: independent errors partly cancel."),
        (noise**2 * A.sum() ** 2 / N, "square each element, then add."),
        (noise**2 * np.sqrt((A**2).sum()) / N, "this norm of A is not squared."),
        (noise**2 * ((A - I) ** 2).sum() / N, "the noise goes through A, not through A - I."),
        (np.sqrt(variance), "this is its root."),
        (noise**2, "this is the variance of the labels, not of the student."),
        (
            noise**2 * sum((each**2).sum() for each in two_parts) / N,
            "label and teacher are added as if their noises were independent. "
            "It is the same noise.",
        ),
    ):
        if like(got[1], wrong):
            raise Wrong(f"The variance is wrong: {hint}")


@app.function
def check(risk):
    """What is wrong with a risk: typical mistakes, drawn labels, exact cases."""
    generator = np.random.default_rng(0)
    H_S, H_T = generator.normal(0, 0.5, (2, 6, 6))
    basis, _ = np.linalg.qr(generator.normal(size=(9, 5)))
    small, large = basis[:, :2] @ basis[:, :2].T, basis @ basis.T
    weights = generator.uniform(size=(9, 9))
    average = weights / weights.sum(axis=1, keepdims=True)
    f, g = generator.normal(0, 2, 6), generator.normal(0, 2, 9)
    for name, case in (
        ("two matrices without any symmetry", (H_S, H_T, f, 0.7, 0.3)),
        ("alpha = 0, no weight for the teacher", (H_S, H_T, f, 0.7, 0.0)),
        ("alpha = 1, all weight for the teacher", (H_S, H_T, f, 2.0, 1.0)),
        ("no noise", (H_S, H_T, f, 0.0, 0.6)),
        ("nested least squares", (small, large, g, 1.5, 0.6)),
        ("an average that learns from least squares", (average, large, g, 0.1, 0.4)),
        ("least squares that learns from an average", (small, average, g, 3.0, 0.9)),
        ("a single row", (H_S[:1, :1], H_T[:1, :1], f[:1], 0.7, 0.3)),
        ("f in the thousands", (small, average, 1e3 * g, 1e-3, 0.5)),
    ):
        given = [np.copy(each) if isinstance(each, np.ndarray) else each for each in case]
        got = risk(*given)
        if not all(map(np.array_equal, given, case)):
            raise Wrong("An argument is changed. Work on copies.")
        if np.shape(got) != (2,):
            raise Wrong(
                f"The result has the shape {np.shape(got)}; return two numbers, bias and variance."
            )
        got = np.array([float(each) for each in got])
        if name.startswith("two matrices"):
            say_what_is_wrong(got, *case)
            mean, error = drawn(*case)
            fits = np.isclose(got, by_response(*case), rtol=1e-5)
            if not abs(got.sum() - mean) <= 5 * error:
                raise Wrong(
                    f"20,000 students, each with labels drawn anew, have a mean squared error of "
                    f"{mean:.3f} ± {error:.3f}. Your bias and variance are {got[0]:.3f} and "
                    f"{got[1]:.3f}, together {got.sum():.3f}. "
                    + ("The bias is right." if fits[0] else "The bias is wrong.")
                    + (" The variance is right." if fits[1] else " The variance is wrong.")
                )
        wanted = by_response(*case)
        for part, one, other in zip(("bias", "variance"), got, wanted, strict=True):
            hint = f"In the case of {name}, the {part} is {one:.6g}; it should be {other:.6g}."
            expect_close(one, other, hint, 1e-5) if other else expect_close(one + 1, 1.0, hint)
    return (
        "It agrees with 20,000 students that were trained on drawn labels, and with exact cases, "
        "nested least squares and no weight for the teacher among them."
    )


@app.cell(hide_code=True)
def _():
    lesson.graded(check, risk)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## A famous claim, put to the test

    Menon et al. (2021, *A Statistical Perspective on Distillation*) explain distillation by the
    variance of what a student minimises. Labels scatter about the truth; a teacher that knows the
    truth puts its mean in their place, and the training loss keeps its mean and loses the scatter.
    Here such a teacher has $\sigma = f$. Then $s = H_S\,[(1-\alpha)\,y + \alpha f]$: the bias stays
    as it is, and the variance gets the factor $(1-\alpha)^2$, which is 0 at $\alpha = 1$. What can
    be gained that way is the whole variance, and for a student of $k$ coefficients that is
    $\omega^2 k/N$: much with few rows, little with many.

    The test is on Friedman's problem, where the true function and the noise are known. Students
    that are told the noise-free values of a few rows should have a smaller error than Persons that
    are told the labels of the same rows.

    **What a real teacher lacks.** It does not know $f$. It has learned from labels of the same
    kind, often the very same ones, so a part of their noise comes back as its error $\xi$
    (step 2); and what it smooths, or cannot represent, is a bias that its student inherits
    (step 4). A perfect teacher shows what can be had at best.
    """)
    return


@app.cell(hide_code=True)
def _():
    bayes_teacher = lesson.button()
    bayes_teacher
    return (bayes_teacher,)


@app.cell(hide_code=True)
def _(bayes_teacher):
    lesson.claim("bayes-teacher", bayes_teacher)
    return


@app.cell(hide_code=True)
def _():
    mo.md("## Three questions")
    return


@app.cell(hide_code=True)
def _():
    lesson.questions(
        (
            "In the first picture the error of the target falls to little more than a third, and "
            "the student gets worse. Where has the gain gone?",
            "The noise that the teacher removes is noise that the student would have averaged away "
            "itself: of the variance of 200 labels, least squares with seven coefficients keeps "
            "$7/200$. The teacher's bias is a smooth curve, which the student can represent, so "
            "nearly all of it gets through.",
        ),
        (
            "A network has learned its training labels by heart. Is there an $\\alpha$ at which it "
            "is a useful teacher on these rows? And on other rows?",
            "On these rows $\\sigma = y$, so $t = y$ for every $\\alpha$: no. On rows that it has "
            "not learned, its error has nothing to do with the noise of their labels, so some "
            "$\\alpha$ makes $t$ a better label than $y$, even if the teacher is worse than $y$.",
        ),
        (
            "Student and teacher are the same least squares, so the teacher has the student's own "
            "bias and variance. Does the student gain from it? Would a smoother as a student gain "
            "from itself?",
            "Least squares does not: $H_S H_S = H_S$, so $D = 0$. A smoother has $H_S H_S \\ne "
            "H_S$: learning from itself smooths once more. That lowers the variance and raises the "
            "bias, so it helps if it was too rough, and harms if it was too smooth already.",
        ),
    )
    return


if __name__ == "__main__":
    app.run()
