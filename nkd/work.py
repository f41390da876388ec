"""A pass as a unit of work: trained under a name, kept under it, and continued where it stopped.

An experiment is a list of passes. `Work` does them one after the other in this process;
`nkd.cluster` sends them to others. With a folder to keep them in, each pass leaves a checkpoint
from time to time and its result in the end, so the same experiment, started again, trains only what
is missing. All else, such as what a teacher says, is computed anew from that, to the same bits.
"""

import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import numpy as np

from nkd import checkpoint, files
from nkd.backend import Backend
from nkd.checkpoint import Definition, State
from nkd.distillation import Problem, Run
from nkd.errors import Terminated, UserError
from nkd.memory import bytes_of_training
from nkd.training import Settings, Training, all_diverged, diverged_in

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Pass:
    """Runs of one architecture, under a name that no other pass of the experiment has.

    The title says for people what they are. All runs of a part of a pass may diverge, but not all
    of the whole.
    """

    name: str
    problem: Problem
    sizes: Sequence[int]
    runs: Sequence[Run]
    settings: Settings
    dtype: Any = np.float32
    title: str = ""
    is_part: bool = False

    @classmethod
    def of(cls, name: str, training: Training) -> "Pass":
        """The pass that a training is."""
        parts = training.problem, training.network.sizes, training.runs, training.settings
        return cls(name, *parts, training.dtype)

    def part(self, runs: range) -> "Pass":
        """Some of its runs: whatever is trained beside them, their numbers are the same."""
        is_part = self.is_part or len(runs) < len(self.runs)
        return replace(self, runs=self.runs[runs.start : runs.stop], is_part=is_part)

    def training(self, backend: Backend) -> Training:
        """A training of it, not begun yet."""
        options: dict[str, Any] = {"dtype": self.dtype, "backend": backend}
        training = Training(self.problem, self.sizes, self.runs, self.settings, **options)
        training.is_part = self.is_part
        return training

    def bytes(self, backend: Backend) -> int:
        """The memory that it takes."""
        options: dict[str, Any] = {"dtype": self.dtype, "backend": backend}
        return bytes_of_training(self.problem, self.sizes, self.runs, self.settings, **options)


