"""What CuPy would refuse, as far as a machine without a GPU can tell.

The arrays here hold NumPy's values but behave as CuPy's do where NumPy is more lenient: no
implicit way back to the host, no mixing with NumPy arrays, no function and no keyword that the
installed CuPy lacks. Even an explicit float(…) is refused, which in CuPy waits for the device.
"""

import inspect
import operator
import re
import sys
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from conftest import classification_data, regression_data, teacher_outputs

import nkd
from nkd import (
    Classification,
    Regression,
    Settings,
    Training,
    UserError,
    layers,
    metrics,
)
from nkd.backend import Backend, CupyBackend
from nkd.weighted_regression import WEIGHINGS, WeightedRegressionLoss

try:
    import cupy
except ImportError:
    cupy = None

needs_cupy = pytest.mark.skipif(cupy is None, reason="CuPy is not installed, so cannot be asked")


def unwrap(value):
    """The values of strict arrays, also within tuples and lists; refuses NumPy arrays."""
    if isinstance(value, StrictArray):
        return value._values
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, (tuple, list)):
        return type(value)(map(unwrap, value))
    return value


def wrap(value):
    return StrictArray(np.asarray(value)) if isinstance(value, (np.ndarray, np.generic)) else value


def check_arguments(function, arguments, keywords):
    """Raise TypeError where CuPy's function of that name does not take these arguments."""
    if isinstance(function, getattr(cupy, "ufunc", ())):
        unknown = keywords.keys() - {"out", "dtype", "casting"}
        if unknown:
            raise TypeError(f"{function} of CuPy has no {unknown}")
        return
    try:
        signature = inspect.signature(function)
    except ValueError:  # compiled: the first line of the documentation has it
        parameters = re.match(r"[\w.]+\((.*)\)", function.__doc__ or "")
        if parameters is None:
            return
        signature = inspect.signature(eval(f"lambda {parameters[1]}: None"))
    signature.bind(*arguments, **keywords)


def strict(name, function, owner, bound=()):
    """`function` of NumPy on strict arrays, if CuPy's `owner` has one of that name like it."""
    if cupy is not None and not hasattr(owner, name):
        raise AttributeError(f"CuPy has no {name}")

    def call(*arguments, **keywords):
        arguments_of_numpy = unwrap(arguments)
        if cupy is not None:
            check_arguments(getattr(owner, name), (*bound, *arguments), keywords)
        result = function(*arguments_of_numpy, **{k: unwrap(v) for k, v in keywords.items()})
        return keywords["out"] if "out" in keywords else wrap(result)

    return call


class StrictArray:
    """An array whose values only `asnumpy` gives out."""

    __array_ufunc__ = None  # NumPy's own functions and operators leave it alone
    __hash__ = None
    HOST = frozenset({"item", "tolist", "tobytes", "data", "get", "flat", "ctypes"})
    called: ClassVar[set[str]] = set()

    def __init__(self, values):
        self._values = values

    def __getattr__(self, name):
        if name.startswith("__") or name in self.HOST:
            raise AttributeError(f"{name} leaves the device")
        StrictArray.called.add(name)
        value = getattr(self._values, name)
        if callable(value):
            return strict(name, value, getattr(cupy, "ndarray", None), bound=(self,))
        return wrap(value) if isinstance(value, np.ndarray) else value

    def __len__(self):
        return len(self._values)

    def __getitem__(self, key):
        return wrap(self._values[unwrap(key)])

    def __setitem__(self, key, value):
        self._values[unwrap(key)] = unwrap(value)

    def refuse(self, *arguments, **keywords):
        raise TypeError("Implicit conversion to a NumPy array or a Python number")

    __array__ = __array_function__ = __iter__ = refuse
    __bool__ = __int__ = __float__ = __index__ = __complex__ = refuse


def operation(name):
    function = getattr(operator, name)

    def method(self, *other):
        StrictArray.called.add(name)
        return wrap(function(self._values, *map(unwrap, other)))

    def reflected(self, other):
        StrictArray.called.add(name)
        return wrap(function(unwrap(other), self._values))

    def in_place(self, other):
        StrictArray.called.add(name)
        result = function(self._values, unwrap(other))
        np.copyto(self._values, result, casting="same_kind")  # its shape is the array's, or refused
        return self

    return method, reflected, in_place


for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or"):
    forth, back, in_place = operation(f"__{name}__")
    setattr(StrictArray, f"__{name}__", forth)
    setattr(StrictArray, f"__r{name}__", back)
    setattr(StrictArray, f"__i{name}__", in_place)
for name in ("eq", "ne", "lt", "le", "gt", "ge", "neg", "abs", "invert"):
    setattr(StrictArray, f"__{name}__", operation(f"__{name}__")[0])


