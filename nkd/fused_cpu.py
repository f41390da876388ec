"""The named operations compiled by Numba: the same formulas, one pass over memory each.

Each function here replaces the plain one of its name (layers.py, losses.py, optimizers.py),
has its signature, and is tested to be equal to it. They run in one thread: a second pool of
threads would fight with that of the products. What is compiled is cached on disk.
"""

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numba

from nkd.backend import Array

# Sums may be reordered, so that they run on vectors; NaN and infinity stay what they are.
compiled: Callable[..., Any] = numba.njit(
    cache=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"}
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
