"""The two experiments: their networks, their flags and defaults, nothing else.

`run_classification.py` and `nkd classification` are the same, as are those of regression.
"""

from dataclasses import dataclass

from simple_parsing import field

from nkd import recipes
from nkd.command_line import Flags, Runner, hidden_units
from nkd.distillation import Classification, Regression


@dataclass
class ClassificationFlags(Flags):
    """Flags of the experiment on classes."""

    hidden: list[int] = hidden_units(128, 64)  # noqa: RUF009

    temperature: float | None = None
    """Softens the logits of Teacher and Student in the soft loss."""

    out: str = field(default="runs/classification-<time>", metavar="DIR")


@dataclass
class RegressionFlags(Flags):
    """Flags of the experiment on real numbers."""

    hidden: list[int] = hidden_units(16, 8)  # noqa: RUF009

    out: str = field(default="runs/regression-<time>", metavar="DIR")


CLASSIFICATION = Runner(
    problem=Classification,
    flags=ClassificationFlags,
    recipes=recipes.CLASSIFICATION,
    teacher=(1024, 512, 256, 128, 64),
    report_every=5,
    description="""Teacher, Student and Person on MNIST.

The Teacher is 784-1024-512-256-128-64-10, Student and Person are 784-128-64-10 (--hidden), with
ReLU; Adam. Each is trained by the recipes of nkd/recipes.py; how they were chosen:
docs/defaults.md.""",
    example="--temperature 4 --hidden 64 32 --seeds 10",
)

REGRESSION = Runner(
    problem=Regression,
    flags=RegressionFlags,
    recipes=recipes.REGRESSION,
    teacher=(512, 256, 128, 64, 32),
    report_every=10,
    description="""Teacher, Student and Person on California Housing.

The Teacher is 8-512-256-128-64-32-1, Student and Person are 8-16-8-1 (--hidden), with ReLU; Adam.
The Student learns from the true prices and from the Teacher's. Results are in units of $100,000.
The recipes of all three are in nkd/recipes.py; how they were chosen: docs/defaults.md.""",
    example="--rows 1000 --hidden 8 --seeds 20",
)
