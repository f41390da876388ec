"""The losses, each with its gradient: both come out of one function, so they cannot disagree.

Arrays have the shape (…, B, C): any leading replica axes, B rows of a batch, C classes (or O
outputs). `z` are logits, `s` the outputs of a regression. Values are means over the batch, one
per replica: in nats, or in squared units of the target.

The gradient of the distillation loss is in `Distillation.__call__`. Derivations, in the same
letters: docs/mathematics.md.
"""

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


class Distillation:
    """The loss for classes: L = (1−α)·CE(y, softmax(z)) + α·T²·KL(p_T ‖ q_T).

    p_T = softmax(z_teacher/T), q_T = softmax(z/T). α weighs the teacher: α = 0 trains on the
    labels alone. The factor T² keeps the soft gradient, which shrinks like 1/T² for large T, at
    its size (Hinton, Vinyals and Dean 2015, section 2).

    Each part is a log-sum-exp minus the inner product of z with the target, so the targets
    blend into one, t, before training starts (`blend`), and a step computes

        L = (1−α)·lse(z) + α·T²·lse(z/T) − ⟨t, z⟩ + constant,   lse(z) = log Σ exp z

    Args:
        alpha: α in [0, 1], a scalar or one per replica, broadcast against (…, 1, 1).
        temperature: T > 0, likewise.
        replicas: the leading axes of the logits that will come.
    """

    def __init__(
        self,
        alpha: Array = 0.0,
        temperature: Array = 1.0,
        *,
        replicas: tuple[int, ...] = (),
        dtype: Any = np.float64,
        backend: Backend = NUMPY,
    ) -> None:
        self.backend, self.replicas, self.dtype = backend, replicas, dtype
        self.alpha = backend.asarray(alpha, dtype)
        self.T = backend.asarray(temperature, dtype)
        self.batch = 0

    def blend(self, y: Array, z_teacher: Array | None) -> tuple[Array, Array]:
        """The blended target t = (1−α)·y + α·T·p_T, and each row's constant α·T²·Σ p_T log p_T.

        Args:
            y: the labels as rows of probabilities (…, N, C), see `one_hot`.
            z_teacher: the teacher's logits (…, N, C); None where α = 0.

        Returns:
            t (…, N, C) and the constants (…, N).
        """
        if z_teacher is None:
            return y, self.backend.xp.zeros(y.shape[:-1], y.dtype)
        log_p = log_softmax(z_teacher, self.T, backend=self.backend)
        p = self.backend.xp.exp(log_p)
        t = (1 - self.alpha) * y + self.alpha * self.T * p
        return t, (self.alpha * self.T**2 * p * log_p).sum(axis=-1)

    def __call__(self, z: Array, t: Array) -> tuple[Array, Array]:
        """The value (…,) without its constant, and the gradient dz = ∂L/∂z (…, B, C):

            dz = [(1−α)·(softmax(z) − y) + α·T·(q_T − p_T)] / B
               = [(1−α)·softmax(z) + α·T·q_T − t] / B

        Args:
            z: logits (…, B, C).
            t: the blended target of the same rows.

        The gradient stands in a buffer that the next call uses again.
        """
        xp, B, T, alpha = self.backend.xp, z.shape[-2], self.T, self.alpha
        if self.batch != B:
            self.resize(B, z.shape[-1])
        u, column, dz = self.u, self.column, self.dz

        z.max(axis=-1, keepdims=True, out=column)
        xp.subtract(z, column, out=u)  # softmax does not see this shift, nor does L
        value = -xp.einsum("...bc,...bc->...", t, u)

        # Twice the same: weight·τ·lse(z/τ), whose gradient is weight·softmax(z/τ).
        for weight, tau, q in ((1 - alpha, 1.0, dz), (alpha * T, T, self.soft)):
            xp.divide(u, tau, out=q)
            xp.exp(q, out=q)
            q.sum(axis=-1, keepdims=True, out=column)
            xp.divide(weight, column, out=self.factor)
            xp.multiply(q, self.factor, out=q)
            xp.log(column, out=column)
            value += (weight * tau * column.sum(axis=-2, keepdims=True))[..., 0, 0]

        xp.add(dz, self.soft, out=dz)
        xp.subtract(dz, t, out=dz)
        xp.multiply(dz, 1 / B, out=dz)
        return value / B, dz

    def resize(self, batch: int, classes: int) -> None:
        """Bring the buffers to batches of that many rows."""
        if self.batch == 0:
            wide, narrow = ((self.replicas, n, self.dtype) for n in (classes, 1))
            self.buffers = [self.backend.buffer(*shape) for shape in (wide,) * 3 + (narrow,) * 2]
        self.u, self.dz, self.soft, self.column, self.factor = (
            buffer.rows(batch) for buffer in self.buffers
        )
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
        replicas: tuple[int, ...] = (),
        dtype: Any = np.float64,
        backend: Backend = NUMPY,
    ) -> None:
        self.backend, self.replicas, self.dtype = backend, replicas, dtype
        self.alpha = backend.asarray(alpha, dtype)
        self.batch = 0

    def blend(self, y: Array, s_teacher: Array | None) -> tuple[Array, Array]:
        """t = (1−α)·y + α·s_teacher (…, N, O), and the constants α(1−α)·mean_O (y − s_teacher)².

        Args:
            y: the true targets (…, N, O).
            s_teacher: the teacher's outputs (…, N, O); None where α = 0.
        """
        if s_teacher is None:
            return y, self.backend.xp.zeros(y.shape[:-1], y.dtype)
        t = (1 - self.alpha) * y + self.alpha * s_teacher
        return t, (self.alpha * (1 - self.alpha) * (y - s_teacher) ** 2).mean(axis=-1)

    def __call__(self, s: Array, t: Array) -> tuple[Array, Array]:
        """The value (…,) without its constant, and the gradient ds = ∂L/∂s (…, B, O):

            ds = 2·[s − (1−α)·y − α·s_teacher] / (B·O) = 2·(s − t) / (B·O)

        The gradient stands in a buffer that the next call uses again.
        """
        xp, B, O = self.backend.xp, s.shape[-2], s.shape[-1]
        if self.batch != B:
            self.resize(B, O)
        ds = self.ds
        xp.subtract(s, t, out=ds)
        value = xp.einsum("...bo,...bo->...", ds, ds) / (B * O)
        xp.multiply(ds, 2 / (B * O), out=ds)
        return value, ds

    def resize(self, batch: int, outputs: int) -> None:
        """Bring the buffer to batches of that many rows."""
        if self.batch == 0:
            self.buffer = self.backend.buffer(self.replicas, outputs, self.dtype)
        self.ds, self.batch = self.buffer.rows(batch), batch


# For one call outside training: the whole value, fresh arrays, T and α plain numbers.


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
    loss = Distillation(alpha, T, replicas=z.shape[:-2], dtype=z.dtype, backend=backend)
    t, constant = loss.blend(y, z_teacher)
    value, dz = loss(z, t)
    return value + constant.mean(axis=-1), dz


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
    loss = RegressionDistillation(replicas=s.shape[:-2], dtype=s.dtype, backend=backend)
    return loss(s, y)
