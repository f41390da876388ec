"""Which library computes the matrix products on this machine's CPU, and with which instructions.

OpenBLAS has kernels for many processors and picks some when it is loaded. On a processor that it
does not know, or with $OPENBLAS_CORETYPE in the environment, these may be older ones with shorter
vectors, and training takes up to twice as long: docs/performance.md.
"""

import os
from dataclasses import dataclass

VECTORS = {
    512: ("SkylakeX", "Cooperlake", "SapphireRapids"),
    256: ("Haswell", "Zen", "Excavator", "Sandybridge", "Bulldozer", "Piledriver", "Steamroller"),
    128: ("Nehalem", "Prescott", "Core2",
          "Penryn", "Dunnington", "Atom", "Katmai", "Coppermine", "Northwood", "Banias", "Athlon",
          "Opteron", "Opteron_SSE3", "Barcelona", "Bobcat", "Nano"),
}  # fmt: skip
"""Bits of the vectors that OpenBLAS's kernels for x86 multiply, and their names."""


@dataclass(frozen=True)
class Products:
    """The library of matrix products.

    Args:
        library: such as "openblas".
        version: of the library.
        kernels: the processors that its code is made for, such as "SkylakeX"; "" if unknown.
        threads: how many it uses.
    """

    library: str
    version: str
    kernels: str
    threads: int

    def __str__(self) -> str:
        names = {"openblas": "OpenBLAS", "mkl": "MKL", "blis": "BLIS"}
        made_for = f", {self.kernels} kernels" if self.kernels else ""
        return f"{names.get(self.library, self.library)} {self.version}{made_for}"

    def advice(self, processor: int) -> str | None:
        """One line on what to set if the processor's vectors of so many bits are not used."""
        used = next((bits for bits, names in VECTORS.items() if self.kernels in names), processor)
        if self.library != "openblas" or used >= processor:
            return None
        pinned = os.environ.get("OPENBLAS_CORETYPE")
        remedy = (
            f"unset OPENBLAS_CORETYPE, which is {pinned}"
            if pinned
            else f"set OPENBLAS_CORETYPE={VECTORS[processor][0]}"
        )
        return (
            f"{self} use vectors of {used} bits, but this processor has {processor}: "
            f"training takes up to twice as long; {remedy}"
        )


def comes_with(package: str, path: str) -> bool:
    """Whether a library is part of a package's wheel."""
    return f"{package}.libs" in path or f"{package}/.dylibs" in path


def products_of(package: str) -> Products | None:
    """The library that came with a package, "numpy" or "scipy", or is loaded in its place."""
    from threadpoolctl import threadpool_info

    found = [each for each in threadpool_info() if each["user_api"] == "blas"]
    own = [each for each in found if comes_with(package, each["filepath"])] or found
    if not own:
        return None
    (first, *_) = own
    return Products(
        first["internal_api"],
        first["version"] or "",
        first.get("architecture") or "",
        first["num_threads"],
    )


def vector_bits() -> int:
    """Bits of the longest vectors that this processor computes with, as NumPy detects them."""
    from numpy._core import _multiarray_umath  # type: ignore[attr-defined]

    features = _multiarray_umath.__cpu_features__

    if all(features.get(f"AVX512{part}") for part in ("F", "BW", "DQ", "VL")):
        return 512
    return 256 if features.get("AVX2") and features.get("FMA3") else 128
