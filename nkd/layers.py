"""The layers: `forward` and `backward`, a few lines each.

Arrays have the shape (…, B, I): any leading replica axes, B rows of a batch, I inputs. `dz`
means ∂L/∂z. All mathematics is on the last two axes, so with or without replicas it reads the
same. Results stand in buffers that the layer owns and the next call uses again; `resize` brings
them to another number of rows. Derivations: docs/mathematics.md.
"""

from nkd.backend import Array, Backend


class Dense:
    """z = x W + b.

    Args:
        W, b: the parameters, (…, I, O) and (…, 1, O): views into the network's flat array.
        dW, db: their gradients, likewise.
        input_gradient: False in a first layer, whose input has no use for a gradient.
    """

    def __init__(
        self,
        W: Array,
        b: Array,
        dW: Array,
        db: Array,
        input_gradient: bool,
        backend: Backend,
    ) -> None:
        self.W, self.b, self.dW, self.db = W, b, dW, db
        self.input_gradient, self.xp = input_gradient, backend.xp
        *replicas, inputs, outputs = W.shape
        self.z_buffer = backend.buffer(replicas, outputs, W.dtype)
        self.dx_buffer = backend.buffer(replicas, inputs, W.dtype)

    def resize(self, batch: int) -> None:
        """Bring the buffers to that many rows."""
        self.z = self.z_buffer.rows(batch)
        self.dx = self.dx_buffer.rows(batch) if self.input_gradient else None

    def forward(self, x: Array) -> Array:
        """z (…, B, O) of x (…, B, I). Keeps x, not a copy, for `backward`."""
        self.x = x
        self.xp.matmul(x, self.W, out=self.z)
        self.xp.add(self.z, self.b, out=self.z)
        return self.z

    def backward(self, dz: Array) -> Array | None:
        """dW = xᵀ dz, db = Σ_B dz; returns dx = dz Wᵀ, or None in a first layer."""
        self.xp.matmul(self.x.mT, dz, out=self.dW)
        dz.sum(axis=-2, keepdims=True, out=self.db)
        if self.dx is not None:
            self.xp.matmul(dz, self.W.mT, out=self.dx)
        return self.dx


class ReLU:
    """h = max(z, 0), in the place of z. The derivative at 0 is 0."""

    def __init__(self, replicas: tuple[int, ...], columns: int, backend: Backend) -> None:
        self.xp = backend.xp
        self.positive_buffer = backend.buffer(replicas, columns, bool)

    def resize(self, batch: int) -> None:
        """Bring the buffer to that many rows."""
        self.positive = self.positive_buffer.rows(batch)

    def forward(self, z: Array) -> Array:
        """h, written over z."""
        self.h = self.xp.maximum(z, 0, out=z)
        return self.h

    def backward(self, dh: Array) -> Array:
        """dz = dh where h > 0, else 0; written over dh."""
        self.xp.greater(self.h, 0, out=self.positive)
        return self.xp.multiply(dh, self.positive, out=dh)
