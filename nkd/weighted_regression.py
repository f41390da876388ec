"""Losses for regression that weigh rows: bounded, attentive and rejected.

Each decides how strongly the label and the teacher count in a row, from how far apart the two are
on all training rows. They and the plain blend are one computation: `WeightedRegressionLoss`.
"""

import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from nkd.backend import Array
from nkd.losses import Loss


def blended(alpha: Any, error: Array, xp: ModuleType) -> tuple[Any, Any, Any]:
    """As `RegressionDistillationLoss`: L = (1−α)·‖s − y‖² + α·‖s − s_teacher‖² in each row."""
    return 1.0, alpha, math.inf


MARGIN = 0.0
"""How far below the teacher's a student's squared error must be for `bounded` to count it less."""


def bounded(alpha: Any, error: Array, xp: ModuleType) -> tuple[Any, Any, Any]:
    """Teacher-bounded regression (Chen et al. 2017, NeurIPS, the loss L_b).

    The teacher is not a target but a bound. For a row with the label y:

        L = (1−α)·‖s − y‖² + α·‖s − y‖²·[‖s − y‖² + m > ‖s_teacher − y‖²]

    so a row in which the student is worse than the teacher counts 1, and any other 1 − α. The
    margin m is `MARGIN`. The paper weights the two parts 1 and ν; here they have 1 − α and α, so
    ν = α/(1−α) and the whole is multiplied by 1 − α. And here the first part is a squared error
    as well, unlike the paper's smooth absolute error of boxes.
    """
    return 1 - alpha, 0.0, (error * error).sum(axis=-1, keepdims=True) - MARGIN


def attentive(alpha: Any, error: Array, xp: ModuleType) -> tuple[Any, Any, Any]:
    """Attentive imitation (Saputra et al. 2019, arXiv:1908.00858, equations 8 and 9).

    The teacher counts in a row to the extent that it was right there:

        L = (1−α)·‖s − y‖² + α·Φ·‖s − s_teacher‖²,   Φ = 1 − ‖s_teacher − y‖²/η

    with η the largest minus the smallest ‖s_teacher − y‖² of all training rows. The paper's α is
    1 − α here. Where the smallest is not 0, the formula makes the smallest Φ a little
    negative, which would push the student away from the teacher without limit: it is 0 then. If
    all errors are equal, η = 0 and no row is better than another: Φ = 1.
    """
    square = (error * error).sum(axis=-1, keepdims=True)
    spread = square.max(axis=-2, keepdims=True) - square.min(axis=-2, keepdims=True)
    phi = xp.where(spread > 0, 1 - square / xp.where(spread > 0, spread, 1), 1)
    imitation = alpha * xp.maximum(phi, 0)
    v = 1 - alpha + imitation
    return v, imitation / xp.where(v > 0, v, 1), math.inf


OUTLIER = 3.0
"""Standard deviations of (label − teacher) beyond which `rejected` considers the label wrong."""


def rejected(alpha: Any, error: Array, xp: ModuleType) -> tuple[Any, Any, Any]:
    """Outliers rejected by the teacher, after Takamoto et al. 2020 (arXiv:2002.12597).

    Labels that the teacher finds implausible are left out; the teacher counts in every row:

        L = (1−α)·‖s − y‖²·[y is no outlier] + α·‖s − s_teacher‖²

    where y is an outlier if |y − s_teacher| > 3·1.4826·median|y − s_teacher| in any output, with
    the median over all training rows. 1.4826 times that median is the standard deviation if the
    differences are normal, whatever the outliers are. As in the paper, it is the *label* that is
    rejected, and the student follows the teacher there. The rest differs from the paper: its
    threshold is where the normal density of the differences falls below a constant one; besides
    labels, it uses the teacher only in rejected rows, through the square root of the distance;
    and its student has a second output that learns the teacher's. Here the teacher's part is that
    of the blend, so that α means the same.
    """
    difference = abs(error)
    sigma = 1.4826 * xp.median(difference, axis=-2, keepdims=True)
    outlier = (difference > OUTLIER * sigma).any(axis=-1, keepdims=True)
    return xp.where(outlier, alpha, 1.0), xp.where(outlier, 1.0, alpha), math.inf


WEIGHINGS: dict[str, Callable[[Any, Array, ModuleType], tuple[Any, Any, Any]]] = {
    "blend": blended,
    "bounded": bounded,
    "attentive": attentive,
    "rejected": rejected,
}
"""How each loss of a regression `Run` weighs the rows.

From α and the errors y − s_teacher (N, O) on *all* training rows, each function computes the weight
v of each row, the teacher's share β of its target, and the bound c beyond which the student's
squared error counts α more; each is (N, 1) or a number.
"""


