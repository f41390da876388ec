"""The CUDA forms of the named operations and of the step: the same signatures and results.

Without a GPU, the kernels run as C++ and cuBLAS's calls are carried out by NumPy
(emulated_gpu.py); that the source is CUDA, NVRTC or nvcc says. With one, the tests marked "gpu"
are the same on CuPy.
"""

import dataclasses
import inspect
import re
import shutil
import subprocess

import numpy as np
import pytest
from conftest import (
    assert_same_tensors,
    classification_data,
    regression_data,
    teacher_outputs,
    trained_as_plain,
)
from emulated_gpu import COMPILER, Cublas, EmulatedBackend
from hypothesis import given, settings
from hypothesis import strategies as st
from named_operations import PLAIN, SCRATCH, TOLERANCE, arguments

import nkd
from benchmarks.gpu import step_of
from benchmarks.workloads import Workload
from nkd import UserError, fused_gpu, losses
from nkd.backend import NUMPY, choose
from nkd.distillation import Classification, Regression, pairs
from nkd.fused_gpu import Operations, source
from nkd.training import Settings, Training

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("emulated", marks=needs_compiler),
        pytest.param("cupy", marks=pytest.mark.gpu),
    ],
)
def gpu(request):
    """The emulated GPU, and with `pytest -m gpu` a real one."""
    if request.param == "emulated":
        return EmulatedBackend()
    try:
        return choose("cupy")
    except UserError as reason:
        pytest.skip(str(reason))


def whole(array):
    """The memory that a view is part of."""
    return whole(array.base) if isinstance(array.base, np.ndarray) else array


def to_device(backend, array):
    """A view of a copy of all memory that `array` is part of, and that memory."""
    memory = backend.asarray(whole(array))
    assert whole(array).ctypes.data == array.ctypes.data
    as_strided = backend.xp.lib.stride_tricks.as_strided
    return as_strided(memory, array.shape, array.strides), memory


def copy_of(backend, argument):
    """An argument on the device, and the memory of its array if it is one."""
    if isinstance(argument, tuple):
        return tuple(to_device(backend, each)[0] for each in argument), None
    return to_device(backend, argument) if isinstance(argument, np.ndarray) else (argument, None)


@pytest.mark.parametrize("name", [*PLAIN, "gather"])
def test_a_cuda_form_has_the_signature_of_the_plain_one(name):
    plain = list(inspect.signature(PLAIN.get(name, NUMPY.gather)).parameters)
    form = list(inspect.signature(getattr(Operations, name)).parameters)
    assert form[1:] == plain[name != "gather" :]  # without self, and without xp


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", PLAIN)
@settings(max_examples=25)
@given(R=st.integers(1, 6), B=st.integers(1, 70), C=st.integers(1, 300), seed=st.integers(0, 10**6))
def test_a_cuda_form_is_equal_to_the_plain_operation(gpu, name, dtype, R, B, C, seed):
    plain = arguments(name, dtype, R, B, C, np.random.default_rng(seed))
    again = arguments(name, dtype, R, B, C, np.random.default_rng(seed))
    PLAIN[name](np, *plain)
    copies = [copy_of(gpu, value) for value in again]
    gpu.operation(PLAIN[name])(*(value for value, _ in copies))
    names = list(inspect.signature(PLAIN[name]).parameters)[1:]
    for argument, expected, (_, memory) in zip(names, plain, copies, strict=True):
        if memory is not None and argument not in SCRATCH:
            scale = np.abs(expected).max() + 1
            # What lies around a tensor in a network's row must stay as it was, too.
            actual, expected = gpu.to_numpy(memory), whole(expected)
            np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("stored", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_cuda_gather_is_equal_to_the_plain_one(gpu, stored, dtype):
    generator = np.random.default_rng(0)
    table = generator.integers(0, 256, (50, 700)).astype(stored)
    rows = generator.integers(0, 50, 20)
    plain = np.empty((20, 700), dtype)
    room = plain if stored == dtype else np.empty((20, 700), stored)
    NUMPY.gather(plain, table, rows, dtype(1 / 255), room)
    out = gpu.asarray(np.empty((20, 700), dtype))
    gpu.gather(out, gpu.asarray(table), gpu.asarray(rows), dtype(1 / 255), None)
    np.testing.assert_array_equal(gpu.to_numpy(out), plain)


@needs_compiler
@settings(max_examples=100)
@given(
    axes=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    sizes=st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6)),
    transposed=st.sampled_from(["", "x", "y"]),
    stack=st.sampled_from(["whole", "without A", "of one"]),
    padding=st.integers(0, 2),
    seed=st.integers(0, 10**6),
)
def test_a_product_is_a_few_calls_that_copy_nothing(axes, sizes, transposed, stack, padding, seed):
    """Each call is checked by the emulated cuBLAS, which sees only addresses, sizes and flags."""
    gpu, generator = EmulatedBackend(), np.random.default_rng(seed)
    (A, S), (n, k, m) = axes, sizes
    stack = {"whole": axes, "without A": (S,), "of one": (1,)}[stack]

    def matrix(stack, rows, columns, turned):  # the lines of its memory may be longer
        if turned:
            return matrix(stack, columns, rows, False).mT
        return generator.normal(size=(*stack, rows, columns + padding))[..., :columns]

    x, y = matrix(stack, n, k, transposed == "x"), matrix(axes, k, m, transposed == "y")
    out, expected = gpu.asarray(np.zeros((A, S, n, m))), np.matmul(x, y)
    (x, _), (y, _) = (to_device(gpu, each) for each in (x, y))
    launches = list(gpu.forms.product(out, x, y))
    fused_gpu.run(launches)
    np.testing.assert_allclose(gpu.to_numpy(out), np.broadcast_to(expected, out.shape), atol=1e-12)
    assert gpu.cublas.calls == len(launches) == min(A, S)


