"""The training step and the outputs of networks, compiled by Numba: `training.Step`, but faster.

One call of compiled code makes many steps. It computes what the named operations say (layers.py,
losses.py, optimizers.py), in one pass each, and is tested to equal the plain step.

Few networks share all threads: each thread runs the same code on its own block of every array, and
`meet` separates what depends on the others. With at least as many networks as threads, each thread
trains some of them alone. A block is a range of

    rows               when a batch is gathered
    columns of h       in the forward pass, and for dz and db in the backward pass
    rows of W          for dW and dx: the columns of the layer below, whose dz is next
    parameters         for Adam

so what a thread has written is mostly what it reads next. Products are calls of BLAS, each on a
thread's own block. In networks too small for BLAS, vectors hold 16 rows of the batch instead.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from nkd.cpu_primitives import (
    LANES,
    THREADS,
    Array,
    Team,
    compiled,
    in_threads,
    load,
    meet,
    plus_product,
    product,
    repeated,
    store,
    sum_of,
    use_one_blas_thread,
    where_positive,
)
from nkd.optimizers import FLUSH_EVERY

__all__ = ["PARTS", "THREADS", "CompiledForward", "CompiledStep", "use_one_blas_thread"]

LOSSES = ("squared_error_loss", "distillation_loss", "weighted_squared_error_loss")
SQUARED_ERROR, DISTILLATION, WEIGHTED_SQUARED_ERROR = range(3)
"""The compiled losses, and the numbers that stand for them in compiled code."""

PARTS = frozenset({"mlp", "dense", "dropout", "limit_norms", "adam_update", "gather", *LOSSES})
"""The parts that `CompiledStep` and `CompiledForward` support: see `Backend.computes`."""

SMALL = 2_000
"""Up to so many parameters vectors of rows are faster than BLAS: docs/performance.md."""

# What a step works with. Arrays of one network have one axis fewer than those of all networks.


class Layout(NamedTuple):
    """Where things are in a network's arrays.

    `sizes` are the units of the layers, `tensors` the starts of each W and b in the parameters,
    `columns` those of each layer's values in h and dh. `small` networks have h and dh transposed.
    """

    sizes: Array
    tensors: Array
    columns: Array
    small: bool


class Data(NamedTuple):
    """The rows to train on: x ← scale·inputs[rows] and t ← targets[target_rows].

    Inputs and targets are memory, and the windows of it that are rows: `tables.Window`.
    """

    inputs: Array
    window: Array
    rows: Array
    scale: Any
    targets: Array
    target_window: Array
    target_rows: Array


class Loss(NamedTuple):
    """The loss: its number in `LOSSES`, α and T (R,)."""

    kind: int
    alpha: Array
    T: Array


class State(NamedTuple):
    """What Adam changes, parameters w and moments m and v, and the gradients g; P numbers each."""

    w: Array
    m: Array
    v: Array
    g: Array


class Rates(NamedTuple):
    """Adam's numbers: β₁, β₂ and, as in `Adam.advance`, the rate η' and ε' of each step."""

    beta1: float
    beta2: float
    rate: Any
    epsilon: Any


class Limits(NamedTuple):
    """Regularisation: dropout's rates p and factors 1/(1 − p) for each layer's input; the bound.

    `uniform` holds the numbers in [0, 1) that decide what is dropped, laid out as h for all rows
    of a call. Without dropout, all are empty; without a bound, `largest` is infinite.
    """

    dropout: Array
    factor: Array
    uniform: Array
    largest: Any


class Work(NamedTuple):
    """Buffers: the values h of all layers, their gradients dh, and those of the loss."""

    h: Array
    dh: Array
    loss: Array


# Blocks: number `k` of `blocks`.


