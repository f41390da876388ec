"""Chapter 7: under Adam a factor on the loss disappears, under gradient descent it does not."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(app_title="7. Adam")

with app.setup:
    import lesson
    import marimo as mo
    import numpy as np
    from lesson import Wrong, expect_close

    from nkd.optimizers import SGD, Adam, adam_update

    CURVATURES, START, STEPS = np.array([1.0, 10.0]), np.array([[-2.0, 1.0]]), 60

    def path(optimizer, rate, factor, **options):
        """The weights after each step in the valley, from START on, with a factor on its loss."""
        w, g = START.copy(), np.empty_like(START)
        descent, seen = optimizer(w, g, **options), [START[0].copy()]
        for _ in range(STEPS):
            g[:] = factor * CURVATURES * w
            descent.update(rate)
            seen.append(w[0].copy())
        return np.array(seen)

    SIZE = (9.5, 4)  # of the picture, in inches


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # 7. Under Adam a factor on the loss disappears

    *After this chapter you can write Adam as its paper has it, say what a factor on the loss does
    under gradient descent and under Adam, and where the answer for Adam ends.*

    A Student's loss is $(1-\alpha)\,\mathrm{CE} + \alpha\,T^2\,\mathrm{KL}$, a Person's is
    $\mathrm{CE}$ alone. At $T = 4$ one part has the factor 16, and the gradients can be several
    times as large. Does a Student learn more just because its loss is larger? Put a factor $f > 0$
    on a whole loss, and follow it through the step. The lowest point stays where it is. The way
    there depends on the optimiser.

    **Step 1: gradient descent.** Every gradient $g$ gets the factor, too, and stands next to the
    learning rate $\eta$:

    $$
    w \leftarrow w - \eta\,(f g) = w - (\eta f)\,g
    $$

    So a factor on the loss is a factor on the learning rate, no more and no less. It can decide
    everything. Take one direction of a valley, $L = \tfrac12\kappa w^2$ with the curvature
    $\kappa$. There $g = \kappa w$, and a step is

    $$
    w \leftarrow (1 - \eta f \kappa)\,w
    $$

    This comes closer to 0 only as long as $\eta f \kappa < 2$. Beyond that, each step ends farther
    away than it began. The steepest direction sets this limit for all others.

    **Step 2: Adam keeps two running means.** For each weight, at step $t = 1, 2, \dots$, one of its
    gradients and one of their squares, both starting at 0:

    $$
    m_t = \beta_1 m_{t-1} + (1-\beta_1)\,g_t, \qquad
    v_t = \beta_2 v_{t-1} + (1-\beta_2)\,g_t^2
    $$

    with $\beta_1 = 0.9$ and $\beta_2 = 0.999$. They look back over some $1/(1-\beta)$ steps, so 10
    and 1,000.

    **Step 3: correct the start.** Insert the rule into itself. The weight of $g_j$ in $m_t$ is
    $(1-\beta_1)\,\beta_1^{t-j}$. A mean needs weights that add up to 1. These add up to

    $$
    (1-\beta_1)\,(1 + \beta_1 + \dots + \beta_1^{t-1}) = 1 - \beta_1^t
    $$

    which is 0.1 at first: the other 0.9 lie on the 0 with which $m$ starts. Divide by the sum, and
    what is left is a mean of the gradients, from the first step on. The same holds for $v$, where
    more is at stake: its sum of weights is 0.001 at first.

    $$
    \hat m_t = \frac{m_t}{1-\beta_1^t}, \qquad \hat v_t = \frac{v_t}{1-\beta_2^t}
    $$

    **Step 4: the step.** The mean gradient is divided by the root mean square of the gradients, and
    $\varepsilon = 10^{-8}$ keeps the denominator away from 0:

    $$
    w_t = w_{t-1} - \eta\,\frac{\hat m_t}{\sqrt{\hat v_t} + \varepsilon}
    $$

    At $t = 1$ that is $-\eta\,g_1/(\lvert g_1\rvert + \varepsilon)$: a step of length $\eta$, for a
    steep weight as for a flat one. Later it is shorter than $\eta$ where gradients disagree, and
    about $\eta$ where they agree and are of one size.

    **Step 5: the factor cancels.** All $g$ get the factor $f$. Then $\hat m$ gets $f$, and $\hat v$
    gets $f^2$, whose root is $f$:

    $$
    \eta\,\frac{f\,\hat m}{f\sqrt{\hat v} + \varepsilon}
    = \eta\,\frac{\hat m}{\sqrt{\hat v} + \varepsilon/f}
    $$

    The factor has turned $\varepsilon$ into $\varepsilon/f$, and done nothing else. Where
    $\sqrt{\hat v}$ is far above $\varepsilon$, nobody can see that.

    **Step 6: where it ends.** *Near ε*: where gradients are as small as $\varepsilon$, or
    $\varepsilon$ is chosen large, the factor is back. If $\varepsilon$ is far above
    $f\sqrt{\hat v}$, the step is $(\eta f/\varepsilon)\,\hat m$: gradient descent, with a mean
    over some steps. *One part of a loss*: $T^2$ multiplies one of *two* parts, changes what they
    weigh against each other, and so where the lowest point is. Nothing cancels that. *A factor that
    changes*: $m$ and $v$ would hold gradients with the old factor and with the new one.

    **The price.** What makes Adam deaf to the size of the loss makes it deaf to the end of the
    valley. Under gradient descent steps get shorter as the slope does. Adam's do so as long as $v$
    remembers larger gradients, and where gradients disagree. But $v$ forgets, and disagreement does
    not shorten them beyond measure: from gradients that are pure noise, $\hat m$ is after some
    steps still $\sqrt{(1-\beta_1)/(1+\beta_1)} = 0.23$ times $\sqrt{\hat v}$, in the root mean
    square. Trained on random batches, Adam never comes to rest by itself. So the rate has to fall.
    Over $K$ steps, `nkd` lets it fall along a cosine,
    $\eta_k = \tfrac12\eta\,\bigl(1 + \cos(\pi k/K)\bigr)$, to almost 0 (section 15).
    """)
    return


