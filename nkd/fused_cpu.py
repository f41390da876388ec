"""The named operations compiled by Numba: the same formulas, one pass over memory each.

Each function here replaces the plain one of its name (layers.py, losses.py, optimizers.py),
has its signature, and is tested to be equal to it. `train_step` calls them in the order of
`training.Step`. They run in one thread: a second pool of threads would fight with that of the
products. What is compiled is cached on disk.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numba
import numpy as np

Array = Any  # NumPy arrays, all of them

# Sums may be reordered, so that they run on vectors; NaN and infinity stay what they are.
compiled: Callable[..., Any] = numba.njit(
    cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"}
)


@compiled
def gather(table: Array, rows: Array, scale: Any, stored: Array, out: Array) -> None:
    """out ← scale·table[rows], for a table (N, K) and row numbers (B,)."""
    for i in range(rows.size):
        row = table[rows[i]]
        for k in range(row.size):
            out[i, k] = row[k] * scale


@compiled
def add_bias(xp: ModuleType | None, z: Array, b: Array) -> None:
    """z ← z + b."""
    R, B, O = z.shape
    for r in range(R):
        for i in range(B):
            for o in range(O):
                z[r, i, o] += b[r, 0, o]


@compiled
def sum_rows(xp: ModuleType | None, dz: Array, db: Array) -> None:
    """db ← Σ_B dz."""
    R, B, O = dz.shape
    for r in range(R):
        for o in range(O):
            db[r, 0, o] = dz[r, 0, o]
        for i in range(1, B):
            for o in range(O):
                db[r, 0, o] += dz[r, i, o]


@compiled
def relu(xp: ModuleType | None, z: Array) -> None:
    """z ← max(z, 0)."""
    flat = z.reshape(-1)
    for i in range(flat.size):
        flat[i] = max(flat[i], flat.dtype.type(0))


@compiled
def relu_gradient(xp: ModuleType | None, dh: Array, h: Array, positive: Array) -> None:
    """dh ← dh where h > 0, else 0."""
    flat_dh, flat_h = dh.reshape(-1), h.reshape(-1)
    for i in range(flat_h.size):
        flat_dh[i] = flat_dh[i] if flat_h[i] > 0 else flat_dh.dtype.type(0)


@compiled
def distillation_step(
    xp: ModuleType | None,
    z: Array,
    t: Array,
    alpha: Array,
    T: Array,
    value: Array,
    dz: Array,
    soft: Array,
    u: Array,
    column: Array,
    factor: Array,
) -> None:
    """value ← mean_B [(1−α)·lse(z) + α·T²·lse(z/T) − ⟨t, z⟩], dz ← its gradient."""
    R, B, C = z.shape
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


@compiled
def squared_error_step(xp: ModuleType | None, s: Array, t: Array, value: Array, ds: Array) -> None:
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


@compiled
def adam_update(
    xp: ModuleType | None,
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    beta1: float,
    beta2: float,
    rate: Array,
    epsilon: float,
    work: Array,
) -> None:
    """m ← β₁·m + g, v ← β₂·v + g², w ← w − rate·m/(√v + ε)."""
    R, P = w.shape
    b1, b2, e = w.dtype.type(beta1), w.dtype.type(beta2), w.dtype.type(epsilon)
    for r in range(R):
        eta = rate[r, 0]
        for i in range(P):
            m[r, i] = b1 * m[r, i] + g[r, i]
            v[r, i] = b2 * v[r, i] + g[r, i] * g[r, i]
            w[r, i] -= eta * m[r, i] / (math.sqrt(v[r, i]) + e)


@compiled
def train_step(
    sizes: Array,
    tensors: Array,
    columns: Array,
    table: Array,
    rows: Array,
    scale: Any,
    targets: Array,
    target_rows: Array,
    classes: bool,
    alpha: Array,
    T: Array,
    value: Array,
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    beta1: float,
    beta2: float,
    rate: Array,
    epsilon: float,
    h: Array,
    dh: Array,
    work: Array,
) -> None:
    """One training step: for each network in turn the operations above, layer by layer.

    `sizes` are the units of the layers; `tensors` says where each W and b starts in a row of
    the parameters, `columns` where the values of each layer start in h and dh, which have room
    for one network at a time. `work` is room for its targets and its loss.
    """
    S, B, L, R = len(rows), rows.shape[1], len(sizes) - 1, len(w)
    for s in range(S):
        x = h[: B * sizes[0]].reshape(B, sizes[0])
        gather(table, rows[s], scale, x, x)
        for r in range(s, R, S):  # the networks that share these inputs
            for n in range(L):  # forward: z = x W + b, h = max(z, 0)
                I, O = sizes[n], sizes[n + 1]
                x = h[columns[n] * B : columns[n + 1] * B].reshape(B, I)
                z = h[columns[n + 1] * B : columns[n + 2] * B].reshape(B, O)
                W, b = tensors[n]
                np.dot(x, w[r, W : W + I * O].reshape(I, O), z)
                add_bias(None, z.reshape(1, B, O), w[r, b : b + O].reshape(1, 1, O))
                if n < L - 1:
                    relu(None, z)

            O = sizes[L]
            z = h[columns[L] * B : columns[L + 1] * B].reshape(1, B, O)
            dz = dh[columns[L] * B : columns[L + 1] * B].reshape(1, B, O)
            t = work[: B * O].reshape(1, B, O)
            soft = work[B * O : 2 * B * O].reshape(1, B, O)
            one = slice(r, r + 1)
            gather(targets, target_rows[r], w.dtype.type(1), t[0], t[0])
            if classes:
                distillation_step(
                    None, z, t, alpha[one], T[one], value[one], dz, soft, soft, soft, soft
                )
            else:
                squared_error_step(None, z, t, value[one], dz)

            for n in range(L - 1, -1, -1):  # backward: db = Σ dz, dW = xᵀ dz, dx = dz Wᵀ
                I, O = sizes[n], sizes[n + 1]
                x = h[columns[n] * B : columns[n + 1] * B].reshape(B, I)
                d = dh[columns[n + 1] * B : columns[n + 2] * B].reshape(B, O)
                W, b = tensors[n]
                sum_rows(None, d.reshape(1, B, O), g[r, b : b + O].reshape(1, 1, O))
                np.dot(x.T, d, g[r, W : W + I * O].reshape(I, O))
                if n > 0:
                    dx = dh[columns[n] * B : columns[n + 1] * B].reshape(B, I)
                    np.dot(d, w[r, W : W + I * O].reshape(I, O).T, dx)
                    relu_gradient(None, dx, x, x)

            adam_update(
                None, w[one], g[one], m[one], v[one], beta1, beta2, rate[one], epsilon, w[one]
            )


ONE_THREAD = 4 * 65_536
"""Multiply-adds of a product up to which OpenBLAS does it in one thread."""


class CompiledStep:
    """`training.Step`, with the same arguments: the whole step is one call of `train_step`.

    It saves the way through Python between the operations, which is what the time of a small
    network's step goes into. For larger ones it would set two thread pools against each other:
    Numba's products are those of SciPy's BLAS, all others those of NumPy's.
    """

    @staticmethod
    def suits(sizes: Sequence[int], batch_size: int) -> bool:
        """Whether all products are so small that BLAS does them in one thread."""
        largest = max(inputs * outputs for inputs, outputs in itertools.pairwise(sizes))
        return batch_size * largest <= ONE_THREAD

    def __init__(self, network: Any, loss: Any, optimizer: Any, inputs: Any, targets: Any) -> None:
        self.network, self.loss, self.optimizer = network, loss, optimizer
        self.inputs, self.targets, self.classes = inputs, targets, hasattr(loss, "T")
        self.sizes = np.array(network.sizes)
        self.tensors = np.reshape([start for start, _ in network.offsets.values()], (-1, 2))
        self.columns = np.concatenate([[0], np.cumsum(self.sizes)])
        self.value = np.empty(network.replicas, network.dtype)
        self.batch = 0

    def __call__(self, rows: Array, rate: Any) -> Array:
        """Train on the rows (S, B) at this learning rate; the values of the loss, (R,)."""
        loss, inputs, targets, adam = self.loss, self.inputs, self.targets, self.optimizer
        if rows.shape[1] > self.batch:
            self.resize(rows.shape[1])
        adam.advance(rate)
        train_step(
            self.sizes,
            self.tensors,
            self.columns,
            inputs.flat,
            inputs.index_of(rows),
            inputs.scale,
            targets.flat,
            targets.index_of(rows),
            self.classes,
            loss.alpha,
            loss.T if self.classes else loss.alpha,
            self.value,
            adam.w,
            adam.g,
            adam.m,
            adam.v,
            adam.beta1,
            adam.beta2,
            adam.rate,
            adam.scaled_epsilon,
            self.h,
            self.dh,
            self.work,
        )
        return self.value

    def resize(self, batch: int) -> None:
        """Take buffers, of one network, for batches of up to that many rows."""
        dtype = self.network.dtype
        self.h, self.dh = (np.empty(self.columns[-1] * batch, dtype) for _ in range(2))
        self.work = np.empty(2 * batch * self.sizes[-1], dtype)
        self.batch = batch
