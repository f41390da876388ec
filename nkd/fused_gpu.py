"""The named operations in CUDA: few launches, no hidden copies, no transfers within an epoch.

Each method named like a plain operation (layers.py, losses.py, optimizers.py) has its signature
without xp, and is tested to equal it. Products are cuBLAS's; everything around them is in `SOURCE`:
C that is compiled on first use, for the types at hand. The threads of a kernel do not communicate,
and every sum has one order, so on a GPU a seed always gives the same bits.

An operation is a list of launches, each a function and its arguments. `Step` plans those of a
training step once per epoch, and then only goes through the list.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np

Array = Any  # a CuPy array, unless stated otherwise
Launch = tuple[Callable[..., Any], tuple[Any, ...]]

# Arguments are pointers, 64-bit integers and doubles, which is how CuPy passes Python's numbers.
# `real` is the type of the networks' numbers, `stored` that of a table's.
SOURCE = r"""
typedef long long integer;

// out[r, b] <- scale * row order[r mod orders, step * batch_size + b] of a table: `columns` numbers
// of its memory in lines of `line`, each `stride` after the last, the first at row * row_step. With
// versions, network r's rows are first_rows[r] + order mod lengths[r].
extern "C" __global__ void gather(
    real* out, const stored* memory, integer columns, integer row_step, integer line,
    integer stride, const integer* order, integer orders, integer length,
    const integer* first_rows, const integer* lengths, const integer* step, integer batch_size,
    integer batch, double scale)
{
    integer i = blockIdx.x, k = blockIdx.y * blockDim.x + threadIdx.x;
    if (k >= columns) return;
    int r = (int)i / (int)batch, b = (int)i - r * (int)batch;
    integer row = order[(r % (int)orders) * length + (step ? *step : 0) * batch_size + b];
    if (first_rows) row = row % lengths[r] + first_rows[r];
    integer place = row * row_step + (int)k / (int)line * stride + (int)k % (int)line;
    out[i * columns + k] = (real)memory[place] * (real)scale;
}

// h <- max(h + b, 0), or without `relu` h <- h + b; network r has its b at b + r * stride
extern "C" __global__ void add_bias(
    real* h, const real* b, integer stride, integer batch, integer outputs, integer relu)
{
    integer i = blockIdx.x, o = blockIdx.y * blockDim.x + threadIdx.x;
    if (o >= outputs) return;
    real z = h[i * outputs + o] + b[(int)i / (int)batch * stride + o];
    h[i * outputs + o] = relu && z < 0 ? 0 : z;  // NaN is kept
}

// dz <- factor dh where h > 0, else 0 (without `relu`, dz is dh), and db <- sum of dz over the
// batch. What dropout has set to 0 in h is masked as well; the others have its factor.
extern "C" __global__ void mask_and_sum(
    real* dh, real* db, const real* h, integer stride, integer batch, integer outputs,
    integer relu, double factor)
{
    integer r = blockIdx.x, o = blockIdx.y * blockDim.x + threadIdx.x;
    if (o >= outputs) return;
    dh += r * batch * outputs + o;
    h += r * batch * outputs + o;
    real total = 0;
    for (integer i = 0; i < batch; i += 8) {
        real d[8], above[8];  // eight rows are in flight at a time
        #pragma unroll
        for (int k = 0; k < 8; k++) {
            bool there = i + k < batch;
            d[k] = there ? dh[(i + k) * outputs] : 0;
            above[k] = there && relu ? h[(i + k) * outputs] : 1;
        }
        #pragma unroll
        for (int k = 0; k < 8; k++) {
            real masked = above[k] > 0 ? d[k] * (real)factor : 0;
            if (relu && i + k < batch) dh[(i + k) * outputs] = masked;
            total += masked;
        }
    }
    db[r * stride + o] = total;
}