@app.function
def picture(figure, factor=3.7, rate=0.05, epsilon=1e-8):
    """60 steps of gradient descent and of Adam in a valley, for its loss and a multiple of it."""
    grid = np.meshgrid(np.linspace(-2.6, 1.4, 81), np.linspace(-1.4, 1.4, 61))
    height = (CURVATURES[0] * grid[0] ** 2 + CURVATURES[1] * grid[1] ** 2) / 2
    panels = figure.subplots(1, 2, sharey=True)
    for axes, name, optimizer, options in (
        (panels[0], "Gradient descent", SGD, {}),
        (panels[1], f"Adam, ε = {epsilon:g}", Adam, {"epsilon": epsilon}),
    ):
        axes.contour(*grid, height, levels=[0.1, 0.5, 1.5, 3, 5, 8], colors="#CCCCCC", linewidths=1)
        one, many = (path(optimizer, rate, each, **options) for each in (1, factor))
        axes.plot(*one.T, "-o", color="#0072B2", lw=4, ms=6, alpha=0.5, label="the loss L")
        axes.plot(*many.T, "--x", color="#D55E00", lw=1.2, ms=5, label=f"the loss {factor:g}·L")
        axes.plot(0, 0, "*", color="black", ms=10, label="the lowest point")
        far = np.flatnonzero(np.abs(many).max(axis=1) > 10)
        apart = np.linalg.norm(one - many, axis=1).max()
        found = f"the paths are up to {apart:.1g} apart" if apart else "one and the same path"
        if far.size:
            found = f"{factor:g}·L is more than 10 away from step {far[0]} on"
        axes.set(xlim=(-2.6, 1.4), ylim=(-1.4, 1.4), xlabel="w₁, curvature 1")
        axes.set_title(f"{name}, η = {rate:g}\n{found}", fontsize="medium")
    panels[0].set_ylabel("w₂, curvature 10")
    panels[1].legend(loc="lower right", fontsize="small")


