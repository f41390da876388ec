"""nkd distil: a table of one's own, from the file to the files; and every mistake in one line."""

import json
import shlex
import sys
from html import escape
from pathlib import Path

import numpy as np
import pandas
import pytest

import nkd
from nkd.__main__ import main
from nkd.own_table import OwnTable, read
from nkd.report.files import TABLE_FILES, Folder
from nkd.table_encoding import MOST_CATEGORIES, Encoding, no_number, prepared, transformer_of

FILES = {"report.html", "report.png", "results.json", "configuration.json", "student.safetensors"}


def shop(rows=300):
    """A table with everything that a column can hold, and a target of two words."""
    random = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "id": [f"customer {number}" for number in range(rows)],
            "colour": random.choice(["red", "green", "blue"], rows),
            "age": random.normal(40, 10, rows).round(1),
            "visits": random.integers(0, 50, rows),
            "member": random.random(rows) < 0.4,
            "country": "here",
            "since": "2024-05-01",
        }
    )
    frame["spent"] = (frame.age - 40) * np.where(frame.colour == "red", 2.5, -1.25) + frame.visits
    frame["buys"] = np.where(frame.spent > 25, "yes", "no")
    frame.loc[:3, "colour"] = ["mauve", "puce", "puce", "teal"]
    frame.loc[5:30, "colour"] = None
    frame.loc[20:60, "age"] = None
    return frame


def distil(monkeypatch, *words):
    """`nkd distil` with these words, in this process; the exit code."""
    monkeypatch.setattr(sys, "argv", ["nkd", "distil", *map(str, words)])
    return main()


# The encoding


def test_the_encoding_in_plain_data_is_that_of_scikit_learn():
    frame = shop().drop(columns=["id", "country", "since"])
    fitted = transformer_of(frame).fit(prepared(frame))
    encoding = Encoding.fit(frame)
    again = Encoding.from_json(encoding.to_json())
    assert again == encoding
    other = shop(40).drop(columns=["id", "country", "since"])
    other.loc[35, "colour"] = "never seen"
    other.loc[36, "visits"] = None  # never missing before
    for rows in (frame, other):
        np.testing.assert_array_equal(
            again.transform(rows), fitted.transform(prepared(rows[frame.columns]))
        )
    assert again.names == [
        "colour=blue", "colour=green", "colour=red", "colour is missing", "colour is rare",
        "age", "age is missing", "visits", "member=False", "member=True", "spent",
        "buys=no", "buys=yes",
    ]  # fmt: skip
    x = dict(zip(again.names, again.transform(other)[35], strict=True))
    assert not any(value for name, value in x.items() if name.startswith("colour"))


def test_columns_that_cannot_be_learned_from_are_left_out_and_why():
    frame = shop().assign(nothing=None, note=[f"note {n // 2}" for n in range(300)])
    frame["times"] = pandas.Timestamp("2024-01-01")
    assert Encoding.fit(frame).left_out == {
        "id": "a different text in every row",
        "country": "the same value in every row",
        "since": "dates",
        "nothing": "no value in any row",
        "note": "no text in 5 rows or more",
        "times": "dates",
    }


def test_a_category_is_the_same_however_it_is_stored():
    codes = pandas.Series([1, 2, 3] * 5)
    frames = [
        pandas.DataFrame({"code": each})
        for each in (
            codes.astype(str),
            codes.astype("category"),
            codes.astype(float).astype(object),
        )
    ]
    encoding = Encoding.fit(frames[0])
    assert encoding.names == ["code=1", "code=2", "code=3"]
    for frame in frames:
        np.testing.assert_array_equal(encoding.transform(frame), np.tile(np.eye(3), (5, 1)))
    assert Encoding.fit(frames[1]) == encoding