@settings(max_examples=30)
@given(
    seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3),
    columns=st.integers(1, 900),  # up to 8,100 numbers: several blocks of 64 threads
    batches=st.tuples(st.integers(1, 3), st.integers(1, 9)),
    drawn=st.integers(0, 10**6),
    rate=st.floats(0.01, 0.99),
)
def test_dropout_takes_the_numbers_that_the_host_would_draw(
    gpu, seeds, columns, batches, drawn, rate
):
    """In any step, wherever its numbers begin in the stream: each thread jumps there."""
    step, batch = batches
    streams = [np.random.default_rng(seed) for seed in seeds]
    h = gpu.asarray(np.ones((len(seeds), batch, columns)))
    words, counter = gpu.asarray(fused_gpu.words_of(streams)), gpu.asarray(np.array([step]))
    fused_gpu.run([gpu.forms.drop(h, words, drawn, counter, batch, rate)])
    for stream, actual in zip(streams, gpu.to_numpy(h), strict=True):
        stream.random(drawn + step * batch * columns, dtype=np.float32)
        uniform = stream.random((batch, columns), dtype=np.float32)
        np.testing.assert_array_equal(actual, np.where(uniform >= rate, 1 / (1 - rate), 0))


@pytest.mark.parametrize("shared", [True, False], ids=["shared batches", "own batches"])
@pytest.mark.parametrize(
    "regularised",
    [
        {"dropout": (0.2, 0.5, 0.4)},
        {"dropout": (0.0, 0.5, 0.0), "jitter": 1},
        {"largest_norm": 0.7},
        {"dropout": (0.1, 0.0, 0.5), "largest_norm": 0.9, "jitter": 1, "average": 1},
    ],
    ids=str,
)
def test_a_regularised_step_trains_as_the_plain_one(gpu, regularised, shared):
    data = dataclasses.replace(classification_data(23, 15, 4), image_shape=(3, 5))
    runs = pairs([1, 2], 0.7, teacher_outputs(23), 3.0)
    runs = runs if shared else runs[1:]
    options = Settings(3, 5, 0.01, **regularised)  # epochs of an odd number of rows
    problem, sizes = Classification(data), (15, 7, 6, 4)
    on_gpu = trained_as_plain(problem, sizes, runs, options, gpu, 1e-9, 1e-9)
    assert isinstance(on_gpu.step, fused_gpu.Step)