@app.cell(hide_code=True)
def _():
    factor = mo.ui.slider(
        steps=[1, 1.5, 2, 3, 3.7, 4, 4.2, 5, 10, 16, 30, 100],
        value=3.7,
        label="factor f",
        show_value=True,
    )
    rate = mo.ui.slider(
        steps=[0.01, 0.02, 0.05, 0.1, 0.2], value=0.05, label="learning rate η", show_value=True
    )
    epsilon = mo.ui.slider(
        steps=[1e-8, 1e-6, 1e-4, 1e-3, 0.01, 0.1, 1, 10, 100],
        value=1e-8,
        label="ε",
        show_value=True,
    )
    mo.hstack([factor, rate, epsilon], justify="start", gap=2, wrap=True)
    return epsilon, factor, rate


@app.cell(hide_code=True)
def _(epsilon, factor, rate):
    lesson.moving(
        picture,
        SIZE,
        "Paths in a valley. Under gradient descent the path for a multiple of the loss jumps from "
        "side to side, under Adam it lies on the path for the loss itself",
        {"factor": factor.value, "rate": rate.value, "epsilon": epsilon.value},
        [
            {"factor": factor, "rate": 0.05, "epsilon": epsilon}
            for factor, epsilon in ((3.7, 1e-8), (5, 1e-8), (100, 1e-3), (100, 10))
        ],
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    **Try it.** Compute first, then look: at which factor does gradient descent with
    $\eta = 0.05$ jump from side to side for ever? (The steep direction has $\kappa = 10$, so at
    $f = 4$, where $\eta f \kappa = 2$. At 4.2 it is lost.) Adam does not even notice 100: the paths
    are less than 0.00000001 apart.

    Now leave $f$ at 100 and raise $\varepsilon$ to 1. Adam's paths part: one still ends by the
    lowest point, the other is late. Which one? (That of $L$ is late. Step 5 above says that the
    path of $100\,L$ is that of $L$ at $\varepsilon = 0.01$. A large $\varepsilon$ hurts where
    gradients are small.)

    Last, put $\varepsilon$ back, and $\eta$ at 0.01. At the start $w_2$ has five times the gradient
    of $w_1$. Why does Adam walk along the diagonal? (By step 4 above, both weights begin with steps
    of length $\eta$. Gradient descent goes down the steep slope first.)

    ## What is computed

    Algorithm 1 multiplies whole arrays by $1-\beta_1$, $1-\beta_2$ and both corrections. The engine
    keeps plain sums in place of means, $M_t = \beta_1 M_{t-1} + g_t$ and
    $V_t = \beta_2 V_{t-1} + g_t^2$. Then $m_t = (1-\beta_1) M_t$ and $v_t = (1-\beta_2) V_t$, and
    with $c_t = \sqrt{(1-\beta_2)/(1-\beta_2^t)}$ we have $\sqrt{\hat v_t} = c_t\sqrt{V_t}$. Divide
    numerator and denominator of the step by $c_t$:

    $$
    \eta\,\frac{\hat m_t}{\sqrt{\hat v_t} + \varepsilon}
    = \eta'_t\,\frac{M_t}{\sqrt{V_t} + \varepsilon'_t}, \qquad
    \eta'_t = \frac{\eta}{c_t}\cdot\frac{1-\beta_1}{1-\beta_1^t}, \qquad
    \varepsilon'_t = \frac{\varepsilon}{c_t}
    $$

    All constants are in two numbers per step. It is the same algorithm, as long as $\varepsilon$ is
    divided by $c_t$ as well.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.vstack([lesson.engine(adam_update, Adam.count, SGD.update), lesson.reference(14, 24, 15)])
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Exercise: a step of Adam

    Write `adam_step` as Algorithm 1 of the paper has it: with means, and $\varepsilon$ outside the
    root. It is tried on gradients from $10^{-10}$ to $10^{3}$; far below $\varepsilon$ many an Adam
    is another algorithm.
    """)
    return


@app.function
def adam_step(w, g, m, v, t, rate):
    """One step of Adam with β₁ = 0.9, β₂ = 0.999 and ε = 1e-8.

    Args:
        w: weights, an array of any shape.
        g: their gradients, of the same shape.
        m, v: those that the step before returned; at the first, arrays of 0.
        t: the number of this step; the first is 1.
        rate: the learning rate η.

    Returns:
        The new w, m and v. The arrays given stay as they are.
    """
    raise NotImplementedError


@app.function
def by_algorithm_1(w, g, m, v, t, rate):
    """The new w, m and v."""
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.999**t)
    return w - rate * m_hat / (np.sqrt(v_hat) + 1e-8), m, v


@app.function
def called(adam_step, w, g, m, v, t, rate):
    """What the reader's function returns, as three arrays, if it has left its arguments alone."""
    got = lesson.called(adam_step, w, g, m, v, t, rate)
    if not isinstance(got, (tuple, list)) or len(got) != 3:
        raise Wrong("`adam_step` has to return three arrays: w, m and v, in this order.")
    for name, array in zip("wmv", got, strict=True):
        if array is None or np.shape(array) != np.shape(w):
            raise Wrong(
                f"The new {name} should have the shape {np.shape(w)}, as the old one. "
                + ("It is None." if array is None else f"It has {np.shape(array)}.")
            )
        if np.asarray(array).dtype.kind not in "fiu":
            raise Wrong(f"The new {name} holds {np.asarray(array).dtype}, not real numbers.")
    return [np.asarray(array) for array in got]


