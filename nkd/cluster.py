"""Passes on other processes and machines: `Work` done by the workers of a Dask cluster.

A pass is divided into as many parts as there are workers, and what they measure is put together in
the order of its runs, so the numbers are those of one process. What workers need is sent as tasks
of their own, once: if the worker dies that holds the data, the scheduler makes them again on
another, and does again what was lost. Each part that comes back is kept, so an experiment whose
client died goes on. Dask does all else: it starts workers, finds them, and moves the bytes.
"""

import dataclasses
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from nkd import checkpoint
from nkd.backend import Backend, choose
from nkd.checkpoint import GIVEN, State
from nkd.distillation import Problem
from nkd.errors import UserError, first_line
from nkd.machine import use_blas_threads
from nkd.training import Training
from nkd.work import Kept, Pass, T, Work, joined

if TYPE_CHECKING:
    from distributed import Client, Future

    from nkd.report.screen import Screen

TOPIC = "nkd"
"""Of the events by which workers say how far they are."""

ONE_AT_A_TIME = threading.Lock()
"""A worker trains one part at a time, in all its threads, however many tasks it may take."""

SECONDS = 30
"""How long it may take until a scheduler answers and has a worker."""


# On a worker.


def same(thing: Any) -> Any:
    """The same: as a task, it makes a thing that other tasks share."""
    return thing


def footing_here(backend: str, tf32: bool, threads: int) -> dict[str, Any]:
    """What this worker computes with, see `checkpoint.footing_of`, with so many threads of BLAS."""
    use_blas_threads(threads)
    return checkpoint.footing_of(choose(backend, tf32=tf32))


