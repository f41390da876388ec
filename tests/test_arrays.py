"""Arrays from outside: harmless variants give the clean array's numbers, others one sentence."""

import dataclasses
import re

import numpy as np
import pytest
from conftest import classification_data, regression_data, teacher_outputs

import nkd
from nkd import Classification, Dataset, Regression, Run, Settings, TeacherOutputs, Training
from nkd.data import fewer_rows

SETTINGS = Settings(epochs=2, batch_size=5, learning_rate=0.01)
PARTS = ("x_train", "y_train", "x_test", "y_test")
CLASSES = classification_data(pixels=False)
NUMBERS = regression_data(outputs=1)


def arrays(data):
    return {part: getattr(data, part) for part in PARTS}


def dataset(**parts):
    return Dataset("mine", "Mine", **parts)


def trained(problem, targets, backend):
    """The weights after a short training with this teacher."""
    runs = nkd.pairs([1, 2], 0.5, targets)
    sizes = (problem.data.x_train.shape[1], 4, problem.outputs)
    return Training(problem, sizes, runs, SETTINGS, backend=backend).run().network.tensors(0)


def assert_equal(actual, expected):
    for name, tensor in expected.items():
        np.testing.assert_array_equal(actual[name], tensor)


SAME = {
    "lists": lambda a: a.tolist(),
    "Fortran order": np.asfortranarray,
    "every other row of an array": lambda a: np.repeat(a, 2, axis=0)[::2],
    "objects": lambda a: a.astype(object),
    "the other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
}


@pytest.mark.parametrize("variant", SAME.values(), ids=SAME)
@pytest.mark.parametrize(
    ("kind", "data"), [(Classification, CLASSES), (Regression, NUMBERS)], ids=["classes", "numbers"]
)
def test_a_harmless_variant_gives_the_same_numbers(backend, kind, data, variant):
    z = np.array(teacher_outputs(outputs=kind(data).outputs))
    expected = trained(kind(data), z, backend)
    given = dataset(**{part: variant(values) for part, values in arrays(data).items()})
    assert_equal(trained(kind(given), variant(z), backend), expected)
    said = TeacherOutputs(variant(z), variant(z))
    assert_equal(trained(kind(given), said.train, backend), expected)
    runs = [Run(1, 0.5, targets=variant(z))]
    sizes = (given.x_train.shape[1], 4, z.shape[1])
    alone = Training(kind(given), sizes, runs, SETTINGS, backend=backend).run()
    assert alone.history[-1].test["loss"].shape == (1,)


@pytest.mark.parametrize("type_", [float, np.uint8, np.int16, object])
def test_labels_of_any_type_are_labels(type_):
    clean = Classification(CLASSES).data
    parts = arrays(CLASSES)
    given = Classification(
        dataset(**parts | {name: parts[name].astype(type_) for name in ("y_train", "y_test")})
    )
    assert given.outputs == 4
    for name in ("y_train", "y_test"):
        assert getattr(given.data, name).dtype == np.int64
        np.testing.assert_array_equal(getattr(given.data, name), getattr(clean, name))


def test_booleans_are_two_classes():
    parts = arrays(CLASSES)
    for name in ("y_train", "y_test"):
        parts[name] = parts[name] > 1
    problem = Classification(dataset(**parts))
    assert problem.outputs == 2
    assert (problem.data.y_train == (CLASSES.y_train > 1)).all()


def test_one_dimensional_numbers_are_targets_and_outputs_of_a_regression(backend):
    problem, z = Regression(NUMBERS), np.array(teacher_outputs(outputs=1))
    expected = trained(problem, z, backend)
    flat = arrays(NUMBERS)
    for name in ("y_train", "y_test"):
        flat[name] = flat[name][:, 0]
    given = Regression(dataset(**flat))
    assert given.data.y_train.shape == (22, 1)
    for said in (z[:, 0], z[:, 0].tolist(), lambda x: x[:, 0], lambda x: x[:, :1]):
        again = trained(given, said, backend)
        if not callable(said):
            assert_equal(again, expected)
    assert TeacherOutputs(z[:, 0], z[:, 0]).train.shape == (1, 22, 1)


def test_what_needs_no_change_is_not_copied_and_images_cost_nothing():
    x = np.zeros((60_000, 784), np.uint8)
    y = np.arange(60_000) % 10
    data = Dataset("images", "", x, y, x[:10_000], y[:10_000])
    assert data.x_train is x and data.y_train is y
    problem = Classification(data)
    assert problem.data is data
    features = np.ones((50, 3), np.float32)
    assert Dataset("", "", features, y[:50], features, y[:50]).x_train is features
    z = np.zeros((22, 4))
    assert Run(0, 0.5, targets=z).targets is z


