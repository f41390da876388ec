"""Which library computes the matrix products on this machine's CPU, and with which instructions.

OpenBLAS has kernels for many processors and picks some when it is loaded. On a processor that it
does not know, or with $OPENBLAS_CORETYPE in the environment, these may be older ones with shorter
vectors, and training takes up to twice as long: docs/performance.md.
"""

import os
from dataclasses import dataclass
from typing import Any

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


def libraries_of(package: str) -> list[Any]:
    """The BLAS in the wheel of a package, "numpy" or "scipy", or what is loaded in its place.

    It comes as threadpoolctl's controllers.
    """
    from threadpoolctl import ThreadpoolController

    found = ThreadpoolController().select(user_api="blas").lib_controllers
    places = f"{package}.libs", f"{package}/.dylibs"
    own = [each for each in found if any(place in each.filepath for place in places)]
    return own or found


def products_of(package: str) -> Products | None:
    """The library that a package, "numpy" or "scipy", computes products with."""
    for library in libraries_of(package):
        info = library.info()
        kernels = info.get("architecture") or ""
        return Products(info["internal_api"], info["version"] or "", kernels, info["num_threads"])
    return None


def use_blas_threads(threads: int) -> None:
    """Let NumPy compute products in so many threads, from now on."""
    for library in libraries_of("numpy"):
        library.set_num_threads(threads)


def vector_bits() -> int:
    """Bits of the longest vectors that this processor computes with, as NumPy detects them."""
    from numpy._core import _multiarray_umath  # type: ignore[attr-defined]

    features = _multiarray_umath.__cpu_features__

    if all(features.get(f"AVX512{part}") for part in ("F", "BW", "DQ", "VL")):
        return 512
    return 256 if features.get("AVX2") and features.get("FMA3") else 128
