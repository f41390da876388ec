"""The contestants: each trains a `Workload` from the same weights on the same batches.

Everything that a library offers for speed and that keeps the mathematics the same is used: fused
Adam, compilation, a loop that is compiled as a whole, batched products for several networks.
"""

from __future__ import annotations

import itertools
import os
from typing import Any, ClassVar

import numpy as np

from benchmarks.workloads import IMAGE, LEARNING_RATE, TEMPERATURE, Workload
from nkd.machine import products_of

CHECKED_STEPS = 5


def windows_of(numbers: Any, workload: Workload) -> tuple[Any, Any, Any]:
    """The image of each view, and where its window of the bordered image starts: nkd/tables.py.

    An image that moved down and right is a window that lies up and left.
    """
    side = 2 * workload.moved + 1
    corner = side**2 - 1 - numbers // workload.rows
    return numbers % workload.rows, corner // side, corner % side


class Peer:
    """A contestant: `prepare` builds everything that is not part of a step, `run` trains further.

    Args:
        workload: what is trained; the batches are its rows in its order, again and again.
    """

    name: ClassVar[str]
    compared: ClassVar[bool] = True
    """Whether its losses must equal those of the others before it is timed."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        order, B = workload.arrays["order"], workload.batch_size
        self.batches = order[: len(order) // B * B].reshape(-1, B)
        self.done = 0
        x = workload.arrays["x"][: workload.batch_size]
        self.inputs = x.astype(np.float32) * np.float32(workload.scale)
        self.prepare(workload.initial_weights())

    @classmethod
    def supports(cls, workload: Workload) -> bool:
        """Whether it can do this work at all."""
        return True

    def prepare(self, weights: list[dict[str, np.ndarray]]) -> None:
        """Build the networks with these weights."""
        raise NotImplementedError

    def computes_with(self) -> str:
        """The library of matrix products and its kernels."""
        return str(products_of("numpy"))

    def train(self, batches: np.ndarray) -> float:
        """Train on these rows, (steps, B); the mean loss over steps and networks."""
        raise NotImplementedError

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """The outputs (B, O) of the first network, for inputs (B, I), float32 and scaled."""
        raise NotImplementedError

    def run(self, steps: int) -> float:
        """Train that many more steps, and return the mean loss; or compute outputs that often."""
        if self.workload.inference:
            for _ in range(steps):
                outputs = self.outputs(self.inputs)
            return float(np.abs(outputs).mean())
        numbers = np.arange(self.done, self.done + steps) % len(self.batches)
        self.done += steps
        return self.train(self.batches[numbers])

    def check(self) -> list[float]:
        """What must agree among contestants: the losses of the first steps, or the outputs."""
        return [self.run(1) for _ in range(1 if self.workload.inference else CHECKED_STEPS)]


class Nkd(Peer):
    """This package."""

    name = "nkd numpy"
    backend = "numpy"
    tf32 = False

    @classmethod
    def supports(cls, workload: Workload) -> bool:
        from nkd.backend import choose

        choose(cls.backend, tf32=cls.tf32)
        return True

    def prepare(self, weights: list[dict[str, np.ndarray]]) -> None:
        from nkd.backend import choose

        self.training = self.workload.training(choose(self.backend, tf32=self.tf32))
        for replica, tensors in enumerate(weights):
            self.training.network.set_tensors(replica, tensors)
        problem, run = self.training.problem, self.training.runs[0]
        loss = problem.losses[0].of([run])
        self.constants = loss.target(problem.hard_targets(np.float64), run.targets)[1].reshape(-1)

    def train(self, batches: np.ndarray) -> float:
        from nkd.training import fit

        training = self.training
        rows = batches.reshape(1, -1)
        rates = [LEARNING_RATE] * len(batches)
        (mean,) = fit(training.step, [rows], self.workload.batch_size, rates)
        return float(mean.mean() + self.constants[rows % self.workload.rows].mean())

    def computes_with(self) -> str:
        return str(self.training.backend.products() or self.training.backend.device())

    def outputs(self, x: np.ndarray) -> np.ndarray:
        backend = self.training.backend
        return backend.to_numpy(self.training.network.predict(backend.asarray(x)))[0]


class NkdNumba(Nkd):
    """This package, its operations compiled by Numba."""

    name = "nkd numba"
    backend = "numba"


class NkdCupy(Nkd):
    """This package on a GPU."""

    name = "nkd cupy"
    backend = "cupy"


class NkdTf32(NkdCupy):
    """The same with products on tensor cores, which round."""

    name = "nkd cupy, TF32"
    compared = False
    tf32 = True


class Products(Peer):
    """Only the matrix products, on ready arrays: a bound for everybody."""

    name = "products alone"
    compared = False

    def prepare(self, weights: list[dict[str, np.ndarray]]) -> None:
        R, B, sizes = self.workload.replicas, self.workload.batch_size, self.workload.sizes
        rng = np.random.default_rng(0)

        def random(*shape: int) -> np.ndarray:
            return rng.standard_normal((R, *shape), dtype=np.float32)

        self.products = []
        for number, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
            h, W, dz = random(B, inputs), random(inputs, outputs), random(B, outputs)
            self.products.append((h, W, random(B, outputs)))
            if self.workload.inference:
                continue
            self.products.append((h.mT, dz, random(inputs, outputs)))
            if number:
                self.products.append((dz, W.mT, random(B, inputs)))

    def train(self, batches: np.ndarray) -> float:
        for _ in batches:
            self.outputs(batches)
        return 0.0

    def outputs(self, x: np.ndarray) -> np.ndarray:
        for left, right, out in self.products:
            np.matmul(left, right, out=out)
        return out


class Torch(Peer):
    """PyTorch, eager, fused Adam; several networks as batched products."""

    name = "PyTorch eager"
    device = "cpu"
    compiled: ClassVar[dict[str, Any] | None] = None
    """How it is compiled, if at all."""

    @classmethod
    def supports(cls, workload: Workload) -> bool:
        import torch

        torch.zeros(1, device=cls.device)
        return True

    def prepare(self, weights: list[dict[str, np.ndarray]]) -> None:
        import torch
        from torch.nn import functional

        workload, arrays = self.workload, self.workload.arrays
        torch.set_num_threads(os.cpu_count() or 1)
        x, y, teacher = (
            torch.tensor(arrays[name], device=self.device) for name in ("x", "y", "teacher")
        )
        self.x, self.y, self.teacher = x.float() * workload.scale, y, teacher
        p = workload.moved
        if p:  # a view of each window of each image with its border: nothing is copied
            bordered = functional.pad(self.x.reshape(-1, *IMAGE), (p, p, p, p))
            windows = bordered.unfold(1, IMAGE[0], 1).unfold(2, IMAGE[1], 1)
        self.x = None if p else self.x

        def gathered(numbers: Any) -> tuple[Any, Any, Any]:
            if not p:
                return self.x[numbers], self.y[numbers], self.teacher[numbers]
            starts = windows_of(numbers, workload)
            return windows[starts].flatten(1), self.y[starts[0]], self.teacher[starts[0]]

        layers = len(workload.sizes) - 1
        names = [f"dense{number}.{part}" for number in range(1, layers + 1) for part in "Wb"]
        single = workload.replicas == 1

        def parameter(name: str) -> Any:
            stacked = np.stack([network[name] for network in weights])
            stacked = stacked[:, None] if name.endswith("b") else stacked
            if single:
                stacked = stacked[0].T.copy() if name.endswith("W") else stacked[0, 0]
            return torch.nn.Parameter(torch.tensor(stacked, device=self.device))

        parameters = [parameter(name) for name in names]
        optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True)
        alpha, T = workload.alpha, TEMPERATURE

        def outputs(x: Any, rates: tuple[float, ...] = ()) -> Any:
            h = x if single else x.expand(workload.replicas, *x.shape)
            for n, (W, b) in enumerate(zip(parameters[::2], parameters[1::2], strict=True)):
                h = functional.dropout(h, rates[n]) if rates else h
                h = functional.linear(h, W, b) if single else torch.baddbmm(b, h, W)
                h = functional.relu(h) if b is not parameters[-1] else h
            return h

        def loss_of(x: Any, y: Any, teacher: Any) -> Any:
            z = outputs(x, workload.rates)
            if not workload.classes:
                # Summed over networks, which are independent of each other.
                mean = (-2, -1)
                hard = ((z - y) ** 2).mean(mean).sum()
                soft = ((z - teacher) ** 2).mean(mean).sum() if alpha else 0.0
                return (1 - alpha) * hard + alpha * soft
            R = workload.replicas
            if not single:  # the mean over all rows of all networks, times R, is the sum of means
                z, y = z.flatten(0, 1), y.repeat(R)
                teacher = teacher.repeat(R, 1) if alpha else teacher
            hard = functional.cross_entropy(z, y)
            if not alpha:
                return R * hard
            q, p = (functional.log_softmax(each / T, -1) for each in (z, teacher))
            soft = functional.kl_div(q, p, log_target=True, reduction="batchmean")
            return R * ((1 - alpha) * hard + alpha * T**2 * soft)

        compute, self.forward = loss_of, outputs
        if self.compiled is not None:
            compute, self.forward = (
                torch.compile(each, **self.compiled) for each in (loss_of, outputs)
            )

        def step(rows: Any) -> Any:
            loss = compute(*gathered(rows))
            optimizer.zero_grad(set_to_none=False)
            loss.backward()
            optimizer.step()
            return loss.detach()

        self.step = step

    def computes_with(self) -> str:
        import torch

        if self.device == "cuda":
            return str(torch.cuda.get_device_name())
        library = "MKL" if torch.backends.mkl.is_available() else "its own BLAS"
        return f"{library} and oneDNN, {torch.backends.cpu.get_cpu_capability()} kernels"

    def outputs(self, x: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            return self.forward(torch.from_numpy(x).to(self.device)).cpu().numpy()

    def train(self, batches: np.ndarray) -> float:
        import torch

        rows = torch.from_numpy(batches).to(self.device)
        total = sum(self.step(batch) for batch in rows)
        return float(total) / len(batches) / self.workload.replicas


class TorchCompiled(Torch):
    """PyTorch, forward and loss compiled."""

    name = "PyTorch compiled"
    compiled: ClassVar[dict[str, Any] | None] = {}


class TorchGpu(Torch):
    """PyTorch eager on a GPU, where the data are as well."""

    device = "cuda"


class TorchGpuCompiled(TorchGpu):
    """PyTorch on a GPU, forward, loss and backward replayed as CUDA graphs."""

    name = "PyTorch reduce-overhead"
    compiled: ClassVar[dict[str, Any] | None] = {"mode": "reduce-overhead"}


class Jax(Peer):
    """JAX: a scan over the batches, compiled as a whole; several networks by vmap."""

    name = "JAX"

    @classmethod
    def supports(cls, workload: Workload) -> bool:
        import jax  # noqa: F401

        return True

    def prepare(self, weights: list[dict[str, np.ndarray]]) -> None:
        import jax
        from jax import numpy as jnp

        workload, arrays = self.workload, self.workload.arrays
        x = arrays["x"].astype(np.float32) * np.float32(workload.scale)
        p = workload.moved
        if p:
            x = np.pad(x.reshape(-1, *IMAGE), ((0, 0), (p, p), (p, p)))
        self.data = tuple(map(jnp.asarray, (x, arrays["y"], arrays["teacher"])))

        def gathered(data: Any, numbers: Any) -> tuple[Any, ...]:
            if not p:
                return tuple(array[numbers] for array in data)
            images, y, teacher = data
            starts = windows_of(numbers, workload)
            window = jax.vmap(lambda *start: jax.lax.dynamic_slice(images, start, (1, *IMAGE)))
            x = window(*starts).reshape(len(numbers), -1)
            return x, y[starts[0]], teacher[starts[0]]

        alpha, T, names = workload.alpha, TEMPERATURE, list(weights[0])
        layers, single = len(names) // 2, workload.replicas == 1
        parameters = {
            name: jnp.asarray(np.stack([network[name] for network in weights])) for name in names
        }

        def outputs(network: Any, x: Any, key: Any = None) -> Any:
            h = x
            for number in range(1, layers + 1):
                if key is not None:
                    rate = workload.rates[number - 1]
                    kept = jax.random.bernoulli(jax.random.fold_in(key, number), 1 - rate, h.shape)
                    h = jnp.where(kept, h / (1 - rate), 0)
                h = h @ network[f"dense{number}.W"] + network[f"dense{number}.b"]
                h = jax.nn.relu(h) if number < layers else h
            return h

        def loss_of(network: Any, x: Any, y: Any, teacher: Any, key: Any) -> Any:
            h = outputs(network, x, key)
            if not workload.classes:
                return (1 - alpha) * ((h - y) ** 2).mean() + alpha * ((h - teacher) ** 2).mean()
            hard = -jnp.take_along_axis(jax.nn.log_softmax(h), y[:, None], 1).mean()
            if not alpha:
                return hard
            q, p = jax.nn.log_softmax(h / T), jax.nn.log_softmax(teacher / T)
            return (1 - alpha) * hard + alpha * T**2 * (jnp.exp(p) * (p - q)).sum(-1).mean()

        gradient = jax.value_and_grad(loss_of)
        if single:
            parameters = {name: values[0] for name, values in parameters.items()}
        else:
            gradient = jax.vmap(gradient, (0, None, None, None, None))

        def steps(state: Any, data: Any, batches: Any) -> tuple[Any, Any]:
            def step(state: Any, rows: Any) -> tuple[Any, Any]:
                w, m, v, t = state
                t = t + 1
                # Random bits from the generator that is fastest on a CPU.
                key = jax.random.key(t.astype(int), impl="unsafe_rbg") if workload.dropout else None
                value, g = gradient(w, *gathered(data, rows), key)
                m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
                v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
                rate, c = LEARNING_RATE / (1 - 0.9**t), 1 / (1 - 0.999**t)
                w = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v * c) + 1e-8), w, m, v)
                return (w, m, v, t), value.mean()

            state, values = jax.lax.scan(step, state, batches)
            return state, values.mean()

        zeros = jax.tree.map(jnp.zeros_like, parameters)
        self.state = (parameters, zeros, jax.tree.map(jnp.copy, zeros), jnp.float32(0))
        self.steps = jax.jit(steps, donate_argnums=0)
        self.forward = jax.jit(outputs)

    def computes_with(self) -> str:
        import jaxlib

        return f"XLA's own kernels, jaxlib {jaxlib.__version__}"

    def outputs(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.forward(self.state[0], x))

    def train(self, batches: np.ndarray) -> float:
        self.state, mean = self.steps(self.state, self.data, batches)
        return float(mean)


class JaxGpu(Jax):
    """JAX on a GPU, its products in float32 like everybody's, and not in TF32."""

    @classmethod
    def supports(cls, workload: Workload) -> bool:
        import jax

        if jax.default_backend() != "gpu":
            raise RuntimeError("this JAX has no GPU: pip install 'jax[cuda12]'")
        jax.config.update("jax_default_matmul_precision", "highest")
        return True