class Kept:
    """The passes of an experiment as files of a folder, each under its name and the runs in it.

    Args:
        folder: for nothing else; it is made when the first file is written.
        every: seconds after which a training that goes on is kept at the end of an epoch.
    """

    def __init__(self, folder: Path, every: float = 30.0) -> None:
        self.folder, self.every = folder, every
        self.ended = folder.with_name(f".{folder.name}-ended")

    def file(self, name: str, runs: range) -> Path:
        """Where some runs of a pass are, or will be."""
        return self.folder / f"{name}.{runs.start}-{runs.stop - 1}.safetensors"

    def parts(self, name: str) -> list[range]:
        """The runs of a pass that are there, finished or not, in order."""
        pattern = re.compile(re.escape(name) + r"\.(\d+)-(\d+)\.safetensors")
        names = sorted(os.listdir(self.folder)) if self.folder.is_dir() else []
        found = [match for match in map(pattern.fullmatch, names) if match]
        return sorted(
            (range(int(match[1]), int(match[2]) + 1) for match in found),
            key=lambda runs: runs.start,
        )

    def read(self, name: str, runs: range, expected: Definition) -> State | None:
        """The state of some runs of a pass; None if it is not there.

        Raises:
            UserError: it cannot be read, or is that of another experiment.
        """
        path = self.file(name, runs)
        if not path.exists():
            return None
        state, definition = checkpoint.read(path)
        other = checkpoint.differences(definition, expected)
        if other:
            raise UserError(f"checkpoint {path}: is of {other}; delete it to train this anew")
        return state

    def write(self, name: str, runs: range, state: State, definition: Definition) -> None:
        """Keep the state of some runs of a pass.

        Raises:
            CannotWrite: it cannot be written; what was there before still is.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        files.write(self.file(name, runs), *checkpoint.to_parts(state, definition))

    def forget(self, name: str) -> None:
        """Remove a pass, and what a process left that was killed while it wrote it."""
        for runs in self.parts(name):
            self.file(name, runs).unlink()
        for left in self.folder.glob(f".{name}.*"):
            left.unlink()
        with suppress(OSError):  # something else is there, perhaps of another process
            self.folder.rmdir()

    def clear(self) -> None:
        """Remove all of it."""
        self.tidy()
        if self.folder.is_dir():
            self.folder.rename(self.ended)  # so that there is never a part of it
            self.tidy()

    def tidy(self) -> None:
        """Remove what was left of it when a process was killed that removed it."""
        shutil.rmtree(self.ended, ignore_errors=True)

    def described(self) -> str:
        """What is there, for people."""
        names = sorted(os.listdir(self.folder)) if self.folder.is_dir() else []
        return ", ".join(dict.fromkeys(name.partition(".")[0] for name in names if name[0] != "."))


class Work:
    """Trains passes in this process.

    Args:
        memory: bytes that a pass may take.
        backend: where everything is trained.
        tell: shows a line about a pass that goes on, or was finished before.
        kept: where passes are kept; None for nowhere.
    """

    def __init__(
        self,
        memory: int,
        backend: Backend,
        tell: Callable[[str], Any] = lambda line: None,
        kept: Kept | None = None,
    ) -> None:
        self.memory, self.backend, self.tell, self.kept = memory, backend, tell, kept

    def each(self, tasks: Sequence[Callable[[], T]]) -> Iterator[T]:
        """What independent tasks return, in their order; a cluster does them at the same time."""
        return (task() for task in tasks)

    def train(self, name: str, training: Training, show: Callable[[Training], Any]) -> None:
        """Bring a training to its end.

        Args:
            name: of the pass that it is.
            training: not begun.
            show: goes through its epochs to the end, and shows them; see `Training.epochs`.
        """
        whole, work = range(len(training.runs)), Pass.of(name, training)
        if self.parts(work) == [whole]:
            self.do(work, whole, show, self.definitions(work, [whole])[0], training)
        else:  # other parts of it were kept than are done now
            states = self.states(work, lambda part: part.run(), networks=True)
            checkpoint.restore(training, joined(work, states))
            show(training)

    def measure(self, work: Pass, show: Callable[[Training], Any], arm: int) -> State:
        """Train all runs of a pass, in as few parts as the memory requires; the state of them all.

        The networks are not kept, only what was measured.

        Args:
            work: what is trained.
            show: as for `train`.
            arm: runs that are better not separated: so many at a time.
        """
        return joined(work, self.states(work, show, networks=False, arm=arm))

    def states(
        self, work: Pass, show: Callable[[Training], Any], networks: bool, arm: int = 1
    ) -> list[State]:
        """The states of all parts of a pass, in order."""
        parts = self.parts(work, arm)
        return [
            self.do(work, runs, show, definition, networks=networks)
            for runs, definition in zip(parts, self.definitions(work, parts), strict=True)
        ]

    def definitions(self, work: Pass, parts: Sequence[range]) -> Sequence[Definition | None]:
        """What parts of a pass are, see `checkpoint`; None if they are not kept."""
        if self.kept is None:
            return [None] * len(parts)
        whole = checkpoint.definition_of(work, self.backend)  # its data are many bytes to digest
        return [{**whole, "runs": whole["runs"][runs.start : runs.stop]} for runs in parts]

    def parts(self, work: Pass, arm: int = 0) -> list[range]:
        """In which parts a pass is trained: those that are kept, and what is missing between.

        Args:
            work: the pass.
            arm: what is missing is divided so that it fits into memory, if possible between two
                arms of so many runs; with 0 it is not divided.
        """
        parts, end = [], 0
        kept = self.kept.parts(work.name) if self.kept else []
        for runs in [*kept, range(len(work.runs), len(work.runs))]:
            missing = range(end, runs.start)
            if missing:
                parts += self.divided(work, missing, arm) if arm else [missing]
            parts += [runs] if runs else []
            end = runs.stop
        return parts

    def divided(self, work: Pass, runs: range, arm: int) -> list[range]:
        """Some runs of a pass, in as few parts as the memory requires."""
        return divided(runs, arm, lambda some: work.part(some).bytes(self.backend), self.memory)

    def do(
        self,
        work: Pass,
        runs: range,
        show: Callable[[Training], Any],
        definition: Definition | None,
        training: Training | None = None,
        networks: bool = True,
    ) -> State:
        """Train some runs of a pass from where they are; return their state at the end.

        Args:
            definition: of these runs, if they are kept.
            training: of these runs, if there is one already.
        """
        part, kept = work.part(runs), self.kept
        state = self.begun(work, runs, definition) if definition else None
        if state is not None and not networks and "parameters" not in state:
            return state
        training = training or part.training(self.backend)
        if state is not None:
            checkpoint.restore(training, state)
        if kept and definition and not training.finished:
            self.keep(kept, work.name, runs, training, definition, show, networks)
        else:
            show(training)
        return checkpoint.state_of(training, networks)

    def begun(self, work: Pass, runs: range, definition: Definition) -> State | None:
        """The state in which some runs of a pass were kept, if they were; and say so."""
        state = self.kept and self.kept.read(work.name, runs, definition)
        if not state:
            return None
        title = work.title or work.name
        if len(runs) < len(work.runs):
            which = f"{runs.start + 1} to {runs.stop}" if len(runs) > 1 else f"{runs.stop}"
            title += f", {'runs' if len(runs) > 1 else 'run'} {which} of {len(work.runs)}"
        epochs, of = checkpoint.epochs_of(state), work.settings.epochs
        done = f"goes on after epoch {epochs} of {of}" if epochs < of else "was done before"
        self.tell(f"{title}: {done}")
        return state

    def keep(
        self,
        kept: Kept,
        name: str,
        runs: range,
        training: Training,
        definition: Definition,
        show: Callable[[Training], Any],
        networks: bool,
    ) -> None:
        """Train, and keep the state from time to time and in the end, also if a signal ends it."""
        last = time.monotonic()

        def write(networks: bool = True) -> None:
            kept.write(name, runs, checkpoint.state_of(training, networks), definition)

        with signals_wait() as signals:

            def after_epoch() -> None:
                nonlocal last
                if training.finished:
                    write(networks)
                elif signals or time.monotonic() - last >= kept.every:
                    write()
                    last = time.monotonic()
                end(signals)

            training.after_epoch = after_epoch
            try:
                show(training)
            finally:
                training.after_epoch = None
        end(signals)  # while the last epoch was shown


def joined(work: Pass, states: Sequence[State]) -> State:
    """The state of a pass, from those of its parts.

    Raises:
        UserError: all of its runs diverged.
    """
    state = checkpoint.joined(states)
    diverged = diverged_in(checkpoint.history_of(state))
    if len(diverged) == len(work.runs):
        raise all_diverged(work.runs, diverged, work.settings)
    return state


def divided(runs: range, arm: int, needed: Callable[[range], int], memory: int) -> list[range]:
    """Consecutive runs in as few parts as fit into the memory.

    A part takes as many whole arms as fit. An arm that does not fit as a whole is divided.

    Args:
        runs: numbers of them.
        arm: how many belong together: arms begin at its multiples.
        needed: gives the bytes that some runs take side by side.
        memory: bytes.

    Raises:
        UserError: one run alone does not fit.
    """
    parts: list[range] = []
    start = runs.start
    while start < runs.stop:
        stop = start
        for end in range(start // arm * arm + arm, runs.stop + arm, arm):
            end = min(end, runs.stop)
            if needed(range(start, end)) > memory:
                break
            stop = end
        if stop == start:  # not even the rest of this arm
            most = min(start // arm * arm + arm, runs.stop)
            fitting = [end for end in range(start + 1, most) if needed(range(start, end)) <= memory]
            if not fitting:
                raise UserError(
                    f"--memory {memory / 1e6:,.0f}M: one network takes "
                    f"{needed(range(start, start + 1)) / 1e6:,.0f} MB to train; allow more"
                )
            stop = fitting[-1]
        parts.append(range(start, stop))
        start = stop
    return parts


def end(signals: Sequence[int]) -> None:
    """Raise what the first of these signals stands for, if there is one."""
    for number in signals:
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


@contextmanager
def signals_wait() -> Iterator[list[int]]:
    """Within it, Ctrl-C and SIGTERM wait for somebody to look into the list; a second one does not.

    So a training ends at the end of an epoch, where it can go on. Only the main thread hears them.
    """
    heard: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield heard
        return

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        if len(heard) == 1:
            os.write(2, b"\nstopping at the end of this epoch; once more: at once\n")
        else:
            end([number])

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
