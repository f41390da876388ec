"""The named operations compiled by Numba: the same formulas, in few passes and on all cores.

Each function named like a plain one (layers.py, losses.py, optimizers.py) has its signature, and
is tested to equal it. All but the losses work in blocks, and there is only one pool of threads:
Numba's hands out the blocks, and each block's part of a product is a BLAS call in one thread. A
block of a layer is some of its columns:

    forward, and dz of the backward pass     columns of h
    dW and dx                                rows of W: the columns of the layer below

so what a core has written is mostly what it reads next. `train_network` goes through the same
blocks in the order of `training.Step`. Compiled code is cached on disk.
"""

import importlib
import itertools
import math
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import llvmlite.binding
import numba
import numpy as np
from numba import prange, types
from numba.extending import get_cython_function_address
from threadpoolctl import ThreadpoolController

Array = Any  # always a NumPy array

# No "fastmath": each operation is rounded as written, so a seed always gives the same bits.
OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


def has_threads() -> bool:
    """Whether Numba finds OpenMP or TBB; waking its own pool takes longer than most products."""
    for pool in ("omppool", "tbbpool"):
        try:
            importlib.import_module(f"numba.np.ufunc.{pool}")
        except ImportError:
            continue
        return True
    return False


THREADS = numba.get_num_threads() if has_threads() else 1
"""Cores that share the work: NUMBA_NUM_THREADS, or all; 1 without OpenMP and TBB."""


def compiled(function: Any, in_parallel: bool) -> Any:
    """Compile a function; its name, and so its cache entry, depends on the number of threads."""
    function.__qualname__ += f"_{THREADS}"
    return numba.njit(**OPTIONS, parallel=in_parallel and THREADS > 1)(function)


serial: Callable[..., Any] = partial(compiled, in_parallel=False)
parallel: Callable[..., Any] = partial(compiled, in_parallel=True)


OPERATIONS = {
    "nkd.layers.dense_forward",
    "nkd.layers.dense_backward",
    "nkd.layers.limit_norms",
    "nkd.losses.distillation_loss",
    "nkd.losses.squared_error_loss",
    "nkd.optimizers.adam_update",
}
"""The plain functions that have a form here, with the same name."""

PARTS = frozenset(
    {"mlp", "dense", "distillation_loss", "squared_error_loss", "adam_update", "gather"}
)
"""The parts that `CompiledStep` and `CompiledForward` support: see `Backend.computes`."""


# Matrix products: SciPy's BLAS, the one that Numba can call, in one thread.


def blas(name: str, arguments: int) -> Any:
    """SciPy's BLAS function of that name, callable in compiled code; all arguments are pointers."""
    symbol = f"nkd_{name}"
    address = get_cython_function_address("scipy.linalg.cython_blas", name)
    llvmlite.binding.add_symbol(symbol, address)
    return types.ExternalFunction(symbol, types.void(*[types.voidptr] * arguments))


sgemm, dgemm = blas("sgemm", 13), blas("dgemm", 13)
sgemv, dgemv = blas("sgemv", 11), blas("dgemv", 11)


def use_one_blas_thread() -> None:
    """Keep SciPy's BLAS in the calling thread. NumPy's, if it is another one, stays as it is."""
    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    of_scipy = [each for each in libraries if "scipy.libs" in each.filepath]
    for library in of_scipy or libraries:
        library.set_num_threads(1)


