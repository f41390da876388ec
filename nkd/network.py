"""The multilayer perceptron: layers that are views into one flat array of parameters."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nkd.backend import NUMPY, Array, Backend
from nkd.errors import UserError
from nkd.layers import Dense, Dropout, MaxNorm
from nkd.random_streams import Purpose, random_stream

ALIGNMENT = 64
"""In bytes: each tensor starts at a multiple of it from the start of its network's row."""

PREDICTED_ROWS = 1024
"""Rows that `MLP.predict` takes at a time."""


def most_rows(batch_size: int, *tables: int) -> int:
    """The most rows at once when tables of these lengths are trained on and predicted."""
    return min(max(batch_size, PREDICTED_ROWS), max(tables))


def check_sizes(sizes: Sequence[Any]) -> None:
    """Refuse sizes of layers that are not whole numbers from 1 on, at least two.

    Raises:
        UserError: one of them is not, or there are fewer.
    """
    if len(sizes) < 2:
        raise UserError(f"sizes {tuple(sizes)}: give those of the inputs and of the outputs")
    for units in sizes:
        if not isinstance(units, int | np.integer) or units < 1:
            raise UserError(
                f"{units!r} units in a layer, of sizes {tuple(sizes)}: give a whole number from 1 "
                "on for each"
            )


def check_rates(dropout: Sequence[float], sizes: Sequence[int]) -> None:
    """Refuse rates of dropout that are not one for the inputs and one for each hidden layer.

    Raises:
        UserError: there are some, but not as many.
    """
    if dropout and len(dropout) != len(sizes) - 1:
        raise UserError(
            f"dropout {dropout}: give {len(sizes) - 1} rates, of the inputs and of each hidden "
            "layer"
        )


