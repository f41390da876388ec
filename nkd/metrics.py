"""The metrics of trained networks: from all outputs (R, N, ·), one number per network."""

from typing import Any, NamedTuple

import numpy as np

from nkd.backend import NUMPY, Array, Backend
from nkd.losses import log_softmax, one_hot, split_divergence


def negative_log_likelihood(z: Array, y: Array, *, backend: Backend = NUMPY) -> Array:
    """Mean of −log softmax(z)[y] in nats, (R,), for logits z (R, N, C) and labels y (N,)."""
    log_q = log_softmax(z, backend=backend)
    # In an array with its own memory order, so a network's sum is the same among any others.
    return -backend.xp.take_along_axis(log_q, y[None, :, None], axis=-1)[..., 0].mean(axis=-1)


def errors(z: Array, y: Array) -> Array:
    """The number of rows whose largest logit is not that of the label, (R,)."""
    return (z.argmax(axis=-1) != y).sum(axis=-1)


def mean_squared_error(s: Array, y: Array) -> Array:
    """Mean of (s − y)² over rows and outputs, (R,), for outputs s (R, N, O), targets y (N, O)."""
    return ((s - y) ** 2).mean(axis=(-2, -1))


def mean_absolute_error(s: Array, y: Array) -> Array:
    """Mean of |s − y| over rows and outputs, (R,)."""
    return abs(s - y).mean(axis=(-2, -1))


def r_squared(s: Array, y: Array) -> Array:
    """R² = 1 − Σ (s − y)² / Σ (y − ȳ)², mean over outputs, (R,).

    1 is perfect, 0 is as good as the mean; NaN if a target is the same in all rows.
    """
    unexplained, variation = ((s - y) ** 2).sum(axis=-2), ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    variation[variation == 0] = np.nan
    return (1 - unexplained / variation).mean(axis=-1)


# What a network learned from its teacher. Logits z (R, N, C), the teacher's z_teacher (N, C).


def agreement(z: Array, z_teacher: Array) -> Array:
    """The share of rows on which the network predicts the teacher's class, (R,), in [0, 1]."""
    return (z.argmax(axis=-1) == z_teacher.argmax(axis=-1)).mean(axis=-1)


def agreement_on_mistakes(
    z: Array, z_teacher: Array, y: Array, *, backend: Backend = NUMPY
) -> Array:
    """`agreement` on only those rows where the teacher is wrong, (R,).

    A network that learned from labels alone has little reason to repeat a teacher's mistake.
    NaN if the teacher makes none.
    """
    xp, prediction = backend.xp, z_teacher.argmax(axis=-1)
    wrong = prediction != y
    repeated = ((z.argmax(axis=-1) == prediction) & wrong).sum(axis=-1)
    count = wrong.sum()
    return xp.where(count > 0, repeated / xp.maximum(count, 1), xp.nan)


def divergence(z: Array, z_teacher: Array, *, backend: Backend = NUMPY) -> Array:
    """KL(p ‖ q) = Σ_c p_c·(log p_c − log q_c), mean over rows in nats, (R,).

    p and q are the teacher's and the network's probabilities at T = 1, whatever the network was
    trained with.
    """
    log_p = log_softmax(z_teacher, backend=backend)
    log_q = log_softmax(z, backend=backend)
    return (backend.xp.exp(log_p) * (log_p - log_q)).sum(axis=-1).mean(axis=-1)


class Calibration(NamedTuple):
    """A reliability diagram: rows binned by confidence, the largest probability of each row.

    Bin m of M holds the rows with a confidence in ((m − 1)/M, m/M]. Each array is (R, M).

    Attributes:
        count: the rows in the bin.
        confidence: their mean confidence; NaN in an empty bin.
        accuracy: the share of them that is predicted correctly; NaN in an empty bin.
    """

    count: Array
    confidence: Array
    accuracy: Array


def calibration(z: Array, y: Array, bins: int = 15, *, backend: Backend = NUMPY) -> Calibration:
    """The reliability diagram of logits z (R, N, C) and labels y (N,) (Guo et al. 2017, section 2).

    A perfectly calibrated network has accuracy = confidence in each bin.
    """
    count, confidence, right = binned(z, y, bins, backend)
    rows = backend.xp.where(count > 0, count, backend.xp.nan)
    return Calibration(count, confidence / rows, right / rows)


def calibration_error(z: Array, y: Array, bins: int = 15, *, backend: Backend = NUMPY) -> Array:
    """The expected calibration error Σ_m count_m/N · |accuracy_m − confidence_m|, (R,).

    In [0, 1]. Arguments and bins are those of `calibration` (Guo et al. 2017, section 2).
    """
    _, confidence, right = binned(z, y, bins, backend)
    return abs(right - confidence).sum(axis=-1) / len(y)


def binned(z: Array, y: Array, bins: int, backend: Backend) -> tuple[Array, Array, Array]:
    """Per confidence bin: rows, sum of their confidences, rows predicted correctly; each (R, M)."""
    xp = backend.xp
    q = xp.exp(log_softmax(z, backend=backend))
    confidence = q.max(axis=-1)[..., None].astype(np.float64)  # because many are summed
    right = (z.argmax(axis=-1) == y)[..., None]
    edges = xp.arange(bins + 1) / bins
    member = (confidence > edges[:-1]) & (confidence <= edges[1:])  # (R, N, M)
    return (
        member.sum(axis=-2),
        (member * confidence).sum(axis=-2),
        (member & right).sum(axis=-2),
    )


def confusion(z: Array, y: Array, *, backend: Backend = NUMPY) -> Array:
    """Confusion matrices (R, C, C): how many rows with label i are predicted as j."""
    C = z.shape[-1]
    labels = one_hot(y, C, backend=backend)
    predictions = one_hot(z.argmax(axis=-1), C, backend=backend)
    return (labels.mT @ predictions).astype(np.int64)


def distillation_gradient_split(
    z: Array, z_teacher: Array, y: Array, T: Any, *, rows: int = 1024, backend: Backend = NUMPY
) -> tuple[Array, Array]:
    """How strongly the soft loss pulls on the label's class, and how strongly on the others.

    The gradient of T²·KL(p_T ‖ q_T) with respect to the logits of one row is a sum of two parts
    (`nkd.losses.split_divergence`). Their Euclidean norms are each averaged over rows.

    Args:
        z: logits (R, N, C) of the networks.
        z_teacher: the teacher's logits on the same rows (N, C).
        y: the labels (N,).
        T: temperature, a number, or one per network (R,).
        rows: how many are computed at a time.

    Returns:
        The means for the target-class and for the other-class part, each (R,).
    """
    xp = backend.xp
    T = backend.asarray(T, z.dtype).reshape(-1, 1, 1)
    sums = [xp.zeros(len(z), z.dtype), xp.zeros(len(z), z.dtype)]
    for start in range(0, z.shape[1], rows):
        part = slice(start, start + rows)
        split = split_divergence(z[:, part], z_teacher[part], y[part], T, backend=backend)
        for total, (_, dz) in zip(sums, split, strict=True):
            norms = xp.sqrt((dz * dz).sum(axis=-1, keepdims=True))
            total += (T**2 * dz.shape[1] * norms).sum(axis=(-2, -1))
    return sums[0] / z.shape[1], sums[1] / z.shape[1]