@compiled
def block(size: int, k: int, blocks: int) -> tuple[int, int]:
    """Where block k of `size` numbers starts and stops; it starts at a cache line."""
    width = -(-size // (16 * blocks)) * 16
    return min(size, k * width), min(size, (k + 1) * width)


@compiled
def blocks_of(B: int, I: int, O: int, threads: int) -> int:
    """How many blocks a layer is cut into: each has some ten microseconds of work, or more.

    Its time is proportional to its multiply-adds, and reading the weights takes as long as 8 rows.
    """
    return min(threads, -(-((B + 8) * I * O) // 1_200_000))


@compiled
def gather_block(
    out: Array, memory: Array, window: Array, rows: Array, scale: Any, k: int, blocks: int
) -> None:
    """Some rows of out ← scale·memory: each a window of the memory, see `tables.Window`."""
    start, stop = block(rows.size, k, blocks)
    step, lines, length, stride = window[0], window[1], window[2], window[3]
    for i in range(start, stop):
        for n in range(lines):
            first = rows[i] * step + n * stride
            line, scaled = memory[first : first + length], out[i, n * length : (n + 1) * length]
            for j in range(length):
                scaled[j] = line[j] * scale


@compiled
def copy(out: Array, x: Array) -> None:
    """out ← the first rows of x."""
    for i in range(len(out)):
        for j in range(out.shape[1]):
            out[i, j] = x[i, j]


@compiled
def drop(h: Array, uniform: Array, limits: Limits, n: int, start: int, stop: int) -> None:
    """Some columns of h, layer n, ← h/(1 − p) where the number in [0, 1) is at least p, else 0."""
    rate, factor, zero = limits.dropout[n], limits.factor[n], h.dtype.type(0)
    for i in range(len(h)):
        row, decides = h[i, start:stop], uniform[i, start:stop]
        for j in range(row.size):
            row[j] = row[j] * factor if decides[j] >= rate else zero


@compiled
def forward_block(h: Array, x: Array, W: Array, b: Array, relu: bool, k: int, blocks: int) -> None:
    """Some columns of h ← max(x W + b, 0)."""
    start, stop = block(h.shape[1], k, blocks)
    if start == stop:
        return
    shift, zero = b[start:stop], h.dtype.type(0)
    product(h[:, start:stop], x, W[:, start:stop])
    for i in range(len(h)):
        row = h[i, start:stop]
        if relu:
            for o in range(row.size):
                row[o] = max(row[o] + shift[o], zero)
        else:
            for o in range(row.size):
                row[o] += shift[o]


@compiled
def mask_and_sum(
    db: Array, dh: Array, h: Array, scale: Any, masked: bool, start: int, stop: int
) -> None:
    """Some columns of db ← Σ_B dz, with dz ← scale·dh where h > 0 if `masked`, else dh as it is.

    What dropout set to 0 is masked as well.
    """
    total, zero = db[start:stop], dh.dtype.type(0)
    total[:] = 0
    for i in range(len(dh)):
        row, output = dh[i, start:stop], h[i, start:stop]
        if masked:
            for o in range(row.size):
                row[o] = row[o] * scale if output[o] > 0 else zero
        for o in range(row.size):
            total[o] += row[o]


@compiled
def adam_block(state: State, rates: Rates, k: int, blocks: int) -> None:
    """Some numbers of m ← β₁·m + g, v ← β₂·v + g², w ← w − rate·m/(√v + ε)."""
    w, m, v, g = state
    start, stop = block(w.size, k, blocks)
    w, m, v, g = w[start:stop], m[start:stop], v[start:stop], g[start:stop]
    number = w.dtype.type
    b1, b2, e, rate = number(rates.beta1), number(rates.beta2), number(rates.epsilon), rates.rate
    for i in range(w.size):
        m[i] = b1 * m[i] + g[i]
        v[i] = b2 * v[i] + g[i] * g[i]
        w[i] -= rate * m[i] / (math.sqrt(v[i]) + e)


@compiled
def limit_block(W: Array, largest: Any, scale: Array, k: int, blocks: int) -> None:
    """Some columns w of W ← w·largest/‖w‖ where ‖w‖ > largest."""
    start, stop = block(W.shape[1], k, blocks)
    if start == stop:
        return
    factor = scale[start:stop]
    factor[:] = 0
    for i in range(len(W)):
        row = W[i, start:stop]
        for o in range(row.size):
            factor[o] += row[o] * row[o]
    for o in range(factor.size):
        factor[o] = largest / max(math.sqrt(factor[o]), largest)
    if factor.min() < 1:
        for i in range(len(W)):
            row = W[i, start:stop]
            for o in range(row.size):
                row[o] *= factor[o]


# The losses of one network: outputs (B, O) and targets (B, ·).


@compiled
def distillation_loss(dz: Array, z: Array, t: Array, a: Any, tau: Any, soft: Array) -> Any:
    """Set dz; return mean_B [(1−α)·lse(z) + α·T²·lse(z/T) − ⟨t, z⟩]. `soft` is a buffer (B, C)."""
    B, C = z.shape
    zero, one = z.dtype.type(0), z.dtype.type(1)
    total = zero
    for i in range(B):
        largest = z[i, 0]
        for c in range(1, C):
            largest = max(largest, z[i, c])
        sum_hard, sum_soft, inner = zero, zero, zero
        for c in range(C):
            shifted = z[i, c] - largest
            inner += t[i, c] * shifted
            dz[i, c] = math.exp(shifted)
            sum_hard += dz[i, c]
            soft[i, c] = math.exp(shifted / tau)
            sum_soft += soft[i, c]
        total += (one - a) * math.log(sum_hard) + a * tau * tau * math.log(sum_soft) - inner
        weight_hard, weight_soft = (one - a) / sum_hard / B, a * tau / sum_soft / B
        for c in range(C):
            q = weight_hard * dz[i, c] + weight_soft * soft[i, c]
            dz[i, c] = q - t[i, c] / B
    return total / B


@compiled
def squared_error_loss(ds: Array, s: Array, t: Array) -> Any:
    """Set ds ← 2(s − t)/(B·O); return Σ (s − t)² / (B·O)."""
    B, O = s.shape
    size, total = s.dtype.type(B * O), s.dtype.type(0)
    for i in range(B):
        for o in range(O):
            difference = s[i, o] - t[i, o]
            total += difference * difference
            ds[i, o] = (difference + difference) / size
    return total / size


@compiled
def weighted_squared_error_loss(ds: Array, s: Array, t: Array, alpha: Any) -> Any:
    """Set ds ← 2·w·(s − t)/(B·O); return Σ w·‖s − t‖² / (B·O), with w = v + α·[‖s − t‖² > c].

    The columns of t are the targets, and then v and c.
    """
    B, O = s.shape
    size, total = s.dtype.type(B * O), s.dtype.type(0)
    for i in range(B):
        square, weight = s.dtype.type(0), t[i, O]
        for o in range(O):
            difference = s[i, o] - t[i, o]
            square += difference * difference
            ds[i, o] = (difference + difference) / size
        if square > t[i, O + 1]:
            weight += alpha
        total += weight * square
        for o in range(O):
            ds[i, o] *= weight
    return total / size


# The step of one network.


@compiled
def values(h: Array, layout: Layout, n: int, B: int) -> Array:
    """The values (B, ·) of layer n in h, or their gradients in dh; layer 0 is the input."""
    start, stop = layout.columns[n], layout.columns[n + 1]
    return h[start * B : stop * B].reshape(B, stop - start)


@compiled
def parameters(w: Array, layout: Layout, n: int) -> tuple[Array, Array]:
    """The W (I, O) and b (O,) in w between layers n and n + 1, or their gradients in g."""
    I, O = layout.sizes[n], layout.sizes[n + 1]
    W, b = layout.tensors[n]
    return w[W : W + I * O].reshape(I, O), w[b : b + O]


@compiled
def deciding(uniform: Array, layout: Layout, n: int, first: int, B: int) -> Array:
    """The numbers in [0, 1) that decide what of a batch's layer n is dropped, (B, ·).

    `uniform` has those of all rows of a call, and the batch begins with row `first`.
    """
    return values(uniform, layout, n, uniform.size // layout.columns[-1])[first : first + B]


@compiled
def loss_of(z: Array, dz: Array, data: Data, loss: Loss, rest: Array) -> Any:
    """Set dz, the gradient of the outputs z (B, O); return the loss. `rest` is a buffer."""
    B, one = data.target_rows.size, z.dtype.type(1)
    t = rest[: B * data.target_window[2]].reshape(B, data.target_window[2])
    gather_block(t, data.targets, data.target_window, data.target_rows, one, 0, 1)
    if loss.kind == SQUARED_ERROR:
        return squared_error_loss(dz, z, t)
    if loss.kind == WEIGHTED_SQUARED_ERROR:
        return weighted_squared_error_loss(dz, z, t, loss.alpha[0])
    soft = rest[t.size : t.size + z.size].reshape(z.shape)
    return distillation_loss(dz, z, t, loss.alpha[0], loss.T[0], soft)


@compiled
def forward(
    x: Array,
    h: Array,
    layout: Layout,
    w: Array,
    limits: Limits,
    uniform: Array,
    first: int,
    team: Team,
) -> None:
    """The values of all layers of one network, from its inputs x (B, I): h = max(x W + b, 0).

    With dropout, rows first … first + B of `uniform` decide what is dropped.
    """
    B, last, k = len(x), len(layout.sizes) - 2, team.number
    for n in range(last + 1):
        z = values(h, layout, n + 1, B)
        W, b = parameters(w, layout, n)
        blocks = blocks_of(B, W.shape[0], W.shape[1], team.threads)
        if k < blocks:
            forward_block(z, x, W, b, n < last, k, blocks)
            if n < last and limits.dropout.size and limits.dropout[n + 1] > 0:
                start, stop = block(z.shape[1], k, blocks)
                decides = deciding(uniform, layout, n + 1, first, B)
                drop(z, decides, limits, n + 1, start, stop)
        x = z
        meet(team)


@compiled
def backward(
    g: Array, dh: Array, layout: Layout, w: Array, h: Array, B: int, limits: Limits, team: Team
) -> None:
    """All gradients of one network, from those of its outputs: dW = xᵀ dz, db = Σ dz, …"""
    last, k = len(layout.sizes) - 2, team.number
    one = h.dtype.type(1)
    if k == 0:
        z, dz = values(h, layout, last + 1, B), values(dh, layout, last + 1, B)
        mask_and_sum(parameters(g, layout, last)[1], dz, z, one, False, 0, dz.shape[1])
    for n in range(last, -1, -1):
        x, dz = values(h, layout, n, B), values(dh, layout, n + 1, B)
        W, dW = parameters(w, layout, n)[0], parameters(g, layout, n)[0]
        blocks = blocks_of(B, W.shape[0], W.shape[1], team.threads)
        start, stop = block(x.shape[1], k, blocks)
        if k < blocks and start < stop:
            if n > 0:  # dz of the layer below: dx where its h > 0
                dx, scale = values(dh, layout, n, B), one
                product(dx[:, start:stop], dz, W[start:stop].T)
                if limits.dropout.size:
                    scale = limits.factor[n]
                mask_and_sum(parameters(g, layout, n - 1)[1], dx, x, scale, True, start, stop)
            product(dW[start:stop], x[:, start:stop].T, dz)
        meet(team)


# The same for a small network. Its values are transposed: a row for each unit, a column for each of
# the batch's rows. Columns up to a multiple of LANES fill the last vectors, and count for nothing.


@compiled
def forward_small(h: Array, layout: Layout, w: Array, B: int) -> None:
    """As `forward`, two units at a time, so each loaded vector is used twice."""
    last = len(layout.sizes) - 2
    for n in range(last + 1):
        W, b = parameters(w, layout, n)
        I, O = W.shape
        x, z = layout.columns[n] * B, layout.columns[n + 1] * B  # where they start in h
        for first in range(0, B, LANES):
            for o in range(0, O, 2):
                p = min(o + 1, O - 1)
                one, two = repeated(b[o]), repeated(b[p])
                for i in range(I):
                    row = load(h, x + i * B + first)
                    one = plus_product(one, repeated(W[i, o]), row)
                    two = plus_product(two, repeated(W[i, p]), row)
                if n < last:
                    one, two = where_positive(one, one), where_positive(two, two)
                store(h, z + o * B + first, one)
                store(h, z + p * B + first, two)


@compiled
def backward_small(g: Array, dh: Array, layout: Layout, w: Array, h: Array, B: int) -> None:
    """As `backward`, two units of each layer at a time."""
    zero, unit = repeated(w.dtype.type(0)), repeated(w.dtype.type(1))
    for n in range(len(layout.sizes) - 2, -1, -1):
        (W, _), (dW, db) = parameters(w, layout, n), parameters(g, layout, n)
        I, O = W.shape
        x, dz = layout.columns[n] * B, layout.columns[n + 1] * B  # where they start in h and dh
        for o in range(O):
            total = zero
            for first in range(0, B, LANES):
                total = plus_product(total, unit, load(dh, dz + o * B + first))
            db[o] = sum_of(total)
        for i in range(0, I, 2):
            j = min(i + 1, I - 1)
            for o in range(0, O, 2):
                p = min(o + 1, O - 1)
                io, ip, jo, jp = zero, zero, zero, zero
                for first in range(0, B, LANES):
                    x_i, x_j = load(h, x + i * B + first), load(h, x + j * B + first)
                    dz_o, dz_p = load(dh, dz + o * B + first), load(dh, dz + p * B + first)
                    io, ip = plus_product(io, x_i, dz_o), plus_product(ip, x_i, dz_p)
                    jo, jp = plus_product(jo, x_j, dz_o), plus_product(jp, x_j, dz_p)
                dW[i, o], dW[i, p], dW[j, o], dW[j, p] = (
                    sum_of(io), sum_of(ip), sum_of(jo), sum_of(jp),
                )  # fmt: skip
            if n == 0:
                continue
            for first in range(0, B, LANES):
                dx_i, dx_j = zero, zero
                for o in range(O):
                    row = load(dh, dz + o * B + first)
                    dx_i = plus_product(dx_i, repeated(W[i, o]), row)
                    dx_j = plus_product(dx_j, repeated(W[j, o]), row)
                at_i, at_j = x + i * B + first, x + j * B + first
                store(dh, at_i, where_positive(dx_i, load(h, at_i)))
                store(dh, at_j, where_positive(dx_j, load(h, at_j)))


@compiled
def gradients_small(
    state: State, layout: Layout, data: Data, loss: Loss, gathered: bool, work: Work
) -> Any:
    """Set the gradients of a small network, and return its loss."""
    (w, _, _, g), (h, dh, rest) = state, work
    rows, I, O = data.rows.size, layout.sizes[0], layout.sizes[-1]
    B, last = -(-rows // LANES) * LANES, layout.columns[-2]
    if not gathered:
        x = h[: I * B].reshape(I, B)
        gather_block(x.T[:rows], data.inputs, data.window, data.rows, data.scale, 0, 1)
        x[:, rows:] = 0
    forward_small(h, layout, w, B)
    outputs = h[last * B : (last + O) * B].reshape(O, B)
    gradients = dh[last * B : (last + O) * B].reshape(O, B)
    z, dz = rest[: rows * O].reshape(rows, O), rest[rows * O : 2 * rows * O].reshape(rows, O)
    copy(z, outputs.T)
    value = loss_of(z, dz, data, loss, rest[2 * rows * O :])
    copy(gradients.T[:rows], dz)
    gradients[:, rows:] = 0
    backward_small(g, dh, layout, w, h, B)
    return value


@compiled
def gradients(
    state: State,
    layout: Layout,
    data: Data,
    loss: Loss,
    limits: Limits,
    masks: tuple[Array, Array, int],
    gathered: bool,
    team: Team,
    work: Work,
) -> Any:
    """Set the gradients of one network, and return its loss (in the first thread of the team).

    `gathered` inputs are in h already. `masks` are the numbers in [0, 1) for the inputs and for the
    hidden layers, and the first row of them.
    """
    (w, _, _, g), (h, dh, rest) = state, work
    of_inputs, of_hidden, first = masks
    B, last, k = data.rows.size, len(layout.sizes) - 1, team.number
    x = values(h, layout, 0, B)
    if not gathered:
        gather_block(x, data.inputs, data.window, data.rows, data.scale, k, team.threads)
        if limits.dropout.size and limits.dropout[0] > 0:
            start, stop = block(B, k, team.threads)
            decides = deciding(of_inputs, layout, 0, first, B)
            drop(x[start:stop], decides[start:stop], limits, 0, 0, x.shape[1])
        meet(team)
    forward(x, h, layout, w, limits, of_hidden, first, team)
    value = w.dtype.type(0)
    if k == 0:
        value = loss_of(values(h, layout, last, B), values(dh, layout, last, B), data, loss, rest)
    meet(team)
    backward(g, dh, layout, w, h, B, limits, team)
    return value


@compiled
def update(state: State, layout: Layout, rates: Rates, largest: Any, team: Team) -> None:
    """Change the parameters of one network by Adam, and bound its weights."""
    adam_block(state, rates, team.number, team.threads)
    meet(team)
    if largest < np.inf:
        for n in range(len(layout.sizes) - 1):
            W, scale = parameters(state.w, layout, n)[0], parameters(state.g, layout, n)[1]
            # The gradients of the biases have been used: their memory is free.
            limit_block(W, largest, scale, team.number, team.threads)
        meet(team)


@compiled
def train_some(
    total: Array,
    state: State,
    layout: Layout,
    data: Data,
    loss: Loss,
    rates: Rates,
    limits: Limits,
    batch_size: int,
    work: Work,
    side_by_side: bool,
    team: Team,
) -> None:
    """Train R networks for some steps, adding their losses to `total` (R,).

    `side_by_side`, each thread of the team trains some of them alone, with its own row of `work`;
    otherwise all threads train one after the other. Network r takes the inputs rows[r mod S];
    networks that share inputs make each step one after another. Step n has the rates
    rates.rate[n] (R, 1) and rates.epsilon[n].
    """
    (S, N), R = data.rows.shape, len(state.w)
    A, start, stop, place = R // S, 0, R, 0
    if side_by_side:
        place = team.number
        start, stop = place * R // team.threads, (place + 1) * R // team.threads
        team = Team(0, 1, team.gate)
    buffers = Work(work.h[place], work.dh[place], work.loss[place])
    for s in range(start // A, -(-stop // A)):
        for n in range(len(rates.rate)):
            first, last = n * batch_size, min((n + 1) * batch_size, N)
            for number in range(max(start, s * A), min(stop, (s + 1) * A)):
                r = s + number % A * S
                network = State(state.w[r], state.m[r], state.v[r], state.g[r])
                batch = Data(
                    data.inputs,
                    data.window,
                    data.rows[s, first:last],
                    data.scale,
                    data.targets,
                    data.target_window,
                    data.target_rows[r % len(data.target_rows), first:last],
                )
                own_loss = Loss(loss.kind, loss.alpha[r : r + 1], loss.T[r : r + 1])
                gathered = number > start and number % A > 0
                if layout.small:
                    value = gradients_small(network, layout, batch, own_loss, gathered, buffers)
                else:
                    masks = limits.uniform[s], limits.uniform[r], first
                    value = gradients(
                        network, layout, batch, own_loss, limits, masks, gathered, team, buffers
                    )
                own_rates = Rates(rates.beta1, rates.beta2, rates.rate[n, r, 0], rates.epsilon[n])
                update(network, layout, own_rates, limits.largest, team)
                if team.number == 0:
                    total[r] += value * (last - first)


@compiled
def outputs_of(
    outputs: Array,
    begin: int,
    layout: Layout,
    w: Array,
    x: Array,
    h: Array,
    none: Limits,
    team: Team,
) -> None:
    """Set outputs[:, begin : begin + N] of R networks, (R, ·, O), for inputs x (N, I).

    Each thread takes some of the rows, and has its own row of h.
    """
    N, last, k, alone = len(x), len(layout.sizes) - 1, team.number, Team(0, 1, team.gate)
    start, stop = k * N // team.threads, (k + 1) * N // team.threads
    for first in range(start, stop, ROWS):
        some = x[first : min(first + ROWS, stop)]
        for r in range(len(w)):
            forward(some, h[k], layout, w[r], none, none.uniform[0], 0, alone)
            place = outputs[r, begin + first : begin + first + len(some)]
            copy(place, values(h[k], layout, last, len(some)))


# What the engine calls.

ROWS = 1024
"""Rows whose outputs a thread computes at a time."""

WORTH_A_THREAD = 2_000_000
"""Multiply-adds that take longer than waking a thread."""

STEPS = 16, 128
"""Training steps per call without dropout, at least and at most: few, for smooth progress."""

UNIFORM_NUMBERS = 1_000_000
"""How many numbers for dropout are drawn at a time, if one step does not need more."""


def read_only(array: Array) -> Array:
    """A view that cannot be written to, as some arrays are: of one type, so one code is enough."""
    view = array.view()
    view.flags.writeable = False
    return view


def layout_of(network: Any) -> Layout:
    """The layout of an `MLP`."""
    starts = np.reshape([start for start, _ in network.offsets.values()], (-1, 2))
    columns = np.concatenate([[0], np.cumsum(network.sizes)])
    small = network.parameter_count <= SMALL and not any(network.dropouts)
    return Layout(np.array(network.sizes), starts, columns, small)


def limits_of(network: Any, training: bool) -> Limits:
    """The regularisation of an `MLP` in training or not; without numbers, which `drawn` draws."""
    dropouts = network.dropouts if training and any(network.dropouts) else []
    rates = [0.0 if each is None else each.rate for each in dropouts]
    factors = [1.0 if each is None else each.scale for each in dropouts]
    bound = np.inf if network.max_norm is None else network.max_norm.largest
    return Limits(
        np.array(rates, np.float32),
        np.array(factors, network.dtype),
        np.empty((network.replicas, 0), np.float32),
        network.dtype.type(bound),
    )


class CompiledForward:
    """Computes the outputs of an `MLP`'s networks in one call of compiled code."""

    def __init__(self, network: Any) -> None:
        self.network, self.layout = network, layout_of(network)
        self.none = limits_of(network, training=False)
        self.h = np.empty((THREADS, 0), network.dtype)

    def __call__(self, outputs: Array, first: int, x: Array) -> None:
        """Set outputs[:, first : first + N] of all networks, (R, ·, O), for the inputs x (N, I)."""
        network = self.network
        x = read_only(np.ascontiguousarray(x, network.dtype))
        work = network.parameters.size * len(x)
        threads = max(1, min(THREADS, work // WORTH_A_THREAD, len(x)))
        length = min(len(x), ROWS) * self.layout.columns[-1]
        if self.h.shape[1] < length:
            self.h = np.empty((THREADS, length), network.dtype)
        arguments = outputs, first, self.layout, network.parameters, x, self.h, self.none
        in_threads(outputs_of, threads, *arguments)


class CompiledStep:
    """`training.Step` without `on_gradients`: several steps per call of compiled code.

    If there are at least as many networks as threads, they are trained side by side, each in one
    thread. Fewer are trained in turn, each in all threads if its layers have several blocks.
    """

    def __init__(self, network: Any, loss: Any, optimizer: Any, inputs: Any, targets: Any) -> None:
        self.network, self.optimizer, self.inputs, self.targets = (
            network,
            optimizer,
            inputs,
            targets,
        )
        self.layout, self.limits = layout_of(network), limits_of(network, training=True)
        self.windows = [np.array(table.window) for table in (inputs, targets)]
        alpha = loss.alpha.reshape(-1)
        T = loss.T.reshape(-1) if loss.compiled == "distillation_loss" else np.ones_like(alpha)
        self.compiled_loss = Loss(LOSSES.index(loss.compiled), alpha, T)
        self.state = State(optimizer.w, optimizer.m, optimizer.v, optimizer.g)
        self.side_by_side = network.replicas >= THREADS > 1
        self.batch_size = 0

    def epoch(
        self, order: Array, batch_size: int, rates: Iterator[Any], track: Callable = iter
    ) -> Array:
        """Train on all rows (S, N) in this order; return the sums of the loss over them, (R,)."""
        self.resize(batch_size)
        total = np.zeros(self.network.replicas)
        batches, first = range(0, order.shape[1], batch_size), 0
        for number, start in enumerate(track(batches), start=1):
            if number % self.steps == 0 or number == len(batches):
                self.train(order[:, first : start + batch_size], rates, total)
                first = start + batch_size
        return total

    def skip(self, rows: int) -> None:
        """Go on as if so many rows had been trained on: see `training.Step.skip`."""
        self.network.skip_dropout(rows)

    def prepare(self, batch_size: int) -> None:
        """Compile what an epoch needs, if this has not been done: train for no step."""
        self.resize(batch_size)
        rows = np.zeros((self.network.layers[0].axes[1], 0), np.intp)
        self.train(rows, iter(()), np.zeros(self.network.replicas))

    def train(self, rows: Array, rates: Iterator[Any], total: Array) -> None:
        """Train on the rows (S, ·) of some batches."""
        adam = self.optimizer
        steps = -(-rows.shape[1] // self.batch_size)
        for n in range(steps):
            self.rates[n] = next(rates) * adam.count()
            self.epsilons[n] = adam.scaled_epsilon
        if adam.unflushed + self.steps > FLUSH_EVERY:
            adam.flush()
        inputs, targets = self.inputs, self.targets
        if self.limits.dropout.size:  # networks with the same rows have masks of their own
            rows = np.broadcast_to(rows, (self.network.layers[0].axes[1], rows.shape[1]))
        in_threads(
            train_some,
            self.threads if steps else 1,
            total,
            self.state,
            self.layout,
            Data(
                read_only(inputs.memory),
                self.windows[0],
                inputs.index_of(rows),
                inputs.scale,
                read_only(targets.memory),
                self.windows[1],
                targets.index_of(rows),
            ),
            self.compiled_loss,
            Rates(adam.beta1, adam.beta2, self.rates[:steps], self.epsilons[:steps]),
            self.drawn(rows.shape[1]),
            self.batch_size,
            self.work,
            self.side_by_side,
        )

    def drawn(self, rows: int) -> Limits:
        """The limits, with numbers for the dropout of so many rows from the networks' streams."""
        if not self.limits.dropout.size:
            return self.limits
        columns, R = self.layout.columns, self.network.replicas
        uniform = self.uniform[: R * columns[-1] * rows].reshape(R, -1)
        parts = [
            (stream, uniform[r, columns[n] * rows : columns[n + 1] * rows])
            for n, dropout in enumerate(self.network.dropouts)
            for r, stream in enumerate(dropout.streams if dropout else ())
        ]

        def draw(team: Team) -> None:
            for stream, some in parts[team.number :: team.threads]:
                stream.random(out=some, dtype=np.float32)

        in_threads(draw, min(THREADS, len(parts)))
        return self.limits._replace(uniform=uniform)

    def resize(self, batch_size: int) -> None:
        """Allocate buffers for batches of that many rows, if they are for another number."""
        if self.batch_size == batch_size:
            return
        network, layout = self.network, self.layout
        self.batch_size, R = batch_size, network.replicas
        blocks = [
            blocks_of(batch_size, *layer, THREADS) for layer in itertools.pairwise(network.sizes)
        ]
        in_turn = 1 if layout.small else max(blocks)
        self.threads = THREADS if self.side_by_side else in_turn
        least, most = STEPS
        work = R * network.parameter_count * batch_size
        self.steps = min(max(least, 30_000_000 // work), most)
        if self.limits.dropout.size:
            each = R * batch_size * int(layout.columns[-1])
            self.steps = min(max(1, UNIFORM_NUMBERS // each), least)
            self.uniform = np.empty(self.steps * each, np.float32)
        self.rates = np.empty((self.steps, R, 1), network.dtype)
        self.epsilons = np.empty(self.steps)
        rows = -(-batch_size // LANES) * LANES
        outputs, targets = network.sizes[-1], self.targets.columns
        length = layout.columns[-1] * rows
        lengths = length, length, (3 * outputs + targets) * rows
        places = self.threads if self.side_by_side else 1
        self.work = Work(*(np.zeros((places, length), network.dtype) for length in lengths))
