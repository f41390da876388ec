"""How a row of a table becomes the numbers that a network sees, in plain data.

    encoding = Encoding.fit(frame)
    x = encoding.transform(frame)  # (N, I)

scikit-learn's transformers learn it; what they have learned is a list of `Input`, which can be
written as JSON and computed anywhere.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nkd.arrays import LARGEST
from nkd.errors import UserError
from nkd.files import from_json

if TYPE_CHECKING:
    from pandas import DataFrame, Series
    from sklearn.compose import ColumnTransformer

FEWEST_ROWS_OF_CATEGORY = 5
"""A category with fewer rows is rare: all rare ones of a column are one input."""

MOST_CATEGORIES = 30
"""Inputs that a column of categories may become; what is less frequent is rare, too."""

MISSING = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
"""What stands for a missing value in a text file, as pandas has it."""

ABOUT = (
    "The inputs of the network, in order. Each is a number made of one column: with one_of, it is "
    "1 if the value is one of these texts, else 0, where null stands for a missing value, a "
    "boolean is True or False and a whole number has no point; with median, it is the value "
    "itself, or the median if the value is missing. In a text file, the texts under missing are "
    "missing values."
)

NUMBERS, CATEGORIES, DATES = "numbers", "categories", "dates"

KINDS = {
    **dict.fromkeys(("integer", "floating", "mixed-integer-float", "decimal"), NUMBERS),
    **dict.fromkeys(("string", "boolean", "categorical", "empty"), CATEGORIES),
    **dict.fromkeys(
        ("date", "datetime", "datetime64", "time", "timedelta", "timedelta64", "period"), DATES
    ),
}
"""What a column holds, by what `pandas.api.types.infer_dtype` calls it."""


@dataclass(frozen=True)
class Input:
    """One input of the network, made of one column. Either `one_of` or `median` is given.

    Args:
        name: what it is called, such as "colour=red", "age" or "age is missing".
        column: the column's name.
        one_of: the input is 1 for these categories, else 0; None stands for a missing value.
        median: the input is the number in the column, or this one where that is missing.
    """

    name: str
    column: str
    one_of: tuple[str | None, ...] | None = None
    median: float | None = None

    @classmethod
    def described(cls, said: Mapping[str, Any]) -> "Input":
        """The input that an encoding's text describes so.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: it is not as `Encoding.to_json` has it.
        """
        check_texts([said["name"], said["column"]])
        if "one_of" in said:
            if not isinstance(said["one_of"], list):
                raise TypeError("one_of")
            check_texts(text for text in said["one_of"] if text is not None)
            return cls(said["name"], said["column"], one_of=tuple(said["one_of"]))
        median = float(said["median"])
        if not abs(median) <= LARGEST:
            raise ValueError(f"a median of {median}")
        return cls(said["name"], said["column"], median=median)

    def of(self, column: "Series") -> np.ndarray:
        """The input for each value of the column, (N,) float64."""
        if self.one_of is not None:
            wanted, (places, texts) = set(self.one_of), factorised(column)
            return np.array([text in wanted for text in texts], np.float64)[places]
        return numbers_of(column, missing=self.median)


@dataclass(frozen=True)
class Encoding:
    """How the columns of a table become the inputs of a network.

    Args:
        inputs: in order.
        left_out: columns that become no input, and why.
    """

    inputs: tuple[Input, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def fit(cls, frame: "DataFrame") -> "Encoding":
        """Learn the categories and medians of a table.

        Texts, booleans and pandas' categories become an input for each category that is not rare,
        one for all rare ones, and one for a missing value. Numbers are an input, and if some are
        missing, there is a second one that says so. Dates, columns with the same value everywhere
        and those that (nearly) tell the rows apart are left out.

        Args:
            frame: a data frame of pandas, without the target.

        Raises:
            UserError: a number is not finite, no column is left, or two inputs would have one name.
        """
        reasons = {name: useless(frame[name]) for name in frame.columns}
        left_out = {name: reason for name, reason in reasons.items() if reason}
        kept = [name for name in frame.columns if name not in left_out]
        if not kept:
            raise UserError(
                "there is no column to learn from: "
                + (columns_text(left_out) or "the target is the only one")
            )
        transformer = transformer_of(frame[kept]).fit(prepared(frame[kept]))
        inputs: list[Input] = []
        for name, (_, fitted, _) in zip(kept, transformer.transformers_, strict=False):
            inputs += learned(name, fitted)
        twice = [name for name, times in Counter(each.name for each in inputs).items() if times > 1]
        if twice:
            raise UserError(f"two inputs would be called {twice[0]!r}: rename a column")
        return cls(tuple(inputs), left_out)

    @property
    def names(self) -> list[str]:
        """What the inputs are called."""
        return [each.name for each in self.inputs]

    def transform(self, frame: "DataFrame") -> np.ndarray:
        """The inputs (N, I) float64 for the rows of a table.

        A category that was not there when this was fitted is 0 in all inputs of its column. Columns
        that become no input need not be there.

        Raises:
            UserError: a column is missing, or holds something that is no finite number where
                numbers were.
        """
        for each in self.inputs:
            if each.column not in frame.columns:
                raise UserError(f"the table has no column {each.column!r}, which the network needs")
        return np.stack([each.of(frame[each.column]) for each in self.inputs], axis=-1)

    def to_json(self) -> str:
        """All of it as text, which says itself how to read it."""
        inputs = [
            {name: value for name, value in asdict(each).items() if value is not None}
            for each in self.inputs
        ]
        content = {"about": ABOUT, "missing": MISSING, "inputs": inputs, "left_out": self.left_out}
        return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Encoding":
        """The encoding in such a text.

        Raises:
            UserError: it is not as `to_json` writes it.
        """
        try:
            content = from_json(text)
            inputs, left_out = content["inputs"], content["left_out"]
            if not inputs or not isinstance(left_out, dict):
                raise ValueError("inputs or left_out")
            check_texts(left_out.values())
            return cls(tuple(map(Input.described, inputs)), left_out)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise UserError(f"no encoding as nkd writes it ({error!r})") from None


def check_texts(values: Iterable[Any]) -> None:
    """Refuse what is no text.

    Raises:
        TypeError: there is such.
    """
    for value in values:
        if not isinstance(value, str):
            raise TypeError(f"{value!r:.40} is no text")


def transformer_of(frame: "DataFrame") -> "ColumnTransformer":
    """scikit-learn's transformer for `prepared` columns, not fitted yet; an entry for each."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder

    categories = OneHotEncoder(
        handle_unknown="ignore",
        min_frequency=FEWEST_ROWS_OF_CATEGORY,
        max_categories=MOST_CATEGORIES,
        sparse_output=False,
    )
    numbers = SimpleImputer(strategy="median", add_indicator=True)
    return ColumnTransformer(
        [
            # By their places: NumPy, in which names are looked up, drops a 0 at their end.
            (str(number), numbers if kind_of(frame[name]) == NUMBERS else categories, [number])
            for number, name in enumerate(frame.columns)
        ]
    )


