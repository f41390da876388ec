"""Chapter 5: label and teacher make one target, so two log-sum-exps and a product suffice."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(app_title="5. One blended target")

with app.setup:
    import lesson
    import marimo as mo
    import numpy as np
    from lesson import Wrong, expect_close, expect_none

    from nkd.losses import DistillationLoss, distillation, distillation_loss, log_softmax, softmax

    # Two directions at right angles, (3, 2), in which three centred logits can move.
    PLANE = np.array([[2, -1, -1], [0, np.sqrt(3), -np.sqrt(3)]]).T / np.sqrt(6)

    # Where a triangle has the probability 1 of each class.
    CORNERS = np.array([[1, 0], [0, np.sqrt(3) / 2], [0, -np.sqrt(3) / 2]])

    SIZE = (11, 4.4)  # of the picture, in inches


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # 5. Label and teacher make one blended target

    *After this chapter you can compute the whole distillation loss from two log-sum-exps and one
    product, and say where its minimum lies, what its constant is for, and when it is no more than
    training on other labels.*

    The loss of a row, with the label $y$ as a row of probabilities, the student's logits $z$ and
    the teacher's $\zeta$, is

    $$
    L = (1-\alpha)\,\mathrm{CE}(y, q) + \alpha\,T^2\,\mathrm{KL}(p_T \Vert q_T)
    $$

    It has two softmaxes of the student, one of the teacher, and many logarithms. But while the
    student learns, the teacher does not change, and neither does the label. What depends on them
    alone should be computed once, before training. To find it, sort the terms by how they depend on
    $z$.

    **Step 1: each part is a log-sum-exp less a product.** Insert $\log q_c = z_c - \mathrm{lse}(z)$
    with $\mathrm{lse}(z) = \log\sum_k e^{z_k}$. The $y_c$ add up to 1, so lse enters once:

    $$
    \mathrm{CE}(y, q) = -\sum_c y_c \log q_c = \mathrm{lse}(z) - \sum_c y_c\,z_c
    $$

    For the soft part, $\log q_{T,c} = z_c/T - \mathrm{lse}(z/T)$, and the $p_{T,c}$ add up to 1:

    $$
    T^2\,\mathrm{KL}(p_T \Vert q_T) = T^2\,\mathrm{lse}\!\left(\frac{z}{T}\right) -
    T\sum_c p_{T,c}\,z_c + T^2\sum_c p_{T,c}\log p_{T,c}
    $$

    One $T$ of the $T^2$ has gone into $z_c/T$.

    **Step 2: collect.** In both products $z$ stands alone, so they are one product. And the last
    sum has no $z$ at all. Define the **blended target** and the **constant**

    $$
    t = (1-\alpha)\,y + \alpha\,T\,p_T, \qquad
    \kappa = \alpha\,T^2\sum_c p_{T,c}\log p_{T,c}
    $$

    **Step 3: the loss.** Weighted and added, the two lines of step 1 are

    $$
    L = (1-\alpha)\,\mathrm{lse}(z) + \alpha\,T^2\,\mathrm{lse}\!\left(\frac{z}{T}\right) -
    \sum_c t_c\,z_c + \kappa
    $$

    The derivative of $\mathrm{lse}(z)$ is $q$, and that of $T^2\,\mathrm{lse}(z/T)$ is $T\,q_T$. So
    the gradient needs $t$ and nothing else of label and teacher:

    $$
    \frac{\partial L}{\partial z} = (1-\alpha)\,q + \alpha\,T\,q_T - t
    $$

    As a check, add it up over the classes: $(1-\alpha) + \alpha T$ from the first two terms, and
    the same from $t$. It is 0, as it must be, since a shift of all logits changes nothing.

    **Step 4: why L is never negative.** In the blended form one cannot see it. In the first form
    one can: $\mathrm{CE} \ge 0$ because no $q_c$ is above 1, and $\mathrm{KL} \ge 0$ because
    $\log a \le a - 1$, so $-\mathrm{KL} = \sum_c p_c\log(q_c/p_c) \le \sum_c(q_c - p_c) = 0$. This
    makes a good test. A value below 0 is a mistake, most often in $\kappa$.

    **Step 5: what the constant is for.** $\kappa$ is $-\alpha T^2$ times the entropy of $p_T$. The
    gradient does not know it, and training goes the same way without it. But the value is then too
    large, by up to $\alpha T^2 \log C$, and by another amount at each temperature. With $\kappa$, a
    student with $\alpha = 1$ that agrees with its teacher has the loss 0.

    **Step 6: where the minimum is.** lse is convex, and a product is linear, so $L$ is convex: one
    valley. If $\alpha > 0$, all $t_c$ are positive, and the valley has a floor: one point (and its
    shifts), where $(1-\alpha)\,q + \alpha T\,q_T = t$. If $\alpha = 0$ and the label is hard, the
    valley falls for ever towards the label's corner, which is infinitely far away. Any teacher, and
    ever so small an $\alpha$, brings the minimum to a finite place.

    **Step 7: T = 1.** Here $q_T = q$, both lse are the same, $t$ adds up to 1, and

    $$
    L = \mathrm{CE}(t, q) + \kappa, \qquad t = (1-\alpha)\,y + \alpha\,p
    $$

    Distillation at $T = 1$ *is* training on a label, a blended one, and the minimum is at $q = t$.
    At any other $T$ the two lse differ; if $\alpha > 0$, $t$ adds up to $1 - \alpha + \alpha T$,
    which is not 1, and no single cross-entropy of $q$ equals the loss.

    (For a regression this is so without any temperature: two squared errors are one squared error
    to $t = (1-\alpha)\,y + \alpha\,\sigma$, with the teacher's outputs $\sigma$, plus the constant
    $\alpha(1-\alpha)\,\mathrm{MSE}(y, \sigma)$. See chapter 9.)
    """)
    return