def changed(data, part, change):
    """The data set with one array changed."""
    values = arrays(data)
    values[part] = change(values[part].copy())
    return dataset(**values)


def put(value, row=3):
    def change(a):
        a = a.astype(float)
        a.reshape(len(a), -1)[row, -1] = value
        return a

    return change


def ragged(a):
    rows = a.tolist()
    rows[2] = rows[2][:-1]
    return rows


NAMES = np.array(["cat", "dog", "emu", "fox"])
NO_DATA_SET = {
    "rows that differ in length": (ragged, "x_train", "rows differ in length"),
    "objects that differ in length": (
        lambda a: np.array([*ragged(a)], object),
        "x_train",
        "rows differ in length",
    ),
    "one-dimensional features": (lambda a: a[:, 0], "x_train", r"\(22,\)"),
    "images that are not flat": (lambda a: a.reshape(-1, 2, 3), "x_train", r"\(22, 2, 3\)"),
    "no rows": (lambda a: a[:0], "x_train", r"\(0, 6\)"),
    "no columns": (lambda a: a[:, :0], "x_train", r"\(22, 0\)"),
    "nothing": (lambda a: None, "x_train", "NoneType"),
    "an empty list": (lambda a: [], "x_test", "empty"),
    "text": (lambda a: a.astype(str), "x_train", "text"),
    "complex numbers": (lambda a: a + 1j, "x_train", "complex128"),
    "objects that are no numbers": (lambda a: [[{}] * 6] * 22, "x_train", "dict"),
    "NaN": (put(np.nan), "x_train", "nan in row 3, column 5"),
    "NaN in test rows": (put(np.nan), "x_test", "nan in row 3, column 5"),
    "infinity": (put(-np.inf), "x_train", "-inf in row 3, column 5"),
    "beyond float32": (put(1e39), "x_train", r"1e\+39 in row 3, column 5"),
    "a missing value": (
        lambda a: [[None, *row[1:]] for row in a.tolist()],
        "x_train",
        "nan in row 0, column 0",
    ),
    "NaN among labels": (put(np.nan, 7), "y_train", "nan in row 7"),
    "names": (lambda y: NAMES[y], "y_train", "return_inverse"),
    "names as objects": (lambda y: NAMES[y].astype(object), "y_test", "return_inverse"),
    "as many labels as columns": (lambda y: y[:5], "y_train", "do not fit"),
    "three axes": (lambda y: y[:, None, None], "y_train", "do not fit"),
    "another shape than the test rows'": (lambda y: y[:, None], "y_train", "do not fit"),
}


@pytest.mark.parametrize(("change", "part", "said"), NO_DATA_SET.values(), ids=NO_DATA_SET)
def test_an_array_that_makes_no_sense_is_refused_by_name(change, part, said):
    with pytest.raises(nkd.UserError, match=said) as refusal:
        changed(CLASSES, part, change)
    message = str(refusal.value)
    assert (part in message or "do not fit" in said) and "'mine'" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "fields",
    [
        {"feature_mean": np.zeros(6)},
        {"feature_mean": np.zeros(5), "feature_deviation": np.ones(6)},
        {"feature_mean": np.zeros(6), "feature_deviation": np.zeros(6)},
        {"target_mean": np.full(1, np.nan), "target_deviation": np.ones(1)},
        {"target_mean": np.zeros(7), "target_deviation": np.ones(7)},
        {"feature_bound": -1.0},
        {"input_scale": np.nan},
    ],
    ids=str,
)
def test_a_scaling_that_makes_no_sense_is_refused(fields):
    with pytest.raises(nkd.UserError, match="'made-up'"):
        dataclasses.replace(CLASSES, **fields)


def both(change):
    return {name: change(getattr(CLASSES, name)) for name in ("y_train", "y_test")}


NO_LABELS = {
    "in a column": (lambda y: y[:, None], r"y_train.*\(22, 1\).*\(N,\)"),
    "one-hot rows": (lambda y: np.eye(4)[y], r"y_train.*\(22, 4\).*argmax"),
    "real numbers": (lambda y: y + 0.5, r"y_train.*\.5 in row 0.*Regression"),
    "negative": (lambda y: 2 * (y > 1) - 1, "y_train.*-1.*from 0 on"),
    "huge": (lambda y: y * 1e30, "y_train"),
    "one class": (lambda y: 0 * y, "only one class"),
    "counted from 1": (lambda y: y + 1, "no row has label 0.*without gaps"),
    "with a gap": (lambda y: y + (y > 1), "no row has label 2.*without gaps"),
    "numbers of products": (lambda y: y * 10**12, "no row has label 1.*without gaps"),
}


