"""Chapter 6: backpropagation is three products per layer, and a mask."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(app_title="6. Backpropagation")

with app.setup:
    from functools import cache

    import lesson
    import marimo as mo
    import numpy as np
    from lesson import Wrong, expect_close
    from matplotlib.colors import LinearSegmentedColormap

    from nkd.layers import dense_backward as engine_backward
    from nkd.layers import dense_forward as engine_forward
    from nkd.losses import softmax
    from nkd.network import MLP
    from nkd.optimizers import Adam

    UNITS, STEPS = 16, (0, 1, 3, 10, 30, 100, 300, 1000)
    COLOURS = LinearSegmentedColormap.from_list("", ["#0072B2", "white", "#D55E00"])

    def rows_of(part):
        """Images with pixels from 0 to 1, float32 (N, 784), and their labels."""
        data = lesson.digits().data
        return np.float32(getattr(data, f"x_{part}")) / 255, getattr(data, f"y_{part}")

    RATES = (0.0003, 0.001, 0.003, 0.01, 0.03)

    @cache
    def training():
        """At each of STEPS, networks 784-16-10 that Adam trains at RATES, all in one pass."""
        (x, y), kept = rows_of("train"), {}
        nets = MLP((x.shape[1], UNITS, 10), len(RATES))
        nets.initialise([0] * len(RATES))
        adam, generator = Adam(nets.parameters, nets.gradients), np.random.default_rng(0)
        for step in range(STEPS[-1] + 1):
            if step in STEPS:
                kept[step] = [tuple(nets.tensors(place).values()) for place in range(len(RATES))]
            rows = generator.integers(0, len(x), 64)
            q = softmax(nets.forward(x[rows]))
            nets.backward((q - np.eye(10, dtype=np.float32)[y[rows]]) / len(rows))
            adam.update(np.float32(RATES)[:, None])
        return kept

    def tensors_of(rate, step):
        """W1, b1, W2, b2 of a network, trained at one of RATES for one of STEPS."""
        return training()[step][RATES.index(rate)]

    def backpropagated(tensors, x, y):
        """h, q, dx and dW1 by the lines of step 5, for the mean cross-entropy of these rows."""
        W1, b1, W2, b2 = tensors
        h = np.maximum(x @ W1 + b1, 0)
        q = softmax(h @ W2 + b2)
        dz2 = (q - np.eye(10)[y]) / len(x)
        dz1 = (dz2 @ W2.T) * (h > 0)
        return h, q, dz1 @ W1.T, x.T @ dz1

    @cache
    def over_training_rows(rate, step):
        """Which units are 0 on all training rows, their mean loss, and dW1."""
        x, y = rows_of("train")
        h, q, _, dW = backpropagated(tensors_of(rate, step), x, y)
        return (h == 0).all(axis=0), -np.log(q[np.arange(len(y)), y]).mean(), dW

    SIZE = (9.5, 4.2)  # of the picture, in inches


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # 6. Backpropagation is three products per layer

    *After this chapter you can write the backward pass of a network, say from its formulas which
    weights cannot learn, and check it by finite differences.*

    A network that tells digits apart, with 784 pixels, 16 hidden units and 10 classes, has 12,730
    weights and biases. Each needs its own derivative of the loss $L$. Moving one weight after the
    other and computing the loss anew takes 12,730 forward passes for one step. Backpropagation
    takes the time of about two more at most, and gives all of them.

    A **layer** has an input $x$ with $B$ rows, one for each image, and $I$ columns. It computes

    $$
    z = x\,W + b, \qquad h = \max(z, 0)
    $$

    with $W$ of shape $(I, O)$ and $b$ of shape $(1, O)$, which is added to every row. The maximum
    is the ReLU; the last layer does without it. We write $dz$ for the array of all
    $\partial L/\partial z_{no}$. It is one symbol, with the shape of $z$; likewise $dW$, $dx$, ….

    **Step 1: the rule.** A number may reach $L$ on several paths. The chain rule adds them up: over
    all numbers of $z$ that it enters, what $L$ does with $z$, times what the number does to $z$.
    Suppose that $dz$ is known. Three things are wanted: $dW$ and $db$, to learn from, and $dx$, to
    hand to the layer before. Written out, the layer is $z_{no} = \sum_i x_{ni} W_{io} + b_o$, with
    row $n$, input $i$ and output $o$.

    **Step 2: the weights.** $W_{io}$ enters $z_{no}$ for every row $n$, but for its own $o$ only.
    There its factor is $x_{ni}$. So the sum goes over rows, and that sum is a matrix product:

    $$
    dW_{io} = \sum_n x_{ni}\,dz_{no} \qquad\text{or}\qquad dW = x^\top dz
    $$

    **Step 3: the biases.** $b_o$ enters the same $z_{no}$, with the factor 1 in place of $x_{ni}$.
    A bias is a weight from an input that is always 1:

    $$
    db_o = \sum_n dz_{no} \qquad\text{or}\qquad db = \mathbf{1}^\top dz
    $$

    It is a sum, not a mean. The loss is a mean over rows, and its factor $1/B$ is in $dz$ from the
    start: $dz = (q - y)/B$ in the last layer (chapter 2). It appears nowhere else.

    **Step 4: the inputs.** $x_{ni}$ enters $z_{no}$ for every output $o$, of its own row only, with
    the factor $W_{io}$. So the sum goes over outputs. No row meets another one:

    $$
    dx_{ni} = \sum_o dz_{no}\,W_{io} \qquad\text{or}\qquad dx = dz\,W^\top
    $$

    **Step 5: the mask, and the chain.** ReLU works on each number alone. Its derivative is 1 where
    $z > 0$, and 0 where $z < 0$. At $z = 0$ it has none; here, as in most libraries, 0 is taken:

    $$
    dz = dh \cdot [z > 0] = dh \cdot [h > 0]
    $$

    $[\dots]$ is 1 where the condition holds, else 0. The condition can be read off $h$, so $z$ need
    not be kept. What is an input to one layer is the output $h$ of the layer before. So its $dx$ is
    that layer's $dh$, and the steps apply in turn, from the last layer $D$ to the first:

    $$
    \begin{aligned}
    dW_\ell &= h_{\ell-1}^\top\,dz_\ell \\
    db_\ell &= \mathbf{1}^\top dz_\ell \\
    dh_{\ell-1} &= dz_\ell\,W_\ell^\top && \text{only for } \ell > 1 \\
    dz_{\ell-1} &= dh_{\ell-1} \cdot [h_{\ell-1} > 0] && \text{only for } \ell > 1
    \end{aligned}
    $$

    with $h_0 = x$, the images. That is all of backpropagation: three products per layer, and a
    mask. The forward pass has to keep the $h$, and nothing else. The first layer can omit $dx$,
    since nobody trains the images.

    **Step 6: the price.** A forward pass takes $B \cdot I \cdot O$ multiplications per layer, for
    $xW$. $dW$ takes as many, and so does $dx$; $db$ and the mask hardly count. In the network above
    nearly all weights are in the first layer, which omits $dx$, so one more pass is enough.

    **Step 7: the check.** What is too slow to learn from is good enough to test with. For a single
    number $w$ of any array, compare the derivative with the central difference of chapter 2:

    $$
    \frac{\partial L}{\partial w} \approx \frac{L(w + \theta) - L(w - \theta)}{2\theta}
    $$

    In float64 and with $\theta = 10^{-5}$, at least eight digits of the larger derivatives of this
    network agree. Mind the mask: where some $z$ changes its sign on the way, the difference is a
    mean of two slopes, and no evidence against the derivative.

    ## What the formulas say

    - *A gradient is made of images.* In the first layer, the column of $dW$ for unit $o$ is
      $\sum_n dz_{no}\,x_n$: a sum of the images of the batch, each weighted by one number.
    - *What is 0 does not learn.* Where a pixel is 0 in all rows, its row of $dW$ is 0.
    - *A unit can die.* If $h_{no} = 0$ for all rows $n$, its column of $dz$ is 0. So are its
      columns of $dW$ and $db$, and its row of the next layer's $dW$. Nothing reaches it any more:
      it stays as it is. (Adam's mean of older gradients still moves it for some steps.)
    - *Equal units stay equal.* Two units that have the same bias and the same weights, coming in
      and going out, get the same gradients. So weights start at random, with variance $2/I$: then
      the sum over $I$ inputs, of which ReLU lets half of the mean square through, stays as large
      from layer to layer (section 13).
    """)
    return


