"""The data sets: MNIST, California Housing, their embedded stand-ins, your own tables; splits.

Real data come from a folder that the user names (`data_dir`, or the environment variable
NKD_DATA_DIR), else from the user's cache, else from their standard loaders, and are verified by
SHA-256 wherever they come from. Nothing in a named folder is ever unpickled. Only "auto" without
a named folder may fall back to an embedded stand-in, and then `Dataset.notice` says so.

`SOURCES` lists the data sets that can be asked for by name; `from_table` makes one from any table.
"""

import hashlib
import math
import os
import tempfile
import threading
import urllib.error
import urllib.request
import warnings
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from nkd.arrays import check_finite, labels, numbers
from nkd.backend import NUMPY, Backend
from nkd.errors import UserError, first_line
from nkd.files import unzipped
from nkd.random_streams import Purpose, random_stream

# The four canonical files, as registered in tensorflow_datasets.
MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
    ),
    "train-labels-idx1-ubyte.gz": (
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
    ),
    "t10k-images-idx3-ubyte.gz": (
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
    ),
}
CALIFORNIA_FILE = "cal_housing.data"
CALIFORNIA_ROWS = 20_640
# Of the numbers, not of the text: copies of the file differ in their line endings.
CALIFORNIA_SHA256 = "a2f4f55ff91c67e60391318ea4d61d247d09f8fef119ec6f44a1eb727d7f1f7b"
CALIFORNIA_DERIVED_SHA256 = "9b9082ab86651a01d663a8e4a70ea14c0b41d0b2bd693bccd3221dcd111e15ca"

