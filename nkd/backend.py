"""Where the arrays live: NumPy on the CPU, or CuPy on a GPU.

This is the one place that decides. Everything else computes with `backend.xp`, the array
namespace (`numpy` or `cupy`), using functions that both have; what the two do differently is a
method here.
"""

import functools
import math
import os
import platform
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any

import numpy as np

from nkd.errors import UserError
from nkd.machine import Products, products_of

Array = Any
"""A NumPy or CuPy array: CuPy is optional, so no type can name both."""

NAMES = ("auto", "numpy", "numba", "cupy")


class Backend:
    """An array namespace and the few operations that differ between devices (this one: NumPy)."""

    name = "numpy"
    xp: ModuleType = np
    step: Callable[..., Any] | None = None
    """The backend's compiled form of `training.Step`, if it has one."""
    outputs: Callable[..., Any] | None = None
    """The backend's compiled way to compute the outputs of an `MLP`, if it has one."""
    compiled: frozenset[str] = frozenset()
    """The compiled forms that these two support: see `computes`."""

    def device(self) -> str:
        """The device in words, for reports."""
        return f"{os.cpu_count()} cores ({platform.machine()})"

    def products(self) -> Products | None:
        """The library of matrix products on the CPU; None if they are not computed there."""
        return products_of("numpy")

    def computing(self) -> dict[str, Any]:
        """What else its bits depend on, besides the library of products."""
        return {}

    def __str__(self) -> str:
        products = self.products()
        return f"{self.name} on {self.device()}" + (f", {products}" if products else "")

    def asarray(self, values: Array, dtype: Any = None) -> Array:
        """`values` on the device, without a copy if they are already there with that dtype."""
        return self.xp.asarray(values, dtype=dtype)

    def to_numpy(self, values: Array) -> np.ndarray:
        """`values` as a NumPy array on the host."""
        return np.asarray(values)

    def gather(self, out: Array, table: Array, rows: Array, scale: Any, work: Array) -> None:
        """out = scale·table[rows], for a table (N, K) and row numbers (B,), which are not checked.

        `work` is a buffer for the rows in the table's dtype: `out` itself if it has that dtype.
        """
        # With the default mode, "raise", NumPy gathers into a buffer of its own first.
        np.take(table, rows, axis=0, out=work, mode="clip")
        self.convert(out, work, scale)

    def convert(self, out: Array, stored: Array, scale: Any) -> None:
        """out = scale·stored, where `stored` may be `out` itself."""
        if stored is not out:
            self.xp.copyto(out, stored)
        if scale != 1:
            self.xp.multiply(out, scale, out=out)

    def operation(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        """The form of a named operation `plain` (xp, …): here `plain` itself, with xp filled in."""
        return functools.partial(plain, self.xp)

    def computes(self, *parts: Any) -> bool:
        """Whether the compiled step and forward pass compute the same as each of these parts.

        A layer, loss, optimiser or table declares it: the `compiled` of its class names the form
        that computes the same. A subclass has to declare it again, since it may do something
        else; a part that declares nothing takes the plain way.
        """
        return all(vars(type(part)).get("compiled") in self.compiled for part in parts)

    def free_memory(self) -> int:
        """Free memory in bytes."""
        import psutil

        return psutil.virtual_memory().available

    def synchronize(self) -> None:
        """Wait until the device has finished all its work (needed for timing)."""

    def compiling(self, tell: Callable[[], Any]) -> AbstractContextManager[Any]:
        """Call `tell` whenever a function starts to be compiled within this context."""
        return nullcontext()

    def buffer(self, replicas: Sequence[int], columns: int, dtype: Any) -> "Buffer":
        """Memory for an array (*replicas, B, columns) whose B varies."""
        return Buffer(self.xp, replicas, columns, dtype)


class NumbaBackend(Backend):
    """NumPy, with the training step and the outputs of networks compiled by Numba: fused_cpu.py.

    A step with parts that are not compiled is NumPy's.

    Raises:
        UserError: Numba is missing.
    """

    name = "numba"

    def __init__(self) -> None:
        try:
            from nkd import fused_cpu
        except Exception as error:  # noqa: BLE001 - missing, or in conflict with NumPy or its cache
            reason = str(error).partition("\n")[0]
            raise UserError(
                f"--backend numba: Numba cannot be used ({reason}); install it with "
                "pip install 'nkd[fast]', or use --backend numpy"
            ) from None
        fused_cpu.use_one_blas_thread()
        self.forms, self.compiled = fused_cpu, fused_cpu.PARTS
        self.step, self.outputs = fused_cpu.CompiledStep, fused_cpu.CompiledForward

    def device(self) -> str:
        """The cores that Numba may use."""
        return f"{self.forms.THREADS} of {super().device()}"

    def products(self) -> Products | None:
        """The library that compiled code calls."""
        return products_of("scipy")

    def computing(self) -> dict[str, Any]:
        """Its version, and the threads that share the work."""
        import numba

        return {"numba": numba.__version__, "threads": self.forms.THREADS}

    def compiling(self, tell: Callable[[], Any]) -> AbstractContextManager[Any]:
        """Call `tell` whenever Numba starts to compile a function that it does not have on disk."""
        from numba.core import event

        class Listener(event.Listener):
            def on_start(self, event: Any) -> None:
                tell()

            def on_end(self, event: Any) -> None:
                pass

        return event.install_listener("numba:compile", Listener())


class CupyBackend(Backend):
    """CuPy on an NVIDIA GPU, with the named operations in CUDA: fused_gpu.py.

    Args:
        tf32: whether products may run on tensor cores, which round their factors to 10 bits.

    Raises:
        UserError: CuPy is missing, or finds no GPU that it can use.
    """

    name = "cupy"
    tf32 = False

    def __init__(self, tf32: bool = False) -> None:
        try:
            import cupy
        except ImportError:
            raise UserError(
                "--backend cupy: CuPy is not installed; install it for your CUDA version with "
                "pip install 'nkd[cuda12]' or 'nkd[cuda13]', or use --backend numpy"
            ) from None
        try:
            cupy.arange(2).sum()
            from cupy_backends.cuda.libs import cublas

            from nkd import fused_gpu

            handle = cupy.cuda.device.get_cublas_handle()
            self.forms = fused_gpu.Operations(cupy, cublas, handle, tf32)
        except Exception as error:  # noqa: BLE001 - driver, device or library: any can be missing
            reason = str(error).strip().splitlines()
            raise UserError(
                f"--backend cupy: CuPy {cupy.__version__} finds no usable GPU "
                f"({reason[0] if reason else type(error).__name__}); "
                "install the NVIDIA driver, or use --backend numpy"
            ) from None
        self.xp, self.compiled, self.tf32 = cupy, fused_gpu.PARTS, tf32
        self.step = functools.partial(fused_gpu.Step, self.forms)

    def device(self) -> str:
        """The name of the GPU."""
        properties = self.xp.cuda.runtime.getDeviceProperties(self.xp.cuda.Device().id)
        return properties["name"].decode()

    def products(self) -> Products | None:
        """None: cuBLAS."""
        return None

    def computing(self) -> dict[str, Any]:
        """CuPy's version, the GPU, and whether its tensor cores round factors."""
        return {"cupy": self.xp.__version__, "gpu": self.device(), "tf32": self.tf32}

    def to_numpy(self, values: Array) -> np.ndarray:
        """`values` copied from the device."""
        return self.xp.asnumpy(values)

    def gather(self, out: Array, table: Array, rows: Array, scale: Any, work: Array) -> None:
        """Gather and scale in one kernel."""
        self.forms.gather(out, table, rows, scale, work)

    def operation(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        """The CUDA form of that function if there is one, else the plain one."""
        if f"{plain.__module__}.{plain.__name__}" in self.forms.OPERATIONS:
            return getattr(self.forms, plain.__name__)
        return super().operation(plain)

    def free_memory(self) -> int:
        """Free memory of the GPU in bytes."""
        free, _ = self.xp.cuda.runtime.memGetInfo()
        return free

    def synchronize(self) -> None:
        """Wait for the GPU."""
        self.xp.cuda.get_current_stream().synchronize()


class Buffer:
    """Memory for an array (*replicas, B, columns) whose B varies, as with a short last batch.

    It is allocated for the largest B requested so far; smaller arrays use its beginning, so
    each array is contiguous, and requesting a B that fits takes no new memory.
    """

    def __init__(self, xp: ModuleType, replicas: Sequence[int], columns: int, dtype: Any) -> None:
        self.xp, self.replicas, self.columns = xp, tuple(replicas), columns
        self.memory = xp.empty(0, dtype)

    def rows(self, batch: int) -> Array:
        """The array (*replicas, batch, columns), with undefined contents."""
        size = math.prod(self.replicas) * batch * self.columns
        if self.memory.size < size:
            self.memory = self.xp.empty(size, self.memory.dtype)
        return self.memory[:size].reshape(*self.replicas, batch, self.columns)


NUMPY = Backend()
"""The NumPy backend, which is always available."""


def choose(name: str = "auto", *, tf32: bool = False) -> Backend:
    """The backend of that name; "auto" takes cupy if it finds a GPU, else numba if installed.

    Args:
        name: one of `NAMES`.
        tf32: whether products may run on a GPU's tensor cores, with less than float32 precision.

    Raises:
        UserError: the name is unknown, or what was asked for cannot be used.
    """
    if name not in NAMES:
        raise UserError(f"backend {name!r}: choose one of {', '.join(NAMES)}")
    if name == "cupy" or (name == "auto" and tf32):
        return CupyBackend(tf32)
    if tf32:
        raise UserError(f"--tf32: --backend {name} has no tensor cores; use --backend cupy")
    if name != "auto":
        return NumbaBackend() if name == "numba" else NUMPY
    for backend in (CupyBackend, NumbaBackend):
        try:
            return backend()
        except UserError:
            continue
    return NUMPY