@app.function
def picture(figure, rate=0.003, step=100, image=0, shown="dW"):
    """The first layer's dW or W, an image for each hidden unit; a test image, and its dx."""
    tensors, (x, y) = tensors_of(rate, step), rows_of("test")
    dead, loss, dW = over_training_rows(rate, step)
    values = {"dW": dW, "W": tensors[0], "change of W": tensors[0] - tensors_of(rate, 0)[0]}[shown]
    _, q, dx, _ = backpropagated(tensors, x[image : image + 1], y[image : image + 1])
    mosaic = np.full((4 * 30 - 2, 4 * 30 - 2), np.nan)
    left, middle, right = figure.subplots(1, 3, gridspec_kw={"width_ratios": (1.35, 1, 1)})
    for unit in range(UNITS):
        top, side = 30 * (unit // 4), 30 * (unit % 4)
        mosaic[top : top + 28, side : side + 28] = values[:, unit].reshape(28, 28)
        if dead[unit]:
            box = {"facecolor": "white", "edgecolor": "#999999", "pad": 2}
            left.text(side + 14, top + 14, "dead", ha="center", va="center", bbox=box)
    right_label = "more ink there: the loss falls (−) or rises (+)"
    for axes, array, label in (
        (
            left,
            mosaic,
            f"{shown.replace('dW', 'dW over all training rows')}, an image for each unit",
        ),
        (right, dx.reshape(28, 28), right_label),
    ):
        most = float(np.nanmax(np.abs(array)))
        drawn = axes.imshow(array, cmap=COLOURS, vmin=-(most or 1), vmax=most or 1)
        bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.8)
        bar.set_ticks([-most, 0, most] if most else [0])
        bar.ax.set_xticklabels([f"−{most:.1g}", "0", f"+{most:.1g}"] if most else ["0"])
        bar.set_label(label, fontsize="small")
    middle.imshow(x[image].reshape(28, 28), cmap="gray_r")
    left.set_facecolor("#DDDDDD")
    left.set_title(
        f"after {step} step{'' if step == 1 else 's'}: {shown}\n"
        f"training loss {loss:.2f}, {dead.sum()} unit{'' if dead.sum() == 1 else 's'} dead",
        fontsize="medium",
    )
    own = -np.log(q[0, y[image]])
    middle.set_title(
        f"a test image, labelled {y[image]}\ntaken for {q[0].argmax()}, loss {own:.2g}"
    )
    middle.title.set_fontsize("medium")
    right.set_title("dx of this image" + ("" if most else ":\n0 at each pixel"), fontsize="medium")
    for axes in (left, middle, right):
        axes.set(xticks=[], yticks=[])


