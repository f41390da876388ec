"""A table of one's own: read from a file, and what is to be learned from it."""

import io
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nkd.errors import UserError, first_line
from nkd.files import unzipped
from nkd.table_encoding import CATEGORIES, MISSING, NUMBERS, kind_of, numbers_of, texts_of

if TYPE_CHECKING:
    from pandas import DataFrame, Series

Task = Literal["classification", "regression"]

SEPARATORS = {".csv": ",", ".tsv": "\t"}
"""What separates the fields of a text file, by its suffix."""

FEWEST_ROWS = 10
"""With a target; with fewer there is nothing to train on, let alone to compare on."""

FEWEST_ROWS_OF_CLASS = 5
"""One for each fold, where a part of the rows is held out."""

MOST_CLASSES = 100

LONGEST_CLASS = 100
"""Characters in the name of a class."""

MANY = 20
"""Whole numbers with more different values than this are taken for a quantity."""

SHOWN = 10

MOST_COLUMNS = 50_000
"""Each takes some 5 kB, however few bytes it has in the file."""

MOST_UNPACKED = 100
"""Bytes of text, for each byte of a .gz file. Real tables have up to 30 or so."""

MOST_CELLS = 100
"""Cells, for each byte of a .parquet file, in which equal ones are counted."""


@dataclass(frozen=True, eq=False)
class OwnTable:
    """The rows of a table that have a target.

    Args:
        features: (N, ·) the columns without the target.
        target: its name.
        y: (N,) labels, which are text or whole numbers; or numbers, float64.
        task: "classification" or "regression".
        why: how that was decided, in words.
        without: how many rows were left out because they have no target.
    """

    features: "DataFrame"
    target: str
    y: np.ndarray
    task: Task
    why: str
    without: int

    @classmethod
    def of(cls, frame: "DataFrame", target: str, task: str = "auto") -> "OwnTable":
        """What is to be learned from a table.

        Args:
            frame: a data frame of pandas.
            target: the name of the column to predict.
            task: "classification" or "regression"; "auto" decides by the target, see `decided`.

        Raises:
            UserError: there is no such column, too few rows have a value in it, or these cannot be
                learned.
        """
        if target not in frame.columns:
            raise UserError(
                f"--target {target}: there is no such column; there are "
                f"{first_of(list(map(repr, frame.columns)))}"
            )
        known = frame[frame[target].notna()]
        if len(known) < FEWEST_ROWS:
            raise UserError(
                f"--target {target}: {len(known)} of {len(frame):,} rows have a value there; "
                f"at least {FEWEST_ROWS} are needed"
            )
        column = known[target]
        found, why = decided(column, task)
        y = numbers_of(column) if found == "regression" else labels_in(column)
        check_different(y, target)
        if found == "classification":
            check_classes(y, target)
        without = len(frame) - len(known)
        return cls(known.drop(columns=target), target, y, found, why, without)

    def described(self) -> str:
        """The classes with their numbers of rows, or the range."""
        if self.task == "regression":
            low, high = self.y.min(), self.y.max()
            return f"from {low:g} to {high:g}, mean {self.y.mean():.4g}"
        classes, counts = np.unique(self.y, return_counts=True)
        shown = [f"{name} ({n:,})" for name, n in zip(classes, counts, strict=True)]
        return f"{len(shown)} classes: {first_of(shown)}"


def first_of(texts: Sequence[str]) -> str:
    """The first of these texts, and how many more there are."""
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return f"{', '.join(texts[:SHOWN])}{more}"


