"""A trained network for other programs: as ONNX, and as a C header without dependencies.

Both take raw rows in float32 and compute what `nkd.model.Model.outputs` does, within rounding.

The scaling needs care in float32. z = ((x − mean)/deviation) W + b could be one product, with
W/deviation and another bias. But where the mean is large next to the deviation (longitudes:
−119.6 ± 2.0), that subtracts large numbers from each other, and what is left is their rounding. So
x − mean comes first, which is exact near the mean, and then the factor 1/deviation.
"""

import json
import textwrap
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nkd import __version__, files
from nkd.errors import UserError
from nkd.model import Model, load

OPSET = 11
"""Of ONNX, from 2019: the lowest whose Clip takes its limits as inputs, as all later ones do."""

IR_VERSION = 6
"""The format of ONNX that came with it; older runtimes refuse a newer one."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer as it is exported: z = x W + b, or z = (x W)·scale + b with W in int8.

    Args:
        W: (I, O) float32 or int8.
        b: (O,) float32.
        scale: (O,) float32 factors of the columns of an int8 W, else None.
    """

    W: np.ndarray
    b: np.ndarray
    scale: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Parts:
    """A network in the numbers of its exported form: x = clip((raw − shift)·factor, ± limit).

    Args:
        shift: (I,) float32, or None.
        factor: (1,) float32, or (I,) if there is a shift.
        limit: float32, or None.
        layers: from the input to the output.
    """

    shift: np.ndarray | None
    factor: np.ndarray
    limit: np.float32 | None
    layers: Sequence[Layer]

    @property
    def constant_bytes(self) -> int:
        """What all constants take."""
        arrays = [self.shift, self.factor]
        for layer in self.layers:
            arrays += [layer.W, layer.b, layer.scale]
        return sum(each.nbytes for each in arrays if each is not None)


def model_of(source: Any, replica: int = 0) -> Model:
    """The model in what is exported.

    Args:
        source: a `Model`; an estimator that has one, `model_`; a `Training`; or the path of a file
            of weights.
        replica: which network of a `Training`.

    Raises:
        UserError: it is none of these, or the file is no model.
    """
    if isinstance(source, Model):
        return source
    if isinstance(source, str | Path):
        return load(source)
    if isinstance(getattr(source, "model_", None), Model):
        return source.model_

    from nkd.training import Training

    if isinstance(source, Training):
        return Model.of(source, replica)
    raise UserError(
        f"a {type(source).__name__} cannot be exported: give a Model, a fitted estimator, a "
        "Training or the path of a safetensors file"
    )


