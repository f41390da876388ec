"""The optimisers: each updates one flat array."""

import itertools
import math
from types import ModuleType
from typing import Any

import numpy as np

from nkd.backend import NUMPY, Array, Backend

PIECE = 131_072
"""How many numbers Adam updates at a time, so that they and their moments stay in cache."""


def adam_update(
    xp: ModuleType,
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
    """The new parameters w and moments m and v, from the gradient g. In textbook form:

        m = beta1 * m + g
        v = beta2 * v + g**2
        w = w - rate * m / (sqrt(v) + epsilon)

    All are (R, P), `rate` is (R, 1). Overwrites g; `work` is a scratch buffer of the same shape.
    """
    if w.size > PIECE:  # so the ten passes read a piece from cache, not all from memory
        R, P = w.shape
        rows, columns = max(PIECE // P, 1), min(P, PIECE)
        for r, start in itertools.product(range(0, R, rows), range(0, P, columns)):
            some = slice(r, r + rows)
            piece = some, slice(start, start + columns)
            scalars = beta1, beta2, rate[some], epsilon
            adam_update(xp, w[piece], m[piece], v[piece], g[piece], *scalars, work[piece])
        return
    xp.multiply(m, beta1, out=m)
    xp.add(m, g, out=m)
    xp.multiply(v, beta2, out=v)
    xp.multiply(g, g, out=g)
    xp.add(v, g, out=v)
    xp.sqrt(v, out=work)
    xp.add(work, epsilon, out=work)
    xp.divide(m, work, out=work)
    xp.multiply(work, rate, out=work)
    xp.subtract(w, work, out=w)


FLUSH_EVERY = 128
"""Steps between calls of `flush_small`: fewer than m takes to decay from 1e8·tiny to tiny."""


def flush_small(xp: ModuleType, a: Array, work: Array) -> None:
    """Set a to 0 except where |a| > 1e8·tiny, with tiny the smallest normal number of the type.

    Where a gradient stays 0, as for pixels that are hardly ever on, m decays until it is
    subnormal, and arithmetic on subnormal numbers is many times slower: on MNIST, with ten per
    cent of them, Adam took five times as long. What is flushed is far too small to move a weight.
    """
    xp.abs(a, out=work)
    xp.greater(work, 1e8 * float(np.finfo(a.dtype).tiny), out=work)
    xp.multiply(a, work, out=a)


class Adam:
    """Adam, Algorithm 1 of Kingma and Ba 2015 (arXiv:1412.6980), for all networks at once.

    With g the gradient, η the learning rate and t the step, counted from 1:

        m ← β₁·m + (1−β₁)·g          m̂ = m/(1−β₁ᵗ)
        v ← β₂·v + (1−β₂)·g²         v̂ = v/(1−β₂ᵗ)
        w ← w − η·m̂/(√v̂ + ε)

    To save passes over memory, `m` and `v` here are the plain sums, m ← β₁·m + g and
    v ← β₂·v + g²; all other factors go into two scalars per update:

        w ← w − η'·m/(√v + ε'),   c = √((1−β₂)/(1−β₂ᵗ)),   ε' = ε/c,
        η' = η·(1−β₁)/(1−β₁ᵗ)/c

    This is the same algorithm, with the same ε outside the root.

    Args:
        parameters, gradients: arrays of the same shape; `update` overwrites both.
        beta1, beta2, epsilon: β₁, β₂, ε, as in the paper.
    """

    compiled = "adam_update"
    state = "m", "v", "t", "unflushed"
    """What a checkpoint keeps of it; `unflushed` counts the steps since the last `flush`."""

    def __init__(
        self,
        parameters: Array,
        gradients: Array,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        backend: Backend = NUMPY,
    ) -> None:
        self.w, self.g, self.xp = parameters, gradients, backend.xp
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.m = backend.xp.zeros_like(parameters)
        self.v = backend.xp.zeros_like(parameters)
        self.work = backend.xp.empty_like(parameters)
        self.rate = backend.xp.empty((len(parameters), 1), parameters.dtype)
        self.form = backend.operation(adam_update)
        self.t = self.unflushed = 0

    def update(self, learning_rate: Any) -> None:
        """Update once. The learning rate η: a number, or a device array (R, 1), one per network."""
        self.advance(learning_rate)
        scalars = self.beta1, self.beta2, self.rate, self.scaled_epsilon
        self.form(self.w, self.m, self.v, self.g, *scalars, self.work)

    def advance(self, learning_rate: Any) -> None:
        """Count the step t, and set what depends on it: `rate` η' and `scaled_epsilon` ε'."""
        self.rate[:] = learning_rate * self.count()
        if self.unflushed == FLUSH_EVERY:
            self.flush()

    def flush(self) -> None:
        """Set to 0 what is too small to matter in the moments, see `flush_small`."""
        for moment in (self.m, self.v):
            flush_small(self.xp, moment, self.work)
        self.unflushed = 0

    def count(self) -> float:
        """Count the step t, set `scaled_epsilon` ε', and return η'/η."""
        self.t += 1
        self.unflushed += 1
        c = math.sqrt((1 - self.beta2) / (1 - self.beta2**self.t))
        self.scaled_epsilon = self.epsilon / c
        return (1 - self.beta1) / (1 - self.beta1**self.t) / c


class SGD:
    """Stochastic gradient descent, w ← w − η·g, for all networks at once.

    Unlike with `Adam`, a factor on the loss is a factor on every update.

    Args:
        parameters, gradients: arrays of the same shape; `update` overwrites both.
    """

    state: tuple[str, ...] = ()

    def __init__(self, parameters: Array, gradients: Array, *, backend: Backend = NUMPY) -> None:
        self.w, self.g, self.xp = parameters, gradients, backend.xp

    def update(self, learning_rate: Any) -> None:
        """Update once. The learning rate η: a number, or a device array (R, 1), one per network."""
        self.xp.multiply(self.g, learning_rate, out=self.g)
        self.xp.subtract(self.w, self.g, out=self.w)


OPTIMIZERS = {"adam": Adam, "sgd": SGD}