// dz <- [(1-a) softmax(z) + a T softmax(z/T) - t] / B, and for each row of the batch
// totals[r, b] <- totals[r, b] + (1-a) lse(z) + a T^2 lse(z/T) - <t, z>
extern "C" __global__ void distillation_rows(
    double* totals, real* dz, const real* z, const real* t, const real* alpha, const real* T,
    integer stride, integer rows, integer batch, integer classes)
{
    integer i = (integer)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= rows) return;
    integer r = i / batch, b = i - r * batch;
    z += i * classes;
    t += i * classes;
    dz += i * classes;
    real a = alpha[r], tau = T[r], largest = z[0], hard = 0, soft = 0, inner = 0;
    for (integer c = 1; c < classes; c++)
        if (z[c] > largest) largest = z[c];
    for (integer c = 0; c < classes; c++) {
        real u = z[c] - largest;  // this shift changes neither softmax nor the loss
        hard += exp(u);
        soft += exp(u / tau);
        inner += t[c] * u;
    }
    totals[r * stride + b] += (1 - a) * log(hard) + a * tau * tau * log(soft) - inner;
    real weight_hard = (1 - a) / hard, weight_soft = a * tau / soft, B = batch;
    for (integer c = 0; c < classes; c++) {
        real u = z[c] - largest;
        dz[c] = (weight_hard * exp(u) + weight_soft * exp(u / tau) - t[c]) / B;
    }
}

// ds <- 2 (s - t) / (B O), and for each row totals[r, b] <- totals[r, b] + sum (s - t)^2 / O
extern "C" __global__ void squared_error_rows(
    double* totals, real* ds, const real* s, const real* t, integer stride, integer rows,
    integer batch, integer outputs)
{
    integer i = (integer)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= rows) return;
    integer r = i / batch, b = i - r * batch;
    real total = 0, size = batch * outputs;
    for (integer o = i * outputs; o < (i + 1) * outputs; o++) {
        real difference = s[o] - t[o];
        total += difference * difference;
        ds[o] = 2 * difference / size;
    }
    totals[r * stride + b] += total / (real)outputs;
}

// ds <- 2 w (s - t) / (B O), and for each row totals[r, b] <- totals[r, b] + w |s - t|^2 / O, with
// w = v + a [|s - t|^2 > c]. A row of t holds the targets, v and c.
extern "C" __global__ void weighted_squared_error_rows(
    double* totals, real* ds, const real* s, const real* t, const real* alpha, integer stride,
    integer rows, integer batch, integer outputs)
{
    integer i = (integer)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= rows) return;
    integer r = i / batch, b = i - r * batch;
    s += i * outputs;
    ds += i * outputs;
    t += i * (outputs + 2);
    real square = 0, size = batch * outputs;
    for (integer o = 0; o < outputs; o++) square += (s[o] - t[o]) * (s[o] - t[o]);
    real weight = t[outputs] + (square > t[outputs + 1] ? alpha[r] : 0);
    for (integer o = 0; o < outputs; o++) ds[o] = 2 * weight * (s[o] - t[o]) / size;
    totals[r * stride + b] += weight * square / (real)outputs;
}

// each column w of W <- w largest / |w| where |w| > largest; network r has its W at W + r * stride
extern "C" __global__ void limit_norms(
    real* W, integer stride, integer inputs, integer outputs, double largest)
{
    integer r = blockIdx.x, o = blockIdx.y * blockDim.x + threadIdx.x;
    if (o >= outputs) return;
    W += r * stride + o;
    real square = 0;
    for (integer i = 0; i < inputs; i++) square += W[i * outputs] * W[i * outputs];
    real norm = sqrt(square), bound = largest;
    if (!(norm > bound)) return;
    for (integer i = 0; i < inputs; i++) W[i * outputs] *= bound / norm;
}

// Numbers of 128 bits, and NumPy's generator: PCG64 of O'Neill 2014, XSL-RR. Each thread jumps to
// its place in a network's stream, so all numbers are those that the host would draw.
typedef unsigned long long word;
struct wide { word high, low; };

