"""The layers: `forward` and `backward`, a few lines each.

Arrays have the shape (R, B, I): R replicas, B rows of a batch, I inputs. `dz` means ∂L/∂z. All
mathematics is on the last two axes, so one network reads the same as many. Results are in
buffers that the layer owns and the next call overwrites; `resize` fits them to a different
number of rows. Derivations: docs/mathematics.md.

The functions are named operations. They compute in place; their arguments are outputs, inputs,
options and scratch buffers (`work`), in this order. A backend may have faster forms of them (see
`Backend.operation`), which are tested to equal the functions here.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from nkd.backend import Array, Backend, Buffer


def dense_forward(xp: ModuleType, h: Array, x: Array, W: Array, b: Array, relu: bool) -> None:
    """A layer's output h, from its input x. In textbook form:

        z = x @ W + b
        h = maximum(z, 0) if relu else z

    x is (…, B, I), W (…, I, O), b (…, 1, O) and h (…, B, O).
    """
    xp.matmul(x, W, out=h)
    xp.add(h, b, out=h)
    if relu:
        xp.maximum(h, 0, out=h)


def dense_backward(
    xp: ModuleType,
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
    """The gradients dx, dW and db, from dh, the gradient of the output. In textbook form:

        dz = where(h > 0, dh, 0) if relu else dh
        dW, db = x.mT @ dz, dz.sum(-2, keepdims=True)
        dx = dz @ W.mT

    Shapes are as in `dense_forward`. dz overwrites dh, and dx is skipped if it is None. `work` is
    a buffer (…, B, O) of booleans for the mask, and a row (1, B) of ones: computed as a product
    with it, the sum takes half the time.
    """
    dz, (positive, ones) = dh, work
    if relu:
        xp.greater(h, 0, out=positive)
        xp.multiply(dh, positive, out=dz)
    xp.matmul(ones, dz, out=db)
    xp.matmul(x.mT, dz, out=dW)
    if dx is not None:
        xp.matmul(dz, W.mT, out=dx)


def limit_norms(xp: ModuleType, W: Array, largest: float, work: Array) -> None:
    """Rescale each column w of W, the weights into one unit, to w·largest/‖w‖ if ‖w‖ > largest.

    This is the projection onto the nearest W with all ‖w‖ ≤ largest. W is (…, I, O); `work` is a
    buffer (…, 1, O).
    """
    scale = work
    scale[...] = xp.einsum("...io,...io->...o", W, W)[..., None, :]
    xp.sqrt(scale, out=scale)
    xp.maximum(scale, largest, out=scale)
    xp.divide(largest, scale, out=scale)  # exactly 1 where W stays as it is
    xp.multiply(W, scale, out=W)


class Dense:
    """z = x W + b, and h = max(z, 0) if the layer has a ReLU, whose derivative at 0 is 0.

    Args:
        W, b: the parameters, (R, I, O) and (R, 1, O): views into the network's flat array.
        dW, db: their gradients, likewise.
        relu: whether the layer ends with a ReLU; if not, its output is z.
        input_gradient: False for a first layer, whose input gradient is not needed.
        sharing: A > 1 if each input is shared by A networks: inputs are (S, B, I) with
            S = R/A, and network r reads x[r mod S], without a copy. They get no gradient.
    """

    compiled = "dense"

    def __init__(
        self,
        W: Array,
        b: Array,
        dW: Array,
        db: Array,
        *,
        backend: Backend,
        relu: bool = False,
        input_gradient: bool = True,
        sharing: int = 1,
    ) -> None:
        self.xp, self.dtype, self.relu = backend.xp, W.dtype, relu
        self.form_forward = backend.operation(dense_forward)
        self.form_backward = backend.operation(dense_backward)
        replicas, inputs, outputs = W.shape
        # On the axes (A, S) instead of R, parameters broadcast against inputs (S, B, I).
        self.axes = sharing, replicas // sharing
        self.W, self.b, self.dW, self.db = (
            array.reshape(*self.axes, *array.shape[1:]) for array in (W, b, dW, db)
        )
        self.h_buffer = backend.buffer(self.axes, outputs, W.dtype)
        self.positive_buffer = backend.buffer(self.axes, outputs, bool)
        self.all_ones = self.xp.ones((1, 0), self.dtype)
        wanted = input_gradient and sharing == 1
        self.dx_buffer = backend.buffer(self.axes, inputs, W.dtype) if wanted else None

    def resize(self, batch: int) -> None:
        """Fit the buffers to that many rows."""
        self.h = self.h_buffer.rows(batch)
        self.output = self.h.reshape(-1, *self.h.shape[2:])
        if self.all_ones.shape[1] < batch:
            self.all_ones = self.xp.ones((1, batch), self.dtype)
        self.work = self.positive_buffer.rows(batch), self.all_ones[:, :batch]
        self.dx = self.dx_buffer.rows(batch) if self.dx_buffer else None
        self.input_gradient = None if self.dx is None else self.dx[0]

    def forward(self, x: Array) -> Array:
        """The output h (R, B, O) for x (R, B, I). Keeps x itself, not a copy, for `backward`."""
        self.x = x
        self.form_forward(self.h, x, self.W, self.b, self.relu)
        return self.output

    def backward(self, dh: Array) -> Array | None:
        """Set dW and db, overwrite dh with dz; return dx, or None in a first layer."""
        dh = dh.reshape(self.h.shape)
        gradients = self.dx, self.dW, self.db
        self.form_backward(*gradients, dh, self.x, self.h, self.W, self.relu, self.work)
        return self.input_gradient


class MaxNorm:
    """Bounds the norm of each unit's incoming weights, after each update.

    Max-norm: Srebro and Shraibman 2005; as a step after the update: Hinton et al. 2012
    (arXiv:1207.0580).

    Args:
        layers: those whose W is bounded.
        largest: the bound, see `limit_norms`.
    """

    compiled = "limit_norms"

    def __init__(self, layers: Sequence[Dense], largest: float, *, backend: Backend) -> None:
        self.largest, self.form = largest, backend.operation(limit_norms)
        self.bounded = [
            (layer.W, backend.xp.empty((*layer.axes, 1, layer.W.shape[-1]), layer.dtype))
            for layer in layers
        ]

    def __call__(self) -> None:
        """Rescale the incoming weights of each unit to the norm `largest` if theirs is larger."""
        for W, work in self.bounded:
            self.form(W, self.largest, work)


class Dropout:
    """Inverted dropout: h = x·mask; each mask entry is 0 with probability p, else 1/(1−p).

    So the mean of h over masks is x, and prediction needs no correction: it passes x through. The
    derivative is dx = dh·mask (Hinton et al. 2012, arXiv:1207.0580; Srivastava et al. 2014).

    Masks are drawn from one stream per replica, so a seed gives the same masks on every backend,
    wherever it stands among the replicas: here on the host, in the CUDA form on the device.

    Args:
        rate: p in [0, 1).
        replicas, columns: R and I of the inputs (R, B, I).
    """

    compiled = "dropout"

    def __init__(
        self, rate: float, replicas: int, columns: int, *, dtype: Any, backend: Backend
    ) -> None:
        self.rate, self.replicas, self.columns = rate, replicas, columns
        self.backend, self.xp = backend, backend.xp
        self.scale = np.dtype(dtype).type(1 / (1 - rate))
        self.streams: Sequence[np.random.Generator] = ()
        self.host_buffer = Buffer(np, (replicas,), columns, np.float32)
        self.buffers = [backend.buffer((replicas,), columns, dtype) for _ in range(2)]
        self.mask: Array | None = None

    def resize(self, batch: int) -> None:
        """Fit the buffers to that many rows."""
        self.uniform = self.host_buffer.rows(batch)
        self.mask_buffer, self.h = (buffer.rows(batch) for buffer in self.buffers)

    def skip(self, rows: int) -> None:
        """Move the streams to where they are after masks for so many rows."""
        numbers = rows * self.columns
        for stream in self.streams:  # one step of the generator gives two float32 numbers
            stream.bit_generator.advance(numbers // 2)  # type: ignore[attr-defined]
            stream.random(numbers % 2, dtype=np.float32)

    def forward(self, x: Array, training: bool) -> Array:
        """h (R, B, I) with a new mask from `streams`, or x itself if not `training`."""
        self.mask = None
        if not training:
            return x
        for stream, uniform in zip(self.streams, self.uniform, strict=True):
            stream.random(out=uniform, dtype=np.float32)
        kept = self.backend.asarray(self.uniform >= self.rate)
        self.mask = self.xp.multiply(kept, self.scale, out=self.mask_buffer)
        return self.xp.multiply(x, self.mask, out=self.h)

    def backward(self, dh: Array) -> Array:
        """dx = dh·mask, written over dh, with the mask from the last `forward`."""
        if self.mask is not None:
            self.xp.multiply(dh, self.mask, out=dh)
        return dh
