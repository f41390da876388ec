"""`python -m nkd export`: a network of a run as ONNX or as a C header."""

from dataclasses import dataclass
from pathlib import Path

from simple_parsing import field

from nkd.errors import UserError
from nkd.export import OPSET, parts_of, to_c, to_onnx
from nkd.model import load

DESCRIPTION = "A trained network for other programs: as ONNX, or as a C header."


@dataclass
class Flags:
    """What is exported, and how."""

    network: str = field(positional=True, metavar="STUDENT.safetensors")
    """Weights that a run wrote."""

    target: str = field(positional=True, metavar="OUT.onnx|OUT.h")
    """The file to write; its suffix says what it will be."""

    int8: bool = field(default=False, action="store_true")
    """Weights in int8 instead of float32: a quarter of the bytes, rounded."""

    def check(self) -> None:
        """Raise a UserError if the suffix of the file to write says nothing."""
        if Path(self.target).suffix not in (".onnx", ".h"):
            raise UserError(f"{self.target}: name a file that ends in .onnx or in .h")


def run(flags: Flags) -> None:
    """Export a network, and say in one line what was written."""
    flags.check()
    path = Path(flags.target)
    model = load(flags.network)
    (to_onnx if path.suffix == ".onnx" else to_c)(model, path, int8=flags.int8)
    size = path.stat().st_size
    parts = parts_of(model, flags.int8)
    print(
        f"{path}: {size:,} bytes, {model.parameter_count:,} parameters "
        f"({parts.constant_bytes:,} bytes of constants), {model.multiply_adds:,} multiply-adds"
        + (f", opset {OPSET}" if path.suffix == ".onnx" else "")
    )
