"""nkd.data on made-up files, on the embedded sets and, with NKD_DATA_DIR, on the real files."""

import gzip
import os
import pickle
import struct
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.datasets import load_wine

from nkd import data
from nkd.errors import UserError
from nkd.tables import batch_orders

REAL_FOLDER = os.environ.get("NKD_DATA_DIR")
with_real_data = pytest.mark.skipif(not REAL_FOLDER, reason="NKD_DATA_DIR is not set")

LOADERS = {
    "mnist": data.load_classification,
    "digits": data.load_classification,
    "california": data.load_regression,
    "friedman": data.load_regression,
}


@pytest.fixture(autouse=True)
def own_surroundings(monkeypatch, tmp_path):
    """No data folder is named, all caches are empty, and nothing touches the network."""
    monkeypatch.delenv("NKD_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "scikit_learn_data"))
    monkeypatch.setattr(data, "source_answers", lambda url: False)


@pytest.fixture(scope="module")
def digits():
    return data.load_classification("digits")


@pytest.fixture(scope="module")
def friedman():
    return data.load_regression("friedman")


def message_of(call, *arguments) -> str:
    """The one line that the user sees when the call refuses."""
    with pytest.raises(UserError) as refusal:
        call(*arguments)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def rows_of(array: np.ndarray) -> set[bytes]:
    return {row.tobytes() for row in array}


def original_features(dataset: data.Dataset, x: np.ndarray) -> np.ndarray:
    if dataset.feature_mean is None or dataset.feature_deviation is None:
        return x
    return x.astype(np.float64) * dataset.feature_deviation + dataset.feature_mean


# IDX files


@pytest.mark.parametrize("shape", [(7,), (0,), (3, 4, 5)])
def test_idx_gives_back_what_was_written(tmp_path, shape):
    array = np.random.default_rng(0).integers(0, 256, shape)
    path = tmp_path / "made-up.gz"
    path.write_bytes(gzip.compress(idx(array)))
    np.testing.assert_array_equal(data.read_idx(path), array)


GOOD = idx(np.arange(12).reshape(2, 2, 3))
DAMAGED = {
    "empty file": (b"", "IDX header"),
    "no gzip": (GOOD, "gzip"),
    "gzip cut off": (gzip.compress(GOOD)[:-9], "truncated"),
    "gzip body garbled": (gzip.compress(GOOD)[:12] + b"\xff" * 20, "IDX header"),
    "wrong magic": (gzip.compress(b"\x00\x01" + GOOD[2:]), "IDX header"),
    "floats": (gzip.compress(GOOD[:2] + b"\x0d" + GOOD[3:]), "IDX header"),
    "header cut off": (gzip.compress(GOOD[:9]), "IDX header"),
    "one byte missing": (gzip.compress(GOOD[:-1]), "11 bytes"),
    "one byte too many": (gzip.compress(GOOD + b"x"), "holds more"),
}


@pytest.mark.parametrize("content, complaint", DAMAGED.values(), ids=DAMAGED)
def test_damaged_idx_is_refused_by_name(tmp_path, content, complaint):
    path = tmp_path / "damaged.gz"
    path.write_bytes(content)
    message = message_of(data.read_idx, path)
    assert str(path) in message and complaint in message and "fresh copy" in message


def test_labels_and_shapes_of_digit_images_are_checked():
    images, labels = np.zeros((3, 28, 28), np.uint8), np.array([0, 9, 10], np.uint8)
    source = Path("somewhere")
    data.check_digit_images(images, labels.clip(max=9), 3, source)
    assert "outside 0 to 9" in message_of(data.check_digit_images, images, labels, 3, source)
    assert "(2,)" in message_of(data.check_digit_images, images, labels[:2], 3, source)
    assert "27" in message_of(data.check_digit_images, images[:, 1:], labels, 3, source)


# Named folders, and no fallback from them


def test_a_wrong_checksum_is_refused_by_name(tmp_path):
    for name in data.MNIST_SHA256:
        (tmp_path / name).write_bytes(gzip.compress(GOOD))
    message = message_of(data.load_classification, "auto", tmp_path)
    assert str(tmp_path / "train-images-idx3-ubyte.gz") in message and "SHA-256" in message


@pytest.mark.parametrize("dataset", ["auto", "mnist", "california"])
@pytest.mark.parametrize("folder", ["absent", "empty", "a_file"])
@pytest.mark.parametrize("named_by", ["argument", "environment"])
def test_a_named_folder_without_the_files_never_falls_back(
    monkeypatch, tmp_path, dataset, folder, named_by
):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a_file").touch()
    load = data.load_regression if dataset == "california" else data.load_classification
    if named_by == "environment":
        monkeypatch.setenv("NKD_DATA_DIR", str(tmp_path / folder))
        message = message_of(load, dataset)
    else:
        message = message_of(load, dataset, tmp_path / folder)
    assert str(tmp_path / folder) in message and "--data-dir" in message


def test_stand_ins_asked_for_by_name_ignore_the_folder(monkeypatch):
    monkeypatch.setenv("NKD_DATA_DIR", "/nowhere")
    assert data.load_classification("digits").stand_in
    assert data.load_regression("friedman").stand_in


class Exploit:
    """Runs code of its maker's choice when it is unpickled."""

    def __init__(self, proof: Path):
        self.proof = proof

    def __reduce__(self):
        return os.mkdir, (str(self.proof),)


def test_no_pickle_in_a_named_folder_is_loaded(monkeypatch, tmp_path):
    proof = tmp_path / "proof"
    for name in ("cal_housing_py3.pkz", "cal_housing.pkz", "cal_housing.data"):
        (tmp_path / name).write_bytes(pickle.dumps(Exploit(proof)))
    monkeypatch.setenv("NKD_DATA_DIR", str(tmp_path))
    assert "not a table of numbers" in message_of(data.load_regression)
    (tmp_path / "cal_housing.data").unlink()
    assert "has no cal_housing.data" in message_of(data.load_regression)
    assert not proof.exists()


ROW = "-122.23,37.88,41,880,129,322,126,8.3252,452600\n"
BAD_TABLES = {
    "NaN": (ROW + ROW.replace("129", "nan"), "nan in the features, row 2, column 5"),
    "infinite target": (ROW.replace("452600", "inf"), "inf in the target, row 1, column 9"),
    "missing value": (ROW.replace("129", ""), "row 0, column 5"),
    "text": ("<html>\n" + ROW, "<html>"),
    "ragged": (ROW + "1,2\n", "number of columns"),
    "nothing": ("", "no data"),
    "too few rows": (ROW, "1 rows of 9"),
    "other numbers": (ROW * data.CALIFORNIA_ROWS, "SHA-256"),
}


@pytest.mark.parametrize("text, complaint", BAD_TABLES.values(), ids=BAD_TABLES)
def test_a_bad_california_table_is_refused_by_name(tmp_path, text, complaint):
    (tmp_path / "cal_housing.data").write_text(text)
    message = message_of(data.load_regression, "auto", tmp_path)
    assert str(tmp_path / "cal_housing.data") in message and complaint in message


# Out of reach: without a folder and without an answer


@pytest.mark.parametrize("dataset", ["mnist", "california"])
def test_real_data_asked_for_by_name_never_fall_back(dataset):
    message = message_of(LOADERS[dataset], dataset)
    assert "no answer" in message and "--data-dir" in message


@pytest.mark.parametrize(
    "load, stand_in",
    [(data.load_classification, "digits"), (data.load_regression, "friedman")],
)
def test_auto_falls_back_with_a_notice(load, stand_in):
    taken, asked_for = load(), load(stand_in)
    assert taken.name == stand_in and taken.stand_in
    assert "no answer" in taken.notice and "--data-dir" in taken.notice
    assert asked_for.title in taken.notice and "\n" not in taken.notice
    assert asked_for.notice == ""


def test_a_damaged_cache_is_not_trusted(tmp_path):
    cache = tmp_path / "cache" / "nkd" / "mnist"
    cache.mkdir(parents=True)
    for name in data.MNIST_SHA256:
        (cache / name).write_bytes(gzip.compress(GOOD))
    assert "could not be fetched" in message_of(data.load_classification, "mnist")


def test_an_unknown_name_is_refused():
    assert "'mnist'" in message_of(data.load_classification, "california")


def test_a_silent_source_is_given_up_in_time(monkeypatch):
    monkeypatch.undo()
    released = threading.Event()

    def hang(request, timeout):
        released.wait(60)
        raise OSError

    monkeypatch.setattr("urllib.request.urlopen", hang)
    start = time.monotonic()
    assert not data.source_answers("https://silent.invalid/file", seconds=0.1)
    assert time.monotonic() - start < 5
    released.set()


# Standardising


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_standardising_never_sees_a_test_row(draw):
    numbers = st.integers(-1000, 1000).map(float)
    train = draw.draw(arrays(np.float64, (5, 3), elements=numbers))
    tests = [draw.draw(arrays(np.float64, (4, 3), elements=numbers)) for _ in range(2)]
    first, second = (data.standardise(train, test) for test in tests)
    for part in (0, 2, 3):
        np.testing.assert_array_equal(first[part], second[part])
    scaled_train, scaled_test, mean, deviation = first
    assert scaled_train.dtype == scaled_test.dtype == np.float32
    assert (deviation > 0).all()
    np.testing.assert_allclose(scaled_test * deviation + mean, tests[0], atol=1e-2)


def test_a_constant_feature_keeps_its_scale():
    train = np.array([[0.1, 1.0], [0.1, 2.0], [0.1, 6.0]])
    scaled_train, scaled_test, _, deviation = data.standardise(train, train[:1] + 1)
    assert deviation[0] == 1.0
    np.testing.assert_allclose(scaled_train[:, 0], 0.0, atol=1e-7)
    np.testing.assert_allclose(scaled_test[0, 0], 1.0)


def test_regression_features_are_standardised_by_their_training_rows(friedman):
    np.testing.assert_allclose(friedman.x_train.mean(axis=0, dtype=float), 0, atol=1e-6)
    np.testing.assert_allclose(friedman.x_train.std(axis=0, dtype=float), 1, atol=1e-6)
    assert np.abs(friedman.x_test.mean(axis=0, dtype=float)).max() > 1e-3
    train = original_features(friedman, friedman.x_train)
    np.testing.assert_allclose(train.mean(axis=0), friedman.feature_mean, atol=1e-6)
    assert train.min() > -1e-6 and train.max() < 1 + 1e-6


# The embedded sets


def test_digits_are_stratified_pixels(digits):
    assert digits.x_train.shape == (1437, 784) and digits.x_test.shape == (360, 784)
    assert digits.x_train.dtype == np.uint8 and digits.y_train.dtype == np.int64
    assert digits.x_train.max() == 255 and digits.input_scale == 1 / 255
    counts = [np.bincount(labels, minlength=10) for labels in (digits.y_train, digits.y_test)]
    assert np.abs(counts[0] / 1437 - counts[1] / 360).max() < 1 / 360
    # No two of the 1,797 images are equal, so that equal pixels mean the same row.
    assert not rows_of(digits.x_train) & rows_of(digits.x_test)


def test_friedman_is_like_california_and_no_model_beats_its_noise(friedman):
    assert friedman.x_train.shape == (16_512, 8) and friedman.x_test.shape == (4_128, 8)
    assert friedman.y_train.shape == (16_512, 1) and friedman.y_train.dtype == np.float32
    assert not rows_of(friedman.x_train) & rows_of(friedman.x_test)
    x = original_features(friedman, friedman.x_test)
    truth = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
    truth += 10 * x[:, 3] + 5 * x[:, 4]
    error = np.sqrt(np.mean((friedman.y_test[:, 0] - truth) ** 2))
    # The standard error of an RMSE over 4,128 rows is 1.1 %.
    assert error == pytest.approx(friedman.noise_floor, rel=0.04)


@pytest.mark.parametrize("name", ["digits", "friedman"])
def test_embedded_sets_are_the_same_each_time(name, request):
    first, second = request.getfixturevalue(name), LOADERS[name](name)
    for field in ("x_train", "y_train", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(first, field), getattr(second, field))


# Splitting and ordering


@pytest.mark.parametrize("name", ["digits", "friedman"])
def test_validation_rows_are_training_rows(name, request):
    dataset = request.getfixturevalue(name)
    rows = len(dataset.x_train)
    numbered = replace(dataset, y_train=np.arange(rows), y_test=np.arange(len(dataset.y_test)))
    split = data.validation_split(numbered)
    assert len(split.y_test) == round(rows / 6)
    visited = np.concatenate([split.y_train, split.y_test])
    np.testing.assert_array_equal(np.sort(visited), np.arange(rows))
    for x, y in ((split.x_train, split.y_train), (split.x_test, split.y_test)):
        stored = original_features(dataset, dataset.x_train[y])
        np.testing.assert_allclose(original_features(split, x), stored, atol=1e-6)


def test_validation_features_are_standardised_anew(friedman):
    split = data.validation_split(friedman, fraction=0.25)
    assert len(split.x_test) == 4_128 and len(split.x_train) == 12_384
    np.testing.assert_allclose(split.x_train.mean(axis=0, dtype=float), 0, atol=1e-6)
    np.testing.assert_allclose(split.x_train.std(axis=0, dtype=float), 1, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    seeds=st.lists(st.integers(0, 2**32), min_size=1, max_size=4, unique=True),
    rows=st.integers(1, 40),
)
def test_each_epoch_visits_every_row_once_in_an_order_of_the_seed_alone(seeds, rows):
    epochs = list(batch_orders(seeds, rows, 3))
    again = list(batch_orders(seeds[::-1], rows, 3))
    assert len(epochs) == 3
    for orders, reversed_orders in zip(epochs, again, strict=True):
        assert orders.shape == (len(seeds), rows) and orders.dtype == np.intp
        np.testing.assert_array_equal(np.sort(orders), np.tile(np.arange(rows), (len(seeds), 1)))
        np.testing.assert_array_equal(orders, reversed_orders[::-1])


def test_orders_differ_between_epochs_and_seeds():
    first, second = batch_orders([3, 4], 1000, 2)
    orders = [*first, *second]
    assert len(rows_of(np.array(orders))) == 4


# The real data


@with_real_data
def test_mnist_is_mnist():
    mnist = data.load_classification("auto", REAL_FOLDER)
    assert mnist.name == "mnist" and not mnist.stand_in and mnist.notice == ""
    assert mnist.x_train.shape == (60_000, 784) and mnist.x_test.shape == (10_000, 784)
    assert mnist.x_train.dtype == np.uint8 and mnist.y_train.dtype == np.int64
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(mnist.y_train).tolist() == counts
    assert mnist.y_train[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    # The mean and deviation that every PyTorch example normalises with.
    assert mnist.x_train.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert mnist.x_train.std() / 255 == pytest.approx(0.3081, abs=5e-5)


@with_real_data
def test_california_is_california():
    california = data.load_regression("auto", REAL_FOLDER)
    assert california.name == "california" and california.unit == "$100,000"
    assert california.x_train.shape == (16_512, 8) and california.y_test.shape == (4_128, 1)
    features = np.concatenate(
        [original_features(california, x) for x in (california.x_train, california.x_test)]
    )
    targets = np.concatenate([california.y_train, california.y_test])
    # Means and ranges in scikit-learn's user guide and examples.
    known = [3.870671, 28.639486, 5.429000, 1.096675, 1425.476744, 3.070655, 35.631861, -119.569704]
    np.testing.assert_allclose(features.mean(axis=0), known, rtol=1e-6)
    assert targets.mean() == pytest.approx(2.068558, rel=1e-5)
    assert targets.min() == np.float32(0.14999) and targets.max() == np.float32(5.00001)
    first = [8.3252, 41.0, 6.98412698, 1.02380952, 322.0, 2.55555556, 37.88, -122.23]
    assert np.abs(features - first).max(axis=1).min() < 1e-3


@with_real_data
def test_a_cached_mnist_needs_no_source(tmp_path):
    (tmp_path / "cache" / "nkd").mkdir(parents=True)
    (tmp_path / "cache" / "nkd" / "mnist").symlink_to(REAL_FOLDER)
    assert data.load_classification().name == "mnist"


@with_real_data
def test_scikit_learns_own_cache_gives_the_same_bits_and_is_verified(tmp_path):
    joblib = pytest.importorskip("joblib")
    table = np.loadtxt(Path(REAL_FOLDER) / "cal_housing.data", delimiter=",")
    table = table[:, [8, 7, 2, 3, 4, 5, 6, 1, 0]]
    cache = tmp_path / "scikit_learn_data" / "cal_housing_py3.pkz"
    cache.parent.mkdir()
    joblib.dump(table, cache)
    ours, theirs = data.load_regression("auto", REAL_FOLDER), data.load_regression()
    np.testing.assert_array_equal(ours.x_train, theirs.x_train)
    np.testing.assert_array_equal(ours.y_test, theirs.y_test)
    table[7, 3] += 1
    joblib.dump(table, cache)
    assert "SHA-256" in message_of(data.load_regression, "california")


@with_real_data
def test_a_truncated_real_file_is_refused_by_name(tmp_path):
    for name in data.MNIST_SHA256:
        (tmp_path / name).symlink_to(Path(REAL_FOLDER) / name)
    name = "t10k-labels-idx1-ubyte.gz"
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    (tmp_path / name).write_bytes(content[:-100])
    assert str(tmp_path / name) in message_of(data.load_classification, "mnist", tmp_path)


def test_a_table_becomes_a_data_set_with_standardised_features_and_every_row_once():
    wine = load_wine()
    made = data.from_table("wine", "Wine", wine.data, wine.target)
    assert (made.x_train.shape, made.x_test.shape) == ((142, 13), (36, 13))
    assert made.y_train.dtype == np.int64 and made.image_shape is None and not made.stand_in
    x, y = (
        np.concatenate([getattr(made, f"{name}_{part}") for part in ("train", "test")])
        for name in "xy"
    )
    raw = x * made.feature_deviation + made.feature_mean
    rows = sorted(map(tuple, np.column_stack([wine.data, wine.target]).tolist()))
    again = sorted(map(tuple, np.column_stack([raw, y]).tolist()))
    np.testing.assert_allclose(again, rows, rtol=1e-5)
    numbers = data.from_table("x", "x", wine.data, wine.data[:, 0])
    assert numbers.y_train.shape == (142, 1) and numbers.y_train.dtype == np.float32


@pytest.mark.parametrize(
    ("features", "targets", "said"),
    [
        (np.ones((5, 2)), np.arange(4), "do not fit"),
        (np.ones(5), np.arange(5), "do not fit"),
        (np.ones((2, 2)), np.arange(2), "three rows or more"),
        (np.ones((5, 2)), np.ones((5, 0)), "do not fit"),
        (np.ones((5, 2)), np.arange(-1, 4), "from 0 on"),
        (np.full((5, 2), np.nan), np.arange(5), "nan in row 0, column 0"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused_in_one_line(features, targets, said):
    message = message_of(data.from_table, "mine", "Mine", features, targets)
    assert said in message and "'mine'" in message and "\n" not in message


def test_one_call_adds_a_data_set_that_can_be_asked_for_by_name(monkeypatch):
    wine = load_wine()
    made = data.from_table("wine", "Wine", wine.data, wine.target)
    source = data.Source("classification", lambda folder: made)
    monkeypatch.setitem(data.SOURCES, "wine", source)
    assert data.load("classification", "wine") is made
    assert data.names_of("classification") == ["mnist", "digits", "wine"]
    assert "'wine'" in message_of(data.load, "classification", "iris")
    assert "'wine'" not in message_of(data.load, "regression", "wine").split("ask for")[1]
