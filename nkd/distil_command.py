"""`nkd distil`: a small network for a table of one's own, and whether a teacher helps it."""

import dataclasses
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from simple_parsing import field

from nkd.backend import Backend, choose
from nkd.checkpoint import digest_of, footing_of
from nkd.command_line import (
    check_hidden,
    check_seconds,
    command_of,
    hidden_units,
    resumed,
    wrong,
)
from nkd.errors import UserError
from nkd.model import Model
from nkd.own_table import OwnTable, read
from nkd.random_streams import LARGEST_SEED
from nkd.table_encoding import CATEGORIES, Encoding, columns_text, kind_of, no_number

if TYPE_CHECKING:
    from pandas import DataFrame

    from nkd.estimators import DistilledClassifier, DistilledRegressor
    from nkd.report.files import Folder
    from nkd.report.results import Results
    from nkd.report.screen import Screen

DESCRIPTION = """A small network for a table of your own, taught by trees or a big network.

Reads a table, makes numbers of its columns, compares Students with Persons on rows that nobody has
seen, and trains the network to use on all rows: as safetensors, ONNX and a C header."""

FOREST = 200
"""Trees of the teacher that is a forest."""

FEW_ROWS = 50_000
"""Below this, trees are grown by one thread."""


@dataclass
class Flags:
    """Which table, what of it is learned, and how."""

    table: str = field(default="", positional=True, nargs="?", metavar="DATA.csv|DATA.parquet")
    """The table: .csv, .tsv (plain or .gz, with the columns' names in line 1) or .parquet."""

    target: str = field(default="", metavar="COLUMN")
    """The column to predict."""

    task: Literal["auto", "classification", "regression"] = "auto"
    """Whether the target is a class or a number; auto decides by what the column holds."""

    teacher: Literal["trees", "forest", "network"] = "trees"
    """trees: gradient boosting; forest: a random forest; network: a big one."""

    hidden: list[int] = hidden_units(16, 8)  # noqa: RUF009
    """Hidden units of Student and Person, layer by layer."""

    pairs: int = 5
    """Number of Student/Person pairs that are compared."""

    seed: int = 0
    """Of the teacher, the split and the first pair; the next ones count up from it."""

    backend: Literal["auto", "numpy", "numba", "cupy"] = "auto"
    """numpy; numba (compiled, faster); cupy (NVIDIA GPU); auto: cupy or numba if usable."""

    out: str = field(default="runs/distil-<table>-<time>", metavar="DIR")
    """Folder for the files; <table> stands for the name of the table, <time> for the start time."""

    checkpoint_every: float = field(default=30.0, metavar="SECONDS")
    """Keep a training that goes on, at the end of an epoch, when this time has passed."""

    resume: str = field(default="", metavar="DIR")
    """Go on with the run in this folder, with its flags, to the same numbers. The table is found
    where it was, or where DATA says."""

    def check(self) -> None:
        """Raise a UserError that names the first flag whose value makes no sense."""
        for name, what in (("table", "DATA.csv|DATA.parquet"), ("target", "--target COLUMN")):
            if not getattr(self, name):
                raise UserError(
                    f"the following arguments are required: {what} (--help lists the flags)"
                )
        check_seconds(self.checkpoint_every)
        check_hidden(self.hidden)
        if self.pairs < 1:
            raise wrong("pairs", self.pairs, "must be at least 1")
        last = LARGEST_SEED - self.pairs + 1
        if not 0 <= self.seed <= last:
            raise wrong("seed", self.seed, f"must lie in 0 … {last:,}")
        if not self.out:
            raise wrong("out", "''", "name a folder")