SPLIT_SEED = 0
TEST_FRACTION = 0.2
PROBE_SECONDS = 5.0


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test rows of one problem, as they are stored.

    Lists and other things that NumPy makes an array of are converted; arrays of numbers stay as
    they are.

    Attributes:
        name: Its name in `SOURCES`, or any other.
        title: Its name for people.
        x_train: (N, I); uint8 pixels, or float32 standardised features.
        y_train: (N,) int64 labels, or (N, O) float32 targets in units of `unit`. Labels of another
            type, or targets (N,), are converted by `Classification` and `Regression`.
        x_test: (M, I), like `x_train`.
        y_test: (M,) or (M, O), like `y_train`.
        input_scale: The factor that turns a stored input into the network's input.
        image_shape: Height and width, if each row is a greyscale image; else None.
        feature_mean: (I,) float64 means of the training rows; None if not standardised.
        feature_deviation: (I,) float64 standard deviations of the training rows, likewise.
        feature_bound: Standardised features are cut off at ± this many deviations before a network
            sees them; None if not.
        target_mean: (O,) means that were subtracted from the targets of a regression, in units of
            `unit`; None if they are not standardised.
        target_deviation: (O,) standard deviations that they were divided by, likewise.
        unit: Unit of the targets; "" if they have none.
        noise_floor: The RMSE on fresh rows that no model can beat, if it is known.
        stand_in: Whether these are embedded data in place of real ones.
        notice: One line to show the user if a stand-in was used without being asked for; else "".
        classes: The number of classes, if some of them may have no row; None: each has one.
        class_names: What the classes are called, in order, which also says how many there are; ():
            by their numbers.

    Raises:
        UserError: An array has no rows, something that is not a finite number, or the wrong shape.
    """

    name: str
    title: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    input_scale: float = 1.0
    image_shape: tuple[int, int] | None = None
    feature_mean: np.ndarray | None = None
    feature_deviation: np.ndarray | None = None
    feature_bound: float | None = None
    target_mean: np.ndarray | None = None
    target_deviation: np.ndarray | None = None
    unit: str = ""
    noise_floor: float | None = None
    stand_in: bool = False
    notice: str = ""
    classes: int | None = None
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for part in ("x_train", "y_train", "x_test", "y_test"):
            what = self.called(part)
            values = np.ascontiguousarray(numbers(getattr(self, part), what))
            if not values.size:
                raise UserError(f"{what} is empty, of the shape {values.shape}; give some rows")
            if part.startswith("x") and values.ndim != 2:
                raise UserError(
                    f"{what} has the shape {values.shape}; give a table (N, I), a row of I numbers "
                    "for each example"
                )
            check_finite(values, what)
            object.__setattr__(self, part, values)
        if (
            self.x_test.shape[1:] != self.x_train.shape[1:]
            or self.y_test.shape[1:] != self.y_train.shape[1:]
            or self.y_train.ndim > 2
            or len(self.x_train) != len(self.y_train)
            or len(self.x_test) != len(self.y_test)
        ):
            shapes = (each.shape for each in (self.x_train, self.y_train, self.x_test, self.y_test))
            raise UserError(
                f"data set {self.name!r}: x_train, y_train, x_test and y_test of the shapes "
                f"{', '.join(map(str, shapes))} do not fit together"
            )
        if self.image_shape is not None and math.prod(self.image_shape) != self.x_train.shape[1]:
            raise UserError(
                f"data set {self.name!r}: images of {self.image_shape} have not "
                f"{self.x_train.shape[1]} pixels"
            )

        self._check_scaling()

    def _check_scaling(self) -> None:
        """Refuse scales, bounds, means and deviations that make no sense."""
        columns = {"feature": self.x_train.shape[1], "target": math.prod(self.y_train.shape[1:])}
        for what, count in columns.items():
            parts = getattr(self, f"{what}_mean"), getattr(self, f"{what}_deviation")
            given = [np.asarray(part) for part in parts if part is not None]
            sound = all(part.shape == (count,) and np.isfinite(part).all() for part in given)
            if len(given) == 1 or not sound or (given and given[1].min() <= 0):
                raise UserError(
                    f"data set {self.name!r}: give {what}_mean and {what}_deviation as {count} "
                    "numbers each, deviations above 0, or neither"
                )
        bound = self.feature_bound
        if not 0 < abs(self.input_scale) < math.inf or not (bound is None or bound > 0):
            raise UserError(
                f"data set {self.name!r}: input_scale {self.input_scale} must be a number other "
                f"than 0, and feature_bound {bound} greater than 0, or None"
            )

    def called(self, part: str) -> str:
        """The name for people of one of its arrays, such as "x_train of data set 'mine'"."""
        return f"{part} of data set {self.name!r}"

    def class_name(self, label: int) -> str:
        """The name for people of a class."""
        return self.class_names[label] if self.class_names else str(label)

    def bounded(self, x: np.ndarray) -> np.ndarray:
        """Rows x of this data set, with their features within `feature_bound`."""
        bound = self.feature_bound
        return x if bound is None else np.clip(x, -bound, bound)

    def in_units(self, values: Any, backend: Backend = NUMPY) -> Any:
        """Stored targets (…, O), or outputs that imitate them, in units of `unit`."""
        if self.target_mean is None or self.target_deviation is None:
            return values
        mean, deviation = map(backend.asarray, (self.target_mean, self.target_deviation))
        return values * deviation + mean


@dataclass(frozen=True)
class Source:
    """The source of a data set that can be asked for by name.

    Args:
        task: "classification" or "regression".
        load: Loads it, from the user's folder if one is named.
        stand_in: The name of the data set that "auto" takes if this one is not available.
    """

    task: str
    load: Callable[[Path | None], Dataset]
    stand_in: str = ""


def names_of(task: str) -> list[str]:
    """The names of the data sets for that task; "auto" takes the first."""
    return [name for name, source in SOURCES.items() if source.task == task]


def load(task: str, dataset: str = "auto", data_dir: Path | str | None = None) -> Dataset:
    """The data set of that name in `SOURCES`.

    Args:
        task: "classification" or "regression".
        dataset: Its name; "auto" takes the first of the task, or its stand-in with a notice if it
            is not available and no folder was named.
        data_dir: Folder that holds its files; NKD_DATA_DIR if None.

    Raises:
        UserError: There is none with that name, or the data are missing, damaged or out of reach.
    """
    known = names_of(task)
    if dataset not in ("auto", *known):
        raise UserError(
            f"there is no data set {dataset!r} for {task} (--dataset): ask for 'auto' or "
            + " or ".join(map(repr, known))
        )
    named = data_dir if data_dir is not None else os.environ.get("NKD_DATA_DIR") or None
    folder = None if named is None else Path(os.path.expanduser(named))
    source = SOURCES[known[0] if dataset == "auto" else dataset]
    try:
        return source.load(folder)
    except UserError as error:
        if dataset != "auto" or folder is not None or not source.stand_in:
            raise
        substitute = SOURCES[source.stand_in].load(None)
        notice = f"NOT THE REAL DATA: {error}. Until then every number is of {substitute.title}."
        return replace(substitute, notice=notice)


def load_classification(dataset: str = "auto", data_dir: Path | str | None = None) -> Dataset:
    """MNIST (60,000 and 10,000 rows of 784 pixels), or the digits of scikit-learn.

    Args:
        dataset: "auto" takes MNIST, or the digits with a notice if MNIST is not available and
            no folder was named.
        data_dir: Folder that holds the four canonical IDX files; NKD_DATA_DIR if None.

    Raises:
        UserError: The data asked for are missing, damaged or out of reach.
    """
    return load("classification", dataset, data_dir)


def load_regression(dataset: str = "auto", data_dir: Path | str | None = None) -> Dataset:
    """California Housing (16,512 and 4,128 rows of 8 features), or Friedman #1.

    Args:
        dataset: "auto" takes California Housing, or Friedman #1 with a notice if it is not
            available and no folder was named.
        data_dir: Folder that holds `cal_housing.data`; NKD_DATA_DIR if None.

    Raises:
        UserError: The data asked for are missing, damaged or out of reach.
    """
    return load("regression", dataset, data_dir)


def from_table(
    name: str,
    title: str,
    features: np.ndarray,
    targets: np.ndarray,
    *,
    unit: str = "",
    noise_floor: float | None = None,
    stand_in: bool = False,
) -> Dataset:
    """A data set made from a table: a random fifth of its rows are held out as test rows.

    The features are standardised with the statistics of the training rows.

    Args:
        features: (N, I) numbers.
        targets: (N,) integers or booleans are labels 0 … C−1; real numbers (N,) or (N, O) are the
            targets of a regression.
        unit, noise_floor, stand_in: See `Dataset`.

    Raises:
        UserError: The two do not fit together, or a number is not finite.
    """
    of_features, of_targets = (f"{each}=… of data set {name!r}" for each in ("features", "targets"))
    x, y = numbers(features, of_features), numbers(targets, of_targets)
    fit = x.ndim == 2 and y.ndim in (1, 2) and len(x) == len(y)
    if not fit or not (x.size and y.size) or len(y) < 3:  # of three rows, one is a test row
        raise UserError(
            f"data set {name!r}: features {x.shape} and targets {y.shape} do not fit; "
            "give (N, I) numbers and N targets, of three rows or more"
        )
    check_finite(x, of_features)
    check_finite(y, of_targets)
    is_real = y.dtype.kind == "f"
    y = y.astype(np.float32).reshape(len(y), -1) if is_real else labels(y, of_targets)
    training, test = _random_split(len(x), TEST_FRACTION)
    unscaled = Dataset(
        name, title, x[training], y[training], x[test], y[test],
        unit=unit, noise_floor=noise_floor, stand_in=stand_in,
    )  # fmt: skip
    return _with_standardised(unscaled, x[training], x[test])


def number_of_classes(dataset: Dataset) -> int:
    """C, if the labels are 0 … C−1, those of training and test rows taken together.

    Raises:
        UserError: No row has one of these labels, and `classes` does not say how many there are.
    """
    different = np.unique(np.concatenate([dataset.y_train, dataset.y_test]))
    largest, classes = int(different[-1]), len(dataset.class_names) or dataset.classes
    if classes is not None:
        if largest >= classes:
            raise UserError(
                f"data set {dataset.name!r} has label {largest}, but {classes} classes: labels are "
                "counted from 0"
            )
        return classes
    if largest >= len(different):
        missing = (different != np.arange(len(different))).argmax()
        raise UserError(
            f"data set {dataset.name!r}: no row has label {missing}, but one has {largest}; number "
            "the classes 0 … C−1 without gaps, as numpy.unique(y, return_inverse=True)[1] does"
        )
    return largest + 1


def nested_order(y: np.ndarray) -> np.ndarray:
    """An order of training rows of which each beginning is a fair sample, as if drawn at random.

    Classes come in proportion: the j-th of the n rows of a class, counted from 0, has the place
    j/n, so the first C rows are one of each class. Smaller samples are parts of larger ones.

    Args:
        y: Labels (N,), or real targets, which are drawn without regard to their values.
    """
    order = random_stream(SPLIT_SEED, Purpose.FEWER_ROWS).permutation(len(y))
    if not _are_labels(y):
        return order
    place = np.empty(len(y))
    for label in np.unique(y):
        rows = np.flatnonzero(y[order] == label)
        place[rows] = np.arange(len(rows)) / len(rows)
    return order[np.argsort(place, kind="stable")]


def check_count(y: np.ndarray, count: int, what: str) -> int:
    """A number of training rows out of those with the labels or targets y, as Python's own.

    Args:
        what: The number for people, such as "--rows 300".

    Raises:
        UserError: There are not as many, or fewer than classes; or it is no count.
    """
    fewest, each = (len(np.unique(y)), ", one of each class,") if _are_labels(y) else (1, "")
    if not float(count).is_integer() or not fewest <= count <= len(y):
        raise UserError(
            f"{what}: give a whole number from {fewest}{each} to {len(y):,}, all there are"
        )
    return int(count)


def fewer_rows(dataset: Dataset, count: int) -> tuple[Dataset, np.ndarray]:
    """The data set with `count` of its training rows, and which these are, (count,).

    They are the first of `nested_order`, in their old order. Features stay standardised as they
    were, with all rows.

    Raises:
        UserError: There are not as many, or fewer than classes.
    """
    y = dataset.y_train
    rows = np.sort(nested_order(y)[: check_count(y, count, f"{count} rows")])
    return replace(dataset, x_train=dataset.x_train[rows], y_train=y[rows]), rows


def validation_split(dataset: Dataset, fraction: float = 1 / 6, seed: int = SPLIT_SEED) -> Dataset:
    """The training rows alone, split again: tuning is done on these.

    Args:
        dataset: Its test rows are dropped.
        fraction: Share of the training rows that becomes the new "test" rows.
        seed: Of the draw.

    Returns:
        The split data; regression features are standardised with the new training rows.
    """
    training, validation = _random_split(len(dataset.x_train), fraction, seed)
    x, y = dataset.x_train, dataset.y_train
    # A class may have no training row; the test rows that show it are gone after this.
    classes = number_of_classes(dataset) if _are_labels(y) else dataset.classes
    split = replace(
        dataset,
        title=f"{dataset.title}, validation split of the training rows",
        x_train=x[training],
        y_train=y[training],
        x_test=x[validation],
        y_test=y[validation],
        classes=classes,
    )
    if dataset.feature_mean is None or dataset.feature_deviation is None:
        return split
    original = x.astype(np.float64) * dataset.feature_deviation + dataset.feature_mean
    return _with_standardised(split, original[training], original[validation])


def standardise(
    train: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Shift and scale both by the statistics of the training rows alone.

    A feature that is constant in the training rows keeps its scale (deviation 1).

    Args:
        train: (N, I) features.
        test: (M, I) features.

    Returns:
        Standardised train and test, float32; mean and standard deviation, (I,) float64.
    """
    train, test = train.astype(np.float64), test.astype(np.float64)
    mean = train.mean(axis=0)
    constant = train.max(axis=0) == train.min(axis=0)
    deviation = np.where(constant, 1.0, train.std(axis=0))
    scaled_train = ((train - mean) / deviation).astype(np.float32)
    scaled_test = ((test - mean) / deviation).astype(np.float32)
    return scaled_train, scaled_test, mean, deviation


