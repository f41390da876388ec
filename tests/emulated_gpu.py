"""A GPU made of g++ and NumPy: the same CUDA source and the same calls of cuBLAS, without a GPU.

The kernels are compiled as C++ and run thread by thread; their arguments are checked against the
source and passed as a GPU's driver passes them. cuBLAS's product is done by NumPy on the memory
that the pointers name, column by column as cuBLAS has it, with its rules for the arguments.
"""

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from nkd import fused_gpu
from nkd.backend import CupyBackend

COMPILER = shutil.which("g++")
WARNINGS = ["-Wall", "-Werror", "-Wno-unknown-pragmas"]
FLAGS = ["-std=c++17", "-O1", "-ffp-contract=off", *WARNINGS, "-shared", "-fPIC"]
FLAGS += os.environ.get("NKD_KERNEL_FLAGS", "").split()  # for AddressSanitizer, say

SHIM = r"""
#include <cmath>
#include <utility>
#define __global__
#define __device__ static
struct Place { unsigned x, y; };
static Place blockIdx, threadIdx, blockDim, gridDim;
using std::exp; using std::log; using std::sqrt;
template <class... P, std::size_t... n>
static void launch(void (*kernel)(P...), const unsigned* size, void** arguments,
                   std::index_sequence<n...>) {
    gridDim = {size[0], size[1]};
    blockDim = {size[2], 1};
    for (unsigned y = 0; y < size[1]; y++)
        for (unsigned x = 0; x < size[0]; x++)
            for (unsigned t = 0; t < size[2]; t++) {
                blockIdx = {x, y};
                threadIdx = {t, 0};
                kernel(*(P*)arguments[n]...);
            }
}
template <class... P>
static void launch(void (*kernel)(P...), const unsigned* size, void** arguments) {
    launch(kernel, size, arguments, std::index_sequence_for<P...>{});
}
"""


class DeviceArray(np.ndarray):
    """An array with CuPy's way to its address."""

    @property
    def data(self):
        return SimpleNamespace(ptr=self.ctypes.data)


def on_device(value):
    return np.asarray(value).view(DeviceArray) if isinstance(value, np.ndarray) else value


@functools.cache
def library(code):
    """The kernels as a shared library, with a function launch_NAME for each."""
    names = re.findall(r"__global__ void (\w+)\(", code)
    launchers = "".join(
        f'extern "C" void launch_{name}(const unsigned* size, void** arguments)'
        f"{{ launch({name}, size, arguments); }}\n"
        for name in names
    )
    folder = Path(tempfile.mkdtemp(prefix="nkd-kernels-"))
    try:
        path = folder / f"{hashlib.sha256(code.encode()).hexdigest()}.so"
        subprocess.run(
            [COMPILER, *FLAGS, "-x", "c++", "-", "-o", path],
            input=SHIM + code + launchers,
            text=True,
            check=True,
        )
        return ctypes.CDLL(str(path))
    finally:
        shutil.rmtree(folder)


class RawModule:
    """CuPy's class of that name."""

    def __init__(self, *, code):
        self.code, self.library = code, library(code)
        typedefs = re.findall(r"^typedef ([a-z ]+) (\w+);", code, re.MULTILINE)
        self.types = {name: type_ for type_, name in typedefs}

    def get_function(self, name):
        launch = getattr(self.library, f"launch_{name}")
        declared = re.search(rf"void {name}\(([^)]*)\)", self.code)[1]
        parameters = [" ".join(each.split()) for each in declared.split(",")]

        def call(grid, block, arguments):
            assert len(grid) == 2
            assert len(block) == 1
            assert 0 < grid[0] < 2**31
            assert 0 < grid[1] < 2**16
            assert 0 < block[0] <= 1024
            values = [
                self.value(parameter, argument)
                for parameter, argument in zip(parameters, arguments, strict=True)
            ]
            size = (ctypes.c_uint * 3)(*grid, *block)
            pointers = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
            launch(size, pointers)

        return call

    def value(self, parameter, argument):
        """The argument as the driver gets it; it must be of the type that the source declares."""
        type_ = parameter.removeprefix("const ").split()[0].rstrip("*")
        type_ = self.types.get(type_, type_)
        if "*" in parameter:
            if type(argument) is int and argument == 0:
                return ctypes.c_void_p(0)
            assert type(argument) is DeviceArray, parameter
            c_type = {"long long": np.int64, "unsigned long long": np.uint64}
            c_type |= {"float": np.float32, "double": np.float64}
            assert argument.dtype == c_type.get(type_, np.uint8), parameter
            return ctypes.c_void_p(argument.ctypes.data)
        assert type(argument) is {"long long": int, "double": float}[type_], parameter
        return (ctypes.c_longlong if type_ == "long long" else ctypes.c_double)(argument)