@app.function
def cases():
    """Arguments of single steps: gradients of several sizes, at several steps."""
    generator = np.random.default_rng(0)
    for size in (1.0, 1e3, 1e-3, 1e-8, 1e-10):
        for t in (3, 1, 2, 17, 1000, 100_000):
            g, m = generator.normal(0, size, (2, 3, 4))
            v = generator.uniform(0.5, 2, (3, 4)) * size**2
            yield np.zeros((3, 4)), g, m, v, t, 0.05


@app.function
def wrong_means(g, m, v, t):
    """What the new m and the new v may have been mistaken for, each with a hint."""
    new_m, new_v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    shared = "Return the mean as it is: the correction of its start is for the step only."
    plain = "the new gradient lacks its factor 1 − β. (The engine's sums are not Algorithm 1's m.)"
    of_m = [
        (0.9 * m + g, f"In m {plain}"),
        (new_m / (1 - 0.9**t), f"m is returned divided by 1 − β₁ᵗ. {shared}"),
        (0.1 * m + 0.9 * g, "In m the factors 0.9 and 0.1 are swapped: it changes slowly."),
        (0.999 * m + 0.001 * g, "m has the β of v: β₁ = 0.9."),
        (0.99 * m + 0.01 * g, "In m, β₁ is 0.99. It should be 0.9."),
        (m, "The old m is returned."),
        (g, "m is the gradient alone, not a running mean."),
        (0.9 * m + 0.1 * g**2, "m has the squares. They belong to v."),
        (0.9 * m - 0.1 * g, "In m the gradient has the wrong sign."),
        (new_v, "This m is v: m comes second, v third."),
    ]
    of_v = [
        (0.999 * v + g**2, f"In v {plain}"),
        (new_v / (1 - 0.999**t), f"v is returned divided by 1 − β₂ᵗ. {shared}"),
        (0.999 * v + 0.001 * g, "v holds the gradients themselves. It is a mean of their squares."),
        (0.999 * v + 0.001 * np.abs(g), "v holds sizes of gradients. Squares are asked for."),
        (0.001 * v + 0.999 * g**2, "In v the factors 0.999 and 0.001 are swapped."),
        (0.9 * v + 0.1 * g**2, "v has the β of m: β₂ = 0.999."),
        (0.99 * v + 0.01 * g**2, "In v, β₂ is 0.99. It should be 0.999."),
        (0.999 * v + 0.001 * new_m**2, "v holds the squares of m. Those of g are asked for."),
        (0.999 * v + 0.001 * m**2, "v holds the squares of m. Those of g are asked for."),
        (0.999 * v + (0.001 * g) ** 2, "In v, 1 − β₂ is squared as well."),
        (0.999 * v + 0.001 * (g - new_m) ** 2, "v holds squares of g − m. Those of g are meant."),
        (np.maximum(v, new_v), "v never falls. It is a mean, not a maximum."),
        (v, "The old v is returned."),
        (g**2, "v is the square of the gradient alone, not a running mean."),
        (np.sqrt(new_v), "v is returned after the root. The next step needs it before."),
    ]
    return of_m, of_v


