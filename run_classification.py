"""Distil a classifier of digits: Teacher, Student and Person on MNIST.

The Teacher is 784-1024-512-256-128-64-10, Student and Person are 784-128-64-10, with ReLU; Adam.
How the defaults were chosen: docs/defaults.md.
"""

import sys
from dataclasses import dataclass

from nkd import Classification
from nkd.command_line import Flags, Runner, main


@dataclass
class ClassificationFlags(Flags):
    """Flags of the experiment on classes."""

    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 4e-3
    alpha: float = 0.3
    temperature: float = 2.0
    """Softens the logits of Teacher and Student in the soft loss."""
    out: str = "runs/classification-<time>"


RUNNER = Runner(
    problem=Classification,
    flags=ClassificationFlags,
    teacher=(1024, 512, 256, 128, 64),
    student=(128, 64),
    report_every=5,
)

if __name__ == "__main__":
    sys.exit(main(RUNNER, __doc__))
