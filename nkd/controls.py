"""Control targets: what a Student learns from instead of the teacher, to find out why it gains.

Each control keeps one part of what a teacher says and destroys the others. Each function takes
the teacher's logits on the training rows (N, C) and the labels y (N,), and returns logits (N, C)
that a `Run` takes as its targets, with the same α and T as the Student beside it. If a Student
is no better than one with a control's targets, what that control destroys was not the reason.

Another control has no targets: a Person with a `Run.learning_rate_factor` that makes its steps as
long as the Student's; `GradientNorms` measures both.
"""

from typing import Any

import numpy as np

from nkd.errors import UserError
from nkd.losses import softmax
from nkd.network import MLP
from nkd.random_streams import Purpose, random_stream


def label_smoothing(z_teacher: np.ndarray, y: np.ndarray, T: float) -> np.ndarray:
    """Smoothed labels that are, on average, as confident as the teacher is at temperature T.

    softmax(·/T) of each row has c on the label and (1 − c)/(C − 1) on each other class, where
    c = mean p_T[y] is the probability that the teacher gives to the label. It keeps how
    confident a target is, but nothing about the row or about how classes resemble each other
    (Szegedy et al. 2016, arXiv:1512.00567, section 7; as a teacher, Yuan et al. 2020,
    arXiv:1909.11723).

    Raises:
        UserError: at this T the teacher is so confident that nothing is left for the others.
    """
    z = np.asarray(z_teacher, np.float64)
    N, C = z.shape
    is_label = y[:, None] == np.arange(C)
    rest = softmax(z, T)[~is_label].sum() / N  # 1 − c, without the rounding of that difference
    if rest == 0:
        raise UserError(
            f"label smoothing at temperature {T:g}: the teacher gives no other class any "
            "probability, so there is nothing to smooth with; raise the temperature"
        )
    smoothed = T * np.log(np.where(is_label, 1 - rest, rest / (C - 1)))
    return smoothed.astype(z_teacher.dtype)


def shuffled_within_class(z_teacher: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """The teacher's rows, each given to a random row of the same label.

    It keeps what the teacher says about a class: how sure it is, and which classes resemble it.
    It destroys what the teacher says about this row rather than others of its class: how much
    doubt it deserves, and which class it looks a little like. It goes one step further than the
    permutation of Furlanello et al. 2018 (arXiv:1805.04770), see `permuted_others`, which leaves
    each row its doubt.
    """
    stream = random_stream(seed, Purpose.SHUFFLED_TEACHER)
    shuffled = np.empty_like(z_teacher)
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        shuffled[rows] = z_teacher[stream.permutation(rows)]
    return shuffled


def permuted_others(z_teacher: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """The teacher's rows with the probabilities of all classes but the label in random order.

    It keeps how sure the teacher is of each row's label and how its doubt is spread, but destroys
    which classes it doubts: "dark knowledge with permuted predictions" (Furlanello et al. 2018,
    arXiv:1805.04770). They keep the largest probability in its place; here the label's stays, even
    where the teacher is wrong. Permuting logits permutes the probabilities, at every T.
    """
    stream = random_stream(seed, Purpose.PERMUTED_TEACHER)
    N, C = z_teacher.shape
    others = y[:, None] != np.arange(C)
    permuted = z_teacher.copy()
    permuted[others] = stream.permuted(z_teacher[others].reshape(N, C - 1), axis=1).ravel()
    return permuted


class GradientNorms:
    """Measures the gradients of a training: ‖∂L/∂w‖ of each network, mean over all steps so far.

    Pass it to a `Training` as `on_gradients`. To give a Person's steps the mean length of a
    Student's, set the Person's `Run.learning_rate_factor` to the ratio Student/Person of the means.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.total: Any = 0.0

    def __call__(self, network: MLP) -> None:
        """Add the length of each network's gradient."""
        gradients = network.gradients
        squares = (gradients * gradients).sum(axis=-1)
        self.total += network.backend.to_numpy(network.backend.xp.sqrt(squares))
        self.steps += 1

    def mean(self) -> np.ndarray:
        """The mean of ‖∂L/∂w‖ over the steps, (R,)."""
        return np.asarray(self.total / self.steps)