def prepared(frame: "DataFrame") -> "DataFrame":
    """The columns as scikit-learn's transformers get them: numbers as float64, all else as text."""
    from pandas import DataFrame, Series

    columns = {
        name: Series(numbers_of(column))
        if kind_of(column) == NUMBERS
        else Series(texts_of(column), dtype=object)
        for name, column in frame.items()
    }
    return DataFrame(columns)


def learned(name: str, fitted: Any) -> list[Input]:
    """The inputs that one of scikit-learn's transformers makes of a column, in its order."""
    if hasattr(fitted, "statistics_"):
        inputs = [Input(name, name, median=float(fitted.statistics_[0]))]
        if len(fitted.indicator_.features_):
            inputs.append(Input(f"{name} is missing", name, one_of=(None,)))
        return inputs
    known = [text if isinstance(text, str) else None for text in fitted.categories_[0]]
    rare = fitted.infrequent_categories_[0]
    rare = [text if isinstance(text, str) else None for text in ([] if rare is None else rare)]
    groups = [(text,) for text in known if text not in rare] + ([tuple(rare)] if rare else [])
    return [Input(called(name, group), name, one_of=group) for group in groups]


def called(column: str, group: tuple[str | None, ...]) -> str:
    """The name of the input for these categories."""
    if len(group) > 1:
        return f"{column} is rare"
    return f"{column} is missing" if group[0] is None else f"{column}={group[0]}"


