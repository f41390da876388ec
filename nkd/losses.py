"""The losses, each with its gradient: one function computes both.

Arrays have the shape (R, B, C): R replicas, B rows of a batch, C classes (or O outputs). `z` are
logits, `s` the outputs of a regression. Values are means over the batch, one per replica: in nats,
or in squared units of the target.

With the labels y as rows of probabilities, q = softmax(z), and at temperature T the teacher's
p_T = softmax(z_teacher/T) and the student's q_T = softmax(z/T), the gradients are

    cross-entropy            dz = (q − y)/B
    T²·KL(p_T ‖ q_T)         dz = T·(q_T − p_T)/B
    distillation             dz = [(1−α)·(q − y) + α·T·(q_T − p_T)]/B

`distillation_loss` computes the last one, which contains the others. Derivations, with the
same letters: docs/mathematics.md.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from nkd.backend import NUMPY, Array, Backend
from nkd.errors import UserError


def log_softmax(z: Array, T: Array = 1.0, *, backend: Backend = NUMPY) -> Array:
    """log q_T with q_T = softmax(z/T): u/T − log Σ exp(u/T), where u = z − max z.

    The maximum is subtracted first, so no exponential overflows and the logarithm is that of a
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
    """Labels (…,) in 0 … C−1 as rows of probabilities (…, C), with 1 on the label."""
    return (y[..., None] == backend.xp.arange(classes)).astype(dtype)


def distillation_loss(
    xp: ModuleType,
    value: Array,
    dz: Array,
    z: Array,
    t: Array,
    alpha: Array,
    T: Array,
    work: tuple[Array, Array, Array, Array],
) -> None:
    """The distillation loss and its gradient. In textbook form, with lse(z) = log Σ exp z:

        q, q_T = softmax(z), softmax(z / T)
        dz = ((1 - alpha) * q + alpha * T * q_T - t) / B
        value = mean((1 - alpha) * lse(z) + alpha * T**2 * lse(z / T) - dot(t, z))

    The blended target is t = (1−α)·y + α·T·p_T, so dz = [(1−α)·(q − y) + α·T·(q_T − p_T)]/B.

    z and t are (R, B, C); α and T (R, 1, 1). `work` holds two scratch buffers shaped like z and
    two of shape (R, B, 1).
    """
    B, (soft, u, column, factor) = z.shape[-2], work
    z.max(axis=-1, keepdims=True, out=column)
    xp.subtract(z, column, out=u)  # this shift changes neither softmax nor the value
    xp.multiply(t, u, out=soft)
    value[...] = -soft.sum(axis=(-2, -1))

    # The same twice: weight·τ·lse(z/τ), whose gradient is weight·softmax(z/τ).
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


def squared_error_loss(xp: ModuleType, value: Array, ds: Array, s: Array, t: Array) -> None:
    """The mean squared error and its gradient. In textbook form:

        value = ((s - t) ** 2).sum((-2, -1)) / (B * O)
        ds = 2 * (s - t) / (B * O)

    s and t are (R, B, O).
    """
    B, O = s.shape[-2:]
    xp.subtract(s, t, out=ds)
    value[...] = xp.einsum("rbo,rbo->r", ds, ds)
    xp.multiply(value, 1 / (B * O), out=value)
    xp.multiply(ds, 2 / (B * O), out=ds)


