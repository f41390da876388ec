"""A loss that the package does not have, in a file of its own: what adding one takes.

Decoupled distillation (Zhao et al. 2022, arXiv:2203.08679, equation 7), beside the labels:

    L = (1−α)·CE(y, q) + α·T²·[KL(b ‖ b') + β·(1 − p_y)·KL(p̂ ‖ q̂)]

With β = 1 it is the plain distillation loss: see `nkd.losses.split_divergence`.
"""

from typing import ClassVar

from nkd.losses import DistillationLoss, cross_entropy, split_divergence


class DecoupledLoss(DistillationLoss):
    """The target is the label's row beside the teacher's logits."""

    names = ("decoupled",)
    parameters: ClassVar = {"beta": 1.0}

    @classmethod
    def of(cls, runs, **options):
        loss = super().of(runs, **options)
        loss.beta = loss.per_replica(cls.parameter(runs, "beta"))
        return loss

    def target(self, y, teacher):
        xp = self.backend.xp
        teacher = xp.zeros_like(y) if teacher is None else teacher
        return xp.concatenate([y, teacher], axis=-1), xp.zeros(y.shape[:-1], y.dtype)

    def compute(self, z, t):
        C, T = z.shape[-1], self.T
        y, z_teacher = t[..., :C], t[..., C:]
        options = {"backend": self.backend}
        hard, d_hard = cross_entropy(z, y, **options)
        split = split_divergence(z, z_teacher, y.argmax(axis=-1), T, **options)
        (label, d_label), (others, d_others) = split
        alpha, beta, scale = self.alpha, self.beta, self.alpha * T**2
        self.dz[...] = (1 - alpha) * d_hard + scale * (d_label + beta * d_others)
        alpha, beta, scale = (each[:, 0, 0] for each in (alpha, beta, scale))
        self.value[...] = (1 - alpha) * hard + scale * (label + beta * others)

    @classmethod
    def target_columns(cls, outputs):
        return 2 * outputs

    @classmethod
    def work_columns(cls, outputs):
        return ()
