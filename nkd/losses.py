"""The losses, each with its gradient: both come out of one function, so they cannot disagree.

Arrays have the shape (R, B, C): R replicas, B rows of a batch, C classes (or O outputs). `z` are
logits, `s` the outputs of a regression. Values are means over the batch, one per replica: in nats,
or in squared units of the target.

The gradient of the distillation loss is in `Distillation.__call__`, its computation in
`distillation_step`. Derivations, in the same letters: docs/mathematics.md.
"""

import math
from types import ModuleType
from typing import Any

import numpy as np

from nkd.backend import NUMPY, Array, Backend


def log_softmax(z: Array, T: Array = 1.0, *, backend: Backend = NUMPY) -> Array:
    """log q_T with q_T = softmax(z/T): u/T − log Σ exp(u/T), where u = z − max z.

    The maximum is subtracted first: no exponential overflows, and the logarithm is taken of a
    number ≥ 1.

    Args:
        z: logits (…, C).
        T: temperature > 0, broadcast against z.
    """
    xp = backend.xp
    u = (z - z.max(axis=-1, keepdims=True)) / T
    return u - xp.log(xp.exp(u).sum(axis=-1, keepdims=True))


def softmax(z: Array, T: Array = 1.0, *, backend: Backend = NUMPY) -> Array:
    """q_T = exp(z/T) / Σ exp(z/T) over the last axis. Arguments as for `log_softmax`."""
    return backend.xp.exp(log_softmax(z, T, backend=backend))


def one_hot(y: Array, classes: int, dtype: Any = np.float64, *, backend: Backend = NUMPY) -> Array:
    """Labels (…,) in 0 … C−1 as rows of probabilities (…, C): all on the label."""
    return (y[..., None] == backend.xp.arange(classes)).astype(dtype)