@app.function
def wrong_steps(g, m, v, t, rate):
    """What a step, w less the new w, may have been mistaken for, each with a hint."""
    new_m, new_v, epsilon = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2, 1e-8
    with np.errstate(all="ignore"):
        ones = 1 - 0.9**t, 1 - 0.999**t
        m_hat, v_hat = new_m / ones[0], new_v / ones[1]
        later = new_m / (1 - 0.9 ** (t + 1)), new_v / (1 - 0.999 ** (t + 1))
        before = np.divide(new_m, 1 - 0.9 ** (t - 1)), np.divide(new_v, 1 - 0.999 ** (t - 1))
        root = np.sqrt(v_hat)
        outside = "ε stands outside the root: it is added after it."
        counted = "t counts from 1, so the powers are βᵗ: at the first step, β itself."
        steps = [
            (new_m / (np.sqrt(new_v) + epsilon), "Neither m nor v is corrected for its start."),
            (new_m / (root + epsilon), "m is not corrected for its start at 0."),
            (m_hat / (np.sqrt(new_v) + epsilon), "v is not corrected for its start at 0."),
            (m_hat / np.sqrt(v_hat + epsilon), outside),
            (m_hat / np.sqrt(v_hat + epsilon**2), outside),
            (m_hat / np.sqrt((new_v + epsilon) / ones[1]), outside),
            (
                m_hat / ((np.sqrt(new_v) + epsilon) / np.sqrt(ones[1])),
                "ε is added before the root of v is corrected, so it is corrected with it.",
            ),
            (m_hat / root, "ε is missing in the denominator."),
            *(
                (m_hat / (root + other), f"ε is {other:g}. It should be 1e-8.")
                for other in (1e-4, 1e-5, 1e-6, 1e-7, 1e-9, 1e-10, 1e-12)
            ),
            (later[0] / (np.sqrt(later[1]) + epsilon), f"The powers are those of t + 1. {counted}"),
            (
                before[0] / (np.sqrt(before[1]) + epsilon),
                f"The powers are those of t − 1. {counted}",
            ),
            (
                new_m * ones[0] / (np.sqrt(new_v * ones[1]) + epsilon),
                "m and v are multiplied by their corrections. Divide.",
            ),
            (
                new_m / 0.1 / (np.sqrt(new_v / 0.001) + epsilon),
                "The corrections are 1 − β at each step. β has to be raised to the power t.",
            ),
            (
                new_m / (1 - 0.9 * t) / (np.sqrt(new_v / (1 - 0.999 * t)) + epsilon),
                "The corrections have β·t in place of the power βᵗ.",
            ),
            (
                new_m / ones[1] / (np.sqrt(new_v / ones[0]) + epsilon),
                "The corrections of m and v are swapped.",
            ),
            (
                m_hat / (np.sqrt(new_v) / ones[1] + epsilon),
                "v is corrected after the root. Correct it first.",
            ),
            (m_hat / (v_hat + epsilon), "The root is missing: m̂ and v̂ have different units."),
            (g / (root + epsilon), "The numerator is the gradient. The mean m̂ is asked for."),
            (
                m / ones[0] / (root + epsilon),
                "The numerator has the old m. The new one comes first.",
            ),
            (
                m_hat / (np.sqrt(v / ones[1]) + epsilon),
                "The denominator has the old v. The new one comes first.",
            ),
            (m_hat, "The denominator is missing."),
            (np.sign(m_hat), "Only the sign of the step is left."),
            (g, "This is a step of gradient descent."),
        ]
        named = [(rate * step, hint) for step, hint in steps]
        right = m_hat / (root + epsilon)
        return [
            *named,
            (-rate * right, "The step has the wrong sign: it goes uphill."),
            (right, "The learning rate is missing."),
            (rate * right / np.sqrt(t), "The rate is divided by √t. Use it as it is given."),
            (0 * g, "The new w is the old one."),
        ]


