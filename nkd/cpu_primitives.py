"""What compiled code on a CPU needs besides loops: products, vectors, and threads that share work.

Numba compiles loops to machine code; this adds the few things that it does not have. `product` is a
matrix product by BLAS in the calling thread. `Lanes` are numbers that one instruction works on.
`in_threads` runs a compiled function in several threads, which wait for each other with `meet`.
"""

import ctypes
import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, NamedTuple, cast

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import get_cython_function_address, intrinsic, models, register_model

from nkd.machine import libraries_of

Array = Any  # always a NumPy array

VERSION = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
"""Of this file: Numba keeps code until the file changes that has it, but not one that it uses."""


def compiled(function: Any) -> Any:
    """Compile a function when it is first called; the code is kept on disk."""
    function.__qualname__ += f"_{VERSION}"
    # No "fastmath": each operation is rounded as written, so a seed always gives the same bits.
    return numba.njit(cache=True, nogil=True, error_model="numpy")(function)


THREADS: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
"""Threads that share the work: $NUMBA_NUM_THREADS, or as many as this process may use cores."""


# Matrix products: SciPy's BLAS, the one that Numba can call, in one thread.


def blas(name: str, arguments: int) -> Any:
    """SciPy's BLAS function of that name, callable in compiled code; all arguments are pointers."""
    symbol = f"nkd_{name}"
    address = get_cython_function_address("scipy.linalg.cython_blas", name)
    llvmlite.binding.add_symbol(symbol, address)
    return types.ExternalFunction(symbol, types.void(*[types.voidptr] * arguments))


sgemm, dgemm = blas("sgemm", 13), blas("dgemm", 13)
sgemv, dgemv = blas("sgemv", 11), blas("dgemv", 11)


def use_one_blas_thread() -> None:
    """Keep SciPy's BLAS in the calling thread. NumPy's, if it is another one, stays as it is."""
    for library in libraries_of("scipy"):
        library.set_num_threads(1)