def distillation_step(
    xp: ModuleType,
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
    """value ← mean_B [(1−α)·lse(z) + α·T²·lse(z/T) − ⟨t, z⟩], dz ← its gradient:

        dz = [(1−α)·softmax(z) + α·T·softmax(z/T) − t] / B,   lse(z) = log Σ exp z

    for logits z and blended targets t (R, B, C), and α, T (R, 1, 1). `soft` and `u` are room
    for arrays like z, `column` and `factor` for columns (R, B, 1).
    """
    B = z.shape[-2]
    z.max(axis=-1, keepdims=True, out=column)
    xp.subtract(z, column, out=u)  # softmax does not see this shift, nor does L
    xp.multiply(t, u, out=dz)
    value[...] = -dz.sum(axis=(-2, -1))

    # Twice the same: weight·τ·lse(z/τ), whose gradient is weight·softmax(z/τ).
    for weight, tau, q in ((1 - alpha, 1.0, dz), (alpha * T, T, soft)):
        xp.divide(u, tau, out=q)
        xp.exp(q, out=q)
        q.sum(axis=-1, keepdims=True, out=column)
        xp.divide(weight, column, out=factor)
        xp.multiply(q, factor, out=q)
        xp.log(column, out=column)
        value += (weight * tau * column.sum(axis=-2, keepdims=True))[:, 0, 0]

    xp.add(dz, soft, out=dz)
    xp.subtract(dz, t, out=dz)
    xp.multiply(dz, 1 / B, out=dz)
    xp.multiply(value, 1 / B, out=value)


def squared_error_step(xp: ModuleType, s: Array, t: Array, value: Array, ds: Array) -> None:
    """value ← Σ (s − t)² / (B·O) and ds ← 2(s − t)/(B·O), for outputs s and targets t (R, B, O)."""
    B, O = s.shape[-2:]
    xp.subtract(s, t, out=ds)
    value[...] = xp.einsum("rbo,rbo->r", ds, ds)
    xp.multiply(value, 1 / (B * O), out=value)
    xp.multiply(ds, 2 / (B * O), out=ds)


def per_replica(values: Any, replicas: int, dtype: Any, backend: Backend) -> Array:
    """A number, or one per replica, as (R, 1, 1): broadcast against (R, B, C)."""
    return backend.asarray(np.broadcast_to(np.reshape(values, (-1, 1, 1)), (replicas, 1, 1)), dtype)


class Distillation:
    """The loss for classes: L = (1−α)·CE(y, softmax(z)) + α·T²·KL(p_T ‖ q_T).

    p_T = softmax(z_teacher/T), q_T = softmax(z/T). α weighs the teacher: α = 0 trains on the
    labels alone. The factor T² keeps the soft gradient, which shrinks like 1/T² for large T, at
    its size (Hinton, Vinyals and Dean 2015, section 2).

    Each part is a log-sum-exp minus the inner product of z with the target, so the targets
    blend into one, t, before training starts (`blend`), and a step computes

        L = (1−α)·lse(z) + α·T²·lse(z/T) − ⟨t, z⟩ + constant,   lse(z) = log Σ exp z

    Args:
        alpha: α in [0, 1], a number, or one per replica, (R,).
        temperature: T > 0, likewise.
        replicas: R.
    """

    def __init__(
        self,
        alpha: Array = 0.0,
        temperature: Array = 1.0,
        *,
        replicas: int = 1,
        dtype: Any = np.float64,
        backend: Backend = NUMPY,
    ) -> None:
        self.backend, self.replicas, self.dtype = backend, replicas, dtype
        self.alpha = per_replica(alpha, replicas, dtype, backend)
        self.T = per_replica(temperature, replicas, dtype, backend)
        self.step = backend.operation(distillation_step)
        self.batch = 0

    def blend(self, y: Array, z_teacher: Array | None) -> tuple[Array, Array]:
        """The blended target t = (1−α)·y + α·T·p_T, and each row's constant α·T²·Σ p_T log p_T.

        Args:
            y: the labels as rows of probabilities (R, N, C), see `one_hot`.
            z_teacher: the teacher's logits (R, N, C); None where α = 0.

        Returns:
            t (R, N, C) and the constants (R, N).
        """
        if z_teacher is None:
            return y, self.backend.xp.zeros(y.shape[:-1], y.dtype)
        log_p = log_softmax(z_teacher, self.T, backend=self.backend)
        p = self.backend.xp.exp(log_p)
        t = (1 - self.alpha) * y + self.alpha * self.T * p
        return t, (self.alpha * self.T**2 * p * log_p).sum(axis=-1)

    def __call__(self, z: Array, t: Array) -> tuple[Array, Array]:
        """The value (R,) without its constant, and the gradient dz = ∂L/∂z (R, B, C):

            dz = [(1−α)·(softmax(z) − y) + α·T·(q_T − p_T)] / B
               = [(1−α)·softmax(z) + α·T·q_T − t] / B

        Args:
            z: logits (R, B, C).
            t: the blended target of the same rows.

        Both stand in buffers that the next call uses again. `distillation_step` computes them.
        """
        if self.batch != z.shape[-2]:
            self.resize(*z.shape[-2:])
        self.step(z, t, self.alpha, self.T, self.value, self.dz, *self.work)
        return self.value, self.dz

    def resize(self, batch: int, classes: int) -> None:
        """Bring the buffers to batches of that many rows."""
        if self.batch == 0:
            wide, narrow = (((self.replicas,), n, self.dtype) for n in (classes, 1))
            shapes = (wide,) * 3 + (narrow,) * 2
            self.buffers = [self.backend.buffer(*shape) for shape in shapes]
            self.value = self.backend.xp.empty(self.replicas, self.dtype)
        self.dz, *self.work = (buffer.rows(batch) for buffer in self.buffers)
        self.batch = batch


class RegressionDistillation:
    """The loss for regression: L = (1−α)·MSE(s, y) + α·MSE(s, s_teacher).

    It equals MSE(s, t) + constant with the blended target t = (1−α)·y + α·s_teacher: squared
    errors of two targets are the squared error of their mean plus what no s can change. So the
    teacher is one more label for each row: of use if its errors are not those of the label.

    Arguments as for `Distillation`; there is no temperature.
    """

    def __init__(
        self,
        alpha: Array = 0.0,
        *,
        replicas: int = 1,
        dtype: Any = np.float64,
        backend: Backend = NUMPY,
    ) -> None:
        self.backend, self.replicas, self.dtype = backend, replicas, dtype
        self.alpha = per_replica(alpha, replicas, dtype, backend)
        self.step = backend.operation(squared_error_step)
        self.batch = 0

    def blend(self, y: Array, s_teacher: Array | None) -> tuple[Array, Array]:
        """t = (1−α)·y + α·s_teacher (R, N, O), and the constants α(1−α)·mean_O (y − s_teacher)².

        Args:
            y: the true targets (R, N, O).
            s_teacher: the teacher's outputs (R, N, O); None where α = 0.
        """
        if s_teacher is None:
            return y, self.backend.xp.zeros(y.shape[:-1], y.dtype)
        t = (1 - self.alpha) * y + self.alpha * s_teacher
        return t, (self.alpha * (1 - self.alpha) * (y - s_teacher) ** 2).mean(axis=-1)

    def __call__(self, s: Array, t: Array) -> tuple[Array, Array]:
        """The value (R,) without its constant, and the gradient ds = ∂L/∂s (R, B, O):

            ds = 2·[s − (1−α)·y − α·s_teacher] / (B·O) = 2·(s − t) / (B·O)

        Both stand in buffers that the next call uses again.
        """
        if self.batch != s.shape[-2]:
            self.resize(*s.shape[-2:])
        self.step(s, t, self.value, self.ds)
        return self.value, self.ds

    def resize(self, batch: int, outputs: int) -> None:
        """Bring the buffer to batches of that many rows."""
        if self.batch == 0:
            self.buffer = self.backend.buffer((self.replicas,), outputs, self.dtype)
            self.value = self.backend.xp.empty(self.replicas, self.dtype)
        self.ds, self.batch = self.buffer.rows(batch), batch


# For one call outside training: the whole value, any leading axes, T and α plain numbers.


def distillation(
    z: Array,
    y: Array,
    z_teacher: Array | None,
    alpha: float,
    T: float = 1.0,
    *,
    backend: Backend = NUMPY,
) -> tuple[Array, Array]:
    """The loss of `Distillation`, its constant included, and its gradient.

    Args:
        z: the student's logits (…, B, C).
        y: the labels as rows of probabilities (…, B, C), see `one_hot`.
        z_teacher: the teacher's logits (…, B, C).
        alpha: α in [0, 1], the weight of the teacher.
        T: temperature > 0.

    Returns:
        The value (…,) in nats, mean over the batch, and the gradient (…, B, C).
    """
    loss = Distillation(alpha, T, replicas=replicas_of(z), dtype=z.dtype, backend=backend)
    return whole_loss(loss, z, y, z_teacher)


def cross_entropy(z: Array, y: Array, *, backend: Backend = NUMPY) -> tuple[Array, Array]:
    """CE(y, q) = −Σ y·log q with q = softmax(z), and its gradient (q − y)/B.

    It is the distillation loss with α = 0. Arguments and result as there.
    """
    return distillation(z, y, None, 0.0, backend=backend)


def kl_divergence(
    z: Array, z_teacher: Array, T: float = 1.0, *, backend: Backend = NUMPY
) -> tuple[Array, Array]:
    """KL(p_T ‖ q_T) = Σ p_T·(log p_T − log q_T), and its gradient (q_T − p_T)/(T·B).

    It is the distillation loss with α = 1, without T². Arguments and result as there.
    """
    value, dz = distillation(z, backend.xp.zeros_like(z), z_teacher, 1.0, T, backend=backend)
    return value / T**2, dz / T**2


def mse(s: Array, y: Array, *, backend: Backend = NUMPY) -> tuple[Array, Array]:
    """MSE(s, y) = Σ (s − y)² / (B·O) and its gradient 2(s − y)/(B·O), for outputs (…, B, O).

    It is the regression loss with α = 0. The mean is over rows *and* outputs.
    """
    loss = RegressionDistillation(replicas=replicas_of(s), dtype=s.dtype, backend=backend)
    return whole_loss(loss, s, y, None)


def replicas_of(z: Array) -> int:
    """The product of all axes but the last two."""
    return math.prod(z.shape[:-2])


def whole_loss(
    loss: Distillation | RegressionDistillation, z: Array, y: Array, z_teacher: Array | None
) -> tuple[Array, Array]:
    """A loss with its constant, and its gradient, on any leading axes."""
    *axes, B, C = z.shape
    z, y, z_teacher = (
        each if each is None else each.reshape(-1, B, C) for each in (z, y, z_teacher)
    )
    t, constant = loss.blend(y, z_teacher)
    value, dz = loss(z, t)
    return (value + constant.mean(axis=-1)).reshape(axes), dz.reshape(*axes, B, C)
