"""Decoupled distillation: the two parts of the soft loss with weights of their own.

Zhao et al. 2022, arXiv:2203.08679, equation 7, beside the labels. It is also an example of a loss
in a file of its own: what adding one takes, see `nkd.losses.Loss`.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from nkd.backend import Array
from nkd.distillation import Classification
from nkd.losses import DistillationLoss, Loss, cross_entropy, split_divergence


class DecoupledLoss(DistillationLoss):
    """L = (1−α)·CE(y, q) + α·T²·[label·KL(b ‖ b') + others·(1 − p_y)·KL(p̂ ‖ q̂)]

    b and b' are the probabilities of "the label" and "not the label", p̂ and q̂ those of the other
    classes alone, see `nkd.losses.split_divergence`. Where both weights are 1 it is the plain
    distillation loss.

    Parameters of a run:
        label: the weight of the part about the label.
        others: the weight of the part about the other classes.
    """

    names = ("decoupled",)
    parameters: ClassVar = {"label": 1.0, "others": 1.0}
    label: Array
    others: Array

    @classmethod
    def of(cls, runs: Sequence[Any], **options: Any) -> "DecoupledLoss":
        """The loss for these runs, one replica each."""
        loss = super().of(runs, **options)
        assert isinstance(loss, cls)
        loss.label, loss.others = (
            loss.per_replica(cls.parameter(runs, name)) for name in ("label", "others")
        )
        return loss

    def target(self, y: Array, teacher: Array | None) -> tuple[Array, Array]:
        """The label's row of probabilities, beside the teacher's logits."""
        xp = self.backend.xp
        teacher = xp.zeros_like(y) if teacher is None else teacher
        return xp.concatenate([y, teacher], axis=-1), xp.zeros(y.shape[:-1], y.dtype)

    def compute(self, z: Array, t: Array) -> None:
        """Set `value` and `dz`."""
        C, T = z.shape[-1], self.T
        y, z_teacher = t[..., :C], t[..., C:]
        hard, d_hard = cross_entropy(z, y, backend=self.backend)
        split = split_divergence(z, z_teacher, y.argmax(axis=-1), T, backend=self.backend)
        (label, d_label), (others, d_others) = split
        alpha, scale = self.alpha, self.alpha * T**2
        d_soft = self.label * d_label + self.others * d_others
        self.dz[...] = (1 - alpha) * d_hard + scale * d_soft
        weights = 1 - alpha, scale * self.label, scale * self.others
        values = zip(weights, (hard, label, others), strict=True)
        self.value[...] = sum(weight[:, 0, 0] * value for weight, value in values)

    @classmethod
    def target_columns(cls, outputs: int) -> int:
        """The label's row, and the logits."""
        return 2 * outputs

    @classmethod
    def work_columns(cls, outputs: int) -> tuple[int, ...]:
        """None besides the gradient."""
        return ()


class ClassificationInParts(Classification):
    """Classification, with this loss, too."""

    losses: ClassVar[list[type[Loss]]] = [*Classification.losses, DecoupledLoss]