@app.cell(hide_code=True)
def _():
    step = mo.ui.slider(steps=STEPS, value=100, label="step", show_value=True)
    rate = mo.ui.slider(
        steps=RATES,
        value=0.003,
        label="learning rate",
        show_value=True,
    )
    image = mo.ui.slider(0, 50, value=0, label="test image", show_value=True)
    shown = mo.ui.radio(["dW", "W", "change of W"], value="dW", inline=True, label="left:")
    mo.hstack([step, rate, image, shown], justify="start", gap=2, wrap=True)
    return image, rate, shown, step


@app.cell(hide_code=True)
def _(image, rate, shown, step):
    lesson.moving(
        picture,
        SIZE,
        "Sixteen small images of the gradient of each hidden unit's weights, in which strokes of "
        "digits appear and some are empty; beside them a test image and the gradient of its pixels",
        {
            "rate": rate.value,
            "step": step.value,
            "image": image.value,
            "shown": shown.value,
        },
        [
            {"rate": rate, "step": step, "image": 0, "shown": shown}
            for rate, step, shown in (
                (0.003, 0, "dW"),
                (0.003, 100, "dW"),
                (0.003, 1000, "change of W"),
                (0.03, 1000, "W"),
            )
        ],
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    **Try it.** At step 0 the weights are noise, and $dW$ shows digits all the same: it is made of
    images. Only $dx$, which is made of weights, is noise. Follow it from step 0 to step 1000.

    Then go to step 1 and raise the learning rate. At which rate does a single step kill half of the
    units? Why? (At 0.01: 9 of 16 are dead, and one was so before. Adam's first step moves each
    weight by the learning rate, whatever its gradient, which is a matter of chapter 7. Pixels are
    not negative, so the weights of a unit tend to go the same way: down, for more than four in five
    of them, in each of the eight units that died. The pixels of an image add up to 264 on average,
    so at the rate 0.01 its $z$ moves by up to 2.6; at the start the standard deviation of $z$ is
    0.8.)

    Last, take the rate 0.03, step 1000 and image 0. The network gives the right digit, and not one
    pixel matters to it. (All its units are 0 for this image: the answer comes from the biases of
    the last layer, and is the same for 24 of the 360 test images.)
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.vstack(
        [
            lesson.engine(engine_forward, engine_backward, MLP.backward),
            lesson.reference(10, 11, 12, 13),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Exercise: a layer, forward and backward

    Write both without looking above. The mean over rows is already in `dh`. A transposition too
    many can go unnoticed where $I = O$; so sketch the shapes first. The check begins with
    $B = I = O$, where every slip runs without an error, and tells what your result is instead.
    """)
    return


@app.function
def dense_forward(x, W, b, relu):
    """A layer's output.

    Args:
        x: inputs (B, I).
        W: weights (I, O).
        b: biases (1, O).
        relu: whether the layer ends with a ReLU.

    Returns:
        h, a new array (B, O).
    """
    raise NotImplementedError


@app.function
def dense_backward(dh, x, h, W, relu):
    """The gradients of a layer.

    Args:
        dh: the derivatives of the loss by the layer's outputs, (B, O).
        x: its inputs (B, I).
        h: its outputs (B, O), after the ReLU if it has one.
        W: its weights (I, O).
        relu: whether it ends with a ReLU, whose derivative at 0 is 0.

    Returns:
        Three new arrays: dx (B, I), dW (I, O) and db (1, O).
    """
    raise NotImplementedError


@app.function
def random_layer(B, I, O, relu, seed=0):
    """dh, x, h, W and b of a layer; in its first row every second unit has z = 0."""
    generator = np.random.default_rng((B, I, O, seed))
    dh, x = generator.normal(size=(B, O)), generator.normal(size=(B, I))
    W, b = generator.normal(size=(I, O)), generator.normal(size=(1, O))
    x[0], b[0, 1::2] = 0, 0
    h = x @ W + b
    return dh, x, np.maximum(h, 0) if relu else h, W, b


@app.function
def by_the_engine(dh, x, h, W, relu):
    """dx, dW and db as nkd.layers computes them."""
    dh, x, h, W = (np.array(each, np.float64) for each in (dh, x, h, W))
    dx, dW, db = np.empty_like(x), np.empty_like(W), np.empty((1, W.shape[1]))
    work = np.empty(h.shape, bool), np.ones((1, len(x)))
    engine_backward(np, dx, dW, db, dh, x, h, W, relu, work)
    return dx, dW, db


@app.function
def same(got, wanted):
    """Whether two arrays agree, shapes included."""
    return np.shape(got) == np.shape(wanted) and np.allclose(got, wanted, 1e-5, 1e-8)


@app.function
def check_forward(dense_forward):
    """What is wrong with a layer's forward pass."""
    for relu in (False, True):
        _, x, h, W, b = random_layer(4, 4, 4, relu)
        got, z = lesson.called(dense_forward, x, W, b, relu), x @ W + b
        if got is None:
            raise Wrong("`dense_forward` returns nothing.")
        if isinstance(got, tuple):
            raise Wrong(f"`dense_forward` returns {len(got)} things. Only h is asked for.")
        wrong = [
            (np.maximum(z, 0), "The ReLU is there although `relu` is False."),
            (z, "`relu` is ignored: h still has negative numbers."),
            *(
                (np.maximum(result, 0) if relu else result, hint)
                for result, hint in (
                    (x @ W, "The biases are missing."),
                    (x @ W - b, "The biases are subtracted."),
                    (x @ W.T + b, "W is transposed. Which of its axes is that of the inputs?"),
                    (W @ x + b, "The factors are in the wrong order: rows of x are examples."),
                    (x @ W + b.T, "Each row gets one bias. Each unit has its own: a column of z."),
                    (x @ W + b[0, 0], "The first unit's bias goes to all units. Each has its own."),
                    (x @ W + 2 * b, "The biases are added twice."),
                    ((x @ W + b).T, "It is transposed: a row for each example, as in x."),
                    (x * W + b, "This multiplies number by number. A matrix product is asked for."),
                )
            ),
            (np.maximum(x @ W, 0) + b, "The biases come after the ReLU. They belong before it."),
            (np.abs(z), "This is the absolute value. Negative numbers become 0."),
            (np.minimum(z, 0), "This keeps the negative numbers."),
            ((z > 0) * 1.0, "This is the derivative of the ReLU. Its value is asked for."),
            (np.maximum(x, 0) @ W + b, "ReLU is applied to x. It comes last: it takes z."),
        ]
        for result, hint in wrong:
            if same(got, result) and not same(result, h):
                raise Wrong(f"`dense_forward`, relu = {relu}: {hint}")
        hint = f"`dense_forward` is wrong for relu = {relu}. Compute one number of h by hand."
        if relu and np.shape(got) == h.shape and same(np.where(z > 0, got, 0), h):
            hint = "`dense_forward` is right where z is above 0. Everywhere else h has to be 0."
        expect_close(got, h, hint, 1e-5)
    for B, I, O in ((1, 1, 1), (5, 3, 2), (2, 7, 4), (1, 4, 3), (6, 1, 5)):
        for relu in (False, True):
            _, x, h, W, b = random_layer(B, I, O, relu)
            where = f"`dense_forward` is right for B = I = O = 4, but not for {B}, {I} and {O}"
            try:
                got = lesson.called(dense_forward, x, W, b, relu)
            except ValueError as error:
                raise Wrong(f"{where}: {error}.") from None
            expect_close(got, h, f"{where}, relu = {relu}. Is there a fixed number?", 1e-5)
    x, W = np.array([[1, 0, -2], [3, 1, 1]]), np.array([[1, 2], [0, -1], [3, 1]])
    b = np.array([[0.5, -0.25]])
    hint = "`dense_forward` is wrong if x and W hold whole numbers and b does not."
    expect_close(lesson.called(dense_forward, x, W, b, False), x @ W + b, hint, 1e-5)
    hint = "`dense_forward` is wrong where z is 1e-12: any number above 0 passes a ReLU."
    x, W, b = np.full((1, 1), 1e-12), np.ones((1, 1)), np.zeros((1, 1))
    expect_close(lesson.called(dense_forward, x, W, b, True), x, hint, 1e-5)
    hint = "`dense_forward` is wrong where z is 10,000,000: a ReLU has no upper end."
    x = np.full((1, 1), 1e7)
    expect_close(lesson.called(dense_forward, x, W, b, True), x, hint, 1e-5)


@app.function
def three(got, layer):
    """dx, dW and db as arrays of the right shapes, for the layer (dh, x, h, W)."""
    dh, x, _, W = layer
    shapes = {"dx": x.shape, "dW": W.shape, "db": (1, W.shape[1])}
    if not isinstance(got, (tuple, list)) or len(got) != 3:
        raise Wrong("`dense_backward` has to return three arrays: dx, dW and db, in this order.")
    for (name, shape), array in zip(shapes.items(), got, strict=True):
        if array is None:
            raise Wrong(f"{name} is None.")
        if np.shape(array) == shape:
            continue
        hint = ""
        if name == "db":
            hint = " There is one number for each unit, in a row, as in b: one axis is summed."
            if np.shape(array) == shape[1:]:
                hint = " The numbers may be right, but b is a row: `keepdims=True`."
            elif np.shape(array) == (len(dh), 1):
                hint = (
                    " This is a column. Each unit has one number, a sum over rows, the first axis."
                )
            elif np.shape(array) == W.shape:
                hint = " If it is a matrix product, it may be dx or dW: db comes last."
        elif np.shape(array) == (1, W.shape[1]):
            hint = " It looks like db, which comes last."
        elif np.shape(array) == shape[::-1]:
            hint = " It is transposed."
        raise Wrong(
            f"{name} has the shape {np.shape(array)}; it should have {shape}, for dh of the shape "
            f"{dh.shape}, x of {x.shape} and W of {W.shape}.{hint}"
        )
    return [np.asarray(array) for array in got]


@app.function
def masks(dh, x, h, W, relu):
    """What dz may have been mistaken for, each with a hint; the right one first, without."""
    if not relu:
        return [
            (dh, ""),
            (dh * (h > 0), "The mask of the ReLU is there although `relu` is False."),
            (dh * h, "dh is multiplied by h."),
        ]
    hint = "At z = 0, so where h = 0, the derivative is 0: "
    return [
        (dh * (h > 0), ""),
        (
            dh,
            "The ReLU is ignored: no derivative passes where h is 0. (Or the mask is h ≥ 0, which "
            "lets everything pass: h is never negative.)",
        ),
        (dh * (x > 0), "The mask looks at the sign of x. What the ReLU has cut off shows in h."),
        (dh * (dh > 0), "The mask looks at the sign of dh. It has to look at the ReLU's output."),
        (dh * (W > 0), "The mask looks at the sign of W. It has to look at the ReLU's output."),
        (
            dh * (x @ W > 0),
            "The mask looks at the sign of x W. z has biases besides; h knows better.",
        ),
        (dh * (h <= 0), "The mask is inverted: it lets pass where h is 0."),
        (dh * h, "dh is multiplied by h. The derivative of ReLU is 1 where h > 0, not h."),
        (dh * np.where(h > 0, 1, 0.5), f"{hint}here it is taken to be ½."),
        (np.maximum(dh, 0), "ReLU was applied to dh. Its derivative is asked for."),
        ((h > 0) * 1.0, "This holds the mask alone. dh is missing."),
    ]


@app.function
def products(name, dz, x, h, W):
    """What dx, dW or db may have been mistaken for, each with a hint; the right one first."""
    B, one = len(x), np.ones_like(dz)
    divided = f"It is divided by {B}: by B, I or O. The mean over rows is in dh already."
    times = f"It is multiplied by {B}: by B, I or O. The mean over rows stays in it."
    if name == "dx":
        return [
            (dz @ W.T, ""),
            (dz @ W, "W should be transposed. The sum goes over outputs, the second axis of W."),
            (W @ dz, "The factors are in the wrong order."),
            (W.T @ dz, "The factors are in the wrong order."),
            ((dz @ W.T).T, "It is transposed."),
            (dz @ W.T / B, divided),
            (dz @ W.T * B, times),
            (
                (dz @ W.T) * (x > 0),
                "The sign of x matters to it. A ReLU before this layer, whose output is x, is the "
                "layer before's own: its backward pass looks after it.",
            ),
            (-dz @ W.T, "The sign is wrong."),
            (W.T, "dz is missing."),
            (dz @ x.T, "The factor of x in z is W, not x."),
            (x.T @ dz, "This is dW: dx comes first."),
        ]
    if name == "dW":
        return [
            (x.T @ dz, ""),
            (x.T @ dz / B, divided),
            (x.T @ dz * B, times),
            (h.T @ dz, "The layer's output h stands where its input x belongs."),
            (np.maximum(x, 0).T @ dz, "ReLU was applied to x. W was multiplied by x as it is."),
            (dz.T @ x, "It is transposed: the axes of W are inputs, then outputs."),
            (x @ dz, "x should be transposed. The sum goes over rows, the first axis of x."),
            (dz @ x, "The factors are in the wrong order."),
            (x @ dz.T, "The wrong factor is transposed. The sum goes over rows."),
            (dz @ x.T, "The wrong factor is transposed. The sum goes over rows."),
            (-x.T @ dz, "The sign is wrong."),
            (x.T @ one, "dz is missing."),
            (dz @ W.T, "This is dx: dW comes second."),
        ]
    return [
        (dz.sum(axis=0, keepdims=True), ""),
        (dz.mean(axis=0, keepdims=True), "It is the mean over rows. The mean is in dh already."),
        (dz.sum(axis=0, keepdims=True) * B, times),
        (dz.sum(axis=1)[None], "It is summed over units. Each unit has its own, a sum over rows."),
        (dz.mean(axis=1)[None], "It is a mean over units. Each unit has its own, a sum over rows."),
        (np.full((1, dz.shape[1]), dz.sum()), "It is summed over units, too. Each has its own."),
        (-dz.sum(axis=0, keepdims=True), "The sign is wrong."),
        (dz[:1], "It is that of the first row. b enters every row."),
        (dz[-1:], "It is that of the last row. b enters every row."),
    ]


@app.function
def check_backward(dense_forward, dense_backward):
    """What is wrong with a layer's backward pass."""
    for relu in (False, True):
        *layer, _ = random_layer(4, 4, 4, relu)
        _, x, h, W = layer
        got = three(lesson.called(dense_backward, *layer, relu), layer)
        for name, array, right in zip(
            ("dx", "dW", "db"), got, by_the_engine(*layer, relu), strict=True
        ):
            for dz, mask_hint in masks(*layer, relu):
                for result, hint in products(name, dz, x, h, W):
                    if same(array, result) and not same(result, right):
                        raise Wrong(f"{name}, relu = {relu}: {' '.join((mask_hint, hint)).strip()}")
            try:
                off = ~(np.abs(array - right) <= 1e-5 * np.abs(right).max())
            except TypeError:
                raise Wrong(f"{name} holds something that is no number.") from None
            hint = (
                f"{name} is wrong for relu = {relu}, in {off.sum()} of {right.size} numbers. "
                "Write one of them as a sum over all paths to the loss."
            )
            if relu:
                hint += " Without a ReLU all three arrays are right: look at the mask."
            expect_close(array, right, hint, 1e-5)
    for B, I, O in ((1, 1, 1), (5, 3, 2), (2, 7, 4), (1, 4, 3), (6, 1, 5), (9, 2, 2)):
        for relu in (False, True):
            *layer, _ = random_layer(B, I, O, relu)
            where = f"`dense_backward` is right for B = I = O = 4, but not for {B}, {I} and {O}"
            try:
                got = three(lesson.called(dense_backward, *layer, relu), layer)
            except ValueError as error:
                raise Wrong(f"{where}: {error}.") from None
            for name, array, right in zip(
                ("dx", "dW", "db"), got, by_the_engine(*layer, relu), strict=True
            ):
                hint = f"{where}: look at {name}, relu = {relu}. Is there a fixed number?"
                expect_close(array, right, hint, 1e-5)
    whole = np.array([[1, 0, -2], [3, 1, 1]]), np.array([[1, 2], [0, -1], [3, 1]])
    tiny = np.array([[1e-12]]), np.array([[1.0]])
    for x, W, dh, hint in (
        (*tiny, np.array([[2.0]]), "h is 1e-12: any number above 0 has passed the ReLU"),
        (tiny[0] * 1e19, tiny[1], np.array([[2.0]]), "h is 10,000,000: a ReLU has no upper end"),
        (*whole, np.array([[0.5, -0.25], [0.125, 3]]), "x and W hold whole numbers and dh doesn't"),
        (np.ones((3, 2)), -np.ones((2, 2)), np.ones((3, 2)), "all units are dead"),
    ):
        layer = dh, x, np.maximum(x @ W, 0), W
        got = three(lesson.called(dense_backward, *layer, True), layer)
        for name, array, right in zip(
            ("dx", "dW", "db"), got, by_the_engine(*layer, True), strict=True
        ):
            expect_close(array, right, f"{name} is wrong where {hint}.", 1e-5)
    expect_differences(dense_forward, dense_backward)


@app.function
def expect_differences(dense_forward, dense_backward):
    """Compare with central differences of Σ weights·h, by every number of x, W and b."""
    generator = np.random.default_rng(1)
    weights = generator.normal(size=(5, 3))
    inputs = [generator.normal(size=shape) for shape in ((5, 4), (4, 3), (1, 3))]
    h = np.asarray(dense_forward(*(each.copy() for each in inputs), True))
    got = dense_backward(weights.copy(), inputs[0].copy(), h, inputs[1].copy(), True)
    for place, (name, array) in enumerate(zip(("dx", "dW", "db"), got, strict=True)):
        right = np.empty(inputs[place].shape)
        for index in np.ndindex(right.shape):
            ends = []
            for epsilon in (1e-4, -1e-4):
                moved = [each.copy() for each in inputs]
                moved[place][index] += epsilon
                ends.append((weights * np.asarray(dense_forward(*moved, True), np.float64)).sum())
            right[index] = (ends[0] - ends[1]) / 2e-4
        expect_close(array, right, f"{name} is not what central differences give.", 5e-3)


@app.function
def check(dense_forward, dense_backward):
    """What is wrong with a layer, forward and then backward."""
    check_forward(dense_forward)
    try:
        check_backward(dense_forward, dense_backward)
    except NotImplementedError:
        raise Wrong("`dense_forward` is right. `dense_backward` is not written yet.") from None
    return (
        "Both agree with the engine for layers of seven shapes, with ReLU and without, and the "
        "gradients with central differences."
    )


@app.cell(hide_code=True)
def _():
    lesson.graded(check, dense_forward, dense_backward)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## A famous claim, put to the test

    Stanton et al. (2021, *Does Knowledge Distillation Really Work?*) asked whether a student
    becomes what its teacher is. They report that it does not: on new images a student's predictions
    go on differing from its teacher's, even where it has the teacher's size and could be its copy.
    Capacity cannot be the reason. They find that the obstacle is optimisation: weights that agree
    with the teacher exist, and the gradient does not lead there.

    All that a student hears of its teacher is $dz$ in its last layer; steps 2 to 5 make the rest of
    it, and of its own weights, its own mask and the images of the batch. It starts elsewhere.
    Weights that answer alike on training images need not answer alike elsewhere; but the paper
    finds that students do not even come to agree on all the images that they learn from. If the
    claim holds here, a Student disagrees with its teacher on more than half as many test images as
    a network of this size that has never heard of it.
    """)
    return


@app.cell(hide_code=True)
def _():
    agreement = lesson.button()
    agreement
    return (agreement,)


@app.cell(hide_code=True)
def _(agreement):
    lesson.claim("agreement", agreement)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Another one: born again

    Furlanello et al. (2018, *Born-Again Neural Networks*) report that a student of the teacher's
    own size becomes better than its teacher. Same network, same images, same products; only $dz$
    differs, and the random start. With $\alpha = \tfrac12$ and $T = 1$ it is $(q - t)/B$ with
    $t = \tfrac12(y + p)$: half of it the label, half the teacher's probabilities. Where the
    teacher is not sure of a label, its doubts enter every $dW$. If the claim holds here, the
    Student makes fewer errors than the teacher. Mind the comparison: a second network that has
    learned from the labels alone would not make just as many errors as the teacher either.
    """)
    return


@app.cell(hide_code=True)
def _():
    born_again = lesson.button()
    born_again
    return (born_again,)


@app.cell(hide_code=True)
def _(born_again):
    lesson.claim("born-again", born_again)
    return


@app.cell(hide_code=True)
def _():
    mo.md("## Three questions")
    return


@app.cell(hide_code=True)
def _():
    lesson.questions(
        (
            "All weights and biases of a network with one hidden layer start at 0. Which gradients "
            "are not 0, in the first step and later?",
            "Those of the last layer's biases, now and for ever. All $h$ are 0, so the last $dW$ "
            "is $h^\\top dz = 0$. The last $W$ is 0, so $dh = dz\\,W^\\top = 0$, and nothing "
            "reaches the first layer. The biases learn how frequent the classes are.",
        ),
        (
            "Each row of a batch is put in a second time. What happens to $dW$, $db$ and $dx$?",
            "$dW$ and $db$ stay as they are: twice as many terms, and each has half the $1/B$. "
            "$dx$ has twice as many rows, each half as large: a row's pixels matter half as much "
            "to the mean.",
        ),
        (
            "A unit in the first hidden layer is dead, and one in the second. Which of them can "
            "come back to life, though no gradient reaches either?",
            "The one in the second. Its own weights do not change any more, but its inputs do: the "
            "first layer goes on learning from other units. The inputs of the first layer are "
            "images. Once Adam's mean of older gradients has faded, it is dead for good, unless "
            "images come that it has not seen, moved ones for instance.",
        ),
    )
    return


if __name__ == "__main__":
    app.run()
