"""One trained network, with all it takes to use it: raw rows in, labels or values out.

It needs NumPy and safetensors, and imports nothing else:

    model = nkd.load("runs/…/student.safetensors")
    labels = model.predict(rows)
"""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nkd import files
from nkd.arrays import check_finite, numbers
from nkd.errors import UserError

if TYPE_CHECKING:
    from nkd.training import Training

TASKS = ("classification", "regression")

OWN_KEYS = (
    "sizes", "layers", "input", "scale", "mean", "deviation", "bound", "image_shape",
    "task", "classes", "features", "unit",
)  # fmt: skip
"""The keys of a file's metadata that describe the network; all others are facts."""


@dataclass(frozen=True, eq=False)
class Model:
    """One trained network and how raw rows become its inputs.

    A raw row is what was measured: pixels 0 … 255, features in their own units. The network sees
    (x − mean)/deviation, cut off at ± bound, times the scale, as far as these are given.

    Args:
        layers: W (I, O) and b (O,) of each layer; z = x W + b, with ReLU between layers. Kept as
            float32.
        task: "classification": the outputs are logits; "regression": they are values.
        scale: the factor on each input, such as 1/255 for pixels.
        mean, deviation: (I,) of each feature; None if they are not standardised.
        bound: standardised features are cut off at ± this many deviations; None if not.
        classes: the labels in the order of the logits, strings or numbers; by default 0 … C−1.
        features: names of the inputs; () if they have none.
        unit: of the values of a regression.
        image_shape: height and width, if each row is a greyscale image.
        facts: about the training, such as {"seed": "0"}.

    Raises:
        UserError: these do not fit together.
    """

    layers: Sequence[tuple[np.ndarray, np.ndarray]]
    task: str
    scale: float = 1.0
    mean: np.ndarray | None = None
    deviation: np.ndarray | None = None
    bound: float | None = None
    classes: Sequence[Any] = ()
    features: Sequence[str] = ()
    unit: str = ""
    image_shape: tuple[int, int] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with np.errstate(over="ignore", invalid="ignore"):  # it is refused if it is not finite
            layers = [
                tuple(np.array(numbers(each, "a layer"), np.float32, order="C") for each in layer)
                for layer in self.layers
            ]
        check_layers(layers)
        inputs, outputs = len(layers[0][0]), layers[-1][1].size
        if self.task not in TASKS:
            raise UserError(f"task {self.task!r}: it is 'classification' or 'regression'")
        settled: dict[str, Any] = {"layers": layers, "scale": float(self.scale)}
        if (self.mean is None) != (self.deviation is None):
            raise UserError("give mean and deviation, or neither")
        for name in ("mean", "deviation"):
            if getattr(self, name) is not None:
                values = settled[name] = np.array(getattr(self, name), np.float64)
                wrong = values.shape != (inputs,) or not np.isfinite(values).all()
                if wrong or (name == "deviation" and values.min() <= 0):
                    raise UserError(f"{name} of the features: give {inputs} numbers, one for each")
        if not math.isfinite(self.scale) or not (self.bound is None or 0 < self.bound < math.inf):
            raise UserError(f"scale {self.scale} and bound {self.bound} must be finite numbers")
        if self.bound is not None:
            settled["bound"] = float(self.bound)
        settled["classes"] = labels_of(self.classes, outputs) if self.task == TASKS[0] else ()
        if len(self.classes) > len(settled["classes"]):
            raise UserError("a regression has no classes")
        settled["features"] = tuple(map(str, self.features))
        if len(self.features) not in (0, inputs):
            raise UserError(f"{len(self.features)} names of features for {inputs} inputs")
        if self.image_shape is not None:
            shape = settled["image_shape"] = tuple(self.image_shape)
            whole = all(isinstance(each, int | np.integer) and each > 0 for each in shape)
            if not whole or len(shape) != 2 or math.prod(shape) != inputs:
                raise UserError(f"images of {shape} have not {inputs} pixels")
        settled["facts"] = {name: str(fact) for name, fact in self.facts.items()}
        taken = sorted(settled["facts"].keys() & set(OWN_KEYS))
        if taken:
            raise UserError(f"a fact cannot be called {taken[0]!r}, which describes the network")
        for name, value in settled.items():
            object.__setattr__(self, name, value)  # the dataclass is frozen

    @classmethod
    def of(
        cls,
        training: "Training",
        replica: int = 0,
        *,
        network: str = "",
        classes: Sequence[Any] = (),
        features: Sequence[str] = (),
    ) -> "Model":
        """One of the networks of a training, with the scaling of its data set.

        Targets that are stored standardised, s·deviation + mean in their unit, are folded into the
        last layer, so its outputs are in the unit.

        Args:
            training: finished, or not.
            replica: which of its networks.
            network: a name for it, such as "student".
            classes, features: names, see `Model`.
        """
        from nkd.layers import Dense

        if not 0 <= replica < len(training.runs):
            raise UserError(f"replica {replica}: the training has {len(training.runs)} networks")
        data, run = training.problem.data, training.runs[replica]
        if any(type(layer) is not Dense for layer in training.network.layers):
            raise UserError(
                "a model is made of layers z = x W + b with ReLU between them, no others"
            )
        tensors = training.network.tensors(replica)
        layers = [
            (tensors[f"dense{number}.W"], tensors[f"dense{number}.b"])
            for number in range(1, len(training.network.sizes))
        ]
        if data.target_mean is not None and data.target_deviation is not None:
            W, b = (each.astype(np.float64) for each in layers[-1])
            layers[-1] = W * data.target_deviation, b * data.target_deviation + data.target_mean
        return cls(
            layers,
            training.problem.task,
            scale=data.input_scale,
            mean=data.feature_mean,
            deviation=data.feature_deviation,
            bound=data.feature_bound,
            classes=classes,
            features=features,
            unit=data.unit,
            image_shape=data.image_shape,
            facts={
                "network": network,
                "seed": str(run.seed),
                "alpha": str(run.alpha),
                "temperature": str(run.temperature),
                "dataset": data.name,
            },
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units from the input to the output, such as (784, 128, 64, 10)."""
        return (self.layers[0][0].shape[0], *(W.shape[1] for W, _ in self.layers))

    @property
    def parameter_count(self) -> int:
        """How many weights and biases there are."""
        return sum(W.size + b.size for W, b in self.layers)

    @property
    def multiply_adds(self) -> int:
        """How many products are computed and added up for one row, without the scaling."""
        return sum(W.size for W, _ in self.layers)

    def outputs(self, x: Any, dtype: Any = np.float32) -> np.ndarray:
        """Logits, or values in the unit of the target, (N, O), for raw rows x (N, I).

        Args:
            x: the rows.
            dtype: to compute in. A row's outputs may differ in their last digits in another
                company, since products then add up in another order; in float64 by 1e-12 or so.

        Raises:
            UserError: x is not (N, I), or a number of it is not finite. A single row is x[None].
        """
        h = self.inputs(x).astype(dtype, copy=False)
        for number, (W, b) in enumerate(self.layers):
            if number:
                np.maximum(h, 0, out=h)
            h = h @ W.astype(dtype, copy=False) + b
        return h

    def predict(self, x: Any) -> np.ndarray:
        """Labels (N,) out of `classes`; or values (N, O), (N,) if there is one output.

        Args:
            x: raw rows (N, I).

        Raises:
            UserError: see `outputs`.
        """
        outputs = self.outputs(x)
        if self.task == "classification":
            return np.asarray(self.classes)[outputs.argmax(axis=-1)]
        return outputs[:, 0] if self.sizes[-1] == 1 else outputs

    def predict_proba(self, x: Any) -> np.ndarray:
        """Probabilities (N, C) of the classes, the softmax of the logits, for raw rows x (N, I).

        Raises:
            UserError: there are no classes; or see `outputs`.
        """
        if self.task != "classification":
            raise UserError("a regression has no probabilities: call predict")
        z = self.outputs(x)
        e = np.exp(z - z.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)

    def inputs(self, x: Any) -> np.ndarray:
        """What the first layer sees of raw rows x (N, I): a new array, float32, as in training.

        Raises:
            UserError: see `outputs`.
        """
        x = numbers(x, "x")
        if x.ndim != 2 or x.shape[1] != self.sizes[0]:
            raise UserError(
                f"x has the shape {x.shape}: give rows (N, {self.sizes[0]}), one row as (1, "
                f"{self.sizes[0]})"
            )
        check_finite(x, "x")
        seen = (x if self.mean is None else (x - self.mean) / self.deviation).astype(np.float32)
        if self.bound is not None:
            np.clip(seen, -self.bound, self.bound, out=seen)
        return seen * np.float32(self.scale)

    def metadata(self) -> dict[str, str]:
        """What a file says about the network: the facts, and how a raw row becomes x."""
        described = {
            **self.facts,
            "task": self.task,
            "sizes": json.dumps(self.sizes),
            "layers": "z = x W + b, ReLU between layers; W is (inputs, outputs)",
            "scale": json.dumps(self.scale),
        }
        read = "feature" if self.image_shape is None else "pixel"
        if self.mean is not None and self.deviation is not None:
            read = f"({read} - mean) / deviation"
            described["mean"] = json.dumps(self.mean.tolist())
            described["deviation"] = json.dumps(self.deviation.tolist())
        if self.bound is not None:
            read = f"clip({read}, -bound, bound)"
            described["bound"] = json.dumps(self.bound)
        described["input"] = f"x = {read}" if self.scale == 1 else f"x = {self.scale!r} * {read}"
        for name in ("classes", "features", "image_shape"):
            if getattr(self, name):
                described[name] = json.dumps(getattr(self, name), ensure_ascii=False)
        if self.unit:
            described["unit"] = self.unit
        return described

    def to_bytes(self) -> bytes:
        """The model as a safetensors file: "dense1.W" (I, O), "dense1.b" (O,), …, and metadata.

        Equal models give equal bytes. `nkd.load` reads the file.
        """
        tensors: dict[str, np.ndarray] = {}
        for number, (W, b) in enumerate(self.layers, start=1):
            tensors |= {f"dense{number}.W": W, f"dense{number}.b": b}
        return b"".join(files.to_safetensors(tensors, self.metadata()))

    def save(self, path: Path | str) -> None:
        """Write `to_bytes` into a file, which appears complete or not at all.

        Raises:
            UserError: it cannot be written.
        """
        files.write(path, self.to_bytes())

    @classmethod
    def from_bytes(cls, content: bytes) -> "Model":
        """The model in the bytes of a safetensors file.

        Raises:
            UserError: they are damaged, or were not written by nkd.
        """
        tensors, metadata = files.from_safetensors(content)
        try:
            model = cls(**arguments_of(metadata, tensors))
        except UserError:
            raise  # it says itself what is wrong, and is a ValueError, too
        except KeyError as missing:
            raise UserError(f"its metadata lack {missing}, so nkd did not write it") from None
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(f"its metadata are not as nkd writes them ({error})") from None
        if metadata["sizes"] != json.dumps(model.sizes):
            raise UserError(f"its tensors are of sizes {model.sizes}, not {metadata['sizes']}")
        return model


def load(path: Path | str) -> Model:
    """The model in a safetensors file, written by a run or by `Model.save`.

    Raises:
        UserError: it cannot be read, is damaged, or is not of nkd.
    """
    try:
        return Model.from_bytes(Path(path).read_bytes())
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    except UserError as error:
        reason = str(error)
    raise UserError(f"{path}: {reason}; name a file such as student.safetensors of a run")


def check_layers(layers: Sequence[tuple[np.ndarray, ...]]) -> None:
    """Refuse layers that are not pairs of W (I, O) and b (O,), each with the next one's inputs.

    Raises:
        UserError: they are not, or a number is not finite.
    """
    shapes = [tuple(each.shape for each in layer) for layer in layers]
    if (
        not layers
        or any([len(each) for each in pair] != [2, 1] or pair[0][1:] != pair[1] for pair in shapes)
        or any(one[1] != after[0][:1] for one, after in itertools.pairwise(shapes))
        or min(map(min, itertools.chain(*shapes))) < 1
    ):
        raise UserError(f"layers {shapes} do not follow each other as W (I, O) and b (O,)")
    if not all(np.isfinite(each).all() for layer in layers for each in layer):
        raise UserError("a weight is not a finite number: train with a lower learning rate")


def labels_of(classes: Sequence[Any], outputs: int) -> tuple[Any, ...]:
    """The labels as Python's own strings or numbers; 0 … C−1 if there are none.

    Raises:
        UserError: they are not as many as outputs, not all different, or of both kinds.
    """
    labels = [each.item() if isinstance(each, np.generic) else each for each in classes]
    labels = labels or list(range(outputs))
    alike = any(all(isinstance(each, kind) for each in labels) for kind in (str, (int, float)))
    if not alike or len(set(labels)) != outputs or len(labels) != outputs:
        raise UserError(
            f"{len(labels)} classes for {outputs} outputs: give each its own label, all of them "
            "strings or all of them numbers"
        )
    return tuple(labels)


def arguments_of(metadata: Mapping[str, str], tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The arguments of `Model` in a file's metadata and tensors.

    Raises:
        UserError, KeyError, TypeError, ValueError: something is missing, or not as it should be.
    """
    names = [
        (f"dense{number}.W", f"dense{number}.b")
        for number in range(1, len(files.from_json(metadata["sizes"])))
    ]
    if set(tensors) != set(itertools.chain(*names)):
        raise UserError(
            f"it has the tensors {', '.join(sorted(tensors))}, not dense1.W, dense1.b and so on "
            f"for the sizes {metadata['sizes']}"
        )
    layers = [(tensors[W], tensors[b]) for W, b in names]
    in_json = ("scale", "mean", "deviation", "bound", "classes", "features", "image_shape")
    given = {name: files.from_json(metadata[name]) for name in in_json if name in metadata}
    return given | {
        "layers": layers,
        "task": metadata["task"],
        "unit": metadata.get("unit", ""),
        "facts": {name: text for name, text in metadata.items() if name not in OWN_KEYS},
    }