def quantised(W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """W (I, O) as int8 in −127 … 127 and a scale for each column (O,): W ≈ int8·scale.

    The scale of a column is its largest |w|/127; that of a column of zeros is 1.
    """
    largest = np.abs(W).max(axis=0)
    scale = largest / np.float32(127)
    scale[scale == 0] = 1
    return np.rint(W / scale).clip(-127, 127).astype(np.int8), scale


def parts_of(model: Model, int8: bool) -> Parts:
    """The network in float32, or with weights in int8.

    The mean is rounded to float32. What the rounding leaves over, δ = mean − shift, is a constant,
    −(δ/deviation) W in the first layer's outputs: it goes into that layer's bias, computed in
    float64. Where features are bounded, the limits lie off by δ/deviation, as if x had been rounded
    like the mean: about 1e-6 deviations.

    Raises:
        UserError: a constant does not fit into float32.
    """
    layers = []
    for W, b in model.layers:
        numbers, scale = quantised(W) if int8 else (W, None)
        layers.append(Layer(numbers, b, scale))
    shift, factor, limit = None, np.array([model.scale]), None
    if model.mean is not None and model.deviation is not None:
        shift, factor = model.mean.astype(np.float32), model.scale / model.deviation
        W, b, scale = layers[0].W, layers[0].b, layers[0].scale
        W_used = W.astype(np.float64) * (1 if scale is None else scale)
        left_over = ((model.mean - shift) * factor) @ W_used
        layers[0] = Layer(W, (b - left_over).astype(np.float32), scale)
    if model.bound is not None:
        # The bound is on a stored number, before its scale: clip(s, ±bound)·scale.
        limit = np.float32(model.bound * abs(model.scale))
    with np.errstate(over="ignore"):
        factor = factor.astype(np.float32)
    if not np.isfinite(factor).all() or (shift is not None and not np.isfinite(shift).all()):
        raise UserError(
            "a mean or deviation of a feature is beyond float32: take another unit for it"
        )
    return Parts(shift, factor, limit, layers)


def to_onnx(
    source: Any, path: Path | str | None = None, *, replica: int = 0, int8: bool = False
) -> bytes:
    """The network as an ONNX model, checked by `onnx.checker`.

    Its input is "x" (N, I), raw rows in float32, for any N. Its outputs are "logits" and
    "probabilities" (N, C), or "values" (N, O). Classes, names of features and what is known of the
    training are in its metadata.

    Args:
        source, replica: see `model_of`.
        path: where it is written as well, if given.
        int8: store the weights in a quarter of the bytes, rounded: see docs/export.md.

    Raises:
        UserError: it cannot be exported, or not be written; or the package onnx is not there.
    """
    try:
        from onnx import TensorProto, checker, helper, numpy_helper
    except ImportError:
        raise UserError("ONNX is written by the package onnx: pip install 'nkd[onnx]'") from None

    model = model_of(source, replica)
    parts, nodes, constants = parts_of(model, int8), [], []

    def constant(name: str, values: Any) -> str:
        constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(operation: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operation, inputs, [output], **attributes))
        return output

    h = "x"
    if parts.shift is not None:
        h = node("Sub", [h, constant("shift", parts.shift)], "shifted")
    h = node("Mul", [h, constant("factor", parts.factor)], "scaled")
    if parts.limit is not None:
        limits = constant("lowest", -parts.limit), constant("highest", parts.limit)
        h = node("Clip", [h, *limits], "bounded")
    classes = model.task == "classification"
    last = "logits" if classes else "values"
    for number, layer in enumerate(parts.layers, start=1):
        W = constant(f"dense{number}.W", layer.W)
        if layer.scale is not None:
            # DequantizeLinear would say the same, but where ONNX Runtime sees it before a product,
            # it may round the product's inputs to int8, too. It computes these two when it loads.
            W = node("Cast", [W], f"dense{number}.W as float", to=TensorProto.FLOAT)
            scale = constant(f"dense{number}.scale", layer.scale)
            W = node("Mul", [W, scale], f"dense{number}.W scaled")
        if number > 1:
            h = node("Relu", [h], f"h{number - 1}")
        output = last if number == len(parts.layers) else f"z{number}"
        h = node("Gemm", [h, W, constant(f"dense{number}.b", layer.b)], output)
    shapes = {last: model.sizes[-1]}
    if classes:
        node("Softmax", [last], "probabilities", axis=1)
        shapes["probabilities"] = model.sizes[-1]

    def described(name: str, columns: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", columns])

    graph = helper.make_graph(
        nodes,
        "network",
        [described("x", model.sizes[0])],
        [described(name, columns) for name, columns in shapes.items()],
        constants,
    )
    proto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="nkd",
        producer_version=__version__,
    )
    helper.set_model_props(
        proto,
        {
            **dict(sorted(model.facts.items())),
            "task": model.task,
            "sizes": json.dumps(model.sizes),
            "input": f"x, each row: {what_goes_in(model)}",
            "output": f"{', '.join(shapes)}, for each row: {what_comes_out(model)}",
            **{
                name: json.dumps(getattr(model, name), ensure_ascii=False)
                for name in ("classes", "features")
                if getattr(model, name)
            },
        },
    )
    checker.check_model(proto, full_check=True)
    content = proto.SerializeToString(deterministic=True)
    if path is not None:
        files.write(path, content)
    return content