class Loss:
    """What networks are trained on, R at a time: the protocol of all losses.

    To add a loss, write a subclass in a file of its own and append it to the `losses` of
    `Classification` or `Regression`. Flags, sweeps, arms, reports and the prediction of memory
    then know it by its names. A subclass defines:

        names           the values of `Run.loss` that it computes
        fields          the fields of a `Run` that it reads and a sweep may change
        parameters      its own numbers, with defaults: what `Run.parameters` may set
        every_label     whether it has no meaning where a label is missing, see `Run.labelled`
        of              makes the loss for a list of runs, one replica each
        target          turns labels and teacher into (t, constant), once, before training
        compute         sets a batch's value and gradient, from its outputs and its rows of t
        target_columns  how many numbers a row of t has
        work_columns    how many numbers per row each scratch buffer has
        compiled        the name of the compiled form that computes the same, if a backend has
                        one; a subclass does not inherit it, see `Backend.computes`

    With α = 0 the teacher must have no influence: that is the Person. After a call, `value` (R,)
    holds the value without its constant, and `dz` (R, B, O) the gradient with respect to the
    outputs.

    Args:
        alpha: α in [0, 1], the weight of the teacher: a number, or one per replica, (R,).
        replicas: R.
    """

    names: ClassVar[Collection[str]] = ()
    fields: ClassVar[Collection[str]] = ("alpha",)
    parameters: ClassVar[Mapping[str, float]] = {}
    every_label: ClassVar[bool] = False

    def __init__(
        self,
        alpha: Any = 0.0,
        *,
        replicas: int = 1,
        dtype: Any = np.float64,
        backend: Backend = NUMPY,
    ) -> None:
        self.backend, self.replicas, self.dtype = backend, replicas, np.dtype(dtype)
        self.alpha = self.per_replica(alpha)
        self.value = backend.xp.empty(replicas, self.dtype)
        self.batch = 0

    @classmethod
    def parameter(cls, runs: Sequence[Any], name: str) -> list[float]:
        """One of its own numbers in each run: the one in `Run.parameters`, or the default."""
        return [run.parameters.get(name, cls.parameters[name]) for run in runs]

    def per_replica(self, values: Any) -> Array:
        """One number, or one per replica, as (R, 1, 1) in the loss's dtype."""
        column = np.broadcast_to(np.reshape(values, (-1, 1, 1)), (self.replicas, 1, 1))
        return self.backend.asarray(column, self.dtype)

    @classmethod
    def of(cls, runs: Sequence[Any], **options: Any) -> "Loss":
        """The loss for these runs, one replica each. `options`: dtype and backend."""
        return cls([run.alpha for run in runs], replicas=len(runs), **options)

    def target(self, y: Array, teacher: Array | None) -> tuple[Array, Array]:
        """The target t (R, N, ·) of each row, and the constant part of each row's value, (R, N).

        Without a teacher they may lack the axis R: y itself is then the target of all replicas.

        Args:
            y: the true targets of *all* training rows (R, N, O), or (N, O) for all replicas.
            teacher: the teacher's outputs on them, likewise; None only where α = 0.
        """
        raise NotImplementedError

    def compute(self, z: Array, t: Array) -> None:
        """Set `value` and `dz` for outputs z (R, B, O) and rows t of the target (R, B, ·)."""
        raise NotImplementedError

    @classmethod
    def target_columns(cls, outputs: int) -> int:
        """How many numbers a row of the target has."""
        return outputs

    @classmethod
    def work_columns(cls, outputs: int) -> tuple[int, ...]:
        """How many numbers per row each buffer has that `compute` needs besides `dz`."""
        return ()

    def __call__(self, z: Array, t: Array) -> tuple[Array, Array]:
        """`value` (R,) and `dz` (R, B, O), in buffers that the next call overwrites."""
        if self.batch != z.shape[-2]:
            self.resize(*z.shape[-2:])
        self.compute(z, t)
        return self.value, self.dz

    def resize(self, batch: int, outputs: int) -> None:
        """Fit the buffers to batches of that many rows."""
        if self.batch == 0:
            self.buffers = [
                self.backend.buffer((self.replicas,), columns, self.dtype)
                for columns in (outputs, *self.work_columns(outputs))
            ]
        self.dz, *work = (buffer.rows(batch) for buffer in self.buffers)
        self.work, self.batch = tuple(work), batch


