"""The training loop: the only one. Everything that is trained here goes through `fit`."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from nkd.backend import NUMPY, Array, Backend
from nkd.errors import UserError
from nkd.losses import Distillation, RegressionDistillation
from nkd.network import MLP
from nkd.optimizers import Adam


class Table:
    """Rows of data on the device, gathered batch by batch into a ready buffer.

    Args:
        values: (N, K) as stored (bytes stay bytes), or (A, N, K): A versions of each row.
        versions: with A versions, which one each network takes, (R,) integers.
        scale: what a stored number is multiplied with, as 1/255 for pixels.
        dtype: of what is gathered.
    """

    def __init__(
        self,
        values: Array,
        versions: Array | None = None,
        *,
        scale: float = 1.0,
        dtype: Any = np.float32,
        backend: Backend = NUMPY,
    ) -> None:
        self.backend, self.dtype = backend, np.dtype(dtype)
        self.scale = self.dtype.type(scale)
        values = backend.asarray(values, values.dtype if values.dtype == np.uint8 else dtype)
        self.length, self.columns = values.shape[-2:]
        self.flat = values.reshape(-1, self.columns)
        self.first_rows = None
        if versions is not None:
            self.first_rows = backend.asarray(versions)[:, None] * self.length
        self.shape: tuple[int, ...] = ()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, rows: slice) -> Array:
        """Consecutive rows (B, K) of the first version, scaled, in a new array."""
        return self.flat[: self.length][rows] * self.scale

    def index_of(self, rows: Array) -> Array:
        """Where the rows (S, B) stand: themselves, or for each network its version's, (R, B)."""
        if rows.shape != self.shape:
            self.resize(*rows.shape)
        if self.first_rows is None:
            self.backend.xp.copyto(self.split_index, rows)
        else:
            self.backend.xp.add(rows, self.first_rows_of_orders, out=self.split_index)
        return self.index

    def gather(self, rows: Array) -> Array:
        """The rows (S, B) of the table, in a buffer that the next call uses again.

        Without versions the result is (S, B, K). With versions it is (R, B, K), where network r
        takes rows[r mod S].
        """
        self.index_of(rows)
        self.backend.gather(self.flat, self.flat_index, self.scale, self.stored, self.gathered)
        return self.batch

    def resize(self, orders: int, batch: int) -> None:
        """Bring the buffers to S orders and batches of B rows."""
        if not self.shape or self.shape[0] != orders:
            replicas = orders if self.first_rows is None else len(self.first_rows)
            self.buffers = [
                self.backend.buffer((replicas,), columns, dtype)
                for columns, dtype in (
                    (1, np.intp), (self.columns, self.flat.dtype), (self.columns, self.dtype)
                )
            ]  # fmt: skip
        self.shape = orders, batch
        index, stored, self.batch = (buffer.rows(batch) for buffer in self.buffers)
        self.index, self.flat_index = index[..., 0], index.reshape(-1)
        self.split_index = index.reshape(-1, orders, batch)
        self.gathered = self.batch.reshape(-1, self.columns)
        same = self.flat.dtype == self.dtype
        self.stored = self.gathered if same else stored.reshape(-1, self.columns)
        if self.first_rows is not None:
            self.first_rows_of_orders = self.first_rows.reshape(-1, orders, 1)


def learning_rates(schedule: str, learning_rate: Any, steps: int) -> list[Any]:
    """The learning rate of each step: "constant", or "cosine" from the full rate down towards 0.

    Cosine is η·½(1 + cos(π·k/steps)) in step k = 0, 1, … (Loshchilov and Hutter 2017,
    arXiv:1608.03983, equation 5, without restarts).
    """
    if schedule == "constant":
        return [learning_rate] * steps
    if schedule != "cosine":
        raise UserError(f"there is no schedule {schedule!r}: take 'constant' or 'cosine'")
    return [learning_rate * (0.5 + 0.5 * math.cos(math.pi * k / steps)) for k in range(steps)]


class Step:
    """One training step.

    Args:
        network, loss, optimizer: what is trained, on what, and by what.
        inputs, targets: the rows; a batch of both is gathered with the same row numbers.
    """

    def __init__(
        self,
        network: MLP,
        loss: Distillation | RegressionDistillation,
        optimizer: Adam,
        inputs: Table,
        targets: Table,
    ) -> None:
        self.network, self.loss, self.optimizer = network, loss, optimizer
        self.inputs, self.targets = inputs, targets

    def __call__(self, rows: Array, rate: Any) -> Array:
        """Train on the rows (S, B) at this learning rate; the values of the loss, (R,)."""
        z = self.network.forward(self.inputs.gather(rows))
        value, dz = self.loss(z, self.targets.gather(rows))
        self.network.backward(dz)
        self.optimizer.step(rate)
        return value


def fit(
    step: Callable[[Array, Any], Array],
    orders: Iterable[Array],
    batch_size: int,
    rates: Iterable[Any],
    *,
    track: Callable[[Iterable], Iterable] = iter,
    backend: Backend = NUMPY,
) -> Iterator[Array]:
    """Train; after each epoch, yield the mean of the loss over its rows, one per replica.

    Args:
        step: a `Step`, or a backend's own form of it.
        orders: for each epoch the row numbers in the order of training, (S, N), S orders of
            which network r follows r mod S.
        batch_size: rows per step; the last batch of an epoch has what is left.
        rates: the learning rate of each step.
        track: wraps each epoch's batches, to show progress.
        backend: where the row numbers go.
    """
    rates = iter(rates)
    for order in map(backend.asarray, orders):
        total, rows = 0.0, order.shape[1]
        for start in track(range(0, rows, batch_size)):
            batch = order[:, start : start + batch_size]
            total += step(batch, next(rates)) * batch.shape[1]
        yield total / rows