def what_goes_in(model: Model) -> str:
    """A raw row in words."""
    if model.image_shape is not None:
        return "{} x {} pixels, line by line, 0 to 255, unscaled".format(*model.image_shape)
    return f"{model.sizes[0]} features in their own units, unscaled"


def what_comes_out(model: Model) -> str:
    """The outputs for a row in words."""
    outputs = model.sizes[-1]
    if model.task == "classification":
        return f"{outputs} logits, one for each class; their softmax is the probabilities"
    values = "1 value" if outputs == 1 else f"{outputs} values"
    return values + (f" in units of {model.unit}" if model.unit else "")


C_CONTENT = """
#ifdef NKD_INPUTS
#error "two networks in one file: include each header in a file of its own"
#endif
{include}
#define NKD_INPUTS {inputs}
#define NKD_OUTPUTS {outputs}

{constants}
/* z += value * w: what one input adds to all units of a layer. */
static inline void nkd_add(float value, const {type} *w, int units, float *z)
{{
    for (int unit = 0; unit < units; ++unit)
        z[unit] += value * {weight};
}}

/* From a raw row x to the outputs. */
static inline void nkd_predict(const float x[NKD_INPUTS], float out[NKD_OUTPUTS])
{{
{body}}}
"""

C_CLASS = """
/* The number of the class with the largest output. */
static inline int nkd_class(const float out[NKD_OUTPUTS])
{
    int best = 0;
    for (int number = 1; number < NKD_OUTPUTS; ++number)
        if (out[number] > out[best])
            best = number;
    return best;
}
"""


def to_c(
    source: Any, path: Path | str | None = None, *, replica: int = 0, int8: bool = False
) -> str:
    """The network as a C header: C99, no dependency, no heap; also valid C++.

    `nkd_predict(x, out)` computes the outputs for one raw row, `nkd_class(out)` the number of the
    class, if there are classes. The comment at its top says what goes in, what comes out, and what
    it takes.

    Args:
        source, replica: see `model_of`.
        path: where it is written as well, if given.
        int8: store the weights in a quarter of the bytes, rounded: see docs/export.md.

    Raises:
        UserError: it cannot be exported, or not be written.
    """
    model = model_of(source, replica)
    parts = parts_of(model, int8)
    constants = [] if parts.shift is None else [c_array("nkd_shift", parts.shift)]
    if len(parts.factor) > 1:
        constants.append(c_array("nkd_factor", parts.factor))
    for number, layer in enumerate(parts.layers, start=1):
        named = {"W": layer.W, "b": layer.b, "scale": layer.scale}
        for name, values in named.items():
            if values is not None:
                constants.append(c_array(f"nkd_{name}{number}", values))
    content = C_CONTENT.format(
        include="\n#include <stdint.h>\n" if int8 else "",
        inputs=model.sizes[0],
        outputs=model.sizes[-1],
        constants="".join(constants),
        type="int8_t" if int8 else "float",
        weight="(float)w[unit]" if int8 else "w[unit]",
        body=c_body(parts),
    )
    if model.task == "classification":
        content += C_CLASS
    # The guard is of this network alone: another one's header must not be skipped in silence.
    guard = f"NKD_{zlib.crc32(content.encode()):08X}_H"
    text = f"/*\n{about(model, parts)}\n */\n#ifndef {guard}\n#define {guard}\n{content}\n#endif\n"
    if path is not None:
        files.write(path, text.encode())
    return text


def c_array(name: str, values: np.ndarray) -> str:
    """A constant array in C; a matrix row by row."""
    kind, suffix = ("int8_t", "") if values.dtype == np.int8 else ("float", "f")
    # NumPy writes the fewest digits that a compiler reads back as the very same float.
    numbers = ", ".join(f"{value!s}{suffix}" for value in values.reshape(-1))
    lines = wrapped(numbers, 100, "    ", "    ")
    size = " * ".join(map(str, values.shape))
    return f"static const {kind} {name}[{size}] = {{\n{lines}\n}};\n"


