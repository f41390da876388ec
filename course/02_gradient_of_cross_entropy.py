"""Chapter 2: the gradient of cross-entropy is the prediction minus the target."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(app_title="2. The gradient of cross-entropy")

with app.setup:
    from functools import cache

    import lesson
    import marimo as mo
    import numpy as np
    from lesson import Wrong, expect_close, expect_none

    from nkd.losses import cross_entropy as engine_cross_entropy
    from nkd.losses import distillation_loss, kl_divergence, log_softmax, softmax

    SIZE = (9, 4.2)  # of the picture, in inches


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # 2. The gradient of cross-entropy is the prediction minus the target

    *After this chapter you can derive and program the gradient with which every classifier learns,
    say where it pulls and where it lets go, and check any gradient by finite differences.*

    A network sees an image and ends in the logits $z_1, \dots, z_C$. Softmax makes the
    probabilities $q$ of them. The target is a row of probabilities $y$, too. If all of it is on one
    class, the label, it is a *hard* target; if a teacher has written it, a *soft* one. A loss says
    how bad $q$ is, and the network learns from its derivatives by the logits.

    **Step 1: the loss.** Each image costs minus the logarithm of the probability that its label
    got. Why the logarithm? The probability of all labels together is a product, and logarithms make
    a sum of it, with one term for each image. Where the target is soft, each class counts as much
    as the target gives it:

    $$
    \mathrm{CE}(y, q) = -\sum_c y_c \log q_c
    $$

    **Step 2: simplify before you differentiate.** Write $\mathrm{lse}(z) = \log \sum_k e^{z_k}$.
    Then $\log q_c = z_c - \mathrm{lse}(z)$, and because the $y_c$ add up to 1,

    $$
    \mathrm{CE}(y, q) = \mathrm{lse}(z) - \sum_c y_c z_c
    $$

    All that is hard about softmax is now in one term, which does not depend on the target.

    **Step 3: differentiate.** The second term gives $-y_k$. The first one gives softmax again:

    $$
    \frac{\partial\,\mathrm{lse}}{\partial z_k} = \frac{e^{z_k}}{\sum_j e^{z_j}} = q_k
    \qquad\text{so}\qquad
    \frac{\partial\,\mathrm{CE}}{\partial z_k} = q_k - y_k
    $$

    **Step 4: the batch.** The loss of $B$ rows is their mean, and row $n$ of $z$ enters only the
    loss of row $n$. Hence $dz = (q - y)/B$. The divisor is not $B \cdot C$: the classes are summed,
    as the definition says.

    **Step 5: look at it.** The gradient is the error itself. A class with too much probability is
    pushed down, one with too little is pulled up, each by just what it has too much or too little.
    The numbers of a row add up to 0, since $q$ and $y$ both add up to 1: nothing is spent on a
    shift of all logits, which nobody could see. And each of them lies between $-1$ and 1: the
    gradient of a row that is terribly wrong is at most $\sqrt 2$ long.

    ## The same with a teacher

    A teacher's probabilities $p$ can be the target. How far $q$ is from them is usually measured by

    $$
    \mathrm{KL}(p \Vert q) = \sum_c p_c \log p_c - \sum_c p_c \log q_c
    $$

    The first sum has no $z$ in it, the second is $\mathrm{CE}(p, q)$. So the gradient is that of
    cross-entropy, $q - p$; only the value is another one: it is 0 where the student agrees with the
    teacher. If both have a temperature, $z$ enters as $z/T$, and the chain rule puts a $1/T$ in
    front:

    $$
    \frac{\partial\,\mathrm{KL}(p_T \Vert q_T)}{\partial z_k} = \frac{q_{T,k} - p_{T,k}}{T}
    $$

    What this factor does, and what is done about it, is the subject of chapter 3.

    ## The longer way, and what it shows

    Take the detour through the probabilities. The loss has the derivative $-y_c/q_c$ by $q_c$. The
    derivatives of softmax are the Jacobian

    $$
    J_{ck} = \frac{\partial q_c}{\partial z_k} = q_c\,(\delta_{ck} - q_k)
    $$

    where $\delta_{ck}$ is 1 for $c = k$ and 0 otherwise. The chain rule multiplies the two:

    $$
    \sum_c -\frac{y_c}{q_c}\;q_c\,(\delta_{ck} - q_k) = -y_k + q_k \sum_c y_c = q_k - y_k
    $$

    The $1/q_c$ of the logarithm meets the $q_c$ of softmax, and they cancel. This is why the two
    belong together. Where $q$ is nearly at a corner, all of $J$ is nearly 0: softmax is
    *saturated*, and $q$ hardly moves when the logits do. A loss without the logarithm, such as
    $\tfrac12\sum_c (q_c - y_c)^2$, has the gradient $J(q - y)$. At a corner it lets go, whether the
    corner is the right one or a wrong one. Cross-entropy lets go only where $q$ is right.

    A small step against the gradient moves the logits by $-(q - y)$, times its length. So to first
    order it moves the probabilities by $-J(q - y)$, times the same. Those are the arrows of the
    picture. Three classes have a triangle of probabilities, with a class at each corner.
    """)
    return


