"""Chapter 3: why the soft loss is multiplied by T squared, and where this ceases to work."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(app_title="3. Why T is squared")

with app.setup:
    import lesson
    import marimo as mo
    import numpy as np
    from lesson import Wrong, expect_close, expect_none

    from nkd.losses import distillation, kl_divergence, softmax, split_divergence

    SIZE = (9.5, 4)  # of the picture, in inches


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # 3. The soft gradient falls like 1/T², so T is squared; but only roughly

    *After this chapter you can say why $T^2$ stands before the soft loss, what is left of the
    gradient at a high temperature, and at which temperatures the factor fails.*

    A student learns from two sources: from the label by cross-entropy, with the weight $1-\alpha$,
    and from the teacher by the KL divergence at a temperature $T$, with the weight $\alpha$:

    $$
    L = (1-\alpha)\,\mathrm{CE}(y, q) + \alpha\,T^2\,\mathrm{KL}(p_T \Vert q_T)
    $$

    Here $q_T = \mathrm{softmax}(z/T)$ is the student's and $p_T = \mathrm{softmax}(\zeta/T)$ the
    teacher's row of probabilities. This chapter is about the $T^2$. The gradient of the KL
    divergence was the subject of chapter 2:

    $$
    \frac{\partial\,\mathrm{KL}}{\partial z_c} = \frac{q_{T,c} - p_{T,c}}{T}
    $$

    **Step 1: two things make it small.** One $1/T$ stands in front of it, from the chain rule. And
    the difference $q_T - p_T$ shrinks as well, because a high temperature brings both rows near the
    uniform distribution, and so near each other. How fast does it shrink?

    **Step 2: centre the logits.** Softmax sees only differences, so we may choose from where to
    count. Let $\hat z_c = z_c - \frac1C\sum_k z_k$, and likewise $\hat\zeta_c$. These add up to 0,
    which is what makes the next step short.

    **Step 3: expand for large T.** If all $\hat z_c$ are small beside $T$, then
    $e^{\hat z_c/T} \approx 1 + \hat z_c/T$. The denominator of softmax is the sum of $C$ such
    terms, which is just $C$ to first order, because the $\hat z_c$ add up to 0:

    $$
    q_{T,c} = \frac1C\left(1 + \frac{\hat z_c}{T}\right) + O(T^{-2}), \qquad
    p_{T,c} = \frac1C\left(1 + \frac{\hat\zeta_c}{T}\right) + O(T^{-2})
    $$

    **Step 4: subtract.** The two 1 cancel. What is left has a second $1/T$:

    $$
    \frac{\partial\,\mathrm{KL}}{\partial z_c} = \frac{q_{T,c} - p_{T,c}}{T}
    = \frac{\hat z_c - \hat\zeta_c}{C\,T^2} + O(T^{-3})
    $$

    **Step 5: undo it.** So the soft gradient falls like $1/T^2$, while the hard one, $q - y$, has
    no $T$ in it. Ten times the temperature makes the teacher's part 100 times smaller, and the same
    $\alpha$ means something else. Multiplied by $T^2$, it has a limit that does not depend on $T$:

    $$
    T^2\,\frac{\partial\,\mathrm{KL}}{\partial z_c} = T\,(q_{T,c} - p_{T,c})
    \;\longrightarrow\; \frac{\hat z_c - \hat\zeta_c}{C} \qquad (T \to \infty)
    $$

    **Step 6: read the limit.** It is the gradient of
    $\frac{1}{2C}\sum_c(\hat z_c - \hat\zeta_c)^2$. At a high temperature, distillation is least
    squares between centred logits. All classes count alike, also those of which the teacher says at
    $T = 1$ that they are out of the question. And the more classes there are, the weaker it pulls
    at each: $T^2$ does nothing about the $1/C$.

    ## Where "roughly" ends

    The steps needed logits that are small beside $T$. How small is told by the next term, which
    comes from $e^x \approx 1 + x + x^2/2$. Write $m(x)$ for the mean of $x_c^2$ over the classes:

    $$
    T\,(q_{T,c} - p_{T,c}) = \frac{\hat z_c - \hat\zeta_c}{C} +
    \frac{\bigl(\hat z_c^2 - m(\hat z)\bigr) -
    \bigl(\hat\zeta_c^2 - m(\hat\zeta)\bigr)}{2\,C\,T} + O(T^{-2})
    $$

    Since $\hat z_c^2 - \hat\zeta_c^2$ is the difference times the sum, it makes the second term as
    large beside the first one as $\hat z_c + \hat\zeta_c$ beside $2T$: a logit beside $T$. A
    network that has been trained for some time has logits of 10 and more. So at the $T = 4$ that
    people use, nothing is settled, and the factor can be wrong in both directions.

    *Too weak.* Give one class the logit $a$ and all others 0, with
    $\rho = e^{a/T}/(e^{a/T} + C - 1)$ for its probability, and let teacher and student differ a
    little in $a$. Without the factor, the gradient is in proportion to $\rho(1-\rho)/T^2$. Start
    from $\rho = \tfrac12$ at $T = 1$ and go to $T = 10$:

    | classes | the gradient without $T^2$ becomes | with $T^2$ |
    |---|---|---|
    | 2 | 100 times smaller | stays the same |
    | 10 | 234 times smaller | becomes 2.3 times smaller |
    | 1,000 | 12,568 times smaller | becomes 126 times smaller |

    *Too strong.* Let there be ten classes, a teacher with the logit 12 for the label and a student
    with 5. Both are nearly sure at $T = 1$, so they hardly differ. From $T = 1$ to $T = 4$ the soft
    gradient *with* $T^2$ grows from length 0.060 to 1.73, and the hard one is 0.060 at both.

    And for $T \to 0$ it goes to 0, since none of its numbers is larger than $T$.
    """)
    return


