"""Rows of data on the device: gathering batches, shifting images, batch orders."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nkd.backend import NUMPY, Array, Backend
from nkd.errors import UserError
from nkd.random_streams import Purpose, random_stream


class Table:
    """Rows of data on the device, gathered batch by batch into a buffer.

    Args:
        values: (N, K) as stored (bytes stay bytes), or (A, N, K): A versions of each row.
        versions: with A versions, which one each network takes, (R,) integers.
        scale: the factor on each stored number, such as 1/255 for pixels.
        dtype: of the gathered rows.
    """

    compiled = "gather"

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
        self.orders = 0
        self.batch: Array

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, rows: slice) -> Array:
        """Consecutive rows (B, K) of the first version, scaled, in a new array."""
        return self.flat[: self.length][rows] * self.scale

    def index_of(self, rows: Array) -> Array:
        """The indices of the rows (S, B) in `flat`.

        Without versions they are the rows themselves, with versions each network's own, (R, B).
        """
        if rows.shape != self.shape:
            self.resize(*rows.shape)
        if self.first_rows is None:
            self.backend.xp.copyto(self.split_index, rows)
        else:
            self.backend.xp.add(rows, self.first_rows_of_orders, out=self.split_index)
        return self.index

    def gather(self, rows: Array) -> Array:
        """The rows (S, B) of the table, in a buffer that the next call overwrites.

        Without versions the result is (S, B, K). With versions it is (R, B, K), where network r
        takes rows[r mod S].
        """
        index = self.index_of(rows)
        shape = *index.shape, self.columns
        if self.batch.shape != shape:
            self.batch, stored = (buffer.rows(shape[1]) for buffer in self.buffers)
            same = self.flat.dtype == self.dtype
            self.gathered, stored = (
                each.reshape(-1, self.columns) for each in (self.batch, stored)
            )
            self.stored = self.gathered if same else stored
        self.backend.gather(self.gathered, self.flat, index.reshape(-1), self.scale, self.stored)
        return self.batch

    def resize(self, orders: int, batch: int) -> None:
        """Fit the buffers of `index_of` to S orders and batches of B rows."""
        if self.orders != orders:
            replicas = orders if self.first_rows is None else len(self.first_rows)
            buffers = (
                (1, np.intp),
                (self.columns, self.dtype),
                (self.columns, self.flat.dtype),
            )
            self.index_buffer, *self.buffers = (
                self.backend.buffer((replicas,), *each) for each in buffers
            )
            self.orders, self.batch = orders, self.index_buffer.rows(0)  # no batch yet
            if self.first_rows is not None:
                self.first_rows_of_orders = self.first_rows.reshape(-1, orders, 1)
        self.shape = orders, batch
        self.index = self.index_buffer.rows(batch)[..., 0]
        self.split_index = self.index.reshape(-1, orders, batch)


class ShiftedImages(Table):
    """A table of images that are shifted each time they are gathered: jitter.

    Each image moves up or down by 0 to `pixels` pixels and left or right by 0 to `pixels`, all
    (2·pixels + 1)² shifts being equally likely; pixels that move in from outside are 0.

    Args:
        values: images as rows (N, height·width).
        shape: height and width of an image.
        seeds: of the shifts, one for each order, (S,).
        pixels: the largest shift, at least 1.
    """

    def __init__(
        self,
        values: Array,
        shape: tuple[int, int],
        seeds: Sequence[int],
        pixels: int,
        *,
        scale: float = 1.0,
        dtype: Any = np.float32,
        backend: Backend = NUMPY,
    ) -> None:
        super().__init__(values, scale=scale, dtype=dtype, backend=backend)
        xp, (height, width) = backend.xp, shape
        self.pixels, self.width = pixels, width + 2 * pixels
        self.size = (height + 2 * pixels) * self.width
        padded = xp.zeros((len(self), height + 2 * pixels, self.width), self.flat.dtype)
        padded[:, pixels:-pixels, pixels:-pixels] = self.flat.reshape(-1, height, width)
        self.padded = padded.reshape(-1)
        self.window = (xp.arange(height)[:, None] * self.width + xp.arange(width)).reshape(-1)
        self.streams = [random_stream(seed, Purpose.JITTER) for seed in seeds]

    def gather(self, rows: Array) -> Array:
        """The rows (S, B) of the table, each shifted anew, in a new array (S, B, K)."""
        p, B = self.pixels, rows.shape[1]
        shifts = np.stack([stream.integers(-p, p + 1, (B, 2)) for stream in self.streams])
        # An image moved down and right is a window of the padded one that lies up and left.
        corner = (p - shifts) @ (self.width, 1)
        start = rows * self.size + self.backend.asarray(corner)
        return self.padded[start[..., None] + self.window] * self.scale


def batch_orders(seeds: Sequence[int], rows: int, epochs: int) -> Iterator[np.ndarray]:
    """The order in which each seed visits the training rows, epoch by epoch.

    Yields:
        For each epoch an intp array (S, N); row s is a permutation of range(rows) that depends
        only on seed s and the epoch.
    """
    streams = [random_stream(seed, Purpose.BATCH_ORDER) for seed in seeds]
    for _ in range(epochs):
        yield np.stack([stream.permutation(rows) for stream in streams], dtype=np.intp)


def checked_order(order: np.ndarray, rows: int) -> np.ndarray:
    """A given order (N,) as (1, N).

    Raises:
        UserError: it does not visit each row exactly once.
    """
    order = np.atleast_2d(np.asarray(order, np.intp))
    if order.shape[1] != rows or (np.sort(order) != np.arange(rows)).any():
        raise UserError(f"an order of orders=… must visit each of the {rows:,} rows once")
    return order