class DistillationLoss(Loss):
    """The loss for classes: L = (1−α)·CE(y, softmax(z)) + α·T²·KL(p_T ‖ q_T).

    p_T = softmax(z_teacher/T), q_T = softmax(z/T). α is the weight of the teacher: α = 0 trains
    on the labels alone. The factor T² makes up for the soft gradient shrinking like 1/T² for large
    T (Hinton, Vinyals and Dean 2015, section 2). The gradient is

        dz = [(1−α)·(softmax(z) − y) + α·T·(q_T − p_T)]/B

    Each part of L is a log-sum-exp minus the inner product of z with its target, so the targets
    blend into one, t, before training starts (`target`), and a step computes

        L = (1−α)·lse(z) + α·T²·lse(z/T) − ⟨t, z⟩ + constant,   lse(z) = log Σ exp z

    Args:
        alpha: α in [0, 1], a number, or one per replica, (R,).
        temperature: T > 0, likewise.
        replicas: R.
    """

    names = ("blend",)
    fields = ("alpha", "temperature")
    compiled = "distillation_loss"

    def __init__(self, alpha: Any = 0.0, temperature: Any = 1.0, **options: Any) -> None:
        super().__init__(alpha, **options)
        self.T = self.per_replica(temperature)
        self.form = self.backend.operation(distillation_loss)

    @classmethod
    def of(cls, runs: Sequence[Any], **options: Any) -> "DistillationLoss":
        """The loss for these runs, one replica each."""
        temperatures = [run.temperature for run in runs]
        return cls([run.alpha for run in runs], temperatures, replicas=len(runs), **options)

    def target(self, y: Array, teacher: Array | None) -> tuple[Array, Array]:
        """t = (1−α)·y + α·T·p_T, and the constants α·T²·Σ p_T log p_T.

        Args:
            y: the labels as rows of probabilities, see `one_hot`.
            teacher: the teacher's logits.
        """
        if teacher is None:
            return y, self.backend.xp.zeros(y.shape[:-1], y.dtype)
        log_p = log_softmax(teacher, self.T, backend=self.backend)
        p = self.backend.xp.exp(log_p)
        t = (1 - self.alpha) * y + self.alpha * self.T * p
        return t, (self.alpha * self.T**2 * p * log_p).sum(axis=-1)

    def compute(self, z: Array, t: Array) -> None:
        """Set `value` and `dz`: see `distillation_loss`."""
        self.form(self.value, self.dz, z, t, self.alpha, self.T, self.work)

    @classmethod
    def work_columns(cls, outputs: int) -> tuple[int, ...]:
        """Two buffers shaped like the logits, and two of one column."""
        return outputs, outputs, 1, 1


class RegressionDistillationLoss(Loss):
    """The loss for regression: L = (1−α)·MSE(s, y) + α·MSE(s, s_teacher). The gradient is

        ds = 2·[s − (1−α)·y − α·s_teacher]/(B·O) = 2·(s − t)/(B·O)

    L equals MSE(s, t) + constant with the blended target t = (1−α)·y + α·s_teacher: a weighted
    mean of squared errors to two targets is the squared error to their weighted mean, plus a term
    without s. So the teacher is one more label for each row, and useful if its errors differ from
    those of the label.

    Arguments as for `Loss`.
    """

    names = ("blend",)
    compiled = "squared_error_loss"

    def __init__(self, alpha: Any = 0.0, **options: Any) -> None:
        super().__init__(alpha, **options)
        self.form = self.backend.operation(squared_error_loss)

    def target(self, y: Array, teacher: Array | None) -> tuple[Array, Array]:
        """t = (1−α)·y + α·s_teacher, and the constants α(1−α)·mean_O (y − s_teacher)²."""
        if teacher is None:
            return y, self.backend.xp.zeros(y.shape[:-1], y.dtype)
        t = (1 - self.alpha) * y + self.alpha * teacher
        return t, (self.alpha * (1 - self.alpha) * (y - teacher) ** 2).mean(axis=-1)

    def compute(self, z: Array, t: Array) -> None:
        """Set `value` and `dz`: see `squared_error_loss`."""
        self.form(self.value, self.dz, z, t)


class SeveralLosses(Loss):
    """Losses of different kinds side by side: each computes its own replicas.

    Args:
        kinds: the class of each replica's loss, (R,).
        runs: the R runs.
    """

    def __init__(self, kinds: Sequence[type[Loss]], runs: Sequence[Any], **options: Any) -> None:
        super().__init__([run.alpha for run in runs], replicas=len(runs), **options)
        self.parts: list[tuple[Loss, Any]] = []
        for kind in dict.fromkeys(kinds):
            replicas = [r for r, other in enumerate(kinds) if other is kind]
            loss = kind.of([runs[r] for r in replicas], **options)
            consecutive = len(replicas) == 1 + replicas[-1] - replicas[0]
            where = (
                slice(replicas[0], replicas[-1] + 1)  # a view, if possible
                if consecutive
                else self.backend.asarray(np.array(replicas))
            )
            self.parts.append((loss, where))

    def compute(self, z: Array, t: Array) -> None:
        """Each loss computes its own replicas, whose rows of t may be shorter than others'."""
        for loss, where in self.parts:
            columns = loss.target_columns(z.shape[-1])
            self.value[where], self.dz[where] = loss(z[where], t[where][..., :columns])


