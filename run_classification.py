"""Distil a classifier of digits: Teacher, Student and Person on MNIST.

The Teacher is 784-1024-512-256-128-64-10, Student and Person are 784-128-64-10, with ReLU; Adam.
Each is trained by the recipes of nkd/recipes.py; how they were chosen: docs/defaults.md.
"""

import sys
from dataclasses import dataclass

from nkd import Classification
from nkd.command_line import Flags, Runner, main
from nkd.recipes import CLASSIFICATION


@dataclass
class ClassificationFlags(Flags):
    """Flags of the experiment on classes."""

    temperature: float | None = None
    """Softens the logits of Teacher and Student in the soft loss."""
    out: str = "runs/classification-<time>"


RUNNER = Runner(
    problem=Classification,
    flags=ClassificationFlags,
    recipes=CLASSIFICATION,
    teacher=(1024, 512, 256, 128, 64),
    student=(128, 64),
    report_every=5,
)

if __name__ == "__main__":
    sys.exit(main(RUNNER, __doc__))