@app.function
def lengths(T, classes, teacher, behind):
    """The lengths of q_T − p_T at these temperatures, of the limit, and of the hard gradient."""
    zeta, z = np.zeros((2, classes))
    zeta[0], z[0] = teacher, teacher - behind
    temperatures = np.reshape(T, (-1, 1))
    differences = softmax(z, temperatures) - softmax(zeta, temperatures)
    limit = (z - z.mean() - zeta + zeta.mean()) / classes
    hard = softmax(z) - np.eye(classes)[0]
    return np.linalg.norm(differences, axis=1), np.linalg.norm(limit), np.linalg.norm(hard)


@app.function
def change(ratio):
    """A ratio of two lengths in words."""
    times = f"{float(f'{max(ratio, 1 / ratio):.3g}'):,g}"
    return "as long" if times == "1" else f"{times} times {'longer' if ratio > 1 else 'shorter'}"


@app.function
def picture(figure, classes=10, teacher=12.0, behind=7.0):
    """The length of one row's soft gradient over T, with and without the factor T².

    All logits are 0 but the label's: `teacher`, and for the student less by `behind`.
    """
    T = np.geomspace(0.3, 300, 250)
    difference, limit, hard = lengths(T, classes, teacher, behind)
    axes = figure.subplots()
    near = np.abs(T * difference / limit - 1) <= 0.1
    settled = T[near.size - np.argmin(near[::-1])] if not near.all() else T[0]
    axes.axvspan(settled, T[-1], color="#999999", alpha=0.15)
    axes.loglog(T, T * difference, color="#0072B2", lw=2, label="soft gradient, with T²")
    axes.axhline(limit, color="#0072B2", ls=":", label="its limit")
    axes.loglog(T, difference / T, color="#D55E00", lw=2, label="soft gradient, without T²")
    axes.loglog(T, limit / T**2, color="#999999", ls="--", label="a line of slope −2")
    axes.axhline(hard, color="#009E73", ls="-.", label="hard gradient")
    lowest, highest = limit / T[-1] ** 2, max((T * difference).max(), hard, limit)
    axes.set(xlim=T[[0, -1]], ylim=(lowest / 2, highest * 3), xlabel="temperature T")
    axes.set_ylabel("length of the gradient of a row")
    at_1, at_10 = lengths((1, 10), classes, teacher, behind)[0]
    axes.set_title(
        f"From T = 1 to T = 10: {change(at_10 / at_1 / 10)} without T², "
        f"{change(at_10 / at_1 * 10)} with it.\n"
        f"Grey: from T = {float(f'{settled:.2g}'):g} on, T² makes it constant within 10 %.",
        fontsize="medium",
    )
    figure.legend(loc="outside right upper", fontsize="small")