def read(path: Path) -> "DataFrame":
    """The table in a file: .csv or .tsv, plain or .gz, with names in its first line; or .parquet.

    A first column without a name numbers the rows, as pandas writes it: it becomes the index.

    Raises:
        UserError: it cannot be read, holds no rows, or two columns have one name; or pandas is not
            there.
    """
    try:
        import pandas
    except ImportError:
        raise UserError(
            "tables are read by the package pandas: pip install 'nkd[tables]'"
        ) from None

    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix not in (*SEPARATORS, ".parquet"):
        raise UserError(f"{path}: name a file that ends in .csv, .tsv or .parquet")
    try:
        if suffix == ".parquet":
            frame = read_parquet(path)
            frame.columns = names = list(map(str, frame.columns))
        else:
            text, separator = text_of(path), SEPARATORS[suffix]
            check_columns(text, separator, path)
            options: dict[str, Any] = {"sep": separator, "keep_default_na": False}
            # pandas gives another name to a column whose name was there before, or has none.
            first = pandas.read_csv(io.BytesIO(text), header=None, nrows=1, dtype=str, **options)
            names = first.iloc[0].tolist()
            options["low_memory"] = False  # else a column may hold both texts and numbers
            frame = pandas.read_csv(io.BytesIO(text), na_values=list(MISSING), **options)
    except UserError:
        raise
    except ImportError:
        raise UserError(
            "Parquet is read by the package pyarrow: pip install 'nkd[tables]'"
        ) from None
    except pandas.errors.EmptyDataError:
        raise UserError(f"{path}: the file is empty") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: the file is not text in UTF-8; save it as that") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or first_line(error)})") from None
    except (ValueError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read ({first_line(error)})") from None
    twice = [name for name, times in Counter(names).items() if name and times > 1]
    if twice:
        raise UserError(f"{path}: two columns are called {twice[0]!r}: rename one")
    if not len(frame):
        raise UserError(f"{path}: the file has names of columns, but no rows")
    if suffix != ".parquet" and not frame.index.equals(pandas.RangeIndex(len(frame))):
        raise UserError(f"{path}: its rows have more fields than its first line has names")
    return frame if names[0] else frame.set_index(frame.columns[0])


def text_of(path: Path) -> bytes:
    """The text in a file, which is unpacked if it ends in .gz.

    Raises:
        UserError: it unpacks to too much: a few bytes may stand for gigabytes.
        OSError, EOFError, zlib.error: it cannot be read, or is damaged.
    """
    content = path.read_bytes()
    if path.suffix != ".gz":
        return content
    most = MOST_UNPACKED * len(content) + 2**20
    text = unzipped(content, most + 1)
    if len(text) > most:
        raise UserError(
            f"{path}: unpacks to more than {MOST_UNPACKED} times its size; if that is meant, "
            "unpack it yourself (gunzip)"
        )
    return text


def check_columns(text: bytes, separator: str, path: Path) -> None:
    """Refuse a text with more fields in a line than a table may have columns.

    Raises:
        UserError: there is such a line.
    """
    for line in re.finditer(rb"[^\r\n]{%d,}" % MOST_COLUMNS, text):
        if line[0].count(separator.encode()) >= MOST_COLUMNS:
            raise UserError(f"{path}: a line has more than {MOST_COLUMNS:,} fields; leave some out")


def read_parquet(path: Path) -> "DataFrame":
    """The table in a Parquet file, or in a folder of them.

    A damaged page may still have Arrow reserve up to 2 GiB, which it does not touch.

    Raises:
        UserError: it is damaged, or announces more cells than its size allows.
        ImportError: pyarrow is not there.
        OSError: it cannot be read.
    """
    from pyarrow import parquet

    try:
        cells = cells_of(parquet.read_metadata(path)) if path.is_file() else 0
        if cells <= MOST_CELLS * path.stat().st_size + 2**20:
            table = parquet.read_table(path)
            table.validate(full=True)  # Arrow does not look at each text before it is asked for
            return table.to_pandas()
    except OSError:
        raise
    except Exception as error:  # a part of it is pandas' own, and is not checked at all
        raise UserError(f"{path}: cannot be read ({first_line(error)})") from error
    raise UserError(
        f"{path}: announces {cells:,} cells, more than {MOST_CELLS} for each of its bytes: save "
        "it as .csv"
    )


def cells_of(announced: Any) -> int:
    """How many cells the metadata of a Parquet file announce."""
    # Memory is taken by what the groups say. To ask a damaged one for its columns ends the process.
    groups = [announced.row_group(number) for number in range(announced.num_row_groups)]
    return announced.num_columns * sum(max(group.num_rows, 0) for group in groups)


def decided(column: "Series", task: str) -> tuple[Task, str]:
    """What a target is, classes or numbers, and why.

    Text, booleans and two whole numbers are classes. Numbers that are not whole, and whole numbers
    with more than 20 different values, are numbers. Whole numbers with 3 to 20 values can be
    either: `task` must say it.

    Args:
        column: the target, with a value in every row.
        task: "auto", or what it is said to be.

    Raises:
        UserError: it cannot be that, or it can be either.
    """
    name, kind = column.name, kind_of(column)
    if kind == CATEGORIES:
        example = texts_of(column)[0]
        if task == "regression":
            raise UserError(
                f"--task regression: {name!r} holds values such as {example!r}; it needs numbers"
            )
        return "classification", f"its values are no numbers, such as {example!r}"
    if kind != NUMBERS:
        raise UserError(f"--target {name}: it holds {kind}; text or numbers can be learned")
    values = numbers_of(column)
    if np.abs(values).max() > 2**53:
        raise UserError(f"--target {name}: numbers beyond 2^53 cannot be told apart; shorten them")
    broken = values[values != np.rint(values)]
    if len(broken):
        if task == "classification":
            raise UserError(
                f"--task classification: {name!r} holds fractions such as {broken[0]:g}; classes "
                "are text or whole numbers"
            )
        return "regression", f"it holds fractions such as {broken[0]:g}"
    count = len(np.unique(values))
    whole = f"it holds {count:,} different whole numbers"
    if task == "regression":
        return "regression", whole
    if count <= 2 or task == "classification":
        return "classification", whole
    if count > MANY:
        return "regression", whole
    raise UserError(
        f"--target {name}: {whole}, which may be classes or a quantity: give --task "
        "classification or --task regression"
    )


def labels_in(column: "Series") -> np.ndarray:
    """The labels of a target: whole numbers as int64, all else as text.

    Raises:
        UserError: a text is too long: in NumPy's array each takes as much as the longest.
    """
    if kind_of(column) == NUMBERS:
        return column.to_numpy(np.int64)
    texts = texts_of(column)
    longest = max(texts, key=len)
    if len(longest) > LONGEST_CLASS:
        raise UserError(
            f"--target {column.name}: a text of {len(longest):,} characters, {longest[:20]!r} …, "
            f"is too long for the name of a class; {LONGEST_CLASS} are enough"
        )
    return texts.astype(str)


def check_different(y: np.ndarray, target: str) -> None:
    """Refuse a target that is the same in every row.

    Raises:
        UserError: it is.
    """
    if (y == y[0]).all():
        raise UserError(
            f"--target {target}: it is {y[0]} in every row that has it; there is nothing to learn"
        )


def check_classes(y: np.ndarray, target: str) -> None:
    """Refuse too many classes, and classes with too few rows.

    Raises:
        UserError: there are such.
    """
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) > MOST_CLASSES:
        raise UserError(
            f"--target {target}: {len(classes):,} classes are too many; at most {MOST_CLASSES} can "
            "be learned"
        )
    if counts.min() < FEWEST_ROWS_OF_CLASS:
        raise UserError(
            f"--target {target}: class {classes[counts.argmin()]} has {counts.min()} row(s), and "
            f"{FEWEST_ROWS_OF_CLASS} are needed: leave such rows out, or join classes"
        )