class Cublas:
    """CuPy's binding of cuBLAS: the one product, and what it was asked to compute in."""

    CUBLAS_OP_N, CUBLAS_OP_T, CUBLAS_GEMM_DEFAULT = 0, 1, -1
    CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_64F, CUBLAS_COMPUTE_32F_FAST_TF32 = 68, 70, 77

    def __init__(self):
        self.computed, self.calls = set(), 0

    def gemmStridedBatchedEx(
        self, handle, transa, transb, m, n, k, alpha, A, Atype, lda, strideA, B, Btype, ldb,
        strideB, beta, C, Ctype, ldc, strideC, batchCount, computeType, algo,
    ):  # fmt: skip
        """C ← alpha·op(A) op(B) + beta·C for matrices that are stored column by column."""
        assert Atype == Btype == Ctype
        assert computeType in {0: (68, 77), 1: (70,)}[Atype]
        self.computed.add(computeType)
        self.calls += 1
        dtype = {0: np.float32, 1: np.float64}[Atype]

        def matrices(pointer, rows, columns, line, stride):
            assert line >= max(1, rows), "the leading dimension is too small"
            size = stride * (batchCount - 1) + line * (columns - 1) + rows
            kind = np.ctypeslib.as_ctypes_type(dtype) * size
            memory = np.ctypeslib.as_array(kind.from_address(pointer))
            strides = np.array([stride, 1, line]) * memory.itemsize
            return np.lib.stride_tricks.as_strided(memory, (batchCount, rows, columns), strides)

        a = matrices(A, *((k, m) if transa else (m, k)), lda, strideA)
        b = matrices(B, *((n, k) if transb else (k, n)), ldb, strideB)
        c = matrices(C, m, n, ldc, strideC)
        one, zero = (matrices(pointer, 1, 1, 1, 0)[0, 0, 0] for pointer in (alpha, beta))
        assert (one, zero) == (1, 0)
        c[...] = (a.mT if transa else a) @ (b.mT if transb else b)


def as_strided(array, shape, strides):
    return on_device(np.lib.stride_tricks.as_strided(array, shape, strides))


class Namespace:
    """`cupy`, on NumPy's arrays."""

    RawModule = RawModule
    lib = SimpleNamespace(stride_tricks=SimpleNamespace(as_strided=as_strided))

    def __getattr__(self, name):
        value = getattr(np, name)
        if not callable(value) or isinstance(value, type):
            return value

        def call(*arguments, **keywords):
            return on_device(value(*arguments, **keywords))

        return call

    def asarray(self, values, dtype=None):
        if isinstance(values, DeviceArray):
            return on_device(np.asarray(values, dtype))
        return on_device(np.array(values, dtype))  # on the device: a copy


class EmulatedBackend(CupyBackend):
    """CuPy's backend as it is, on the emulated GPU."""

    def __init__(self, tf32=False):
        self.xp, self.cublas = Namespace(), Cublas()
        self.forms = fused_gpu.Operations(self.xp, self.cublas, 0, tf32)
        self.compiled = fused_gpu.PARTS
        self.step = functools.partial(fused_gpu.Step, self.forms)

    def device(self):
        return "an emulated GPU"

    def to_numpy(self, values):
        return np.array(values)

    def synchronize(self):
        pass
