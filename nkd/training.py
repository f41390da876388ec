"""Training: settings, the step, the loop over epochs, and what is measured after each."""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nkd import metrics
from nkd.backend import NUMPY, Array, Backend
from nkd.data import Dataset
from nkd.distillation import Problem, Run, arms_of
from nkd.errors import Diverged, UserError
from nkd.layers import Dense
from nkd.losses import DistillationLoss, Loss, kinds_of, loss_of
from nkd.network import MLP, check_rates, check_sizes, most_rows
from nkd.optimizers import OPTIMIZERS
from nkd.tables import MovedImages, Table, batch_orders, checked_order, moved


@dataclass(frozen=True)
class Settings:
    """How networks are trained; the same for all runs of one `Training`.

    Args:
        epochs: passes over the training rows.
        batch_size: rows per step.
        learning_rate: of the first step.
        schedule: "constant", or "cosine" (down to 0).
        report_every: epochs between two measurements on the training rows; with 0 there are none,
            and the test rows are measured after the last epoch alone.
        optimizer: "adam", or "sgd".
        dropout: the rates of the inputs and of each hidden layer; () for none.
        largest_norm: upper bound on the norm of each unit's incoming weights; None for none.
        jitter: largest shift of an image in each direction, in pixels, drawn anew at each use;
            see `MovedImages`.
        average: the networks end with the mean of their weights after each of the last so many
            epochs, see `WeightAverage`; 0 for none.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    schedule: str = "cosine"
    report_every: int = 1
    optimizer: str = "adam"
    dropout: tuple[float, ...] = ()
    largest_norm: float | None = None
    jitter: int = 0
    average: int = 0

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch_size, self.report_every + 1) < 1:
            raise UserError("epochs and batch_size must be at least 1, report_every at least 0")
        if not 0 < self.learning_rate < math.inf:
            raise UserError(f"learning_rate {self.learning_rate:g} must be a number above 0")
        learning_rates(self.schedule, self.learning_rate, 1)  # refuses a schedule it does not know
        if self.optimizer not in OPTIMIZERS:
            raise UserError(f"optimizer {self.optimizer!r}: choose one of {', '.join(OPTIMIZERS)}")
        if not all(0 <= rate < 1 for rate in self.dropout):
            raise UserError(f"dropout {self.dropout}: rates must lie in 0 … 1, without 1")
        if self.largest_norm is not None and not self.largest_norm > 0:
            raise UserError(f"largest_norm {self.largest_norm:g} must be greater than 0")
        if self.jitter < 0:
            raise UserError(f"jitter {self.jitter} must not be negative")
        if not 0 <= self.average <= self.epochs:
            raise UserError(f"average {self.average} must lie in 0 … {self.epochs}, the epochs")

    def lasting(self, epochs: int) -> "Settings":
        """The same for so many epochs; a mean of weights keeps its share of them, as do reports."""
        share = epochs / self.epochs
        return replace(
            self,
            epochs=epochs,
            average=round(self.average * share),
            report_every=self.report_every and max(1, round(self.report_every * share)),
        )


def for_rows(settings: Settings, rows: int, of: int, power: float | None = None) -> Settings:
    """The settings for a part of the training rows that they were made for: with more epochs.

    The steps of training shrink like a power of the number of rows, and the epochs grow
    accordingly. The power is ¾, so a hundredth of the rows gets a 32nd of the steps, which is three
    times the epochs. On moved images it is 0: each image has many views, so as many steps pay.

    Args:
        rows: how many rows there are.
        of: how many the settings were made for.
        power: of the number of rows; by default as chosen in docs/defaults.md.
    """
    if power is None:
        power = 0.0 if settings.jitter else 0.75
    steps = settings.epochs * math.ceil(of / settings.batch_size) * (rows / of) ** power
    return settings.lasting(max(1, round(steps / math.ceil(rows / settings.batch_size))))


@dataclass(frozen=True)
class Epoch:
    """What was measured after an epoch: arrays (R,) with one number per run.

    `objective` is the mean of the training loss over the rows, in the epoch's steps. `test` is
    measured after every epoch, `train` (on all training rows) after reported ones, otherwise None;
    if there are no reports, `test` is {} until the last epoch. `split` is measured along with
    `train`, for classes with a teacher: see `Training.gradient_split`. All numbers of a run that
    has diverged are NaN.
    """

    number: int
    objective: np.ndarray
    test: dict[str, np.ndarray]
    train: dict[str, np.ndarray] | None
    split: tuple[np.ndarray, np.ndarray] | None = None

    def without(self, gone: np.ndarray) -> "Epoch":
        """The same with NaN for some runs, (R,) booleans; counts become float for that."""
        if not gone.any():
            return self

        def blank(values: np.ndarray) -> np.ndarray:
            return np.where(gone, np.nan, values)

        def blanks(measured: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {name: blank(values) for name, values in measured.items()}

        split = self.split and (blank(self.split[0]), blank(self.split[1]))
        train = self.train and blanks(self.train)
        return Epoch(self.number, blank(self.objective), blanks(self.test), train, split)


def diverged_in(history: Sequence[Epoch]) -> dict[int, int]:
    """The numbers of the runs that diverged, in order, and the epoch that each did it in."""
    gone = np.isnan([epoch.objective for epoch in history])
    runs = np.flatnonzero(gone.any(axis=0)).tolist()
    return {run: history[int(gone[:, run].argmax())].number for run in runs}


def all_diverged(runs: Sequence[Run], diverged: Mapping[int, int], settings: Settings) -> Diverged:
    """The error that ends a training of which nothing is left, about the last one to go."""
    last = max(diverged, key=diverged.__getitem__)
    return Diverged(
        f"training diverged in epoch {diverged[last]} (seed {runs[last].seed}): "
        f"the loss is not a finite number; lower the learning rate {settings.learning_rate:g}"
    )


ASKED_ROWS = 10_000
"""Rows that a teacher is asked about at a time."""

SCHEDULES = ("cosine", "constant")


def learning_rates(schedule: str, learning_rate: Any, steps: int) -> Iterator[Any]:
    """The learning rate of each step: "constant", or "cosine" from the full rate down towards 0.

    Cosine is η·½(1 + cos(π·k/steps)) in step k = 0, 1, … (Loshchilov and Hutter 2017,
    arXiv:1608.03983, equation 5, without restarts).
    """
    if schedule == "constant":
        return itertools.repeat(learning_rate, steps)
    if schedule not in SCHEDULES:
        raise UserError(f"there is no schedule {schedule!r}: take 'constant' or 'cosine'")
    return (learning_rate * (0.5 + 0.5 * math.cos(math.pi * k / steps)) for k in range(steps))


class Step:
    """The training step, in plain array operations: the definition of every compiled form.

    Args:
        network, loss, optimizer: what is trained, on what, and by what.
        inputs, targets: the rows; a batch of each is gathered by the same row numbers.
        on_gradients: called with the network in each step, before the optimiser's update.
    """

    def __init__(
        self,
        network: MLP,
        loss: Loss,
        optimizer: Any,
        inputs: Table,
        targets: Table,
        on_gradients: Callable[[MLP], Any] | None = None,
    ) -> None:
        self.network, self.loss, self.optimizer = network, loss, optimizer
        self.inputs, self.targets, self.on_gradients = inputs, targets, on_gradients

    def prepare(self, batch_size: int) -> None:
        """What is done once, before the first step: nothing here; a compiled form compiles."""

    def skip(self, rows: int) -> None:
        """Go on as if so many rows had been trained on: move on the streams that it draws from."""
        self.network.skip_dropout(rows)

    def __call__(self, rows: Array, rate: Any) -> Array:
        """Train on the rows (S, B) at this learning rate; return the values of the loss, (R,)."""
        z = self.network.forward(self.inputs.gather(rows), training=True)
        value, dz = self.loss(z, self.targets.gather(rows))
        self.network.backward(dz)
        if self.on_gradients is not None:
            self.on_gradients(self.network)
        self.optimizer.update(rate)
        self.network.limit_norms()
        return value

    def epoch(
        self, order: Array, batch_size: int, rates: Iterator[Any], track: Callable = iter
    ) -> Array:
        """Train on all rows (S, N) in this order; return the sums of the loss over them, (R,)."""
        total = 0.0
        for start in track(range(0, order.shape[1], batch_size)):
            rows = order[:, start : start + batch_size]
            total += self(rows, next(rates)) * rows.shape[1]
        return total


def choose_step(
    network: MLP,
    loss: Loss,
    optimizer: Any,
    inputs: Table,
    targets: Table,
    on_gradients: Callable[[MLP], Any] | None = None,
    *,
    backend: Backend,
) -> Any:
    """The backend's compiled form of `Step` if it computes every part of this one, else `Step`."""
    parts = network, loss, optimizer, inputs, targets
    if backend.step is None or on_gradients is not None:
        return Step(*parts, on_gradients)
    return (backend.step if backend.computes(*network.parts, *parts[1:]) else Step)(*parts)


