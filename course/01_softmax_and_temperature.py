"""Chapter 1: softmax sees only differences, and T softens them."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(app_title="1. Softmax and temperature")

with app.setup:
    from decimal import Decimal, localcontext

    import lesson
    import marimo as mo
    import numpy as np
    from lesson import Wrong, expect_close

    from nkd.losses import log_softmax as engine_log_softmax
    from nkd.losses import softmax

    SIZE = (9, 3)  # of the picture, in inches


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # 1. Softmax sees only differences, and T softens them

    *After this chapter you can compute a log-softmax that is right for all logits, and say what a
    temperature does to a teacher's answer and what it leaves alone.*

    A network that tells ten digits apart ends in ten numbers, its **logits** $z_1, \dots, z_C$.
    Softmax makes probabilities of them, and a temperature $T > 0$ says how sure they sound:

    $$
    q_{T,c} = \frac{e^{z_c/T}}{\sum_k e^{z_k/T}}
    $$

    **Step 1: only differences count.** Add the same number $a$ to all logits. Numerator and
    denominator are both multiplied by $e^{a/T}$, which cancels. So a network's ten logits hold only
    nine numbers that anybody can see.

    **Step 2: T divides those differences.** For any two classes, the ratio is

    $$
    \frac{q_{T,c}}{q_{T,k}} = e^{(z_c - z_k)/T}
    $$

    The order of the classes is the same at every $T$. For $T \to \infty$ all ratios go to 1: the
    uniform distribution. For $T \to 0$ the largest logit takes all. At $T = 1$ a class that is 10
    below the largest gets at most $e^{-10} = 0.00005$, too little to be noticed; at $T = 5$ it gets
    $e^{-2} = 0.14$ of the largest one's probability. This is how distillation makes small
    probabilities audible.
    """)
    return


@app.function
def picture(figure, T=4.0, digit=30):
    """A test image, and the Teacher's probabilities for it at T = 1 and at this T."""
    teacher = lesson.digits_teacher()
    image, bars = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1, 2.2)})
    z = teacher.outputs(teacher.test_inputs)[0]
    row = np.argsort(softmax(z).max(axis=1))[digit]  # the first digits are those of most doubt
    image.imshow(lesson.digits().data.x_test[row].reshape(28, 28), cmap="gray_r")
    image.set(xticks=[], yticks=[], title=f"labelled {lesson.digits().data.y_test[row]}")
    classes = np.arange(10)
    bars.bar(classes - 0.2, softmax(z[row]), 0.4, color="#999999", label="T = 1")
    bars.bar(classes + 0.2, softmax(z[row], T), 0.4, color="#0072B2", label=f"T = {T:g}")
    q = softmax(z[row].astype(float), T)
    entropy = -(q * np.log(q)).sum()
    bars.set(xticks=classes, ylim=(0, 1), xlabel="class", ylabel="the Teacher's probability")
    bars.set_title(f"entropy at T = {T:g}: {entropy:.2f} of {np.log(10):.2f} nats")
    bars.legend()


@app.cell(hide_code=True)
def _():
    temperature = mo.ui.slider(
        steps=[0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, 20, 50], value=4, label="T", show_value=True
    )
    digit = mo.ui.slider(0, 50, value=30, label="digit, those of most doubt first", show_value=True)
    mo.hstack([temperature, digit], justify="start", gap=2, wrap=True)
    return digit, temperature