@app.function
def moved(q, y):
    """−J(q)(q − y): where q goes when its logits take a step against the gradient."""
    gradient = q - y
    return -q * (gradient - (q * gradient).sum(axis=-1, keepdims=True))


@app.function
def in_the_plane(q):
    """Points of the triangle of three probabilities; class 1 is at the top."""
    return q @ np.array([[0.5, np.sqrt(0.75)], [0.0, 0.0], [1.0, 0.0]])


@app.function
@cache
def grid(parts=15):
    """Points (N, 3) all over the triangle, none of them on its edge."""
    numbers = np.arange(parts)
    points = [(i, j, parts - 1 - i - j) for i in numbers for j in numbers if i + j < parts]
    return (np.array(points) + 1 / 3) / parts


@app.function
def descent(y, q, steps=80, rate=0.4):
    """The probabilities (steps + 1, 3) while gradient descent moves the logits from log q."""
    z, path = np.log(q), []
    for _ in range(steps + 1):
        path.append(softmax(z))
        z = z - rate * (path[-1] - y)
    return np.array(path)


@app.function
def picture(figure, sureness=0.7, second=0.75, start=0.999):
    """Where a step against the gradient of cross-entropy moves q; and one way there, step by step.

    The target gives class 1 the probability `sureness`, and class 2 the part `second` of the rest.
    The way begins where the network gives class 3 the probability `start`.
    """
    y = np.array([sureness, (1 - sureness) * second, (1 - sureness) * (1 - second)])
    path = descent(y, np.array([(1 - start) / 2, (1 - start) / 2, start]))
    triangle, loss, pull = figure.subplot_mosaic(
        [["triangle", "loss"], ["triangle", "pull"]], width_ratios=(1.25, 1)
    ).values()

    corners = in_the_plane(np.eye(3)[[0, 1, 2, 0]])
    triangle.plot(*corners.T, color="black", lw=1)
    points = grid()
    at, arrows = in_the_plane(points).T, in_the_plane(moved(points, y)).T
    triangle.quiver(*at, *arrows, color="#0072B2", angles="xy", scale=4, width=0.005)
    triangle.plot(*in_the_plane(path).T, color="#D55E00", lw=1)
    triangle.plot(*in_the_plane(path[::4]).T, "o", color="#D55E00", ms=4, label="each 4th step")
    triangle.plot(*in_the_plane(y), "*", color="#009E73", ms=15, label="the target y")
    names = ("class 1, the label", "class 2", "class 3")
    for name, (x, height), down in zip(names, corners[:3], (0.04, -0.03, -0.03), strict=True):
        side = "bottom" if down > 0 else "top"
        triangle.text(x, height + down, name, ha="center", va=side)
    triangle.set(aspect="equal", xlim=(-0.1, 1.1), ylim=(-0.1, 0.98), title="Where q is moved")
    triangle.axis("off")
    triangle.legend(loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=2, frameon=False)

    steps = np.arange(len(path))
    cost = -(y * np.log(path)).sum(axis=1)
    entropy = -(y * np.log(np.maximum(y, 1e-300))).sum()
    loss.plot(steps, cost, color="#0072B2", label="cross-entropy")
    loss.axhline(entropy, color="#999999", ls="--", label="its least value")
    loss.set(ylabel="nats", ylim=(0, None), title="The same way, step by step")
    pull.plot(steps, np.linalg.norm(path - y, axis=1), color="#0072B2", label="pull on the logits")
    pull.plot(
        steps, np.linalg.norm(moved(path, y), axis=1), color="#D55E00", ls="--", label="motion of q"
    )
    pull.set(xlabel="step", ylabel="length", ylim=(0, 1.5))
    for axes in (loss, pull):
        axes.legend(loc="upper right")