@app.function
def expect_none(got, rights, wrongs):
    """Raise `Wrong` with the hint of the wrong result that was got in all cases.

    Args:
        got, rights: arrays, one for each case.
        wrongs: of each case a list of (array, hint), in the same order.
    """
    for kind in zip(*wrongs, strict=True):
        results = [result for result, _ in kind]
        fits = [
            np.allclose(one, other, 1e-4, 1e-5 * np.abs(right).max(), equal_nan=True)
            for one, other, right in zip(got, results, rights, strict=True)
        ]
        if all(fits):
            raise Wrong(kind[0][1])


@app.function
def check_steps(adam_step):
    """What is wrong with single steps."""
    given = list(cases())
    got = [called(adam_step, *arguments) for arguments in given]
    right = [by_algorithm_1(*arguments) for arguments in given]
    for place, name in ((1, "m"), (2, "v"), (0, "w")):
        ours, theirs = [each[place] for each in right], [each[place] for each in got]
        if all(
            np.allclose(one, other, 1e-5, 1e-5 * np.abs(other).max())
            for one, other in zip(theirs, ours, strict=True)
        ):
            continue
        wrongs = [
            wrong_means(*arguments[1:5])[place - 1] if place else wrong_steps(*arguments[1:])
            for arguments in given
        ]
        signed = theirs if place else [-each for each in theirs]
        expect_none(signed, ours, wrongs)
        for one, other, (_, g, _, _, t, _) in zip(theirs, ours, given, strict=True):
            size = f"gradients of the size {np.abs(g).mean():.0e}"
            worst = np.abs(one - other).argmax()
            hint = (
                f"The new {name} is wrong at t = {t} with {size}: where g is {g.flat[worst]:.6g}, "
                f"it is {one.flat[worst]:.6g} and should be {other.flat[worst]:.6g}."
            )
            if not place:
                hint += " m and v are right, so look at the corrections, ε, the root or the sign."
            expect_close(one, other, hint, 1e-5)


@app.function
def check(adam_step):
    """What is wrong with Adam, in single steps and then over many."""
    check_steps(adam_step)
    generator = np.random.default_rng(1)
    w, g, m, v = (generator.normal(size=5) for _ in range(4))
    new, *_ = called(adam_step, w, g, m, v**2, 4, 0.1)
    hint = "At w = 0 the step is right, elsewhere it is not: does it depend on w, or replace it?"
    expect_close(new, by_algorithm_1(w, g, m, v**2, 4, 0.1)[0], hint, 1e-5)
    whole, zeros = np.array([3, -2, 0]), np.zeros(3)
    hint = "With w and g of whole numbers the step is wrong: they can hold no fractions."
    new, *_ = called(adam_step, whole, np.array([1, -4, 0]), zeros, zeros, 1, 0.25)
    expect_close(new, whole - 0.25 * np.array([1, -1, 0]), hint, 1e-5)
    hint = "Where a gradient has always been 0 the step is not 0, but 0/0: where is ε?"
    expect_close(called(adam_step, zeros, zeros, zeros, zeros, 1, 0.1)[0], zeros, hint)

    shapes, sizes, steps = [(4, 3), (3,), (3, 2), (2,)], (1e3, 1e-3, 1.0, 1e-10), 300
    for shape, size in zip(shapes, sizes, strict=True):
        w, m, v = np.zeros((3, *shape))
        parameters, gradients = np.zeros((2, 1, w.size))
        engine = Adam(parameters, gradients)
        for t in range(1, steps + 1):
            g = generator.normal(0, size * 0.98**t, shape) * (t % 3 != 2)
            rate = 0.05 * (1 + np.cos(np.pi * (t - 1) / steps))
            gradients[:] = g.reshape(1, -1)
            engine.update(rate)
            w, m, v = called(adam_step, w, g, m, v, t, rate)
            hint = (
                f"Single steps are right, but after {t} steps with gradients of about {size:g} the "
                "weights are not where the engine's are. Does something outside the arguments "
                "remember, or is a number rounded?"
            )
            expect_close(w, parameters.reshape(shape), hint, 1e-3)
    return (
        f"It follows the engine over {steps} steps, with gradients from 1,000 down to less than "
        "1e-10, and in single steps up to t = 100,000."
    )