@compiled
def stored(array: Array) -> tuple[int, int]:
    """How BLAS reads an array: as it is or transposed, and the leading dimension."""
    if array.strides[1] == array.itemsize:
        return ord("N"), max(array.strides[0] // array.itemsize, array.shape[1])
    return ord("T"), max(array.strides[1] // array.itemsize, array.shape[0])


@compiled
def product(out: Array, x: Array, y: Array) -> None:
    """out ← x y, for parts of arrays with contiguous rows (or columns, if transposed)."""
    # BLAS is column-major, NumPy row-major: to BLAS each array is its transpose, so outᵀ = yᵀ xᵀ.
    sizes, flags, scalars = np.empty(6, np.int32), np.empty(2, np.uint8), np.empty(2, x.dtype)
    sizes[0], sizes[1], sizes[2] = y.shape[1], x.shape[0], x.shape[1]
    flags[0], sizes[3] = stored(y)
    flags[1], sizes[4] = stored(x)
    sizes[5] = stored(out)[1]
    scalars[0], scalars[1] = 1, 0  # out ← 1·x y + 0·out
    if len(x) == 1 and flags[0] == ord("N"):  # a row: a matrix-vector product
        sizes[1], sizes[4] = x.shape[1], x.strides[1] // x.itemsize
        sizes[5] = out.strides[1] // out.itemsize
        vector = (
            flags.ctypes, sizes.ctypes, sizes[1:].ctypes, scalars.ctypes, y.ctypes,
            sizes[3:].ctypes, x.ctypes, sizes[4:].ctypes, scalars[1:].ctypes, out.ctypes,
            sizes[5:].ctypes,
        )  # fmt: skip
        if x.itemsize == 4:
            sgemv(*vector)
        else:
            dgemv(*vector)
        return
    arguments = (
        flags.ctypes, flags[1:].ctypes, sizes.ctypes, sizes[1:].ctypes, sizes[2:].ctypes,
        scalars.ctypes, y.ctypes, sizes[3:].ctypes, x.ctypes, sizes[4:].ctypes,
        scalars[1:].ctypes, out.ctypes, sizes[5:].ctypes,
    )  # fmt: skip
    if x.itemsize == 4:
        sgemm(*arguments)
    else:
        dgemm(*arguments)


# Vectors: LLVM makes one instruction of an operation on them, or several where the processor's
# registers are shorter. Each number is rounded as a scalar would be.

instruction: Any = intrinsic
"""Makes an instruction of compiled code from a function that writes it for LLVM."""

LANES = 16
"""How many numbers a vector has."""


class Lanes(types.Type):
    """A vector of `LANES` numbers, as a type of compiled code."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")


@register_model(Lanes)
class LanesModel(models.PrimitiveModel):
    """What LLVM calls it."""

    def __init__(self, manager: Any, kind: Lanes) -> None:
        number = manager.lookup(kind.dtype).get_value_type()
        super().__init__(manager, kind, ir.VectorType(number, LANES))


def pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """The address of `array[index]`, without a check."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])


def shuffled(builder: Any, x: Any, lanes: list[int]) -> Any:
    """The vector of those lanes of x."""
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)
    return builder.shuffle_vector(x, x, mask)


@instruction
def load(typing: Any, array: Any, index: Any) -> Any:
    """The vector array[index : index + LANES], of a contiguous array with one axis."""
    lanes = Lanes(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = pointer(context, builder, array, *arguments)
        place = builder.bitcast(place, context.get_value_type(lanes).as_pointer())
        return builder.load(place, align=array.dtype.bitwidth // 8)

    return lanes(array, types.intp), generate


@instruction
def store(typing: Any, array: Any, index: Any, x: Any) -> Any:
    """array[index : index + LANES] ← x."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = pointer(context, builder, array, *arguments[:2])
        place = builder.bitcast(place, context.get_value_type(x).as_pointer())
        builder.store(arguments[2], place, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, x), generate


@instruction
def repeated(typing: Any, number: Any) -> Any:
    """The vector whose numbers are all this one."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        undefined = ir.Constant(context.get_value_type(signature.return_type), ir.Undefined)
        first = builder.insert_element(undefined, arguments[0], ir.IntType(32)(0))
        return shuffled(builder, first, [0] * LANES)

    return Lanes(number)(number), generate


@instruction
def plus_product(typing: Any, total: Any, x: Any, y: Any) -> Any:
    """total + x·y in each lane, rounded twice."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fadd(arguments[0], builder.fmul(*arguments[1:]))

    return total(total, x, y), generate


@instruction
def where_positive(typing: Any, x: Any, h: Any) -> Any:
    """x in each lane where h > 0, or is not a number; and 0 elsewhere."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, h = arguments
        zero = ir.Constant(context.get_value_type(signature.return_type), [0.0] * LANES)
        return builder.select(builder.fcmp_unordered(">", h, zero), x, zero)

    return x(x, h), generate


@instruction
def sum_of(typing: Any, x: Any) -> Any:
    """The sum of all lanes: of halves, of quarters, …"""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (x,), number = arguments, LANES
        while number > 1:
            number //= 2
            halves = (range(number), range(number, 2 * number))
            x = builder.fadd(*(shuffled(builder, x, list(half)) for half in halves))
        return builder.extract_element(x, ir.IntType(32)(0))

    return x.dtype(x), generate


# Threads that share work: each runs the same compiled function, and does its own part.

ARRIVED, TURN, ABANDONED = 0, 16, 32
"""Where a gate has its three numbers, each in a cache line of its own."""

WINDOWS = os.name == "nt"
SPINS, OFFERS, NAP = 2_000, 1_000, 1 if WINDOWS else 20
"""A waiting thread looks so often, then so often offers its core to others and looks again, then
sleeps for so many microseconds (on Windows milliseconds) each time: docs/performance.md."""


class Team(NamedTuple):
    """A thread's place in a team: its number, how many there are, and the gate where they meet."""

    number: int
    threads: int
    gate: Array


def new_gate() -> Array:
    """A gate that nobody has passed yet."""
    return np.zeros(ABANDONED + 16, np.int64)


ALONE = Team(0, 1, new_gate())
"""A team of one thread."""


@instruction
def atomic_load(typing: Any, array: Any, index: Any) -> Any:
    """array[index] as the last thread left it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(pointer(context, builder, array, *arguments), "acquire", 8)

    return types.int64(array, types.intp), generate


@instruction
def atomic_add(typing: Any, array: Any, index: Any, number: Any) -> Any:
    """array[index] += number in one step, even with several threads; return what was there."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = pointer(context, builder, array, *arguments[:2])
        return builder.atomic_rmw("add", place, arguments[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), generate


def system(symbol: str, function: Any, signature: Any) -> Any:
    """A function of the operating system, callable in compiled code."""
    address = ctypes.cast(function, ctypes.c_void_p).value
    llvmlite.binding.add_symbol(symbol, address)
    return types.ExternalFunction(symbol, signature)


LIBRARY: Any = ctypes.windll.kernel32 if WINDOWS else ctypes.CDLL(None)  # type: ignore[attr-defined]
offer = system(
    "nkd_offer", LIBRARY.SwitchToThread if WINDOWS else LIBRARY.sched_yield, types.int32()
)
sleep = system(  # for microseconds, on Windows for milliseconds
    "nkd_sleep", LIBRARY.Sleep if WINDOWS else LIBRARY.usleep, types.int32(types.uint32)
)


@compiled
def meet(team: Team) -> None:
    """Wait until all threads of the team are here.

    A thread that waits for long leaves its core to others: on a busy machine, these may be the
    threads that it waits for.
    """
    _, threads, gate = team
    if threads == 1:
        return
    turn = atomic_load(gate, TURN)
    if atomic_add(gate, ARRIVED, 1) == threads - 1:  # the last one opens the gate
        atomic_add(gate, ARRIVED, -threads)
        atomic_add(gate, TURN, 1)
        return
    spins = 0
    while atomic_load(gate, TURN) == turn:
        spins += 1
        if spins < SPINS:
            continue
        if atomic_load(gate, ABANDONED):
            return
        if spins < SPINS + OFFERS:
            offer()
        else:
            sleep(NAP)


def serve(work: SimpleQueue) -> None:
    """What the threads besides the calling one do: call functions, and tell when it is done."""
    while True:
        function, arguments, done = work.get()
        try:
            function(*arguments)
        except BaseException as error:  # noqa: BLE001 - it is raised in the calling thread
            arguments[-1].gate[ABANDONED] = 1
            done.put(error)
        else:
            done.put(None)
        del function, arguments, done  # they hold a whole training


@cache
def helpers() -> SimpleQueue:
    """The work of the threads besides the calling one; they start when they are first needed.

    Handing it over takes a third of the time that a ThreadPoolExecutor needs.
    """
    work: SimpleQueue = SimpleQueue()
    for _ in range(THREADS - 1):
        Thread(target=serve, args=(work,), name="nkd", daemon=True).start()
    return work


ONE_TEAM = Lock()
"""Held by the team at work: two teams could wait for each other's threads."""


def start_anew() -> None:
    """In a forked process, which has none of the threads: forget them."""
    global ONE_TEAM
    ONE_TEAM = Lock()
    helpers.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=start_anew)


def in_threads(function: Callable[..., Any], threads: int, *arguments: Any) -> None:
    """Call a function(…, team) in so many threads, the calling one among them."""
    if threads == 1:
        function(*arguments, ALONE)
        return
    with ONE_TEAM:
        gate, started, errors = new_gate(), 0, []
        work, done = helpers(), cast(SimpleQueue, SimpleQueue())
        try:
            for number in range(1, threads):
                work.put((function, (*arguments, Team(number, threads, gate)), done))
                started += 1
            function(*arguments, Team(0, threads, gate))
        except BaseException:  # such as Ctrl-C before all have started: nobody must wait for them
            gate[ABANDONED] = 1
            raise
        finally:
            errors = [error for error in (done.get() for _ in range(started)) if error]
        if errors:
            raise errors[0]
