"""What a run prints as it happens."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from nkd.backend import Backend
from nkd.data import Dataset
from nkd.machine import vector_bits
from nkd.report.divergence import divergence
from nkd.report.view import View
from nkd.training import Epoch, Training

REFRESH_SECONDS = 0.1
PLAIN_WIDTH = 110
"""Width in columns of output that does not go to a terminal."""


def table_of(title: str, caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    """A table for `Screen.print`: text on the left, numbers on the right, a verdict as text."""
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD, title=title, caption=caption, caption_justify="left", pad_edge=False
    )
    for number, name in enumerate(head):
        text = number == 0 or name == "verdict"
        table.add_column(name, justify="left" if text else "right")
    for row in rows:
        table.add_row(*row)
    return table


class Screen:
    """Prints a run as it happens: a live bar on a terminal, plain lines elsewhere.

    Args:
        quiet: print nothing at all.
    """

    def __init__(self, quiet: bool = False) -> None:
        from rich.console import Console

        self.console = Console(highlight=False, quiet=quiet)
        if not self.console.is_terminal:
            self.console = Console(highlight=False, quiet=quiet, width=PLAIN_WIDTH)
        self.add: Callable[[str, int], Callable[[int], Any]] | None = None

    def print(self, text: Any = "", style: str | None = None) -> None:
        """Print a line, however long, or a table."""
        self.console.print(text, style=style, markup=False, soft_wrap=isinstance(text, str))

    def advise(self, text: str) -> None:
        """Print something that is worth a look; nothing if there is nothing."""
        if text:
            self.print(text, style="yellow")

    def notice(self, text: str) -> None:
        """Print something that must not be missed."""
        from rich import box
        from rich.panel import Panel
        from rich.text import Text

        self.console.print(Panel(Text(text), box=box.HEAVY, style="bold red"))

    def start(self, data: Dataset, backend: Backend, where: str) -> None:
        """The first line of a run; and a second one if the CPU could compute faster.

        Args:
            where: the end of the line, on where files go.
        """
        self.print(
            f"{data.title}: {len(data.x_train):,} training rows, {len(data.x_test):,} test rows; "
            f"computing with {backend}{where}"
        )
        products = backend.products()
        advice = products.advice(vector_bits()) if products else None
        self.advise(advice or "")

    def epochs(self, training: Training, title: str) -> Iterator[Epoch]:
        """Train to the end under a progress bar, and yield each epoch."""
        if training.finished:
            yield from training.epochs()
            return
        self.prepare(training)
        steps = training.settings.epochs * training.steps_per_epoch
        with self.progress(title, steps) as track:
            yield from training.epochs(track)

    def train(self, names: Sequence[str], training: Training, view: View) -> None:
        """Train to the end under a progress bar; print lines after each reported epoch.

        Args:
            names: of the runs, such as "teacher"; runs with the same name share a line of means.
            training: what to train.
            view: the metrics to print.
        """
        groups = {name: [n for n, other in enumerate(names) if other == name] for name in names}
        epochs, width = training.settings.epochs, max(map(len, groups))
        for epoch in self.epochs(training, " and ".join(groups)):
            if epoch.train is None:
                continue
            for name, members in groups.items():
                parts = (
                    f"{part} {view.describe(values, members)}"
                    for part, values in (("train", epoch.train), ("test", epoch.test))
                )
                self.print(
                    f"{name.capitalize():{width}} epoch {epoch.number:{len(str(epochs))}}"
                    f"/{epochs}   {'   '.join(parts)}"
                )
        self.advise(divergence(training.runs, training.diverged, training.settings))

    def train_quietly(self, training: Training, what: str = "more") -> None:
        """Train to the end under a progress bar; print one line when it is done.

        Args:
            what: the networks are for.
        """
        number = len(training.runs)
        title = f"{what}: {number} network{'s, side by side,' if number > 1 else ''}"
        for _ in self.epochs(training, title):
            pass
        self.print(f"{title} trained in {training.seconds:,.1f} s")

    def prepare(self, training: Training) -> None:
        """Compile what the training needs, and say so if it takes time."""
        from rich.status import Status

        functions, start = 0, time.perf_counter()
        shown = Status("", console=self.console)

        def tell() -> None:
            nonlocal functions
            functions += 1
            shown.update(f"compiling for this machine: function {functions}")
            if self.console.is_terminal:
                shown.start()

        try:
            with training.backend.compiling(tell):
                training.prepare()
        finally:
            shown.stop()
        if functions:
            seconds = time.perf_counter() - start
            self.print(
                f"Compiled {functions} functions for this machine in {seconds:,.1f} s, once: later "
                "runs load them"
            )

    @contextmanager
    def bars(self) -> Iterator[Callable[[str, int], Callable[[int], Any]]]:
        """One display of many bars; yields what adds one, of a title and so many steps.

        That returns what advances it. A bar that is full is removed.
        """
        if not self.console.is_terminal:
            yield lambda title, steps: lambda done: None
            return
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn("{task.description}"), BarColumn(None), TimeRemainingColumn()
        with Progress(*columns, console=self.console, transient=True) as shown:

            def add(title: str, steps: int) -> Callable[[int], Any]:
                task = shown.add_task(title, total=steps)

                def advance(done: int) -> None:
                    if task in shown.task_ids:
                        shown.advance(task, done)
                        if shown.tasks[shown.task_ids.index(task)].finished:
                            shown.remove_task(task)
                            shown.refresh()

                return advance

            self.add = add
            try:
                yield add
            finally:
                self.add = None

    @contextmanager
    def progress(self, title: str, steps: int) -> Iterator[Callable[[Iterable], Iterable]]:
        """A bar over that many steps; yields a wrapper for iterables of steps that counts them."""
        if not self.console.is_terminal:
            yield iter
            return
        if self.add is not None:  # a terminal has one display at a time
            advance = self.add(title, steps)

            def counted(batches: Iterable) -> Iterator:
                for batch in batches:
                    yield batch
                    advance(1)

            yield counted
            return
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn("{task.description}"), BarColumn(None), TimeRemainingColumn()
        # Refreshed here, not by a thread of its own, which would take time from training.
        with Progress(*columns, console=self.console, auto_refresh=False, transient=True) as bar:
            task = bar.add_task(title, total=steps)

            def track(batches: Iterable) -> Iterator:
                shown, done = time.monotonic(), 0
                for batch in batches:
                    yield batch
                    done += 1
                    if time.monotonic() - shown > REFRESH_SECONDS:
                        bar.update(task, advance=done, refresh=True)
                        shown, done = time.monotonic(), 0
                bar.update(task, advance=done, refresh=True)

            yield track