@serial
def stored(array: Array) -> tuple[int, int]:
    """How BLAS reads an array: as it is or transposed, and the leading dimension."""
    if array.strides[1] == array.itemsize:
        return ord("N"), max(array.strides[0] // array.itemsize, array.shape[1])
    return ord("T"), max(array.strides[1] // array.itemsize, array.shape[0])


@serial
def product(out: Array, x: Array, y: Array) -> None:
    """out ← x y, for parts of arrays with contiguous rows (or columns, if transposed)."""
    # BLAS is column-major, NumPy row-major: to BLAS each array is its transpose, so outᵀ = yᵀ xᵀ.
    sizes, flags, scalars = np.empty(6, np.int32), np.empty(2, np.uint8), np.empty(2, x.dtype)
    sizes[0], sizes[1], sizes[2] = y.shape[1], x.shape[0], x.shape[1]
    flags[0], sizes[3] = stored(y)
    flags[1], sizes[4] = stored(x)
    sizes[5] = stored(out)[1]
    scalars[0], scalars[1] = 1, 0  # out ← 1·x y + 0·out
    if len(x) == 1 and flags[0] == ord("N"):  # a row: a matrix-vector product
        sizes[1], sizes[4] = x.shape[1], x.strides[1] // x.itemsize
        sizes[5] = out.strides[1] // out.itemsize
        vector = (
            flags.ctypes, sizes.ctypes, sizes[1:].ctypes, scalars.ctypes, y.ctypes,
            sizes[3:].ctypes, x.ctypes, sizes[4:].ctypes, scalars[1:].ctypes, out.ctypes,
            sizes[5:].ctypes,
        )  # fmt: skip
        if x.itemsize == 4:
            sgemv(*vector)
        else:
            dgemv(*vector)
        return
    arguments = (
        flags.ctypes, flags[1:].ctypes, sizes.ctypes, sizes[1:].ctypes, sizes[2:].ctypes,
        scalars.ctypes, y.ctypes, sizes[3:].ctypes, x.ctypes, sizes[4:].ctypes,
        scalars[1:].ctypes, out.ctypes, sizes[5:].ctypes,
    )  # fmt: skip
    if x.itemsize == 4:
        sgemm(*arguments)
    else:
        dgemm(*arguments)


# The work of one block: number `k` of `blocks`.


@serial
def block(size: int, k: int, blocks: int) -> tuple[int, int]:
    """Where block k of `size` numbers starts and stops; it starts at a cache line."""
    width = -(-size // (16 * blocks)) * 16
    return min(size, k * width), min(size, (k + 1) * width)


@serial
def blocks_of(B: int, I: int, O: int, threads: int) -> int:
    """How many blocks a layer is cut into: each has some ten microseconds of work, or more.

    Its time is proportional to its multiply-adds, and reading the weights takes as long as 8 rows.
    """
    return min(threads, -(-((B + 8) * I * O) // 1_200_000))


@serial
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


@serial
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


@serial
def mask_block(dh: Array, db: Array, h: Array, relu: bool, k: int, blocks: int) -> None:
    """Some columns of dz ← dh where h > 0, and of db ← Σ_B dz."""
    start, stop = block(dh.shape[1], k, blocks)
    total = db[start:stop]
    total[:] = 0
    for i in range(len(dh)):
        row, output = dh[i, start:stop], h[i, start:stop]
        if relu:
            for o in range(row.size):
                row[o] = row[o] if output[o] > 0 else row.dtype.type(0)
        for o in range(row.size):
            total[o] += row[o]


@serial
def backward_block(
    dx: Array, dW: Array, dz: Array, x: Array, W: Array, wanted: bool, k: int, blocks: int
) -> None:
    """Some columns of dx ← dz Wᵀ, if wanted, and the same rows of dW ← xᵀ dz."""
    start, stop = block(x.shape[1], k, blocks)
    if start == stop:
        return
    if wanted:
        product(dx[:, start:stop], dz, W[start:stop].T)
    product(dW[start:stop], x[:, start:stop].T, dz)


@serial
def adam_block(
    w: Array,
    m: Array,
    v: Array,
    g: Array,
    beta1: float,
    beta2: float,
    rate: Any,
    epsilon: float,
    k: int,
    blocks: int,
) -> None:
    """Some numbers of m ← β₁·m + g, v ← β₂·v + g², w ← w − rate·m/(√v + ε)."""
    start, stop = block(w.size, k, blocks)
    w, m, v, g = w[start:stop], m[start:stop], v[start:stop], g[start:stop]
    b1, b2, e = w.dtype.type(beta1), w.dtype.type(beta2), w.dtype.type(epsilon)
    for i in range(w.size):
        m[i] = b1 * m[i] + g[i]
        v[i] = b2 * v[i] + g[i] * g[i]
        w[i] -= rate * m[i] / (math.sqrt(v[i]) + e)


# The named operations.


@parallel
def gather(out: Array, table: Array, rows: Array, scale: Any, work: Array) -> None:
    """out ← scale·table[rows], for a table (N, K) and row numbers (B,)."""
    memory, window = table.reshape(-1), np.array([table.shape[1], 1, table.shape[1], 0])
    for k in prange(THREADS):
        gather_block(out, memory, window, rows, scale, k, THREADS)


@parallel
def dense_forward(
    xp: ModuleType | None, h: Array, x: Array, W: Array, b: Array, relu: bool
) -> None:
    """h ← max(x W + b, 0), or without `relu` h ← x W + b."""
    A, S, B, O = h.shape
    blocks = blocks_of(B, x.shape[-1], O, THREADS)
    for a in range(A):
        for s in range(S):
            shift = np.ascontiguousarray(b[a, s, 0])
            for k in prange(blocks):
                forward_block(h[a, s], x[s % len(x)], W[a, s], shift, relu, k, blocks)


@parallel
def dense_backward(
    xp: ModuleType | None,
    dx: Array | None,
    dW: Array,
    db: Array,
    dh: Array,
    x: Array,
    h: Array,
    W: Array,
    relu: bool,
    work: tuple[Array, Array],
) -> None:
    """dz ← dh where h > 0, db ← Σ_B dz, dW ← xᵀ dz, dx ← dz Wᵀ."""
    A, S, B, O = h.shape
    blocks = blocks_of(B, x.shape[-1], O, THREADS)
    for a in range(A):
        for s in range(S):
            dz = dh[a, s]
            for k in prange(blocks):
                mask_block(dz, db[a, s, 0], h[a, s], relu, k, blocks)
            for k in prange(blocks):
                if dx is None:
                    backward_block(dz, dW[a, s], dz, x[s % len(x)], W[a, s], False, k, blocks)
                else:
                    backward_block(dx[a, s], dW[a, s], dz, x[s % len(x)], W[a, s], True, k, blocks)


@serial
def limit_block(W: Array, largest: float, scale: Array, k: int, blocks: int) -> None:
    """`limit_norms` for some columns of W."""
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


@parallel
def limit_norms(xp: ModuleType | None, W: Array, largest: float, work: Array) -> None:
    """Each column w of W ← w·largest/‖w‖ where ‖w‖ > largest."""
    A, S = W.shape[:2]
    for a in range(A):
        for s in range(S):
            for k in prange(THREADS):
                limit_block(W[a, s], largest, work[a, s, 0], k, THREADS)


@serial
def distillation_loss(
    xp: ModuleType | None,
    value: Array,
    dz: Array,
    z: Array,
    t: Array,
    alpha: Array,
    T: Array,
    work: Any,
) -> None:
    """value ← mean_B [(1−α)·lse(z) + α·T²·lse(z/T) − ⟨t, z⟩], dz ← its gradient."""
    soft, (R, B, C) = work[0], z.shape
    zero, one = z.dtype.type(0), z.dtype.type(1)
    for r in range(R):
        a, tau = alpha[r, 0, 0], T[r, 0, 0]
        total = zero
        for i in range(B):
            largest = z[r, i].max()
            sum_hard, sum_soft, inner = zero, zero, zero
            for c in range(C):
                shifted = z[r, i, c] - largest
                inner += t[r, i, c] * shifted
                dz[r, i, c] = math.exp(shifted)
                sum_hard += dz[r, i, c]
                soft[r, i, c] = math.exp(shifted / tau)
                sum_soft += soft[r, i, c]
            total += (one - a) * math.log(sum_hard) + a * tau * tau * math.log(sum_soft) - inner
            weight_hard, weight_soft = (one - a) / sum_hard / B, a * tau / sum_soft / B
            for c in range(C):
                q = weight_hard * dz[r, i, c] + weight_soft * soft[r, i, c]
                dz[r, i, c] = q - t[r, i, c] / B
        value[r] = total / B


@serial
def squared_error_loss(xp: ModuleType | None, value: Array, ds: Array, s: Array, t: Array) -> None:
    """value ← Σ (s − t)² / (B·O) and ds ← 2(s − t)/(B·O)."""
    R, B, O = s.shape
    size = s.dtype.type(B * O)
    for r in range(R):
        total = s.dtype.type(0)
        for i in range(B):
            for o in range(O):
                difference = s[r, i, o] - t[r, i, o]
                total += difference * difference
                ds[r, i, o] = (difference + difference) / size
        value[r] = total / size


@parallel
def adam_update(
    xp: ModuleType | None,
    w: Array,
    m: Array,
    v: Array,
    g: Array,
    beta1: float,
    beta2: float,
    rate: Array,
    epsilon: float,
    work: Array,
) -> None:
    """m ← β₁·m + g, v ← β₂·v + g², w ← w − rate·m/(√v + ε)."""
    R = len(w)
    for r in range(R):
        for k in prange(THREADS):
            adam_block(w[r], m[r], v[r], g[r], beta1, beta2, rate[r, 0], epsilon, k, THREADS)


# The whole step. Arrays of one network have one axis fewer than those of all networks.


class Layout(NamedTuple):
    """Where things are in a network's arrays.

    `sizes` are the units of the layers, `tensors` the starts of each W and b in the parameters,
    `columns` those of each layer's values in h and dh.
    """

    sizes: Array
    tensors: Array
    columns: Array


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
    """The loss: `distillation_loss` with α and T if `classes`, else `squared_error_loss`."""

    classes: bool
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


class Work(NamedTuple):
    """A thread's buffers: the values h of all layers, their gradients dh, and those of the loss."""

    h: Array
    dh: Array
    loss: Array


@serial
def values(h: Array, layout: Layout, n: int, B: int) -> Array:
    """The values (B, ·) of layer n in h, or their gradients in dh; layer 0 is the input."""
    start, stop = layout.columns[n], layout.columns[n + 1]
    return h[start * B : stop * B].reshape(B, stop - start)


@serial
def parameters(w: Array, layout: Layout, n: int) -> tuple[Array, Array]:
    """The W (I, O) and b (O,) in w between layers n and n + 1, or their gradients in g."""
    I, O = layout.sizes[n], layout.sizes[n + 1]
    W, b = layout.tensors[n]
    return w[W : W + I * O].reshape(I, O), w[b : b + O]


@parallel
def forward(h: Array, layout: Layout, w: Array, B: int, threads: int) -> None:
    """The values of all layers of one network, from those of the input: h = max(x W + b, 0)."""
    last = len(layout.sizes) - 2
    for n in range(last + 1):
        x, z = values(h, layout, n, B), values(h, layout, n + 1, B)
        W, b = parameters(w, layout, n)
        blocks = blocks_of(B, W.shape[0], W.shape[1], threads)
        if blocks == 1:
            forward_block(z, x, W, b, n < last, 0, 1)
        else:
            for k in prange(blocks):
                forward_block(z, x, W, b, n < last, k, blocks)


@parallel
def backward(g: Array, dh: Array, layout: Layout, w: Array, h: Array, B: int, threads: int) -> None:
    """All gradients of one network, from those of its outputs: dW = xᵀ dz, db = Σ dz, …"""
    last = len(layout.sizes) - 2
    for n in range(last, -1, -1):
        x, dx = values(h, layout, n, B), values(dh, layout, n, B)
        z, dz = values(h, layout, n + 1, B), values(dh, layout, n + 1, B)
        (W, _), (dW, db) = parameters(w, layout, n), parameters(g, layout, n)
        blocks = blocks_of(B, W.shape[0], W.shape[1], threads)
        if blocks == 1:
            mask_block(dz, db, z, n < last, 0, 1)
            backward_block(dx, dW, dz, x, W, n > 0, 0, 1)
        else:
            for k in prange(blocks):
                mask_block(dz, db, z, n < last, k, blocks)
            for k in prange(blocks):
                backward_block(dx, dW, dz, x, W, n > 0, k, blocks)


@parallel
def train_network(
    state: State,
    layout: Layout,
    data: Data,
    loss: Loss,
    rates: Rates,
    gathered: bool,
    threads: int,
    work: Work,
) -> Any:
    """One training step of one network; returns its loss. `gathered` inputs are in h already."""
    (w, m, v, g), (h, dh, rest) = state, work
    B, last = data.rows.size, len(layout.sizes) - 1
    x = values(h, layout, 0, B)
    if not gathered and threads == 1:
        gather_block(x, data.inputs, data.window, data.rows, data.scale, 0, 1)
    elif not gathered:
        for k in prange(threads):
            gather_block(x, data.inputs, data.window, data.rows, data.scale, k, threads)

    forward(h, layout, w, B, threads)
    z, dz = values(h, layout, last, B), values(dh, layout, last, B)
    value, t = rest[:1], rest[1 : 1 + z.size].reshape(z.shape)
    soft = rest[1 + z.size : 1 + 2 * z.size].reshape((1, *z.shape))
    one = w.dtype.type(1)
    gather_block(t, data.targets, data.target_window, data.target_rows, one, 0, 1)
    z, t, dz = z.reshape(soft.shape), t.reshape(soft.shape), dz.reshape(soft.shape)
    if loss.classes:
        distillation_loss(None, value, dz, z, t, loss.alpha, loss.T, (soft,))
    else:
        squared_error_loss(None, value, dz, z, t)
    backward(g, dh, layout, w, h, B, threads)

    beta1, beta2, rate, epsilon = rates
    if threads == 1:
        adam_block(w, m, v, g, beta1, beta2, rate, epsilon, 0, 1)
    else:
        for k in prange(threads):
            adam_block(w, m, v, g, beta1, beta2, rate, epsilon, k, threads)
    return value[0]


@serial
def train_some(
    total: Array,
    state: State,
    layout: Layout,
    data: Data,
    loss: Loss,
    rates: Rates,
    batch_size: int,
    start: int,
    stop: int,
    threads: int,
    work: Work,
) -> None:
    """Train some of R networks in turn for some steps, adding their losses to `total` (R,).

    Network r takes the inputs rows[r mod S]; networks that share inputs come one after another.
    Step n has the rates rates.rate[n] (R, 1) and rates.epsilon[n].
    """
    w, m, v, g = state
    inputs, window, rows, scale, targets, target_window, target_rows = data
    S, N = rows.shape
    A = len(w) // S
    for n in range(len(rates.rate)):
        batch = slice(n * batch_size, min((n + 1) * batch_size, N))
        for number in range(start, stop):
            s, r = number // A, number // A + number % A * S
            one = slice(r, r + 1)
            value = train_network(
                State(w[r], m[r], v[r], g[r]),
                layout,
                Data(
                    inputs,
                    window,
                    rows[s, batch],
                    scale,
                    targets,
                    target_window,
                    target_rows[r % len(target_rows), batch],
                ),
                Loss(loss.classes, loss.alpha[one], loss.T[one]),
                Rates(rates.beta1, rates.beta2, rates.rate[n, r, 0], rates.epsilon[n]),
                number > start and number % A > 0,
                threads,
                work,
            )
            total[r] += value * (batch.stop - batch.start)


@parallel
def train_side_by_side(
    total: Array,
    state: State,
    layout: Layout,
    data: Data,
    loss: Loss,
    rates: Rates,
    batch_size: int,
    work: Work,
) -> None:
    """Train all networks for some steps: each thread takes some, with its own row of `work`."""
    h, dh, rest = work
    R, threads = len(state.w), len(h)
    for k in prange(threads):
        own = Work(h[k], dh[k], rest[k])
        start, stop = k * R // threads, (k + 1) * R // threads
        train_some(total, state, layout, data, loss, rates, batch_size, start, stop, 1, own)


STEPS = 16
"""Training steps per call of compiled code: few calls, but still a smooth progress bar."""


def layout_of(network: Any) -> Layout:
    """The layout of an `MLP`."""
    starts = np.reshape([start for start, _ in network.offsets.values()], (-1, 2))
    columns = np.concatenate([[0], np.cumsum(network.sizes)])
    return Layout(np.array(network.sizes), starts, columns)


@parallel
def outputs_of(outputs: Array, layout: Layout, w: Array, x: Array, h: Array) -> None:
    """The outputs (N, O) of one network for inputs x (N, I); threads share many rows."""
    threads, last = len(h), len(layout.sizes) - 1
    if len(x) < 16 * threads:
        values(h[0], layout, 0, len(x))[:] = x
        forward(h[0], layout, w, len(x), threads)
        outputs[:] = values(h[0], layout, last, len(x))
        return
    for k in prange(threads):
        start, stop = k * len(x) // threads, (k + 1) * len(x) // threads
        B = stop - start
        values(h[k], layout, 0, B)[:] = x[start:stop]
        forward(h[k], layout, w, B, 1)
        outputs[start:stop] = values(h[k], layout, last, B)


class CompiledForward:
    """Computes the outputs of an `MLP`'s networks: one call of compiled code for each of them."""

    def __init__(self, network: Any) -> None:
        self.network, self.layout = network, layout_of(network)
        self.h = np.empty((THREADS, 0), network.dtype)

    def __call__(self, outputs: Array, x: Array) -> None:
        """Set the outputs (R, N, O) for the inputs x (N, I)."""
        rows = max(-(-len(x) // THREADS), min(len(x), 16 * THREADS))
        if self.h.shape[1] < rows * self.layout.columns[-1]:
            self.h = np.empty((THREADS, rows * self.layout.columns[-1]), self.network.dtype)
        for w, result in zip(self.network.parameters, outputs, strict=True):
            outputs_of(result, self.layout, w, x, self.h)


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
        self.layout = layout_of(network)
        self.windows = [np.array(table.window) for table in (inputs, targets)]
        classes = loss.compiled == "distillation_loss"
        self.compiled_loss = Loss(classes, loss.alpha, loss.T if classes else loss.alpha)
        self.state = State(optimizer.w, optimizer.m, optimizer.v, optimizer.g)
        self.rates = np.empty((STEPS, network.replicas, 1), network.dtype)
        self.epsilons = np.empty(STEPS)
        self.side_by_side = network.replicas >= THREADS > 1
        self.batch_size = 0

    def epoch(
        self, order: Array, batch_size: int, rates: Iterator[Any], track: Callable = iter
    ) -> Array:
        """Train on all rows (S, N) in this order; return the sums of the loss over them, (R,)."""
        if self.batch_size != batch_size:
            self.resize(batch_size)
        total = np.zeros(self.network.replicas)
        batches, first = range(0, order.shape[1], batch_size), 0
        for number, start in enumerate(track(batches), start=1):
            if number % STEPS == 0 or number == len(batches):
                self.train(order[:, first : start + batch_size], rates, total)
                first = start + batch_size
        return total

    def train(self, rows: Array, rates: Iterator[Any], total: Array) -> None:
        """Train on the rows (S, ·) of up to STEPS batches."""
        adam = self.optimizer
        steps = -(-rows.shape[1] // self.batch_size)
        for n in range(steps):
            adam.advance(next(rates))
            self.rates[n], self.epsilons[n] = adam.rate, adam.scaled_epsilon
        inputs, targets = self.inputs, self.targets
        arguments = (
            total,
            self.state,
            self.layout,
            Data(
                inputs.memory,
                self.windows[0],
                inputs.index_of(rows),
                inputs.scale,
                targets.memory,
                self.windows[1],
                targets.index_of(rows),
            ),
            self.compiled_loss,
            Rates(adam.beta1, adam.beta2, self.rates[:steps], self.epsilons[:steps]),
            self.batch_size,
        )
        if self.side_by_side:
            train_side_by_side(*arguments, self.work)
        else:
            own = Work(*(each[0] for each in self.work))
            train_some(*arguments, 0, len(total), self.threads, own)

    def resize(self, batch_size: int) -> None:
        """Allocate buffers for batches of that many rows."""
        self.batch_size, threads = batch_size, THREADS if self.side_by_side else 1
        layers = itertools.pairwise(self.network.sizes)
        blocks = [blocks_of(batch_size, *layer, THREADS) for layer in layers]
        self.threads = 1 if self.side_by_side else max(blocks)
        length, outputs = self.layout.columns[-1] * batch_size, self.network.sizes[-1] * batch_size
        self.work = Work(
            *(
                np.empty((threads, numbers), self.network.dtype)
                for numbers in (length, length, 1 + 2 * outputs)
            )
        )