@app.cell(hide_code=True)
def _(digit, temperature):
    lesson.moving(
        picture,
        SIZE,
        "A handwritten digit, and bars of the Teacher's probabilities at T = 1 and at a higher T",
        {"T": temperature.value, "digit": digit.value},
        [{"T": T, "digit": digit} for digit, T in ((30, 1), (30, 4), (30, 20), (0, 4))],
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    **Try it.** Find the $T$ at which you can first read off which digits this image resembles,
    without being told that it resembles all of them. The Teacher's answer did not change; only what
    can be seen of it.

    ## The logarithm, without overflow

    Losses need $\log q_{T,c}$. Computed as it is written, $e^{z_c}$ is infinite in float32 from
    $z_c = 89$ on, and infinity divided by infinity is not a number. Step 1 is the way out: subtract
    the largest logit first.

    $$
    u = z - \max_k z_k, \qquad \log q_{T,c} = \frac{u_c}{T} - \log \sum_k e^{u_k/T}
    $$

    Now no exponent is above 0, so nothing overflows; and one of them is exactly 0, so the logarithm
    is that of a number that is at least 1. Whatever underflows to 0 is added to a number of at
    least 1, where it would be lost anyway.

    The tempting alternative, $\log(q + 10^{-7})$, can never say that a row costs more than 16.1,
    and its gradient vanishes just where the network is most wrong (section 3).
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.vstack([lesson.engine(engine_log_softmax, softmax), lesson.reference(2, 3)])
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Exercise: a log-softmax that is right everywhere

    Write `log_softmax` without looking above. It is compared with 50 digits, at logits that a
    network meets on a bad day.
    """)
    return


@app.function
def log_softmax(z, T=1.0):
    """The logarithm of softmax(z/T) over the last axis.

    Args:
        z: logits, an array (…, C) of any numbers.
        T: temperature, a number above 0.

    Returns:
        An array like z.
    """
    raise NotImplementedError


@app.function
def in_50_digits(z, T):
    """log softmax(z/T) of one row, computed with 50 decimal digits."""
    with localcontext() as context:
        context.prec = 50
        scaled = [Decimal(float(each)) / Decimal(float(T)) for each in z]
        lse = sum(each.exp() for each in scaled).ln()
        return np.array([float(each - lse) for each in scaled])


@app.function
def check(log_softmax):
    """What is wrong with a log-softmax, from the usual to the extreme."""
    z = np.random.default_rng(0).normal(0, 3, (4, 10))
    right = np.array([in_50_digits(row, 1.0) for row in z])
    got = np.asarray(log_softmax(z.copy()))
    if got.shape == right.shape and np.allclose(got, np.exp(right)):
        raise Wrong("These are the probabilities. Their logarithm is asked for.")
    if got.shape == right.shape and np.allclose(got, z - np.log(np.exp(z).sum())):
        raise Wrong(
            "The sum goes over all rows. Each row has its own: sum over the last axis, with "
            "`keepdims=True`."
        )
    expect_close(
        got,
        right,
        "Already at T = 1 and for small logits this is not log softmax(z). Check that each row's "
        "exponentials add up to 1, and that differences within a row are those of z.",
    )
    soft = np.asarray(log_softmax(z.copy(), 4.0))
    if np.allclose(soft, got):
        raise Wrong("T has no influence.")
    if np.allclose(soft, right / 4):
        raise Wrong("The result is divided by T. Divide the logits, before anything else is done.")
    expect_close(
        soft,
        [in_50_digits(row, 4.0) for row in z],
        "At T = 1 it is right, at T = 4 it is not: the logits are divided by T in both places "
        "where they occur.",
    )
    for z, T in (
        ([1000.0, 0.0], 1.0),
        ([-1000.0, -1001.0], 1.0),
        ([0.0, 200.0, -3e4], 1.0),
        ([1000.0, 990.0], 4.0),
        ([1000.0, 999.0], 0.5),
    ):
        right = in_50_digits(z, T)
        with np.errstate(all="ignore"):
            got = np.asarray(log_softmax(np.array(z), T))
        where = f"At the logits {z} and T = {T:g} the result is {got}; the truth is {right}."
        if not np.isfinite(got).all():
            raise Wrong(
                f"{where} An exponential overflows, or all of them underflow: subtract the row's "
                "maximum first." + (" From z/T, subtract that of z/T." if T != 1 else "")
            )
        hint = f"{where} Something was added, or cut off, to keep away from the infinite."
        expect_close(got, right, hint, 1e-12)
    z = np.array([[1000.0, 0.0], [-1000.0, -1001.0]])
    hint = f"Each of the rows {z.tolist()} is right alone, but not both together: each has its own "
    hint += "maximum. Take it over the last axis, with `keepdims=True`."
    with np.errstate(all="ignore"):
        expect_close(log_softmax(z.copy()), [in_50_digits(row, 1.0) for row in z], hint, 1e-12)
    z = np.array([1e-3, 0.0, -1e-3])
    hint = "At T = 0.01 it is wrong: T may be smaller than 1, too."
    expect_close(log_softmax(z, 0.01), in_50_digits(z, 0.01), hint)
    return "It agrees with 50 digits, also at logits of 1,000 and -30,000."


@app.cell(hide_code=True)
def _():
    lesson.graded(check, log_softmax)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## A famous claim, put to the test

    A temperature can also be used after training, on a network that is too sure of itself.
    """)
    return


@app.cell(hide_code=True)
def _():
    calibration = lesson.button()
    calibration
    return (calibration,)


@app.cell(hide_code=True)
def _(calibration):
    lesson.claim("calibration", calibration)
    return


@app.cell(hide_code=True)
def _():
    mo.md("## Three questions")
    return


@app.cell(hide_code=True)
def _():
    lesson.questions(
        (
            "Two networks' logits differ by 7 in every class, the same way. Which one is surer?",
            "Neither. Softmax sees only differences within a row, and those are the same.",
        ),
        (
            "All logits of a teacher are multiplied by 3. Which temperature makes its "
            "probabilities what they were at $T = 1$?",
            "$T = 3$: only $z/T$ enters. A teacher's temperature and the scale of its logits are "
            'one thing, so "$T = 4$ is best" says nothing without the teacher.',
        ),
        (
            "Can a temperature change how many errors a network makes?",
            "No. The order of the classes is the same at every $T$, and the prediction is the "
            "first in that order. It changes what a loss makes of the probabilities, and so what a "
            "student learns from them.",
        ),
    )
    return


if __name__ == "__main__":
    app.run()