def read_idx(path: Path) -> np.ndarray:
    """The unsigned bytes of a gzipped IDX file, in the shape that its header gives, read-only.

    Raises:
        UserError: The file cannot be read or unpacked, or its header or size is wrong.

    Source: "The IDX file format", LeCun, Cortes, Burges, The MNIST database.
    """
    zipped = _read_bytes(path)
    try:
        header = unzipped(zipped, 4 + 4 * 3)
        dimensions = header[3] if header[:3] == b"\x00\x00\x08" and len(header) > 3 else 0
        start = 4 + 4 * dimensions
        if dimensions not in (1, 3) or len(header) < start:
            raise UserError(f"{path} has no IDX header for unsigned bytes: get a fresh copy")
        shape = tuple(int(size) for size in np.frombuffer(header, ">u4", dimensions, offset=4))
        announced = math.prod(shape)
        # A few bytes may unpack to gigabytes, so no more is unpacked than should be there.
        content = unzipped(zipped, start + announced + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise UserError(
            f"{path} is truncated or not a gzip file ({first_line(error)}): get a fresh copy"
        ) from error
    found = len(content) - start
    if found != announced:
        held = "more" if found > announced else f"{found} bytes"
        raise UserError(
            f"{path} holds {held} after its header, which announces {announced}: get a fresh copy"
        )
    try:
        return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
    except ValueError:  # nothing, but in a shape with more places than there are addresses
        raise UserError(f"{path} announces the shape {shape}: get a fresh copy") from None


def check_digit_images(images: np.ndarray, labels: np.ndarray, rows: int, source: Path) -> None:
    """Check that there are `rows` images of 28 by 28 pixels with labels from 0 to 9.

    Raises:
        UserError: There are not; `source` says where they were read from.
    """
    if images.shape != (rows, 28, 28) or labels.shape != (rows,):
        raise UserError(
            f"{source} gives images {images.shape} and labels {labels.shape} instead of "
            f"({rows}, 28, 28) and ({rows},): get a fresh copy"
        )
    if not np.isin(labels, range(10)).all():
        raise UserError(f"{source} holds labels outside 0 to 9: get a fresh copy")


def source_answers(url: str, seconds: float = PROBE_SECONDS) -> bool:
    """Whether a web server answers for `url` within `seconds`, including the name lookup."""
    answered = threading.Event()

    def probe() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            with urllib.request.urlopen(request, timeout=seconds):
                answered.set()
        except urllib.error.HTTPError as error:
            # The standard loaders retry server errors for minutes; other statuses are left to them.
            with error:
                if error.code < 500:
                    answered.set()
        except (OSError, HTTPException):
            pass

    # No timeout limits the name lookup; a daemon thread can be abandoned.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(seconds)
    return answered.is_set()


def _read_mnist(folder: Path) -> Dataset:
    _require_files(folder, MNIST_SHA256)
    for name, digest in MNIST_SHA256.items():
        if hashlib.sha256(_read_bytes(folder / name)).hexdigest() != digest:
            raise UserError(
                f"{folder / name} is damaged or not the canonical file (its SHA-256 differs): "
                "get a fresh copy"
            )
    x_train, y_train = _read_digit_images(folder, "train", 60_000)
    x_test, y_test = _read_digit_images(folder, "t10k", 10_000)
    return _images("mnist", "MNIST", x_train, y_train, x_test, y_test)


def _images(
    name: str,
    title: str,
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray,
    y_test: np.ndarray,
    stand_in: bool = False,
) -> Dataset:
    """Images of 28 by 28 pixels."""
    return Dataset(
        name, title, x_train, y_train, x_test, y_test,
        input_scale=1 / 255, image_shape=(28, 28), stand_in=stand_in,
    )  # fmt: skip


def _read_digit_images(folder: Path, part: str, rows: int) -> tuple[np.ndarray, np.ndarray]:
    images = read_idx(folder / f"{part}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz")
    check_digit_images(images, labels, rows, folder)
    return images.reshape(rows, 784), labels.astype(np.int64)


def _fetch_mnist() -> Dataset:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nkd" / "mnist"
    # Absent or damaged: either way the remedy is to download.
    with suppress(UserError):
        return _read_mnist(cache)
    with _loader_failures("MNIST", MNIST_SHA256):
        _download_mnist(cache)
    return _read_mnist(cache)


def _download_mnist(folder: Path) -> None:
    import tensorflow_datasets
    from tensorflow_datasets.image_classification.mnist import MNIST

    url_of = {information.filename: url for url, information in MNIST.url_infos.items()}
    _require_answer(next(iter(url_of.values())))
    folder.mkdir(parents=True, exist_ok=True)
    # In the same folder, so that each file appears under its name at once and complete.
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as unfinished:
        manager = tensorflow_datasets.download.DownloadManager(
            download_dir=unfinished,
            url_infos=MNIST.url_infos,
            force_checksums_validation=True,
        )
        for name, path in manager.download(url_of).items():
            os.replace(path, folder / name)


def _read_california(folder: Path) -> Dataset:
    _require_files(folder, [CALIFORNIA_FILE])
    return _california(*_derive_california(_read_california_table(folder / CALIFORNIA_FILE)))


def _read_california_table(path: Path) -> np.ndarray:
    """The verified (20640, 9) float64 numbers of the original text file."""
    content = _read_bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            table = np.loadtxt(content.decode().splitlines(), delimiter=",", ndmin=2)
    except (ValueError, UserWarning) as error:
        raise UserError(
            f"{path} is not a table of numbers ({first_line(error)}): get a fresh copy"
        ) from error
    not_finite = np.argwhere(~np.isfinite(table))
    if len(not_finite):
        row, column = not_finite[0]
        kind = "features" if column < 8 else "target"
        raise UserError(
            f"{path} has {table[row, column]} in the {kind}, row {row + 1}, "
            f"column {column + 1}: get a fresh copy"
        )
    if table.shape != (CALIFORNIA_ROWS, 9):
        raise UserError(
            f"{path} holds {table.shape[0]} rows of {table.shape[1]} numbers instead of "
            f"{CALIFORNIA_ROWS} of 9: get a fresh copy"
        )
    if _digest(table) != CALIFORNIA_SHA256:
        raise UserError(
            f"{path} holds other numbers than the canonical file (their SHA-256 differs): "
            "get a fresh copy"
        )
    return table


def _derive_california(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, 8) and target (N,) in $100,000, bit for bit as scikit-learn derives them.

    Source: sklearn.datasets.fetch_california_housing.
    """
    longitude, latitude, age, rooms, bedrooms, population, households, income, value = table.T
    features = [
        income,
        age,
        rooms / households,
        bedrooms / households,
        population,
        population / households,
        latitude,
        longitude,
    ]
    return np.column_stack(features), value / 100_000


def _fetch_california() -> Dataset:
    with _loader_failures("California Housing", [CALIFORNIA_FILE]):
        features, target = _download_california()
    if _digest(np.column_stack([features, target])) != CALIFORNIA_DERIVED_SHA256:
        raise UserError(
            "scikit-learn's copy of California Housing holds other numbers than the canonical "
            "one (their SHA-256 differs): delete cal_housing*.pkz in its data home, or "
            + _name_a_folder([CALIFORNIA_FILE])
        )
    return _california(features, target)


def _download_california() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import fetch_california_housing

    try:
        features, target = fetch_california_housing(return_X_y=True, download_if_missing=False)
    except OSError:
        # Not in scikit-learn's own cache.
        from sklearn.datasets._california_housing import ARCHIVE

        _require_answer(ARCHIVE.url)
        features, target = fetch_california_housing(return_X_y=True)
    return features, target


def _california(features: np.ndarray, target: np.ndarray) -> Dataset:
    return from_table("california", "California Housing", features, target, unit="$100,000")


def _digits() -> Dataset:
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    enlarged = zoom(digits.images, (1, 28 / 8, 28 / 8), order=1)
    pixels = np.rint(enlarged * (255 / 16)).astype(np.uint8).reshape(-1, 784)
    labels = digits.target.astype(np.int64)
    x_train, x_test, y_train, y_test = train_test_split(
        pixels, labels, test_size=TEST_FRACTION, stratify=labels, random_state=SPLIT_SEED
    )
    title = "handwritten digits of scikit-learn (stand-in for MNIST)"
    return _images("digits", title, x_train, y_train, x_test, y_test, stand_in=True)


def _friedman() -> Dataset:
    """Friedman #1: y = 10 sin(π x₀ x₁) + 20 (x₂ - ½)² + 10 x₃ + 5 x₄ + N(0, 1); x₅ … x₇ unused.

    Source: Friedman, Multivariate adaptive regression splines, 1991.
    """
    from sklearn.datasets import make_friedman1

    noise = 1.0
    features, target = make_friedman1(
        n_samples=CALIFORNIA_ROWS, n_features=8, noise=noise, random_state=SPLIT_SEED
    )
    title = "Friedman #1 (stand-in for California Housing)"
    return from_table("friedman", title, features, target, noise_floor=noise, stand_in=True)


def _with_standardised(dataset: Dataset, train: np.ndarray, test: np.ndarray) -> Dataset:
    x_train, x_test, mean, deviation = standardise(train, test)
    return replace(
        dataset, x_train=x_train, x_test=x_test, feature_mean=mean, feature_deviation=deviation
    )


def _are_labels(y: np.ndarray) -> bool:
    return y.ndim == 1 and y.dtype.kind in "iub"


def _random_split(
    rows: int, fraction: float, seed: int = SPLIT_SEED
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the rows that stay, and of the `fraction` that is held out."""
    order = random_stream(seed, Purpose.DATA_SPLIT).permutation(rows)
    held_out = round(rows * fraction)
    return order[held_out:], order[:held_out]


def _require_files(folder: Path, names: Collection[str]) -> None:
    missing = [name for name in names if not os.path.isfile(folder / name)]
    if not os.path.isdir(folder):
        problem = f"there is no folder {folder}"
    elif missing:
        problem = f"the folder {folder} has no {', '.join(missing)}"
    else:
        return
    raise UserError(f"{problem}: {_name_a_folder(names)}")


def _name_a_folder(files: Collection[str]) -> str:
    return f"name a folder that holds {', '.join(files)} with --data-dir or NKD_DATA_DIR"


def _require_answer(url: str) -> None:
    if not source_answers(url):
        raise ConnectionError(f"no answer from {urlsplit(url).hostname}")


@contextmanager
def _loader_failures(title: str, files: Collection[str]) -> Iterator[None]:
    """Report whatever goes wrong in a third-party loader in one line, with what to do."""
    try:
        yield
    except Exception as error:
        raise UserError(
            f"{title} could not be fetched ({first_line(error)}): {_name_a_folder(files)}"
        ) from error


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check it") from error


def _digest(table: np.ndarray) -> str:
    """SHA-256 of the numbers as little-endian float64 in C order."""
    return hashlib.sha256(table.astype("<f8").tobytes()).hexdigest()


SOURCES = {
    "mnist": Source(
        "classification", lambda folder: _read_mnist(folder) if folder else _fetch_mnist(), "digits"
    ),
    "digits": Source("classification", lambda folder: _digits()),
    "california": Source(
        "regression",
        lambda folder: _read_california(folder) if folder else _fetch_california(),
        "friedman",
    ),
    "friedman": Source("regression", lambda folder: _friedman()),
}
"""The data sets by name. To add one, add it here; `--dataset` then knows it."""
