"""Knowledge distillation from scratch in NumPy and CuPy, every derivative written by hand.

The README shows how to use it from Python; docs/mathematics.md derives what it computes.
"""

from nkd.backend import Backend, choose
from nkd.data import Dataset, from_table, load_classification, load_regression, validation_split
from nkd.distillation import Classification, Regression, Run, TeacherOutputs, pairs
from nkd.errors import UserError
from nkd.experiment import compare
from nkd.network import MLP
from nkd.statistics import PairedDifference, mcnemar, paired_difference, paired_differences
from nkd.training import Settings, Training

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "Backend",
    "Classification",
    "Dataset",
    "PairedDifference",
    "Regression",
    "Run",
    "Settings",
    "TeacherOutputs",
    "Training",
    "UserError",
    "choose",
    "compare",
    "from_table",
    "load_classification",
    "load_regression",
    "mcnemar",
    "paired_difference",
    "paired_differences",
    "pairs",
    "validation_split",
]
