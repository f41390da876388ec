"""What is measured of trained networks: from all outputs (R, N, ·), one number per network."""

from nkd.backend import NUMPY, Array, Backend
from nkd.losses import log_softmax


def negative_log_likelihood(z: Array, y: Array, *, backend: Backend = NUMPY) -> Array:
    """Mean of −log softmax(z)[y] in nats, (R,), for logits z (R, N, C) and labels y (N,)."""
    rows = backend.xp.arange(len(y))
    return -log_softmax(z, backend=backend)[..., rows, y].mean(axis=-1)


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
    """R² = 1 − Σ (s − y)² / Σ (y − ȳ)², mean over outputs, (R,): 1 is perfect, 0 is the mean."""
    unexplained = ((s - y) ** 2).sum(axis=-2)
    return (1 - unexplained / ((y - y.mean(axis=0)) ** 2).sum(axis=0)).mean(axis=-1)