def run(flags: Flags) -> None:
    """Read the table, compare, train the Student that is delivered, and write all files."""
    flags = resumed(flags, "distil") if flags.resume else flags
    flags.check()
    backend = choose(flags.backend)
    path = Path(flags.table)
    frame = read(path)
    table = OwnTable.of(frame, flags.target, flags.task)
    encoding = Encoding.fit(table.features)

    from nkd.estimators import WORK
    from nkd.report.files import CHECKPOINTS, FILES, TABLE_FILES, Folder
    from nkd.report.screen import Screen
    from nkd.work import Kept, Work

    name = Path(path.name.removesuffix(".gz")).stem
    out, screen = flags.out.replace("<table>", name), Screen()
    folder = Folder(Path(out), resumed=True) if flags.resume else Folder.new(out)
    if folder.resumed and folder.finished():
        screen.print(f"This run is finished: {folder.path / 'report.html'}")
        return

    if path.name in (*FILES, *TABLE_FILES) and path.resolve().parent == folder.path.resolve():
        raise wrong("out", folder.path, f"a file there would replace {path.name}; name another")

    describe(screen, flags, path, frame, table, encoding)
    with folder.locked():
        begun = folder.begin(
            {
                "experiment": "distil",
                "flags": dataclasses.asdict(flags),
                "resolved": {"backend": backend.name},
                "data": digest_of(path.read_bytes()),
                "footing": footing_of(backend),
            }
        )
        kept = Kept(folder.path / CHECKPOINTS, flags.checkpoint_every)
        work = WORK.set(Work(backend.free_memory(), backend, screen.print, kept))
        try:
            with folder.going_on():
                carry_out(flags, table, encoding, backend, folder, screen, begun)
        finally:
            WORK.reset(work)
    screen.print(f"Written to {folder.path}: {', '.join(folder.kept())}")
    screen.print(f"All of it, to read in a browser: {folder.path / 'report.html'}")


def describe(
    screen: "Screen",
    flags: Flags,
    path: Path,
    frame: "DataFrame",
    table: OwnTable,
    encoding: Encoding,
) -> None:
    """Say what was read, and what becomes of it."""
    screen.print(f"{path.name}: {len(frame):,} rows, {len(frame.columns)} columns")
    if frame.index.name is not None:
        screen.print(f"The column {frame.index.name!r} is taken for the numbers of the rows")
    if table.without:
        screen.print(f"{table.without:,} rows have no {flags.target!r} and are left out")
    why = f"{table.why} (--task overrules)" if flags.task == "auto" else "--task says so"
    screen.print(f"{flags.target!r} is learned as {table.task}: {why}; {table.described()}")
    if encoding.left_out:
        screen.print(f"Columns left out: {columns_text(encoding.left_out)}")
    texts = [name for name in table.features if kind_of(table.features[name]) == CATEGORIES]
    if texts:
        screen.print(f"Taken for text: {', '.join(map(repr, texts))}")
    for name in texts:
        broken = no_number(table.features[name])
        if broken is not None:
            screen.print(f"{name!r} is text because of {broken!r}: is that meant?", style="yellow")
    for each in encoding.inputs:
        if each.one_of and len(each.one_of) > 1:
            screen.print(f"{each.name!r} stands for {len(each.one_of)} texts with few rows each")
    screen.print(
        f"The network has {len(encoding.inputs)} inputs; how they are made was learned from all "
        "rows, without the target (encoding.json)"
    )


