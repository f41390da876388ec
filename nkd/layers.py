"""The layers: `forward` and `backward`, a few lines each.

Arrays have the shape (R, B, I): R replicas, B rows of a batch, I inputs. `dz` means ∂L/∂z. All
mathematics is on the last two axes, so one network reads the same as many. Results stand in
buffers that the layer owns and the next call uses again; `resize` brings them to another number
of rows. Derivations: docs/mathematics.md.

The functions are named operations: they compute in place, and a backend may have a faster form
of them (see `Backend.operation`).
"""

from types import ModuleType

from nkd.backend import Array, Backend


def add_bias(xp: ModuleType, z: Array, b: Array) -> None:
    """z ← z + b, for z (R, B, O) and b (R, 1, O)."""
    xp.add(z, b, out=z)


def sum_rows(xp: ModuleType, dz: Array, db: Array) -> None:
    """db ← Σ_B dz, for dz (R, B, O) and db (R, 1, O)."""
    dz.sum(axis=-2, keepdims=True, out=db)


def relu(xp: ModuleType, z: Array) -> None:
    """z ← max(z, 0)."""
    xp.maximum(z, 0, out=z)


def relu_gradient(xp: ModuleType, dh: Array, h: Array, positive: Array) -> None:
    """dh ← dh where h > 0, else 0. `positive` is room for the mask."""
    xp.greater(h, 0, out=positive)
    xp.multiply(dh, positive, out=dh)


class Dense:
    """z = x W + b.

    Args:
        W, b: the parameters, (R, I, O) and (R, 1, O): views into the network's flat array.
        dW, db: their gradients, likewise.
        input_gradient: False in a first layer, whose input has no use for a gradient.
        sharing: A > 1 if inputs are shared by A networks each: they are (S, B, I) with
            S = R/A, and network r takes x[r mod S], without a copy. They get no gradient.
    """

    def __init__(
        self,
        W: Array,
        b: Array,
        dW: Array,
        db: Array,
        *,
        backend: Backend,
        input_gradient: bool = True,
        sharing: int = 1,
    ) -> None:
        self.b, self.db, self.xp = b, db, backend.xp
        self.add_bias, self.sum_rows = backend.operation(add_bias), backend.operation(sum_rows)
        replicas, inputs, outputs = W.shape
        axes = (replicas,) if sharing == 1 else (sharing, replicas // sharing)
        self.W, self.dW = (array.reshape(*axes, inputs, outputs) for array in (W, dW))
        self.z_buffer = backend.buffer((replicas,), outputs, W.dtype)
        wanted = input_gradient and sharing == 1
        self.dx_buffer = backend.buffer((replicas,), inputs, W.dtype) if wanted else None

    def resize(self, batch: int) -> None:
        """Bring the buffers to that many rows."""
        self.z = self.z_buffer.rows(batch)
        self.product = self.z
        if self.W.ndim > 3:  # the same memory on the axes of W
            self.product = self.z.reshape(*self.W.shape[:-2], *self.z.shape[-2:])
        self.dx = self.dx_buffer and self.dx_buffer.rows(batch)

    def forward(self, x: Array) -> Array:
        """The z (R, B, O) of x (R, B, I). Keeps x, not a copy, for `backward`."""
        self.x = x
        self.xp.matmul(x, self.W, out=self.product)
        self.add_bias(self.z, self.b)
        return self.z

    def backward(self, dz: Array) -> Array | None:
        """Set dW = xᵀ dz and db = Σ_B dz; return dx = dz Wᵀ, or None in a first layer."""
        self.sum_rows(dz, self.db)
        if self.product is not self.z:
            dz = dz.reshape(self.product.shape)
        self.xp.matmul(self.x.mT, dz, out=self.dW)
        if self.dx is not None:
            self.xp.matmul(dz, self.W.mT, out=self.dx)
        return self.dx


class ReLU:
    """h = max(z, 0), in the place of z. The derivative at 0 is 0."""

    def __init__(self, replicas: int, columns: int, *, backend: Backend) -> None:
        self.relu, self.gradient = backend.operation(relu), backend.operation(relu_gradient)
        self.positive_buffer = backend.buffer((replicas,), columns, bool)

    def resize(self, batch: int) -> None:
        """Bring the buffer to that many rows."""
        self.positive = self.positive_buffer.rows(batch)

    def forward(self, z: Array) -> Array:
        """The h of z, written over z."""
        self.relu(z)
        self.h = z
        return z

    def backward(self, dh: Array) -> Array:
        """Return dz = dh where h > 0, else 0, written over dh."""
        self.gradient(dh, self.h, self.positive)
        return dh