def weighted_squared_error_loss(
    xp: ModuleType,
    value: Array,
    ds: Array,
    s: Array,
    t: Array,
    alpha: Array,
    work: tuple[Array, Array, Array],
) -> None:
    """The weighted squared error and its gradient. In textbook form, with v, c from `WEIGHINGS`:

        square = ((s - t) ** 2).sum(-1, keepdims=True)
        w = v + alpha * (square > c)
        value = (w * square).sum((-2, -1)) / (B * O)
        ds = 2 * w * (s - t) / (B * O)

    for outputs s (R, B, O) and α (R, 1, 1). The columns of t (R, B, O + 2) are the targets, and
    then v and c. `work` holds a scratch buffer shaped like s and two of shape (R, B, 1).
    """
    B, O = s.shape[-2:]
    t, v, c = t[..., :O], t[..., O : O + 1], t[..., O + 1 :]
    square, column, weight = work
    xp.subtract(s, t, out=ds)
    xp.multiply(ds, ds, out=square)
    square.sum(axis=-1, keepdims=True, out=column)
    xp.greater(column, c, out=weight)
    xp.multiply(weight, alpha, out=weight)
    xp.add(weight, v, out=weight)
    xp.multiply(column, weight, out=column)
    value[...] = column.sum(axis=(-2, -1))
    xp.multiply(value, 1 / (B * O), out=value)
    xp.multiply(weight, 2 / (B * O), out=weight)
    xp.multiply(ds, weight, out=ds)


class WeightedRegressionLoss(Loss):
    """All losses for regression in one: the mean over rows, divided by O, of

        v·[(1−β)·‖s − y‖² + β·‖s − s_teacher‖²] + α·‖s − y‖²·[‖s − y‖² > c]

    `WEIGHINGS` gives v, β and c for each run's loss. As in `RegressionDistillationLoss`, the
    bracket blends into ‖s − t‖² + constant, with t = (1−β)·y + β·s_teacher. The last part only
    occurs with β = 0, where t = y. So one function, `weighted_squared_error_loss`, computes them
    all, and one list of runs may have several.

    Args:
        alpha, replicas: as for `Loss`.
        losses: names in `WEIGHINGS`, one per replica, or one for all.
    """

    compiled = "weighted_squared_error_loss"
    every_label = True
    names = WEIGHINGS

    def __init__(
        self, alpha: Any = 0.0, losses: str | Sequence[str] = "blend", **options: Any
    ) -> None:
        super().__init__(alpha, **options)
        self.losses = [losses] * self.replicas if isinstance(losses, str) else list(losses)
        self.form = self.backend.operation(weighted_squared_error_loss)

    @classmethod
    def of(cls, runs: Sequence[Any], **options: Any) -> "WeightedRegressionLoss":
        """The loss for these runs, one replica each."""
        losses = [run.loss for run in runs]
        return cls([run.alpha for run in runs], losses, replicas=len(runs), **options)

    def target(self, y: Array, teacher: Array | None) -> tuple[Array, Array]:
        """What a step needs: t, v and c as columns (R, N, O + 2), and the constants (R, N).

        The constant of a row is v·β·(1−β)·mean_O (y − s_teacher)².
        """
        xp = self.backend.xp
        y = xp.broadcast_to(y, (self.replicas, *y.shape[-2:]))
        teacher = xp.broadcast_to(y if teacher is None else teacher, y.shape)
        *_, N, O = y.shape
        columns = xp.empty((self.replicas, N, O + 2), self.dtype)
        constants = xp.empty((self.replicas, N), self.dtype)
        for r, loss in enumerate(self.losses):
            error = y[r] - teacher[r]
            v, share, c = WEIGHINGS[loss](self.alpha[r], error, xp)
            columns[r, :, :O] = (1 - share) * y[r] + share * teacher[r]
            columns[r, :, O : O + 1] = v
            columns[r, :, O + 1 :] = c
            constants[r] = (v * share * (1 - share) * error * error).mean(axis=-1)
        return columns, constants

    def compute(self, z: Array, t: Array) -> None:
        """Set `value` and `dz`: see `weighted_squared_error_loss`."""
        self.form(self.value, self.dz, z, t, self.alpha, self.work)

    @classmethod
    def target_columns(cls, outputs: int) -> int:
        """The target, its weight v and its bound c."""
        return outputs + 2

    @classmethod
    def work_columns(cls, outputs: int) -> tuple[int, ...]:
        """A buffer shaped like the outputs, and two of one column."""
        return outputs, 1, 1