@app.cell(hide_code=True)
def _():
    classes = mo.ui.slider(steps=[2, 3, 10, 100, 1000], value=10, label="classes", show_value=True)
    teacher = mo.ui.slider(
        steps=[0, 1, 2.2, 4, 6.9, 9, 12, 16, 20],
        value=12,
        label="the teacher's logit of the label",
        show_value=True,
    )
    behind = mo.ui.slider(
        steps=[0.1, 0.5, 1, 2, 4, 7, 12, 20],
        value=7,
        label="the student's is less by",
        show_value=True,
    )
    mo.hstack([classes, teacher, behind], justify="start", gap=2, wrap=True)
    return behind, classes, teacher


@app.cell(hide_code=True)
def _(behind, classes, teacher):
    lesson.moving(
        picture,
        SIZE,
        "Lengths of the soft gradient over the temperature on logarithmic axes: without T² it "
        "comes to fall along a line of slope −2, with T² it becomes level, but only at high T",
        {"classes": classes.value, "teacher": teacher.value, "behind": behind.value},
        [
            {"classes": 10, "teacher": 12, "behind": 7},
            {"classes": 2, "teacher": 0, "behind": 0.1},
            {"classes": 1000, "teacher": 6.9, "behind": 0.1},
            {"classes": 10, "teacher": 12, "behind": 20},
        ],
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    **Try it.** At the first setting, teacher and label pull equally hard at $T = 1$: a sure teacher
    says what the label says. At which $T$ does the teacher pull hardest, and how much harder than
    the label? (At about 4, with 1.73 against 0.060: 29 times as hard, though $T^2$ is meant to keep
    the balance.) Then change nothing but the number of classes, from 10 to 2. The grey region now
    begins at 13 in place of 71. With two classes the centred logits are $\pm a/2$, their squares
    are equal, and the term with $1/T$ is gone. Last, find the three rows of the table: 2.2 is about
    $\log 9$, and 6.9 about $\log 999$.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.vstack([lesson.engine(kl_divergence, distillation), lesson.reference(6)])
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Exercise: the soft gradient and its limit

    Write `soft_gradient`, then `limit`: what it becomes for $T \to \infty$, without any $T$.
    """)
    return


@app.function
def soft_gradient(z, z_teacher, T):
    """The derivatives by z of T²·KL(p_T ‖ q_T), the mean over the rows.

    Args:
        z: the student's logits (B, C), any numbers.
        z_teacher: the teacher's logits (B, C).
        T: temperature, a number above 0.

    Returns:
        An array (B, C).
    """
    raise NotImplementedError


@app.function
def limit(z, z_teacher):
    """What `soft_gradient` goes to, all its factors included, when T goes to infinity.

    Args:
        z: the student's logits (B, C), any numbers.
        z_teacher: the teacher's logits (B, C).

    Returns:
        An array (B, C).
    """
    raise NotImplementedError


@app.function
def called(function, z, z_teacher, *T):
    """What the reader's function returns, if it has left its arguments alone."""
    got = lesson.called(function, z, z_teacher, *T)
    if np.shape(got) != z.shape:
        raise Wrong(
            f"The result of `{function.__name__}` has the shape {np.shape(got)}; it should have "
            f"that of z, {z.shape}. (A mean over the rows is a factor 1/B: row n of z enters only "
            "the loss of row n.)"
        )
    return np.asarray(got)


@app.function
def right_gradient(z, z_teacher, T):
    """The derivatives of T²·KL(p_T ‖ q_T), by the engine."""
    z, z_teacher = z.astype(np.float64), z_teacher.astype(np.float64)
    return T * (softmax(z, T) - softmax(z_teacher, T)) / len(z)


@app.function
def centred(z):
    """Each row less its mean."""
    return z - z.mean(axis=1, keepdims=True)


@app.function
def described(where, got, right):
    """How a wrong result differs from the right one."""
    if got.dtype.kind not in "fiu":
        return where
    got = got.astype(np.float64)
    factor = (got * right).sum() / (right * right).sum()
    if np.allclose(got, factor * right):
        return f"{where}: all of it is {factor:.6g} times what it should be."
    rows = got[0].round(6).tolist(), right[0].round(6).tolist()
    return f"{where}: the first row is {rows[0]}, and should be {rows[1]}."


@app.function
def check_soft_gradient(soft_gradient):
    """What is wrong with a soft gradient."""
    generator = np.random.default_rng(0)
    (B, C), T = (5, 4), 3.0
    z, z_teacher = generator.normal(0, 3, (2, B, C))
    got, right = called(soft_gradient, z, z_teacher, T), right_gradient(z, z_teacher, T)
    q, p, q_1, p_1 = softmax(z, T), softmax(z_teacher, T), softmax(z), softmax(z_teacher)
    of_columns = softmax(z.T, T).T - softmax(z_teacher.T, T).T
    multiplied = softmax(z, 1 / T) - softmax(z_teacher, 1 / T)
    reverse, squared = q * np.log(q / p), q * (q - p)
    expect_none(
        got,
        (-right, "The sign is wrong: a class of which the student is too sure has to go down."),
        (right / T**2, "This is the gradient of KL, without the factor T²."),
        (
            right / T,
            "A factor T is missing: the loss has T², and the chain rule takes one T away, not two.",
        ),
        (
            right * T,
            "A factor T is too much: z enters as z/T, so the chain rule puts a 1/T beside the T².",
        ),
        (right * B, "The 1/B of the mean over rows is missing."),
        (right / C, "It is divided by B·C, but KL sums over the classes."),
        *(
            (factor * (q_1 - p_1) / B, "The temperature does not enter the softmax.")
            for factor in (1, T, 1 / T, T**2)
        ),
        *(
            (factor * (q - p_1) / B, "The teacher's probabilities are those at T = 1.")
            for factor in (1, T, T**2)
        ),
        *(
            (factor * (q_1 - p) / B, "The student's probabilities are those at T = 1.")
            for factor in (1, T, T**2)
        ),
        *(
            (factor * of_columns / B, "Softmax goes over the wrong axis: each row adds up to 1.")
            for factor in (1, T, T**2)
        ),
        *(
            (factor * multiplied / B, "The logits are multiplied by T. Softmax divides by it.")
            for factor in (1, T, T**2)
        ),
        *(
            (
                -(p / q) * factor,
                "These are the derivatives by the probabilities q_T. Those by the logits are "
                "asked for.",
            )
            for factor in (1, T**2, 1 / B, T**2 / B)
        ),
        *(
            (
                factor * (reverse - q * reverse.sum(axis=1, keepdims=True)) / B,
                "This is the gradient of KL(q_T ‖ p_T). Here p_T comes first: the teacher weighs "
                "the logarithms.",
            )
            for factor in (1, T, 1 / T)
        ),
        *(
            (
                factor * (squared - q * squared.sum(axis=1, keepdims=True)) / B,
                "This is the gradient of a squared error between q_T and p_T. KL is asked for.",
            )
            for factor in (1, T, 1 / T, 2, 2 * T, 2 / T)
        ),
        (T * q / B, "The teacher is missing."),
        (
            centred(z - z_teacher) / C / B,
            "This is the limit for large T. At T = 3 it does not hold yet.",
        ),
    )
    where = "`soft_gradient` is wrong at T = 3, B = 5, C = 4"
    expect_close(got, right, described(where, got, right))
    for rows, classes, T in ((1, 2, 1), (3, 7, 0.5), (6, 3, 20.0), (2, 50, 1000.0), (2, 5, 1e6)):
        z, z_teacher = generator.normal(0, 3, (2, rows, classes))
        hint = (
            f"At T = 3 it is right, but not at T = {T:g} with {rows} rows and {classes} classes. "
            "Is there a number that should be T, B or C?"
        )
        if T >= 1000:
            hint += " Or are the probabilities rounded to float32? q_T and p_T are nearly equal."
        got = called(soft_gradient, z, z_teacher, T)
        expect_close(got, right_gradient(z, z_teacher, T), hint)
    z, z_teacher = (
        np.array([[1e3, 0.0, -1e3], [0.0, 7e4, 3.0]]),
        np.array([[0.0, 800, 1], [9, 0, 2]]),
    )
    for T in (1.0, 0.01, 50.0):
        hint = (
            f"At logits of 1,000 and more and T = {T:g} it is wrong. Does an exponential overflow?"
        )
        got = called(soft_gradient, z, z_teacher, T)
        expect_close(got, right_gradient(z, z_teacher, T), hint)
    z, z_teacher = np.array([[3, 0, -2], [1, 1, 4]]), np.array([[0, 1, 0], [9, 0, 1]])
    hint = "In arrays of whole numbers it is wrong: they can hold no fractions."
    got = called(soft_gradient, z, z_teacher, 2)
    expect_close(got, right_gradient(z, z_teacher, 2), hint)


@app.function
def check_limit(limit):
    """What is wrong with the limit of the soft gradient."""
    generator = np.random.default_rng(1)
    B, C = 5, 4
    z, z_teacher = generator.normal(0, 3, (2, B, C))
    got, right = called(limit, z, z_teacher), centred(z - z_teacher) / C / B
    difference = z - z_teacher
    expect_none(
        got,
        (np.zeros((B, C)), "The gradient of KL goes to 0. The limit of T² times it does not."),
        (-right, "The sign of the limit is wrong."),
        *(
            (
                difference / C * factor,
                "The logits are not centred. Add 1 to all of z: softmax does not change, and so "
                "the limit must not.",
            )
            for factor in (1, C, 1 / B, C / B)
        ),
        (right * B * C, "Both 1/B and the 1/C that comes from the denominator are missing."),
        (right * B, "The limit lacks the 1/B of the mean over rows, which `soft_gradient` has."),
        (
            right * C,
            "The limit lacks a factor that depends on the number of classes. What is the "
            "denominator of softmax when T is large?",
        ),
        (right / C, "The limit is divided by C twice."),
        (right * C / (C - 1), "The factor is not 1/(C − 1): count the terms in the denominator."),
        *(
            (
                (difference - difference.mean(axis=axis)) / C / B * factor,
                "The mean is taken over the wrong axis: each row has a mean of its own.",
            )
            for axis in (0, None)
            for factor in (1, C, B)
        ),
        *(
            (
                (
                    z
                    - z.max(axis=1, keepdims=True)
                    - z_teacher
                    + z_teacher.max(axis=1, keepdims=True)
                )
                / C
                / B
                * factor,
                "The maximum is subtracted from the logits. The first order vanishes only for "
                "logits that add up to 0.",
            )
            for factor in (1, C, B)
        ),
    )
    if np.allclose(got, right, 0.02, 1e-3 * np.abs(right).max()):
        expect_close(
            got,
            right,
            "The limit is close, but not exact, as if it was computed at a large T. There is a "
            "formula without T, which is right to all digits.",
        )
    expect_close(got, right, described("`limit` is wrong at B = 5, C = 4", got, right))
    for rows, classes, scale in ((1, 2, 1), (2, 50, 1), (3, 7, 1e-6), (6, 3, 1e6), (4, 4, 1e9)):
        z, z_teacher = generator.normal(0, scale, (2, rows, classes))
        hint = (
            f"The limit is right for 5 rows of 4 classes, but not for {rows} of {classes} with "
            f"logits of the size {scale:g}. Is there a number that should be B or C? Or is it the "
            "gradient at some large T? A formula without T is asked for."
        )
        got = called(limit, z, z_teacher)
        expect_close(got, centred(z - z_teacher) / classes / rows, hint)
    z, z_teacher = np.array([[3, 0, -2], [1, 1, 4]]), np.array([[0, 1, 0], [9, 0, 1]])
    hint = "In arrays of whole numbers the limit is wrong: they can hold no fractions."
    got = called(limit, z, z_teacher)
    expect_close(got, centred(z - z_teacher) / 6, hint)


@app.function
def check(soft_gradient, limit):
    """What is wrong with the soft gradient, then with its limit."""
    check_soft_gradient(soft_gradient)
    try:
        check_limit(limit)
    except NotImplementedError:
        raise Wrong("`soft_gradient` is right. `limit` is not written yet.") from None
    return (
        "`soft_gradient` is right from T = 0.01 to 1,000,000 and for logits up to 70,000, and "
        "`limit` is what it goes to, for 2 to 50 classes."
    )


@app.cell(hide_code=True)
def _():
    lesson.graded(check, soft_gradient, limit)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Two things in one gradient

    A teacher says how sure it is of the label, and which other classes the image resembles. The
    soft gradient is the sum of two vectors that say the one and the other. Take one row, write $p$
    and $q$ for $p_T$ and $q_T$, and let $y$ be the number of the label. Divide the probabilities of
    the other classes by their sum, which makes probabilities of them again:

    $$
    \hat p_k = \frac{p_k}{1 - p_y}, \qquad \hat q_k = \frac{q_k}{1 - q_y} \qquad (k \ne y)
    $$

    **Step 1: split the value.** For $k \ne y$, insert $p_k = (1 - p_y)\,\hat p_k$ into the KL
    divergence, and likewise $q_k$. The logarithm of a product is a sum, and the $\hat p_k$ add up
    to 1:

    $$
    \mathrm{KL}(p \Vert q) = \underbrace{p_y \log\frac{p_y}{q_y} +
    (1-p_y)\log\frac{1-p_y}{1-q_y}}_{\text{the label, or another?}} +
    (1-p_y)\,\underbrace{\sum_{k \ne y} \hat p_k
    \log\frac{\hat p_k}{\hat q_k}}_{\text{if another, which?}}
    $$

    **Step 2: the second part.** $\hat q$ is a softmax over the logits of the other classes alone.
    So its gradient is known from chapter 2, and the label's logit does not occur in it:

    $$
    \frac{\partial}{\partial z_y} = 0, \qquad
    \frac{\partial}{\partial z_k} = \frac{(1-p_y)\,(\hat q_k - \hat p_k)}{T} \qquad (k \ne y)
    $$

    **Step 3: the first part** is what is left of $(q - p)/T$. For the label that is all of it. For
    the others, $q_k - p_k - (1-p_y)(\hat q_k - \hat p_k) = q_k - (1-p_y)\,\hat q_k$, and with
    $q_k = (1-q_y)\,\hat q_k$

    $$
    \frac{\partial}{\partial z_y} = \frac{q_y - p_y}{T}, \qquad
    \frac{\partial}{\partial z_k} = \frac{\hat q_k\,(p_y - q_y)}{T} \qquad (k \ne y)
    $$

    The first part moves the label to the teacher's confidence and lets the others give way, each in
    proportion to what it has. Only the second part tells the others apart; and it carries the
    factor $1 - p_y$. A teacher that is sure of the label silences what it knows about the rest. A
    higher $T$ makes $1 - p_y$ larger: another thing that a temperature does, and $T^2$ does not
    undo.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.vstack([lesson.engine(split_divergence), lesson.reference(23)])
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## A famous claim, put to the test

    Zhao et al. found these two parts (*Decoupled Knowledge Distillation*, 2022). They report that
    the second one carries what is useful: that, beside the hard loss, a student learns as much from
    the part about the other classes alone as from both, while the part about the label alone helps
    little or even harms. The mechanism is that of the last paragraph: only the second part holds
    what a label does not say. If this is so, students with the second part alone make fewer errors
    than those with the first alone. Mind the 0 in step 2: with the second part alone, no teacher
    pulls at the label's own logit. The hard loss does, in the paper and here, where $\alpha =
    \tfrac12$.
    """)
    return


@app.cell(hide_code=True)
def _():
    others = lesson.button()
    others
    return (others,)


@app.cell(hide_code=True)
def _(others):
    lesson.claim("other-classes", others)
    return


@app.cell(hide_code=True)
def _():
    mo.md("## Three questions")
    return


@app.cell(hide_code=True)
def _():
    lesson.questions(
        (
            "A program forgets the $T^2$ and trains at $T = 10$ with $\\alpha = 0.5$. Which "
            "$\\alpha$ would a program with the factor need, to do the same?",
            "About 0.01. Without the factor, the soft and the hard gradient have equal weights. "
            "With it they have $\\alpha T^2$ and $1 - \\alpha$, which are equal at "
            "$\\alpha = 1/101$. (Both are then twice as large as before; that is a matter of the "
            "learning rate.)",
        ),
        (
            "At a very high $T$, a teacher's logits for two hopeless classes are $-8$ and $-12$. "
            "Does it matter to the student which is which? And at $T = 1$?",
            "At a high $T$ it does: the loss is a squared distance between centred logits, and 4 "
            "is as much there as between the two best classes. At $T = 1$ both have next to no "
            "probability, and the gradient at both is next to nothing once the student's are as "
            "small.",
        ),
        (
            "A student has just the teacher's probability of the label, but confuses the other "
            "classes. Which part of its gradient is 0, and why does a sure teacher hardly help it?",
            "The first part is 0 in all classes, since $p_y = q_y$. The second is multiplied by "
            "$1 - p_y$, which is nearly 0 if the teacher is sure. A higher $T$, or a weight of its "
            "own for the second part, lets the teacher be heard.",
        ),
    )
    return


if __name__ == "__main__":
    app.run()