@pytest.mark.parametrize(("change", "said"), NO_LABELS.values(), ids=NO_LABELS)
def test_labels_that_make_no_sense_are_refused(change, said):
    data = dataclasses.replace(CLASSES, **both(change))
    with pytest.raises(nkd.UserError, match=said) as refusal:
        Classification(data)
    assert "\n" not in str(refusal.value)


def test_a_class_may_occur_in_test_rows_alone_and_parts_still_work():
    y_train = np.where(CLASSES.y_train == 1, 0, CLASSES.y_train)
    y_test = np.arange(9) % 4
    data = dataclasses.replace(CLASSES, y_train=y_train, y_test=y_test)
    assert Classification(data).outputs == 4
    few, _ = fewer_rows(data, 3)
    assert Classification(few).outputs == 4
    assert Classification(nkd.validation_split(data)).outputs == 4
    two = np.where(y_test == 3, 0, y_test)  # with 3 classes, of which the split has no label 1
    split = nkd.validation_split(
        dataclasses.replace(data, y_train=y_train % 3, y_test=two, classes=3)
    )
    assert Classification(split).outputs == 3
    with pytest.raises(nkd.UserError, match=r"label 3.*3 classes"):
        Classification(dataclasses.replace(data, classes=3))


def test_fewer_rows_of_one_dimensional_targets_are_drawn_without_regard_to_them():
    flat = {name: getattr(NUMBERS, name)[:, 0] for name in ("y_train", "y_test")}
    _, rows = fewer_rows(dataclasses.replace(NUMBERS, **flat), 5)
    np.testing.assert_array_equal(rows, fewer_rows(NUMBERS, 5)[1])


@pytest.mark.parametrize("type_", [int, bool, np.uint8])
def test_labels_given_to_a_regression_are_refused_with_a_hint(type_):
    data = dataclasses.replace(CLASSES, **both(lambda y: y.astype(type_)))
    with pytest.raises(nkd.UserError, match=r"Classification.*astype\(float\)"):
        Regression(data)


Z = np.array(teacher_outputs())
NO_TEACHER = {
    "NaN": (put(np.nan), "nan in row 3, column 3"),
    "log of 0": (put(-np.inf), "-inf in row 3, column 3"),
    "text": (lambda z: z.astype(str), "text"),
    "rows that differ in length": (ragged, "rows differ in length"),
}


@pytest.mark.parametrize(("change", "said"), NO_TEACHER.values(), ids=NO_TEACHER)
def test_a_teachers_outputs_that_make_no_sense_are_refused(change, said):
    for make, name in (
        (lambda z: TeacherOutputs(z, Z), "train=… of TeacherOutputs"),
        (lambda z: TeacherOutputs(Z, z), "test=… of TeacherOutputs"),
        (lambda z: Run(0, 0.5, targets=z), "targets=… of a run"),
        (lambda z: nkd.pairs([0], 0.5, z), "targets=… of"),
    ):
        with pytest.raises(nkd.UserError, match=f"{re.escape(name)}.*{said}"):
            make(change(Z))


@pytest.mark.parametrize(
    ("hidden", "said"), [((0,), "0"), ((-3,), "-3"), ((2.5,), "2.5"), (("8",), "'8'")]
)
def test_hidden_units_are_whole_numbers_from_1_on(hidden, said):
    problem, teacher = Classification(CLASSES), TeacherOutputs(Z, Z[:9])
    sizes = (6, *hidden, 4)
    for make in (
        lambda: Training(problem, sizes, [Run(0)], SETTINGS),
        lambda: nkd.MLP(sizes),
        lambda: nkd.compare(problem, teacher, hidden, SETTINGS),
        lambda: nkd.experiment.networks_of(problem, hidden, [0], SETTINGS),
    ):
        with pytest.raises(nkd.UserError, match=f"{re.escape(said)}.*whole number"):
            make()


def test_a_tables_rows_are_counted_as_they_were_given():
    features = np.array(CLASSES.x_train)
    features[17, 2] = np.inf
    with pytest.raises(nkd.UserError, match="features=… of data set 'mine' has inf in row 17"):
        nkd.from_table("mine", "Mine", features, CLASSES.y_train)
    targets = CLASSES.y_train.astype(float)
    targets[4] = np.nan
    with pytest.raises(nkd.UserError, match="targets=… of data set 'mine' has nan in row 4"):
        nkd.from_table("mine", "Mine", CLASSES.x_train, targets)
    for names in (NAMES[CLASSES.y_train], NAMES[CLASSES.y_train].tolist()):
        with pytest.raises(nkd.UserError, match=r"targets=… of data set 'mine'.*return_inverse"):
            nkd.from_table("mine", "Mine", CLASSES.x_train, names)
    made = nkd.from_table(
        "mine", "Mine", CLASSES.x_train.tolist(), (CLASSES.y_train > 1).astype(object)
    )
    assert Classification(made).outputs == 2