def carry_out(
    flags: Flags,
    table: OwnTable,
    encoding: Encoding,
    backend: Backend,
    folder: "Folder",
    screen: "Screen",
    begun: dict[str, Any],
) -> None:
    """Compare, train the network that is delivered, and write all files.

    Args:
        begun: what configuration.json holds so far, and keeps: it takes that to go on.
    """
    from pandas import DataFrame
    from threadpoolctl import threadpool_limits

    x = DataFrame(encoding.transform(table.features), columns=encoding.names)
    student = student_of(table.task, flags, backend.name)
    teacher = "a big network" if student.teacher is None else repr(student.teacher)
    screen.print(
        f"Teacher: {teacher}; comparing on a fifth of the rows, held out; computing with {backend}"
    )
    # OpenMP's threads, which grow the trees, wait for each other at every split without leaving
    # their cores: where another program runs, a small table takes minutes instead of a second.
    with threadpool_limits(1 if len(x) < FEW_ROWS else None, "openmp"):
        title = Path(flags.table).name
        results = student.against_person(x, table.y, flags.pairs, title=title)
        screen.print(results.table())
        screen.print(results.sentence(), style="bold")
        if results.difference.verdict == "worse":
            screen.print("\nThe teacher does harm here: the network to use is trained without it")
            student.set_params(alpha=0.0)
        screen.print("\nNow the network to use, trained on all rows")
        student.fit(x, table.y)

    facts = {"network": "student", "dataset": title, "target": flags.target}
    model = dataclasses.replace(student.model_, facts={**student.model_.facts, **facts})
    about = settled(flags, table, encoding, teacher, model.classes, results) | begun
    write(folder, model, results, encoding, about)
    if "student.onnx" not in folder.kept():
        screen.print("No student.onnx was written: pip install 'nkd[onnx]', then `nkd export`")


def student_of(task: str, flags: Flags, backend: str) -> "DistilledClassifier | DistilledRegressor":
    """The estimator, with its teacher, not fitted yet."""
    from sklearn import ensemble

    from nkd.estimators import DistilledClassifier, DistilledRegressor

    classes = task == "classification"
    teacher: Any = None
    if flags.teacher == "trees":
        kind = "HistGradientBoostingClassifier" if classes else "HistGradientBoostingRegressor"
        teacher = getattr(ensemble, kind)(random_state=flags.seed)
    elif flags.teacher == "forest":
        kind = "RandomForestClassifier" if classes else "RandomForestRegressor"
        teacher = getattr(ensemble, kind)(FOREST, random_state=flags.seed, n_jobs=-1)
    return (DistilledClassifier if classes else DistilledRegressor)(
        teacher,
        hidden_layer_sizes=flags.hidden,
        backend=backend,
        random_state=flags.seed,
        verbose=True,
    )


def settled(
    flags: Flags,
    table: OwnTable,
    encoding: Encoding,
    teacher: str,
    classes: Sequence[Any],
    results: "Results",
) -> dict[str, Any]:
    """What configuration.json holds besides: what the table was, and how all was trained."""
    from nkd.experiment import configuration

    networks, values = results.networks, dataclasses.asdict(flags)
    training, run = networks["student"].training, networks["student"].runs[0]
    assert training is not None  # only a teacher can have none
    resolved = {"task": table.task, "backend": training.backend.name}  # in place of "auto"
    repeated = {name: value for name, value in (values | resolved).items() if name != "table"}
    return {
        "command": command_of("distil", repeated, flags.table),
        "table": {
            "rows with a target": len(table.y),
            "rows without": table.without,
            "inputs": len(encoding.inputs),
            "columns left out": dict(encoding.left_out),
        },
        "classes": {str(number): label for number, label in enumerate(classes)},
        **configuration(
            results.problem,
            None,
            flags.hidden,
            training.settings,
            results.seeds,
            training.backend,
        ),
        "teacher": teacher,
        "student": {"alpha": run.alpha, "temperature": run.temperature},
        "student.safetensors": "trained on all rows, after the comparison, with the first seed",
    }


def write(
    folder: "Folder", model: Model, results: "Results", encoding: Encoding, about: dict[str, Any]
) -> None:
    """Write all files."""
    from nkd.experiment import write_report
    from nkd.export import to_c, to_onnx

    exported = {"student.safetensors": model.to_bytes(), "student.h": to_c(model).encode()}
    if importlib.util.find_spec("onnx"):
        exported["student.onnx"] = to_onnx(model)
    folder.write_json("configuration.json", about)
    for name, content in {**exported, "encoding.json": encoding.to_json().encode()}.items():
        folder.write(name, content)
    write_report(folder, results, about)
    folder.finish()