def test_a_column_of_many_categories_becomes_few_inputs():
    frame = pandas.DataFrame({"town": [f"town {n % 60}" for n in range(600)]})
    encoding = Encoding.fit(frame)
    assert len(encoding.inputs) == MOST_CATEGORIES and encoding.names[-1] == "town is rare"
    np.testing.assert_array_equal(encoding.transform(frame).sum(axis=1), 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda frame: frame.drop(columns="age"), "no column 'age'"),
        (lambda frame: frame.assign(age="old"), "'age' does not hold numbers alone"),
        (lambda frame: frame.assign(age=np.inf), "'age' has inf in row 0"),
    ],
)
def test_rows_that_do_not_fit_the_encoding_are_refused(change, said):
    encoding = Encoding.fit(shop())
    with pytest.raises(nkd.UserError, match=said):
        encoding.transform(change(shop()))


def test_a_damaged_encoding_is_refused():
    for text in ("", "{}", '{"inputs": [{"name": "a"}], "left_out": {}}'):
        with pytest.raises(nkd.UserError, match="no encoding"):
            Encoding.from_json(text)


# What is learned


@pytest.mark.parametrize(
    ("target", "task"),
    [
        (["a", "b"] * 10, "classification"),
        ([True, False] * 10, "classification"),
        ([0, 1] * 10, "classification"),
        (np.linspace(0, 1, 20), "regression"),
        (range(100, 121), "regression"),
    ],
)
def test_the_task_is_decided_by_the_target(target, task):
    frame = pandas.DataFrame({"y": target, "x": range(len(target))})
    table = OwnTable.of(frame, "y")
    assert table.task == task
    assert table.y.tolist() == (
        [str(each) for each in target] if isinstance(target[0], (str, bool)) else list(target)
    )


def test_whole_numbers_that_may_be_either_are_what_the_flag_says():
    frame = pandas.DataFrame({"y": [1, 2, 3, None] * 10, "x": range(40)})
    with pytest.raises(nkd.UserError, match=r"3 different whole numbers.*--task"):
        OwnTable.of(frame, "y")
    assert OwnTable.of(frame, "y", "classification").y.tolist() == [1, 2, 3] * 10
    table = OwnTable.of(frame, "y", "regression")
    assert (table.y.dtype, table.without) == (np.float64, 10)


# The command


def test_a_table_becomes_a_student_a_report_and_everything_to_use_it(tmp_path, monkeypatch, capsys):
    frame, out = shop(), tmp_path / "out"
    frame.loc[290:, "buys"] = None
    frame.drop(columns="spent").to_csv(tmp_path / "shop.csv")  # with the numbers of the rows
    flags = [tmp_path / "shop.csv", "--target", "buys", "--pairs", 2, "--hidden", 6]
    assert distil(monkeypatch, *flags, "--out", out) == 0
    said = capsys.readouterr().out
    for text in (
        "shop.csv: 300 rows", "10 rows have no 'buys'", "learned as classification",
        "2 classes: no (", "id (a different text in every row)", "since (dates)",
        "'colour is rare' stands for 3", "numbers of the rows", "Student − Person on shop.csv",
    ):  # fmt: skip
        assert text in said
    assert {path.name for path in out.iterdir()} == FILES | set(TABLE_FILES)

    encoding = Encoding.from_json((out / "encoding.json").read_text("utf-8"))
    model = nkd.load(out / "student.safetensors")
    predicted = model.predict(encoding.transform(read(tmp_path / "shop.csv")))
    assert set(predicted) == {"yes", "no"} and (predicted == frame.buys)[:290].mean() > 0.8
    assert list(model.features) == encoding.names and model.sizes == (len(encoding.names), 6, 2)
    assert model.facts["target"] == "buys"
    assert "colour is missing" in (out / "student.h").read_text("utf-8")

    settled = json.loads((out / "configuration.json").read_text("utf-8"))
    assert settled["classes"] == {"0": "no", "1": "yes"}
    assert settled["teacher"] == "HistGradientBoostingClassifier(random_state=0)"
    program, command, *words = shlex.split(settled["command"])
    assert (program, command) == ("nkd", "distil")
    assert distil(monkeypatch, *words, "--out", tmp_path / "again") == 0
    for name in ("student.safetensors", "encoding.json"):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()