@pytest.mark.parametrize("loss", ["bounded", "attentive", "rejected"])
def test_losses_that_weigh_rows_have_a_compiled_form(gpu, loss):
    runs = pairs([1, 2], 0.7, teacher_outputs(22, 2), loss=loss)
    problem, options = Regression(regression_data()), Settings(3, 5, 0.01)
    on_gpu = trained_as_plain(problem, (5, 7, 2), runs, options, gpu, 1e-9, 1e-9)
    assert isinstance(on_gpu.step, fused_gpu.Step)


def test_not_a_number_stays_visible(gpu):
    h, b = np.empty((1, 1, 1, 3), np.float32), np.array([[[[np.nan, -1.0, 2.0]]]], np.float32)
    x, W = np.zeros((1, 1, 1), np.float32), np.zeros((1, 1, 1, 3), np.float32)
    h, b, x, W = map(gpu.asarray, (h, b, x, W))
    gpu.operation(PLAIN["dense_forward"])(h, x, W, b, True)
    h = gpu.to_numpy(h)
    assert np.isnan(h[0, 0, 0, 0])
    assert h[0, 0, 0, 1:].tolist() == [0, 2]


def test_a_caller_may_give_arrays_of_any_layout(gpu):
    rng = np.random.default_rng(0)
    z, t = rng.normal(size=(2, 3, 10)), rng.normal(size=(2, 3, 10))
    network, expected = (
        nkd.MLP((5, 4, 2), dtype=np.float64, backend=each) for each in (gpu, NUMPY)
    )
    for each in (network, expected):
        each.initialise([1])
    zs, ts = (gpu.asarray(each)[..., ::2] for each in (z, t))
    for loss in (
        losses.mse,
        lambda z, t, backend: losses.kl_divergence(z, t, 2.0, backend=backend),
    ):
        for one, other in zip(
            loss(zs, ts, backend=gpu), loss(z[..., ::2], t[..., ::2], backend=NUMPY), strict=True
        ):
            np.testing.assert_allclose(gpu.to_numpy(one), other, rtol=1e-12, atol=1e-14)
    outputs = network.forward(zs[0]), expected.forward(z[0, :, ::2])
    np.testing.assert_allclose(gpu.to_numpy(outputs[0]), outputs[1], rtol=1e-12)


def training(backend, kind, runs, dtype, batch_size=15, epochs=2, rows=75):
    """75 rows in batches of 15: ten steps in two epochs."""
    if kind == "classification":
        problem, sizes = Classification(classification_data(rows, 20, 4)), (20, 40, 30, 4)
    else:
        problem, sizes = Regression(regression_data(rows, 20, 4)), (20, 40, 30, 4)
    options = Settings(epochs, batch_size, learning_rate=0.003)
    return Training(problem, sizes, runs, options, dtype=dtype, backend=backend).run()


@pytest.mark.parametrize("shared", [True, False], ids=["shared batches", "own batches"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-4), (np.float64, 1e-9)])
@pytest.mark.parametrize("kind", ["classification", "regression"])
@pytest.mark.parametrize("batch_size", [15, 14, 100], ids=["even", "a rest", "only a rest"])
def test_ten_steps_end_as_those_of_numpy(gpu, kind, dtype, tolerance, shared, batch_size):
    runs = pairs(range(3), 0.7, teacher_outputs(75), 3.0)
    runs = runs if shared else [*runs[1:], runs[0]]
    expected = training(NUMPY, kind, runs, dtype, batch_size)
    actual, again = (training(gpu, kind, runs, dtype, batch_size) for _ in range(2))
    assert isinstance(actual.step, fused_gpu.Step)
    for one, other in zip(actual.history, expected.history, strict=True):
        np.testing.assert_allclose(one.objective, other.objective, rtol=tolerance)
    for replica in range(len(runs)):
        tensors = actual.network.tensors(replica), expected.network.tensors(replica)
        assert_same_tensors(*tensors, tolerance)
    same = gpu.to_numpy(actual.network.parameters) == gpu.to_numpy(again.network.parameters)
    assert same.all()  # a seed keeps its bits