def useless(column: "Series") -> str:
    """Why a column cannot become an input; "" if it can."""
    if column.isna().all():
        return "no value in any row"
    kind = kind_of(column)
    if kind == DATES:
        return "dates"
    if kind not in (NUMBERS, CATEGORIES):
        return "neither numbers nor text"
    if column.nunique(dropna=False) == 1:
        return "the same value in every row"
    if kind == CATEGORIES:
        most = column.value_counts(dropna=False).max()
        if most == 1:
            return "a different text in every row"
        if most < FEWEST_ROWS_OF_CATEGORY:
            return f"no text in {FEWEST_ROWS_OF_CATEGORY} rows or more"
    return ""


def kind_of(column: "Series") -> str:
    """What a column holds: `NUMBERS`, `CATEGORIES`, `DATES`, or something else, as pandas says."""
    from pandas.api.types import infer_dtype

    inferred = infer_dtype(column, skipna=True)
    if inferred == "string":
        texts = texts_of(column.dropna().drop_duplicates())
        if all(re.match(r"\d{4}-\d\d-\d\d", text) for text in texts):
            return DATES
    return KINDS.get(inferred, inferred)


def texts_of(column: "Series") -> np.ndarray:
    """The values as text, None where one is missing: an array (N,) of objects."""
    places, texts = factorised(column)
    return np.array(texts, dtype=object)[places]


def factorised(column: "Series") -> tuple[np.ndarray, list[str | None]]:
    """For each value where its text stands (N,), and the different texts; None is a missing one."""
    from pandas import factorize

    def text(value: Any) -> str:
        # Whether whole numbers are stored with a point depends on whether one is missing.
        whole = isinstance(value, float) and value.is_integer()
        return str(int(value)) if whole else str(value)

    places, values = factorize(column)  # the place of a missing value is −1
    return places, [*map(text, values), None]


def numbers_of(column: "Series", missing: float | None = None) -> np.ndarray:
    """The values as float64 (N,); where one is missing, the number for that, by default NaN.

    Raises:
        UserError: one is no number, or is beyond float32, which exported networks compute in.
    """
    try:
        values = column.to_numpy(np.float64, na_value=np.nan if missing is None else missing)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"column {column.name!r} does not hold numbers alone ({error})") from None
    beyond = np.flatnonzero(np.abs(values) > LARGEST)
    if len(beyond):
        raise UserError(
            f"column {column.name!r} has {values[beyond[0]]:g} in row {column.index[beyond[0]]}: "
            "leave the number out, or take another unit"
        )
    return values


def no_number(column: "Series") -> str | None:
    """The first text that is no number, in a column where most are; else None."""
    from pandas import to_numeric

    texts = column.dropna().astype(str)
    numbers = to_numeric(texts.str.replace(r"[,%$€ ]", "", regex=True), errors="coerce").notna()
    broken = texts[to_numeric(texts, errors="coerce").isna()]
    return str(broken.iloc[0]) if len(broken) and numbers.mean() > 0.5 else None


def columns_text(reasons: Mapping[str, str]) -> str:
    """Columns and why they are left out, for people."""
    return ", ".join(f"{name} ({reason})" for name, reason in reasons.items())