@app.cell(hide_code=True)
def _():
    lesson.graded(check, adam_step)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## A famous claim, put to the test

    Beyer et al. (2022, *Knowledge distillation: A good teacher is patient and consistent*) let
    students train for very long, on images that were cropped and distorted anew at each view. They
    report that students go on improving where others would long have stopped. An image that is
    never the same twice cannot be learned by heart, and the teacher says something new about each
    view, while the label repeats itself.

    The steps of this chapter do not get shorter because a loss gets small: it is the cosine that
    ends them. With four times the epochs it falls four times as slowly, and the Student can use
    what the views have to tell. If the claim holds here, with images moved by some pixels at each
    use, the Student's advantage over the Person grows with the length.
    """)
    return


@app.cell(hide_code=True)
def _():
    patience = lesson.button()
    patience
    return (patience,)


@app.cell(hide_code=True)
def _(patience):
    lesson.claim("patience", patience)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Another one: consistency

    The same paper says how the teacher has to be asked: about the very view that the student sees.
    To ask it once about each image as it is, and to keep the answers, is cheaper, and they find it
    worse. For such an answer is about another image. Two views of one image then have the same
    target, though the teacher would tell them apart. Their gradients disagree where they should
    not; Adam's mean $\hat m$ takes some of that away, and the rest is a wrong lesson. If the claim
    holds here, Students whose teacher sees each moved image make fewer errors.
    """)
    return


@app.cell(hide_code=True)
def _():
    consistent = lesson.button()
    consistent
    return (consistent,)


@app.cell(hide_code=True)
def _(consistent):
    lesson.claim("consistent", consistent)
    return


@app.cell(hide_code=True)
def _():
    mo.md("## Three questions")
    return


@app.cell(hide_code=True)
def _():
    lesson.questions(
        (
            "A program forgets the factor $1/B$ in all gradients. Training with Adam looks just "
            "as it should. What would gradient descent look like, and how is the mistake found?",
            "Gradient descent would go $B$ times as fast, or be lost. Under Adam $\\varepsilon$ "
            "becomes $\\varepsilon/B$, which nobody sees. So a curve of training that looks good "
            "proves nothing about gradients; central differences find it at once.",
        ),
        (
            "Does the $T^2$ of the soft loss matter under Adam, at $\\alpha = 1$ and at "
            "$\\alpha = \\tfrac12$?",
            "At $\\alpha = 1$ it is a factor on the whole loss and disappears. At "
            "$\\alpha = \\tfrac12$ it says how much the teacher counts beside the label, and "
            "matters under every optimiser.",
        ),
        (
            "Halfway through a long training under Adam, gradients have been steady, and somebody "
            "multiplies the loss by 100. Later it is divided by 100 again. Which of the two does "
            "more harm?",
            "The second. After the first, $m$ has the new size in some 10 steps and $v$ in some "
            "1,000: for a while steps are up to 6.6 times as long as they should be. After the "
            "second, $v$ remembers the squares, 10,000 times too large, and forgets them by only "
            "0.1 % per step. After 100 steps $m$ has the new size, and steps are 95 times too "
            "short; after 1,000 they still are 61 times.",
        ),
    )
    return


if __name__ == "__main__":
    app.run()