class MLP:
    """R independent multilayer perceptrons of one architecture, with ReLU between layers.

    All parameters are one contiguous array (R, P): row r is network r and holds, layer by layer,
    W (I, O) and then b (1, O), so that z = x W + b. The gradients are a second array of the
    same layout. The layers hold views, so changing a row changes that network.

    Args:
        sizes: units from the input to the output, such as (784, 128, 64, 10).
        replicas: R.
        sharing: how many networks share the same inputs: with A > 1, `forward` takes inputs
            (S, B, I) with S = R/A, and network r uses number r mod S, without a copy.
        dropout: the rates p of the inputs and of each hidden layer in training; () for none.
        largest_norm: bound on the norm of each unit's incoming weights, see `MaxNorm`; None for
            no bound.
        layer: the class of the layers, which has the methods of `Dense`.
        dtype: float32 to train, float64 to check gradients.
        backend: where the arrays live.
    """

    compiled = "mlp"

    def __init__(
        self,
        sizes: Sequence[int],
        replicas: int = 1,
        *,
        sharing: int = 1,
        dropout: Sequence[float] = (),
        largest_norm: float | None = None,
        layer: type[Dense] = Dense,
        dtype: Any = np.float32,
        backend: Backend = NUMPY,
    ) -> None:
        check_sizes(sizes)
        self.sizes, self.backend, self.dtype = tuple(sizes), backend, np.dtype(dtype)
        self.replicas, self.batch = replicas, 0

        shapes = {}
        for number, (inputs, outputs) in enumerate(itertools.pairwise(self.sizes), start=1):
            shapes[f"dense{number}.W"] = (inputs, outputs)
            shapes[f"dense{number}.b"] = (1, outputs)
        self.offsets: dict[str, tuple[int, tuple[int, int]]] = {}
        end, line = 0, ALIGNMENT // self.dtype.itemsize
        for name, shape in shapes.items():
            self.offsets[name] = end, shape
            end += math.ceil(math.prod(shape) / line) * line

        self.parameters = backend.xp.zeros((replicas, end), self.dtype)
        self.gradients = backend.xp.zeros((replicas, end), self.dtype)
        parameters, gradients = self.views(self.parameters), self.views(self.gradients)
        self.layers: list[Dense] = []
        for number in range(1, len(self.sizes)):
            names = f"dense{number}.W", f"dense{number}.b"
            tensors = [views[name] for views in (parameters, gradients) for name in names]
            first, last = number == 1, number == len(self.sizes) - 1
            self.layers.append(
                layer(
                    *tensors,
                    backend=backend,
                    relu=not last,  # the last layer's outputs are logits, or values
                    input_gradient=not first,
                    sharing=sharing if first else 1,
                )
            )

        check_rates(dropout, self.sizes)
        rates = tuple(dropout) or (0.0,) * len(self.layers)
        self.dropouts = [  # of each layer's input
            Dropout(
                rate, replicas // (1 if number else sharing), units, dtype=dtype, backend=backend
            )
            if rate
            else None
            for number, (rate, units) in enumerate(zip(rates, self.sizes, strict=False))
        ]

        self.max_norm = None
        if largest_norm is not None:
            self.max_norm = MaxNorm(self.layers, largest_norm, backend=backend)
        self.compiled_outputs = None
        if backend.outputs is not None and backend.computes(self, *self.layers):
            self.compiled_outputs = backend.outputs(self)

    @property
    def parts(self) -> list[Any]:
        """Everything in this network that a training step goes through."""
        optional = [*self.dropouts, self.max_norm]
        return [self, *self.layers, *(part for part in optional if part is not None)]

    @property
    def parameter_count(self) -> int:
        """The parameters of one network, without the padding between tensors."""
        return sum(math.prod(shape) for _, shape in self.offsets.values())

    def views(self, flat: Array) -> dict[str, Array]:
        """The tensors in an array with the parameters' layout: name → view (R, I, O)."""
        return {
            name: flat[:, start : start + math.prod(shape)].reshape(-1, *shape)
            for name, (start, shape) in self.offsets.items()
        }

    def initialise(self, seeds: Sequence[int]) -> None:
        """Set He's normal initial weights N(0, 2/I) and zero biases, from one seed per network.

        Networks with the same seed start equal (He et al. 2015, arXiv:1502.01852, equation 10).
        The streams of dropout masks restart, from the same seeds.
        """
        self.seed_dropout(seeds)
        drawn = {}
        for seed in dict.fromkeys(seeds):
            stream = random_stream(seed, Purpose.INITIAL_WEIGHTS)
            drawn[seed] = {
                name: stream.normal(0.0, math.sqrt(2 / shape[0]), shape)
                for name, (_, shape) in self.offsets.items()
                if name.endswith("W")
            }
        self.parameters[:] = 0
        for replica, seed in enumerate(seeds):
            self.set_tensors(replica, drawn[seed])

    def seed_dropout(self, seeds: Sequence[int]) -> None:
        """Start the streams of dropout masks: one per network and layer."""
        for number, dropout in enumerate(self.dropouts):
            if dropout is not None:  # shared inputs share the masks of the first S networks
                dropout.streams = [
                    random_stream(seed, Purpose.DROPOUT).spawn(len(self.dropouts))[number]
                    for seed in seeds[: dropout.replicas]
                ]

    def skip_dropout(self, rows: int) -> None:
        """Move the streams of dropout masks to where they are after so many rows of training."""
        for dropout in self.dropouts:
            if dropout is not None:
                dropout.skip(rows)

    def tensors(self, replica: int = 0) -> dict[str, np.ndarray]:
        """One network's parameters, copied to the host: "dense1.W" (I, O), "dense1.b" (O,), …"""
        row = self.backend.to_numpy(self.parameters[replica])
        return {
            name: row[start : start + math.prod(shape)]
            .reshape(shape if name.endswith("W") else -1)
            .copy()
            for name, (start, shape) in self.offsets.items()
        }

    def set_tensors(self, replica: int, tensors: Mapping[str, Array]) -> None:
        """Set parameters of one network, with names and shapes as in `tensors`."""
        for name, values in tensors.items():
            start, shape = self.offsets.get(name, (0, (0, 0)))
            if tuple(values.shape) not in (shape, shape[1:] if name.endswith("b") else shape):
                raise UserError(
                    f"tensor {name} of shape {tuple(values.shape)}: this network has "
                    + ", ".join(f"{known} {size}" for known, (_, size) in self.offsets.items())
                )
            values = self.backend.asarray(values, self.dtype)
            self.parameters[replica, start : start + values.size] = values.reshape(-1)

    def select(self, replicas: Sequence[int]) -> "MLP":
        """Some of the networks, copied into a new `MLP`."""
        layer = type(self.layers[0])
        options: dict[str, Any] = {"dtype": self.dtype, "backend": self.backend}
        part = type(self)(self.sizes, len(replicas), layer=layer, **options)
        part.parameters[:] = self.parameters[list(replicas)]
        return part

    def resize(self, batch: int) -> None:
        """Fit the layers' buffers to that many rows."""
        self.batch = batch
        for layer, dropout in zip(self.layers, self.dropouts, strict=True):
            layer.resize(batch)
            if dropout is not None:
                dropout.resize(batch)

    def forward(self, x: Array, training: bool = False) -> Array:
        """The outputs (R, B, O) for inputs (R, B, I), or (B, I) for all; see also `sharing`.

        They are in a buffer that the next call overwrites. Dropout only applies in `training`.
        """
        if x.shape[-2] != self.batch:
            self.resize(x.shape[-2])
        h = x if x.ndim > 2 else x[None]
        for layer, dropout in zip(self.layers, self.dropouts, strict=True):
            if dropout is not None:
                h = dropout.forward(h, training)
            h = layer.forward(h)
        return h

    def backward(self, dz: Array) -> None:
        """Set all gradients, from dz, that of the last `forward`'s outputs. May overwrite dz."""
        for layer, dropout in zip(reversed(self.layers), reversed(self.dropouts), strict=True):
            dz = layer.backward(dz)
            if dropout is not None and dz is not None:
                dz = dropout.backward(dz)

    def limit_norms(self) -> None:
        """Rescale each unit's incoming weights to `largest_norm` if their norm is larger."""
        if self.max_norm is not None:
            self.max_norm()

    def prepare(self) -> None:
        """Compile what `predict` needs, if it has such a form: compute the outputs of no row."""
        if self.compiled_outputs is not None:
            outputs = np.empty((self.replicas, 0, self.sizes[-1]), self.dtype)
            self.compiled_outputs(outputs, 0, np.empty((0, self.sizes[0]), self.dtype))

    def predict(self, x: Array, rows: int = PREDICTED_ROWS) -> Array:
        """The outputs for all rows of x (N, I), in a new array (R, N, O).

        They are computed `rows` at a time, except that compiled code divides an array itself.
        """
        outputs = self.backend.xp.empty((self.replicas, len(x), self.sizes[-1]), self.dtype)
        if self.compiled_outputs is not None and isinstance(x, np.ndarray):
            rows = len(x)
        for start in range(0, len(x), max(rows, 1)):
            part = slice(start, start + rows)
            if self.compiled_outputs is not None:
                self.compiled_outputs(outputs, start, x[part])
            else:
                outputs[:, part] = self.forward(x[part])
        return outputs