__device__ wide times(wide a, wide b)
{
    word a0 = a.low & 0xffffffff, a1 = a.low >> 32, b0 = b.low & 0xffffffff, b1 = b.low >> 32;
    word middle = a1 * b0 + (a0 * b0 >> 32), other = a0 * b1 + (middle & 0xffffffff);
    word high = a1 * b1 + (middle >> 32) + (other >> 32) + a.high * b.low + a.low * b.high;
    return {high, a.low * b.low};
}

__device__ wide plus(wide a, wide b)
{
    word low = a.low + b.low;
    return {a.high + b.high + (low < a.low), low};
}

__device__ wide multiplier_of_pcg64()
{
    return {2549297995355413924ULL, 4865540595714422341ULL};
}

__device__ wide after(wide state, wide increment, word steps)  // Brown 1994: log(steps) products
{
    wide factor = {0, 1}, sum = {0, 0}, one = {0, 1}, multiplier = multiplier_of_pcg64();
    for (; steps; steps >>= 1) {
        if (steps & 1) {
            factor = times(factor, multiplier);
            sum = plus(times(sum, multiplier), increment);
        }
        increment = times(plus(multiplier, one), increment);
        multiplier = times(multiplier, multiplier);
    }
    return plus(times(factor, state), sum);
}

// h <- factor h where the stream's number in [0, 1) is at least `rate`, and 0 elsewhere. Network r
// has 4 words in `streams`: the state of its generator, and its increment. Batch `step` begins with
// number drawn + step * batch_size * columns of the stream. A thread takes 32 numbers.
extern "C" __global__ void drop(
    real* h, const word* streams, integer drawn, const integer* step, integer batch_size,
    integer size, integer columns, double rate, double factor)
{
    integer r = blockIdx.x, first = ((integer)blockIdx.y * blockDim.x + threadIdx.x) * 32;
    if (first >= size) return;
    h += r * size;
    streams += 4 * r;
    wide state = {streams[0], streams[1]}, increment = {streams[2], streams[3]};
    word number = drawn + *step * batch_size * columns + first, bits = 0;
    state = after(state, increment, number / 2);  // each gives two numbers, the low bits first
    for (integer i = first; i < size && i < first + 32; i++, number++) {
        if (i == first || number % 2 == 0) {
            state = plus(times(state, multiplier_of_pcg64()), increment);
            word folded = state.high ^ state.low, turn = state.high >> 58;
            bits = folded >> turn | folded << ((64 - turn) & 63);
        }
        float uniform = (float)((number % 2 ? bits >> 32 : bits & 0xffffffff) >> 8) / 16777216.0f;
        h[i] = uniform >= (float)rate ? h[i] * (real)factor : 0;
    }
}

// m <- b1 m + g, v <- b2 v + g^2, w <- w - rate m / (sqrt(v) + epsilon), with the rate of network
// r: rates[step, r], and epsilons[step]
extern "C" __global__ void adam(
    real* w, real* m, real* v, const real* g, double beta1, double beta2, const real* rates,
    const double* epsilons, const integer* step, integer replicas, integer size)
{
    integer i = (integer)blockIdx.x * blockDim.x + threadIdx.x, r = blockIdx.y;
    if (i >= size) return;
    real rate = rates[*step * replicas + r], epsilon = epsilons[*step];
    i += r * size;
    m[i] = (real)beta1 * m[i] + g[i];
    v[i] = (real)beta2 * v[i] + g[i] * g[i];
    w[i] -= rate * m[i] / (sqrt(v[i]) + epsilon);
}