def dask_setup(worker: Any) -> None:
    """Called by Dask on the workers of a new cluster here: Ctrl-C is for the client to hear."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def train_here(
    description: Mapping[str, Any], problem: Problem, said: Sequence[Any], state: State | None
) -> State:
    """Train some runs of a pass on this worker; return their state at the end.

    Args:
        description: of the part, see `Cluster.submit`.
        problem: its data.
        said: what the runs' teachers say, and which labels they know.
        state: where to go on, if not from the beginning.

    Raises:
        UserError: this worker would compute other bits.
    """
    from distributed import get_worker

    expected, kind = description["footing"], description["backend"]
    found = footing_here(kind[0], kind[1], expected["numpy threads"])
    check_footing(expected, found, get_worker().address)
    backend = choose(kind[0], tf32=kind[1])
    runs = [checkpoint.run_of(values, said) for values in description["runs"]]
    name, sizes, settings, dtype, is_part = description["part"]
    part = Pass(name, problem, sizes, runs, settings, dtype, is_part=is_part)

    def run(training: Training) -> None:
        for _ in training.epochs():
            get_worker().log_event(TOPIC, (description["key"], len(training.runs)))

    with ONE_AT_A_TIME:
        if state is None:
            work = Work(backend.free_memory() // 2, backend)
            return checkpoint.joined(
                work.states(part, run, description["networks"], description["arm"])
            )
        training = part.training(backend)
        checkpoint.restore(training, state)
        run(training)
        return checkpoint.state_of(training, description["networks"])


def check_footing(expected: Mapping[str, Any], found: Mapping[str, Any], worker: str) -> None:
    """Refuse a worker that would compute other bits.

    Raises:
        UserError: it would.
    """
    other = checkpoint.differences(found, expected)
    if other:
        raise UserError(
            f"--cluster: the worker {worker} has {other}, so numbers would depend on who computes "
            "them: start it with the same packages, and the same NUMBA_NUM_THREADS"
        )


# On the client.


class Cluster(Work):
    """Trains passes on the workers of a cluster.

    Args:
        client: of the cluster.
        screen: shows how far they are.
        memory, backend, kept: see `Work`; the backend is that of this process and of all workers.
        bars: adds a bar, see `Screen.bars`.
    """

    def __init__(
        self,
        client: "Client",
        screen: "Screen",
        memory: int,
        backend: Backend,
        kept: Kept | None,
        bars: Callable[[str, int], Callable[[int], Any]],
    ) -> None:
        super().__init__(memory, backend, screen.print, kept)
        self.client, self.bars = client, bars
        self.footing = checkpoint.footing_of(backend)
        self.kind = backend.name, getattr(backend, "tf32", False)
        self.held: dict[int, tuple[Any, Future]] = {}
        self.running: dict[Future, range] = {}
        self.stopped = False
        self.steps: dict[str, Callable[[int], Any]] = {}
        client.subscribe_topic(TOPIC, self.hear)

    def hear(self, event: tuple[float, tuple[str, int]]) -> None:
        """A worker has trained some runs for an epoch."""
        key, runs = event[1]
        if key in self.steps:
            self.steps[key](runs)

    def each(self, tasks: Sequence[Callable[[], T]]) -> Iterator[T]:
        """What independent tasks return, in their order; they run at the same time."""
        pool = ThreadPoolExecutor(max(len(tasks), 1))
        try:
            yield from pool.map(lambda task: task(), tasks)
        finally:
            self.stopped = True  # if one of them has failed, the others end
            self.client.cancel(list(self.running), force=True)
            pool.shutdown(cancel_futures=True)

    def train(self, name: str, training: Training, show: Callable[[Training], Any]) -> None:
        """Bring a training to its end, see `Work.train`."""
        work = Pass.of(name, training)
        states = self.states(work, lambda part: None, networks=True)
        checkpoint.restore(training, joined(work, states))
        show(training)

    def measure(self, work: Pass, show: Callable[[Training], Any], arm: int) -> State:
        """Train all runs of a pass, see `Work.measure`."""
        state = super().measure(work, show, arm)
        seconds, workers = state["seconds"].sum(), len(self.client.nthreads())
        self.tell(
            f"{work.title}: {len(work.runs)} networks trained by {workers} workers in "
            f"{seconds:,.1f} s of theirs"
        )
        return state

    def divided(self, work: Pass, runs: range, arm: int) -> list[range]:
        """Some runs, in a part for each worker."""
        workers = max(len(self.client.nthreads()), 1)
        arm = arm if len(runs) >= arm * workers else 1
        length = -(-len(runs) // arm // workers) * arm or 1
        return [
            range(start, min(start + length, runs.stop))
            for start in range(runs.start, runs.stop, length)
        ]

    def states(
        self, work: Pass, show: Callable[[Training], Any], networks: bool, arm: int = 1
    ) -> list[State]:
        """The states of all parts of a pass, in order: all are trained at the same time."""
        from distributed import as_completed

        found: dict[range, State] = {}
        futures: dict[Future, range] = {}
        parts = self.parts(work, arm)
        definitions = dict(zip(parts, self.definitions(work, parts), strict=True))
        steps = work.settings.epochs * len(work.runs)
        advance = self.bars(work.title or work.name, steps)
        for runs, definition in definitions.items():
            state = self.begun(work, runs, definition) if definition else None
            epochs = checkpoint.epochs_of(state) if state else 0
            advance(epochs * len(runs))
            if state and epochs == work.settings.epochs:
                found[runs] = state
            else:
                futures[self.submit(work.part(runs), state, networks, arm, advance)] = runs
        self.running.update(futures)
        if self.stopped:  # before they could be seen
            self.client.cancel(list(futures), force=True)
        for future in as_completed(list(futures)):
            runs = futures[future]
            found[runs] = self.result(future)
            definition = definitions[runs]
            if self.kept and definition:
                self.kept.write(work.name, runs, found[runs], definition)
            del self.running[future]
        advance(steps)  # what workers say of their epochs may come later than their results
        return [found[runs] for runs in sorted(found, key=lambda runs: runs.start)]

    def submit(
        self,
        part: Pass,
        state: State | None,
        networks: bool,
        arm: int,
        advance: Callable[[int], Any],
    ) -> "Future":
        """Send a part to whoever is free."""
        key = f"{part.name}-{uuid.uuid4().hex}"
        arrays: dict[int, Any] = {}
        runs = []
        for run in part.runs:
            values = {field.name: getattr(run, field.name) for field in dataclasses.fields(run)}
            for name in GIVEN:
                if values[name] is not None:
                    arrays[id(values[name])] = values[name]
            runs.append(values)
        numbers = {each: number for number, each in enumerate(arrays)}
        for values in runs:
            values |= {name: numbers.get(id(values[name])) for name in GIVEN}
        description = {
            "key": key,
            "part": (part.name, part.sizes, part.settings, part.dtype, part.is_part),
            "runs": runs,
            "networks": networks,
            "arm": arm,
            "backend": self.kind,
            "footing": self.footing,
        }
        self.steps[key] = advance
        said = [self.hold(array) for array in arrays.values()]
        problem = self.hold(part.problem)
        return self.client.submit(train_here, description, problem, said, state, key=key)

    def hold(self, thing: Any) -> "Future":
        """A thing that several tasks need: it is sent once."""
        if id(thing) not in self.held:
            future = self.client.submit(same, thing, key=f"nkd-{uuid.uuid4().hex}")
            self.held[id(thing)] = thing, future
        return self.held[id(thing)][1]

    def result(self, future: "Future") -> State:
        """What a worker has returned.

        Raises:
            UserError: it cannot do it, workers die on it again and again, or the scheduler is gone.
        """
        from distributed import CancelledError, KilledWorker

        try:
            return future.result()
        except CancelledError:  # or `each` has done it, and nobody reads this
            raise UserError(
                "--cluster: the scheduler is gone; start it again, and go on with --resume"
            ) from None
        except KilledWorker as error:
            raise UserError(
                f"--cluster: workers died again and again ({first_line(error)}); give them more "
                "memory"
            ) from None


@contextmanager
def connected(
    address: str, screen: "Screen", memory: int, backend: Backend, kept: Kept | None
) -> Iterator[Cluster]:
    """The cluster at an address, or a new one of processes here: "local", or "local:WORKERS".

    Raises:
        UserError: nobody answers, there is no worker, or one would compute other bits.
    """
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError:
        raise UserError(
            "--cluster: Dask is not installed; install it with pip install 'nkd[cluster]'"
        ) from None
    import logging

    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what it says is said here
    # The data are sent as a task of their own, so that they can be made again.
    dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"})
    workers, local = workers_of(address), None
    try:
        if workers:
            options: dict[str, Any] = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
            options["preload"] = [__name__]
            local = LocalCluster(n_workers=workers, silence_logs=logging.ERROR, **options)
        client = Client(local or address, timeout=SECONDS)
        client.wait_for_workers(1, timeout=SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        if local is not None:
            local.close()
        raise UserError(
            f"--cluster {address}: no worker answers ({first_line(error)}); start a scheduler and "
            "workers, or give local:2"
        ) from None
    try:
        with screen.bars() as bars:
            cluster = Cluster(client, screen, memory, backend, kept, bars)
            threads = cluster.footing["numpy threads"]
            try:
                footings = client.run(partial(footing_here, *cluster.kind, threads))
            except UserError as error:
                raise UserError(f"--cluster {address}: a worker says: {error}") from None
            except Exception as error:  # noqa: BLE001 - nkd is missing there, or another one
                raise UserError(
                    f"--cluster {address}: a worker cannot do it ({first_line(error)}); install "
                    "the same nkd there"
                ) from None
            for worker, found in footings.items():
                check_footing(cluster.footing, found, worker)
            screen.print(f"{len(footings)} worker(s) at {client.scheduler.address}")
            yield cluster
    finally:
        client.close()
        if local is not None:
            local.close()


def workers_of(address: str) -> int:
    """How many workers a new cluster on this machine has; 0 for one that is there already.

    Raises:
        UserError: it is no number.
    """
    name, _, number = address.partition(":")
    if name != "local":
        return 0
    if not number:
        return os.cpu_count() or 1
    if not number.isdecimal() or not 1 <= int(number) <= 1000:
        raise UserError(f"--cluster {address}: give local:WORKERS with a number from 1 on")
    return int(number)


def share_cores(address: str) -> None:
    """Give each worker of a new cluster here its part of the cores, and this process as many.

    Numbers depend on the threads that compute them, so all have as many. $NUMBA_NUM_THREADS
    overrules it.
    """
    workers = workers_of(address)
    if workers:
        threads = max((os.cpu_count() or 1) // workers, 1)
        threads = int(os.environ.setdefault("NUMBA_NUM_THREADS", str(threads)))
        use_blas_threads(threads)
