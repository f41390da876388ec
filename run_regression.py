"""Distil a regression: Teacher, Student and Person on California Housing.

The Teacher is 8-512-256-128-64-32-1, Student and Person are 8-16-8-1, with ReLU; Adam. The
Student learns from the true prices and from the Teacher's. Results are in units of $100,000. The
recipes of all three are in nkd/recipes.py; how they were chosen: docs/defaults.md.
"""

import sys
from dataclasses import dataclass

from nkd import Regression
from nkd.command_line import Flags, Runner, main
from nkd.recipes import REGRESSION


@dataclass
class RegressionFlags(Flags):
    """Flags of the experiment on real numbers."""

    out: str = "runs/regression-<time>"


RUNNER = Runner(
    problem=Regression,
    flags=RegressionFlags,
    recipes=REGRESSION,
    teacher=(512, 256, 128, 64, 32),
    student=(16, 8),
    report_every=10,
)

if __name__ == "__main__":
    sys.exit(main(RUNNER, __doc__))