def fit(
    step: Step,
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
        orders: for each epoch the row numbers in the order of training, (S, N); network r
            follows order r mod S.
        batch_size: rows per step; the last batch of an epoch takes the rest.
        rates: the learning rate of each step.
        track: wraps each epoch's batches, to show progress.
        backend: where the row numbers go.
    """
    rates = iter(rates)
    for order in map(backend.asarray, orders):
        yield step.epoch(order, batch_size, rates, track) / order.shape[1]


class WeightAverage:
    """The mean of a network's weights over several epochs, in its place while it is measured.

    Izmailov et al. 2018 (arXiv:1803.05407), with equal weights. Late weights scatter about a
    minimum, and their mean has less variance: docs/mathematics.md, section 29.
    """

    def __init__(self, network: MLP) -> None:
        self.network, self.count = network, 0
        self.mean = network.backend.xp.zeros_like(network.parameters)
        self.raw = network.backend.xp.empty_like(network.parameters)

    def take(self) -> None:
        """Add the weights to the mean, mean ← mean + (w − mean)/n, and put it in their place."""
        xp, w = self.network.backend.xp, self.network.parameters
        self.count += 1
        xp.subtract(w, self.mean, out=self.raw)
        xp.divide(self.raw, self.count, out=self.raw)
        xp.add(self.mean, self.raw, out=self.mean)
        self.raw[...] = w
        w[...] = self.mean

    def put_back(self) -> None:
        """Bring the weights back, to train on."""
        if self.count:
            self.network.parameters[...] = self.raw


def check_fit(
    problem: Problem, sizes: Sequence[int], runs: Sequence[Run], settings: Settings
) -> None:
    """Refuse what cannot be trained, before anything is.

    Raises:
        UserError: there is no run, or sizes, losses or settings do not suit the problem.
    """
    check_sizes(sizes)
    ends = problem.data.x_train.shape[1], problem.outputs
    if not runs or (sizes[0], sizes[-1]) != ends:
        raise UserError(
            f"{len(runs)} runs of sizes {tuple(sizes)}: give at least one run, and sizes "
            f"from {ends[0]} inputs to {ends[1]} outputs, as the data have"
        )
    rows = (len(problem.data.x_train),)
    for run, kind in zip(runs, kinds_of(problem.losses, runs), strict=True):
        if run.labelled is None:
            continue
        if kind.every_label:
            raise UserError(
                f"loss {run.loss} compares the teacher with each row's label; where labels are "
                "missing (--labels), take another (--loss)"
            )
        if np.shape(run.labelled) != rows:
            raise UserError(f"labelled of a run has {np.shape(run.labelled)}, not {rows} booleans")
    if settings.jitter and problem.data.image_shape is None:
        raise UserError(f"jitter {settings.jitter} moves images; {problem.data.title} has none")
    check_rates(settings.dropout, sizes)


def inputs_of(data: Dataset, x: np.ndarray, jitter: int = 0, **options: Any) -> Table:
    """Rows x of a data set as networks see them. `options`: dtype and backend."""
    if jitter:
        assert data.image_shape is not None  # `check_fit` sees to it
        return MovedImages(x, data.image_shape, jitter, scale=data.input_scale, **options)
    return Table(data.bounded(x), scale=data.input_scale, **options)


def answers(
    ask: Callable[[np.ndarray], np.ndarray],
    inputs: Table,
    outputs: int,
    track: Callable[[Iterable], Iterable] = iter,
) -> np.ndarray:
    """What a teacher answers about each row (N, ·) of a table, or about each of V views (V, N, ·).

    It is asked once for each of them, before training: docs/performance.md compares that with
    asking about each batch.

    Args:
        ask: gives the outputs (B, ·) for inputs (B, I), both NumPy arrays, row by row.
        inputs: the rows.
        outputs: how many numbers an answer has.
        track: wraps the questions, to show progress.

    Raises:
        UserError: an answer has the wrong shape, or is not finite.
    """
    backend, number = inputs.backend, inputs.views * len(inputs)
    said = np.empty((number, outputs), inputs.dtype)
    for start in track(range(0, number, ASKED_ROWS)):
        views = backend.asarray(np.arange(start, min(start + ASKED_ROWS, number))[None])
        x = np.array(backend.to_numpy(inputs.gather(views))[0])
        answer = np.asarray(ask(x))
        if outputs == 1 and answer.ndim == 1:
            answer = answer[:, None]
        is_one = answer.dtype.kind in "fiu" and answer.shape == (len(x), outputs)
        if not is_one or not np.isfinite(answer).all():
            raise UserError(
                f"a teacher was asked (targets=…) about {len(x):,} rows and answered with an array "
                f"{answer.shape}; its outputs are {(len(x), outputs)}, all finite"
            )
        said[start : start + len(x)] = answer
    return said.reshape(inputs.views, -1, outputs) if inputs.views > 1 else said


class Training:
    """R runs of one architecture, trained side by side in one pass.

    Runs listed arm by arm, each arm with the same seeds in the same order, share their batches.
    Any other list works as well and gives the same results, but each run gathers its own batch.

    Args:
        problem: the data, the loss and the metrics.
        sizes: units of the networks from input to output.
        runs: what to train; row r of `network.parameters` belongs to run r.
        settings: how to train them.
        orders: for each epoch the training rows' numbers in the order of use, (N,), each row
            once, for all runs; by default each run has its own, drawn from its seed.
        layer: the class of the networks' layers, see `MLP`.
        on_gradients: called with `network` in each step, before the optimiser's update.

    The initial weights are drawn from each run's seed; `network.set_tensors` replaces them.

    A run whose loss is no longer a finite number has diverged: from that epoch on, its numbers in
    `history` are NaN. The others go on, and end as they do without it.
    """

    def __init__(
        self,
        problem: Problem,
        sizes: Sequence[int],
        runs: Sequence[Run],
        settings: Settings,
        *,
        orders: Iterable[np.ndarray] | None = None,
        layer: type[Dense] = Dense,
        on_gradients: Callable[[MLP], Any] | None = None,
        dtype: Any = np.float32,
        backend: Backend = NUMPY,
    ) -> None:
        self.problem, self.runs, self.settings = problem, list(runs), settings
        check_fit(problem, sizes, self.runs, settings)
        self.backend, self.dtype, self.orders = backend, np.dtype(dtype), orders
        first, arm_of_run, sharing = arms_of(self.runs)
        replicas = len(self.runs)
        self.order_seeds = [run.seed for run in self.runs[: replicas // sharing]]

        self.network = MLP(
            sizes,
            replicas,
            sharing=sharing,
            dropout=settings.dropout,
            largest_norm=settings.largest_norm,
            layer=layer,
            dtype=dtype,
            backend=backend,
        )
        self.network.initialise([run.seed for run in self.runs])
        kinds = self.kinds = kinds_of(problem.losses, self.runs)
        self.loss = loss_of(kinds, self.runs, dtype=dtype, backend=backend)
        self.optimizer: Any = OPTIMIZERS[settings.optimizer](
            self.network.parameters, self.network.gradients, backend=backend
        )

        data = problem.data
        options: dict[str, Any] = {"dtype": self.dtype, "backend": backend}
        self.test_inputs = inputs_of(data, data.x_test, **options)
        self.train_inputs = inputs_of(data, data.x_train, settings.jitter, **options)
        self.y_train, self.y_test = backend.asarray(data.y_train), backend.asarray(data.y_test)
        self.answered: dict[Callable[..., Any], np.ndarray] = {}
        targets, versions, constants = self.targets_of([(self.runs[r], kinds[r]) for r in first])
        self.targets = Table(targets, versions[arm_of_run], dtype=self.dtype, backend=backend)
        self.constant = constants[arm_of_run]
        parts = self.network, self.loss, self.optimizer, self.train_inputs, self.targets
        self.step = choose_step(*parts, on_gradients, backend=backend)
        # Allocated at once, so that a lack of memory shows here and not after an epoch.
        self.network.resize(
            most_rows(settings.batch_size, len(self.train_inputs), len(self.test_inputs))
        )
        self.average = WeightAverage(self.network) if settings.average else None
        self.steps_per_epoch = math.ceil(len(self.train_inputs) / settings.batch_size)
        self.started = False
        self.history: list[Epoch] = []
        self.seconds = 0.0
        self.is_part = False
        """Whether it is a part of a pass, so that it goes on also if all of its runs diverge."""
        self.after_epoch: Callable[[], Any] | None = None
        """Called at the end of each epoch, when the state is one to continue from."""

    def targets_of(
        self, arms: Sequence[tuple[Run, type[Loss]]]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the arms' losses take as their targets, arm after arm, a row for each row or view.

        Rows that are shorter than those of another loss are padded with zeros.

        Returns:
            All rows (M, ·); where those of each arm start and how many they are, (A, 2); and the
            means of the arms' constants (A,).
        """
        y, said = self.problem.hard_targets(self.dtype), [self.said(arm) for arm, _ in arms]
        views = [1 if each is None or each.ndim == 2 else len(each) for each in said]
        lengths = len(y) * np.array(views)
        versions = np.stack([np.cumsum(lengths) - lengths, lengths], axis=-1)
        columns = max(kind.target_columns(self.problem.outputs) for _, kind in arms)
        targets, constants = np.zeros((lengths.sum(), columns), self.dtype), np.empty(len(arms))
        for number, (arm, kind) in enumerate(arms):
            labels, teacher = np.tile(y, (views[number], 1)), said[number]
            if teacher is not None:
                teacher = teacher.reshape(labels.shape)
            if teacher is not None and arm.labelled is not None:
                known = np.tile(arm.labelled, views[number])[:, None]
                labels = np.where(known, labels, self.problem.labels_from(teacher))
            t, constant = kind.of([arm], dtype=self.dtype).target(labels, teacher)
            first, length = versions[number]
            targets[first : first + length, : t.shape[-1]] = t
            constants[number] = constant.mean(dtype=np.float64)
        return targets, versions, constants

    def said(self, run: Run) -> np.ndarray | None:
        """What a run's teacher says about the training rows (N, ·), or their views (V, N, ·)."""
        if run.alpha == 0 and run.labelled is None:
            return None
        outputs = self.problem.outputs
        if callable(run.targets):
            if run.targets not in self.answered:
                self.answered[run.targets] = answers(run.targets, self.train_inputs, outputs)
            return self.answered[run.targets].astype(self.dtype, copy=False)
        teacher = np.ascontiguousarray(run.targets, self.dtype)
        rows, views = (len(self.train_inputs), outputs), self.train_inputs.views
        if outputs == 1 and teacher.shape == rows[:1]:
            teacher = teacher[:, None]
        if teacher.shape != rows and (views == 1 or teacher.shape != (views, *rows)):
            raise UserError(
                f"targets of a run have the shape {teacher.shape}; the teacher's outputs on "
                f"the training rows have {rows}"
            )
        return teacher

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of the networks from input to output."""
        return self.network.sizes

    @property
    def gone(self) -> np.ndarray:
        """Which runs have diverged, (R,) booleans."""
        last = self.history[-1].objective if self.history else np.zeros(len(self.runs))
        return np.isnan(last)

    @property
    def diverged(self) -> dict[int, int]:
        """The numbers of the runs that have diverged, in order, and the epochs they did it in."""
        return diverged_in(self.history)

    @property
    def finished(self) -> bool:
        """Whether it has been trained to the end."""
        return len(self.history) == self.settings.epochs

    def save(self, path: Path | str) -> None:
        """Write all that it takes to continue after the last epoch: see `load`.

        Raises:
            UserError: it cannot be written; or the first epoch has been begun and not finished.
        """
        from nkd import checkpoint

        checkpoint.save(self, path)

    @classmethod
    def load(cls, path: Path | str, problem: Problem, **options: Any) -> "Training":
        """A training that was saved, to go on to the same bits as if it had not been interrupted.

        Args:
            path: what `save` has written.
            problem: with the same data.
            options: orders, layer, on_gradients and backend as they were given to `Training`.

        Raises:
            UserError: the file is damaged, or was saved from other data, or by something that
                computes other bits: another version, backend, library or number of threads.
        """
        from nkd import checkpoint

        return checkpoint.load(path, problem, **options)

    def prepare(self) -> None:
        """Compile what training needs, if this has not been done: so it is not in `seconds`."""
        if not self.finished:
            self.step.prepare(self.settings.batch_size)
        self.network.prepare()

    def epochs(self, track: Callable[[Iterable], Iterable] = iter) -> Iterator[Epoch]:
        """Train; yield each epoch's measurements at its end. `history` keeps them.

        A training that was loaded yields those of its earlier epochs first.

        Args:
            track: wraps each epoch's batches, to show progress.

        Raises:
            UserError: all runs have diverged, see `diverged`.
        """
        settings, rows = self.settings, len(self.train_inputs)
        if self.started:
            raise UserError("this training has already been run: make a new Training")
        self.started = True
        yield from self.history
        if self.finished:
            return
        self.prepare()
        if self.orders is None:
            orders = batch_orders(self.order_seeds, rows, settings.epochs)
        else:
            orders = (
                checked_order(order, rows)
                for order in itertools.islice(self.orders, settings.epochs)
            )
        if settings.jitter:
            orders = moved(orders, self.order_seeds, settings.jitter)
        rates = learning_rates(
            settings.schedule, settings.learning_rate, self.steps_per_epoch * settings.epochs
        )
        factors = np.array([[run.learning_rate_factor] for run in self.runs], self.dtype)
        if (factors != 1).any():
            on_device = self.backend.asarray(factors)
            rates = (rate * on_device for rate in rates)
        done = len(self.history)
        self.step.skip(done * rows)
        passes = fit(
            self.step,
            itertools.islice(orders, done, None),
            settings.batch_size,
            itertools.islice(rates, done * self.steps_per_epoch, None),
            track=track,
            backend=self.backend,
        )
        for number in range(done + 1, settings.epochs + 1):
            start = time.perf_counter()
            with np.errstate(all="ignore"):  # divergence is found below and reported in one line
                objective = next(passes, None)
                if objective is None:
                    raise UserError(f"orders are given for fewer than {settings.epochs} epochs")
                objective = self.backend.to_numpy(objective) + self.constant
                if self.average is not None and number > settings.epochs - settings.average:
                    self.average.take()
                self.seconds += time.perf_counter() - start
                last = number == settings.epochs
                reported = settings.report_every > 0 and (
                    last or number % settings.report_every == 0
                )
                measured = last or settings.report_every > 0
                test = self.measure(self.test_inputs, self.y_test) if measured else {}
                train = self.measure(self.train_inputs, self.y_train) if reported else None
                split = self.gradient_split() if reported else None
                losses = [each["loss"] for each in (test, train) if each]
                gone = self.gone | ~np.isfinite(sum(losses, objective))
            if gone.all() and not self.is_part:
                new = dict.fromkeys(np.flatnonzero(~self.gone).tolist(), number)
                raise all_diverged(self.runs, {**self.diverged, **new}, settings)
            if self.average is not None and number < settings.epochs:
                self.average.put_back()
            self.history.append(Epoch(number, objective, test, train, split).without(gone))
            if self.after_epoch is not None:
                self.after_epoch()
            yield self.history[-1]

    def run(self) -> "Training":
        """Train to the end, and return this object."""
        for _ in self.epochs():
            pass
        return self

    def gradient_split(self, rows: int = 2048) -> tuple[np.ndarray, np.ndarray] | None:
        """How strongly the teacher pulls on the label's class, and on the others: two arrays (R,).

        Means over the first `rows` training rows of the norms of the two parts of each row's soft
        gradient, see `metrics.distillation_gradient_split`; NaN for a run without a teacher, None
        if no run has one or there are no classes.
        """
        measured = [
            number
            for number, (run, kind) in enumerate(zip(self.runs, self.kinds, strict=True))
            if run.alpha and kind is DistillationLoss
        ]
        if not measured:
            return None
        z, y = self.network.predict(self.train_inputs[:rows]), self.y_train[:rows]
        split = np.full((2, len(self.runs)), np.nan)
        for number in measured:
            run = self.runs[number]
            said = self.said(run)
            assert said is not None  # α > 0
            as_it_is = said if said.ndim == 2 else said[len(said) // 2]
            z_teacher = self.backend.asarray(as_it_is[:rows], self.dtype)
            parts = metrics.distillation_gradient_split(
                z[number : number + 1], z_teacher, y, run.temperature, backend=self.backend
            )
            split[:, number] = [self.backend.to_numpy(part)[0] for part in parts]
        return split[0], split[1]

    def measure(self, inputs: Table, y: Array) -> dict[str, np.ndarray]:
        """The problem's metrics of all networks on these rows."""
        return self.problem.measure(self.network.predict(inputs), y, self.backend)

    def outputs(self, inputs: Table) -> np.ndarray:
        """All networks' outputs (R, N, ·) on these rows, on the host; NaN of one that diverged."""
        with np.errstate(all="ignore"):
            outputs = self.backend.to_numpy(self.network.predict(inputs))
        outputs[self.gone] = np.nan
        return outputs

    def as_teacher(self, replica: int) -> Callable[[np.ndarray], np.ndarray]:
        """One of the networks as a teacher that is asked: its outputs (B, ·) for inputs (B, I)."""
        backend = self.backend

        def ask(x: np.ndarray) -> np.ndarray:
            network = self.network.select([replica])
            return backend.to_numpy(network.predict(backend.asarray(x, network.dtype)))[0]

        return ask