def test_the_report_calls_the_classes_by_their_names_whatever_these_are(
    tmp_path, monkeypatch, capsys
):
    path, odd = tmp_path / r"a [red] $\nonsense$.csv", r"<b> $\nonsense$"
    shop(100).replace({"buys": {"yes": odd}}).to_csv(path, index=False)
    flags = ["--target", "buys", "--pairs", 2, "--hidden", 2, "--out", tmp_path]
    assert distil(monkeypatch, path, *flags) == 0
    assert f"Test results on {path.name}" in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text("utf-8")
    assert escape(odd) in page and odd not in page


@pytest.mark.parametrize("teacher", ["forest", "network"])
def test_numbers_are_learned_from_a_parquet_file(tmp_path, monkeypatch, teacher):
    frame = shop().drop(columns="buys")
    frame["colour"] = frame.colour.astype("category")
    frame.to_parquet(tmp_path / "shop.parquet")
    monkeypatch.setattr("nkd.distil_command.FOREST", 10)
    monkeypatch.setitem(sys.modules, "onnx", None)  # as if it were not installed
    out = tmp_path / "out"
    flags = ["--target", "spent", "--pairs", 1, "--teacher", teacher, "--out", out]
    assert distil(monkeypatch, tmp_path / "shop.parquet", *flags) == 0
    assert {path.name for path in out.iterdir()} == FILES | set(TABLE_FILES) - {"student.onnx"}
    encoding = Encoding.from_json((out / "encoding.json").read_text("utf-8"))
    values = nkd.load(out / "student.safetensors").predict(encoding.transform(frame))
    assert np.corrcoef(values, frame.spent)[0, 1] > 0.8


ROWS = "x,y\n" + "1,a\n2,b\n" * 10
NUMBERS = "x,y\n" + "".join(f"{n},{n}\n" for n in range(30))