class StrictNamespace:
    """`cupy`, as far as it is known without a GPU. In and out: `asarray` and `asnumpy`."""

    called: ClassVar[set[str]] = set()

    @property
    def lib(self):
        owner = None if cupy is None else cupy.lib.stride_tricks
        form = strict("as_strided", np.lib.stride_tricks.as_strided, owner)
        return SimpleNamespace(stride_tricks=SimpleNamespace(as_strided=form))

    def __getattr__(self, name):
        StrictNamespace.called.add(name)
        value = getattr(np, name)
        return strict(name, value, cupy) if callable(value) else value

    def asarray(self, values, dtype=None):
        if isinstance(values, StrictArray):
            return StrictArray(np.asarray(values._values, dtype))
        return StrictArray(np.array(values, dtype))  # on the device: a copy

    def asnumpy(self, values):
        return unwrap(values).copy()


class StrictBackend(CupyBackend):
    """CuPy's backend on strict arrays, with the plain operations: kernels need real memory."""

    operation = Backend.operation

    def __init__(self):
        self.xp = StrictNamespace()

    def gather(self, out, table, rows, scale, work):
        self.xp.take(table, rows, axis=0, out=work)  # CuPy's has no mode
        self.convert(out, work, scale)


def problems():
    teacher = {outputs: teacher_outputs(22, outputs) for outputs in (4, 2)}
    cases = []
    for shared in (True, False):  # a grid of arms and seeds, and a list that is none
        for outputs, problem, sizes in (
            (4, Classification(classification_data()), (6, 8, 5, 4)),
            (2, Regression(regression_data()), (5, 8, 5, 2)),
        ):
            runs = nkd.pairs([1, 2], 0.7, teacher[outputs], 3.0)
            runs = runs if shared else [runs[0], *runs[2:]]
            name = f"{type(problem).__name__}, {'shared' if shared else 'own'} batches"
            cases.append(pytest.param(problem, sizes, runs, id=name))
            other = {"loss": "bounded"} if outputs == 2 else {}
            other = nkd.Run(1, 0.7, 3.0, teacher[outputs], learning_rate_factor=3.0, **other)
            name = f"{type(problem).__name__}, {'weighted' if outputs == 2 else 'faster'}"
            if shared:
                cases.append(pytest.param(problem, sizes, [*runs, other], id=name))
    return cases


def train(problem, sizes, runs, backend):
    settings = Settings(epochs=2, batch_size=5, learning_rate=0.02)
    options = {"dtype": np.float64, "backend": backend}
    training = Training(problem, sizes, runs, settings, **options).run()
    return training, training.outputs(training.test_inputs)


@pytest.mark.parametrize(("problem", "sizes", "runs"), problems())
def test_training_and_evaluation_run_on_strict_arrays_and_equal_numpy(problem, sizes, runs):
    strict_run, strict_outputs = train(problem, sizes, runs, StrictBackend())
    assert isinstance(strict_run.network.parameters, StrictArray)
    expected, outputs = train(problem, sizes, runs, Backend())
    assert np.allclose(strict_outputs, outputs, rtol=1e-12)
    for epoch, reference in zip(strict_run.history, expected.history, strict=True):
        assert epoch.objective == pytest.approx(reference.objective, rel=1e-12)
        for measured, values in ((epoch.test, reference.test), (epoch.train, reference.train)):
            assert measured.keys() == values.keys()
            for name in values:
                assert type(measured[name]) is np.ndarray
                assert measured[name] == pytest.approx(values[name], rel=1e-12)
    for replica in range(len(runs)):
        for name, tensor in expected.network.tensors(replica).items():
            assert np.allclose(strict_run.network.tensors(replica)[name], tensor, rtol=1e-12)
    part = strict_run.network.select([1])
    assert np.allclose(
        StrictBackend().to_numpy(part.predict(strict_run.test_inputs))[0], outputs[1], rtol=1e-12
    )


@pytest.mark.parametrize(
    ("metric", "of"),
    [
        (metrics.agreement, "z, teacher"),
        (metrics.agreement_on_mistakes, "z, teacher, y"),
        (metrics.divergence, "z, teacher"),
        (metrics.calibration, "z, y"),
        (metrics.calibration_error, "z, y"),
        (metrics.confusion, "z, y"),
    ],
)
def test_what_the_student_learned_is_measured_on_strict_arrays(metric, of):
    generator = np.random.default_rng(0)
    arrays = {
        "z": generator.normal(0, 3, (3, 22, 4)),
        "teacher": teacher_outputs(),
        "y": generator.integers(0, 4, 22),
    }
    strict = StrictBackend()
    given = [arrays[name] for name in of.split(", ")]
    options = {} if metric is metrics.agreement else {"backend": strict}
    values, expected = metric(*map(strict.asarray, given), **options), metric(*given)
    if metric is not metrics.calibration:
        values, expected = [values], [expected]
    for value, number in zip(values, expected, strict=True):
        assert np.allclose(strict.to_numpy(value), number, rtol=1e-12, equal_nan=True)


@needs_cupy
@pytest.mark.parametrize(("problem", "sizes", "runs"), problems())
def test_the_installed_cupy_has_every_name_that_training_uses(problem, sizes, runs):
    StrictArray.called.clear()
    StrictNamespace.called.clear()
    train(problem, sizes, runs, StrictBackend())
    # Else the record has missed what was called.
    assert {"matmul", "exp" if sizes[-1] == 4 else "subtract", "sqrt"} <= StrictNamespace.called
    assert {"mT", "reshape", "sum", "__add__"} <= StrictArray.called
    assert [name for name in sorted(StrictNamespace.called) if not hasattr(cupy, name)] == []
    assert [name for name in sorted(StrictArray.called) if not hasattr(cupy.ndarray, name)] == []


