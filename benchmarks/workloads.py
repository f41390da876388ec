"""What is timed: the training steps of the two experiments, and inference."""

import itertools
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from nkd.backend import Backend
from nkd.data import Dataset
from nkd.distillation import Classification, Problem, Regression, Run
from nkd.training import Settings, Training

LEARNING_RATE = 1e-3
ALPHA, TEMPERATURE = 0.5, 4.0
IMAGE = 28, 28


@dataclass(frozen=True)
class Workload:
    """One kind of training step: a network, a batch size, a loss.

    Args:
        name: for `--only` and the records.
        title: for people.
        sizes: units from input to output; 1 output is a regression.
        batch_size: rows per step.
        rows: training rows, from which the batches are gathered.
        distilled: whether the loss has a soft part.
        replicas: networks trained side by side, all on the same batches.
        inference: time the outputs of `batch_size` rows instead of a training step.
        moved: largest shift of the images in each direction, in pixels.
        dropout: whether a fifth of the inputs and half of the hidden units are dropped.
        company: what else the machine computes meanwhile: nothing (""), the same work in a second
            process ("itself"), or an endless loop ("a loop").
    """

    name: str
    title: str
    sizes: tuple[int, ...]
    batch_size: int
    rows: int
    distilled: bool = False
    replicas: int = 1
    inference: bool = False
    moved: int = 0
    dropout: bool = False
    company: str = ""

    @property
    def rates(self) -> tuple[float, ...]:
        """The rates of dropout of the inputs and of each hidden layer; () for none."""
        return (0.2, *(0.5 for _ in self.sizes[1:-1])) if self.dropout else ()

    @property
    def compared(self) -> bool:
        """Whether all libraries compute the same: not with dropout, whose masks are their own."""
        return not self.dropout

    @property
    def classes(self) -> bool:
        """Whether it is a classification."""
        return self.sizes[-1] > 1

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """Random data of the real shape: inputs x, targets y, and a teacher's outputs."""
        rng = np.random.default_rng(0)
        inputs, outputs = self.sizes[0], self.sizes[-1]
        if self.classes:
            x = rng.integers(0, 256, (self.rows, inputs), dtype=np.uint8)
            y = rng.integers(0, outputs, self.rows)
        else:
            x = rng.standard_normal((self.rows, inputs), dtype=np.float32)
            y = rng.standard_normal((self.rows, 1), dtype=np.float32)
        teacher = 3 * rng.standard_normal((self.rows, outputs), dtype=np.float32)
        order = rng.permutation(self.rows)
        if self.moved:  # numbers of views, see nkd/tables.py
            order = order + self.rows * rng.integers(0, (2 * self.moved + 1) ** 2, self.rows)
        return {"x": x, "y": y, "teacher": teacher, "order": order}

    @property
    def operations(self) -> int:
        """Floating-point operations that the products of a step need: the floor of its work.

        A layer's z = x W takes 2·B·I·O, and so do its dW and, except in the first layer, its dx.
        """
        products = [2 * self.batch_size * I * O for I, O in itertools.pairwise(self.sizes)]
        once = sum(products) if self.inference else 3 * sum(products) - products[0]
        return self.replicas * once

    @property
    def bytes(self) -> int:
        """The fewest bytes that a step moves.

        They are the batch as stored, and of each parameter w, m and v, both read and written (if
        gradients and hidden layers never leave the chip).
        """
        parameters = sum((I + 1) * O for I, O in itertools.pairwise(self.sizes))
        batch = self.batch_size * self.sizes[0] * (1 if self.classes and not self.inference else 4)
        return batch + self.replicas * parameters * 4 * (1 if self.inference else 6)

    @property
    def scale(self) -> float:
        """The factor on each stored input."""
        return 1 / 255 if self.classes else 1.0

    @property
    def alpha(self) -> float:
        """Weight of the teacher."""
        return ALPHA if self.distilled else 0.0

    def training(self, backend: Backend) -> Training:
        """nkd's training of this workload; an epoch is all rows, in the given order."""
        arrays = self.arrays
        data = Dataset(
            self.name, self.title, arrays["x"], arrays["y"], arrays["x"][:1], arrays["y"][:1],
            input_scale=self.scale, image_shape=IMAGE if self.moved else None,
        )  # fmt: skip
        problem: Problem = Classification(data) if self.classes else Regression(data)
        targets = arrays["teacher"] if self.distilled else None
        runs = [Run(seed, self.alpha, TEMPERATURE, targets) for seed in range(self.replicas)]
        settings = Settings(
            1, self.batch_size, LEARNING_RATE, "constant", dropout=self.rates, jitter=self.moved
        )
        return Training(problem, self.sizes, runs, settings, backend=backend)

    def initial_weights(self) -> list[dict[str, np.ndarray]]:
        """The weights that every contestant starts with, one network after the other."""
        from nkd.network import MLP

        network = MLP(self.sizes, self.replicas)
        network.initialise(range(self.replicas))
        return [network.tensors(replica) for replica in range(self.replicas)]