def by_name(losses: Sequence[type[Loss]]) -> dict[str, type[Loss]]:
    """The names that a run's loss may have, each with the first class that has this name."""
    known: dict[str, type[Loss]] = {}
    for kind in losses:
        for name in kind.names:
            known.setdefault(name, kind)
    return known


def kinds_of(losses: Sequence[type[Loss]], runs: Sequence[Any]) -> list[type[Loss]]:
    """For each run the class that computes its loss: one for them all, if one knows them all.

    Raises:
        UserError: there is no loss of that name, or it has no such parameter.
    """
    known = by_name(losses)
    for run in runs:
        if run.loss not in known:
            raise UserError(f"loss {run.loss!r} of a run: choose one of {', '.join(known)}")
    kinds = [known[run.loss] for run in runs]
    for kind in losses:
        if all(run.loss in kind.names for run in runs):
            kinds = [kind] * len(runs)
            break
    for run, kind in zip(runs, kinds, strict=True):
        for name in run.parameters:
            if name not in kind.parameters:
                raise UserError(f"parameter {name!r} of a run: the loss {run.loss!r} has none")
    return kinds


def loss_of(kinds: Sequence[type[Loss]], runs: Sequence[Any], **options: Any) -> Loss:
    """The loss for all these runs, whose classes come from `kinds_of`."""
    one = len(set(kinds)) == 1
    return kinds[0].of(runs, **options) if one else SeveralLosses(kinds, runs, **options)


# For single calls outside training: the whole value, any leading axes, plain numbers as T and α.


def distillation(
    z: Array,
    y: Array,
    z_teacher: Array | None,
    alpha: float,
    T: float = 1.0,
    *,
    backend: Backend = NUMPY,
) -> tuple[Array, Array]:
    """The loss of `DistillationLoss`, its constant included, and its gradient.

    Args:
        z: the student's logits (…, B, C).
        y: the labels as rows of probabilities (…, B, C), see `one_hot`.
        z_teacher: the teacher's logits (…, B, C).
        alpha: α in [0, 1], the weight of the teacher.
        T: temperature > 0.

    Returns:
        The value (…,) in nats, mean over the batch, and the gradient (…, B, C).
    """
    if z_teacher is None and alpha != 0:
        raise UserError(f"distillation with alpha {alpha:g} needs the teacher's logits")
    loss = DistillationLoss(alpha, T, replicas=replicas_of(z), dtype=z.dtype, backend=backend)
    _, dz = whole_loss(loss, z, y, z_teacher)
    # Summed directly: in the blended form, large numbers cancel where T is large.
    value = -(1 - alpha) * (y * log_softmax(z, backend=backend)).sum(axis=-1)
    if z_teacher is not None:
        logarithms = (log_softmax(each, T, backend=backend) for each in (z_teacher, z))
        value = value + alpha * T**2 * divergence(*logarithms, backend=backend)
    return value.mean(axis=-1), dz


def divergence(log_p: Array, log_q: Array, *, backend: Backend = NUMPY) -> Array:
    """KL(p ‖ q) = Σ p·(log p − log q) ≥ 0 of each row (…,), from logarithms (…, C).

    As p and q both sum to 1, it is also Σ p·(eˣ − 1 − x) with x = log q − log p, where no term is
    negative. So the result is not, either, and is right where p and q are nearly equal.
    """
    xp, x = backend.xp, log_q - log_p
    p = xp.exp(log_p)
    small = abs(x) < 1
    terms = xp.where(small, p * (xp.expm1(xp.where(small, x, 0)) - x), xp.exp(log_q) - p - p * x)
    return xp.maximum(terms, 0).sum(axis=-1)


def cross_entropy(z: Array, y: Array, *, backend: Backend = NUMPY) -> tuple[Array, Array]:
    """CE(y, q) = −Σ y·log q with q = softmax(z), and its gradient (q − y)/B.

    It is the distillation loss with α = 0. Arguments and result as for `distillation`.
    """
    return distillation(z, y, None, 0.0, backend=backend)


def kl_divergence(
    z: Array, z_teacher: Array, T: float = 1.0, *, backend: Backend = NUMPY
) -> tuple[Array, Array]:
    """KL(p_T ‖ q_T) = Σ p_T·(log p_T − log q_T), and its gradient (q_T − p_T)/(T·B).

    It is the distillation loss with α = 1, without T². Arguments and result as for `distillation`.
    """
    value, dz = distillation(z, backend.xp.zeros_like(z), z_teacher, 1.0, T, backend=backend)
    return value / T**2, dz / T**2