@app.function
def gradient(z, zeta, alpha, T):
    """∂L/∂z of logits (…, 3), by steps 2 and 3; the label is class 1."""
    t = (1 - alpha) * np.array([1, 0, 0]) + alpha * T * softmax(zeta, T)
    return (1 - alpha) * softmax(z) + alpha * T * softmax(z, T) - t


@app.function
def minimum(zeta, alpha, T):
    """The centred logits of least loss, (3,), by Newton's method in the plane."""
    x = np.zeros(2)
    for _ in range(100):
        q, q_T = softmax(PLANE @ x), softmax(PLANE @ x, T)
        curvature = (1 - alpha) * (np.diag(q) - np.outer(q, q))
        curvature += alpha * (np.diag(q_T) - np.outer(q_T, q_T))
        step = np.linalg.solve(
            PLANE.T @ curvature @ PLANE, PLANE.T @ gradient(PLANE @ x, zeta, alpha, T)
        )
        x = x - step * min(1, 1 / max(np.linalg.norm(step), 1e-9))
    return PLANE @ x


@app.function
def loss_of(z, zeta, alpha, T):
    """L of each row of logits (N, 3) on its own, by the engine; the label is class 1."""
    y = np.broadcast_to([1.0, 0, 0], z.shape)
    rows = (each[:, None] for each in (z, y, np.broadcast_to(zeta, z.shape)))
    return distillation(*rows, alpha, T)[0]


@app.function
def picture(figure, alpha=0.5, T=4.0, teacher=0.0):
    """A row's loss over three logits, up to a shift, with its minimum; and their probabilities.

    The label is class 1. The teacher's logits are `teacher`, 1.5 and −1.5.
    """
    zeta = np.array([teacher, 1.5, -1.5])
    plane, triangle = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1.3, 1)})
    grid = np.stack(np.meshgrid(np.linspace(-4, 7, 56), np.linspace(-4, 4.5, 44)), axis=-1)
    loss = loss_of(grid.reshape(-1, 2) @ PLANE.T, zeta, alpha, T).reshape(grid.shape[:2])
    levels = [0.01, 0.03, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20]
    lines = plane.contour(
        grid[..., 0], grid[..., 1], loss, levels, colors="#999999", linewidths=0.8
    )
    plane.clabel(lines, fontsize="x-small", fmt="%g")
    path = [np.zeros(3)]
    for _ in range(400):
        path.append(path[-1] - gradient(path[-1], zeta, alpha, T))
    marks = [("o", 9, "#D55E00", "the teacher", zeta)]
    least = "no minimum"
    if alpha > 0:
        best = minimum(zeta, alpha, T)
        marks.append(("*", 15, "#0072B2", "the minimum", best))
        least = f"least L = {loss_of(best[None], zeta, alpha, T)[0]:.3f}"
    blends = np.array([softmax(zeta) @ CORNERS, CORNERS[0]])
    triangle.plot(*blends.T, color="#CC79A7", ls="--")
    triangle.plot(*CORNERS[[0, 1, 2, 0]].T, color="black", lw=0.8)
    for axes, place in ((plane, lambda z: z @ PLANE), (triangle, lambda z: softmax(z) @ CORNERS)):
        axes.plot(*place(np.array(path)).T, ".-", color="#009E73", ms=4, label="descent from 0")
        for marker, size, colour, label, z in marks:
            axes.plot(*place(z), marker, color=colour, ms=size, label=label, mec="white")
        axes.set_aspect("equal")
    plane.plot([], [], color="#CC79A7", ls="--", label="blends of the label and p")
    plane.legend(fontsize="small", loc="lower left")
    plane.annotate(
        "to the label's corner",
        (6.9, -3.5),
        (2.2, -3.5),
        arrowprops={"arrowstyle": "->"},
        va="center",
        fontsize="small",
    )
    plane.set(xlim=(-4, 7), ylim=(-4, 4.5), ylabel="class 2 against 3: $(z_2-z_3)/√2$")
    plane.set_xlabel("class 1 against the others: $(2z_1-z_2-z_3)/√6$")
    plane.set_title(f"L over the logits: {least}", fontsize="medium")
    triangle.text(1.03, 0, "class 1,\nthe label", va="center", fontsize="small")
    triangle.text(-0.02, 0.9, "class 2", ha="center", fontsize="small")
    triangle.text(-0.02, -0.95, "class 3", ha="center", fontsize="small")
    triangle.set(xlim=(-0.15, 1.3), ylim=(-1, 1))
    triangle.axis("off")
    target, constant = DistillationLoss(alpha, T).target(np.eye(3)[None, :1], zeta[None, None])
    numbers = ", ".join(f"{each:.2f}" for each in target[0, 0])
    triangle.set_title(
        f"The same as probabilities\nt = ({numbers}), κ = {constant[0, 0]:.2f}", fontsize="medium"
    )