MNIST_TEACHER = (784, 1024, 512, 256, 128, 64, 10)
MNIST_STUDENT = (784, 128, 64, 10)
HOUSING_TEACHER = (8, 512, 256, 128, 64, 32, 1)
HOUSING_STUDENT = (8, 16, 8, 1)

TRAINING = [
    Workload("teacher-mnist", "Teacher, MNIST", MNIST_TEACHER, 128, 60_000),
    Workload("student-mnist", "Student, MNIST", MNIST_STUDENT, 128, 60_000, distilled=True),
    Workload("teacher-housing", "Teacher, housing", HOUSING_TEACHER, 64, 16_512),
    Workload("student-housing", "Student, housing", HOUSING_STUDENT, 64, 16_512, distilled=True),
    Workload(
        "student-housing-8", "8 Students, housing", HOUSING_STUDENT, 64, 16_512, True, replicas=8
    ),
]

REGULARISED = [
    replace(TRAINING[0], name="teacher-mnist-moved", title="Teacher, moved images", moved=2),
    replace(
        TRAINING[0],
        name="teacher-mnist-dropout",
        title="Teacher, moved images and dropout",
        moved=2,
        dropout=True,
    ),
]

IN_COMPANY = [
    replace(
        workload,
        name=f"{workload.name}-{short}",
        title=f"{workload.title}, {words}",
        company=company,
    )
    for short, words, company in (
        ("twice", "two runs at once", "itself"),
        ("busy", "beside a busy process", "a loop"),
    )
    for workload in TRAINING[:3]
]

INFERENCE = [
    Workload(
        f"{name}-inference-{rows}",
        f"{title}, outputs of {rows:,}",
        sizes,
        rows,
        10_000,
        inference=True,
    )
    for name, title, sizes in (
        ("teacher-mnist", "Teacher, MNIST", MNIST_TEACHER),
        ("student-mnist", "Student, MNIST", MNIST_STUDENT),
    )
    for rows in (1, 10_000)
]

CPU = [*TRAINING, *REGULARISED, *IN_COMPANY, *INFERENCE]
"""What is timed on a CPU."""

REPLICAS = (1, 4, 16, 64, 256)
GPU_TRAINING = [
    workload if R == 1 else replace(
        workload, name=f"{workload.name}-{R}", title=f"{workload.title}, R = {R}", replicas=R
    )
    for R in REPLICAS
    for workload in TRAINING
    if workload.replicas == 1
]  # fmt: skip
MAP = Workload("map", "400 Students, MNIST", MNIST_STUDENT, 128, 60_000, True, replicas=400)
GPU = [*GPU_TRAINING[:4], MAP, *INFERENCE, *GPU_TRAINING[4:]]
"""What is timed on a GPU, the most informative first."""