def c_body(parts: Parts) -> str:
    """The statements of `nkd_predict`.

    Each input of a layer is used once, for all units at a time, so scaled inputs need no buffer.
    Inputs of 0 add nothing and are skipped: most pixels, and what ReLU makes 0. NaN is not skipped.
    """
    lines, source = [], "x"
    for number, layer in enumerate(parts.layers, start=1):
        (inputs, units), last = layer.W.shape, number == len(parts.layers)
        target = "out" if last else f"z{number}"
        if not last:
            lines.append(f"float {target}[{units}];")
        start = "0.0f" if layer.scale is not None else f"nkd_b{number}[unit]"
        lines.append(f"for (int unit = 0; unit < {units}; ++unit)")
        lines.append(f"    {target}[unit] = {start};")
        lines.append(f"for (int i = 0; i < {inputs}; ++i) {{")
        if number > 1:
            lines.append(f"    const float value = {source}[i];")
        elif parts.shift is not None:
            factor = "nkd_factor[i]" if len(parts.factor) > 1 else f"{parts.factor[0]!s}f"
            lines.append(f"    float value = (x[i] - nkd_shift[i]) * {factor};")
        else:
            lines.append(f"    float value = x[i] * {parts.factor[0]!s}f;")
        if number == 1 and parts.limit is not None:
            limit = f"{parts.limit!s}f"
            lines.append(
                f"    value = value < -{limit} ? -{limit} : value > {limit} ? {limit} : value;"
            )
        lines.append("    if (!(value <= 0.0f))" if number > 1 else "    if (value != 0.0f)")
        lines.append(f"        nkd_add(value, nkd_W{number} + i * {units}, {units}, {target});")
        lines.append("}")
        if layer.scale is not None:
            lines.append(f"for (int unit = 0; unit < {units}; ++unit)")
            scaled = f"{target}[unit] * nkd_scale{number}[unit]"
            lines.append(f"    {target}[unit] = {scaled} + nkd_b{number}[unit];")
        source = target
    return "".join(f"    {line}\n" for line in lines)


def about(model: Model, parts: Parts) -> str:
    """The lines of the first comment of a header."""
    hidden = sum(model.sizes[1:-1])
    kind = "float32" if parts.layers[0].scale is None else "int8, the rest in float32"
    lines = [
        f"A neural network, {'-'.join(map(str, model.sizes))}, written by nkd {__version__}.",
        "",
        f"In: x, one row: {what_goes_in(model)}; finite.",
        f"Out: {what_comes_out(model)}.",
        f"Takes {parts.constant_bytes:,} bytes of constants (weights in {kind}), {4 * hidden:,} "
        f"bytes of stack and {model.multiply_adds:,} multiply-adds.",
    ]
    if model.task == "classification":
        lines.append(
            "Probabilities: p[k] = expf(out[k] - m) / sum over j of expf(out[j] - m), where m is "
            "the largest output (expf is in math.h)."
        )
        named = "; ".join(f"{number} = {label}" for number, label in enumerate(model.classes))
        lines.append(f"Classes: {named}.")
    if model.features:
        named = "; ".join(f"{number} = {name}" for number, name in enumerate(model.features))
        lines.append(f"Inputs: {named}.")
    if model.facts:
        named = ", ".join(f"{name} {fact}" for name, fact in sorted(model.facts.items()) if fact)
        lines.append(f"Training: {named}.")
    return "\n".join(wrapped(harmless(line), 98, " * ", " *   ") or " *" for line in lines)


def wrapped(text: str, width: int, first: str, others: str) -> str:
    """The text in lines with these beginnings, broken at spaces alone."""
    return textwrap.fill(
        text,
        width,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )


def harmless(text: str) -> str:
    """Text that can stand in a comment of C, whatever a class or a feature is called.

    Nothing in it ends or starts a comment (* /), joins lines (a backslash) or is a trigraph (??/).
    """
    return "".join(each if each.isprintable() and each not in "*\\?" else "_" for each in text)