def split_divergence(
    z: Array, z_teacher: Array, y: Array, T: Array = 1.0, *, backend: Backend = NUMPY
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """KL(p_T ‖ q_T) split in two: is it the label, and if not, which of the others?

        KL(p ‖ q) = KL(b ‖ b') + (1 − p_y)·KL(p̂ ‖ q̂)

    b = (p_y, 1 − p_y) and b' = (q_y, 1 − q_y) separate the label y from all others; p̂ and q̂ are
    p and q of the other classes alone, divided by their sums. Zhao et al. 2022
    (arXiv:2203.08679) call the first KL TCKD and the second NCKD. The gradients of one row, which a
    batch divides by B, add up to that of `kl_divergence`:

        of the first part:     (q_y − p_y)/T for the label, q̂_k·(p_y − q_y)/T for the others
        of the second part:    0 for the label, (1 − p_y)·(q̂_k − p̂_k)/T for the others

    Args:
        z: the student's logits (…, B, C), C ≥ 2.
        z_teacher: the teacher's logits, broadcast against z.
        y: the labels (B,), or (…, B).
        T: temperature > 0, broadcast against z.

    Returns:
        For each part the value (…,) in nats, mean over the batch, and the gradient (…, B, C).
    """
    xp, B = backend.xp, z.shape[-2]
    is_label = y[..., None] == xp.arange(z.shape[-1])

    def logarithms(z: Array) -> tuple[Array, Array, Array]:
        """log q, and as columns log q_y and log(1 − q_y), never computed from a difference."""
        log_q = log_softmax(z, T, backend=backend)
        others = xp.where(is_label, -math.inf, log_q)
        largest = others.max(axis=-1, keepdims=True)
        log_rest = largest + xp.log(xp.exp(others - largest).sum(axis=-1, keepdims=True))
        return log_q, xp.where(is_label, log_q, 0.0).sum(axis=-1, keepdims=True), log_rest

    log_p, log_p_y, log_p_rest = logarithms(z_teacher)
    log_q, log_q_y, log_q_rest = logarithms(z)
    p_y, p_rest, q_y = xp.exp(log_p_y), xp.exp(log_p_rest), xp.exp(log_q_y)
    p_hat = xp.exp(xp.where(is_label, -math.inf, log_p - log_p_rest))
    q_hat = xp.exp(xp.where(is_label, -math.inf, log_q - log_q_rest))

    target = p_y * (log_p_y - log_q_y) + p_rest * (log_p_rest - log_q_rest)
    others = p_rest * p_hat * ((log_p - log_p_rest) - (log_q - log_q_rest))
    d_target = (q_y - p_y) * xp.where(is_label, 1.0, -q_hat)
    d_others = p_rest * (q_hat - p_hat)
    return (
        (target[..., 0].mean(axis=-1), d_target / (T * B)),
        (others.sum(axis=-1).mean(axis=-1), d_others / (T * B)),
    )


def mse(s: Array, y: Array, *, backend: Backend = NUMPY) -> tuple[Array, Array]:
    """MSE(s, y) = Σ (s − y)² / (B·O) and its gradient 2(s − y)/(B·O), for outputs (…, B, O).

    It is the regression loss with α = 0. The mean is over rows *and* outputs.
    """
    loss = RegressionDistillationLoss(replicas=replicas_of(s), dtype=s.dtype, backend=backend)
    return whole_loss(loss, s, y, None)


def replicas_of(z: Array) -> int:
    """The product of all axes but the last two."""
    return math.prod(z.shape[:-2])


def whole_loss(loss: Loss, z: Array, y: Array, z_teacher: Array | None) -> tuple[Array, Array]:
    """A loss with its constant, and its gradient, for any leading axes."""
    *axes, B, C = z.shape
    z, y, z_teacher = (
        each if each is None else each.reshape(-1, B, C) for each in (z, y, z_teacher)
    )
    t, constant = loss.target(y, z_teacher)
    value, dz = loss(z, t)
    return (value + constant.mean(axis=-1)).reshape(axes), dz.reshape(*axes, B, C)
