"""The files that a run writes: each appears complete or not at all."""

import csv
import io
import itertools
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from nkd import files
from nkd.checkpoint import differences
from nkd.errors import CannotWrite, Diverged, UserError
from nkd.model import Model
from nkd.training import Training
from nkd.work import Kept

FILES = (
    "configuration.json",
    "metrics.csv",
    "results.json",
    "teacher.safetensors",
    "student.safetensors",
    "person.safetensors",
    "report.png",
    "report.html",
    "arms.csv",
    "map.png",
    "rows.png",
    "labels.png",
)
"""What an experiment leaves."""

TABLE_FILES = ("student.onnx", "student.h", "encoding.json")
"""What `nkd distil` leaves besides."""


CHECKPOINTS = "checkpoints"
"""The folder, in that of a run, with what goes on if the run ends early."""


class Folder:
    """Where a run's files go. Each appears complete or not at all.

    Args:
        path: of the folder, made if it is missing.
        resumed: whether a run goes on that has ended early.

    Raises:
        UserError: the folder cannot be made, or not be written to; or there is no run to go on.
    """

    def __init__(self, path: Path, resumed: bool = False) -> None:
        self.path, self.resumed = path, resumed
        if resumed:
            self.configuration()
        try:
            path.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=path).close()
        except OSError as error:
            raise UserError(
                f"--out {path}: cannot write there ({error.strerror}); name another folder"
            ) from None

    @classmethod
    def new(cls, template: str) -> "Folder":
        """The folder that a flag names, where <time> stands for now: one of its own for each run.

        Raises:
            UserError: see `Folder`.
        """
        path = Path(template.replace("<time>", time.strftime("%Y%m%d-%H%M%S")))
        if str(path) == str(Path(template)):
            return cls(path)
        name = path.name
        for number in itertools.count(2):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError:
                break  # told below
            try:
                path.mkdir()
                break
            except FileExistsError:  # another run of this second
                path = path.with_name(f"{name}.{number}")
            except OSError:
                break
        return cls(path)

    @contextmanager
    def locked(self, name: str = "run") -> Iterator[None]:
        """Within it, no other process writes under this name here; it ends as the process ends.

        Raises:
            UserError: another one does.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.path / f".{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"--out {self.path}: another run is writing there; wait for it, or name another "
                "folder"
            ) from None
        try:
            if name == "run":
                self.tidy()
            yield
        finally:
            with suppress(OSError):  # on Windows it goes away as it is released
                Path(lock.lock_file).unlink()
            lock.release()

    def tidy(self) -> None:
        """Remove what a process left that was killed while it wrote or removed something."""
        for folder in (self.path, self.path / CHECKPOINTS):
            for name in (*FILES, *TABLE_FILES, "*.safetensors"):
                for left in folder.glob(f".{name}-????????"):
                    left.unlink()
        Kept(self.path / CHECKPOINTS).tidy()

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Within it, an end that comes early says what is kept, and how to go on.

        Where a training diverged, which it would again, nothing is kept.
        """
        try:
            yield
        except CannotWrite as error:
            raise UserError(
                f"{error}. Safe in {self.path}: {', '.join(self.kept())}; when there is room, "
                f"--resume {self.path} goes on"
            ) from None
        except Diverged:
            self.finish()
            raise
        except KeyboardInterrupt as stop:
            raise type(stop)(
                f"kept in {self.path}: {', '.join(self.kept())}; --resume {self.path} goes on there"
            ) from None

    def configuration(self) -> dict[str, Any]:
        """What configuration.json holds.

        Raises:
            UserError: it is not there, or is not one.
        """
        path = self.path / "configuration.json"
        try:
            found = json.loads(path.read_text("utf-8"))
            if isinstance(found, dict):
                return found
            reason = "is not what a run writes"
        except OSError as error:
            reason = f"cannot be read ({error.strerror})"
        except (ValueError, RecursionError):
            reason = "is damaged"
        raise UserError(f"--resume {self.path}: configuration.json {reason}; name a run's folder")

    def begin(self, settled: Mapping[str, Any]) -> dict[str, Any]:
        """Write configuration.json, or compare it; return what it holds. Called with the lock.

        Raises:
            UserError: numbers would be others than those of the run that goes on; or a run that
                ended early would be lost.
        """
        kept = self.path / CHECKPOINTS
        if self.resumed:
            there = self.configuration()
            names = "data", "footing"
            other = differences(
                *({name: each.get(name) for name in names} for each in (there, settled))
            )
            if other:
                raise UserError(
                    f"--resume {self.path}: that run was of {other}; start anew, or go on where it "
                    "is the same (threads: NUMBA_NUM_THREADS, OPENBLAS_NUM_THREADS)"
                )
            return there
        if kept.is_dir() and any(kept.iterdir()):
            raise UserError(
                f"--out {self.path}: holds a run that ended early; --resume {self.path} goes on "
                f"there; name another folder, or delete {kept}"
            )
        self.clear()
        self.write_json("configuration.json", settled)
        kept.mkdir(exist_ok=True)
        return json.loads(json.dumps(settled))

    def finished(self) -> bool:
        """Whether the run here has come to its end; what its end has left is removed."""
        with self.locked():
            return (self.path / "report.html").exists() and not (self.path / CHECKPOINTS).exists()

    def finish(self) -> None:
        """Remove what was kept to go on."""
        Kept(self.path / CHECKPOINTS).clear()

    def clear(self) -> None:
        """Remove the files of an earlier run, so that what stands together belongs together.

        Where no run has left its configuration.json, files with these names are somebody else's.
        """
        if not (self.path / "configuration.json").exists():
            return
        for name in reversed((*FILES, *TABLE_FILES)):  # that of the run goes last
            (self.path / name).unlink(missing_ok=True)

    def kept(self) -> list[str]:
        """The names of the files that are there, and of passes to go on with."""
        passes = Kept(self.path / CHECKPOINTS).described()
        files = [name for name in (*FILES, *TABLE_FILES) if (self.path / name).exists()]
        return files + ([f"checkpoints of {passes}"] if passes else [])

    def write(self, name: str, content: bytes) -> None:
        """Write a file under a temporary name, then rename it."""
        files.write(self.path / name, content)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file; a number that is not finite is an error."""
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        self.write(name, f"{text}\n".encode())

    def record(self, name: str) -> Any:
        """What a JSON file of results holds; None if it is not there.

        Raises:
            UserError: it cannot be read, or is damaged.
        """
        path = self.path / f"{name}.json"
        try:
            return json.loads(path.read_text("utf-8")) if path.exists() else None
        except (OSError, ValueError, RecursionError):
            raise UserError(f"{path}: cannot be read; delete it to measure it anew") from None

    def claim(self, configured: Mapping[str, Any]) -> None:
        """Refuse a folder with results of another configuration, compared as JSON holds it.

        Raises:
            UserError: it has such results, or its configuration cannot be read.
        """
        file = self.path / "configuration.json"
        if not file.exists():
            return
        configured = json.loads(json.dumps(configured))
        try:
            there = json.loads(file.read_text("utf-8"))
            different = [name for name in configured if there[name] != configured[name]]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            reason = "cannot be read; name another folder"
            raise UserError(f"--out {self.path}: {file.name} {reason}") from None
        if different:
            raise UserError(
                f"--out {self.path}: holds results with another {' and '.join(different)}; "
                "name another folder, or delete that one to start anew"
            )

    def write_metrics(self, trainings: Sequence[tuple[Sequence[str], Training]]) -> None:
        """Write metrics.csv: a row per epoch and network; the names are those of the runs."""
        rows = []
        for names, training in trainings:
            for epoch in training.history:
                for number, (name, run) in enumerate(zip(names, training.runs, strict=True)):
                    rows.append(
                        {"network": name, "seed": run.seed, "epoch": epoch.number}
                        | {"objective": finite(epoch.objective[number])}
                        | columns("train", epoch.train, number)
                        | columns("test", epoch.test, number)
                    )
        if not rows:
            return
        text = io.StringIO()
        names = list(dict.fromkeys(key for row in rows for key in row))
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        self.write("metrics.csv", text.getvalue().encode())

    def write_weights(self, name: str, training: Training, replica: int) -> None:
        """Write one network as safetensors: see `nkd.model.Model`, which `nkd.load` makes of it."""
        model = Model.of(training, replica, network=name)
        self.write(f"{name}.safetensors", model.to_bytes())


def png(size: tuple[float, float], draw: Callable[[Any], Any]) -> bytes:
    """A drawing as PNG.

    Args:
        size: width and height in inches.
        draw: draws it on a figure of Matplotlib.
    """
    from matplotlib.figure import Figure

    figure, picture = Figure(figsize=size, dpi=110, layout="constrained"), io.BytesIO()
    draw(figure)
    figure.savefig(picture, format="png")
    return picture.getvalue()


def finite(value: float) -> float | None:
    """A number as JSON and CSV can hold it: None for what is not finite, as if it diverged."""
    return value if math.isfinite(value) else None


def numbers(values: np.ndarray) -> list[float | None]:
    """Numbers as JSON can hold them."""
    return [finite(value) for value in values.tolist()]


def columns(part: str, measured: dict[str, np.ndarray] | None, number: int) -> dict[str, Any]:
    """One network's metrics as columns of metrics.csv."""
    return {f"{part}_{key}": finite(values[number]) for key, values in (measured or {}).items()}