// step <- step + 1
extern "C" __global__ void count(integer* step)
{
    *step += 1;
}
"""

C_TYPES = {"uint8": "unsigned char", "float32": "float", "float64": "double"}
LOSSES = {
    "squared_error_loss": ("squared_error_rows", ()),
    "distillation_loss": ("distillation_rows", ("alpha", "T")),
    "weighted_squared_error_loss": ("weighted_squared_error_rows", ("alpha",)),
}
"""The kernels of the losses, and which numbers of a loss they take."""

PARTS = frozenset({"mlp", "dense", "dropout", "limit_norms", "adam_update", "gather", *LOSSES})
"""The parts that `Step` supports: see `Backend.computes`."""

CUDA_R_32F, CUDA_R_64F = 0, 1  # from library_types.h


def source(real: Any, stored: Any) -> str:
    """The source of the kernels for these types."""
    names = (C_TYPES[np.dtype(each).name] for each in (real, stored))
    return "typedef {} real;\ntypedef {} stored;\n".format(*names) + SOURCE


def run(launches: Iterable[Launch]) -> None:
    """Launch them all."""
    for function, arguments in launches:
        function(*arguments)


def network_stride(array: Array) -> int:
    """The stride, in numbers, between networks in a view (A, S, ·, ·) of the parameters."""
    return array.strides[1 if array.shape[1] > 1 else 0] // array.itemsize


def layout(array: Array) -> tuple[bool, int]:
    """Whether a matrix's columns, and not its rows, are contiguous; and the leading dimension."""
    rows, columns = (stride // array.itemsize for stride in array.strides[-2:])
    if columns == 1:
        return False, max(rows, array.shape[-1])
    return True, max(columns, array.shape[-2])


class Operations:
    """The named operations, using cuBLAS and the kernels in `SOURCE`.

    Args:
        xp: cupy.
        cublas: CuPy's binding of cuBLAS, cupy_backends.cuda.libs.cublas.
        handle: cuBLAS's handle.
        tf32: whether products of float32 may round their factors to TF32's 10 bits, which is
            what tensor cores take.
    """

    OPERATIONS = frozenset(
        {
            "nkd.layers.dense_forward",
            "nkd.layers.dense_backward",
            "nkd.losses.distillation_loss",
            "nkd.losses.squared_error_loss",
            "nkd.weighted_regression.weighted_squared_error_loss",
            "nkd.layers.limit_norms",
            "nkd.optimizers.adam_update",
        }
    )
    """The plain functions that have a form here, with the same name."""

    def __init__(self, xp: ModuleType, cublas: ModuleType, handle: int, tf32: bool) -> None:
        self.xp, self.cublas, self.handle = xp, cublas, handle
        single = cublas.CUBLAS_COMPUTE_32F_FAST_TF32 if tf32 else cublas.CUBLAS_COMPUTE_32F
        self.types = {
            "float32": (CUDA_R_32F, single),
            "float64": (CUDA_R_64F, cublas.CUBLAS_COMPUTE_64F),
        }
        # On the host, in the compute type; kept here because cuBLAS is given their address only.
        self.scalars = {name: np.array([1, 0], name) for name in self.types}
        self.modules: dict[tuple[Any, Any], Any] = {}
        self.kernels: dict[tuple[str, Any, Any], Any] = {}
        self.first_step = xp.zeros(1, np.int64)

    def launch(
        self,
        name: str,
        grid: tuple[int, int],
        threads: int,
        arguments: Sequence[Any],
        real: Any,
        stored: Any = np.uint8,
    ) -> Launch:
        """The launch of one kernel on a grid of (blocks, blocks) with `threads` threads each."""
        types = np.dtype(real), np.dtype(stored)
        if (name, *types) not in self.kernels:
            if types not in self.modules:
                self.modules[types] = self.xp.RawModule(code=source(*types))
            self.kernels[name, *types] = self.modules[types].get_function(name)
        return self.kernels[name, *types], (grid, (threads,), tuple(arguments))

    def on_columns(
        self, name: str, rows: int, columns: int, arguments: Sequence[Any], *types: Any
    ) -> Launch:
        """The launch of a kernel whose blocks take up to 256 columns of a row each."""
        threads = min(256, math.ceil(columns / 32) * 32)
        return self.launch(name, (rows, math.ceil(columns / threads)), threads, arguments, *types)

    # Products.

    def product(self, out: Array, x: Array, y: Array) -> Iterator[Launch]:
        """out ← x y for out (A, S, ·, ·), and x and y like it or without the axis A.

        A transposed view is read in place: cuBLAS takes a flag, and nothing is copied. One
        launch takes all matrices along one of the axes A and S; the shorter one is looped over.
        """
        # cuBLAS is column-major, CuPy row-major: to cuBLAS each array is its transpose, so it is
        # asked for outᵀ ← yᵀ xᵀ.
        name, size = out.dtype.name, out.itemsize
        type_, compute = self.types[name]
        one, zero = (self.scalars[name].ctypes.data + n * size for n in (0, 1))
        shape = out.shape[:2]
        inner = 0 if shape[0] > shape[1] else 1  # the axis that one launch takes
        operands, flags = [], []
        for array in (y, x, out):
            missing = 4 - array.ndim  # an array without this axis is shared along it
            strides = [0] * missing + [
                stride * (length > 1)
                for stride, length in zip(array.strides, array.shape, strict=True)
            ]
            transposed, line = layout(array)
            flags.append(self.cublas.CUBLAS_OP_T if transposed else self.cublas.CUBLAS_OP_N)
            operands.append((array.data.ptr, strides[1 - inner], line, strides[inner] // size))
        sizes = (out.shape[-1], out.shape[-2], x.shape[-1])
        for n in range(shape[1 - inner]):
            (y_, x_, out_) = (
                (start + n * outer, type_, line, next_) for start, outer, line, next_ in operands
            )
            matrices = one, *y_, *x_, zero, *out_, shape[inner]
            how = compute, self.cublas.CUBLAS_GEMM_DEFAULT
            arguments = (self.handle, *flags[:2], *sizes, *matrices, *how)
            yield self.cublas.gemmStridedBatchedEx, arguments

    # The operations as launches.

    def gathering(
        self,
        out: Array,
        memory: Array,
        window: tuple[int, int, int, int],
        order: Array,
        versions: tuple[Array, Array] | None,
        counter: Array,
        batch_size: int,
        scale: Any,
    ) -> Launch:
        """out[r] ← scale·rows of batch `counter` in order[r mod S]; see `tables.Table`."""
        (R, B, K), (step, _, length, stride) = out.shape, window
        arguments = (
            *(out, memory, K, step, length, stride, order, *order.shape),
            *(versions or (0, 0)),  # null pointers
            *(counter, batch_size, B, float(scale)),
        )
        return self.on_columns("gather", R * B, K, arguments, out.dtype, memory.dtype)

    def forward(self, h: Array, x: Array, W: Array, b: Array, relu: bool) -> Iterator[Launch]:
        """h ← max(x W + b, 0), or without `relu` h ← x W + b."""
        A, S, B, O = h.shape
        yield from self.product(h, x, W)
        arguments = h, b, network_stride(b), B, O, int(relu)
        yield self.on_columns("add_bias", A * S * B, O, arguments, h.dtype)

    def backward(
        self,
        dx: Array | None,
        dW: Array,
        db: Array,
        dh: Array,
        x: Array,
        h: Array,
        W: Array,
        relu: bool,
        factor: float = 1.0,
    ) -> Iterator[Launch]:
        """dz ← factor·dh where h > 0, db ← Σ_B dz, dW ← xᵀ dz, dx ← dz Wᵀ."""
        A, S, B, O = h.shape
        threads = 32  # so that few columns are spread over many processors
        grid = A * S, math.ceil(O / threads)
        arguments = dh, db, h, network_stride(db), B, O, int(relu), factor
        yield self.launch("mask_and_sum", grid, threads, arguments, h.dtype)
        yield from self.product(dW, x.mT, dh)
        if dx is not None:
            yield from self.product(dx, dh, W.mT)

    def loss(
        self, name: str, totals: Array, dz: Array, z: Array, t: Array, *parameters: Array
    ) -> Launch:
        """Set dz, and add each row's loss to `totals`.

        Args:
            name: in `LOSSES`.
            parameters: the numbers of the loss that its kernel takes.
        """
        R, B, C = z.shape
        threads = 32
        grid, (kernel, _) = (math.ceil(R * B / threads), 1), LOSSES[name]
        arguments = totals, dz, z, t, *parameters, totals.shape[1], R * B, B, C
        return self.launch(kernel, grid, threads, arguments, z.dtype)

    def whole_loss(
        self, name: str, value: Array, dz: Array, z: Array, t: Array, *parameters: Array
    ) -> None:
        """Set dz, and the mean of the loss over the rows."""
        z, t, totals = *map(self.xp.ascontiguousarray, (z, t)), self.xp.zeros(z.shape[:2])
        run([self.loss(name, totals, dz, z, t, *parameters)])
        value[...] = totals.mean(axis=-1)

    def limit(self, W: Array, largest: float) -> Launch:
        """Each column w of W (A, S, I, O) ← w·largest/‖w‖ where ‖w‖ > largest."""
        A, S, I, O = W.shape
        threads = 32
        arguments = W, network_stride(W), I, O, float(largest)
        return self.launch(
            "limit_norms", (A * S, math.ceil(O / threads)), threads, arguments, W.dtype
        )

    def drop(
        self, h: Array, streams: Array, drawn: int, counter: Array, batch_size: int, rate: float
    ) -> Launch:
        """Dropout of h (…, B, I), one network after the other; see the kernel `drop`."""
        *networks, B, I = h.shape
        factor, threads = float(h.dtype.type(1 / (1 - rate))), 64
        arguments = h, streams, drawn, counter, batch_size, B * I, I, float(rate), factor
        grid = math.prod(networks), math.ceil(B * I / (32 * threads))
        return self.launch("drop", grid, threads, arguments, h.dtype)

    def update(
        self,
        w: Array,
        m: Array,
        v: Array,
        g: Array,
        beta1: float,
        beta2: float,
        rates: Array,
        epsilons: Array,
        counter: Array,
    ) -> Launch:
        """Adam's update of (R, P) numbers with rates[counter] (R,) and epsilons[counter]."""
        R, P = w.shape
        arguments = (w, m, v, g, float(beta1), float(beta2), rates, epsilons, counter, R, P)
        return self.launch("adam", (math.ceil(P / 256), R), 256, arguments, w.dtype)

    # The named operations. What a caller may pass in any layout is copied if it is not contiguous;
    # the engine's arrays are.

    def gather(self, out: Array, table: Array, rows: Array, scale: Any, work: Array) -> None:
        """out ← scale·table[rows], for a table (N, K) and row numbers (B,), not checked."""
        K, batch = table.shape[1], (self.first_step, len(rows), scale)
        window = K, 1, K, 0
        run([self.gathering(out[None], table, window, rows[None], None, *batch)])

    def dense_forward(self, h: Array, x: Array, W: Array, b: Array, relu: bool) -> None:
        """h ← max(x W + b, 0), or without `relu` h ← x W + b."""
        run(self.forward(h, self.xp.ascontiguousarray(x), W, b, relu))

    def dense_backward(
        self,
        dx: Array | None,
        dW: Array,
        db: Array,
        dh: Array,
        x: Array,
        h: Array,
        W: Array,
        relu: bool,
        work: tuple[Array, Array],
    ) -> None:
        """dz ← dh where h > 0, db ← Σ_B dz, dW ← xᵀ dz, dx ← dz Wᵀ."""
        run(self.backward(dx, dW, db, dh, self.xp.ascontiguousarray(x), h, W, relu))

    def distillation_loss(
        self,
        value: Array,
        dz: Array,
        z: Array,
        t: Array,
        alpha: Array,
        T: Array,
        work: tuple[Array, Array, Array, Array],
    ) -> None:
        """value ← mean_B [(1−α)·lse(z) + α·T²·lse(z/T) − ⟨t, z⟩], dz ← its gradient."""
        self.whole_loss("distillation_loss", value, dz, z, t, alpha, T)

    def squared_error_loss(self, value: Array, ds: Array, s: Array, t: Array) -> None:
        """value ← Σ (s − t)² / (B·O) and ds ← 2(s − t)/(B·O)."""
        self.whole_loss("squared_error_loss", value, ds, s, t)

    def weighted_squared_error_loss(
        self,
        value: Array,
        ds: Array,
        s: Array,
        t: Array,
        alpha: Array,
        work: tuple[Array, Array, Array],
    ) -> None:
        """value ← Σ w·‖s − t‖² / (B·O) and ds ← 2·w·(s − t)/(B·O)."""
        self.whole_loss("weighted_squared_error_loss", value, ds, s, t, alpha)

    def limit_norms(self, W: Array, largest: float, work: Array) -> None:
        """Each column w of W ← w·largest/‖w‖ where ‖w‖ > largest."""
        run([self.limit(W, largest)])

    def adam_update(
        self,
        w: Array,
        m: Array,
        v: Array,
        g: Array,
        beta1: float,
        beta2: float,
        rate: Array,
        epsilon: float,
        work: Array,
    ) -> None:
        """m ← β₁·m + g, v ← β₂·v + g², w ← w − rate·m/(√v + ε)."""
        epsilons = self.xp.full(1, epsilon, np.float64)
        run([self.update(w, m, v, g, beta1, beta2, rate, epsilons, self.first_step)])


def words_of(streams: Sequence[np.random.Generator]) -> np.ndarray:
    """The states and increments of PCG64 generators, (R, 4) words of 64 bits, on the host."""
    numbers = [stream.bit_generator.state["state"] for stream in streams]
    words = [
        (each >> shift) & (2**64 - 1)
        for number in numbers
        for each in (number["state"], number["inc"])
        for shift in (64, 0)
    ]
    return np.array(words, np.uint64).reshape(-1, 4)


class Step:
    """`training.Step` without `on_gradients`: CPU and GPU exchange no data during an epoch.

    Row numbers and Adam's rates of all steps are on the device before the epoch starts, and a
    number there counts the steps, so each step is the same list of launches. The rows' losses
    are summed there in float64, and read once. (`flush_small` is not needed here: a GPU handles
    subnormal numbers like all others.)
    """

    def __init__(
        self,
        operations: Operations,
        network: Any,
        loss: Any,
        optimizer: Any,
        inputs: Any,
        targets: Any,
    ) -> None:
        self.operations, self.xp, self.network = operations, operations.xp, network
        self.loss, self.optimizer, self.inputs, self.targets = loss, optimizer, inputs, targets
        self.counter = self.xp.zeros(1, np.int64)
        self.x: Array = None
        self.drawn = 0  # rows of each stream of dropout in the epochs before
        self.streams: list[Array] = []

    def epoch(
        self, order: Array, batch_size: int, rates: Iterator[Any], track: Callable = iter
    ) -> Array:
        """Train on all rows (S, N) in this order; return the sums of the loss over them, (R,)."""
        N = order.shape[1]
        self.set_rates(rates, math.ceil(N / batch_size))
        plans = self.plans(order, batch_size)
        for start in track(range(0, N, batch_size)):
            run(plans[min(batch_size, N - start)])
        self.drawn += N
        return self.totals.sum(axis=-1)

    def skip(self, rows: int) -> None:
        """Go on as if so many rows had been trained on: see `training.Step.skip`."""
        self.drawn += rows

    def prepare(self, batch_size: int) -> None:
        """Compile the kernels of a step, if this has not been done: plan a step, and leave it."""
        self.set_rates(iter(()), 0)
        rows = self.network.layers[0].axes[1], min(batch_size, len(self.inputs))
        self.plans(self.xp.zeros(rows, np.intp), batch_size)

    def set_rates(self, rates: Iterator[Any], steps: int) -> None:
        """Bring the rates of an epoch's steps to the device."""
        adam, R = self.optimizer, self.network.replicas
        scaled, epsilons = np.empty((steps, R), self.network.dtype), np.empty(steps)
        for n in range(steps):
            scaled[n] = np.ravel(self.network.backend.to_numpy(next(rates))) * adam.count()
            epsilons[n] = adam.scaled_epsilon
        self.rates, self.epsilons = self.xp.asarray(scaled), self.xp.asarray(epsilons)

    def plans(self, order: Array, batch_size: int) -> dict[int, list[Launch]]:
        """Set what else the steps of an epoch read; return a step's launches, by number of rows."""
        if self.network.dropouts[0] is not None:  # the same rows, but masks of their own
            order = self.xp.broadcast_to(order, (self.network.layers[0].axes[1], order.shape[1]))
        R, (S, N) = self.network.replicas, order.shape
        self.order = self.xp.ascontiguousarray(order)
        moved = self.inputs.views > 1
        self.input_order = self.inputs.index_of(self.order) if moved else self.order
        self.totals = self.xp.zeros((R, batch_size), np.float64)
        self.counter[:] = 0
        if not self.streams:
            self.streams = [
                None if each is None else self.xp.asarray(words_of(each.streams))
                for each in self.network.dropouts
            ]
        if self.x is None or self.x.shape[:2] != (S, batch_size):
            self.x, self.t = (
                self.xp.empty((count, batch_size, table.columns), self.network.dtype)
                for count, table in ((S, self.inputs), (R, self.targets))
            )
        sizes = batch_size if batch_size <= N else 0, N % batch_size
        return {B: list(self.plan(B, batch_size)) for B in sizes if B}

    def plan(self, B: int, batch_size: int) -> Iterator[Launch]:
        """The launches of one step on B rows, in the order of `training.Step`."""
        operations, network, adam, loss = self.operations, self.network, self.optimizer, self.loss
        network.resize(B)
        loss.resize(B, network.sizes[-1])
        x, t = (
            memory.reshape(-1)[: len(memory) * B * memory.shape[2]].reshape(-1, B, memory.shape[2])
            for memory in (self.x, self.t)
        )
        which = self.counter, batch_size
        inputs, targets = self.inputs, self.targets
        rows = inputs.memory, inputs.window, self.input_order
        yield operations.gathering(x, *rows, None, *which, inputs.scale)
        values = [x]
        for layer, dropout, streams in zip(
            network.layers, network.dropouts, self.streams, strict=True
        ):
            h = values[-1]
            if dropout is not None:
                drawn = self.drawn * h.shape[-1]
                yield operations.drop(h, streams, drawn, *which, dropout.rate)
            yield from operations.forward(layer.h, h, layer.W, layer.b, layer.relu)
            values.append(layer.output)
        rows, versions = (targets.memory, targets.window, self.order), targets.versions
        yield operations.gathering(t, *rows, versions, *which, targets.scale)
        dz = loss.dz
        parameters = [getattr(loss, name) for name in LOSSES[loss.compiled][1]]
        yield operations.loss(loss.compiled, self.totals, dz, values[-1], t, *parameters)
        # Dropout of a layer's outputs is that of the next one's inputs.
        above = [None, *reversed(network.dropouts[1:])]
        for layer, below, dropout in zip(
            reversed(network.layers), values[-2::-1], above, strict=True
        ):
            factor = 1.0 if dropout is None else float(dropout.scale)
            gradients = layer.dx, layer.dW, layer.db, dz.reshape(layer.h.shape)
            yield from operations.backward(*gradients, below, layer.h, layer.W, layer.relu, factor)
            dz = layer.dx
        rates = adam.beta1, adam.beta2, self.rates, self.epsilons, self.counter
        yield operations.update(adam.w, adam.m, adam.v, adam.g, *rates)
        if network.max_norm is not None:
            for layer in network.layers:
                yield operations.limit(layer.W, network.max_norm.largest)
        yield operations.launch("count", (1, 1), 1, (self.counter,), network.dtype)
