"""The files that a run writes: each appears complete or not at all."""

import csv
import io
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nkd import files
from nkd.errors import UserError
from nkd.model import Model
from nkd.training import Training

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


class Folder:
    """Where a run's files go. Each appears complete or not at all.

    Raises:
        UserError: the folder cannot be made, or not be written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=path).close()
        except OSError as error:
            raise UserError(
                f"--out {path}: cannot write there ({error.strerror}); name another folder"
            ) from None

    def clear(self) -> None:
        """Remove the files of an earlier run, so that what stands together belongs together.

        Where no run has left its configuration.json, files with these names are somebody else's.
        """
        if not (self.path / "configuration.json").exists():
            return
        for name in (*FILES, *TABLE_FILES):
            (self.path / name).unlink(missing_ok=True)

    def kept(self) -> list[str]:
        """The names of the files that are there."""
        return [name for name in (*FILES, *TABLE_FILES) if (self.path / name).exists()]

    def write(self, name: str, content: bytes) -> None:
        """Write a file under a temporary name, then rename it."""
        files.write(self.path / name, content)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file; a number that is not finite is an error."""
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        self.write(name, f"{text}\n".encode())

    def write_metrics(self, trainings: Sequence[tuple[Sequence[str], Training]]) -> None:
        """Write metrics.csv: a row per epoch and network; the names are those of the runs."""
        rows = []
        for names, training in trainings:
            for epoch in training.history:
                for number, (name, run) in enumerate(zip(names, training.runs, strict=True)):
                    rows.append(
                        {"network": name, "seed": run.seed, "epoch": epoch.number}
                        | {"objective": epoch.objective[number]}
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


def columns(part: str, measured: dict[str, np.ndarray] | None, number: int) -> dict[str, float]:
    """One network's metrics as columns of metrics.csv."""
    return {f"{part}_{key}": values[number] for key, values in (measured or {}).items()}
