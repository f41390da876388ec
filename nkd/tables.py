"""Rows of data on the device: batches, views of images, orders.

A row may have several views: an image that is moved by up to p pixels has (2p + 1)². What a network
sees in a step has one number, the view's: view v of row i of N is number v·N + i. A row that is not
moved has one view, and its own number.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from nkd.backend import NUMPY, Array, Backend
from nkd.errors import UserError
from nkd.random_streams import Purpose, random_stream


class Window(NamedTuple):
    """Where a row lies in a table's memory: `lines` lines of `length` numbers, `stride` apart.

    The first line starts at `step` times the row's index.
    """

    step: int
    lines: int
    length: int
    stride: int


class Table:
    """Rows of data on the device, gathered batch by batch into a buffer.

    Args:
        values: (N, K) as stored (bytes stay bytes).
        versions: if `values` holds several versions of the rows, one below the other: for each
            network where its own starts and how many rows that has, (R, 2) integers. It has one
            for each row, or for each view of each row.
        scale: the factor on each stored number, such as 1/255 for pixels.
        dtype: of the gathered rows.
    """

    compiled = "gather"
    views = 1
    """How many views each row has."""

    def __init__(
        self,
        values: Array,
        versions: np.ndarray | None = None,
        *,
        scale: float = 1.0,
        dtype: Any = np.float32,
        backend: Backend = NUMPY,
    ) -> None:
        self.backend, self.dtype = backend, np.dtype(dtype)
        self.scale = self.dtype.type(scale)
        self.flat = backend.asarray(values, values.dtype if values.dtype == np.uint8 else dtype)
        self.length, self.columns = self.flat.shape
        self.memory, self.window = self.flat.reshape(-1), Window(self.columns, 1, self.columns, 0)
        self.versions = None  # where each network's starts, and how many rows it has: (R,) each
        if versions is not None:
            self.versions = tuple(
                backend.asarray(np.ascontiguousarray(each)) for each in versions.T
            )
        self.shape: tuple[int, ...] = ()
        self.orders = 0
        self.batch: Array

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, rows: slice) -> Array:
        """Consecutive rows (B, K), as they are, scaled, in a new array."""
        return self.flat[rows] * self.scale

    def index_of(self, rows: Array) -> Array:
        """The indices of the views (S, B) in the memory, in steps of the window.

        Without versions they are their numbers, with versions each network's own, (R, B).
        """
        if rows.shape != self.shape:
            self.resize(*rows.shape)
        if self.versions is None:
            self.backend.xp.copyto(self.split_index, rows)
        else:
            first, length = self.versions_of_orders
            self.backend.xp.remainder(rows, length, out=self.split_index)
            self.backend.xp.add(self.split_index, first, out=self.split_index)
        return self.index

    def gather(self, rows: Array) -> Array:
        """The views (S, B) of the rows, in a buffer that the next call overwrites.

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
            replicas = orders if self.versions is None else len(self.versions[0])
            buffers = (
                (1, np.intp),
                (self.columns, self.dtype),
                (self.columns, self.flat.dtype),
            )
            self.index_buffer, *self.buffers = (
                self.backend.buffer((replicas,), *each) for each in buffers
            )
            self.orders, self.batch = orders, self.index_buffer.rows(0)  # no batch yet
            if self.versions is not None:
                self.versions_of_orders = [each.reshape(-1, orders, 1) for each in self.versions]
        self.shape = orders, batch
        self.index = self.index_buffer.rows(batch)[..., 0]
        self.split_index = self.index.reshape(len(self.index) // orders, orders, batch)


class MovedImages(Table):
    """A table of images with a view for each way to move them by some pixels.

    Up or down by 0 to p pixels, and left or right: (2p + 1)² views; pixels that move in from
    outside are 0. Each view is a window of the image with a border of p zeros, so none is stored.

    Args:
        values: images as rows (N, height·width).
        shape: height and width of an image.
        pixels: p, at least 1.
    """

    compiled = "gather"

    def __init__(
        self,
        values: Array,
        shape: tuple[int, int],
        pixels: int,
        *,
        scale: float = 1.0,
        dtype: Any = np.float32,
        backend: Backend = NUMPY,
    ) -> None:
        super().__init__(values, scale=scale, dtype=dtype, backend=backend)
        xp, p, (height, width) = backend.xp, pixels, shape
        self.views, stride = (2 * p + 1) ** 2, width + 2 * p
        bordered = xp.zeros((len(self), height + 2 * p, stride), self.flat.dtype)
        self.inner = bordered[:, p:-p, p:-p]
        self.inner[...] = self.flat.reshape(-1, height, width)
        self.flat, self.memory = None, bordered.reshape(-1)
        self.window = Window(1, height, width, stride)
        self.size = (height + 2 * p) * stride
        # An image that moved down and right is a window that lies up and left.
        down, right = np.divmod(np.arange(self.views)[::-1], 2 * p + 1)
        self.corners = backend.asarray(down * stride + right)
        item = self.memory.itemsize
        windows = self.memory.size - (height - 1) * stride - width + 1, height, width
        self.windows = xp.lib.stride_tricks.as_strided(
            self.memory, windows, (item, stride * item, item)
        )

    def __getitem__(self, rows: slice) -> Array:
        """Consecutive rows (B, K), as they are, scaled, in a new array."""
        return self.inner[rows].reshape(-1, self.columns) * self.scale

    def index_of(self, rows: Array) -> Array:
        """Where in the memory the windows of the views (S, B) start."""
        return rows % self.length * self.size + self.corners[rows // self.length]

    def gather(self, rows: Array) -> Array:
        """The views with the numbers `rows` (S, B), in a new array (S, B, K)."""
        return self.windows[self.index_of(rows)].reshape(*rows.shape, -1) * self.scale


def batch_orders(seeds: Sequence[int], rows: int, epochs: int) -> Iterator[np.ndarray]:
    """The order in which each seed visits the training rows, epoch by epoch.

    Yields:
        For each epoch an intp array (S, N); row s is a permutation of range(rows) that depends
        only on seed s and the epoch.
    """
    streams = [random_stream(seed, Purpose.BATCH_ORDER) for seed in seeds]
    for _ in range(epochs):
        yield np.stack([stream.permutation(rows) for stream in streams], dtype=np.intp)


def moved(orders: Iterable[np.ndarray], seeds: Sequence[int], pixels: int) -> Iterator[np.ndarray]:
    """The same orders with a view of each image: moved by up to that many pixels, drawn anew.

    Args:
        orders: for each epoch the images' numbers, (S, N), or (1, N) for all seeds.
        seeds: of the S streams of shifts.

    Yields:
        For each epoch the numbers of the views (S, N).
    """
    streams = [random_stream(seed, Purpose.JITTER) for seed in seeds]
    for order in orders:
        images = order.shape[1]
        shifts = (stream.integers(-pixels, pixels + 1, (images, 2)) for stream in streams)
        views = [(shift + pixels) @ (2 * pixels + 1, 1) for shift in shifts]
        yield order + images * np.array(views, np.intp)


def checked_order(order: np.ndarray, rows: int) -> np.ndarray:
    """A given order (N,) as (1, N).

    Raises:
        UserError: it does not visit each row exactly once.
    """
    order = np.atleast_2d(np.asarray(order, np.intp))
    if order.shape[1] != rows or (np.sort(order) != np.arange(rows)).any():
        raise UserError(f"an order of orders=… must visit each of the {rows:,} rows once")
    return order