@pytest.mark.parametrize("name", WEIGHINGS)
def test_weighing_rows_runs_on_strict_arrays_and_equals_numpy(name):
    y, s_teacher = np.random.default_rng(0).normal(size=(2, 3, 7, 2))
    results = []
    for backend in (StrictBackend(), Backend()):
        loss = WeightedRegressionLoss([0.2, 0.5, 1.0], name, replicas=3, backend=backend)
        results.append(loss.target(backend.asarray(y), backend.asarray(s_teacher)))
    for actual, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(StrictBackend().to_numpy(actual), expected)


def test_the_gradient_split_runs_on_strict_arrays_and_equals_numpy():
    generator = np.random.default_rng(0)
    z, z_teacher = generator.normal(size=(3, 20, 4)), generator.normal(size=(20, 4))
    y = generator.integers(0, 4, 20)
    results = []
    for backend in (StrictBackend(), Backend()):
        arrays = map(backend.asarray, (z, z_teacher, y))
        split = metrics.distillation_gradient_split(
            *arrays, [1.0, 2.0, 4.0], rows=8, backend=backend
        )
        results.append([backend.to_numpy(part) for part in split])
    np.testing.assert_allclose(*results, rtol=1e-12)


XP = StrictNamespace()


@pytest.mark.parametrize(
    "mistake",
    [
        lambda a: np.asarray(a),
        lambda a: np.array([a, a]),
        lambda a: np.exp(a),
        lambda a: np.sum(a),
        lambda a: np.ones(3) * a,
        lambda a: a + np.ones(3),
        lambda a: operator.iadd(a, np.ones(3)),
        lambda a: a[np.array([0, 1])],
        lambda a: a.__setitem__(0, np.ones(())),
        lambda a: XP.add(a, np.ones(3)),
        lambda a: XP.add(a, a, out=np.ones(3)),
        lambda a: XP.concatenate([a, np.ones(3)]),
        lambda a: float(a[0]),
        lambda a: int(a[0]),
        lambda a: bool(a[0]),
        lambda a: range(a[0]),
        lambda a: list(a),
        lambda a: max(*a),
        lambda a: a[0].item(),
        lambda a: a.tolist(),
    ],
)
def test_a_silent_way_to_the_host_is_refused(mistake):
    with pytest.raises((TypeError, AttributeError)):
        mistake(XP.asarray(np.ones(3)))


@needs_cupy
@pytest.mark.parametrize(
    "mistake",
    [
        lambda a: XP.take(a, XP.asarray([0, 1]), axis=0, mode="clip"),
        lambda a: XP.exp(a, order="F"),
        lambda a: XP.matmul(a, a, axes=1, where=True),
        lambda a: a.sum(axis=0, where=True),
        lambda a: a.max(axis=0, initial=0.0),
        lambda a: XP.spacing(a),
        lambda a: a.resize(2),
    ],
)
def test_what_cupy_lacks_is_refused(mistake):
    with pytest.raises((TypeError, AttributeError)):
        mistake(XP.asarray(np.ones(3)))


@pytest.mark.parametrize(
    ("module", "name", "planted"),
    [
        (metrics, "errors", lambda z, y: np.asarray(z).argmax(axis=-1)),
        (metrics, "errors", lambda z, y: float((z.argmax(axis=-1) != y).sum())),
        (layers, "dense_forward", lambda xp, h, x, W, b, relu: np.matmul(x, W, out=h)),
        (StrictBackend, "gather", Backend.gather),
    ],
    ids=["asarray", "float", "operation", "mode"],
)
def test_a_planted_mistake_ends_a_training_run(monkeypatch, module, name, planted):
    problem, sizes, runs = problems()[0].values
    monkeypatch.setattr(module, name, planted)
    train(problem, sizes, runs, Backend())  # NumPy itself does not mind
    with pytest.raises(TypeError):
        train(problem, sizes, runs, StrictBackend())


def refusal(name):
    with pytest.raises(UserError) as error:
        nkd.choose(name)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_asking_for_cupy_where_it_is_not_installed_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "pip install 'nkd[cuda12]'" in refusal("cupy")
    assert nkd.choose("auto").name in ("numpy", "numba")


def test_asking_for_cupy_without_a_usable_gpu_says_why_in_one_line(monkeypatch):
    module = ModuleType("cupy")
    module.__version__ = "14.0"

    def arange(stop):
        raise RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected\nand more")

    module.arange = arange
    monkeypatch.setitem(sys.modules, "cupy", module)
    assert "no CUDA-capable device is detected)" in refusal("cupy")
    assert nkd.choose("auto").name in ("numpy", "numba")


def test_an_unknown_backend_is_refused_with_the_known_names():
    assert "auto, numpy, numba, cupy" in refusal("torch")