class Sklearn(Peer):
    """scikit-learn's MLP by `partial_fit`. It cannot distil, so there it trains on the labels."""

    name = "scikit-learn"
    # Its loss for regression is half a mean squared error, its penalty a mean over the batch.
    compared = False

    @classmethod
    def supports(cls, workload: Workload) -> bool:
        import sklearn  # noqa: F401

        return workload.replicas == 1 and not (workload.inference or workload.moved)

    def prepare(self, weights: list[dict[str, np.ndarray]]) -> None:
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        workload, arrays = self.workload, self.workload.arrays
        self.x = arrays["x"].astype(np.float32) * np.float32(workload.scale)
        self.y = arrays["y"] if workload.classes else arrays["y"][:, 0]
        self.classes = {"classes": range(workload.sizes[-1])} if workload.classes else {}
        self.model = (MLPClassifier if workload.classes else MLPRegressor)(
            hidden_layer_sizes=workload.sizes[1:-1], alpha=0.0, batch_size=workload.batch_size
        )

    def train(self, batches: np.ndarray) -> float:
        for rows in batches:
            self.model.partial_fit(self.x[rows], self.y[rows], **self.classes)
        return 0.0


PEERS: dict[str, type[Peer]] = {
    peer.name: peer for peer in (Nkd, NkdNumba, Products, Torch, TorchCompiled, Jax, Sklearn)
}
GPU_PEERS: dict[str, type[Peer]] = {
    peer.name: peer for peer in (NkdCupy, NkdTf32, TorchGpu, TorchGpuCompiled, JaxGpu)
}