@app.cell(hide_code=True)
def _():
    sureness = mo.ui.slider(
        steps=[0.34, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1],
        value=0.7,
        label="target: probability of class 1",
        show_value=True,
    )
    second = mo.ui.slider(
        0, 1, 0.125, value=0.75, label="part of the rest that class 2 has", show_value=True
    )
    start = mo.ui.slider(
        steps=[0.34, 0.6, 0.9, 0.99, 0.999, 0.9999, 0.999999],
        value=0.999,
        label="start: probability of class 3",
        show_value=True,
    )
    mo.hstack([sureness, second, start], justify="start", gap=2, wrap=True)
    return second, start, sureness


@app.cell(hide_code=True)
def _(second, start, sureness):
    lesson.moving(
        picture,
        SIZE,
        "A triangle of three probabilities with arrows towards the target, which shrink near the "
        "target and near the corners; beside it the loss and the lengths of gradient and motion",
        {"sureness": sureness.value, "second": second.value, "start": start.value},
        [
            {"sureness": 0.7, "second": 0.75, "start": 0.999},
            {"sureness": 0.7, "second": 0.75, "start": 0.999999},
            {"sureness": 1, "second": 0.75, "start": 0.999},
            {"sureness": 0.4, "second": 0.5, "start": 0.9},
        ],
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Each arrow is $-J(q - y)$, all at one scale. The dashed curve is its length along the way; the
    other one is the length of the gradient $q - y$. Since $J(q - y)$ is also the gradient of half
    the squared error, the dashed curve says as well how strongly *that* loss would pull.

    **Try it.** Let the start be as sure of the wrong class as it can be. For some fifteen steps $q$
    seems to stand still. Before you look: what does the loss do meanwhile? (It falls faster than
    ever after. The logits move all the time; only $q$ does not show it.) Then find the targets for
    which the arrows at the top point *downwards*. They push a network back that is too sure of the
    right class. No hard label does that: at 1 the way never arrives, because the rest point has
    moved into a corner, where only infinite logits are.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.vstack(
        [
            lesson.engine(engine_cross_entropy, kl_divergence, distillation_loss),
            lesson.reference(4, 5),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Trust no derivative before you have measured it

    A derivative that was found by hand is compared with the slope of the value itself. With a small
    number $\theta$ and a direction $d$, which may be a single logit, the **central difference** is

    $$
    D = \frac{f(z + \theta d) - f(z - \theta d)}{2\theta}
    $$

    It has two errors. First, $f$ is curved. Let $\phi(\theta) = f(z + \theta d)$ and expand: the
    even terms cancel in the difference, and $D$ is $\phi'(0)$ plus about $\theta^2\phi'''(0)/6$. (A
    one-sided difference keeps $\theta\phi''(0)/2$, which is far more.) Second, $f$ is rounded. In
    float64 its relative error is about $10^{-16}$, and the division by $2\theta$ makes it about
    $10^{-16}\,|f|/\theta$. A smaller $\theta$ mends the first error and worsens the second. Their
    sum is least near $\theta = 10^{-5}$, where it is about $3 \cdot 10^{-11}$. In float32 the least
    sum is near $10^{-5}$, too much to tell a small mistake from rounding. So check gradients in
    float64.

    Some mistakes cannot be seen this way:

    - Those that value and gradient share. If both lack the $1/B$, they agree.
    - Those at other places. A check at logits of 2 says nothing about logits of 1,000, where an
      exponential overflows.

    And at a kink, like that of $\max(0, z)$ at 0, one sees a mistake where there is none: there the
    difference is a mean of two slopes.
    """)
    return


@app.cell(hide_code=True)
def _():
    lesson.reference(21)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Exercise: a loss with its gradient

    Write `cross_entropy`. Its value is compared with the right one, and its gradient also with
    central differences of your own value, in every coordinate.
    """)
    return


@app.function
def cross_entropy(z, y):
    """Cross-entropy of a batch, and its gradient.

    Args:
        z: logits (B, C), any numbers.
        y: targets (B, C), probabilities in each row: all on one class, or on many.

    Returns:
        The value, one number, as a mean over the B rows, and its derivatives by z, (B, C).
    """
    raise NotImplementedError


@app.function
def called(cross_entropy, z, y):
    """What the reader's function returns, if it is a pair and has left its arguments alone."""
    pair = lesson.called(cross_entropy, z, y)
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise Wrong("It should return two things, `value, dz`.")
    return pair


@app.function
def expect_pair(pair, z, y, where, tolerance=1e-6):
    """Compare a value and a gradient with the right ones."""
    value, dz = engine_cross_entropy(z.astype(np.float64), y.astype(np.float64))
    got = np.asarray(pair[0])
    hint = f"{where} the value is {got:.6g}; it should be {value:.6g}." if got.ndim == 0 else where
    if got.ndim == 0 and not np.isfinite(got):
        hint += " An exponential overflows, or a logarithm sees 0: chapter 1 has the cure."
    elif got.ndim == 0 and 10 < got < value:
        hint += " Something was added, or cut off, to keep away from the logarithm of 0."
    expect_close(got, value, hint, tolerance)
    expect_close(pair[1], dz, f"{where} the value is right, but dz is not.", tolerance)


@app.function
def check(cross_entropy):
    """What is wrong with a cross-entropy or its gradient."""
    generator = np.random.default_rng(0)
    (B, C), theta = (5, 4), 1e-5
    z, y = generator.normal(0, 2, (B, C)), softmax(generator.normal(0, 1.5, (B, C)))
    value, dz = called(cross_entropy, z, y)
    if np.shape(value) not in ((), (B,)):
        raise Wrong(f"The value should be one number. It has the shape {np.shape(value)}.")
    right, gradient = engine_cross_entropy(z, y)
    q, log_q = softmax(z), log_softmax(z)
    expect_none(
        value,
        (-(y * log_q).sum(axis=1), "The value is a number for each row. Their mean is asked for."),
        (-right, "The value has the wrong sign: a loss is large where the network is wrong."),
        (right * B, "The value is the sum over the rows. It should be their mean."),
        (right / C, "The value is a mean over rows and classes. The classes are summed."),
        (right / np.log(2), "The value is in bits. Use the natural logarithm."),
        (
            right + (y * np.log(y)).sum() / B,
            "The value is KL(y ‖ q). Cross-entropy still contains the entropy of the target.",
        ),
        (-(q * np.log(y)).sum() / B, "In the value, y and q have changed places."),
        (
            -(y * log_q + (1 - y) * np.log(1 - q)).sum() / B,
            "The value is that of C separate yes-or-no questions. With softmax, only the terms "
            "y·log q count.",
        ),
        (
            -log_q[np.arange(B), y.argmax(axis=1)].mean(),
            "Only the target's largest class counts in the value. A soft target speaks of all.",
        ),
        (-(y * log_softmax(q)).sum() / B, "Softmax is taken twice: z are logits."),
        *(
            (
                -(y * (z - np.log(np.exp(z).sum(axis=axis)))).sum() / B,
                "Softmax goes over the wrong axis: it is each *row* of q that adds up to 1.",
            )
            for axis in (0, None)
        ),
    )
    expect_close(
        value,
        right,
        f"The value is {value}, and should be {right:.6f}, for 5 rows of 4 classes and soft "
        "targets. (The gradient is looked at once the value is right.)",
    )
    by_squared_error = q * (q - y) - q * (q * (q - y)).sum(axis=1, keepdims=True)
    hard = np.eye(C)[y.argmax(axis=1)]
    expect_none(
        dz,
        (-gradient, "The value is right; dz has the wrong sign. It points to where the loss grows"),
        (gradient * B, "The value is right; dz lacks the 1/B of the mean over rows."),
        (gradient / C, "The value is right; dz is divided by B·C, but the classes are summed."),
        (gradient / B, "The value is right; dz is divided by B twice."),
        (q / B, "The value is right; dz has forgotten the target."),
        (
            (q - hard) / B,
            "The value is right; dz treats the target as if all of it were on its largest class.",
        ),
        *(
            (
                -y / q * factor,
                "The value is right; dz holds the derivatives by the probabilities q. Those by "
                "the logits are asked for: the chain rule has one more link.",
            )
            for factor in (1, 1 / B)
        ),
        *(
            (
                by_squared_error * factor,
                "The value is right; dz is the gradient of a squared error between q and y.",
            )
            for factor in (1, 2, 1 / B, 2 / B)
        ),
    )
    for rows, classes in ((1, 2), (3, 7), (6, 3)):
        z = generator.normal(0, 2, (rows, classes))
        y = softmax(generator.normal(0, 2, (rows, classes)))
        value, dz = called(cross_entropy, z, y)
        where = f"With {rows} rows, {classes} classes and soft targets"
        if np.shape(dz) != z.shape:
            raise Wrong(f"{where} dz has the shape {np.shape(dz)}; it should have that of z.")
        measurable = np.asarray(value).dtype == np.float64
        for n, c in np.ndindex(z.shape) if measurable else ():
            d = np.zeros(z.shape)
            d[n, c] = theta
            difference = float(cross_entropy(z + d, y)[0] - cross_entropy(z - d, y)[0]) / 2 / theta
            if not abs(difference - np.asarray(dz)[n, c]) < 1e-7:
                raise Wrong(
                    f"{where} dz is not the derivative of your value: in row {n}, class {c}, it is "
                    f"{np.asarray(dz)[n, c]:.8f}, and a central difference says {difference:.8f}."
                )
        expect_pair((value, dz), z, y, where)
    z, y = generator.normal(0, 3, (4, 6)), np.eye(6)[[5, 0, 0, 2]]
    expect_pair(called(cross_entropy, z, y), z, y, "With hard targets, which hold zeros,")
    for row, label in (([1000.0, 0.0, -1000.0], 2), ([0.0, 200.0, 3.0], 0), ([-1e3, -1e3, 7e4], 2)):
        z, y = np.array([row]), np.eye(3)[[label]]
        where = f"At the logits {row} and the hard label {label}"
        expect_pair(called(cross_entropy, z, y), z, y, where)
    z, y = np.array([[1000.0, 0.0, 3.0], [-1000.0, -1001.0, -1003.0]]), np.eye(3)[[1, 2]]
    where = "With logits of 1,000 in one row and of -1,000 in another (each has its own maximum)"
    expect_pair(called(cross_entropy, z, y), z, y, where)
    z, y = np.array([[3, 0, -2], [1, 1, 4]]), np.array([[0, 1, 0], [0, 0, 1]])
    where = "Where z and y are arrays of whole numbers, which can hold no fractions,"
    expect_pair(called(cross_entropy, z, y), z, y, where)
    z, y = generator.normal(0, 3, (2, 5)).astype(np.float32), np.eye(5, dtype=np.float32)[[1, 4]]
    expect_pair(called(cross_entropy, z, y), z, y, "In float32", 1e-5)
    return (
        "Value and gradient are right for hard and soft targets and logits up to 70,000, and the "
        "gradient agrees with central differences of the value in all 41 coordinates."
    )


@app.cell(hide_code=True)
def _():
    lesson.graded(check, cross_entropy)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## A famous claim, put to the test

    *Label smoothing* trains a network on $(1-\varepsilon)\,y + \varepsilon/C$ in place of the hard
    label $y$. The network itself often gets better. But Müller, Kornblith and Hinton report in
    *When Does Label Smoothing Help?* (2019) that it is a worse teacher. The gradient says how this
    can be. It vanishes where $q$ is the smoothed target, which is where the label's logit is
    $\log(1 + C(1-\varepsilon)/\varepsilon)$ above *each* other logit: the same distance for every
    other class and every image. Whatever else the image resembles, the loss asks the network to
    erase it; and that is what a teacher has to say beyond the label. If the claim holds here, a
    teacher with smoothed labels makes no more errors than one without, and its student makes more.
    """)
    return


@app.cell(hide_code=True)
def _():
    smoothing = lesson.button()
    smoothing
    return (smoothing,)


@app.cell(hide_code=True)
def _(smoothing):
    lesson.claim("smoothed-teacher", smoothing)
    return


@app.cell(hide_code=True)
def _():
    mo.md("## Three questions")
    return


@app.cell(hide_code=True)
def _():
    lesson.questions(
        (
            "A network gives the label of one image the probability 0.5, and that of another "
            "0.001. The second loss is ten times as large. How much harder does it pull at the "
            "label's logit?",
            "Twice as hard: $0.999$ against $0.5$. The loss has no upper limit, but the gradient "
            "has one. A wrong label among the data can cost much, yet it never pulls a logit "
            "harder than 1.",
        ),
        (
            "A student's cross-entropy with its teacher's soft targets is 0.8 and falls no "
            "further. Has it failed to learn from the teacher?",
            "That cannot be said. The least value is not 0 but the mean entropy of the targets, "
            "and perhaps that is 0.8. The KL divergence subtracts it and has the same gradient; "
            "its 0 means agreement.",
        ),
        (
            "By a slip, all rows of $y$ add up to 2. What is the gradient of a row now?",
            "$2q - y$. Step 2 used that the $y_c$ add up to 1; now lse enters twice. A program "
            "that returns $q - y$ is wrong here, and central differences would show it. The rest "
            "point is $q = y/2$: the loss is twice that of the target $y/2$.",
        ),
    )
    return


if __name__ == "__main__":
    app.run()