MISTAKES = {
    "no file": (None, [], "cannot be read (No such file"),
    "another suffix": ("t.xlsx", [], "ends in .csv"),
    "an empty file": ("", [], "is empty"),
    "a header alone": ("x,y\n", [], "no rows"),
    "no text": (b"\xff\xfe\x00\x01,\n1,2\n", [], "UTF-8"),
    "a row too long": ("x,y\n1,2\n1,2,3\n", [], "Expected 2 fields in line 3"),
    "all rows too long": ("x,y\n1,2,3\n4,5,6\n", [], "more fields"),
    "two columns of one name": ("x,y,x\n" + "1,2,3\n" * 20, [], "called 'x'"),
    "another target": (ROWS, ["--target", "z"], "there are 'x', 'y'"),
    "a target that is never there": ("x,y\n" + "1,\n" * 20, [], "0 of 20 rows"),
    "a few rows": (ROWS[:30], [], "at least 10"),
    "one class": ("x,y\n" + "1,a\n" * 20, [], "it is a in every row"),
    "one number": ("x,y\n" + "1,2.5\n" * 20, [], "it is 2.5 in every row"),
    "a class with a single row": (ROWS + "3,c\n", [], "class c has 1 row"),
    "a class for each row": (
        "x,y\n" + "".join(f"{n},c{n}\n" for n in range(300)), [], "300 classes are too many",
    ),
    "dates as target": ("x,y\n" + "1,2024-01-01\n" * 20, [], "it holds dates"),
    "whole numbers": ("x,y\n" + "1,1\n2,2\n3,3\n" * 10, [], "give --task"),
    "words as numbers": (ROWS, ["--task", "regression"], "it needs numbers"),
    "fractions as classes": (
        "x,y\n" + "1,0.5\n2,1.5\n" * 10, ["--task", "classification"], "fractions such as 0.5",
    ),
    "an infinite number": (ROWS + "inf,a\n", [], "'x' has inf in row 20"),
    "an infinite target": (NUMBERS + "1,inf\n", [], "'y' has inf in row 30"),
    "no column but the target": ("y\n" + "a\nb\n" * 10, [], "the target is the only one"),
    "no column that says something": ("x,y\n" + "1,a\n1,b\n" * 10, [], "x (the same value"),
    "another task": (ROWS, ["--task", "ranking"], "--task"),
    "no hidden unit": (ROWS, ["--hidden", "0"], "--hidden 0"),
    "no pair": (ROWS, ["--pairs", "0"], "--pairs 0"),
    "a negative seed": (ROWS, ["--seed", "-1"], "--seed -1"),
    "no folder": (ROWS, ["--out", "/dev/null/out"], "--out /dev/null/out"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "flags", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, content, flags, said):
    path = tmp_path / (content if content == "t.xlsx" else "t.csv")
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        path.write_text(content)
    flags = [*([] if "--target" in flags else ["--target", "y"]), *flags]
    flags = [*([] if "--out" in flags else ["--out", tmp_path / "out"]), *flags]
    assert distil(monkeypatch, path, *flags) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("error: ") and complaint.count("\n") == 1
    assert said in complaint
    assert not (tmp_path / "out").exists()


def test_a_parquet_file_that_is_none_and_a_gz_that_is_cut_off_are_refused(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"x,y\n1,2\n")
    shop().to_csv(tmp_path / "t.csv.gz")
    content = (tmp_path / "t.csv.gz").read_bytes()
    (tmp_path / "cut.csv.gz").write_bytes(content[: len(content) // 2])
    for name in ("t.parquet", "cut.csv.gz"):
        with pytest.raises(nkd.UserError, match=f"{name}: cannot be read") as error:
            read(tmp_path / name)
        assert "\n" not in str(error.value)
    assert len(read(tmp_path / "t.csv.gz")) == 300


@pytest.mark.parametrize("missing", ["pandas", "pyarrow"])
def test_without_its_package_a_table_is_told_how_to_be_read(tmp_path, monkeypatch, missing):
    shop().to_parquet(tmp_path / "t.parquet")
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(nkd.UserError, match=r"pip install 'nkd\[tables\]'"):
        read(tmp_path / "t.parquet")


def test_nothing_that_was_not_of_a_run_is_removed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shop().to_csv("metrics.csv", index=False)
    Path("map.png").write_text("mine")
    assert distil(monkeypatch, "metrics.csv", "--target", "buys", "--out", ".") == 2
    assert "would replace metrics.csv" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.png", "metrics.csv"]
    Folder(tmp_path).clear()  # no run was here
    assert Path("map.png").exists()
    Path("configuration.json").write_text("{}")
    Folder(tmp_path).clear()
    assert not Path("map.png").exists()


def test_where_the_teacher_does_harm_the_network_to_use_is_trained_without_it(
    tmp_path, monkeypatch, capsys
):
    # Trees of 60 rows are stairs: a straight line is better learned without them.
    rows = np.arange(60)
    pandas.DataFrame({"b": rows, "c": 2 * rows + 0.5}).to_csv(tmp_path / "line.csv", index=False)
    out = tmp_path / "out"
    assert distil(monkeypatch, tmp_path / "line.csv", "--target", "c", "--out", out) == 0
    assert "The teacher does harm here" in capsys.readouterr().out
    assert nkd.load(out / "student.safetensors").facts["alpha"] == "0.0"


def test_a_number_that_is_written_as_text_is_named():
    column = pandas.Series(["1.5", "2", "?", "3", None])
    assert no_number(column) == "?"
    assert no_number(pandas.Series(["1,000", "2"])) == "1,000"
    assert no_number(pandas.Series(["red", "blue", "3"])) is None
