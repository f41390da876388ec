"""The optimiser: one update of one flat array."""

import math
from typing import Any

from nkd.backend import NUMPY, Array, Backend


class Adam:
    """Adam, Algorithm 1 of Kingma and Ba 2015 (arXiv:1412.6980), for all networks at once.

    With g the gradient, η the learning rate and t the step, which counts from 1:

        m ← β₁·m + (1−β₁)·g          m̂ = m/(1−β₁ᵗ)
        v ← β₂·v + (1−β₂)·g²         v̂ = v/(1−β₂ᵗ)
        w ← w − η·m̂/(√v̂ + ε)

    To save passes over memory, `m` and `v` here are the plain sums, m ← β₁·m + g and
    v ← β₂·v + g²; all other factors go into the two scalars of a step:

        w ← w − η'·m/(√v + ε'),   c = √((1−β₂)/(1−β₂ᵗ)),   ε' = ε/c,
        η' = η·(1−β₁)/(1−β₁ᵗ)/c

    which is the same algorithm, with the same ε outside the root.

    Args:
        parameters, gradients: arrays of one shape; `step` writes over both.
        beta1, beta2, epsilon: β₁, β₂, ε, as in the paper.
    """

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
        self.m = self.xp.zeros_like(parameters)
        self.v = self.xp.zeros_like(parameters)
        self.update = self.xp.empty_like(parameters)
        self.t = 0

    def step(self, learning_rate: Any) -> None:
        """One update. The learning rate η is a number, or an array (R, 1): one per network."""
        xp, w, g, m, v, update = self.xp, self.w, self.g, self.m, self.v, self.update
        self.t += 1
        c = math.sqrt((1 - self.beta2) / (1 - self.beta2**self.t))
        rate = learning_rate * ((1 - self.beta1) / (1 - self.beta1**self.t) / c)

        xp.multiply(m, self.beta1, out=m)
        xp.add(m, g, out=m)
        xp.multiply(v, self.beta2, out=v)
        xp.multiply(g, g, out=g)
        xp.add(v, g, out=v)
        xp.sqrt(v, out=update)
        xp.add(update, self.epsilon / c, out=update)
        xp.divide(m, update, out=update)
        xp.multiply(update, rate, out=update)
        xp.subtract(w, update, out=w)
