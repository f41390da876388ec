"""Knowledge distillation from scratch in NumPy and CuPy, every derivative written by hand.

The README shows how to use it from Python; docs/mathematics.md derives what it computes.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nkd.backend import Backend, choose
    from nkd.data import Dataset, from_table, load_classification, load_regression, validation_split
    from nkd.distillation import Classification, Regression, Run, TeacherOutputs, pairs
    from nkd.errors import UserError
    from nkd.experiment import compare
    from nkd.export import to_c, to_onnx
    from nkd.model import Model, load
    from nkd.network import MLP
    from nkd.statistics import PairedDifference, mcnemar, paired_difference, paired_differences
    from nkd.training import Settings, Training

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "Backend",
    "Classification",
    "Dataset",
    "Model",
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
    "load",
    "load_classification",
    "load_regression",
    "mcnemar",
    "paired_difference",
    "paired_differences",
    "pairs",
    "to_c",
    "to_onnx",
    "validation_split",
]

# Nothing is imported before it is asked for: to use a network takes NumPy and its file alone.
MODULE_OF = {
    "MLP": "network",
    "Backend": "backend",
    "Classification": "distillation",
    "Dataset": "data",
    "Model": "model",
    "PairedDifference": "statistics",
    "Regression": "distillation",
    "Run": "distillation",
    "Settings": "training",
    "TeacherOutputs": "distillation",
    "Training": "training",
    "UserError": "errors",
    "choose": "backend",
    "compare": "experiment",
    "from_table": "data",
    "load": "model",
    "load_classification": "data",
    "load_regression": "data",
    "mcnemar": "statistics",
    "paired_difference": "statistics",
    "paired_differences": "statistics",
    "pairs": "distillation",
    "to_c": "export",
    "to_onnx": "export",
    "validation_split": "data",
}


def __getattr__(name: str) -> Any:
    """A public name, or a module of the package, imported when it is first used (PEP 562)."""
    if name in MODULE_OF:
        return getattr(import_module(f"nkd.{MODULE_OF[name]}"), name)
    try:
        return import_module(f"nkd.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"nkd.{name}":
            raise
        raise AttributeError(f"module 'nkd' has no attribute {name!r}") from None


def __dir__() -> list[str]:
    """The public names, for completion."""
    return sorted({*globals(), *__all__})