def test_the_emulated_cublas_is_declared_as_that_of_the_installed_cupy():
    pytest.importorskip("cupy")
    try:
        from cupy_backends.cuda.libs import cublas
    except ImportError as reason:
        pytest.skip(f"cuBLAS is not installed: {str(reason).splitlines()[0]}")
    declared = re.search(r"\((.*)\)", cublas.gemmStridedBatchedEx.__doc__)[1]
    names = [parameter.split()[-1] for parameter in declared.split(",")]
    assert names == list(inspect.signature(Cublas().gemmStridedBatchedEx).parameters)
    for name, value in vars(Cublas).items():
        if name.startswith("CUBLAS"):
            assert getattr(cublas, name) == value


def test_the_benchmark_plans_the_launches_of_a_step(gpu):
    workload = Workload("small", "", (6, 5, 3), 4, 20, distilled=True)
    step, launches = step_of(workload, gpu)
    before = step.network.tensors()
    fused_gpu.run(launches)
    assert (step.network.tensors()["dense1.W"] != before["dense1.W"]).any()


@needs_compiler
def test_only_tf32_and_only_float32_use_the_tensor_cores():
    for tf32, dtype, expected in (
        (False, np.float32, "CUBLAS_COMPUTE_32F"),
        (True, np.float32, "CUBLAS_COMPUTE_32F_FAST_TF32"),
        (True, np.float64, "CUBLAS_COMPUTE_64F"),
    ):
        gpu = EmulatedBackend(tf32)
        training(gpu, "regression", [nkd.Run(0)], dtype)
        assert gpu.cublas.computed == {getattr(gpu.cublas, expected)}


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_tf32_is_refused_where_there_are_no_tensor_cores(name):
    with pytest.raises(UserError, match=r"^--tf32: .* use --backend cupy$"):
        choose(name, tf32=True)


TYPES = [
    (real, stored) for real in fused_gpu.C_TYPES if real != "uint8" for stored in ("uint8", real)
]


@pytest.mark.parametrize(("real", "stored"), TYPES)
def test_nvrtc_compiles_the_kernels(real, stored):
    pytest.importorskip("cupy")
    try:
        from cupy_backends.cuda.libs import nvrtc

        nvrtc.getVersion()
    except (ImportError, RuntimeError, OSError) as reason:
        pytest.skip(f"NVRTC is not installed: {str(reason).splitlines()[0]}")
    program = nvrtc.createProgram(source(real, stored), "kernels.cu", (), ())
    try:
        nvrtc.compileProgram(program, ("--gpu-architecture=sm_90",))
    finally:
        log = nvrtc.getProgramLog(program)
        nvrtc.destroyProgram(program)
    assert log.strip("\n\0") == ""  # not even a warning


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
@pytest.mark.parametrize(("real", "stored"), TYPES)
def test_nvcc_compiles_the_kernels_without_local_memory(real, stored, tmp_path):
    (tmp_path / "kernels.cu").write_text(source(real, stored))
    options = ["-arch=sm_90", "-cubin", "-Werror", "all-warnings", "-Xptxas", "-v"]
    command = ["nvcc", *options, "kernels.cu"]
    report = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert report.stderr.count("0 bytes stack frame") == source(real, stored).count("__global__")


@pytest.mark.gpu
def test_students_trained_on_gpu_and_cpu_end_within_the_spread_of_the_seeds():
    try:
        gpu = choose("cupy")
    except UserError as reason:
        pytest.skip(str(reason))
    problem = Classification(nkd.load_classification("digits"))
    options = Settings(epochs=20, batch_size=64, learning_rate=0.003)
    teacher = Training(problem, (64, 64, 10), [nkd.Run(0)], options).run()
    targets = teacher.outputs(teacher.train_inputs)[0]
    runs = [nkd.Run(seed, 0.5, 2.0, targets) for seed in range(20)]
    losses = [
        Training(problem, (64, 16, 10), runs, options, backend=backend)
        .run()
        .history[-1]
        .test["loss"]
        for backend in (NUMPY, gpu)
    ]
    assert abs(losses[0].mean() - losses[1].mean()) < losses[0].std(ddof=1)