@app.cell(hide_code=True)
def _():
    alpha = mo.ui.slider(0, 1, 0.1, value=0.5, label="α", show_value=True)
    temperature = mo.ui.slider(steps=[1, 2, 4, 10, 20], value=4, label="T", show_value=True)
    teacher = mo.ui.slider(
        -1, 4, 0.5, value=0, label="the teacher's logit of the label", show_value=True
    )
    mo.hstack([alpha, temperature, teacher], justify="start", gap=2, wrap=True)
    return alpha, teacher, temperature


@app.cell(hide_code=True)
def _(alpha, teacher, temperature):
    lesson.moving(
        picture,
        SIZE,
        "Contours of a convex loss over the plane of three centred logits, with a way down from 0 "
        "to the minimum, which lies between the teacher's logits and the label's corner; beside "
        "it the same in the triangle of probabilities",
        {"alpha": alpha.value, "T": temperature.value, "teacher": teacher.value},
        [
            {"alpha": 0.5, "T": 4, "teacher": 0},
            {"alpha": 0.5, "T": 1, "teacher": 0},
            {"alpha": 0, "T": 1, "teacher": 0},
            {"alpha": 0.1, "T": 4, "teacher": 4},
        ],
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    **Try it.** Set $T = 1$ and move $\alpha$. In the triangle the star runs along the dashed line
    and is always at $t$; in the plane it stays level with the teacher, because the label says
    nothing about class 2 against class 3, and the teacher's word stands. Now raise $T$ to 4. The
    star sinks and leaves the line. Why? (At the minimum, $(1-\alpha)\,q_k = \alpha T\,(p_{T,k} -
    q_{T,k})$ for each class but the label's. The hard loss presses class 2 down more than class 3,
    in proportion to what it has. At $T = 1$ both probabilities give way by the same *factor*, and
    so their ratio stays. At a high $T$ it is the *logits* that give way in proportion to $q_k$, and
    those of class 2 more.) The contours become rounder, too: that is the parabola of chapter 4.

    This teacher is wrong: it prefers class 2. From which $\alpha$ on does the minimum side with it,
    and what has the temperature to do with that? (From 0.7 on, at every $T$: next to nothing.)
    Last, set $\alpha = 0$. The 400 steps end at $L = 0.0017$, and ten times as many steps would
    make it ten times smaller. There is no arriving. With $\alpha = 0.1$ there is.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## How the engine does it

    `target` is called once, before training, for all rows. A step then calls `distillation_loss`,
    which knows neither label nor teacher. Both of its log-sum-exps have the form
    $w\,\tau\,\mathrm{lse}(z/\tau)$ with the gradient $w\,\mathrm{softmax}(z/\tau)$, once with
    $w = 1-\alpha$, $\tau = 1$ and once with $w = \alpha T$, $\tau = T$: one loop, and the same
    exponentials serve value and gradient. It subtracts the maximum $a$ of the row first. May it?
    The three terms of step 3 change by $-(1-\alpha)\,a$, $-\alpha T a$ and $+a\sum_c t_c$, and
    $t$ adds up to $1 - \alpha + \alpha T$.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.vstack([lesson.engine(DistillationLoss.target, distillation_loss), lesson.reference(7, 8)])
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Exercise: the target and its constant

    Write `blended_target`, then `constant`, without looking above. The check builds the loss from
    them, and compares it with cross-entropy and KL at points from all over the place.
    """)
    return


@app.function
def blended_target(y, z_teacher, alpha, T):
    """All that a step of training needs to know of label and teacher.

    Args:
        y: the labels as rows of probabilities (B, C): hard, or soft ones.
        z_teacher: the teacher's logits (B, C), any numbers.
        alpha: the weight of the teacher, a number from 0 to 1.
        T: temperature, a number above 0.

    Returns:
        t (B, C), such that the loss of a row is, up to a number without z,
        (1−α)·lse(z) + α·T²·lse(z/T) − Σ t·z.
    """
    raise NotImplementedError


@app.function
def constant(y, z_teacher, alpha, T):
    """That number: what is missing to (1−α)·CE(y, q) + α·T²·KL(p_T ‖ q_T).

    Args:
        y, z_teacher, alpha, T: as for `blended_target`.

    Returns:
        κ (B,), one for each row.
    """
    raise NotImplementedError


@app.function
def called(function, y, z_teacher, alpha, T):
    """What the reader's function returns, if it has left its arguments alone."""
    got = lesson.called(function, y, z_teacher, alpha, T)
    if got is None or isinstance(got, tuple):
        raise Wrong(
            f"`{function.__name__}` should return one array. It returns {type(got).__name__}."
        )
    got = np.asarray(got)
    return got.astype(np.float64) if got.dtype.kind in "fiu" else got


@app.function
def right_parts(y, z_teacher, alpha, T):
    """t (B, C) and κ (B,) in float64."""
    y, log_p = y.astype(np.float64), log_softmax(z_teacher.astype(np.float64), T)
    p = np.exp(log_p)
    return (1 - alpha) * y + alpha * T * p, alpha * T**2 * (p * log_p).sum(axis=1)


@app.function
def some_rows(generator, B, C, scale=2.0, hard=False):
    """Labels and a teacher's logits, (B, C) each."""
    y = softmax(generator.normal(0, 2, (B, C)))
    return np.eye(C)[y.argmax(axis=1)] if hard else y, generator.normal(0, scale, (B, C))


@app.function
def lse(z):
    """The log-sum-exp of each row."""
    return z.max(axis=1) + np.log(np.exp(z - z.max(axis=1, keepdims=True)).sum(axis=1))


@app.function
def values(z, y, z_teacher, alpha, T, t, kappa):
    """The loss of each row from t and κ, and as it is defined, by the engine."""
    blended = (1 - alpha) * lse(z) + alpha * T**2 * lse(z / T) - (t * z).sum(axis=1) + kappa
    return blended, distillation(z[:, None], y[:, None], z_teacher[:, None], alpha, T)[0]


@app.function
def check_target(blended_target):
    """What is wrong with a blended target."""
    generator = np.random.default_rng(5)
    (B, C), alpha, T = (5, 4), 0.3, 2.5
    y, z_teacher = some_rows(generator, B, C)
    got, (right, _) = (
        called(blended_target, y, z_teacher, alpha, T),
        right_parts(y, z_teacher, alpha, T),
    )
    p, p_1, p_many = (softmax(z_teacher, each) for each in (T, 1, 1 / T))
    p_columns, log_p = softmax(z_teacher.T, T).T, log_softmax(z_teacher, T)
    hard, soft = (1 - alpha) * y, alpha * T * p
    expect_none(
        got,
        (
            right / B,
            "t is divided by B. The mean over the rows comes later: t is that of each row.",
        ),
        (-right, "The sign of t is wrong: the product with t is subtracted already."),
        (
            hard + alpha * p,
            "A factor T is missing in the teacher's part. In step 1, T² meets the 1/T of z/T.",
        ),
        (
            hard + alpha * T**2 * p,
            "T² is too much in the teacher's part: z enters as z/T, so one T is left.",
        ),
        (hard + alpha / T * p, "1/T in place of T: the soft part has lost its factor T²."),
        *(
            (
                alpha * y + (1 - alpha) * factor * p,
                "α and 1 − α have changed places: α is the weight of the teacher.",
            )
            for factor in (1, T, T**2)
        ),
        *(
            (
                hard + alpha * factor * p_1,
                "The teacher's probabilities are those at T = 1.",
            )
            for factor in (1, T, T**2)
        ),
        *(
            (
                hard + alpha * factor * p_many,
                "The teacher's logits are multiplied by T. Softmax divides by it.",
            )
            for factor in (1, T, T**2)
        ),
        *(
            (
                hard + alpha * factor * p_columns,
                "Softmax goes over the wrong axis: the probabilities of each *row* add up to 1.",
            )
            for factor in (1, T, T**2)
        ),
        *(
            (
                hard + alpha * factor * wrong,
                "The teacher's logits, or logarithms, stand where its probabilities should.",
            )
            for factor in (1, T, T**2, 1 / T)
            for wrong in (z_teacher, log_p)
        ),
        *(
            (
                right / right.sum(axis=axis, keepdims=True),
                "t is divided by its sum. It need not add up to 1: lse has the weight 1 − α once, "
                "and αT once.",
            )
            for axis in (1, None)
        ),
        (y + soft, "The label has the weight 1 − α."),
        (hard + T * p, "The teacher has the weight α."),
        (
            T * hard + soft,
            "The label's part has a factor T. The hard loss knows no temperature.",
        ),
        (soft, "The label is missing."),
        (hard, "The teacher is missing."),
        (hard - soft, "The teacher's part has the wrong sign."),
        (
            (1 - alpha) * np.eye(C)[y.argmax(axis=1)] + soft,
            "A soft label speaks of all classes. Here only its largest one counts.",
        ),
    )
    expect_none(
        got,
        *(
            (
                hard + alpha * factor * np.eye(C)[z_teacher.argmax(axis=1)],
                "Only the teacher's largest class counts. What it says of the others is lost.",
            )
            for factor in (1, T, T**2)
        ),
        *(
            (
                hard + alpha * factor * softmax(z_teacher.reshape(1, -1), T).reshape(B, C),
                "Softmax goes over all rows at once: the probabilities of *each* row add up to 1.",
            )
            for factor in (1, T, T**2)
        ),
        *(
            (
                (1 - alpha) * softmax(y, tau) + soft,
                "The label goes through a softmax. It is a row of probabilities already.",
            )
            for tau in (1, T)
        ),
    )
    hint = "`blended_target` is wrong at α = 0.3, T = 2.5."
    if got.shape == right.shape and got.dtype.kind in "fiu" and np.isfinite(got).all():
        parts = np.stack([y.ravel(), p.ravel()], axis=1)
        weights = np.linalg.lstsq(parts, got.ravel(), rcond=None)[0]
        if np.allclose(parts @ weights, got.ravel()):
            hint += f" It is {weights[0]:.5f} y + {weights[1]:.5f} p_T: look at these two weights."
        z = generator.normal(0, 2, (2, B, C))
        off = [np.subtract(*values(each, y, z_teacher, alpha, T, got, 0)) for each in z]
        hint += (
            f" At two random points the loss of the first row without κ differs from CE and KL by "
            f"{off[0][0]:.6g} and {off[1][0]:.6g}; the right t makes these two numbers equal."
        )
    expect_close(got, right, hint)
    for B, C, alpha, T, hard in (
        (1, 2, 0.5, 1, True),
        (3, 7, 0.9, 0.5, False),
        (6, 3, 1.0, 4.0, True),
        (2, 30, 0.0, 3.0, False),
        (2, 5, 0.2, 100.0, True),
    ):
        y, z_teacher = some_rows(generator, B, C, 4.0, hard)
        hint = (
            f"t is right at α = 0.3, T = 2.5, but not at α = {alpha:g}, T = {T:g} with {B} rows of "
            f"{C} classes. Is there a number that should be α, T, B or C?"
        )
        got = called(blended_target, y, z_teacher, alpha, T)
        expect_close(got, right_parts(y, z_teacher, alpha, T)[0], hint)
    y, z_teacher = np.array([[0, 1, 0], [1, 0, 0]]), np.array([[3, 0, -2], [1, 1, 4]])
    hint = "From arrays of whole numbers t is wrong: they can hold no fractions."
    got = called(blended_target, y, z_teacher, 0.5, 2)
    expect_close(got, right_parts(y, z_teacher, 0.5, 2)[0], hint)
    y, z_teacher = (each.astype(np.float32) for each in some_rows(generator, 4, 10))
    got = called(blended_target, y, z_teacher, 0.5, 4.0)
    hint = "From arrays in float32 t is wrong."
    expect_close(got, right_parts(y, z_teacher, 0.5, 4.0)[0], hint, 1e-5)
    y, z_teacher = np.eye(3)[[2, 1]], np.array([[1000.0, 0.0, -1000.0], [0.0, 7e4, 3.0]])
    hint = "At a teacher's logits of 1,000 and more t is wrong. Does an exponential overflow?"
    for T in (1.0, 50.0):
        got = called(blended_target, y, z_teacher, 0.5, T)
        expect_close(got, right_parts(y, z_teacher, 0.5, T)[0], hint)


@app.function
def check_constant(constant):
    """What is wrong with a constant."""
    generator = np.random.default_rng(6)
    (B, C), alpha, T = (5, 4), 0.3, 2.5
    y, z_teacher = some_rows(generator, B, C)
    got, (t, right) = called(constant, y, z_teacher, alpha, T), right_parts(y, z_teacher, alpha, T)
    if got.shape == () or got.shape == (1,):
        raise Wrong(f"κ is one number. There should be one for each row, ({B},).")
    if got.shape == (B, 1):
        raise Wrong(f"κ has the shape {got.shape}. A sum without `keepdims` has the shape ({B},).")
    if got.shape in ((B, C), (C,)):
        raise Wrong(
            f"κ has the shape {got.shape}. Sum over the classes, the last axis: {B} rows have {B} "
            "numbers."
        )
    log_p, log_p_1 = log_softmax(z_teacher, T), log_softmax(z_teacher)
    entropy, entropy_1 = (-(np.exp(each) * each).sum(axis=1) for each in (log_p, log_p_1))
    of_y, p = -(y * np.log(y)).sum(axis=1), np.exp(log_p)
    expect_none(
        got,
        (
            -right,
            "The sign is wrong. KL contains +Σ p log p, the negative of the entropy, so κ is "
            "never positive.",
        ),
        *(
            (
                -alpha * factor * entropy,
                f"The factor should be αT². Here it is {name}.",
            )
            for factor, name in ((1, "α"), (T, "αT"), (T**3, "αT³"), (1 / T, "α/T"))
        ),
        *(
            (sign * T**power * entropy, "The weight α is missing.")
            for sign in (1, -1)
            for power in (0, 1, 2)
        ),
        *(
            (
                -(1 - alpha) * T**power * entropy,
                "α and 1 − α have changed places: κ belongs to the teacher's part.",
            )
            for power in (0, 1, 2)
        ),
        *(
            (sign * alpha * T**power * entropy_1, "The entropy is that at T = 1.")
            for sign in (1, -1)
            for power in (0, 1, 2)
        ),
        *(
            (
                right + sign * (1 - alpha) * of_y,
                "It contains the entropy of the label. The hard part is cross-entropy, which keeps "
                "it: nothing is left over.",
            )
            for sign in (1, -1)
        ),
        *(
            (
                -(1 - alpha) * of_y * sign,
                "This is the entropy of the label. The teacher's is asked for.",
            )
            for sign in (1, -1)
        ),
        (right / C, "It is a mean over the classes. They are summed."),
        (right / B, "It is divided by B. The mean over the rows comes later: κ is that of a row."),
        (right / np.log(2), "It is in bits. Use the natural logarithm."),
        *(
            (
                sign * alpha * T**power * log_p.sum(axis=1),
                "The logarithms are not weighted by the probabilities.",
            )
            for sign in (1, -1)
            for power in (0, 1, 2)
        ),
        *(
            (
                alpha * T**power * (p * z_teacher).sum(axis=1),
                "The log-sum-exp of the teacher is missing: log p is not z_teacher/T alone.",
            )
            for power in (0, 1, 2)
        ),
        *(
            (
                alpha * T**power * lse(z_teacher / T) * sign,
                "The product of p with the teacher's logits is missing: log p has two terms.",
            )
            for power in (1, 2)
            for sign in (1, -1)
        ),
        *(
            (
                alpha * T**2 * (y * each).sum(axis=1) * sign,
                "The label weighs the logarithms. In KL(p ‖ q), p does.",
            )
            for each in (log_p, log_p_1)
            for sign in (1, -1)
        ),
        (np.zeros(B), "It is 0, but KL(p ‖ q) has a term without z."),
        *(
            (
                sign * alpha * T**power * (np.exp(one) * other).sum(axis=1),
                "Of p and log p, one is at T and the other at T = 1. Both belong to p_T.",
            )
            for one, other in ((log_p, log_p_1), (log_p_1, log_p))
            for power in (0, 1, 2)
            for sign in (1, -1)
        ),
        *(
            (
                sign * (each * np.log(each)).sum(axis=1),
                "It is made of t. But κ was left over from KL, before label and teacher were "
                "blended: only p_T is in it.",
            )
            for each in (t, t / t.sum(axis=1, keepdims=True))
            for sign in (1, -1)
        ),
        *(
            (
                right + sign * (1 - alpha) * (y * log_p_1).sum(axis=1),
                "It contains the cross-entropy of label and teacher. They meet nowhere in the "
                "loss: each is compared with the student alone.",
            )
            for sign in (1, -1)
        ),
        *(
            (np.full(B, number), "All rows have the same κ. Each row has its own entropy.")
            for number in (right.sum(), right.mean(), np.ravel(got)[0])
        ),
    )
    hint = "`constant` is wrong at α = 0.3, T = 2.5."
    if got.shape == right.shape and got.dtype.kind in "fiu" and np.isfinite(got).all():
        blended, _ = values(z_teacher, y, z_teacher, alpha, T, t, got)
        hard = -(1 - alpha) * (y * log_p_1).sum(axis=1)
        hint += (
            " Where the student agrees with the teacher, KL is 0. With your κ, the soft part of "
            f"the first row is {blended[0] - hard[0]:.6g} there."
        )
        if np.allclose(got / right, got[0] / right[0]):
            hint += f" All of κ is {got[0] / right[0]:.6g} times what it should be."
    expect_close(got, right, hint)
    for B, C, alpha, T, hard in (
        (1, 2, 0.5, 1, True),
        (3, 7, 0.9, 0.5, False),
        (6, 3, 1.0, 4.0, True),
        (4, 4, 0.5, 3.0, False),
        (2, 5, 0.2, 100.0, True),
    ):
        y, z_teacher = some_rows(generator, B, C, 2.0, hard)
        hint = (
            f"κ is right at α = 0.3, T = 2.5, but not at α = {alpha:g}, T = {T:g} with {B} rows of "
            f"{C} classes. Is there a number that should be α, T, B or C?"
        )
        if hard:
            hint += " (These labels are hard. A 0 in y has a logarithm that is infinite.)"
        got = called(constant, y, z_teacher, alpha, T)
        expect_close(got, right_parts(y, z_teacher, alpha, T)[1], hint)
    got = called(constant, y, z_teacher, 0.0, 3.0)
    expect_close(got, np.zeros(len(y)), "At α = 0 there is no teacher, and κ is 0.")
    y, z_teacher = np.array([[0, 1, 0], [1, 0, 0]]), np.array([[3, 0, -2], [1, 1, 4]])
    hint = "From arrays of whole numbers κ is wrong: they can hold no fractions."
    got = called(constant, y, z_teacher, 0.5, 2)
    expect_close(got, right_parts(y, z_teacher, 0.5, 2)[1], hint)
    y, z_teacher = (each.astype(np.float32) for each in some_rows(generator, 4, 10))
    got = called(constant, y, z_teacher, 0.5, 4.0)
    hint = "From arrays in float32 κ is wrong."
    expect_close(got, right_parts(y, z_teacher, 0.5, 4.0)[1], hint, 1e-5)
    y = np.eye(3)[[2, 1]]
    z_teacher = np.array([[1000.0, 999.0, -1000.0], [0.0, 7e4, 3.0]])
    hint = (
        "At a teacher's logits of 1,000 κ is wrong: a probability is 0 there, and its logarithm is "
        "infinite if it is not taken with care. Chapter 1 has the cure."
    )
    for T in (1.0, 400.0):
        got = called(constant, y, z_teacher, 0.5, T)
        expect_close(got, right_parts(y, z_teacher, 0.5, T)[1], hint)
    z_teacher = np.array([[20.0, 0.0, 0.0], [0.0, 0.0, 18.0]])
    hint = (
        "For a very sure teacher κ is small, but not quite what you say. Something was added, or "
        "cut off, to keep away from the logarithm of 0; or it was computed in float32."
    )
    for surer, tolerance in ((1.0, 1e-6), (1.5, 1e-3)):
        got = called(constant, y, surer * z_teacher, 0.5, 1.0)
        expect_close(got, right_parts(y, surer * z_teacher, 0.5, 1.0)[1], hint, tolerance)


@app.function
def check(blended_target, constant):
    """What is wrong with the blended target, then with the constant, then with both together."""
    check_target(blended_target)
    try:
        check_constant(constant)
    except NotImplementedError:
        raise Wrong("`blended_target` is right. `constant` is not written yet.") from None
    generator, least, points = np.random.default_rng(7), np.inf, 0
    for alpha in (0.0, 0.2, 0.7, 1.0):
        for T in (0.3, 1.0, 3.0, 20.0):
            y, z_teacher = some_rows(generator, 64, 4, 4.0, hard=alpha < 0.5)
            t, kappa = (each(y, z_teacher, alpha, T) for each in (blended_target, constant))
            for z in (generator.normal(0, 5, (64, 4)), z_teacher + 7, z_teacher * 0.9):
                blended, right = values(z, y, z_teacher, alpha, T, t, kappa)
                size = 1 + np.abs(t * z).sum(axis=1) + np.abs(kappa)
                if not (np.abs(blended - right) <= 1e-6 * size).all():
                    raise Wrong(
                        f"At α = {alpha:g} and T = {T:g} the loss from t, κ and two log-sum-exps "
                        "is not (1−α)·CE + α·T²·KL."
                    )
                least, points = min(least, blended.min()), points + len(z)
    if least < -1e-3:
        raise Wrong(f"The loss is {least:.3g} at a random point. It can never be below 0.")
    return (
        f"At {points:,} points the loss from t, κ and two log-sum-exps is (1−α)·CE + α·T²·KL, and "
        "never below 0 but for rounding."
    )


@app.cell(hide_code=True)
def _():
    lesson.graded(check, blended_target, constant)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## A famous claim, put to the test

    *Label smoothing* trains on $(1-\varepsilon)\,y + \varepsilon/C$ in place of the label $y$.
    Put that beside step 7: distillation at $T = 1$ trains on $(1-\alpha)\,y + \alpha\,p$. It is the
    same formula, with the teacher's $p$ in place of the uniform distribution. So a smoothed label
    is what a teacher says that knows nothing; and a teacher is a smoothed label that differs from
    row to row. Is it this difference that helps, or that the target is not so sure? Yuan et al.
    (2020) say that the second counts as much as the first, or more. They find that even a badly
    trained teacher improves a student, conclude that a teacher is to a large part a regulariser,
    like label smoothing, and replace it by a made-up one, which does about as well. A higher $T$
    makes any teacher's answer more like a made-up one: more nearly uniform.

    Here the smoothed labels are as sure as the teacher is on average: on the label they have the
    mean of what it gives to the label, and the rest is shared equally by the other classes. They
    are trained with the same $\alpha$ and $T$. "Most of what a teacher does" is more than half of
    its gain over a Person, which learns from the labels as they are.
    """)
    return


@app.cell(hide_code=True)
def _():
    as_sure = lesson.button()
    as_sure
    return (as_sure,)


@app.cell(hide_code=True)
def _(as_sure):
    lesson.claim("smoothed-labels", as_sure)
    return


@app.cell(hide_code=True)
def _():
    mo.md("## Three questions")
    return


@app.cell(hide_code=True)
def _():
    lesson.questions(
        (
            "A program has lost its $\\kappa$. Its students end as good as before, yet its curves "
            "of the loss say that $T = 2$ is better than $T = 8$. Why should you not believe them?",
            "Without $\\kappa$, each value is too large by $\\alpha T^2$ times the entropy of "
            "$p_T$. Both grow with $T$: of ten classes, a nearly uniform teacher at $T = 8$ adds "
            "about $64 \\cdot 2.3\\,\\alpha$. The gradients, and so the students, are right. (Even "
            "with $\\kappa$, losses at two temperatures measure different things. Compare errors.)",
        ),
        (
            "In the picture, gradient descent with a step of 1 on the logits is stable at every "
            "$\\alpha$ and $T$. Which property of the loss is behind it?",
            "Its curvature is $(1-\\alpha)\\,(\\mathrm{diag}\\,q - q q^\\top) + \\alpha\\,"
            "(\\mathrm{diag}\\,q_T - q_T q_T^\\top)$: two derivatives bring $1/T^2$, and the "
            "factor $T^2$ takes it away. No eigenvalue of such a matrix is above $\\frac12$, and "
            "descent is stable up to a step of 2 divided by the largest one, so up to 4.",
        ),
        (
            "Someone wants to save memory and stores $t$ divided by its sum, as probabilities, to "
            "train with plain cross-entropy. When is that the same, and what is lost otherwise?",
            "At $T = 1$, or without a teacher, it is the same. Otherwise the minimum of "
            "cross-entropy is at $q = t/\\sum_c t_c$, while that of the loss is where "
            "$(1-\\alpha)\\,q + \\alpha T\\,q_T = t$. With $\\alpha = 1$ the one is a "
            "student with $q = p_T$ at $T = 1$, far less sure than its teacher; the other "
            "is a student with the teacher's logits.",
        ),
    )
    return


if __name__ == "__main__":
    app.run()
